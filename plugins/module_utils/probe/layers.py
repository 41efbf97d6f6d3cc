# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS within TLS, for an endpoint behind a proxy that is itself asked with TLS. Python wraps plain sockets only."""

from __future__ import annotations

import socket
import ssl
import time
import typing as t

T = t.TypeVar("T")
_PIECE = 65536


class Connection(t.Protocol):
    """What a conversation needs of a connection."""

    def settimeout(self, value: float) -> None:
        """How long the next steps may take."""

    def sendall(self, data: bytes) -> None:
        """Sends."""

    def recv(self, size: int) -> bytes:
        """Receives; nothing at the end."""

    def close(self) -> None:
        """Ends it."""


class Layer:
    """The inner one of two encryptions."""

    def __init__(self, outer: Connection, context: ssl.SSLContext, name: str, seconds: float) -> None:
        self._outer = outer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._inner = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self.settimeout(seconds)
        self._pump(self._inner.do_handshake)

    def settimeout(self, value: float) -> None:
        """How long all next steps together may take."""
        self._end = time.monotonic() + value

    def sendall(self, data: bytes) -> None:
        """Encrypts and sends."""
        # Into memory it is written as a whole.
        self._pump(lambda: self._inner.write(data))

    def recv(self, size: int) -> bytes:
        """Receives and decrypts; nothing at the end."""
        try:
            return self._pump(lambda: self._inner.read(size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def getpeercert(self, binary_form: t.Literal[True]) -> bytes | None:
        """The other side's certificate."""
        return self._inner.getpeercert(binary_form)

    def close(self) -> None:
        """Ends both."""
        self._outer.close()

    def _pump(self, step: t.Callable[[], T]) -> T:
        """Does a step, and carries what it needs between the two encryptions."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
            else:
                self._flush()
                return result
            data = self._within_time().recv(_PIECE)
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._within_time().sendall(data)

    def _within_time(self) -> Connection:
        left = self._end - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        self._outer.settimeout(left)
        return self._outer
