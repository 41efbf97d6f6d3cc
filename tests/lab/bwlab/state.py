# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`lab state`: what is true of every server and cloud now, read from the files."""

from __future__ import annotations

import hashlib
import html
import json
import re
import time
from pathlib import Path
from typing import Any

from bwlab import times
from bwlab.labdb import API_SERVICES, LabDb
from bwlab.layout import Layout, ServerEntry
from bwlab.store import Row, Store

BILLING_SYNC = 1
CLOUD_KEYS = re.compile(
    r"^globalSettings__(enableCloudCommunication|baseServiceUri__cloudRegion|pushRelayBaseUri"
    r"|installation__(identityUri|apiUri|id))$",
    re.IGNORECASE,
)
ROTATION = re.compile(r"^(/api)?/organizations/([0-9a-f-]{36})/rotate-api-key/?$", re.IGNORECASE)


def _stack(rows: list[Row]) -> str:
    """All containers running and ready, the api among them, none at all, or something between."""
    rows = [row for row in rows if row.get("service")]
    if not rows:
        return "down"
    ready = [row["state"] == "running" and row["ready"] <= time.time() for row in rows]
    if all(ready) and any(row["service"] in API_SERVICES for row in rows):
        return "up"
    return "partial" if any(row["state"] in ("running", "restarting") for row in rows) else "down"


def _sponsorships(store: Store, organization: Row) -> list[dict[str, Any]]:
    return [
        {
            "id": row["Id"].lower(),
            "email": row.get("OfferedToEmail"),
            "friendly_name": row.get("FriendlyName"),
            "synced": row.get("LastSyncDate") is not None,
            "to_delete": bool(row.get("ToDelete")),
        }
        for row in store.rows("OrganizationSponsorship", SponsoringOrganizationId=organization["Id"])
    ]


def _connection(store: Store, cloud: Store, organization: Row) -> dict[str, Any] | None:
    row = store.one("OrganizationConnection", OrganizationId=organization["Id"], Type=BILLING_SYNC)
    if row is None:
        return None
    try:
        config = json.loads(row.get("Config") or "{}")
    except ValueError:
        config = {}
    cloud_id = str(config.get("CloudOrganizationId"))
    key = cloud.one("OrganizationApiKey", OrganizationId=cloud_id, Type=BILLING_SYNC)
    return {
        "id": row["Id"].lower(),
        "enabled": bool(row["Enabled"]),
        "key_is_current": key is not None and key["ApiKey"] == config.get("BillingSyncKey"),
        "last_license_sync": config.get("LastLicenseSync"),
    }


def _cloud_id(licenses: Path, organization: Row) -> str | None:
    file = licenses / "organization" / f"{organization['Id'].lower()}.json"
    try:
        found: str | None = json.loads(file.read_text(encoding="utf-8")).get("Id")
    except (OSError, ValueError):
        return None
    return found


def _engine(layout: Layout, database: LabDb, server: str) -> tuple[list[Row], dict[str, Any]]:
    """Containers, restarts and down time."""
    if layout.options.get("engine") != "docker":
        return database.containers(server), database.counters(server)
    from bwlab.docker import state as docker  # noqa: PLC0415 - the other engine has no need of it

    return docker.containers(layout.directory, database, server), docker.counters(database, server)


def _server(layout: Layout, database: LabDb, server: ServerEntry, cloud: Store) -> dict[str, Any]:
    env_file = layout.env_file(server.name)
    rows, counters = _engine(layout, database, server.name)
    candidates = [row for row in rows if row["service"] in API_SERVICES]
    api: dict[str, Any] = max(candidates, key=lambda row: row["state"] == "running", default={"env": {}})
    store = Store(layout.directory / "state" / f"server-{server.name}.sqlite")
    organizations = [
        {
            "id": row["Id"].lower(),
            "name": html.unescape(row["Name"]),
            "cloud_id": _cloud_id(layout.licenses(server.name), row),
            "enabled": bool(row["Enabled"]),
            "license_expires": times.iso(row.get("ExpirationDate")),
            "connection": _connection(store, cloud, row),
            "sponsorships": _sponsorships(store, row),
        }
        for row in store.rows("Organization")
    ]
    store.close()
    return {
        "region": server.region,
        "stack": _stack(rows),
        **counters,
        "env_file": hashlib.sha256(env_file.read_bytes()).hexdigest() if env_file.is_file() else None,
        "container_env": {key: value for key, value in api["env"].items() if CLOUD_KEYS.match(key)},
        "organizations": organizations,
    }


def _cloud(region: str, store: Store, log: list[dict[str, Any]]) -> dict[str, Any]:
    own = [entry for entry in log if entry["persona"] == f"cloud:{region}"]
    rotated = [
        found.group(2).lower() for entry in own if entry["status"] == 200 and (found := ROTATION.match(entry["path"]))
    ]
    organizations = [
        {
            "id": row["Id"].lower(),
            "name": html.unescape(row["Name"]),
            "billing_sync_key_created": bool(
                store.rows("OrganizationApiKey", OrganizationId=row["Id"], Type=BILLING_SYNC)
            ),
            "rotations": rotated.count(row["Id"].lower()),
            "sponsorships": _sponsorships(store, row),
        }
        for row in store.rows("Organization")
    ]
    return {
        "requests": len(own),
        "token_requests": sum(entry["path"].lower().rstrip("/").endswith("/connect/token") for entry in own),
        "organizations": organizations,
    }


def read(directory: Path) -> dict[str, Any]:
    layout = Layout.read(directory)
    database = LabDb(directory / "lab.sqlite")
    clouds = {region: Store(directory / "state" / f"cloud-{region}.sqlite") for region in layout.regions}
    log = database.log()
    found = {
        "servers": {server.name: _server(layout, database, server, clouds[server.region]) for server in layout.servers},
        "clouds": {region: _cloud(region, store, log) for region, store in clouds.items()},
    }
    for store in clouds.values():
        store.close()
    database.close()
    return found
