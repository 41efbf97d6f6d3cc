# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The recorded world, played by the lab in this process: a cloud and a self-hosted server that talk to each other."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bwlab.api
import bwlab.identity
from bwlab import license_store, times
from bwlab.in_process import call_in_process
from bwlab.labdb import LabDb
from bwlab.persona import Persona, Settings
from bwlab.replay.world import World
from bwlab.store import Row, Store

NOW = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)
KEY = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5"
WRONG_PASSWORD = "d3Jvbmd3cm9uZ3dyb25nd3Jvbmd3cm9uZ3dyb25n"
Side = str


@dataclass
class Reply:
    status: int
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def message(self) -> str:
        return str(self.body["message"]) if self.text else ""


class SmallWorld:
    """`cloud` and `server` hold organization acme; faults are set as `lab fault set` does."""

    def __init__(self, recordings: Path, directory: Path, keys: dict[str, str]) -> None:
        bwlab.api.load()
        bwlab.identity.load()
        self.world = World(recordings, directory, keys)
        self.db = LabDb(directory / "lab.sqlite")
        self.world.lab.db = self.db
        self.cloud, self.server = self.world.sides["cloud"], self.world.sides["self_hosted"]
        self.tokens: dict[tuple[Side, str], str] = {}
        self.set_time(NOW)
        self.settings(identity_uri="http://127.0.0.1:14033", api_uri="http://127.0.0.1:14000")

    def close(self) -> None:
        self.db.close()
        for persona in self.world.lab.personas.values():
            persona.store.close()

    def set_time(self, moment: datetime) -> None:
        self.world.set_time(moment)

    def pass_time(self, **span: float) -> None:
        self.set_time(self.server.now() + timedelta(**span))

    def settings(self, **changes: Any) -> None:
        self.server.base = replace(self.server.base, **changes)

    def add_empty_cloud(self, address: str) -> Persona:
        """Another region: it knows nobody."""
        cloud = Persona("cloud:EU", "cloud", Store(None), self.world.lab, Settings(issuer=f"https://{address}"))
        cloud.fixed_now = self.server.now()
        self.world.lab.hosts[address] = "cloud:EU/identity"
        return cloud

    def acme(self, side: Side = "self_hosted") -> str:
        return str(self.world.people[side]["orgs"]["acme"]["id"])

    def row(self, table: str, side: Side = "self_hosted", **where: Any) -> Row:
        found = self.world.sides[side].store.one(table, **where)
        assert found is not None, f"no row of {table} with {where}"
        return found

    def organization(self, side: Side = "self_hosted") -> Row:
        return self.row("Organization", side, Id=self.acme(side))

    def connect(self, key: str = KEY) -> None:
        """A billing sync key at the cloud, and a connection with it at the server."""
        stored = {"ApiKey": KEY, "OrganizationId": self.acme("cloud"), "RevisionDate": times.column(NOW), "Type": 1}
        self.cloud.store.insert("OrganizationApiKey", stored)
        config = {"BillingSyncKey": key, "CloudOrganizationId": self.acme("cloud"), "LastLicenseSync": None}
        row = {"Type": 1, "OrganizationId": self.acme(), "Enabled": 1, "Config": json.dumps(config)}
        self.server.store.insert("OrganizationConnection", row)

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.row("OrganizationConnection", OrganizationId=self.acme())["Config"])
        return found

    def license_file(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(license_store.license_path(self.server, self.acme()).read_text("utf-8"))
        return found

    def log_lines(self) -> list[str]:
        return [line for row in self.server.store.rows("LabLog") for line in row["Text"].split("\n")]

    def requests(self) -> list[tuple[str, str, str, int]]:
        """What the cloud was asked by the server."""
        entries = [entry for entry in self.db.log(0) if entry["persona"].startswith("cloud:")]
        return [(each["actor"], each["method"], each["path"], each["status"]) for each in entries]

    async def ask(self, side: Side, person: str, method: str, path: str, body: Any = None) -> Reply:
        token = self.tokens.get((side, person)) or self.world.token(side, person)
        self.tokens[side, person] = token
        headers = {"Authorization": f"Bearer {token}"}
        data = b""
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        persona = self.world.sides[side]
        response = await call_in_process(persona, "api", method, path, headers=headers, body=data, client=person)
        return Reply(response.status_code, bytes(response.body).decode())

    def call(self, side: Side, person: str, method: str, path: str, body: Any = None) -> Reply:
        return asyncio.run(self.ask(side, person, method, path, body))

    def sync(self) -> Reply:
        return self.call("self_hosted", "owner", "POST", f"/organizations/licenses/self-hosted/{self.acme()}/sync")
