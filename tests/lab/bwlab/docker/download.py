# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""func.bitwarden.com and selfhost.bitwarden.com: where bitwarden.sh gets itself, run.sh and the newest version."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response

from bwlab.host.releases import script, versions
from bwlab.labdb import LabDb

HOST = "func.bitwarden.com"
VERSION_HOST = "selfhost.bitwarden.com"


class Downloads:
    def __init__(self, database: LabDb) -> None:
        self.database = database

    async def answer(self, request: Request, host: str, server: str) -> Response:
        if host == VERSION_HOST and request.url.path == "/version.json":
            return Response(json.dumps({"versions": self._versions()}), media_type="application/json")
        asked = request.query_params
        if host != HOST or request.url.path.rstrip("/") != "/api/dl" or asked.get("app") != "self-host":
            return Response("", 404)
        if asked.get("platform") != "linux" or asked.get("variant", "") not in ("", "run"):
            return Response("", 404)
        if fault := self.database.take_fault("release_download_fails", server=server):
            return Response("The service is unavailable.\n", int(fault.number("status", 503)))
        name = "run.sh" if asked.get("variant") == "run" else "bitwarden.sh"
        return Response(script(name, self.database.release()), media_type="application/octet-stream")

    def _versions(self) -> dict[str, str]:
        found = versions(self.database.release())
        return {"coreVersion": found["core"], "webVersion": found["web"], "keyConnectorVersion": found["key_connector"]}
