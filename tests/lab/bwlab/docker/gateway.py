# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What answers at the network's gateway, port 443: the host name that was asked for tells who."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from bwlab.docker import download, registry
from bwlab.docker.download import Downloads
from bwlab.docker.hosts import Hosts
from bwlab.docker.layers import Images
from bwlab.docker.registry import Registry
from bwlab.labdb import LabDb

PORT = 443
MEMORY_SECONDS = 5.0


class Gateway:
    """Registry and downloads; the clouds have doors of their own."""

    def __init__(self, directory: Path, layers: list[Path], database: LabDb) -> None:
        self.hosts = Hosts(directory)
        self.registry = Registry(Images(layers), database, self.hosts.stack_is_down)
        self.downloads = Downloads(database)
        self._servers: dict[str, str] = {}
        self._read = 0.0

    def server(self, address: str) -> str:
        """The managed host that calls; what it runs calls from its address too."""
        if address not in self._servers and time.monotonic() - self._read > MEMORY_SECONDS:
            self._servers, self._read = self.hosts.addresses(), time.monotonic()
        return self._servers.get(address, "")

    async def answer(self, request: Request, host: str) -> Response:
        server = self.server(request.client.host if request.client else "")
        if host in (registry.HOST, registry.BLOB_HOST):
            return await self.registry.answer(request, host, server)
        if host in (download.HOST, download.VERSION_HOST):
            return await self.downloads.answer(request, host, server)
        return Response("", 404)

    @staticmethod
    def host_of(scope: Any) -> str:
        """Without its port, in lower case."""
        value = next((value for name, value in scope["headers"] if name == b"host"), b"")
        return str(value.decode("latin-1").lower().partition(":")[0])
