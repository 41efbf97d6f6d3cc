# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked, and what is told about it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe import verdicts

API, IDENTITY, PUSH = "api", "identity", "push"
CLOUD = (API, IDENTITY, PUSH)
SMTP = "smtp"
_WEB = frozenset({"https", "web", "registry", "icons"})
_HTTPS_PORT = 443


class Stop(Exception):
    """A verdict that ends the questions to an endpoint."""

    def __init__(self, word: str, detail: str = "") -> None:
        super().__init__(word, detail)
        self.word = word
        self.detail = detail


@dataclass(frozen=True)
class Endpoint:
    """One place to ask; C(base) is the path that its requests begin with."""

    name: str
    port: int
    kind: str
    paths: tuple[str, ...]
    base: str = ""
    secure: bool = True

    @property
    def manner(self) -> str:
        """How it is asked: as a part of the cloud, as a website, as a mail server, or by a connection alone."""
        if self.kind in (*CLOUD, SMTP):
            return self.kind
        return "web" if self.kind in _WEB or self.port == _HTTPS_PORT else "tcp"

    @property
    def host(self) -> str:
        """As in a Host header and in CONNECT."""
        return f"[{self.name}]" if ":" in self.name else self.name

    @property
    def authority(self) -> str:
        """Host and port, the port only where it is not the usual one."""
        usual = _HTTPS_PORT if self.secure else 80
        return self.host if self.port == usual else f"{self.host}:{self.port}"


@dataclass
class Row:
    """All that is found out about one endpoint from one path in one version of IP."""

    endpoint: Endpoint
    path: str
    version: int
    addresses: list[str] = field(default_factory=list)
    dead: dict[str, str] = field(default_factory=dict)
    tls: dict[str, t.Any] | None = None
    http: dict[str, t.Any] | None = None
    proxy: dict[str, t.Any] | None = None
    body_arrives: bool | None = None
    latency: float | None = None
    clock_difference: float | None = None

    def told(self, word: str, detail: str = "") -> dict[str, t.Any]:
        """As a result holds it."""
        one = self.endpoint
        said = verdicts.tell(word, name=one.name, port=one.port, path=self.path, version=self.version, detail=detail)
        return {
            "name": one.name,
            "port": one.port,
            "kind": one.kind,
            "path": self.path,
            "ip_version": self.version,
            **said,
            "addresses": self.addresses,
            "dead_addresses": list(self.dead),
            "tls": self.tls,
            "http": self.http,
            "body_arrives": self.body_arrives,
            "proxy": self.proxy,
            "latency_ms": None if self.latency is None else round(self.latency * 1000, 1),
            "clock_difference": None if self.clock_difference is None else round(self.clock_difference, 1),
        }
