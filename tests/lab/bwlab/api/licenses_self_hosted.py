# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Licenses at a self-hosted server: an organization made from one, an upload, and the sync with the cloud."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from bwlab import license_store, license_update, licenses, times
from bwlab.api.organizations import organization_response
from bwlab.api_key_rows import DEFAULT, new_key
from bwlab.api_key_rows import TABLE as KEY_TABLE
from bwlab.connection_config import config_text, connection_config
from bwlab.errors import BadRequest, ModelState, NotFound
from bwlab.license_check import PREMIUM_LICENSE
from bwlab.license_fields import EMPTY_GUID, ORGANIZATION_LICENSE, License
from bwlab.outbound import LICENSE_QUERY, CloudClient
from bwlab.persona import Persona
from bwlab.sponsorship_rules import is_encrypted
from bwlab.store import Row
from bwlab.web import Call, json, ok, route

BASE = "/organizations/licenses/self-hosted"
CONNECTION = "OrganizationConnection"
CLOUD_BILLING_SYNC = 1
LARGEST_REQUEST = 51200
INVALID = "Invalid license"
NO_FILE = "The License field is required."
TROUBLE = "An error has occurred. Check your internet connection and ensure the billing token is correct."
BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
PARAMETER = re.compile(r'(\w+)="([^"]*)"')


@dataclass
class Part:
    name: str
    data: bytes
    is_file: bool


def _parts(call: Call) -> dict[str, Part]:
    """The parts of a multipart body by lower-case name; nothing for any other body."""
    content_type = call.request.headers.get("content-type", "")
    found = BOUNDARY.search(content_type)
    if found is None or not content_type.lower().startswith("multipart/form-data"):
        return {}
    parts: dict[str, Part] = {}
    for section in call.body.split(b"--" + found.group(1).encode())[1:-1]:
        head, _unused, data = section.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        parameters = dict(PARAMETER.findall(head.decode("utf-8", "replace")))
        name = parameters.get("name", "")
        parts.setdefault(name.lower(), Part(name, data.removesuffix(b"\r\n"), "filename" in parameters))
    return parts


def _license(call: Call, part: Part) -> License:
    """The whole request must say its length, and may not be longer than the limit."""
    length = call.request.headers.get("content-length", "")
    short = length.isdigit() and int(length) <= LARGEST_REQUEST
    license_ = licenses.parse_upload(part.data) if short else None
    if license_ is None:
        raise BadRequest(INVALID)
    return license_


def _text(parts: dict[str, Part], name: str) -> str | None:
    part = parts.get(name)
    return part.data.decode("utf-8", "replace") if part is not None and not part.is_file else None


def _create_form(call: Call) -> tuple[dict[str, Part], str]:
    parts = _parts(call)
    problems: dict[str, list[str]] = {}
    key = _text(parts, "key")
    if not key:
        problems["Key"] = ["The Key field is required."]
    name = _text(parts, "collectionname")
    if name and not is_encrypted(name):
        problems["CollectionName"] = ["CollectionName is not a valid encrypted string."]
    if "license" not in parts or not parts["license"].is_file:
        problems["License"] = [NO_FILE]
    if problems:
        raise ModelState(problems)
    return parts, key or ""


def _new_organization(persona: Persona, license_: License, parts: dict[str, Part]) -> Row:
    now = times.column(persona.now())
    fixed: Row = {
        "AllowAdminAccessToAllCollectionItems": False,
        "LimitCollectionCreation": False,
        "LimitCollectionDeletion": False,
        "LimitItemDeletion": False,
        "SyncSeats": False,
        "ExemptFromBillingAutomation": False,
        "Status": 1,
        "CreationDate": now,
        "RevisionDate": now,
        "PublicKey": _text(parts, "keys.publickey"),
        "PrivateKey": _text(parts, "keys.encryptedprivatekey"),
    }
    return persona.store.insert("Organization", {**license_update.taken_over(license_), **fixed})


def _first_rows(call: Call, organization: Row, parts: dict[str, Part], key: str) -> None:
    """What a new organization starts with: public API key, owner, and the default collection if it has a name."""
    store, now = call.store, organization["CreationDate"]
    organization_id = organization["Id"]
    store.insert(
        KEY_TABLE, {"ApiKey": new_key(), "OrganizationId": organization_id, "RevisionDate": now, "Type": DEFAULT}
    )
    store.insert(
        "OrganizationUser",
        {
            "AccessSecretsManager": False,
            "CreationDate": now,
            "Key": key,
            "OrganizationId": organization_id,
            "RevisionDate": now,
            "Status": 2,
            "Type": 0,
            "UserId": call.user_id,
            "AccessPam": False,
        },
    )
    name = _text(parts, "collectionname")
    if name:
        dates = {"CreationDate": now, "RevisionDate": now}
        store.insert("Collection", {**dates, "Name": name, "OrganizationId": organization_id, "Type": 0})
        store.update("User", call.user_id, AccountRevisionDate=times.column(call.persona.now()))


@route("POST", BASE, policy="Application", only="self_hosted")
async def create(call: Call) -> Response:
    parts, key = _create_form(call)
    license_ = _license(call, parts["license"])
    if license_["LicenseType"] != ORGANIZATION_LICENSE:
        raise BadRequest(PREMIUM_LICENSE)
    usable = license_update.checked(call.persona, license_)
    if call.store.rows("Organization", LicenseKey=license_["LicenseKey"], Enabled=1):
        raise BadRequest(license_update.IN_USE)
    organization = _new_organization(call.persona, usable, parts)
    _first_rows(call, organization, parts, key)
    license_store.write(call.persona, organization["Id"], license_)
    return json(organization_response(call.persona, call.store.one("Organization", Id=organization["Id"]) or {}))


@route("POST", BASE + "/{id}", policy="Application", only="self_hosted", guid={"id": "text"})
async def update(call: Call) -> Response:
    parts = _parts(call)
    if "license" not in parts or not parts["license"].is_file:
        raise ModelState({"License": [NO_FILE]})
    if not call.is_owner(call.params["id"]):
        raise NotFound
    license_ = _license(call, parts["license"])
    organization = call.store.one("Organization", Id=call.params["id"])
    if organization is None:
        raise NotFound
    license_update.apply(call.persona, organization, license_)
    return ok()


async def _from_cloud(persona: Persona, organization: Row, config: dict[str, Any]) -> License:
    cloud_id = config.get("CloudOrganizationId", EMPTY_GUID)
    body = {"licenseKey": organization["LicenseKey"], "billingSyncKey": config["BillingSyncKey"]}
    client = CloudClient(persona, LICENSE_QUERY, "api.licensing")
    text = await client.send("GET", f"licenses/organization/{cloud_id}", body)
    license_ = licenses.parse_upload(text.encode()) if text is not None else None
    if license_ is None:
        raise BadRequest(TROUBLE)
    return license_


@route("POST", BASE + "/{id}/sync", policy="Application", only="self_hosted", guid={"id": "text"})
async def sync(call: Call) -> Response:
    persona, organization_id = call.persona, call.params["id"]
    organization = call.store.one("Organization", Id=organization_id)
    if organization is None or not call.is_owner(organization_id):
        raise NotFound
    connection = call.store.one(CONNECTION, OrganizationId=organization_id, Type=CLOUD_BILLING_SYNC)
    if connection is None:
        raise NotFound
    if not persona.settings().enable_cloud_communication:
        raise BadRequest("Cloud communication is disabled in global settings")
    config = connection_config(connection)
    if persona.fault("sync_says_ok_but_did_nothing"):
        return ok()
    license_ = await _from_cloud(persona, organization, config)
    license_update.apply(persona, organization, license_)
    config["LastLicenseSync"] = times.offset_text(persona.now())
    call.store.update(CONNECTION, connection["Id"], Config=config_text(config))
    return ok()
