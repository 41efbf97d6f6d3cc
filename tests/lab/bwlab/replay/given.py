# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs of jobs were recorded without the rows that were changed for them: here their words become rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import jwt

from bwlab import license_store, licenses, times
from bwlab.license_fields import EMPTY_GUID, License
from bwlab.replay.world import SIDES, World, license_texts
from bwlab.store import Row

Exchange = dict[str, Any]
Change = Callable[[World, Exchange], None]


def _organization(world: World, side: str, name: str = "acme") -> Row:
    row = world.sides[side].store.one("Organization", Id=world.people[side]["orgs"][name]["id"])
    if row is None:
        raise LookupError(f"{side} has no organization {name}")
    return row


def _change(world: World, side: str, **columns: Any) -> None:
    world.sides[side].store.update("Organization", _organization(world, side)["Id"], **columns)


def _connection(world: World, **columns: Any) -> None:
    store = world.sides["self_hosted"].store
    for row in store.rows("OrganizationConnection", OrganizationId=_organization(world, "self_hosted")["Id"]):
        store.update("OrganizationConnection", row["Id"], **columns)


def _key(world: World, key: str) -> None:
    cloud_id = _organization(world, "cloud")["Id"].lower()
    config = {"BillingSyncKey": key, "CloudOrganizationId": cloud_id, "LastLicenseSync": None}
    _connection(world, Config=json.dumps(config))


def _add_connection(world: World) -> None:
    store, organization = world.sides["self_hosted"].store, _organization(world, "self_hosted")
    row = {"Type": 1, "OrganizationId": organization["Id"], "Enabled": 1, "Config": ""}
    store.insert("OrganizationConnection", row)
    _key(world, "x" * 30)


def _drop_cloud_key(world: World) -> None:
    store = world.sides["cloud"].store
    for row in store.rows("OrganizationApiKey", OrganizationId=_organization(world, "cloud")["Id"], Type=1):
        store.delete("OrganizationApiKey", row["Id"])


def _long_expired(world: World) -> None:
    cloud = world.sides["cloud"]
    _change(world, "cloud", Enabled=0, ExpirationDate=times.column(cloud.now() - timedelta(days=100)))


def _redeemed(world: World, exchange: Exchange) -> None:
    """Until when it is valid stands in what the run brought back."""
    store = world.sides["cloud"].store
    changed = exchange["effect"]["self_hosted_rows"]["OrganizationSponsorship"]["changed"]
    valid_until = changed[0]["columns"]["ValidUntil"][1]
    family = world.people["cloud"]["orgs"]["families"]["id"]
    for row in store.rows("OrganizationSponsorship"):
        store.update("OrganizationSponsorship", row["Id"], SponsoredOrganizationId=family, ValidUntil=valid_until)


def _mark_to_delete(world: World) -> None:
    server = world.sides["self_hosted"]
    for row in server.store.rows("OrganizationSponsorship"):
        now = times.column(server.now())
        server.store.update("OrganizationSponsorship", row["Id"], ToDelete=1, LastSyncDate=now)


def _license(world: World, change: Callable[[License], License]) -> None:
    persona = world.sides["self_hosted"]
    path = license_store.license_path(persona, _organization(world, "self_hosted")["Id"])
    license_ = licenses.read_license_file(path)
    if license_ is None:
        raise LookupError(f"{path} is missing")
    licenses.write_license_file(path, change(license_))


def _claims(world: World, **claims: Any) -> None:
    signer = world.lab.license_signer

    def change(license_: License) -> License:
        old = jwt.decode(license_["Token"], options={"verify_signature": False})
        return {**license_, "Token": signer.token({**old, **claims}) if signer else None}

    _license(world, change)


def _file(world: World, text: str | None) -> None:
    persona = world.sides["self_hosted"]
    path = license_store.license_path(persona, _organization(world, "self_hosted")["Id"])
    if text is None:
        path.unlink()
    else:
        path.write_text(text, encoding="utf-8")


def _camel_case(world: World) -> None:
    persona = world.sides["self_hosted"]
    license_ = license_store.read(persona, _organization(world, "self_hosted")["Id"])
    _file(world, json.dumps(licenses.api_form(license_ or {})))


def _expired_token(world: World) -> None:
    ends = int((world.sides["self_hosted"].now() - timedelta(days=35)).timestamp())
    _claims(world, nbf=ends - 86400, exp=ends)


def _break_token(world: World) -> None:
    _license(world, lambda license_: {**license_, "Token": license_["Token"][:-12] + "A" * 12})


def _same_key(world: World) -> None:
    key = _organization(world, "self_hosted")["LicenseKey"]
    other = _organization(world, "self_hosted", "other")
    world.sides["self_hosted"].store.update("Organization", other["Id"], LicenseKey=key)


WORDS: dict[str, Change] = {
    "wrong billing sync key": lambda world, _e: _key(world, "x" * 30),
    "the connection is disabled": lambda world, _e: _connection(world, Enabled=0),
    "empty key": lambda world, _e: _key(world, ""),
    "stored config {}": lambda world, _e: _connection(world, Config="{}"),
    "stored config is not JSON": lambda world, _e: _connection(world, Config="not json"),
    "the organization is disabled": lambda world, _e: _change(world, "self_hosted", Enabled=0),
    "the cloud organization is disabled for 100 days": lambda world, _e: _long_expired(world),
    "no BillingSync key at all": lambda world, _e: _drop_cloud_key(world),
    "redeemed at the cloud since the last run": _redeemed,
    "no sponsorship rows": lambda world, _e: _add_connection(world),
    "a row marked to delete": lambda world, _e: _mark_to_delete(world),
    "licence file of acme is missing": lambda world, _e: _file(world, None),
    "camelCase download": lambda world, _e: _camel_case(world),
    "the licence file is not JSON": lambda world, _e: _file(world, "not json"),
    "the licence's token expired": lambda world, _e: _expired_token(world),
    "claim Expires is past": lambda world, _e: _claims(world, Expires="01/01/2026 00:00:00"),
    "a licence of another installation": lambda world, _e: _claims(world, InstallationId=EMPTY_GUID),
    "the token's signature is broken": lambda world, _e: _break_token(world),
    "row has other seats": lambda world, _e: _change(world, "self_hosted", Seats=11),
    "renamed in the database": lambda world, _e: _change(world, "self_hosted", Name="Renamed here"),
    "have the same licence key": lambda world, _e: _same_key(world),
    "without token": lambda world, _e: _license(world, lambda license_: {**license_, "Token": None}),
}


@contextmanager
def state_of_job(world: World, exchange: Exchange) -> Iterator[None]:
    """The state in which a job ran; afterwards everything is as before, but for the recorded effect."""
    rows = {side: world.snapshot(side) for side in SIDES}
    files = license_texts(world.licenses)
    if "licence" in str(exchange.get("instance")):
        world.renew_organizations()
    for words, change in WORDS.items():
        if words in exchange["given"]:
            change(world, exchange)
    yield
    for side in SIDES:
        world.restore(side, rows[side], world.snapshot(side))
    world.write_licenses(files)
    world.apply(exchange.get("effect", {}))
