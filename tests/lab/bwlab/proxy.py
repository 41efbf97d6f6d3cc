# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A CONNECT proxy that leads the clouds' real names to the lab's personas, and nothing else anywhere."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

MAX_HEAD = 16384
LOCAL = ("localhost", "127.0.0.1")


class Proxy:
    """`routes`: host name to local port; `refuse` tells whether the cloud of a port is unreachable just now.

    Clients that do not know NO_PROXY ask for the lab's `own` ports too.
    """

    def __init__(self, routes: dict[str, int], own: set[int], refuse: Callable[[int], bool], proxied: set[int]) -> None:
        self.routes = routes
        self.own = own
        self.refuse = refuse
        self.proxied = proxied

    async def start(self, sock: socket.socket) -> asyncio.Server:
        return await asyncio.start_server(self._serve, sock=sock, limit=MAX_HEAD)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            port = self._port(head)
            if port is None or self.refuse(port):
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
            else:
                await self._tunnel(reader, writer, port)
        with suppress(OSError):
            writer.close()

    def _port(self, head: bytes) -> int | None:
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split()
        if len(words) != 3 or words[0].upper() != "CONNECT":
            return None
        host, _unused, port = words[1].rpartition(":")
        if host.lower() in LOCAL and port.isdigit():
            return int(port) if int(port) in self.own else None
        return self.routes.get(host.lower()) if port == "443" else None

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        own = there_writer.get_extra_info("sockname")[1]
        self.proxied.add(own)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            await asyncio.gather(_pipe(reader, there_writer), _pipe(there_reader, writer))
        finally:
            self.proxied.discard(own)
            there_writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.close()
