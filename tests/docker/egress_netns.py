"""A server, a container, Setup and an internet as network namespaces, for firewalls of the real kernel."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import PATHS, Opening

LISTENER = """
import socket, sys, selectors
chosen = selectors.DefaultSelector()
for address in sys.argv[2:]:
    for port in map(int, sys.argv[1].split(',')):
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        one = socket.socket(family); one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, port)); one.listen(16); chosen.register(one, selectors.EVENT_READ)
print('ready', flush=True)
while True:
    for key, _mask in chosen.select():
        key.fileobj.accept()[0].close()
"""
# What a full handshake and the end of the connection prove: both directions pass.
CALL = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 1.0) as one:
        one.settimeout(1.0); one.recv(1)
except ConnectionRefusedError:
    sys.exit(2)
except OSError:
    sys.exit(1)
"""
LISTED = ("198.51.100.1", "2001:db8:100::1")
MOVED = ("198.51.100.3", "2001:db8:100::3")
OTHER = ("198.51.100.2", "2001:db8:100::2")
# Namespace, its address and the server's, and the server's interface as Docker would name it.
SIDES = (
    ("internet", "198.51.100.1/24", "198.51.100.254/24", "2001:db8:100::1/64", "2001:db8:100::fe/64", "uplink"),
    ("containers", "172.30.1.2/24", "172.30.1.1/24", "fd00:30:1::2/64", "fd00:30:1::1/64", "br-0123456789ab"),
    ("setup", "172.17.0.2/24", "172.17.0.1/24", "fd00:17::2/64", "fd00:17::1/64", "docker0"),
)


@dataclass
class Namespaces:
    """The world; C(run) is a runner inside the server."""

    prefix: str
    listener: subprocess.Popen[str] | None = None
    programs: dict[str, str] = field(default_factory=dict)

    def name(self, side: str) -> str:
        """A namespace's full name."""
        return f"{self.prefix}-{side}"

    def sh(self, *argv: str) -> str:
        """Runs a command of the machine."""
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def run(self, argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        """Runs a program inside the server."""
        command = ["ip", "netns", "exec", self.name("server"), self.programs.get(argv[0], argv[0]), *argv[1:]]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        missing = "failed: No such file" in done.stderr
        return (127 if missing else done.returncode), done.stdout, done.stderr

    def must(self, *argv: str, stdin: str = "") -> str:
        """The same, for what a test does as an admin."""
        status, output, error = self.run(list(argv), stdin)
        assert status == 0, (argv, output, error)
        return output

    def up(self) -> None:
        """Makes everything."""
        for side in ("server", *(one[0] for one in SIDES)):
            self.sh("ip", "netns", "add", self.name(side))
            self.sh("ip", "-n", self.name(side), "link", "set", "lo", "up")
        for side, address4, near4, address6, near6, interface in SIDES:
            there, server = self.name(side), self.name("server")
            self.sh("ip", "link", "add", interface, "netns", server, "type", "veth", "peer", "eth0", "netns", there)
            for namespace, link, one in ((server, interface, (near4, near6)), (there, "eth0", (address4, address6))):
                self.sh("ip", "-n", namespace, "link", "set", link, "up")
                for address in one:
                    self.sh("ip", "-n", namespace, "address", "add", address, "dev", link, *nodad(address))
            for near in (near4, near6):
                self.sh("ip", "-n", there, "route", "add", "default", "via", near.partition("/")[0])
        for address in (*OTHER, *MOVED):
            size = "64" if ":" in address else "24"
            self.sh(
                "ip", "-n", self.name("internet"), "address", "add", f"{address}/{size}", "dev", "eth0", *nodad(address)
            )
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.must("sysctl", "-qw", f"{key}=1")
        command = ["ip", "netns", "exec", self.name("internet"), sys.executable, "-c", LISTENER, "443,8443"]
        self.listener = subprocess.Popen([*command, *LISTED, *OTHER, *MOVED], stdout=subprocess.PIPE, text=True)
        assert self.listener.stdout is not None
        assert self.listener.stdout.readline() == "ready\n"
        end = time.monotonic() + 5
        while not self.reaches("containers", LISTED[1]) and time.monotonic() < end:
            time.sleep(0.1)

    def reaches(self, path: str, address: str, port: int = 443) -> bool:
        """Whether a TCP connection from there can be made and is ended by the other side."""
        return self._call(path, address, port) == 0

    def gets_through(self, path: str, address: str) -> bool:
        """Whether packets arrive where nobody listens: then the kernel there refuses, instead of silence."""
        return self._call(path, address, 443) == 2

    def _call(self, path: str, address: str, port: int) -> int:
        side = self.name("server" if path == "host" else path)
        command = ["ip", "netns", "exec", side, sys.executable, "-c", CALL, address, str(port)]
        return subprocess.run(command, check=False).returncode

    def down(self) -> None:
        """Takes everything away."""
        if self.listener is not None:
            self.listener.kill()
            self.listener.wait()
        for side in ("server", *(one[0] for one in SIDES)):
            subprocess.run(["ip", "netns", "del", self.name(side)], check=False, capture_output=True)


def nodad(address: str) -> list[str]:
    """A test need not wait until nobody else has the address."""
    return ["nodad"] if ":" in address else []


def openings(*addresses: str, paths: Sequence[str] = PATHS, source: str | None = None) -> list[Opening]:
    """From each path to each address, its HTTPS port."""
    return [Opening(path, 6 if ":" in one else 4, "tcp", 443, one, source) for one in addresses for path in paths]


def reached(world: Namespaces, *addresses: str) -> dict[tuple[str, str], bool]:
    """Which path gets to which address."""
    return {(path, address): world.reaches(path, address) for path in PATHS for address in addresses}
