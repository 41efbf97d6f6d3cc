# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The services that a cloud connection does not need: they say that they are alive, and what a browser would see."""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bwlab.inside import dotnet, entry, places, serve

ROOT = places.BITWARDEN
FOLDERS = {
    "admin": (places.CORE, ROOT / "logs", ROOT / "ca-certificates"),
    "sso": (places.CORE, ROOT / "identity", ROOT / "logs", ROOT / "ca-certificates"),
    "scim": (places.CORE, ROOT / "logs", ROOT / "ca-certificates"),
    "attachments": (places.CORE / "attachments",),
    "web": (ROOT / "web",),
    "key-connector": (ROOT / "key-connector", ROOT / "logs", ROOT / "ca-certificates"),
}
ELSEWHERE = (ROOT / "logs", ROOT / "ca-certificates")
PAGE = "<!doctype html><html><head><title>{title}</title></head><body><app-root>{title}</app-root></body></html>"
# What Icons sends when it has no better one: a pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
CONNECTORS = ("duo-connector", "webauthn-connector", "webauthn-fallback-connector", "sso-connector")
PATH_BASES = ("admin", "sso")
MIGRATION_TRIES = 10
MIGRATION_PAUSE = 20.0
Reply = tuple[int, str, bytes]


def _page(title: str) -> Reply:
    return 200, "text/html; charset=utf-8", PAGE.format(title=title).encode()


class Plain:
    """Has nothing but these few paths."""

    def __init__(self, service: str, web: Path = ROOT / "web") -> None:
        self.service = service
        self.web = web

    def answer(self, path: str) -> Reply:
        """Admin and Sso answer below their own name and without it."""
        if self.service in PATH_BASES and path.lower().startswith(f"/{self.service}"):
            path = path[len(self.service) + 1 :] or "/"
        if self.service == "web":
            return self._web(path)
        if path.lower().rstrip("/") in ("/alive", "/now"):
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
            return 200, "application/json; charset=utf-8", json.dumps(now).encode()
        if path.lower() == "/version":
            return 200, "application/json; charset=utf-8", json.dumps(os.environ.get("BWLAB_VERSION", "")).encode()
        if self.service == "icons" and path.endswith("/icon.png"):
            return 200, "image/png", PIXEL
        if self.service == "admin" and path.rstrip("/") in ("", "/login"):
            return _page("Log In | Bitwarden Admin Portal")
        return 404, "text/plain", b""

    def _web(self, path: str) -> Reply:
        if path in ("/", "/index.html"):
            return _page("Bitwarden Web Vault")
        if path == "/app-id.json" and (self.web / "app-id.json").is_file():
            return 200, "application/json", (self.web / "app-id.json").read_bytes()
        if path.removesuffix(".html").lstrip("/") in CONNECTORS:
            return _page("Bitwarden Connector")
        return 404, "text/html", b""


def listen(service: Plain, port: int) -> ThreadingHTTPServer:
    """The standard library's server: nine of these start at once, and with more to load each would take its time."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def version_string(self) -> str:
            return "Kestrel"

        def do_GET(self) -> None:
            status, kind, body = service.answer(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *_unused: object) -> None:
            """The real services do not write each request down either."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    return Server(("", port), Handler)


def migrate() -> None:
    """Admin's migration: the database is made where there is none; without a database server Admin ends at last."""
    from bwlab.errors import ServerError  # noqa: PLC0415 - the other services start without
    from bwlab.inside.database import SqlLogin  # noqa: PLC0415 - as above

    login = SqlLogin.of(dotnet.given(os.environ))
    for number in range(1, MIGRATION_TRIES + 1):
        time.sleep(MIGRATION_PAUSE)
        try:
            login.create_catalog()
        except ServerError as error:
            print(f"Database unavailable for migration (attempt #{number}): {error.exception}", file=sys.stderr)
        else:
            print("Migration successful.", file=sys.stderr)
            return
    os._exit(dotnet.ABORTED)


def main(service: str) -> int:
    if places.in_lite():
        entry.obey_signals()
    else:
        entry.begin(FOLDERS.get(service, ELSEWHERE))
    if service != "web":
        dotnet.demand_readable()
    serve.wait_for_start(places.lite() if places.in_lite() else places.standard())
    if service == "admin" and dotnet.given(os.environ).get("databaseprovider") != "sqlite":
        threading.Thread(target=migrate, daemon=True).start()
    listen(Plain(service), serve.port()).serve_forever()
    return 0
