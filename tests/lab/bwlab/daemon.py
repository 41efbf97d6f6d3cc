# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one process that serves all personas of a lab: `python -m bwlab.daemon DIR`.

It inherits its listening sockets from `lab up`, so that every port is known, and taken, before it runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import sys
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

import bwlab.api
import bwlab.identity
from bwlab import jobs, tls
from bwlab.door import Door, Front
from bwlab.labdb import LabDb
from bwlab.layout import Layout, load_lab
from bwlab.persona import Lab, Persona
from bwlab.proxy import Proxy

TLS_FAULTS = (tls.UNKNOWN_CA, tls.WRONG_HOST, tls.EXPIRED)
JOB_INTERVAL = 2.0
GATEWAY_PORT = 443


class Certificates:
    """One context a persona; a fault puts another one in its place for the handshake at hand."""

    def __init__(self, directory: Path, database: LabDb) -> None:
        self.database = database
        self.bad = {name: tls.context(directory, name) for name in TLS_FAULTS}
        self.directory = directory

    def for_door(self, door: Door) -> ssl.SSLContext:
        good = tls.context(self.directory)
        persona = door.persona

        def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            self._choose(connection, persona)

        good.sni_callback = choose
        return good

    def for_gateway(self, named: dict[str, Persona]) -> ssl.SSLContext:
        """The name that a caller asks for tells whose faults hold."""
        good = tls.context(self.directory)

        def choose(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
            if name in named:
                self._choose(connection, named[name])

        good.sni_callback = choose
        return good

    def _choose(self, connection: ssl.SSLObject, persona: Persona) -> None:
        for name in TLS_FAULTS:
            if self._holds(name, persona) and self.database.take_fault(name, persona=persona.name):
                connection.context = self.bad[name]

    def _holds(self, name: str, persona: Persona) -> bool:
        """A server's front door has a bad certificate only where the fault names it."""
        limits = [fault.options.get("persona") for fault in self.database.faults() if fault.name == name]
        return persona.name in limits or (persona.is_cloud and None in limits)


class Server(uvicorn.Server):
    """uvicorn's server with a certificate of its own for every socket."""

    def __init__(self, config: uvicorn.Config, sockets: list[tuple[socket.socket, ssl.SSLContext]]) -> None:
        super().__init__(config)
        self.pairs = sockets

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.servers: list[asyncio.Server] = []
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # uvicorn says a bare Protocol
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return made

        for sock, context in self.pairs:
            self.servers.append(await loop.create_server(protocol, sock=sock, ssl=context, backlog=256))
        self.started = True


async def _run_jobs(lab: Lab, database: LabDb) -> None:
    """The daily and half-daily jobs of every self-hosted Api that runs."""
    while True:
        await asyncio.sleep(JOB_INTERVAL)
        for persona in [persona for persona in lab.personas.values() if not persona.is_cloud]:
            container = database.api_container(persona.short_name)
            if container is None or container["state"] != "running":
                continue
            try:
                await jobs.run_due(persona, container["started"])
            except Exception:
                # Goes to daemon.log; the jobs of the other servers go on.
                traceback.print_exc()


def _sockets() -> dict[int, socket.socket]:
    found = {}
    for number in json.loads(os.environ["BWLAB_SOCKETS"]):
        sock = socket.socket(fileno=number)
        found[sock.getsockname()[1]] = sock
    return found


def _refuser(database: LabDb, doors: list[Door]) -> Any:
    clouds = {door.port: door.persona.name for door in doors if door.persona.is_cloud}

    def refuse(port: int) -> bool:
        if port not in clouds:
            return False
        return database.take_fault("cloud_unreachable", persona=clouds[port], path="/") is not None

    return refuse


class Extra:
    """What a lab on a real engine needs of the daemon: the gateway, and an eye on every server."""

    def __init__(self, directory: Path, layout: Layout, database: LabDb) -> None:
        from bwlab.docker.gateway import Gateway  # noqa: PLC0415 - the other engine has none
        from bwlab.docker.watch import Watch  # noqa: PLC0415 - as above

        layers = sorted((directory / "docker" / "layers").glob("*.tar"))
        self.gateway = Gateway(directory, layers, database)
        hosts = self.gateway.hosts
        names = [server.name for server in layout.servers]
        self.watches = [Watch(directory, layout, name, partial(hosts.engine, name)) for name in names]

    def start(self) -> None:
        for watch in self.watches:
            watch.start()


async def serve(directory: Path) -> None:
    layout = Layout.read(directory)
    database = LabDb(directory / "lab.sqlite")
    lab = load_lab(layout, database)
    bwlab.api.load()
    bwlab.identity.load()
    sockets = _sockets()
    doors = [
        Door(lab.personas[entry.persona], entry.service, entry.port) for entry in layout.doors if entry.port in sockets
    ]
    extra = None if len(doors) == len(layout.doors) else Extra(directory, layout, database)
    front = Front(doors, extra.gateway if extra else None, layout.routes())
    certificates = Certificates(directory, database)
    config = uvicorn.Config(
        front, log_level="critical", lifespan="off", server_header=False, date_header=False, proxy_headers=False,
        http="h11", ws="none", timeout_keep_alive=75, timeout_graceful_shutdown=1,
    )  # fmt: skip
    config.load()
    pairs = [(sockets[door.port], certificates.for_door(door)) for door in doors]
    if extra:
        names = {name: front.doors[port].persona for name, port in layout.routes().items()}
        pairs.append((sockets[GATEWAY_PORT], certificates.for_gateway(names)))
    server = Server(config, pairs)
    proxy = Proxy(layout.routes(), {door.port for door in layout.doors}, _refuser(database, doors), front.proxied)
    proxy_server = await proxy.start(sockets[layout.proxy_port])
    background = asyncio.create_task(_run_jobs(lab, database))
    if extra:
        extra.start()
    (directory / "lab.pid").write_text(f"{os.getpid()}\n", encoding="utf-8")
    try:
        await server.serve()
    finally:
        background.cancel()
        proxy_server.close()
        (directory / "lab.pid").unlink(missing_ok=True)


def main() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
