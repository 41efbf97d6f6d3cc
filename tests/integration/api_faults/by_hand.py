"""What people and other programs do to a cloud or a server; each gives back how it is made good again."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bwlab.licenses import LicenseSigner, api_form, make_license
from bwlab.store import Row, new_id
from integration.api_faults.site import CLOUD, SECOND, SERVER, Site

Undo = Callable[[], None]
ByHand = Callable[[Site], Undo]

SYNCED = "2026-11-22 15:32:08.5022327"
OTHER_KEY = "AnotherOrganizationsBillingSyn"
ADMIN, USER = 1, 2
ACCEPTED = 1
FREE_PLAN = 0


def change(side: str, table: str, **columns: Any) -> ByHand:
    """Other values in a table that has one row."""

    def broken(site: Site) -> Undo:
        store = site.stores[side]
        (row,) = store.rows(table)
        store.update(table, row["Id"], **columns)
        return lambda: store.update(table, row["Id"], **{name: row.get(name) for name in columns})

    return broken


def remove(side: str, table: str) -> ByHand:
    """The row of a table is lost."""

    def broken(site: Site) -> Undo:
        store = site.stores[side]
        (row,) = store.rows(table)
        store.delete(table, row["Id"])
        return lambda: _insert(site, side, table, row)

    return broken


def _insert(site: Site, side: str, table: str, row: Row) -> None:
    site.stores[side].insert(table, row)


def setting(**given: str | None) -> ByHand:
    """Other settings in the containers of the server, as after an edit and a restart."""

    def broken(site: Site) -> Undo:
        rows = site.db.containers("us1")
        for row in rows:
            env = {**row["env"], **given}
            site.db.put_container("us1", {**row, "env": {name: value for name, value in env.items() if value}})

        def good() -> None:
            for row in rows:
                site.db.put_container("us1", row)

        return good

    return broken


def stopped(site: Site) -> Undo:
    """The stack is down."""
    rows = site.db.containers("us1")
    for row in rows:
        site.db.put_container("us1", {**row, "state": "exited"})

    def good() -> None:
        for row in rows:
            site.db.put_container("us1", row)

    return good


def api_not_ready(site: Site) -> Undo:
    """nginx answers already, the api does not yet: the middle of a restart."""
    row = site.db.container("us1", "api")
    assert row
    site.db.put_container("us1", {**row, "ready": row["ready"] + 3600})
    return lambda: site.db.put_container("us1", row)


def license_lost(site: Site) -> Undo:
    """The license file is gone."""
    content = site.license_file.read_bytes()
    site.license_file.unlink()

    def good() -> None:
        site.license_file.write_bytes(content)

    return good


def license_broken(site: Site) -> Undo:
    """Somebody has edited the license file."""
    content = site.license_file.read_bytes()
    site.license_file.write_bytes(content.replace(b'"Seats":', b'"Seats": 1'))

    def good() -> None:
        site.license_file.write_bytes(content)

    return good


def license_unwritable(site: Site) -> Undo:
    """A directory stands where the license file should be: root can be kept from no file."""
    content = site.license_file.read_bytes()
    site.license_file.unlink()
    site.license_file.mkdir()

    def good() -> None:
        shutil.rmtree(site.license_file)
        site.license_file.write_bytes(content)

    return good


def rotated(site: Site) -> Undo:
    """Somebody rotates the token at the cloud; good again is the connection that has the new one."""
    (row,) = site.key_rows()
    site.stores[CLOUD].update("OrganizationApiKey", row["Id"], ApiKey=OTHER_KEY)
    return lambda: _connect(site)


def another_organizations_token(site: Site) -> Undo:
    """The connection was made with another organization's token."""
    result = site.run("billing_sync", {"billing_sync_token": OTHER_KEY})
    assert result.changed, result.data
    return lambda: _connect(site)


def connection_disabled(site: Site) -> Undo:
    """The connection is turned off by hand."""
    result = site.run("billing_sync", {"state": "disabled"})
    assert result.changed, result.data
    return lambda: _connect(site)


def not_connected(site: Site) -> Undo:
    """Nobody has made the connection yet."""
    return lambda: _connect(site)


def _connect(site: Site) -> None:
    result = site.run("billing_sync", {})
    assert result.changed, result.data


def connected_twice(site: Site) -> Undo:
    """Two runs at once have left two connections; good again is what the message says."""
    row = site.stores[SERVER].rows("OrganizationConnection")[0]
    site.stores[SERVER].insert("OrganizationConnection", {**row, "Id": new_id()})

    def good() -> None:
        for _connection in range(2):
            result = site.run("billing_sync", {"state": "absent"})
            assert not result.failed, result.data

    return good


def another_organization_at_the_cloud(site: Site) -> Undo:
    """Somebody else's organization, whose license may be mixed up with this one's; good again is the own license."""
    (row,) = site.stores[CLOUD].rows("Organization")
    other = {**row, "Id": new_id(), "Name": "Somebody else", "LicenseKey": "k" * 20}
    site.stores[CLOUD].insert("Organization", other)
    mine = site.stores[SERVER].rows("Organization")[0]
    connections = site.stores[SERVER].rows("OrganizationConnection")
    content = site.license_file.read_bytes()

    def good() -> None:
        site.stores[CLOUD].delete("Organization", other["Id"])
        site.stores[SERVER].update("Organization", mine["Id"], **mine)
        for connection in connections:
            site.stores[SERVER].update("OrganizationConnection", connection["Id"], **connection)
        site.license_file.write_bytes(content)

    return good


def second_organization_disabled(site: Site) -> Undo:
    """The server has a second organization, which is disabled at the cloud; good again is that it is enabled."""
    cloud = site.stores[CLOUD]
    (row,) = cloud.rows("Organization")
    made = cloud.insert("Organization", {**row, "Id": new_id(), "Name": SECOND, "LicenseKey": "s" * 20})
    (owner,) = cloud.rows("OrganizationUser")
    cloud.insert("OrganizationUser", {**owner, "Id": new_id(), "OrganizationId": made["Id"]})
    result = site.run("license", {"organization": SECOND, "cloud_organization": made["Id"], "create": True})
    assert result.changed, result.data
    cloud.update("Organization", made["Id"], Enabled=0)
    return lambda: cloud.update("Organization", made["Id"], Enabled=1)


def file_of(content: bytes) -> Callable[[Site], dict[str, Any]]:
    """Options for a license file with this content."""

    def options(site: Site) -> dict[str, Any]:
        file = site.lab.directory / "given.json"
        file.write_bytes(content)
        return {"src": str(file), "cloud": None}

    return options


def new_license(installation_id: str = "", padding: int = 0) -> Callable[[Site], dict[str, Any]]:
    """Options for a file with the license that the cloud would give now, for another installation or padded."""

    def options(site: Site) -> dict[str, Any]:
        (row,) = site.stores[CLOUD].rows("Organization")
        wanted = installation_id or site.layout.servers[0].installation_id
        signer = LicenseSigner.load(site.lab.directory / "state")
        text = json.dumps(api_form(make_license(row, wanted, datetime.now(timezone.utc), signer)))
        return file_of(text.encode() + b" " * padding)(site)

    return options


def revoked_and_not_synced(site: Site) -> Undo:
    """The offer was made, sent and revoked; good again is the sync, after which it is gone."""
    store = site.stores[SERVER]
    assert site.run("sponsorship", {}).changed
    (row,) = store.rows("OrganizationSponsorship")
    store.update("OrganizationSponsorship", row["Id"], LastSyncDate=row["LastSyncDate"] or SYNCED, ToDelete=1)
    return lambda: store.delete("OrganizationSponsorship", row["Id"])


def second_key(site: Site) -> Undo:
    """First calls at once have left two keys; good again is what Bitwarden's support does."""
    (row,) = site.key_rows()
    second = site.stores[CLOUD].insert("OrganizationApiKey", {**row, "Id": new_id(), "ApiKey": OTHER_KEY})
    return lambda: site.stores[CLOUD].delete("OrganizationApiKey", second["Id"])


def lock_held(site: Site) -> Undo:
    """Another run is at work on the organization, at the cloud or at the server."""
    folder = Path(site.environment["ANSIBLE_HOME"]) / "selfhosted.bitwarden"
    held = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in folder.iterdir() if path.is_dir()]
    for descriptor in held:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def good() -> None:
        for descriptor in held:
            os.close(descriptor)

    return good
