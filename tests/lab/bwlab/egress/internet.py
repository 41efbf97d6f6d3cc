# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one container that is all of the internet: every address, the name server, and whoever answers."""

from __future__ import annotations

import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from bwlab import tls
from bwlab.docker.hosts import IMAGE
from bwlab.docker.outer import NETWORK, OuterError
from bwlab.egress import names
from bwlab.egress.outer import WorldOuter

NAME = "internet"
HERE = Path(__file__).resolve().parent
PORTS = (25, 80, 443, 587, 3128, 8443)
TLS_PORT = 443
READY_SECONDS = 30.0
DNSMASQ = (
    "dnsmasq", "--keep-in-foreground", "--pid-file=/run/dnsmasq.pid", "--conf-file=/dev/null", "--no-hosts",
    "--no-resolv", "--addn-hosts=/names/hosts", f"--local-ttl={names.TTL}", "--cache-size=0", "--user=root",
    "--group=root", "--address=/#/",
)  # fmt: skip


def certificates(directory: Path) -> None:
    """DIR/ca.pem, which hosts trust, and DIR/tls/good.pem for every name of the internet."""
    authority = tls.Authority.create("Lab CA of the public internet")
    (directory / "ca.pem").write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    folder = directory / "tls"
    folder.mkdir(mode=0o700)
    (folder / "good.pem").write_bytes(authority.issue(sorted(names.PLACES)))


class Internet:
    def __init__(self, directory: Path, outer: WorldOuter) -> None:
        self.directory = directory
        self.outer = outer
        self.records = names.Records(directory / "names")

    def create(self) -> None:
        (self.directory / "names").mkdir()
        self.records.write(names.places())
        certificates(self.directory)
        four, six = self.outer.internet()
        command = ["create", "--pull", "never", "--name", NAME, "--network", NETWORK, "--ip", four, "--ip6", six]
        command += ["--cap-add", "NET_ADMIN", "--security-opt", "systempaths=unconfined"]
        command += ["--sysctl", "net.ipv6.conf.all.disable_ipv6=0", "--stop-timeout", "1"]
        command += ["--volume", f"{self.directory / 'names'}:/names", "--volume", f"{self.directory / 'tls'}:/tls"]
        command += ["--volume", f"{HERE}:/world:ro"]
        self.outer.docker(*command, IMAGE, "sleep", "infinity")

    def start(self) -> None:
        self.outer.docker("start", NAME)
        batch = "".join(f"address replace {address} dev eth0 nodad\n" for address in names.every())
        self.shell(f"ip -batch - <<'END'\n{batch}END")
        self.start_names()
        self.spawn("python3", "/world/listener.py", *map(str, [port for port in PORTS if port != TLS_PORT]))
        self.answer()
        self._wait()

    def shell(self, script: str) -> str:
        return self.outer.docker("exec", NAME, "sh", "-c", script)

    def spawn(self, *command: str) -> None:
        self.outer.docker("exec", "--detach", NAME, *command)

    def answer(self, *options: str) -> None:
        """Everybody at port 443, as the real ones answer or with a fault."""
        self.shell("[ ! -f /run/answers.pid ] || kill $(cat /run/answers.pid) 2>/dev/null || true")
        command = ["python3", "/world/answers.py", "--listen", "::", "--port", str(TLS_PORT)]
        command += ["--cert", "/tls/good.pem", "--key", "/tls/good.pem", *options]
        if not (HERE / "answers.py").is_file():
            command = ["python3", "/world/listener.py", str(TLS_PORT)]
        self.spawn("sh", "-c", f"echo $$ >/run/answers.pid; exec {' '.join(command)} >/run/answers.log 2>&1")

    def start_names(self) -> None:
        self.spawn(*DNSMASQ)

    def stop_names(self) -> None:
        self.shell("kill $(cat /run/dnsmasq.pid) ; rm -f /run/dnsmasq.pid")

    def change(self, name: str, addresses: list[str]) -> None:
        self.records.change(name, addresses)
        self.shell("kill -HUP $(cat /run/dnsmasq.pid)")

    def _wait(self) -> None:
        listening = "ss --tcp --udp --listening --numeric --no-header"
        deadline = time.monotonic() + READY_SECONDS
        while True:
            seen = self.shell(listening)
            if all(f":{port} " in seen for port in (*PORTS, 53)):
                return
            if time.monotonic() > deadline:
                raise OuterError(f"not all ports of the internet answer:\n{seen}\n{self.shell('cat /run/*.log')}")
            time.sleep(0.2)
