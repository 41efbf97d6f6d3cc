# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The arguments of the probe, checked before anything is asked."""

from __future__ import annotations

import ipaddress
import re
import ssl
import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import egress_endpoints, regions
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import is_guid
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe import docker, proxy, trust
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.model import API, CLOUD, IDENTITY, Endpoint
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.questions import Installation

PATHS = egress_endpoints.PATHS
SHORTEST, LONGEST = 1.0, 60.0
_LAST_PORT = 65535
_NAME = re.compile(r"(?=.{1,253}$)(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*", re.IGNORECASE)


@dataclass(frozen=True)
class Wish:
    """What is to be asked, from where, and with what."""

    endpoints: tuple[Endpoint, ...]
    paths: tuple[str, ...]
    versions: tuple[int, ...]
    timeout: float
    container: str = ""
    proxy: proxy.Proxy | None = None
    trust: ssl.SSLContext | None = None
    installation: Installation = field(default_factory=Installation)


def read(params: t.Mapping[str, t.Any]) -> Wish:
    """The wish; BitwardenError where it makes no sense."""
    timeout = params["timeout"]
    if not SHORTEST <= timeout <= LONGEST:
        raise BitwardenError(
            f"timeout is {timeout:g} seconds.", next_step=f"Give {SHORTEST:g} to {LONGEST:g} seconds, 10 as a rule."
        )
    for name in ("paths", "ip_versions"):
        if not params[name]:
            raise BitwardenError(f"{name} is empty, so that nothing would be asked.", next_step=f"Leave {name} out.")
    if params["container"]:
        docker.check_name(params["container"])
    region = regions.resolve(params["region"]) if params["region"] is not None else None
    endpoints = _endpoints(params, region)
    installation = _installation(params, region, endpoints)
    if installation.api is not None and installation.api not in endpoints:
        endpoints = (*endpoints, installation.api)
    if installation.key and not any(one.kind == IDENTITY for one in endpoints):
        endpoints = (*endpoints, _identity(installation, region))
    return Wish(
        endpoints=endpoints,
        paths=tuple(dict.fromkeys(params["paths"])),
        versions=tuple(sorted(set(params["ip_versions"]))),
        timeout=timeout,
        container=params["container"] or "",
        proxy=_proxy(params["proxy"]),
        trust=_trust(params["ca_path"]),
        installation=installation,
    )


def _endpoints(params: t.Mapping[str, t.Any], region: regions.Region | None) -> tuple[Endpoint, ...]:
    listed = params["endpoints"]
    if listed is None and region is None:
        raise BitwardenError(
            "Neither endpoints nor a region is given, so that nothing would be asked.",
            next_step="Give region for what every server needs, or endpoints.",
        )
    if listed is None:
        listed = egress_endpoints.collect(params["region"], egress_endpoints.Wish()).as_dict()["probe"]
    found = dict.fromkeys(_endpoint(one, region) for one in listed)
    if not found:
        raise BitwardenError("endpoints is empty, so that nothing would be asked.", next_step="Name some.")
    return tuple(found)


def _endpoint(values: t.Mapping[str, t.Any], region: regions.Region | None) -> Endpoint:
    name, port = str(values["name"]).strip().rstrip("."), values["port"]
    paths = tuple(values.get("paths") or PATHS)
    if not (_is_address(name) or _NAME.fullmatch(name)):
        raise BitwardenError(
            f"The endpoint {name!r} is no host name and no address.",
            next_step="Give the name alone, without https://, port and path.",
        )
    if not 1 <= port <= _LAST_PORT:
        raise BitwardenError(f"The endpoint {name} has the port {port}.", next_step=f"Give one from 1 to {_LAST_PORT}.")
    kind = values.get("kind") or "https"
    url = urlsplit(getattr(region, kind)) if region is not None and kind in CLOUD else None
    # A region of one's own may have paths in its addresses, and one on this very machine no encryption.
    if url is not None and url.hostname == name.lower() and (url.port or port) == port:
        return Endpoint(name, port, kind, paths, url.path.rstrip("/"), url.scheme == "https")
    return Endpoint(name, port, kind, paths)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _installation(
    params: t.Mapping[str, t.Any], region: regions.Region | None, endpoints: t.Sequence[Endpoint]
) -> Installation:
    asked, key = (params["installation_id"] or "").strip(), params["installation_key"] or ""
    if not asked:
        if key:
            raise BitwardenError("installation_key is given without installation_id.", next_step="Give both.")
        return Installation()
    if not is_guid(asked):
        raise BitwardenError(
            "The installation id is no GUID.",
            next_step="Take it from globalSettings__installation__id in bwdata/env/global.override.env.",
        )
    api = _api(params["api_url"], region, endpoints)
    known = [one for one in regions.REGIONS.values() if urlsplit(one.api).hostname == api.name.lower()]
    others = [one for one in regions.REGIONS.values() if one not in known]
    return Installation(
        id=asked.lower(),
        key=key,
        region=next((one.name for one in (*known, region) if one is not None), api.name),
        api=api,
        others=tuple((one.name, _of_url(one.api)) for one in others),
    )


def _api(url: str | None, region: regions.Region | None, endpoints: t.Sequence[Endpoint]) -> Endpoint:
    """Where the installation is asked for: at the address that is given, at the region's, or at the first API."""
    if not url:
        listed = [one for one in endpoints if one.kind == API]
        if listed:
            return listed[0]
        url = region.api if region is not None else None
    parts = urlsplit(url or "")
    if parts.scheme not in ("https", "http") or (parts.scheme == "http" and not regions.is_loopback(parts.hostname)):
        raise BitwardenError(
            "The installation cannot be asked for: there is no API to ask, or its address is none.",
            next_step="Give region, api_url as https://api.example.com, or an endpoint of kind api.",
        )
    wanted = _of_url(t.cast(str, url))
    same = [one for one in endpoints if (one.name, one.port, one.kind) == (wanted.name, wanted.port, API)]
    return same[0] if same else wanted


def _of_url(url: str, kind: str = API) -> Endpoint:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    return Endpoint(str(parts.hostname), port, kind, PATHS, parts.path.rstrip("/"), secure)


def _identity(installation: Installation, region: regions.Region | None) -> Endpoint:
    """Where the installation logs in, if the endpoints do not say."""
    known = regions.REGIONS.get(installation.region) or region
    if known is None:
        raise BitwardenError(
            "installation_key is given, but no identity to log in at.",
            next_step="Give region, or an endpoint of kind identity.",
        )
    return _of_url(known.identity, IDENTITY)


def _proxy(address: str | None) -> proxy.Proxy | None:
    if not address:
        return None
    try:
        return proxy.read(address, "the option")
    except proxy.ProxyError as error:
        raise BitwardenError(
            f"The proxy cannot be used: {error}.", next_step="Write proxy as http://proxy.example.com:3128."
        ) from error


def _trust(path: str | None) -> ssl.SSLContext | None:
    if not path:
        return None
    try:
        return trust.of_path(path)
    except ValueError as error:
        raise BitwardenError(
            f"The certificate authorities of ca_path cannot be used, {path}: {error}.",
            next_step="Give a file with certificates (PEM), or a folder of such files, on the server.",
        ) from error
