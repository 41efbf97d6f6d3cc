# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Organization connections: where a self-hosted organization keeps its billing sync key."""

from __future__ import annotations

import json as json_module
from typing import Any

from starlette.responses import Response

from bwlab import license_store
from bwlab.binding import Any_, Bool, Enum, Guid, Model
from bwlab.connection_config import config_text
from bwlab.errors import BadRequest, NotFound, ServerError
from bwlab.license_fields import EMPTY_GUID
from bwlab.net_text import NULL_REFERENCE, json_date, null_argument, path_enum, reader_exception
from bwlab.store import Row, is_guid
from bwlab.web import Call, json, ok, route

TABLE = "OrganizationConnection"
BILLING_SYNC = 1
SCIM = 2
TYPES = {BILLING_SYNC: "CloudBillingSync", SCIM: "Scim"}
CONNECTION = Model(
    "Bit.Api.AdminConsole.Models.Request.Organizations.OrganizationConnectionRequestModel",
    Enum("type", "Bit.Core.Enums.OrganizationConnectionType"),
    Guid("organizationId"),
    Bool("enabled"),
    Any_("config"),
    nullable_context=True,
)
MALFORMED = "Organization Connection configuration malformed"
ALREADY = (
    "The requested organization already has a connection of type {type}. "
    "Only one of each connection type may exist per organization."
)


def _type_name(kind: int) -> str:
    return TYPES.get(kind, str(kind))


def _may(call: Call, organization_id: str, kind: int) -> bool:
    return call.can_manage_scim(organization_id) if kind == SCIM else call.is_owner(organization_id)


def _shown(row: Row | None) -> Response:
    """A connection that is not there is no error but one without values."""
    if row is None:
        return json({"id": None, "type": 0, "organizationId": EMPTY_GUID, "enabled": False, "config": None})
    if row["Config"] is None:
        raise ServerError(null_argument("json"))
    try:
        config = json_module.loads(row["Config"])
    except ValueError:
        raise ServerError(reader_exception(row["Config"])) from None
    return json(
        {
            "id": row["Id"].lower(),
            "type": row["Type"],
            "organizationId": row["OrganizationId"].lower(),
            "enabled": bool(row["Enabled"]),
            "config": config,
        }
    )


def _config_values(model: Row) -> dict[str, Any]:
    """The request's config by lower-case names."""
    config = model["config"]
    if config is None:
        raise ServerError(NULL_REFERENCE)
    if not isinstance(config, dict):
        raise BadRequest(MALFORMED)
    return {name.lower(): value for name, value in config.items()}


def _billing_sync_config(call: Call, model: Row) -> dict[str, Any]:
    given = _config_values(model)
    key = given.get("billingsynckey")
    cloud_id = given.get("cloudorganizationid", EMPTY_GUID)
    last_sync = given.get("lastlicensesync")
    if not isinstance(key, str | None) or not isinstance(cloud_id, str) or not is_guid(cloud_id):
        raise BadRequest(MALFORMED)
    if last_sync is not None:
        last_sync = json_date(last_sync) if isinstance(last_sync, str) else None
        if last_sync is None:
            raise BadRequest(MALFORMED)
    if call.persona.is_cloud:
        raise BadRequest("Cannot create a CloudBillingSync connection outside of a self-hosted instance.")
    license_ = license_store.read(call.persona, model["organizationId"])
    if license_ is None or not license_store.is_genuine(call.persona, license_):
        raise BadRequest("Cannot verify license file.")
    return {"BillingSyncKey": key, "CloudOrganizationId": license_["Id"].lower(), "LastLicenseSync": last_sync}


def _scim_config(_call: Call, model: Row) -> dict[str, Any]:
    given = _config_values(model)
    enabled, provider = given.get("enabled", False), given.get("scimprovider", 0)
    if not isinstance(enabled, bool) or not isinstance(provider, int):
        raise BadRequest(MALFORMED)
    return {"Enabled": enabled, "ScimProvider": provider}


CONFIGS = {BILLING_SYNC: _billing_sync_config, SCIM: _scim_config}


def _columns(call: Call, model: Row) -> Row:
    """What is stored of a request: the whole config is replaced by what the request says."""
    if model["type"] not in CONFIGS:
        raise BadRequest(f"Unknown Organization connection Type: {model['type']}")
    config = CONFIGS[model["type"]](call, model)
    return {
        "Type": model["type"],
        "OrganizationId": model["organizationId"],
        "Enabled": model["enabled"],
        "Config": config_text(config),
    }


def _refuse_second(call: Call, model: Row, own_id: str | None) -> None:
    for row in call.store.rows(TABLE, OrganizationId=model["organizationId"], Type=model["type"]):
        if row["Id"].lower() != own_id:
            raise BadRequest(ALREADY.format(type=_type_name(model["type"])))


@route("GET", "/organizations/connections/enabled", policy="Application")
async def enabled(call: Call) -> Response:
    return json(not call.persona.is_cloud and call.persona.settings().enable_cloud_communication)


@route(
    "GET", "/organizations/connections/{organizationId}/{type}", policy="Application", guid={"organizationId": "param"}
)
async def get(call: Call) -> Response:
    kind = path_enum("type", call.params["type"], TYPES)
    organization_id = call.params["organizationId"]
    if not _may(call, organization_id, kind):
        raise BadRequest(f"You do not have permission to retrieve a connection of type {TYPES[kind]}.")
    if kind == BILLING_SYNC and call.persona.is_cloud:
        raise BadRequest("Cannot get a CloudBillingSync connection outside of a self-hosted instance.")
    return _shown(call.store.one(TABLE, OrganizationId=organization_id, Type=kind))


@route("POST", "/organizations/connections", policy="Application")
async def create(call: Call) -> Response:
    model = call.json(CONNECTION)
    if not _may(call, model["organizationId"], model["type"]):
        kind = _type_name(model["type"])
        raise BadRequest(f"You do not have permission to create a connection of type {kind}.")
    _refuse_second(call, model, None)
    await call.pause()
    return _shown(call.store.insert(TABLE, _columns(call, model)))


@route("PUT", "/organizations/connections/{organizationConnectionId}", policy="Application",
       guid={"organizationConnectionId": "param"})  # fmt: skip
async def update(call: Call) -> Response:
    model = call.json(CONNECTION)
    own_id = call.params["organizationConnectionId"]
    row = call.store.one(TABLE, Id=own_id, OrganizationId=model["organizationId"])
    if row is None:
        raise NotFound
    if not _may(call, model["organizationId"], model["type"]):
        raise BadRequest("You do not have permission to update this connection.")
    if row["Type"] != model["type"]:
        raise BadRequest("The connection type cannot be changed.")
    _refuse_second(call, model, own_id)
    columns = _columns(call, model)
    call.store.update(TABLE, own_id, **columns)
    return _shown(call.store.one(TABLE, Id=own_id))


@route("DELETE", "/organizations/connections/{organizationConnectionId}", policy="Application",
       guid={"organizationConnectionId": "param"})  # fmt: skip
async def delete(call: Call) -> Response:
    row = call.store.one(TABLE, Id=call.params["organizationConnectionId"])
    if row is None:
        raise NotFound
    if not _may(call, row["OrganizationId"], row["Type"]):
        raise BadRequest(f"You do not have permission to remove this connection of type {_type_name(row['Type'])}.")
    call.store.delete(TABLE, row["Id"])
    return ok()
