# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which proxy a path uses, chosen as Bitwarden's server (.NET) chooses, and the way through it."""

from __future__ import annotations

import base64
import typing as t
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.model import Endpoint, Stop
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.wire import (
    Conversation,
    CutError,
    NotHttpError,
    Response,
    SilentError,
)

_USUAL_PORTS = {"http": 80, "https": 443}
_BAD_GATEWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


class ProxyError(ValueError):
    """An address that no proxy can have; its text holds no login."""


@dataclass(frozen=True)
class Proxy:
    """Where it is; C(login) is for a header, and for nothing else."""

    host: str
    port: int
    secure: bool
    login: str = field(default="", repr=False)
    source: str = ""

    @property
    def shown(self) -> dict[str, t.Any]:
        """As a result holds it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return {"address": f"{host}:{self.port}", "source": self.source}


def read(address: str, source: str) -> Proxy:
    """A proxy's address; without a scheme it is http://, as for every program that knows these variables."""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not host or parts.scheme not in _USUAL_PORTS:
        raise ProxyError(f"the proxy of {source} is no address as http://proxy.example.com:3128")
    login = ""
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(host, port or _USUAL_PORTS[parts.scheme], parts.scheme == "https", login, source)


def of_environment(environment: t.Mapping[str, str], endpoint: Endpoint, source: str) -> Proxy | None:
    """The proxy for an endpoint, or None where it is asked directly."""
    scheme = "https" if endpoint.secure else "http"
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    found = next((environment[name] for name in names if environment.get(name, "").strip()), "")
    exempt = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if not found or is_exempt(endpoint.name, exempt):
        return None
    return read(found.strip(), source)


def is_exempt(name: str, exempt: str) -> bool:
    """Whether a list of exemptions names a host: whole names, and with a leading dot all names below."""
    lowered = name.lower()
    for part in (one.strip().lower() for one in exempt.split(",")):
        if part and (lowered == part or (part.startswith(".") and (lowered.endswith(part) or lowered == part[1:]))):
            return True
    return False


def passes(proxy: Proxy, endpoint: Endpoint, conversation: Conversation) -> None:
    """Asks for a way through; after that the connection leads to the endpoint."""
    target = f"{endpoint.host}:{endpoint.port}"
    headers = {}
    if proxy.login:
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(proxy.login.encode()).decode()
    where = proxy.shown["address"]
    try:
        answer = conversation.ask("CONNECT", target, headers)
    except SilentError as error:
        raise Stop("proxy_failed", f"{where} does not answer in time") from error
    except CutError as error:
        raise Stop("proxy_refused", f"{where} ends the connection: {error}") from error
    except NotHttpError as error:
        raise Stop("proxy_failed", f"{where} is no HTTP proxy: {error}") from error
    _judge(answer, where)


def _judge(answer: Response, where: str) -> None:
    said = f"{where} answers {answer.status}"
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        raise Stop("proxy_needs_login", said)
    raise Stop("proxy_failed" if answer.status in _BAD_GATEWAY else "proxy_refused", said)
