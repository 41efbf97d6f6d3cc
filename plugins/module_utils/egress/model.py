# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person wants opened, what that means in addresses, and what a firewall must be able to do."""

from __future__ import annotations

import abc
import typing as t
from dataclasses import dataclass

HOST, CONTAINERS, SETUP = "host", "containers", "setup"
PATHS = (HOST, CONTAINERS, SETUP)
ADDRESSES, PORTS = "addresses", "ports"
# The names of Docker's own bridges: those of its user-defined networks, and the default one.
BRIDGES, DEFAULT_BRIDGE = "br-", "docker0"
OURS = "bitwarden-egress"
DAY = 86400
NOT_FOUND = 127


class EgressError(Exception):
    """Says what failed and where; C(next_step) says what to do about it.

    A class of its own, since this package also runs on the server without the collection.
    """

    def __init__(self, message: str, *, next_step: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} Next step: {self.next_step}" if self.next_step else self.message


class Run(t.Protocol):
    """Runs a program; a program that is not there gives the status C(NOT_FOUND)."""

    def __call__(self, argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""


@dataclass(frozen=True)
class Endpoint:
    """One place to reach, from some of the paths that are switched on; C(host) is a name or an address."""

    host: str
    port: int
    protocol: str = "tcp"
    paths: tuple[str, ...] = PATHS


@dataclass(frozen=True)
class Wanted:
    """What a person asked for."""

    backend: str
    endpoints: tuple[Endpoint, ...]
    match: str = ADDRESSES
    host: bool = True
    containers: bool = True
    setup: bool = True
    sources: tuple[str, ...] = ()
    ip_versions: tuple[int, ...] = (4, 6)
    lifetime: int = DAY

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that are switched on."""
        on = {HOST: self.host, CONTAINERS: self.containers, SETUP: self.setup}
        return tuple(path for path in PATHS if on[path])


@dataclass(frozen=True)
class Opening:
    """One thing to let through. No address means any, no source means the bridges of the path."""

    path: str
    version: int
    protocol: str
    port: int
    address: str | None = None
    source: str | None = None

    def __lt__(self, other: Opening) -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[int, int, str, str, int, str]:
        return (
            PATHS.index(self.path),
            self.version,
            self.source or "",
            self.protocol,
            self.port,
            self.address or "",
        )


class Backend(abc.ABC):
    """One firewall. It adds objects of its own and touches no others."""

    name: t.ClassVar[str]
    # Whether the firewall keeps its rules over a reboot by itself.
    durable: t.ClassVar[bool]

    def __init__(self, run: Run) -> None:
        self.run = run

    @abc.abstractmethod
    def active(self) -> bool:
        """Whether this firewall is the one that closes this server; False where its tools are missing."""

    @abc.abstractmethod
    def refusals(self, wanted: Wanted) -> list[str]:
        """What of this cannot be done or would do harm, each with its reason and the next step."""

    def warnings(self, wanted: Wanted) -> list[str]:
        """What a person should know that stops nothing."""
        del wanted
        return []

    @abc.abstractmethod
    def plan(self, openings: t.Sequence[Opening]) -> str:
        """Our objects as C(current) would show them after C(apply)."""

    @abc.abstractmethod
    def current(self) -> str:
        """Our objects, one a line, in a normal form; empty where there are none or the tools are missing."""

    @abc.abstractmethod
    def apply(self, openings: t.Sequence[Opening]) -> None:
        """Makes our objects what C(plan) says, without a moment in which what stays allowed is closed."""

    @abc.abstractmethod
    def remove(self) -> None:
        """Takes away all of our objects and nothing else."""
