"""Faults between a server and the cloud, in two network namespaces, and the verdict that each of them has to get.

Run as a program it writes the table of docs/egress.md: python tests/docker/egress_faults.py
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT / ".cache", ROOT / "tests" / "lab", ROOT / "tests"):
    sys.path.insert(0, str(folder))

from bwlab import tls
from cryptography.hazmat.primitives import serialization
from unit.module_runner import Result, run_module

HERE = Path(__file__).resolve().parent
ANSWERS = ROOT / "tests" / "lab" / "bwlab" / "egress" / "answers.py"
API, IDENTITY, MAIL, PROXY = "api.bitwarden.com", "identity.bitwarden.com", "smtp.example.com", "proxy.example.com"
OTHER_API = "api.bitwarden.eu"
GATEWAY4, GATEWAY6 = "198.51.100.254", "2001:db8:100::fe"
RESOLVER, PROXY_ADDRESS, OTHER_REGION = "198.51.100.53", "198.51.100.60", "198.51.100.70"
FOUR, SIX = ("198.51.100.1", "198.51.100.2"), ("2001:db8:100::1", "2001:db8:100::2")
ID, KEY = "8318521f-7d7d-4692-8de0-b50a00eabedc", "OneInstallationKey1234"
PROXY_PORT = 3128
PATIENCE = 10.0


@dataclass
class Internet:
    """A server and everything that it can reach; C(name) tells its namespaces from those of others."""

    name: str
    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def sh(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, text=True)

    def far(self, *command: str) -> None:
        self.sh("ip", "netns", "exec", f"{self.name}-far", *command)

    def near(self, *command: str) -> None:
        self.sh("ip", "netns", "exec", f"{self.name}-near", *command)

    def up(self) -> None:
        for side in ("near", "far"):
            self.sh("ip", "netns", "add", f"{self.name}-{side}")
            self.sh("ip", "-n", f"{self.name}-{side}", "link", "set", "lo", "up")
        near, far = f"{self.name}-near", f"{self.name}-far"
        self.sh("ip", "link", "add", "eth0", "netns", near, "type", "veth", "peer", "eth0", "netns", far)
        for side, address4, address6 in ((near, "10.0.0.2", "fd00::2"), (far, "10.0.0.1", "fd00::1")):
            self.sh("ip", "-n", side, "link", "set", "eth0", "up")
            self.sh("ip", "-n", side, "address", "add", f"{address4}/24", "dev", "eth0")
            self.sh("ip", "-n", side, "address", "add", f"{address6}/64", "dev", "eth0", "nodad")
        self._ways()
        for address in (*FOUR, *SIX, RESOLVER, PROXY_ADDRESS, OTHER_REGION):
            size = "/128" if ":" in address else "/32"
            self.sh("ip", "-n", far, "address", "add", address + size, "dev", "lo")
        self._certificates()
        self.files().mkdir(parents=True, exist_ok=True)
        self.resolve()

    def _ways(self) -> None:
        near = f"{self.name}-near"
        self.near("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0")
        self.sh("ip", "-n", near, "address", "replace", "fd00::2/64", "dev", "eth0", "nodad")
        self.sh("ip", "-n", near, "route", "replace", "default", "via", "10.0.0.1")
        self.sh("ip", "-n", near, "route", "replace", "default", "via", "fd00::1")

    def files(self) -> Path:
        return Path("/etc/netns") / f"{self.name}-near"

    def resolve(self, *servers: str) -> None:
        text = "".join(f"nameserver {one}\n" for one in servers or (RESOLVER,))
        (self.files() / "resolv.conf").write_text(text, encoding="utf-8")
        (self.files() / "hosts").write_text("127.0.0.1 localhost\n", encoding="utf-8")

    def _certificates(self) -> None:
        public, company = tls.Authority.create("A Public CA"), tls.Authority.create("Example Corp Inspection CA")
        stranger = tls.Authority.create("Nobody's CA")
        names = [API, IDENTITY, OTHER_API, MAIL, PROXY]
        texts = {
            "good": public.issue(names),
            "company": company.issue(names, logged=False),
            "stranger": stranger.issue(names, logged=False),
            "elsewhere": public.issue(["elsewhere.example.com"]),
            "expired": public.issue(names, days=-1),
            "early": public.issue(names, starts=1),
            "newer": tls.Authority.create("A Newer Public CA").issue(names),
        }
        for name, text in texts.items():
            (self.folder / f"{name}.pem").write_bytes(text)
        trusted = [one.certificate.public_bytes(serialization.Encoding.PEM) for one in (public, company)]
        (self.folder / "trusted.pem").write_bytes(b"".join(trusted))

    def spawn(self, *command: str, wait: bool = False) -> None:
        full = ["ip", "netns", "exec", f"{self.name}-far", sys.executable, *command]
        process = subprocess.Popen(full, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        if wait:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", command

    def names(self, manner: str = "well", **changes: list[str]) -> None:
        """The name server; C(changes) are by the first label of a name."""
        known = {API: [*FOUR, *SIX], IDENTITY: [FOUR[0], SIX[0]], MAIL: [FOUR[0]], PROXY: [PROXY_ADDRESS]}
        known |= {OTHER_API: [OTHER_REGION]}
        known = {name: changes.get(name.partition(".")[0], found) for name, found in known.items()}
        known = {name: found for name, found in known.items() if found != ["none"]}
        self.spawn(str(HERE / "small_dns.py"), json.dumps(known), RESOLVER, manner, wait=True)

    def cloud(self, fault: str = "none", certificate: str = "good", **options: Any) -> None:
        """The cloud at the addresses of its names, with one fault."""
        addresses = options.pop("listen", [*FOUR, *SIX])
        command = [str(ANSWERS), "--listen", ",".join(addresses), "--fault", fault]
        if certificate:
            command += ["--cert", str(self.folder / f"{certificate}.pem")]
        command += ["--installation", options.pop("installation", f"US,{ID},{KEY}")]
        command += [f"--{name}={value}" for name, value in options.items()]
        self.spawn(*command)
        self._wait(addresses, int(options.get("port", 443)))

    def _wait(self, addresses: list[str], port: int) -> None:
        """Not by a connection: it may be a fault that they are cut."""
        end = time.monotonic() + PATIENCE
        command = ["ip", "netns", "exec", f"{self.name}-far", "ss", "-Hltn", f"sport = :{port}"]
        while True:
            seen = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            if all(f"{one}:{port}" in seen or f"[{one}]:{port}" in seen for one in addresses):
                return
            assert time.monotonic() < end, seen
            time.sleep(0.02)

    def proxy(self, manner: str = "well", certificate: str = "") -> None:
        known = json.dumps({API: FOUR[0], IDENTITY: FOUR[0], OTHER_API: OTHER_REGION})
        extra = [str(self.folder / f"{certificate}.pem")] if certificate else []
        self.spawn(str(HERE / "small_proxy.py"), PROXY_ADDRESS, str(PROXY_PORT), known, manner, *extra, wait=True)

    def mail(self) -> None:
        """A mail server that greets and no more."""
        script = (
            f"import socket\nserver = socket.create_server(('{FOUR[0]}', 587))\nprint('ready', flush=True)\n"
            "while True: server.accept()[0].sendall(b'220 smtp.example.com ESMTP\\r\\n')"
        )
        self.spawn("-c", script, wait=True)

    def block(self, *rule: str, side: str = "far", address: str = "") -> None:
        """A firewall's rule for what goes to the cloud, in both versions of IP."""
        chain = "INPUT" if side == "far" else "OUTPUT"
        runner = self.far if side == "far" else self.near
        for program in ("iptables", "ip6tables"):
            if not address or (":" in address) == (program == "ip6tables"):
                words = ["-d", address] if address else []
                runner(program, "-A", chain, "-p", "tcp", "--dport", "443", *words, "-j", *rule)

    def calm(self) -> None:
        """Takes all faults away."""
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self.processes.clear()
        for runner in (self.far, self.near):
            for program in ("iptables", "ip6tables"):
                runner(program, "-F")
        self._ways()
        self.resolve()

    def probe(self, **arguments: Any) -> Result:
        """The module on the server."""
        python = self.folder / "python"
        python.write_text(f'#!/bin/sh\nexec ip netns exec {self.name}-near {sys.executable} "$@"\n', encoding="utf-8")
        python.chmod(0o755)
        clean = {name: None for name in os.environ if name.lower().endswith("_proxy")}
        environment = {**clean, **arguments.pop("env", {})}
        defaults = {"paths": ["host"], "ip_versions": [4], "ca_path": str(self.folder / "trusted.pem")}
        options = {"check": arguments.pop("check", False), "python": str(python), "env": environment}
        return run_module("egress_probe", {**defaults, **arguments}, **options)

    def down(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.calm()
        for side in ("near", "far"):
            subprocess.run(["ip", "netns", "del", f"{self.name}-{side}"], check=False, capture_output=True)
        shutil.rmtree(self.files(), ignore_errors=True)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and what has to be said about it."""

    name: str
    text: str
    verdict: str
    arrange: Callable[[Internet], None]
    arguments: dict[str, Any] = field(default_factory=dict)
    # Which endpoint it is told of.
    about: str = API
    endpoint: dict[str, Any] = field(default_factory=lambda: {"name": API, "kind": "api"})
    reachable: bool = False


@contextlib.contextmanager
def internet(folder: Path) -> Iterator[Internet]:
    made = Internet(f"bwp{os.getpid()}", folder)
    try:
        made.up()
        yield made
    finally:
        made.down()


SHORT = {"timeout": 2}
WITH_ID = {"installation_id": ID}
BOTH = [{"name": API, "kind": "api"}, {"name": IDENTITY, "kind": "identity"}]
WITH_KEY = {"installation_id": ID, "installation_key": KEY, "endpoints": BOTH}
BY_PROXY = {"proxy": f"http://{PROXY}:{PROXY_PORT}"}


def cloud(fault: str = "none", certificate: str = "good", **options: Any) -> Callable[[Internet], None]:
    def arrange(world: Internet) -> None:
        world.names()
        world.cloud(fault, certificate, **options)

    return arrange


def dns(manner: str = "well", **changes: list[str]) -> Callable[[Internet], None]:
    def arrange(world: Internet) -> None:
        world.names(manner, **changes)
        world.cloud()

    return arrange


def wall(*rule: str, **options: Any) -> Callable[[Internet], None]:
    def arrange(world: Internet) -> None:
        world.names()
        world.cloud()
        world.block(*rule, **options)

    return arrange


def by_proxy(manner: str = "well", certificate: str = "good", fault: str = "none") -> Callable[[Internet], None]:
    def arrange(world: Internet) -> None:
        world.names(api=["none"], identity=["none"])
        world.cloud(fault, certificate)
        if manner:
            world.proxy(manner)

    return arrange


def no_name_server(world: Internet) -> None:
    world.names()
    world.cloud()
    world.near("iptables", "-A", "OUTPUT", "-p", "udp", "--dport", "53", "-j", "DROP")


def nobody_there(world: Internet) -> None:
    world.names()


def no_ipv6(world: Internet) -> None:
    dns()(world)
    world.near("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")


def no_way_out(world: Internet) -> None:
    dns()(world)
    world.near("ip", "route", "replace", f"{RESOLVER}/32", "via", "10.0.0.1")
    world.near("ip", "route", "del", "default")
    world.near("ip", "-6", "route", "del", "default")


def mail(fault: str) -> Callable[[Internet], None]:
    def arrange(world: Internet) -> None:
        world.names()
        world.cloud(fault, "", port=587, listen=[FOUR[0]])

    return arrange


def other_region(world: Internet) -> None:
    world.names()
    world.cloud(installation=f"EU,{ID},{KEY}")
    world.cloud(installation=f"EU,{ID},{KEY}", listen=[OTHER_REGION])


def unknown(world: Internet) -> None:
    world.names()
    world.cloud(installation=f"Gov,{ID},{KEY}")
    world.cloud(installation=f"Gov,{ID},{KEY}", listen=[OTHER_REGION])


FAULTS = (
    Fault("none", "nothing", "open", cloud(), WITH_ID, reachable=True),
    Fault("dns-silent", "no name server answers", "dns_failed", dns("silent"), SHORT),
    Fault("dns-blocked", "a firewall drops port 53", "dns_failed", no_name_server, SHORT),
    Fault("dns-refused", "the name server refuses", "dns_failed", dns("refusing"), SHORT),
    Fault("dns-no-such-name", "the name server does not know the name", "dns_no_such_name", dns(api=["none"])),
    Fault("dns-zero", "a filter in DNS leads the name to 0.0.0.0", "dns_unusable", dns(api=["0.0.0.0"])),
    Fault("dns-loopback", "a filter in DNS leads the name to this server", "dns_unusable", dns(api=["127.0.0.1"])),
    Fault("half-dead", "half of the addresses are dead", "some_addresses_dead", wall("DROP", address=FOUR[1]), SHORT),
    Fault("dropped", "a firewall drops the connection", "timed_out", wall("DROP"), SHORT),
    Fault("rejected", "a firewall on the way answers that it is forbidden", "rejected",
          wall("REJECT", "--reject-with", "icmp-admin-prohibited", address=FOUR[0]), {},
          endpoint={"name": FOUR[0], "kind": "https"}, about=FOUR[0]),
    Fault("rejected-here", "the server's own firewall rejects", "refused", wall("REJECT", side="near")),
    Fault("nobody-listens", "nobody listens there", "refused", nobody_there),
    Fault("reset", "a firewall accepts the connection and cuts it", "reset", cloud("reset-accept")),
    Fault("reset-in-tls", "a filter cuts when it reads the name in TLS", "reset_in_tls", cloud("reset-tls")),
    Fault("silent", "a box accepts the connection and says nothing", "no_answer", cloud("silent"), SHORT),
    Fault("silent-http", "after TLS nothing is said", "no_answer", cloud("silent-http"), SHORT),
    Fault("plain", "a portal without TLS answers on port 443", "not_tls", cloud("plain")),
    Fault("intercepted", "an inspection whose authority is not trusted", "tls_unknown_authority",
          cloud(certificate="stranger")),
    Fault("authority-missing", "a public authority that is not among the trusted ones", "tls_authority_missing",
          cloud(certificate="newer")),
    Fault("intercepted-trusted", "an inspection whose authority is trusted", "tls_intercepted",
          cloud(certificate="company"), reachable=True),
    Fault("old-tls", "something that speaks TLS 1.1 only", "tls_failed", cloud("old-tls")),
    Fault("wrong-name", "the certificate of another name", "tls_wrong_name", cloud(certificate="elsewhere")),
    Fault("expired", "an expired certificate", "tls_expired", cloud(certificate="expired")),
    Fault("clock-days-behind", "this clock is two days behind, so that the certificate is not valid yet", "clock_off",
          cloud(certificate="early", clock=172800)),
    Fault("clock-behind", "this clock is 10 minutes behind", "clock_off", cloud(clock=600)),
    Fault("clock-ahead", "this clock is 10 minutes ahead", "clock_off", cloud(clock=-600)),
    Fault("clock-seconds", "this clock is 4 seconds behind", "clock_off", cloud(clock=4)),
    Fault("portal", "a captive portal: the same page with status 200 for everything", "captive_portal",
          cloud("portal")),
    Fault("login", "a redirect to a login page", "captive_portal", cloud("login")),
    Fault("not-bitwarden", "a server that is not Bitwarden's cloud", "not_bitwarden", cloud("not-bitwarden")),
    Fault("third-party", "a server that others made", "not_bitwarden", cloud("third-party")),
    Fault("error-503", "status 503", "server_error", cloud("error-503")),
    Fault("forbidden", "a filter answers with status 403", "filtered", cloud("error-403")),
    Fault("too-many", "the cloud wants fewer requests", "rate_limited", cloud("error-429"), reachable=True),
    Fault("slow", "every answer takes 4 seconds", "slow", cloud(delay=4), {"timeout": 60}, reachable=True),
    Fault("too-slow", "answers come one after the other until the time is over", "out_of_time", cloud(delay=0.29),
          {"timeout": 1, **WITH_ID}),
    Fault("cut", "the answer is cut off", "answer_cut", cloud("cut")),
    Fault("closed", "the connection ends without an answer", "answer_cut", cloud("close")),
    Fault("body-dropped", "a proxy drops the body of a GET; installation_key is given", "body_dropped",
          cloud("body-dropped", "company"), WITH_KEY),
    Fault("body-rejected", "a proxy rejects a GET with a body", "body_dropped", cloud("body-rejected", "company")),
    Fault("body-hangs", "a GET with a body gets no answer", "body_dropped", cloud("body-hangs", "company"), SHORT),
    Fault("body-stays", "a proxy takes the body for the next request", "body_dropped", cloud("body-stays", "company")),
    Fault("proxy-unreachable", "nobody listens at the proxy's address", "proxy_unreachable", by_proxy(""), BY_PROXY),
    Fault("proxy-no-name", "the proxy's name does not exist", "proxy_unreachable", dns(proxy=["none"]), BY_PROXY),
    Fault("proxy-login", "the proxy wants a login", "proxy_needs_login", by_proxy("login"), BY_PROXY),
    Fault("proxy-refuses", "the proxy does not allow the name", "proxy_refused", by_proxy("refusing"), BY_PROXY),
    Fault("proxy-fails", "the proxy does not reach the cloud", "proxy_failed", by_proxy("failing"), BY_PROXY),
    Fault("proxy-closes", "the proxy ends the connection", "proxy_refused", by_proxy("closing"), BY_PROXY),
    Fault("proxy-silent", "the proxy says nothing", "proxy_failed", by_proxy("silent"), {**BY_PROXY, **SHORT}),
    Fault("proxy-inspects", "the proxy inspects and drops the body of a GET; installation_key is given",
          "body_dropped", by_proxy(certificate="company", fault="body-dropped"), {**BY_PROXY, **WITH_KEY}),
    Fault("ipv6-missing", "the server has no IPv6", "ip_version_missing", no_ipv6, {"ip_versions": [6]}),
    Fault("ipv6-no-address", "the name has no IPv6 address", "ip_version_missing", dns(api=list(FOUR)),
          {"ip_versions": [6]}),
    Fault("no-way-out", "a network without a way out", "no_route", no_way_out),
    Fault("no-container", "no container of Bitwarden's runs", "not_asked", dns(), {"paths": ["containers"]}),
    Fault("mail-silent", "a firewall answers in the place of the mail server", "no_greeting", mail("silent"), SHORT,
          endpoint={"name": MAIL, "port": 587, "kind": "smtp"}, about=MAIL),
    Fault("unknown-installation", "an installation id that no region knows", "unknown_installation", unknown, WITH_ID),
    Fault("wrong-region", "an installation id of another region", "wrong_region", other_region, WITH_ID),
    Fault("disabled-installation", "a disabled installation", "installation_disabled",
          cloud(installation=f"US,{ID},{KEY},disabled"), WITH_ID),
    Fault("wrong-key", "a wrong installation key", "wrong_installation_key", cloud(),
          {**WITH_KEY, "installation_key": "AnotherInstallationKey"}, about=IDENTITY),
)  # fmt: skip
BY_NAME = {one.name: one for one in FAULTS}


def measure(world: Internet, fault: Fault) -> Result:
    """The module's answer to one fault."""
    world.calm()
    fault.arrange(world)
    arguments = {"endpoints": [fault.endpoint], **fault.arguments}
    if fault.name == "none":
        # The first request of a process may find the neighbor unknown.
        world.probe(**arguments)
    return world.probe(**arguments)


def rows_about(result: Result, fault: Fault) -> list[dict[str, Any]]:
    return [row for row in result["endpoints"] if row["name"] == fault.about]


FILE = ROOT / "docs" / "egress.md"
BEGIN, END = "<!-- faults -->\n", "<!-- /faults -->\n"
HEAD = "| what is wrong | verdict | what is said | next step |\n|---|---|---|---|\n"
RIGHT = "| {text} | `{verdict}` | {cause} | {next_step} |\n"


def committed() -> list[list[str]]:
    """The cells of the table as the docs have it."""
    text = FILE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def write(rows: list[dict[str, Any]], slowest: str) -> None:
    before, begin, rest = FILE.read_text(encoding="utf-8").partition(BEGIN)
    _old, end, after = rest.partition(END)
    lines = "".join(RIGHT.format(**row) for row in rows)
    figures = f"\n{len(rows)} faults, injected one by one; {slowest}\n"
    FILE.write_text(f"{before}{begin}{HEAD}{lines}{figures}{end}{after}", encoding="utf-8")


def main() -> int:
    """Measures everything anew and writes the table; the status says whether every verdict is the right one."""
    rows, wrong, slowest = [], 0, (0.0, 0.0)
    with tempfile.TemporaryDirectory(prefix="bwp-") as folder, internet(Path(folder)) as world:
        for fault in FAULTS:
            result = measure(world, fault)
            seconds = result["elapsed"]
            about = rows_about(result, fault)
            if {row["verdict"] for row in about} != {fault.verdict}:
                wrong += 1
                print(f"WRONG {fault.name}: {about}", flush=True)
            rows.append({**about[0], "text": fault.text, "next_step": about[0]["next_step"] or ""})
            slowest = max(slowest, (seconds / fault.arguments.get("timeout", 10), seconds))
            print(f"{fault.name}: {about[0]['verdict']} ({seconds:.1f} s)", flush=True)
    if not wrong:
        write(rows, f"every one was told apart, and no probe took longer than {slowest[0]:.0%} of its time.")
    print(f"{len(FAULTS) - wrong} of {len(FAULTS)} verdicts are right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
