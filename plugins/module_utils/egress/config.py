# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person wrote, checked and brought into one form; and what it means in openings."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from .model import ADDRESSES, CONTAINERS, PATHS, PORTS, EgressError, Endpoint, Opening, Wanted

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LONGEST_NAME = 253
_LAST_PORT = 65535
_PROTOCOLS = ("tcp", "udp")
_VERSIONS = (4, 6)
_SHORTEST_LIFETIME = 60


def wanted_of(params: t.Mapping[str, t.Any]) -> Wanted:
    """What was asked for; an EgressError says what is wrong with it."""
    found = [
        Endpoint(
            _host(str(one["name"])),
            _port(one),
            _one_of("protocol", one.get("protocol") or "tcp", _PROTOCOLS),
            _paths(one.get("paths")),
        )
        for one in params["endpoints"] or ()
    ]
    wanted = Wanted(
        backend=params["backend"],
        endpoints=tuple(sorted(set(found), key=lambda one: (one.host, one.port, one.protocol, one.paths))),
        match=_one_of("match", params["match"], (ADDRESSES, PORTS)),
        host=params["host"],
        containers=params["containers"],
        setup=params["setup"],
        sources=tuple(sorted({_network(str(one)) for one in params["sources"] or ()})),
        ip_versions=tuple(sorted({_one_of("ip_versions", int(one), _VERSIONS) for one in params["ip_versions"] or ()})),
        lifetime=int(params["lifetime"]),
    )
    _refuse_empty(wanted)
    return wanted


def _refuse_empty(wanted: Wanted) -> None:
    if not wanted.endpoints:
        raise EgressError("endpoints is empty, so there is nothing to open.", next_step="Name at least one endpoint.")
    if not wanted.ip_versions:
        raise EgressError("ip_versions is empty, so nothing would be opened.", next_step="Give 4, 6 or both.")
    if not wanted.paths:
        raise EgressError(
            "host, containers and setup are all off, so there is no path to open.",
            next_step="Switch one on, or use state absent to take earlier openings away.",
        )
    if wanted.lifetime < _SHORTEST_LIFETIME:
        raise EgressError(
            f"lifetime is {wanted.lifetime} seconds: addresses would be gone before the next look.",
            next_step=f"Give {_SHORTEST_LIFETIME} seconds or more; a day is the default.",
        )


def _host(text: str) -> str:
    """An address in its shortest form, or a name in small letters without the last dot."""
    with_zone = "%" in text
    try:
        if not with_zone:
            return ipaddress.ip_address(text).compressed
    except ValueError:
        pass
    name = text.lower().rstrip(".")
    if with_zone or not name or len(name) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, name.split("."))):
        raise EgressError(f"The endpoint {text!r} is neither a host name nor an address.", next_step=_cure(text))
    if name.split(".")[-1].isdigit():
        raise EgressError(f"The endpoint {text!r} looks like an address, and is none.", next_step="Correct it.")
    return name


def _cure(text: str) -> str:
    if "://" in text or "/" in text:
        return "Give the host name alone, without https:// and path, and the port in port."
    if "*" in text:
        return "Name every host: a firewall knows addresses only. For a pattern of names use a proxy."
    if not text.isascii():
        return "Give the name in its ASCII form, with xn--."
    return "Correct it."


def _port(endpoint: t.Mapping[str, t.Any]) -> int:
    port = int(endpoint["port"])
    if not 1 <= port <= _LAST_PORT:
        raise EgressError(
            f"The port {port} of {endpoint['name']} is none.", next_step=f"Give a port from 1 to {_LAST_PORT}."
        )
    return port


def _paths(names: t.Sequence[str] | None) -> tuple[str, ...]:
    """In one order, whatever the order that a person chose."""
    for name in names or ():
        _one_of("paths", name, PATHS)
    return tuple(one for one in PATHS if not names or one in names)


def _one_of(name: str, value: t.Any, choices: t.Sequence[t.Any]) -> t.Any:
    if value not in choices:
        raise EgressError(
            f"{name} cannot be {value!r}.", next_step=f"Give one of {', '.join(str(one) for one in choices)}."
        )
    return value


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise EgressError(
            f"The network {text!r} in sources is none: {error}.",
            next_step="Give the subnet of the containers' network as docker network inspect shows it.",
        ) from error


def names_of(wanted: Wanted) -> list[str]:
    """The names that have to be looked up: none where any address will do."""
    return sorted({one.host for one in wanted.endpoints if not is_address(one.host)}) if _by_address(wanted) else []


def _by_address(wanted: Wanted) -> bool:
    return wanted.match == ADDRESSES


def is_address(host: str) -> bool:
    """Whether it is an address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def notes_of(wanted: Wanted) -> list[str]:
    """What of this has no effect, because a switch excludes it."""
    notes = []
    for kind, values in (("endpoint", [one.host for one in wanted.endpoints]), ("network", wanted.sources)):
        for value in dict.fromkeys(values):
            version = _version(value)
            if version and version not in wanted.ip_versions:
                notes.append(f"The {kind} {value} has no effect, since ip_versions leaves IPv{version} out.")
    if wanted.sources and wanted.containers:
        named = {_version(one) for one in wanted.sources}
        notes += [
            f"sources names no network of IPv{version}, so that nothing is opened for containers over IPv{version}."
            for version in wanted.ip_versions
            if version not in named
        ]
    return notes


def _version(value: str) -> int | None:
    try:
        return ipaddress.ip_network(value).version
    except ValueError:
        return None


def openings_of(wanted: Wanted, known: t.Callable[[str], t.Iterable[str]]) -> list[Opening]:
    """Everything that is to be let through, with the addresses that are known of each name."""
    found: set[Opening] = set()
    for endpoint in wanted.endpoints:
        for version, address in _targets(wanted, endpoint, known):
            for path in [one for one in wanted.paths if one in endpoint.paths]:
                for source in _sources(wanted, path, version):
                    found.add(Opening(path, version, endpoint.protocol, endpoint.port, address, source))
    return sorted(found)


def _targets(
    wanted: Wanted, endpoint: Endpoint, known: t.Callable[[str], t.Iterable[str]]
) -> list[tuple[int, str | None]]:
    if not is_address(endpoint.host) and not _by_address(wanted):
        return [(version, None) for version in wanted.ip_versions]
    addresses = [endpoint.host] if is_address(endpoint.host) else known(endpoint.host)
    pairs = [(ipaddress.ip_address(one).version, one) for one in addresses]
    return [(version, one) for version, one in pairs if version in wanted.ip_versions]


def _sources(wanted: Wanted, path: str, version: int) -> list[str | None]:
    if path != CONTAINERS or not wanted.sources:
        return [None]
    return [one for one in wanted.sources if _version(one) == version]


def to_json(wanted: Wanted) -> dict[str, t.Any]:
    """For the file on the server."""
    return dataclasses.asdict(wanted)


def from_json(found: t.Mapping[str, t.Any]) -> Wanted:
    """From the file on the server."""
    try:
        values = {one.name: found[one.name] for one in dataclasses.fields(Wanted)}
        values["endpoints"] = tuple(Endpoint(**{**one, "paths": tuple(one["paths"])}) for one in values["endpoints"])
        for name in ("sources", "ip_versions"):
            values[name] = tuple(values[name])
        return Wanted(**values)
    except (KeyError, TypeError) as error:
        raise EgressError(
            f"The recorded settings are not what this version writes: {error!r}.",
            next_step="Run the role again; it writes them anew.",
        ) from error
