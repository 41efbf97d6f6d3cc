# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Docker engine as its socket offers it: the few calls that the lab makes often, or where no client is at hand."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

API = "/v1.40"
TIMEOUT = 30.0
PREFIX = "bitwarden"


class EngineError(OSError):
    """The engine said no, or did not answer as an engine does."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Engine:
    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, path: str) -> Any:
        connection = _UnixConnection(self.path, TIMEOUT)
        try:
            connection.request("GET", f"{API}{path}")
            response = connection.getresponse()
            body = response.read()
            if response.status != http.HTTPStatus.OK:
                raise EngineError(f"{path}: {response.status} {body[:200].decode(errors='replace')}")
            return json.loads(body)
        except (http.client.HTTPException, ValueError) as error:
            raise EngineError(f"{path}: {error}") from None
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            self.get("/version")
        except OSError:
            return False
        return True

    def containers(self, *, every: bool = True) -> list[dict[str, Any]]:
        """Bitwarden's own, as `docker inspect` shows them; one that goes meanwhile is left out."""
        found = []
        for entry in self.get(f"/containers/json?all={int(every)}"):
            name = entry["Names"][0].lstrip("/") if entry.get("Names") else ""
            if not name.startswith(PREFIX):
                continue
            try:
                found.append(self.get(f"/containers/{quote(entry['Id'])}/json"))
            except EngineError:
                continue
        return found

    def running(self, name: str) -> bool:
        try:
            return bool(self.get(f"/containers/{quote(name)}/json")["State"]["Running"])
        except EngineError:
            return False

    def events(self, since: float, until: float) -> Iterator[dict[str, Any]]:
        """What happened to containers between two times, which lie in the past, so that the answer ends."""
        filters = quote(json.dumps({"type": ["container"], "event": ["start"]}))
        connection = _UnixConnection(self.path, TIMEOUT)
        try:
            connection.request("GET", f"{API}/events?since={since:.9f}&until={until:.9f}&filters={filters}")
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise EngineError(f"/events: {response.status}")
            for line in response.read().splitlines():
                yield json.loads(line)
        except (http.client.HTTPException, ValueError) as error:
            raise EngineError(f"/events: {error}") from None
        finally:
            connection.close()
