# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's own engine on this machine, its one network and the name server on it.

The engine gets no rights over the machine's firewall: containers reach the lab at the network's gateway and nothing
else, and ports are published by the engine's own proxy, so there is nothing to clean up in iptables.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from bwlab.docker import needs, processes
from bwlab.docker.engine import Engine
from bwlab.docker.rootfs import alone

NETWORK = "lab"
READY_SECONDS = 60.0
# The path of a socket may have 107 characters, which a folder of a checkout can exceed.
RUN = Path("/run/bwlab")
# Names that have an address in the lab; all others do not exist there.
NAMES = (
    *(f"{service}.{domain}" for domain in ("bitwarden.com", "bitwarden.eu") for service in
      ("api", "identity", "vault", "push")),
    "ghcr.io", "pkg-containers.githubusercontent.com", "func.bitwarden.com", "selfhost.bitwarden.com",
)  # fmt: skip


class OuterError(Exception):
    """Says what did not start, and where to read more."""


class Outer:
    def __init__(self, directory: Path) -> None:
        self.folder = directory / "docker"
        self._own = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:8]
        self.run = RUN / self._own
        self.socket = self.run / "docker.sock"
        self.engine = Engine(self.socket)

    @property
    def bridge(self) -> str:
        """A name that is this lab's alone: another may have the addresses of one that is down."""
        return f"bwlab{self._own}"

    def start(self) -> None:
        self.folder.mkdir(mode=0o711, exist_ok=True)
        self._end_left()
        # After a kill their numbers may be other processes' by now, which the engine would take for its own.
        (self.folder / "docker.pid").unlink(missing_ok=True)
        self._forget_run()
        self.run.mkdir(mode=0o711, parents=True, exist_ok=True)
        command = [
            "dockerd", "--data-root", str(self.folder / "data"), "--exec-root", str(self.run),
            "--host", f"unix://{self.socket}", "--pidfile", str(self.folder / "docker.pid"),
            "--config-file", str(self.folder / "daemon.json"), "--bridge=none", "--iptables=false",
            "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--log-level=warn",
        ]  # fmt: skip
        (self.folder / "daemon.json").write_text("{}\n", encoding="utf-8")
        processes.start("dockerd", command, self.folder, self.folder / "dockerd.log")
        deadline = time.monotonic() + READY_SECONDS
        while not self.engine.answers():
            if processes.running("dockerd", self.folder) is None or time.monotonic() > deadline:
                raise OuterError(f"the lab's engine did not start; see {self.folder / 'dockerd.log'}")
            time.sleep(0.1)

    def docker(self, *arguments: str, data: Path | None = None, check: bool = True) -> str:
        """The client, at this engine; its output."""
        environment = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "PATH": needs.path()}
        environment["DOCKER_CONFIG"] = str(self.folder / "client")
        stdin = data.open("rb") if data else None
        try:
            done = subprocess.run(
                ["docker", *arguments], stdin=stdin or subprocess.DEVNULL, capture_output=True, text=True,
                check=False, env=environment,
            )  # fmt: skip
        finally:
            if stdin:
                stdin.close()
        if check and done.returncode:
            raise OuterError(f"docker {' '.join(arguments[:2])} failed: {done.stderr.strip()[-1000:]}")
        return done.stdout.strip()

    def gateway(self) -> str:
        return str(json.loads((self.folder / "network.json").read_text(encoding="utf-8"))["gateway"])

    def make_network(self) -> None:
        """Of two labs that are made at once, also by two checkouts, each gets its own addresses."""
        RUN.mkdir(mode=0o711, parents=True, exist_ok=True)
        with alone("network", RUN):
            self._make_network(free_subnet(self.folder / "network.json"))

    def _make_network(self, subnet: ipaddress.IPv4Network) -> None:
        gateway = str(subnet[1])
        (self.folder / "network.json").write_text(
            json.dumps({"subnet": str(subnet), "gateway": gateway, "bridge": self.bridge}), encoding="utf-8"
        )
        self.docker(
            "network", "create", "--driver", "bridge", "--subnet", str(subnet), "--gateway", gateway,
            "--opt", f"com.docker.network.bridge.name={self.bridge}", NETWORK,
        )  # fmt: skip

    def check_network(self) -> None:
        """Another lab may have taken the addresses while this one was down."""
        subnet = ipaddress.IPv4Network(json.loads((self.folder / "network.json").read_text(encoding="utf-8"))["subnet"])
        if any(subnet.overlaps(network) for network in _routes()):
            raise OuterError(f"the lab's addresses {subnet} are in use on this machine; end the other lab first")

    def start_names(self) -> None:
        gateway = self.gateway()
        command = [
            "dnsmasq", "--keep-in-foreground", f"--pid-file={self.folder / 'dnsmasq.own'}", "--conf-file=/dev/null",
            "--no-hosts", "--no-resolv", "--bind-interfaces", f"--listen-address={gateway}", "--except-interface=lo",
            "--address=/#/", "--user=root", "--group=root", "--cache-size=0",
            *(f"--host-record={name},{gateway}" for name in NAMES),
        ]  # fmt: skip
        processes.start("dnsmasq", command, self.folder, self.folder / "dnsmasq.log")

    def addresses(self) -> dict[str, str]:
        """Containers of the network by their address."""
        found: dict[str, Any] = json.loads(self.docker("network", "inspect", NETWORK))[0]["Containers"]
        return {entry["IPv4Address"].partition("/")[0]: entry["Name"] for entry in found.values()}

    def stop(self) -> None:
        """The engine ends its containers, then itself; the network's interface goes last."""
        processes.end("dnsmasq", self.folder)
        processes.end("dockerd", self.folder, 60.0)
        self._end_left()
        if (self.folder / "network.json").is_file():
            _quiet("ip", "link", "delete", self.bridge)
        self._forget_run()

    def _forget_run(self) -> None:
        self._unmount()
        shutil.rmtree(self.run, ignore_errors=True)

    def _end_left(self) -> None:
        for folder in (self.folder, self.run):
            processes.end_left(folder)

    def _is_ours(self, point: str) -> bool:
        return point.startswith((f"{self.folder}/", f"{self.run}/"))

    def _unmount(self) -> None:
        """Network namespaces and file systems that a killed engine left mounted, the deepest first."""
        points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
        for point in sorted((point for point in points if self._is_ours(point)), reverse=True):
            _quiet("umount", "--lazy", point)


def _quiet(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PATH": needs.path()})


def free_subnet(keeper: Path, kept: Path = RUN) -> ipaddress.IPv4Network:
    """One that no route of this machine touches, and that no lab keeps; one that is down does while its file exists."""
    taken = _routes()
    for third in range(256):
        subnet = ipaddress.IPv4Network(f"10.213.{third}.0/24")
        mark = kept / str(subnet.network_address)
        if not mark.exists() and not any(subnet.overlaps(network) for network in taken):
            mark.unlink(missing_ok=True)
            mark.symlink_to(keeper)
            return subnet
    raise OuterError("all of 10.213.0.0/16 is taken on this machine; end other labs first")


def _routes() -> list[ipaddress.IPv4Network]:
    found = []
    for line in Path("/proc/net/route").read_text(encoding="utf-8").splitlines()[1:]:
        _interface, destination, _gateway, _flags, _count, _use, _metric, mask, *_rest = line.split()
        network = ipaddress.IPv4Network((str(_address(destination)), str(_address(mask))))
        if network.prefixlen:
            found.append(network)
    return found


def _address(hexadecimal: str) -> ipaddress.IPv4Address:
    """The kernel writes an address as a number in the machine's byte order."""
    return ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(hexadecimal), "little"))
