"""The recorded people, organizations and licenses behind two real front doors on loopback, without containers."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import bwlab.api
import bwlab.identity
import uvicorn
from bwlab.keys import SigningKey
from bwlab.persona import Persona
from bwlab.ratelimit import Limiter
from bwlab.replay.world import World
from bwlab.store import Row, Store
from bwlab.web import dispatch
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from unit.module_runner import Result, run_module
from unit.recordings import FOLDER
from unit.web import Answer

# The licenses of the recordings are valid from here on, for a year.
RECORDED = datetime(2026, 11, 22, 16, 0, tzinfo=timezone.utc)
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
ACME = {"cloud": "a42827dc-679c-5946-b772-c1059c9a4ae6", "self_hosted": "3583610f-bb6a-4bac-9521-b50a00eba9fa"}

StandIn = tuple[int, Any]
Intercept = Callable[[str, str, str], Answer | None]


class Front:
    """nginx, in so far as it divides one address between the services."""

    def __init__(self, persona: Persona, log: list[str], world: Recorded) -> None:
        self._persona = persona
        self._log = log
        self._world = world

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        _root, service, *rest = scope["path"].split("/")
        path = "/" + "/".join(rest)
        raw_path = b"/" + scope["raw_path"].split(b"/", 2)[-1]
        request = Request({**scope, "path": path, "raw_path": raw_path}, receive)
        intercepted = self._world.intercept(scope["method"], path, self._persona.kind)
        stand_in = next((found for end, found in self._world.stand_ins.items() if path.endswith(end)), None)
        if intercepted is not None:
            response = Response(intercepted.content(), intercepted.status, intercepted.headers)
        elif stand_in is None:
            response = await dispatch(self._persona, service, request)
        else:
            status, body = stand_in
            response = Response(status_code=status) if body is None else JSONResponse(body, status)
        response.headers["date"] = format_datetime(self._persona.now().astimezone(timezone.utc), usegmt=True)
        self._log.append(f"{scope['method']} {scope['path']} {response.status_code}")
        await response(scope, receive, send)


class Door:
    """A server that serves one world after the other: to end one takes longer than most of the tests."""

    free: list[Door] = []

    def __init__(self) -> None:
        self.front: Front | None = None
        config = uvicorn.Config(self, host="127.0.0.1", port=0, log_level="warning", date_header=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.01)
        self.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.front is not None, "nobody is at home"
        await self.front(scope, receive, send)


@contextmanager
def served(front: Front) -> Iterator[str]:
    door = Door.free.pop() if Door.free else Door()
    door.front = front
    try:
        yield door.url
    finally:
        door.front = None
        Door.free.append(door)


@functools.cache
def signing_key(_side: str) -> str:
    """As PEM; one for all worlds of this process."""
    scratch = Store(None)
    SigningKey.of(scratch)
    (row,) = scratch.rows("LabSigningKey")
    return str(row["Pem"])


class Recorded:
    """A world that modules can be run against."""

    front: type[Front] = Front

    def __init__(self, folder: Path) -> None:
        bwlab.api.load()
        bwlab.identity.load()
        keys = {side: signing_key(side) for side in ("cloud", "self_hosted")}
        self.folder = folder
        self.world = World(FOLDER, folder / "world", keys)
        offset = (RECORDED - datetime.now(timezone.utc)).total_seconds()
        self.logs: dict[str, list[str]] = {"cloud": [], "self_hosted": []}
        self.urls: dict[str, str] = {}
        # What something on the way answers in the servers' place, by the end of the path: status and JSON.
        self.stand_ins: dict[str, StandIn] = {}
        # The same by method, path and side, and with headers.
        self.intercept: Intercept = lambda _method, _path, _side: None
        self.runner: Callable[..., Result] = run_module
        for persona in self.world.sides.values():
            persona.clock_offset = offset

    @contextmanager
    def running(self) -> Iterator[Recorded]:
        cloud, server = (self.front(self.world.sides[side], self.logs[side], self) for side in ("cloud", "self_hosted"))
        with served(cloud) as cloud_url, served(server) as server_url:
            self.urls = {"cloud": cloud_url, "self_hosted": server_url}
            yield self

    def store(self, side: str) -> Store:
        return self.world.sides[side].store

    def rows(self, side: str, table: str, **where: Any) -> list[Row]:
        return self.store(side).rows(table, **where)

    def credentials(self, side: str, person: str) -> dict[str, str]:
        found = self.world.people[side]["users"][person]
        return {"client_id": f"user.{found['id']}", "client_secret": found["apiKey"]}

    def password(self, person: str) -> str:
        return str(self.world.people["cloud"]["users"][person]["password"])

    def secrets(self) -> list[str]:
        """Whatever must not be shown: passwords, hashes, API keys, tokens for billing sync."""
        found = []
        for side in ("cloud", "self_hosted"):
            for person in self.world.people[side]["users"].values():
                found += [person["password"], person["masterPasswordHash"], person["apiKey"]]
            found += [str(row["ApiKey"]) for row in self.rows(side, "OrganizationApiKey")]
        return found

    def run(self, side: str, module: str, *, person: str = "owner", **options: Any) -> Result:
        """Run a module as that person at that side's server; options of the runner stand beside the module's own."""
        runner = {name: options.pop(name) for name in ("check", "diff") if name in options}
        for persona in self.world.sides.values():
            persona.limiter = Limiter()
        for kept in (self.folder / "ansible" / "selfhosted.bitwarden").glob("logins-*"):
            kept.unlink(missing_ok=True)
        key = {} if module == "installation_info" else self.credentials(side, person)
        arguments = {"url": self.urls[side], "retries": 0, **key, **options}
        environment = {**dict.fromkeys(PROXIES), "ANSIBLE_HOME": str(self.folder / "ansible")}
        return self.runner(module, arguments, env=environment, **runner)

    def token(self, *, person: str = "owner", **options: Any) -> Result:
        given = {"organization": ACME["cloud"], "master_password": self.password(person), **options}
        return self.run("cloud", "billing_sync_token", person=person, **given)

    def cloud_key(self) -> str | None:
        rows = self.rows("cloud", "OrganizationApiKey", OrganizationId=ACME["cloud"], Type=1)
        return str(rows[0]["ApiKey"]) if rows else None
