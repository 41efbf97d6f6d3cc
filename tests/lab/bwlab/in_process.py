# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests that do not come over the wire: from persona to persona, and from the replay."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from bwlab.persona import Persona
from bwlab.web import dispatch


def make_request(
    method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"", client: str = "127.0.0.1"
) -> Request:
    raw, _unused, query = path.partition("?")
    pairs = [(key.lower().encode(), value.encode("latin-1", "replace")) for key, value in (headers or {}).items()]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "headers": pairs,
        "client": (client, 0),
        "server": ("localhost", 443),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(scope, receive)


async def call_in_process(
    persona: Persona,
    service: str,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    client: str = "127.0.0.1",
) -> Response:
    """What a self-hosted server's outbound call uses; `client` is the address that the cloud counts limits for."""
    response = await dispatch(persona, service, make_request(method, path, headers, body, client))
    if persona.lab.db is not None:
        persona.lab.db.log_request(persona.name, service, method, path=path, status=response.status_code, actor=client)
    return response
