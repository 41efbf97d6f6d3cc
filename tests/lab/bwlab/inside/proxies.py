# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which proxy .NET's HttpClient uses for an address, by the environment's variables."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Proxy:
    host: str
    port: int
    authorization: str | None = None

    @property
    def url(self) -> str:
        """As the exceptions name it: without the password."""
        return f"http://{self.host}:{self.port}/"


def _value(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""


def _parsed(text: str) -> Proxy | None:
    """A value without a scheme is an HTTP proxy."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if not parts.hostname or parts.scheme not in ("http", "https"):
        return None
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), authorization)


def bypassed(host: str, no_proxy: str) -> bool:
    """A name counts for itself only, one with a leading dot for the domain and all below it; no star, no networks."""
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        if entry.startswith("."):
            if host.lower() == entry[1:] or host.lower().endswith(entry):
                return True
        elif entry and host.lower() == entry:
            return True
    return False


def proxy_for(url: str, environment: Mapping[str, str]) -> Proxy | None:
    parts = urlsplit(url)
    own = _value(environment, f"{parts.scheme}_proxy") or _value(environment, "all_proxy")
    if not own or bypassed(parts.hostname or "", _value(environment, "no_proxy")):
        return None
    return _parsed(own)
