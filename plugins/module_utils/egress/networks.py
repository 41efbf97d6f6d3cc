# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker networks with internal: true, from which no firewall can let anything out."""

from __future__ import annotations

import ipaddress
import json
import typing as t

from .model import Run, Wanted

# The containers that talk to the cloud: Bitwarden's own, and the one of Lite.
CALLERS = ("bitwarden-api", "bitwarden-identity", "bitwarden-admin", "bitwarden")
_STEP = (
    "Next step: have it in a network without `internal: true` as well, as Bitwarden's own Compose file does with public"
)
Network = dict[str, t.Any]


def refusals(run: Run, wanted: Wanted) -> list[str]:
    """Sources that lie in such a network."""
    if not wanted.containers or not wanted.sources:
        return []
    return [
        f"The network {source} in sources is {network['Name']} of Docker, which is internal: Docker lets nothing out "
        f"of it, whatever a firewall says. {_STEP}, and give that network in sources."
        for network in _networks(run)
        if network.get("Internal")
        for source in wanted.sources
        if any(_within(source, subnet) for subnet in _subnets(network))
    ]


def warnings(run: Run, wanted: Wanted) -> list[str]:
    """Running containers that talk to the cloud and are in such networks only."""
    if not wanted.containers:
        return []
    found: dict[str, list[Network]] = {}
    for network in _networks(run):
        for container in (network.get("Containers") or {}).values():
            found.setdefault(str(container.get("Name")), []).append(network)
    return [
        f"The container {name} is in internal networks only ({', '.join(str(one['Name']) for one in found[name])}): "
        f"Docker lets nothing out of them, whatever a firewall says. {_STEP}."
        for name in CALLERS
        if name in found and all(one.get("Internal") for one in found[name])
    ]


def _networks(run: Run) -> list[Network]:
    """None where there is no Docker, or where it does not run."""
    status, output, _error = run(["docker", "network", "ls", "--quiet"])
    names = output.split() if status == 0 else []
    # A network that goes in between fails the question, not what is told of the others.
    _status, output, _error = run(["docker", "network", "inspect", *names]) if names else (0, "[]", "")
    try:
        found = json.loads(output)
    except ValueError:
        return []
    return [one for one in found if isinstance(one, dict) and "Name" in one]


def _subnets(network: Network) -> list[str]:
    configured = (network.get("IPAM") or {}).get("Config") or []
    return [str(one["Subnet"]) for one in configured if one.get("Subnet")]


def _within(source: str, subnet: str) -> bool:
    inner, outer = ipaddress.ip_network(source), ipaddress.ip_network(subnet, strict=False)
    return inner.version == outer.version and int(inner[0]) >= int(outer[0]) and int(inner[-1]) <= int(outer[-1])
