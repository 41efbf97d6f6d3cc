# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The internet of a world: its addresses, and the names that lead to them."""

from __future__ import annotations

import ipaddress
from pathlib import Path

NETWORKS = ("198.51.100.0/24", "2001:db8:100::/64")
# Every address up to this number exists and answers.
LAST = 0x6F
TTL = 2
OTHER = "other.example.com"
RELAY = "relay.example.com"
# Last parts of the addresses, in both versions of IP.
PLACES: dict[str, tuple[int, ...]] = {
    "api.bitwarden.com": (0x10, 0x11),
    "identity.bitwarden.com": (0x12, 0x13),
    "push.bitwarden.com": (0x14,),
    "api.bitwarden.eu": (0x20, 0x21),
    "identity.bitwarden.eu": (0x22, 0x23),
    "push.bitwarden.eu": (0x24,),
    "ghcr.io": (0x30,),
    "pkg-containers.githubusercontent.com": (0x31,),
    "func.bitwarden.com": (0x32,),
    "selfhost.bitwarden.com": (0x33,),
    "icons.bitwarden.net": (0x34,),
    "smtp.example.com": (0x35,),
    "proxy.example.com": (0x36,),
    RELAY: (0x37,),
    OTHER: (0x40,),
}


def addresses(last: int) -> tuple[str, str]:
    """One place in both versions of IP, recognizable by the same last part."""
    four, six = (ipaddress.ip_network(network) for network in NETWORKS)
    return str(four[last]), str(six[last])


def places() -> dict[str, list[str]]:
    return {name: [address for last in lasts for address in addresses(last)] for name, lasts in PLACES.items()}


def every() -> list[str]:
    """All addresses of the internet, with their prefixes."""
    return [
        f"{address}/{network.rpartition('/')[2]}"
        for last in range(1, LAST + 1)
        for address, network in zip(addresses(last), NETWORKS, strict=True)
    ]


class Records:
    """What the name server answers; it reads the file again when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hosts"

    def read(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            address, name = line.split()
            found.setdefault(name, []).append(address)
        return found

    def write(self, records: dict[str, list[str]]) -> None:
        lines = [f"{address} {name}\n" for name, found in records.items() for address in found]
        self.path.write_text("".join(lines), encoding="utf-8")

    def change(self, name: str, wanted: list[str]) -> None:
        """No address: the name does not exist any more."""
        records = self.read()
        records.pop(name, None)
        self.write({**records, name: [str(ipaddress.ip_address(address)) for address in wanted]})
