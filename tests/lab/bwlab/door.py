# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What stands before the apps: a cloud's three addresses, or the nginx of a self-hosted server."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response

from bwlab import times
from bwlab.errors import ServerError
from bwlab.labdb import Fault
from bwlab.persona import Persona
from bwlab.web import dispatch, error_response

if TYPE_CHECKING:
    from bwlab.docker.gateway import Gateway

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
# The managed host that asks, where that can be seen: on a real engine by its address.
CALLER: ContextVar[str | None] = ContextVar("caller", default=None)
# Lite has all services in one container, its nginx too.
LITE = "bitwarden"
NGINX = ("nginx", LITE)
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
        asked = f"{request.method} {path}"
        await self._trouble(asked, through_proxy=through_proxy)
        if (made_up := self._made_up(asked)) is not None:
            return made_up
        service, shorter = self.service, path
        if service == "vault":
            service, shorter = _split(path)
            if service not in PREFIXES:
                return _page(200, "Bitwarden Web Vault")
        response = await self._app(service, request, shorter)
        if self._fault("truncated_body", asked):
            raise Truncated(response)
        return response

    def _fault(self, name: str, asked: str) -> Fault | None:
        """At a cloud every fault without a limit; at a server only one that names its persona."""
        database = self.persona.lab.db
        if database is None:
            return None
        if not self.persona.is_cloud and not any(
            fault.name == name and fault.options.get("persona") == self.persona.name for fault in database.faults()
        ):
            return None
        return database.take_fault(name, persona=self.persona.name, path=asked, server=CALLER.get())

    async def _trouble(self, asked: str, *, through_proxy: bool) -> None:
        if fault := self._fault("cloud_timeout", asked):
            await asyncio.sleep(fault.number("seconds", PUT_OFF_SECONDS))
            raise Hangup
        if self._fault("connection_reset", asked) or (not through_proxy and self._fault("cloud_unreachable", asked)):
            raise Hangup

    def _made_up(self, asked: str) -> Response | None:
        if self._fault("not_json", asked):
            return Response(LOGIN_PAGE, media_type="text/html")
        fault = self._fault("cloud_status", asked)
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
        nginx = next((row for row in rows if _listens(row, self.port)), None)
        if nginx is None:
            raise Hangup
        answering = _answering(rows, nginx)
        asked = f"{request.method} {path}"
        await self._trouble(asked, through_proxy=True)
        if path.lower() == "/alive":
            alive = (
                "alive" if nginx["service"] == "nginx" else time.strftime("%A, %d-%b-%Y %H:%M:%S GMT", time.gmtime())
            )
            return Response(alive, media_type="text/plain")
        if (made_up := self._made_up(asked)) is not None:
            return made_up
        service, shorter = _split(path)
        if service not in PREFIXES:
            return _page(200, "Bitwarden Web Vault") if "web" in answering else _page(502, "502 Bad Gateway")
        if service not in answering:
            return _page(502, "502 Bad Gateway")
        response = await self._app(service, request, shorter if service == "api" else path)
        if self._fault("truncated_body", asked):
            raise Truncated(response)
        return response


def _listens(row: dict[str, Any], port: int) -> bool:
    """Whether this container has the port of the front door."""
    published = [str(port) in text.split(":") for text in row.get("ports") or ()]
    return row["service"] in NGINX and row["state"] == "running" and (any(published) or not published)


def _answering(rows: list[dict[str, Any]], nginx: dict[str, Any]) -> set[str]:
    """The services behind nginx: those that are ready and still have the address that it found at its start."""
    ready = {row["service"]: row for row in rows if row["state"] == "running" and row["ready"] <= time.time()}
    if nginx["service"] == LITE:
        return {*PREFIXES, "web"} if LITE in ready else set()
    known = nginx.get("upstreams") or {}
    return {service for service, row in ready.items() if known.get(service, row["id"]) == row["id"]}


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
    """The ASGI application for all doors; the port that was called tells which, at a gateway the host name."""

    def __init__(self, doors: list[Door], gateway: Gateway | None = None, named: dict[str, int] | None = None) -> None:
        self.doors = {door.port: door for door in doors}
        self.gateway = gateway
        self.named = named or {}
        self.proxied: set[int] = set()

    async def _find(self, scope: Any, receive: Any, send: Any) -> Door | None:
        """None: the gateway has answered itself."""
        if self.gateway is None or scope["server"][1] in self.doors:
            return self.doors[scope["server"][1]]
        host = self.gateway.host_of(scope)
        if host in self.named:
            CALLER.set(self.gateway.server(scope["client"][0]))
            return self.doors[self.named[host]]
        try:
            response = await self.gateway.answer(Request(scope, receive), host)
        except Hangup:
            abort(send)
        else:
            await response(scope, receive, send)
        return None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        door = await self._find(scope, receive, send)
        if door is None:
            return
        request = Request(scope, receive)
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        try:
            response = await door.answer(request, through_proxy=scope["client"][1] in self.proxied)
        except Hangup:
            _log(door, request, path, 0)
            abort(send)
            return
        except Truncated as cut:
            _log(door, request, path, cut.response.status_code)
            await send_half(cut.response, send)
            abort(send)
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


def abort(send: Any) -> None:
    """The server's own `send` belongs to the request's cycle, which has the connection."""
    send.__self__.transport.abort()


async def send_half(response: Response, send: Any) -> None:
    body = bytes(response.body)
    headers = [(name, value) for name, value in response.raw_headers if name != b"content-length"]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    await asyncio.sleep(0.05)
