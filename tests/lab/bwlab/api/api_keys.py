# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An organization's API keys, the billing sync key among them."""

from __future__ import annotations

from starlette.responses import Response

from bwlab import plans, times
from bwlab.api_key_rows import BILLING_SYNC, DEFAULT, SCIM, TABLE, new_key, single_key
from bwlab.binding import Enum, Model
from bwlab.errors import ModelState, NotFound, ServerError, Unauthorized
from bwlab.net_text import path_enum
from bwlab.store import Row
from bwlab.verification import SECRET_FIELDS, read_secret, verify_secret
from bwlab.web import Call, json, route

TYPES = {DEFAULT: "Default", BILLING_SYNC: "BillingSync", SCIM: "Scim"}
REQUEST = Model(
    "Bit.Api.AdminConsole.Models.Request.Organizations.OrganizationApiKeyRequestModel",
    Enum("type", "Bit.Core.Enums.OrganizationApiKeyType"),
    *SECRET_FIELDS,
)


def _may(call: Call, organization_id: str, kind: int | None) -> bool:
    return call.can_manage_scim(organization_id) if kind == SCIM else call.is_owner(organization_id)


def _organization(call: Call, kind: int) -> Row:
    """The organization whose key this caller may have; an undefined type is nothing the server expects."""
    if kind not in TYPES:
        raise ServerError("System.ArgumentOutOfRangeException: Exception of type was thrown. (Parameter 'type')")
    row = call.store.one("Organization", Id=call.params["id"])
    if row is None or not _may(call, call.params["id"], kind):
        raise NotFound
    return row


def _insert(call: Call, kind: int) -> Row:
    columns = {
        "ApiKey": new_key(),
        "OrganizationId": call.params["id"],
        "RevisionDate": times.column(call.persona.now()),
        "Type": kind,
    }
    return call.store.insert(TABLE, columns)


async def _get_or_create(call: Call, kind: int) -> Row:
    """Looking and adding are two steps: calls at the same moment add a row each."""
    row = single_key(call.store, call.params["id"], kind)
    if row is not None:
        return row
    await call.pause()
    return _insert(call, kind)


async def _prove(call: Call, model: Row) -> None:
    user = call.store.one("User", Id=call.user_id)
    if user is None:
        raise Unauthorized
    if not await verify_secret(call, user, model):
        raise ModelState({"MasterPasswordHash": ["Invalid password."]})


def _shown(row: Row) -> Response:
    return json({"apiKey": row["ApiKey"], "revisionDate": times.iso(row["RevisionDate"]), "object": "apiKey"})


@route("POST", "/organizations/{id}/api-key", policy="Application", guid={"id": "text"})
async def get_key(call: Call) -> Response:
    model = read_secret(call, REQUEST)
    organization = _organization(call, model["type"])
    if model["type"] == BILLING_SYNC and plans.product_tier(organization["PlanType"]) not in (
        plans.ENTERPRISE,
        plans.TEAMS,
    ):
        raise NotFound
    row = await _get_or_create(call, model["type"])
    await _prove(call, model)
    return _shown(row)


@route("POST", "/organizations/{id}/rotate-api-key", policy="Application", guid={"id": "text"})
async def rotate_key(call: Call) -> Response:
    model = read_secret(call, REQUEST)
    _organization(call, model["type"])
    row = await _get_or_create(call, model["type"])
    await _prove(call, model)
    changes = {"ApiKey": new_key(), "RevisionDate": times.column(call.persona.now())}
    call.store.update(TABLE, row["Id"], **changes)
    return _shown({**row, **changes})


@route("GET", "/organizations/{id}/api-key-information/{type?}", policy="Application", guid={"id": "param"})
async def information(call: Call) -> Response:
    given = call.params.get("type")
    kind = path_enum("type", given, TYPES) if given else None
    if not _may(call, call.params["id"], kind):
        raise NotFound
    where = {} if kind is None else {"Type": kind}
    rows = call.store.rows(TABLE, OrganizationId=call.params["id"], **where)
    data = [
        {"keyType": row["Type"], "revisionDate": times.iso(row["RevisionDate"]), "object": "keyInformation"}
        for row in rows
    ]
    return json({"data": data, "continuationToken": None, "object": "list"})
