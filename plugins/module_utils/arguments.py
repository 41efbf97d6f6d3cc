# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection options of all API modules: one table for argument specs and environment variables."""

from __future__ import annotations

import typing as t
import uuid
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ansible.module_utils.basic import env_fallback
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import regions
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

CLOUD = "cloud"
SELF_HOSTED = "self_hosted"
ANY = "any"

_PREFIXES = {CLOUD: "BITWARDEN_CLOUD_", SELF_HOSTED: "BITWARDEN_", ANY: "BITWARDEN_"}
_DEVICES = uuid.uuid5(uuid.NAMESPACE_URL, "selfhosted.bitwarden/device")
# What a server has room for.
_DEVICE_LENGTH = 50
_LEAST = {"timeout": 1, "retries": 0, "rate_limit_wait": 0}
_WAYS = "Give region, or url, or both api_url and identity_url"


@dataclass(frozen=True)
class Option:
    """One connection option: its argument spec, and where it exists."""

    spec: t.Mapping[str, t.Any]
    kinds: tuple[str, ...] = (CLOUD, SELF_HOSTED, ANY)
    login: bool = False
    env: bool = False


OPTIONS: dict[str, Option] = {
    "allow_http": Option({"type": "bool", "default": False}),
    "api_url": Option({"type": "str"}, env=True),
    "ca_path": Option({"type": "path"}),
    "client_cert": Option({"type": "path"}),
    "client_id": Option({"type": "str"}, login=True, env=True),
    "client_key": Option({"type": "path", "no_log": False}),
    "client_secret": Option({"type": "str", "no_log": True}, login=True, env=True),
    "client_version": Option({"type": "str", "default": "2026.7.0"}, login=True),
    "device_identifier": Option({"type": "str"}, login=True),
    "device_name": Option({"type": "str", "default": "Ansible"}, login=True),
    "identity_url": Option({"type": "str"}, env=True),
    "rate_limit_wait": Option({"type": "int", "default": 300}),
    "region": Option({"type": "raw"}, kinds=(CLOUD, ANY), env=True),
    "retries": Option({"type": "int", "default": 3}),
    "timeout": Option({"type": "int", "default": 30}),
    "url": Option({"type": "str"}, env=True),
    "validate_certs": Option({"type": "bool", "default": True}),
}


def connection_spec(kind: str, *, login: bool = True) -> dict[str, dict[str, t.Any]]:
    """The argument spec of a connection to a cloud, to a self-hosted server, or to either.

    Without a login its options exist all the same, for module_defaults give a group's options to all its modules.
    """
    spec: dict[str, dict[str, t.Any]] = {}
    for name, option in OPTIONS.items():
        if kind not in option.kinds:
            continue
        if option.login and not login:
            spec[name] = {key: value for key, value in option.spec.items() if key in {"type", "no_log"}}
            continue
        spec[name] = dict(option.spec)
        variable = environment_variable(kind, name)
        if variable is not None:
            spec[name]["fallback"] = (env_fallback, [variable])
    return spec


def cloud_spec() -> dict[str, dict[str, t.Any]]:
    """The option of modules that work on a self-hosted server and ask the cloud too; its variables count as ever."""
    return {"cloud": {"type": "dict", "apply_defaults": True, "options": connection_spec(CLOUD)}}


def environment_variable(kind: str, name: str) -> str | None:
    """The variable that stands in for an option; a module for both kinds reads those of self-hosted servers."""
    option = OPTIONS[name]
    if not option.env or kind not in option.kinds or (kind == ANY and name == "region"):
        return None
    return _PREFIXES[kind] + name.upper()


@dataclass(frozen=True)
class Connection:
    """Where to call, as whom and how patiently."""

    kind: str
    name: str
    api: str
    identity: str
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    client_version: str = ""
    device_identifier: str = ""
    device_name: str = ""
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    validate_certs: bool = True
    timeout: int = 30
    retries: int = 3
    rate_limit_wait: int = 300
    lock_path: str | None = None

    @property
    def is_cloud(self) -> bool:
        """Whether it is a cloud, which counts requests; a self-hosted server does not."""
        return self.kind == CLOUD or regions.is_official(self.identity)

    @property
    def where(self) -> str:
        """The server in words, for messages."""
        return self.name if self.api.startswith(self.name) else f"the cloud {self.name} ({self.api})"


def connection(kind: str, params: t.Mapping[str, t.Any]) -> Connection:
    """The connection that a module's parameters describe, checked before anything is sent."""
    name, api, identity = _addresses(kind, params)
    for option, url in (("API", api), ("identity", identity)):
        check_url(option, url, allow_http=bool(params.get("allow_http")))
    if kind == SELF_HOSTED:
        _refuse_known_clouds(api, identity)
    _refuse_impossible(params)
    client_id = str(params.get("client_id") or "").strip()
    return Connection(
        kind=kind,
        name=name,
        api=api.rstrip("/"),
        identity=identity.rstrip("/"),
        client_id=client_id,
        client_secret=str(params.get("client_secret") or "").strip(),
        client_version=str(params.get("client_version") or ""),
        device_identifier=str(params.get("device_identifier") or uuid.uuid5(_DEVICES, client_id)),
        device_name=str(params.get("device_name") or ""),
        ca_path=params.get("ca_path"),
        client_cert=params.get("client_cert"),
        client_key=params.get("client_key"),
        validate_certs=bool(params.get("validate_certs", True)),
        timeout=int(params.get("timeout", 30)),
        retries=int(params.get("retries") or 0),
        rate_limit_wait=int(params.get("rate_limit_wait") or 0),
        lock_path=params.get("lock_path"),
    )


def _refuse_impossible(params: t.Mapping[str, t.Any]) -> None:
    for name, least in _LEAST.items():
        given = params.get(name)
        if given is not None and int(given) < least:
            raise BitwardenError(f"{name} is {given}.", next_step=f"Give a number from {least} on.")
    for name in ("device_identifier", "device_name"):
        if len(str(params.get(name) or "")) > _DEVICE_LENGTH:
            raise BitwardenError(
                f"{name} has more than {_DEVICE_LENGTH} characters, and the server keeps no longer ones.",
                next_step="Shorten it, or leave it at its default.",
            )
    if params.get("client_key") and not params.get("client_cert"):
        raise BitwardenError(
            "client_key is given without client_cert.",
            next_step="Give the certificate that belongs to the key in client_cert.",
        )


def _addresses(kind: str, params: t.Mapping[str, t.Any]) -> tuple[str, str, str]:
    region, url, api, identity = (params.get(key) or None for key in ("region", "url", "api_url", "identity_url"))
    variables = ", ".join(
        filter(None, (environment_variable(kind, name) for name in ("region", "url", "api_url", "identity_url")))
    )
    how = (
        f"{_WAYS if kind != SELF_HOSTED else _WAYS.replace('region, or ', '')} (options or the variables {variables})."
    )
    given = [name for name, value in (("region", region), ("url", url), ("api_url", api or identity)) if value]
    if len(given) > 1:
        raise BitwardenError(f"{' and '.join(given)} are given at once; they may contradict each other.", next_step=how)
    if region is not None:
        known = regions.resolve(region)
        return known.name, known.api, known.identity
    if url is not None:
        return _front_door(str(url))
    if api is None or identity is None:
        raise BitwardenError("The task does not say which Bitwarden server to call.", next_step=how)
    return str(api).rstrip("/"), str(api), str(identity)


def _front_door(url: str) -> tuple[str, str, str]:
    base = url.strip().rstrip("/")
    for prefix in ("/api", "/identity"):
        if base.lower().endswith(prefix):
            raise BitwardenError(
                f"url ({base}) ends in {prefix}, which the module adds by itself.",
                next_step="Give the address that people open in the browser, such as https://bitwarden.example.com.",
            )
    return base, f"{base}/api", f"{base}/identity"


def check_url(option: str, url: str, *, allow_http: bool) -> None:
    """Refuse what would send credentials in the clear or to nowhere."""
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise BitwardenError(
            f"The {option} URL {url!r} is not a web address.", next_step="Begin it with https:// and a host name."
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise BitwardenError(
            f"The {option} URL of {parts.hostname} has a user, a query or a fragment in it.",
            next_step="Give the plain address; credentials go into client_id and client_secret.",
        )
    if parts.scheme == "http" and not (allow_http or regions.is_loopback(parts.hostname)):
        raise BitwardenError(
            f"The {option} URL {url} is not encrypted, and credentials would be sent to it.",
            next_step="Use https://, or set allow_http if this network may see them.",
        )


def _refuse_known_clouds(*urls: str) -> None:
    hosts = {urlsplit(url).hostname for url in urls}
    for region in regions.REGIONS.values():
        clouds = {urlsplit(url).hostname for url in (region.vault, region.api, region.identity)}
        if hosts & clouds:
            raise BitwardenError(
                f"{', '.join(sorted(str(host) for host in hosts & clouds))} is the Bitwarden cloud "
                f"(region {region.name}), but this module works on a self-hosted server.",
                next_step="Give the address of your own server in url (or BITWARDEN_URL).",
            )
