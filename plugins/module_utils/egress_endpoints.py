# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a self-hosted server connects to, feature by feature, and which of its paths needs it."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.regions import resolve

HOST, CONTAINERS, SETUP = "host", "containers", "setup"
PATHS = (HOST, CONTAINERS, SETUP)
DIRECT, PROXY = "direct", "proxy"
_PROTOCOLS = ("tcp", "udp")
_LAST_PORT = 65535
_LONGEST_NAME = 253
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)


class EndpointError(BitwardenError):
    """An endpoint that cannot be opened as it is written."""


@dataclass(frozen=True)
class Endpoint:
    """One place to reach: for what, from which paths, and whether a proxy can carry it."""

    host: str
    port: int
    kind: str
    purpose: str
    paths: tuple[str, ...] = PATHS
    protocol: str = "tcp"
    via: str = DIRECT


@dataclass(frozen=True)
class Feature:
    """What a feature that may be switched on connects to."""

    hosts: tuple[str, ...]
    kind: str
    purpose: str
    paths: tuple[str, ...]


FEATURES: dict[str, Feature] = {
    "registry": Feature(
        ("ghcr.io", "pkg-containers.githubusercontent.com"), "registry", "images, fetched by dockerd", (HOST,)
    ),
    "scripts": Feature(("func.bitwarden.com",), "web", "bitwarden.sh and run.sh, fetched by updates", (HOST,)),
    "update_check": Feature(
        ("selfhost.bitwarden.com",),
        "web",
        "newest version, asked by the admin portal and by updates",
        (HOST, CONTAINERS),
    ),
    "icons": Feature(
        ("icons.bitwarden.net",), "icons", "icons of websites, from Bitwarden's own service", (CONTAINERS,)
    ),
}

_REGIONAL = {
    "api": "licenses, billing sync, check of the installation id",
    "identity": "login of the installation",
    "push": "push relay to mobile apps",
}


@dataclass(frozen=True)
class Wish:
    """What a person asks for beside the region's own endpoints."""

    push: bool = True
    features: t.Sequence[str] = ()
    smtp: t.Sequence[t.Mapping[str, t.Any]] = ()
    own: t.Sequence[t.Mapping[str, t.Any]] = ()
    nameservers: t.Sequence[str] = ()
    proxy: str = ""


@dataclass(frozen=True)
class Endpoints:
    """All endpoints, and the same as the modules want them."""

    all: tuple[Endpoint, ...]
    proxy: Endpoint | None = None
    allowed: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, t.Any]:
        """What the filter returns."""
        opened = [one for one in (*self.all, *([self.proxy] if self.proxy else [])) if one.via == DIRECT]
        rules: list[dict[str, t.Any]] = []
        for one in opened:
            rule = {"name": one.host, "port": one.port, "protocol": one.protocol, "paths": list(one.paths)}
            if rule not in rules:
                rules.append(rule)
        return {
            "list": [{**asdict(one), "paths": list(one.paths)} for one in self.all],
            "rules": rules,
            "probe": [
                {"name": one.host, "port": one.port, "kind": one.kind, "paths": list(one.paths)}
                for one in self.all
                if one.protocol == "tcp" and one.kind != "dns"
            ],
            "proxy_allow_list": list(self.allowed),
        }


def collect(region: t.Any, wish: Wish) -> Endpoints:
    """Everything that is to be reached, each once for each purpose."""
    through = PROXY if wish.proxy else DIRECT
    found = [*_of_region(region, wish.push, through), *_of_features(wish.features, through)]
    found += [_own(one, "own endpoint", through) for one in wish.own]
    # Mail and name look-ups do not go through an HTTP proxy.
    found += [_mail(one) for one in wish.smtp]
    found += [
        Endpoint(_address(one), 53, "dns", "name look-ups", protocol=protocol)
        for one in wish.nameservers
        for protocol in ("udp", "tcp")
    ]
    unique = tuple(dict.fromkeys(found))
    allowed = tuple(sorted({f"{_bracketed(one.host)}:{one.port}" for one in unique if one.via == PROXY}))
    return Endpoints(unique, proxy_endpoint(wish.proxy) if wish.proxy else None, allowed)


def nameservers(*texts: str) -> list[str]:
    """The name servers of the first resolv.conf that names one on another machine."""
    for text in texts:
        found = [
            line.split()[1].partition("%")[0] for line in text.splitlines() if re.match(r"\s*nameserver\s+\S", line)
        ]
        elsewhere = [one for one in found if not ipaddress.ip_address(one).is_loopback]
        if elsewhere:
            return elsewhere
    raise EndpointError(
        "The server's resolv.conf names no name server on another machine, so that there is none to open.",
        next_step="Name the servers that the local one asks in egress_endpoints (port 53, udp and tcp), "
        "or set egress_dns to false.",
    )


def proxy_endpoint(proxy: str) -> Endpoint:
    """Where the proxy answers; its login stays out of everything."""
    parts = urlsplit(proxy.strip())
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("http", "https") or not host or not port or parts.path.strip("/") or parts.query:
        raise EndpointError(
            "The proxy is not written as an address with a port.",
            next_step="Write egress_proxy as http://proxy.example.com:3128.",
        )
    return Endpoint(_name(host, "The proxy"), port, "proxy", "HTTP proxy (CONNECT)")


def _of_region(region: t.Any, push: bool, via: str) -> list[Endpoint]:
    addresses = resolve(region).as_dict()
    found: list[Endpoint] = []
    for kind, purpose in _REGIONAL.items():
        if addresses[kind] and (push or kind != "push"):
            parts = urlsplit(addresses[kind])
            port = parts.port or (443 if parts.scheme == "https" else 80)
            paths = (HOST, CONTAINERS) if kind == "push" else PATHS
            found.append(Endpoint(str(parts.hostname), port, kind, purpose, paths, via=via))
    return found


def _of_features(features: t.Sequence[str], via: str) -> list[Endpoint]:
    unknown = sorted(set(features) - set(FEATURES))
    if unknown:
        raise EndpointError(
            f"There is no feature {', '.join(unknown)}.", next_step=f"Name some of {', '.join(sorted(FEATURES))}."
        )
    return [
        Endpoint(host, 443, one.kind, one.purpose, one.paths, via=via)
        for one in (FEATURES[name] for name in features)
        for host in one.hosts
    ]


def _mail(values: t.Mapping[str, t.Any]) -> Endpoint:
    one = _own({**values, "paths": values.get("paths") or [CONTAINERS]}, "mail server", DIRECT)
    return Endpoint(one.host, one.port, "smtp", "outgoing mail", one.paths)


def _own(values: t.Mapping[str, t.Any], what: str, via: str) -> Endpoint:
    host = _name(values.get("host"), f"The {what}")
    protocol = str(values.get("protocol") or "tcp").lower()
    if protocol not in _PROTOCOLS:
        raise EndpointError(
            f"The {what} {host} has the protocol {protocol!r}.", next_step=f"Give one of {', '.join(_PROTOCOLS)}."
        )
    paths = tuple(values.get("paths") or PATHS)
    if not set(paths) <= set(PATHS):
        raise EndpointError(
            f"The {what} {host} has the paths {', '.join(map(str, paths))}.",
            next_step=f"Give some of {', '.join(PATHS)}.",
        )
    kind = str(values.get("kind") or ("web" if str(values.get("port")) == "443" else "tcp"))
    return Endpoint(
        host,
        _port(values.get("port"), f"The {what} {host}"),
        kind,
        what,
        paths,
        protocol,
        via if protocol == "tcp" else DIRECT,
    )


def _port(value: t.Any, what: str) -> int:
    text = str(value).strip()
    if not text.isdigit() or not 1 <= int(text) <= _LAST_PORT:
        raise EndpointError(f"{what} has the port {value!r}.", next_step=f"Give a number from 1 to {_LAST_PORT}.")
    return int(text)


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _name(value: t.Any, what: str) -> str:
    """A host name or an address, in the one form that everything else may rely on."""
    text = str(value or "").strip()
    try:
        return _address(text.strip("[]"))
    except ValueError:
        name = text.rstrip(".").lower()
    if "*" in name:
        raise EndpointError(
            f"{what} is a pattern, {text!r}: a firewall knows addresses, and nothing lists the names that it means.",
            next_step="Name each host, or use egress_match: proxy and allow the pattern in the proxy.",
        )
    if "/" in name or ":" in name:
        raise EndpointError(
            f"{what} is {text!r}, and not a host name or an address.",
            next_step="Give the name alone as host, without https:// and path, and the port as port.",
        )
    labels = name.split(".")
    # A last label of digits is an address that was mistyped.
    if (
        not name
        or len(name) > _LONGEST_NAME
        or labels[-1].isdigit()
        or not all(_LABEL.fullmatch(one) for one in labels)
    ):
        raise EndpointError(f"{what} is {text!r}, which is no host name.", next_step="Give a host name or an address.")
    return name
