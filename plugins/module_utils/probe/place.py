# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From where it is asked: its names, its proxy, whom it trusts; and the way to an endpoint from there."""

from __future__ import annotations

import socket
import ssl
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe import answers, connect, proxy, tls
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.layers import Connection
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.model import Endpoint, Row, Stop
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.names import (
    LookupFailedError,
    NoSuchNameError,
    Resolver,
    literal,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.names import unusable as unusable_address
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.proxy import Proxy
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.timing import Deadline
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.wire import Conversation, Response

_CLOCK_IN_DOUBT = "tls_expired"
BEHIND, AHEAD = 1.0, 60.0
_UNITS = ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))


@dataclass
class Place:
    """A path, as it is found there."""

    path: str
    deadline: Deadline
    resolver: Resolver
    trust: ssl.SSLContext
    environment: t.Mapping[str, str]
    given_proxy: Proxy | None = None
    open: list[Connection] = field(default_factory=list)

    def proxy_for(self, endpoint: Endpoint) -> Proxy | None:
        """The proxy that stands before an endpoint; mail and the like take none."""
        if endpoint.manner in ("smtp", "tcp") or not endpoint.secure:
            return None
        if self.given_proxy is not None:
            return self.given_proxy
        try:
            return proxy.of_environment(self.environment, endpoint, "the environment")
        except proxy.ProxyError as error:
            raise Stop("proxy_unreachable", str(error)) from error

    def connect(self, row: Row) -> Connection:
        """A connection to the endpoint, through its proxy where it has one."""
        chosen = self.proxy_for(row.endpoint)
        if chosen is None:
            return self._direct(row.endpoint.name, row.endpoint.port, row)
        row.proxy = {**chosen.shown, "via": None}
        try:
            connection: Connection = self._direct(chosen.host, chosen.port, row)
        except Stop as stop:
            if stop.word == "ip_version_missing":
                raise
            raise Stop("proxy_unreachable", f"{row.proxy['address']}: {_in_words(stop)}") from stop
        if chosen.secure:
            connection = self._secure_to_proxy(connection, chosen)
        proxy.passes(chosen, row.endpoint, Conversation(connection, row.endpoint.host, self.deadline))
        return connection

    def _secure_to_proxy(self, connection: Connection, chosen: Proxy) -> Connection:
        try:
            return tls.handshake(connection, self.trust, chosen.host, self.deadline).connection
        except tls.UntrustedError as error:
            raise Stop("proxy_unreachable", f"its certificate does not hold, {error.said}") from error
        except Stop as stop:
            raise Stop("proxy_unreachable", f"no TLS with it, {stop.detail}") from stop

    def secure(self, row: Row, connection: Connection) -> Connection:
        """The connection with TLS; raises the verdict of a certificate that does not hold."""
        name = row.endpoint.name
        try:
            secured = tls.handshake(connection, self.trust, name, self.deadline)
        except tls.UntrustedError as error:
            connection.close()
            raise self._look_at(row, error) from error
        self.open.append(secured.connection)
        row.tls = tls.shown(secured.certificate, name, trusted=True)
        return secured.connection

    def _look_at(self, row: Row, error: tls.UntrustedError) -> Stop:
        """Whose certificate it is that does not hold, by a second connection."""
        try:
            secured = tls.handshake(self.connect(row), tls.unverified(), row.endpoint.name, self.deadline)
        except (Stop, tls.UntrustedError):
            return Stop(error.word, error.said)
        found = secured.certificate
        self.open.append(secured.connection)
        row.tls = tls.shown(found, row.endpoint.name, trusted=False)
        if error.word == _CLOCK_IN_DOUBT:
            return self._expired_or_clock(row, secured)
        if error.word == "tls_wrong_name":
            return Stop(error.word, ", ".join(found.names[:3]) or found.subject)
        if error.word == "tls_unknown_authority":
            # One that is in the public logs is no company's: then it is this path that knows too few.
            real = found.logged and tls.is_public(row.endpoint.name)
            return Stop("tls_authority_missing" if real else error.word, found.issuer)
        return Stop(error.word, error.said)

    def _expired_or_clock(self, row: Row, secured: tls.Secured) -> Stop:
        """A certificate that is good at the other side's time says that it is this clock that is wrong."""
        found = secured.certificate
        state = "expired" if time.time() > found.ends else "not valid yet"
        told = Stop("tls_expired", f"{state}, by {found.issuer}")
        target = answers.FIRST.get(row.endpoint.kind, "/")
        try:
            answer = Conversation(secured.connection, row.endpoint.authority, self.deadline).ask("GET", target)
        except Exception:
            return told
        difference = clock(row, answer)
        there = time.time() - (row.clock_difference or 0.0)
        return Stop("clock_off", difference) if difference and found.begins <= there <= found.ends else told

    def _direct(self, name: str, port: int, row: Row) -> socket.socket:
        addresses = self._look_up(name, row)
        tried = connect.connect(addresses, port, self.deadline)
        if name == row.endpoint.name:
            row.dead = {address: said for address, (_word, said) in tried.dead.items()}
        if not tried.alive:
            word, said = tried.worst
            raise (self._shut_in(row) if word == "no_route" else None) or Stop(word, said)
        first, *others = tried.alive.values()
        for one in others:
            one.close()
        self.open.append(first)
        row.latency = tried.seconds
        ended = connect.cut_at_once(first, tried.seconds)
        if ended and row.endpoint.manner != "tcp":
            raise Stop("reset", ended)
        return first

    def _look_up(self, name: str, row: Row) -> list[str]:
        try:
            addresses = self.resolver.look_up(name, row.version, self.deadline)
        except NoSuchNameError as error:
            raise Stop("dns_no_such_name", f" (asked: {error})") from error
        except LookupFailedError as error:
            raise self._shut_in(row) or Stop("dns_failed", str(error)) from error
        if name == row.endpoint.name:
            row.addresses = addresses
        if not addresses:
            raise Stop("ip_version_missing", f"{name} has no such address")
        bad = [] if literal(name) else [one for one in addresses if unusable_address(one, tls.is_public(name))]
        if bad:
            raise Stop("dns_unusable", ", ".join(bad))
        return addresses

    def _shut_in(self, row: Row) -> Stop | None:
        """The verdict of a path without a way out; where the other version of IP has one, this one is not in use."""
        if connect.has_way_out(row.version):
            return None
        if any(connect.has_way_out(version) for version in (4, 6)):
            return Stop("ip_version_missing", "this path has no way out for it")
        return Stop("no_route", "neither version of IP leads anywhere")

    def close(self) -> None:
        """Ends every connection."""
        for connection in self.open:
            tls.close(connection)


def clock(row: Row, answer: Response) -> str:
    """Notes the difference of the clocks; in words where it does harm.

    Behind, a second is too much: a license counts from the second that it is issued. Ahead, it is only wrong.
    """
    found = answer.clock_difference
    if found is None:
        return ""
    least, most = found
    if row.clock_difference is None or least > row.clock_difference or most < row.clock_difference:
        row.clock_difference = (least + most) / 2
    if most < -BEHIND:
        return f"{_duration(-row.clock_difference)} behind"
    return f"{_duration(row.clock_difference)} ahead of" if least > AHEAD else ""


def _duration(seconds: float) -> str:
    size, name = next((one for one in _UNITS if seconds >= 2 * one[0]), _UNITS[-1])
    return f"{seconds / size:.0f} {name}"


def _in_words(stop: Stop) -> str:
    words = {
        "dns_failed": "its name could not be looked up, ",
        "dns_no_such_name": "there is no such name",
        "dns_unusable": "its name leads nowhere, to ",
        "timed_out": "no answer to a connection, ",
        "refused": "refused, ",
        "rejected": "rejected, ",
        "no_route": "no way out, ",
        "reset": "cut at once, ",
    }
    return f"{words.get(stop.word, '')}{stop.detail}"
