# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TCP to every address of a name at once: which answer, and how the others fail."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.timing import Deadline

_SHARE = 0.3
_SIX = 6
# Long enough for a box that accepts and cuts to do so before anything is said.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 0.6
_WORDS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.ENETUNREACH: "no_route",
    errno.EHOSTUNREACH: "rejected",
    errno.EACCES: "rejected",
    errno.EPERM: "rejected",
    errno.ETIMEDOUT: "timed_out",
    errno.EADDRNOTAVAIL: "no_route",
    errno.EAFNOSUPPORT: "no_route",
}


@dataclass
class Tried:
    """What became of each address."""

    alive: dict[str, socket.socket] = field(default_factory=dict)
    dead: dict[str, tuple[str, str]] = field(default_factory=dict)
    # Until the first of them was there.
    seconds: float | None = None

    def close(self) -> None:
        """Ends what is still open."""
        for connection in self.alive.values():
            connection.close()

    @property
    def worst(self) -> tuple[str, str]:
        """The word for all of them together: the first one's, which the server would use first."""
        word, _said = next(iter(self.dead.values()))
        return word, ", ".join(f"{address}: {said}" for address, (_word, said) in self.dead.items())


def connect(addresses: t.Sequence[str], port: int, deadline: Deadline) -> Tried:
    """Connects to all of them, and keeps the connections that came about."""
    tried = Tried()
    begun = time.monotonic()
    end = begun + deadline.step(_SHARE)
    with selectors.DefaultSelector() as selector:
        for address in addresses:
            _begin(address, port, selector, tried)
        while selector.get_map() and (left := end - time.monotonic()) > 0:
            for key, _events in selector.select(left):
                connection = t.cast(socket.socket, key.fileobj)
                selector.unregister(connection)
                _settle(key.data, connection, connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), tried)
                if tried.alive and tried.seconds is None:
                    tried.seconds = time.monotonic() - begun
        for key in list(selector.get_map().values()):
            t.cast(socket.socket, key.fileobj).close()
            tried.dead[key.data] = ("timed_out", f"nothing within {end - begun:.1f} s")
    tried.alive = {address: tried.alive[address] for address in addresses if address in tried.alive}
    tried.dead = {address: tried.dead[address] for address in addresses if address in tried.dead}
    return tried


def _begin(address: str, port: int, selector: selectors.BaseSelector, tried: Tried) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        connection = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        tried.dead[address] = ("no_route", os.strerror(error.errno or 0))
        return
    connection.setblocking(False)
    try:
        status = connection.connect_ex((address, port))
    except OSError:
        # An address with the name of an interface that is not there.
        status = errno.EADDRNOTAVAIL
    if status in (errno.EINPROGRESS, 0):
        selector.register(connection, selectors.EVENT_WRITE, address)
    else:
        _settle(address, connection, status, tried)


def _settle(address: str, connection: socket.socket, status: int, tried: Tried) -> None:
    if status == 0:
        tried.alive[address] = connection
        return
    connection.close()
    tried.dead[address] = (_WORDS.get(status, "rejected"), os.strerror(status).lower())


def cut_at_once(connection: socket.socket, distance: float | None) -> str | None:
    """How a connection ended before anything was said; it waits for that for about the time that packets need."""
    connection.settimeout(min(max(_SHORTEST_PAUSE, 2 * (distance or 0.0)), _LONGEST_PAUSE))
    try:
        if connection.recv(1, socket.MSG_PEEK) == b"":
            return "closed without a word"
    except OSError as error:
        if error.errno is not None:
            return os.strerror(error.errno).lower()
    return None


def has_way_out(version: int) -> bool:
    """Whether a packet to the public internet would have a route; none is sent."""
    family, address = (socket.AF_INET6, "2001:4860::1") if version == _SIX else (socket.AF_INET, "192.0.2.1")
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        return True
    return False
