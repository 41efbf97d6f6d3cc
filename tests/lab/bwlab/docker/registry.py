# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ghcr.io as an engine meets it: the read-only half of the registry's protocol, tokens and the move to another host."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from bwlab.docker.layers import MANIFEST_TYPE, Images, digest_of
from bwlab.door import Hangup
from bwlab.labdb import LabDb

HOST = "ghcr.io"
BLOB_HOST = "pkg-containers.githubusercontent.com"
MANIFEST = re.compile(r"^/v2/(.+)/manifests/([^/]+)$")
BLOB = re.compile(r"^/v2/(.+)/blobs/(sha256:[0-9a-f]{64})$")
MOVED = re.compile(r"^/ghcrblobs1/blobs/(sha256:[0-9a-f]{64})$")
OCTETS = "application/octet-stream"
DEFAULT_SLOW = 20.0
LONG = 600.0


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps({"errors": [{"code": code, "message": message}]})
    return Response(body, status, headers, media_type="application/json")


class Registry:
    """`stack_is_down` tells of a managed host; faults hold for the host that asks."""

    def __init__(self, images: Images, database: LabDb, stack_is_down: Any) -> None:
        self.images = images
        self.database = database
        self.stack_is_down = stack_is_down

    async def answer(self, request: Request, host: str, server: str) -> Response:
        response = await self._answer(request, host, server)
        # Without it the docker program takes nobody for a registry.
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        return response

    async def _answer(self, request: Request, host: str, server: str) -> Response:
        if (trouble := await self._trouble(server)) is not None:
            return trouble
        path = request.url.path
        if host == BLOB_HOST:
            found = MOVED.match(path)
            return self._blob(found.group(1)) if found else Response("", 404)
        if path == "/token":
            return Response('{"token":"bGFi"}', media_type="application/json")
        if "authorization" not in request.headers:
            challenge = f'Bearer realm="https://{HOST}/token",service="{HOST}",scope="repository:user/image:pull"'
            return _error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})
        if path in ("/v2", "/v2/"):
            return Response("{}", media_type="application/json")
        if found := MANIFEST.match(path):
            return await self._manifest(found.group(1), found.group(2), server)
        if found := BLOB.match(path):
            return RedirectResponse(f"https://{BLOB_HOST}/ghcrblobs1/blobs/{found.group(2)}", 307)
        return _error(404, "UNSUPPORTED", "The operation is unsupported.")

    async def _trouble(self, server: str) -> Response | None:
        """The question about the stack comes first, so that a count is used up only by what it is for."""
        fault = self.database.take_fault("registry_down", server=server)
        after_stop = any(fault.name == "registry_down_after_stop" for fault in self.database.faults())
        if fault is None and after_stop and await asyncio.to_thread(self.stack_is_down, server):
            fault = self.database.take_fault("registry_down_after_stop", server=server)
        if fault is None:
            return None
        how = fault.options.get("how", "")
        if how == "denied":
            return _error(403, "DENIED", "denied")
        if how == "limit":
            return _error(429, "TOOMANYREQUESTS", "retry-after: 612.145µs, allowed: 44000/minute")
        if how == "timeout":
            await asyncio.sleep(fault.number("seconds", LONG))
        raise Hangup

    async def _manifest(self, repository: str, reference: str, server: str) -> Response:
        image = f"{HOST}/{repository}:{reference}"
        setup = repository == "bitwarden/setup"
        data = await asyncio.to_thread(self.images.manifest, repository, reference, self.database.release())
        missing = self.database.take_fault("image_missing", server=server, image=image)
        if data is None or missing or (setup and self.database.take_fault("setup_image_missing", server=server)):
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        # An engine asks for the tag once, with HEAD or GET, and by digest from then on.
        if not reference.startswith("sha256:"):
            fault = self.database.take_fault("registry_slow", server=server, image=image)
            if fault is not None:
                await asyncio.sleep(fault.number("seconds", DEFAULT_SLOW))
        return Response(data, media_type=MANIFEST_TYPE, headers={"Docker-Content-Digest": digest_of(data)})

    def _blob(self, digest: str) -> Response:
        if digest in self.images.small:
            return Response(self.images.small[digest], media_type=OCTETS)
        path = self.images.layers.get(digest)
        return FileResponse(path, media_type=OCTETS) if path else Response("", 404)
