# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers as api, identity and push of the cloud do, by the name that is asked for; or with one fault.

It runs alone, with the standard library only: in the internet's container and in network namespaces.
"""

from __future__ import annotations

import argparse
import json
import secrets
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate

VERSION = "2026.7.2"
SECONDS = 30.0
LARGEST = 1 << 20
BEGINNING_OF_TLS = b"\x16\x03"
ORGANIZATION = "/licenses/organization/"
FAULTS = (
    "none", "reset-accept", "reset-tls", "silent", "silent-http", "close", "portal", "login", "not-bitwarden",
    "third-party", "error-403", "error-429", "error-500", "error-503", "cut", "body-rejected", "body-dropped",
    "body-hangs", "body-stays", "no-date", "plain", "old-tls",
)  # fmt: skip
REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
           405: "Method Not Allowed", 415: "Unsupported Media Type", 429: "Too Many Requests",
           500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable"}  # fmt: skip


@dataclass(frozen=True)
class Installation:
    region: str
    id: str
    key: str
    enabled: bool = True


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def host(self) -> str:
        return self.headers.get("host", "").rpartition(":")[0] or self.headers.get("host", "")


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes = b""
    kind: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class World:
    """What all names have in common."""

    installations: list[Installation]
    fault: str = "none"
    delay: float = 0.0
    clock: float = 0.0
    via: str = ""
    tokens: dict[str, str] = field(default_factory=dict)


def as_json(status: int, value: object) -> Response:
    return Response(status, json.dumps(value).encode())


def error(status: int, message: str) -> Response:
    empty = dict.fromkeys(("validationErrors", "exceptionMessage", "exceptionStackTrace", "innerExceptionMessage"))
    return as_json(status, {"message": message, **empty, "object": "error"})


def region_of(host: str) -> str:
    return "EU" if host.endswith(".eu") else "US"


def domain_of(host: str) -> str:
    return host.partition(".")[2] or host


def config(host: str, server: object = None) -> Response:
    base = {name: f"https://{name}.{domain_of(host)}" for name in ("vault", "api", "identity", "notifications", "sso")}
    rules = "https://github.com/bitwarden/map-the-web/releases/latest/download"
    return as_json(200, {
        "version": VERSION, "gitHash": "ffc280d2", "server": server,
        "environment": {"cloudRegion": region_of(host), **base, "fillAssistRules": rules},
        "featureStates": {}, "push": {"pushTechnology": 0, "vapidPublicKey": None}, "communication": None,
        "settings": {"disableUserRegistration": False, "suppressOnboardingInterstitials": False}, "object": "config",
    })  # fmt: skip


def installation(world: World, host: str, asked: str) -> Response:
    for one in world.installations:
        if one.id.lower() == asked.lower() and one.region == region_of(host):
            return as_json(200, {"id": one.id, "key": None, "enabled": one.enabled, "object": "installation"})
    return error(404, "Resource not found.")


def license_sync(world: World, request: Request) -> Response:
    """A GET whose body is needed: without it the answer is 415, with it the organization is looked for."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not token:
        return Response(401, headers=(("WWW-Authenticate", "Bearer"),))
    if "api.licensing" not in world.tokens.get(token, ""):
        return Response(403)
    if not request.body or world.fault == "body-dropped":
        return Response(415)
    return error(404, "Resource not found.")


def api(world: World, request: Request) -> Response:
    path = urllib.parse.urlsplit(request.path).path.lower().rstrip("/")
    if path.startswith(ORGANIZATION):
        return license_sync(world, request)
    if path.startswith("/installations/"):
        return installation(world, request.host, path.rpartition("/")[2])
    if path == "/config":
        server = {"name": "Vaultwarden", "url": "https://github.com/dani-garcia/vaultwarden"}
        return config(request.host, server if world.fault == "third-party" else None)
    return info(request, path)


def info(request: Request, path: str) -> Response:
    if path in {"/alive", "/now"}:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.1234567Z", time.gmtime())
        return as_json(200, moment) if request.method == "GET" else Response(405, headers=(("Allow", "GET"),))
    if path == "/version":
        return as_json(200, VERSION)
    return Response(404)


def push(world: World, request: Request) -> Response:
    del world
    path = urllib.parse.urlsplit(request.path).path.lower().rstrip("/")
    if path.startswith("/push"):
        return Response(401, headers=(("WWW-Authenticate", "Bearer"),))
    return config(request.host) if path == "/config" else info(request, path)


def identity(world: World, request: Request) -> Response:
    path = urllib.parse.urlsplit(request.path).path.lower()
    if path == "/.well-known/openid-configuration":
        return discovery(request.host)
    if path == "/connect/token":
        return token(world, request)
    return info(request, path.rstrip("/"))


def discovery(host: str) -> Response:
    base = f"https://{host}"
    return as_json(200, {
        "issuer": base, "jwks_uri": f"{base}/.well-known/openid-configuration/jwks",
        "authorization_endpoint": f"{base}/connect/authorize", "token_endpoint": f"{base}/connect/token",
        "scopes_supported": ["api", "api.push", "api.licensing", "api.organization", "api.installation", "internal",
                             "api.secrets", "api.send.access", "offline_access"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token", "implicit", "password",
                                  "webauthn", "send_access"],
    })  # fmt: skip


def token(world: World, request: Request) -> Response:
    form = {key: values[0] for key, values in urllib.parse.parse_qs(request.body.decode()).items()}
    if request.method != "POST" or "client_id" not in form:
        return as_json(400, {"error": "invalid_request"})
    for one in world.installations:
        known = one.enabled and one.region == region_of(request.host)
        if known and form["client_id"] == f"installation.{one.id}" and form.get("client_secret") == one.key:
            fresh = secrets.token_urlsafe(24)
            world.tokens[fresh] = form.get("scope", "")
            return as_json(200, {"access_token": fresh, "expires_in": 86400, "token_type": "Bearer",
                                 "scope": form.get("scope", "")})  # fmt: skip
    return as_json(400, {"error": "invalid_client"})


SERVICES: dict[str, Callable[[World, Request], Response]] = {"api": api, "identity": identity, "push": push}


def answer(world: World, request: Request) -> Response:
    whatever = {
        "portal": Response(200, b"<html><title>Welcome to the guests' network</title></html>", "text/html"),
        "login": Response(302, headers=(("Location", "http://login.example.com/"),)),
        "not-bitwarden": as_json(200, {}),
        "error-403": Response(403, b"<html>Blocked by policy</html>", "text/html"),
        "error-429": error(429, "Slow down! Too many requests. Try again in 1m."),
        "error-500": error(500, "An unhandled server error has occurred."),
        "error-503": Response(503, b"<html>Service Unavailable</html>", "text/html"),
    }
    if world.fault in whatever:
        return whatever[world.fault]
    if world.fault == "body-rejected" and request.method == "GET" and request.body:
        return Response(400, b"<html>Bad Request</html>", "text/html")
    service = SERVICES.get(request.host.partition(".")[0])
    return service(world, request) if service else Response(200, b"<html>Hello</html>", "text/html")


class Incoming:
    """Requests off one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.buffer = b""

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            self._more()
            if self.buffer.startswith(BEGINNING_OF_TLS):
                raise ValueError("this is no HTTP")
        found, _mark, self.buffer = self.buffer.partition(mark)
        return found

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self._more()
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    def _more(self) -> None:
        data = self.connection.recv(65536)
        if not data or len(self.buffer) > LARGEST:
            raise ConnectionError("nothing more comes")
        self.buffer += data

    def request(self, *, bodies_of_get: bool) -> Request:
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, path, _version = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, _colon, value in (one.partition(":") for one in lines)}
        body = self._body(headers) if bodies_of_get or method != "GET" else b""
        return Request(method, path, headers, body)

    def _body(self, headers: dict[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", ""):
            return self.exactly(int(headers.get("content-length", "0")))
        body = b""
        while size := int(self.until(b"\r\n").partition(b";")[0], 16):
            body += self.exactly(size)
            self.exactly(2)
        self.until(b"\r\n")
        return body


def written(world: World, response: Response) -> bytes:
    headers = [("Content-Type", response.kind)] if response.body else []
    headers += [("Content-Length", str(len(response.body))), ("Server", "Kestrel")]
    if world.fault != "no-date":
        headers.append(("Date", formatdate(time.time() + world.clock, usegmt=True)))
    if world.via:
        headers.append(("Via", world.via))
    head = f"HTTP/1.1 {response.status} {REASONS.get(response.status, '')}\r\n"
    text = "".join(f"{name}: {value}\r\n" for name, value in [*headers, *response.headers])
    return f"{head}{text}\r\n".encode() + response.body


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def converse(world: World, connection: socket.socket) -> None:
    """Requests and answers until one side has enough."""
    incoming = Incoming(connection)
    while True:
        try:
            request = incoming.request(bodies_of_get=world.fault != "body-stays")
        except ValueError:
            connection.sendall(written(world, Response(400, b"<html>Bad Request</html>", "text/html")))
            return
        time.sleep(world.delay)
        if world.fault == "close":
            return
        if world.fault == "silent-http" or (world.fault == "body-hangs" and request.method == "GET" and request.body):
            time.sleep(SECONDS)
            return
        data = written(world, answer(world, request))
        if world.fault == "cut":
            connection.sendall(data[: len(data) - len(data) // 4])
            return
        connection.sendall(data)


def serve(world: World, context: ssl.SSLContext | None, connection: socket.socket) -> None:
    connection.settimeout(SECONDS)
    try:
        if world.fault == "reset-accept":
            reset(connection)
        elif world.fault == "reset-tls":
            connection.recv(65536)
            reset(connection)
        elif world.fault == "silent":
            time.sleep(SECONDS)
        elif context is None or world.fault == "plain":
            converse(world, connection)
        else:
            with context.wrap_socket(connection, server_side=True) as secure:
                converse(world, secure)
    except OSError:
        pass
    finally:
        connection.close()


def listen(world: World, context: ssl.SSLContext | None, address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    both = address == "::"
    server = socket.create_server((address, port), family=family, backlog=500, dualstack_ipv6=both)
    while True:
        try:
            connection, _peer = server.accept()
        except OSError:
            continue
        threading.Thread(target=serve, args=(world, context, connection), daemon=True).start()


def read_installation(text: str) -> Installation:
    region, name, key, *off = text.split(",")
    return Installation(region, name, key, enabled=not off)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="::", help="addresses, separated by commas")
    parser.add_argument("--port", type=int, default=443)
    parser.add_argument("--cert", help="the chain; without it the answers are not encrypted")
    parser.add_argument("--key")
    parser.add_argument("--fault", choices=FAULTS, default="none")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--clock", type=float, default=0.0, help="seconds that the Date header is ahead")
    parser.add_argument("--via", default="", help="what a proxy says of itself")
    parser.add_argument("--installation", action="append", default=[], metavar="REGION,ID,KEY[,disabled]",
                        type=read_installation)  # fmt: skip
    return parser.parse_args()


def main() -> None:
    wanted = options()
    context = None
    if wanted.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(wanted.cert, wanted.key or wanted.cert)
        if wanted.fault == "old-tls":
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    world = World(wanted.installation, wanted.fault, wanted.delay, wanted.clock, wanted.via)
    threads = [
        threading.Thread(target=listen, args=(world, context, address, wanted.port), daemon=True)
        for address in wanted.listen.split(",")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit("nothing could be listened at")


if __name__ == "__main__":
    main()
