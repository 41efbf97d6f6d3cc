# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Api and Identity of a self-hosted server, as processes of containers of their own."""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

import bwlab.api
import bwlab.identity
from bwlab import jobs
from bwlab.bearer import bearer
from bwlab.door import PROBE, STYLE_HEADERS, Door, Hangup, Truncated, abort, send_half
from bwlab.errors import ServerError
from bwlab.inside import dotnet, entry, places, serve, transport
from bwlab.inside.database import GuardedStore, SqlLogin
from bwlab.labdb import Fault
from bwlab.licenses import load_certificate
from bwlab.network import TLS_FAULTS, NetworkError
from bwlab.persona import Lab, Persona, Settings, settings_from_env
from bwlab.store import Store
from bwlab.times import http_date
from bwlab.web import UNHANDLED, dispatch, error_response

JOB_INTERVAL = 2.0
INTERNAL_IDENTITY = "http://identity:5000"
KEYS_PATH = "/.well-known/openid-configuration"
KEYS_AGENT = {"User-Agent": "Microsoft ASP.NET Core JwtBearer handler"}
KEYS_PAUSE = 1.0
# Without a server's name these strike at the door of the cloud, where the request goes over the real network.
OUTSIDE_FAULTS = frozenset(
    {
        *TLS_FAULTS,
        "cloud_unreachable",
        "connection_reset",
        "cloud_timeout",
        "cloud_status",
        "not_json",
        "truncated_body",
    }
)
LOG_FOLDERS = {"api": "Api", "identity": "Identity"}


def settings_of(environment: Mapping[str, str], where: places.Places) -> Settings:
    """What the container was given; addresses that are not set lie below the vault's."""
    given = dotnet.given(environment)
    vault = (given.get("baseserviceuri__vault") or "http://localhost").rstrip("/")
    names = ("api", "identity", "notifications", "sso")
    urls = {name: given.get(f"baseserviceuri__{name}") or f"{vault}/{name}" for name in names}
    parts = urlsplit(urls["identity"])
    base = Settings(
        license_dir=where.licenses,
        log_dir=where.logs,
        urls={"vault": vault, **urls},
        issuer=f"{parts.scheme}://{parts.hostname}",
    )
    return settings_from_env(environment, base)


class ContainerPersona(Persona):
    """A self-hosted persona whose settings are this process's environment."""

    def __init__(self, service: str, store: Store, lab: Lab, settings: Settings) -> None:
        super().__init__(f"server:{places.server_name()}", "self_hosted", store, lab, settings)
        self.service = service
        self.identity_known = service == "identity"

    def settings(self) -> Settings:
        return self.base

    def log_folder(self) -> Path | None:
        return None if self.base.log_dir is None else self.base.log_dir / LOG_FOLDERS[self.service]

    def fault(self, name: str, path: str | None = None, *, count: bool = True) -> Fault | None:
        if name in OUTSIDE_FAULTS and self.lab.db is not None:
            named = [fault for fault in self.lab.db.faults() if fault.options.get("server") == self.short_name]
            if not any(fault.name == name for fault in named):
                return None
        return super().fault(name, path, count=count)


class SigningKeys:
    """Identity's keys, fetched by the Api when it first needs them, over whatever way its environment prescribes."""

    def __init__(self, identity: str = INTERNAL_IDENTITY) -> None:
        self.url = identity.rstrip("/") + KEYS_PATH
        self._tried = 0.0

    async def fetch(self, persona: Persona) -> None:
        if persona.identity_known or time.monotonic() - self._tried < KEYS_PAUSE:
            return
        self._tried = time.monotonic()
        with suppress(NetworkError):
            for address in (self.url, f"{self.url}/jwks"):
                answer = await transport.send(persona, "GET", address, dict(KEYS_AGENT), b"")
                if not answer.ok:
                    return
            persona.identity_known = True


class ServiceDoor(Door):
    """One service as nginx reaches it; what strikes at the front door of a server strikes here."""

    def __init__(self, persona: ContainerPersona, keys: SigningKeys, port: int) -> None:
        super().__init__(persona, persona.service, port)
        self.keys = keys

    async def answer(self, request: Request, *, through_proxy: bool) -> Response:
        asked = f"{request.method} {request.scope['raw_path'].decode('latin-1')}"
        await self._trouble(asked, through_proxy=through_proxy)
        if (made_up := self._made_up(asked)) is not None:
            return made_up
        if self.service == "api" and bearer(request) is not None:
            await self.keys.fetch(self.persona)
        response = await dispatch(self.persona, self.service, request)
        if self._fault("truncated_body", asked):
            raise Truncated(response)
        return response


class Service:
    """The ASGI application of one container."""

    def __init__(self, door: ServiceDoor, *, jobs_too: bool = False) -> None:
        self.door = door
        self.persona = door.persona
        self.jobs_too = jobs_too
        self._background: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if self.jobs_too and self._background is None:
            self._background = asyncio.create_task(run_jobs(self.persona))
        request = Request(scope, receive)
        try:
            response = await self.door.answer(request, through_proxy=True)
        except Hangup:
            self._log(request, 0)
            abort(send)
            return
        except Truncated as cut:
            self._log(request, cut.response.status_code)
            await send_half(cut.response, send)
            abort(send)
            return
        except ServerError as error:
            self.persona.log(UNHANDLED, "Error", "Unhandled exception", error.exception)
            response = error_response(error)
        except Exception:
            # The lab's own mistake: seen in the container's log, and answered as the real server answers its own.
            traceback.print_exc()
            response = error_response(ServerError())
        response.headers.update({"Date": http_date(self.persona.now()), "Server": "Kestrel", **STYLE_HEADERS})
        self._log(request, response.status_code)
        await response(scope, receive, send)

    def _log(self, request: Request, status: int) -> None:
        """What came through nginx: no health checks, nor what services ask each other, nor the lab's own watch."""
        database = self.persona.lab.db
        if database is None or "x-real-ip" not in request.headers or request.headers.get("x-connecting-ip") == PROBE:
            return
        path = request.scope["raw_path"].decode("latin-1").partition("?")[0]
        database.log_request(
            self.persona.name,
            self.door.service,
            request.method,
            path=f"/api{path}" if self.door.service == "api" else path,
            status=status,
            actor=str(request.scope.get("bwlab.actor", "")),
        )


async def run_jobs(persona: Persona) -> None:
    """The Api's daily and half-daily jobs."""
    started = time.time()
    while True:
        await asyncio.sleep(JOB_INTERVAL)
        try:
            await jobs.run_due(persona, started)
        except Exception:
            # Seen in the container's log; the next run is another one.
            traceback.print_exc()


def make(service: str, where: places.Places, store: Store, keys: SigningKeys, port: int) -> Service:
    bwlab.api.load()
    bwlab.identity.load()
    lab = Lab(where.lab, db=where.lab_db(), delay=float(os.environ.get("BWLAB_DELAY", "2")))
    lab.transport = transport.send
    certificate = where.lab / "licensing.pem"
    lab.license_certificates = [load_certificate(certificate)] if certificate.is_file() else []
    persona = ContainerPersona(service, store, lab, settings_of(os.environ, where))
    return Service(ServiceDoor(persona, keys, port), jobs_too=service == "api")


def _store(where: places.Places, settings: Mapping[str, str]) -> Store:
    """Lite may have no database server, but the file itself."""
    if settings.get("databaseprovider") == "sqlite":
        return Store(where.database)
    return GuardedStore(where.database, SqlLogin.of(settings).check)


def main(service: str) -> int:
    settings = dotnet.given(os.environ)
    if places.in_lite():
        where = places.lite(os.environ.get("BW_DB_FILE"))
        entry.obey_signals()
    else:
        root = places.BITWARDEN
        extra = (root / "identity",) if service == "identity" else ()
        entry.begin((places.CORE, root / "logs", root / "ca-certificates", *extra))
        where = places.standard(SqlLogin.of(settings).catalog)
    dotnet.demand_readable()
    serve.wait_for_start(where)
    keys = SigningKeys(settings.get("baseserviceuri__internalidentity") or INTERNAL_IDENTITY)
    serve.serve(make(service, where, _store(where, settings), keys, serve.port()))
    return 0
