# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's secrets: what users would keep in the environment or a vault, and everything secret that a lab holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bwlab.labdb import LabDb
from bwlab.store import Row, Store

FILE = "secrets.json"
COLUMNS = {
    "User": ("ApiKey", "MasterPassword", "SecurityStamp"),
    "OrganizationApiKey": ("ApiKey",),
    "Organization": ("LicenseKey",),
    "Installation": ("Key",),
    "LabGrant": ("Token",),
    "LabRemember": ("Token",),
    "LabCode": ("Code",),
}
SECRET_NAME = re.compile(r"(password|secret|key|akey|connectionstring)$", re.IGNORECASE)
NOT_SET = {"", "REPLACE", "SECRET", "true", "false"}
MIN_LENGTH = 6


class Secrets:
    """For every server: its organization, and how its two owners log in."""

    def __init__(self) -> None:
        self.servers: dict[str, dict[str, Any]] = {}

    def _entry(self, server: str) -> dict[str, Any]:
        return self.servers.setdefault(server, {})

    def owner(self, server: str, user: Row, password: str, organization: Row) -> None:
        self._entry(server)["owner"] = _login(user, password)
        self._entry(server)["organization"] = organization["Name"]

    def cloud_owner(self, server: str, user: Row, password: str, organization: Row) -> None:
        self._entry(server)["cloud_owner"] = _login(user, password)
        self._entry(server)["cloud_organization"] = organization["Id"].lower()

    def write(self, directory: Path) -> None:
        file = directory / FILE
        file.touch(mode=0o600)
        file.write_text(json.dumps(self.servers, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> Secrets:
        secrets = cls()
        secrets.servers = json.loads((directory / FILE).read_text(encoding="utf-8"))
        return secrets

    def environment(self) -> dict[str, str]:
        """LAB_US1_OWNER_CLIENT_SECRET and the like, which the inventory looks up."""
        found = {}
        for server, entry in self.servers.items():
            prefix = f"LAB_{server.upper()}"
            found[f"{prefix}_OWNER_CLIENT_SECRET"] = entry["owner"]["client_secret"]
            found[f"{prefix}_OWNER_MASTER_PASSWORD"] = entry["owner"]["master_password"]
            found[f"{prefix}_CLOUD_OWNER_CLIENT_SECRET"] = entry["cloud_owner"]["client_secret"]
            found[f"{prefix}_CLOUD_OWNER_MASTER_PASSWORD"] = entry["cloud_owner"]["master_password"]
        return found


def _login(user: Row, password: str) -> dict[str, str]:
    return {
        "email": user["Email"],
        "client_id": f"user.{user['Id'].lower()}",
        "client_secret": user["ApiKey"],
        "master_password": password,
    }


def _of_tables(path: Path) -> set[str]:
    store = Store(path)
    found = {
        str(row[column])
        for table, columns in COLUMNS.items()
        for row in store.rows(table)
        for column in columns
        if row.get(column)
    }
    for row in store.rows("OrganizationConnection"):
        found |= set(re.findall(r'"BillingSyncKey":"([^"]+)"', row.get("Config") or "", re.IGNORECASE))
    store.close()
    return found


def _of_environment(pairs: list[tuple[str, str]]) -> set[str]:
    found = set()
    for name, text in pairs:
        value = text.strip().strip('"')
        if SECRET_NAME.search(name) and value not in NOT_SET:
            found.add(value)
            found |= set(re.findall(r"Password=([^;\"]+)", value))
    return found


def _containers(directory: Path, database: LabDb, host: str) -> list[Row]:
    if not (directory / "docker").is_dir():
        return database.containers(host)
    from bwlab.docker import state  # noqa: PLC0415 - the other engine has no need of it

    return state.containers(directory, database, host)


def all_values(directory: Path) -> list[str]:
    """Every secret value that is somewhere in the lab now."""
    found = {value for entry in Secrets.read(directory).environment().values() for value in [entry]}
    for path in (directory / "state").glob("*-*.sqlite"):
        found |= _of_tables(path)
    database = LabDb(directory / "lab.sqlite")
    for host in (directory / "hosts").glob("*"):
        home = host / "opt" / "bitwarden"
        for file in (*(home / "bwdata" / "env").glob("*.env*"), *home.glob("settings.env")):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            found |= _of_environment(
                [(key.strip(), value) for key, _unused, value in (line.partition("=") for line in lines)]
            )
        for container in _containers(directory, database, host.name):
            found |= _of_environment(list(container["env"].items()))
    database.close()
    return sorted(value for value in found if len(value) >= MIN_LENGTH)
