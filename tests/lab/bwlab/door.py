# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What stands before the apps: a cloud's three addresses, or the nginx of a self-hosted server."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response

from bwlab import times
from bwlab.errors import ServerError
from bwlab.labdb import Fault
from bwlab.persona import Persona
from bwlab.web import dispatch, error_response

STYLE_HEADERS = {
    "X-Frame-Options": "SAMEORIGIN",
    "X-XSS-Protection": "1; mode=block",
    "X-Content-Type-Options": "nosniff",
}
PAGE = "<html>\r\n<head><title>{title}</title></head>\r\n<body><center><h1>{title}</h1></center></body>\r\n</html>\r\n"
LOGIN_PAGE = "<html><body>Welcome to this network, please log in</body></html>"
# The address under which `lab up` asks whether everybody answers.
PROBE = "lab-probe"
PREFIXES = ("api", "identity")
PUT_OFF_SECONDS = 60.0


class Hangup(Exception):
    """The connection ends without an answer."""


class Truncated(Exception):
    """The connection ends in the middle of this answer."""

    def __init__(self, response: Response) -> None:
        super().__init__("truncated")
        self.response = response


@dataclass
class Door:
    """One listening address of a persona; `service` is "vault", "api" or "identity" for a cloud, "front" otherwise."""

    persona: Persona
    service: str
    port: int

    async def answer(self, request: Request, *, through_proxy: bool) -> Response:
        path = unquote(request.scope["raw_path"].decode("latin-1").partition("?")[0])
        if not self.persona.is_cloud:
            return await self._nginx(request, path)
        await self._trouble(path, through_proxy=through_proxy)
        if (made_up := self._made_up(path)) is not None:
            return made_up
        service, shorter = self.service, path
        if service == "vault":
            service, shorter = _split(path)
            if service not in PREFIXES:
                return _page(200, "Bitwarden Web Vault")
        response = await self._app(service, request, shorter)
        if self._fault("truncated_body", path):
            raise Truncated(response)
        return response

    def _fault(self, name: str, path: str) -> Fault | None:
        """At a cloud every fault without a limit; at a server only one that names its persona."""
        database = self.persona.lab.db
        if database is None:
            return None
        if not self.persona.is_cloud and not any(
            fault.name == name and fault.options.get("persona") == self.persona.name for fault in database.faults()
        ):
            return None
        return database.take_fault(name, persona=self.persona.name, path=path)

    async def _trouble(self, path: str, *, through_proxy: bool) -> None:
        if fault := self._fault("cloud_timeout", path):
            await asyncio.sleep(fault.number("seconds", PUT_OFF_SECONDS))
            raise Hangup
        if self._fault("connection_reset", path) or (not through_proxy and self._fault("cloud_unreachable", path)):
            raise Hangup

    def _made_up(self, path: str) -> Response | None:
        if self._fault("not_json", path):
            return Response(LOGIN_PAGE, media_type="text/html")
        fault = self._fault("cloud_status", path)
        if fault is None:
            return None
        status = int(fault.number("status", 503))
        texts = {429: "Slow down! Too many requests. Try again in 1m.", 500: "An unhandled server error has occurred."}
        headers = {"Retry-After": fault.options["retry_after"]} if "retry_after" in fault.options else {}
        if status not in texts:
            return Response(PAGE.format(title=str(status)), status, headers, media_type="text/html")
        body = {"message": texts[status], "validationErrors": None, "object": "error"}
        return Response(json.dumps(body), status, headers, media_type="application/json")

    async def _app(self, service: str, request: Request, path: str) -> Response:
        request.scope["bwlab.service"] = service
        query = request.scope["raw_path"].partition(b"?")
        # Decoded once and encoded again, as nginx passes it on: a slash in a name ends up as a slash.
        request.scope["raw_path"] = quote(path, safe="/:@!$&'()*+,;=").encode() + query[1] + query[2]
        return await dispatch(self.persona, service, request)

    async def _nginx(self, request: Request, path: str) -> Response:
        database = self.persona.lab.db
        rows = database.containers(self.persona.short_name) if database else []
        answering = {row["service"] for row in rows if row["state"] == "running" and row["ready"] <= time.time()}
        if not any(row["service"] == "nginx" and row["state"] == "running" for row in rows):
            raise Hangup
        await self._trouble(path, through_proxy=True)
        if path.lower() == "/alive":
            return Response(b"alive", media_type="text/plain")
        if (made_up := self._made_up(path)) is not None:
            return made_up
        service, shorter = _split(path)
        if service not in PREFIXES:
            return _page(200, "Bitwarden Web Vault") if "web" in answering else _page(502, "502 Bad Gateway")
        if service not in answering:
            return _page(502, "502 Bad Gateway")
        response = await self._app(service, request, shorter if service == "api" else path)
        if self._fault("truncated_body", path):
            raise Truncated(response)
        return response


def _split(path: str) -> tuple[str, str]:
    """/api/x is x of the api."""
    first, _unused, rest = path.lstrip("/").partition("/")
    return first, f"/{rest}"


def _page(status: int, title: str) -> Response:
    return Response(PAGE.format(title=title), status, media_type="text/html")


def _log(door: Door, request: Request, path: str, status: int) -> None:
    database = door.persona.lab.db
    if database is not None and request.headers.get("x-connecting-ip") != PROBE:
        service = request.scope.get("bwlab.service", "nginx" if not door.persona.is_cloud else door.service)
        database.log_request(
            door.persona.name,
            service,
            request.method,
            path=path,
            status=status,
            actor=str(request.scope.get("bwlab.actor", "")),
        )


class Front:
    """The ASGI application for all doors; the port that was called tells which."""

    def __init__(self, doors: list[Door]) -> None:
        self.doors = {door.port: door for door in doors}
        self.proxied: set[int] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        door = self.doors[scope["server"][1]]
        request = Request(scope, receive)
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        try:
            response = await door.answer(request, through_proxy=scope["client"][1] in self.proxied)
        except Hangup:
            _log(door, request, path, 0)
            _abort(send)
            return
        except Truncated as cut:
            _log(door, request, path, cut.response.status_code)
            await _send_half(cut.response, send)
            _abort(send)
            return
        except Exception:
            # The lab's own mistake: seen in daemon.log, and answered as the real server answers its own.
            traceback.print_exc()
            response = error_response(ServerError())
        self._dress(door, response)
        _log(door, request, path, response.status_code)
        await response(scope, receive, send)

    @staticmethod
    def _dress(door: Door, response: Response) -> None:
        response.headers["Date"] = times.http_date(door.persona.now())
        response.headers["Server"] = "Kestrel" if door.persona.is_cloud else "nginx"
        for name, value in STYLE_HEADERS.items():
            response.headers[name] = value


def _abort(send: Any) -> None:
    """The server's own `send` belongs to the request's cycle, which has the connection."""
    send.__self__.transport.abort()


async def _send_half(response: Response, send: Any) -> None:
    body = bytes(response.body)
    headers = [(name, value) for name, value in response.raw_headers if name != b"content-length"]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    await asyncio.sleep(0.05)
