# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine of a world: the lab's own, with a network that has both versions of IP."""

from __future__ import annotations

import ipaddress
import json

from bwlab.docker.outer import NETWORK, Outer

INTERNET = 2


class WorldOuter(Outer):
    def _make_network(self, subnet: ipaddress.IPv4Network) -> None:
        six = ipaddress.IPv6Network(f"fd00:213:{subnet.network_address.packed[2]:x}::/64")
        found = {
            "subnet": str(subnet), "gateway": str(subnet[1]), "bridge": self.bridge,
            "internet": [str(subnet[INTERNET]), str(six[INTERNET])],
        }  # fmt: skip
        (self.folder / "network.json").write_text(json.dumps(found), encoding="utf-8")
        self.docker(
            "network", "create", "--driver", "bridge", "--subnet", str(subnet), "--gateway", str(subnet[1]),
            "--ipv6", "--subnet", str(six), "--gateway", str(six[1]),
            "--opt", f"com.docker.network.bridge.name={self.bridge}", NETWORK,
        )  # fmt: skip

    def internet(self) -> tuple[str, str]:
        """The addresses of the internet's container, which are every host's default gateway and name server."""
        four, six = json.loads((self.folder / "network.json").read_text(encoding="utf-8"))["internet"]
        return four, six
