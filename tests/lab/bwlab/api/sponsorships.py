# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sponsorship endpoints of the self-hosted server, and what both kinds of server share."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.responses import Response

from bwlab import sponsorship_rules as rules
from bwlab import times
from bwlab.binding import Enum, Field, Model, String
from bwlab.errors import BadRequest, Empty, Forbidden, ModelState, NotFound, ServerError, Unauthorized
from bwlab.net_text import NULL_REFERENCE, null_argument
from bwlab.sponsorship_rules import TABLE, Offer
from bwlab.store import Row, is_guid
from bwlab.web import Call, json, ok, route

SELF_HOSTED = "/organization/sponsorship/self-hosted"
CLOUD = "/organization/sponsorship"
PLAN = "Bit.Core.Enums.PlanSponsorshipType"
OFFER = Model(
    "Bit.Api.Models.Request.Organizations.OrganizationSponsorshipCreateRequestModel",
    Enum("planSponsorshipType", PLAN),
    String("sponsoredEmail"),
    String("friendlyName"),
    Field("isAdminInitiated", "System.Nullable`1[System.Boolean]", "bool"),
    String("notes"),
)
MAX_TEXT = 256
NOT_SPONSORING = "You are not currently sponsoring an organization."
NO_SUCH_NAME = "The specified sponsored organization could not be found under the given sponsoring organization."


def read_offer(call: Call) -> Offer:
    model = call.json(OFFER)
    email, name, notes = model["sponsoredEmail"], model["friendlyName"], model["notes"]
    problems: dict[str, list[str]] = {}
    if email is not None and len(email) > MAX_TEXT:
        problems["SponsoredEmail"] = [f"The field SponsoredEmail must be a string with a maximum length of {MAX_TEXT}."]
    elif not rules.is_supported_email(email or ""):
        missing = [] if email else ["The SponsoredEmail field is required."]
        problems["SponsoredEmail"] = [*missing, "The SponsoredEmail field is not a supported e-mail address format."]
    if name is not None and len(name) > MAX_TEXT:
        problems["FriendlyName"] = [f"The field FriendlyName must be a string with a maximum length of {MAX_TEXT}."]
    if notes is not None and not rules.is_encrypted(notes):
        problems["Notes"] = ["Notes is not a valid encrypted string."]
    if problems:
        raise ModelState(problems)
    return Offer(model["planSponsorshipType"], email, name, bool(model["isAdminInitiated"]), notes)


def member_of(call: Call, organization_id: str) -> Row | None:
    return call.store.one("OrganizationUser", OrganizationId=organization_id, UserId=call.user_id)


def _route_name(call: Call) -> str:
    """The name in the path; an encoded slash stays encoded, so that a name with a slash is never found."""
    path: bytes = call.request.scope["raw_path"]
    segment = path.decode().rstrip("/").split("/")[-2]
    return unquote(segment.replace("%2F", "%252F").replace("%2f", "%252f"))


def require_manage_users(call: Call, organization_id: str) -> None:
    """This check stumbles over a caller without a token and over a bad id, and gives the bare 403 to everybody else."""
    if not call.claims or not is_guid(organization_id):
        raise Empty(500)
    if not call.can_manage_users(organization_id):
        raise Forbidden


def require_kind(call: Call, kind: str) -> None:
    if call.persona.kind != kind:
        raise BadRequest(
            "Only allowed when self hosted." if kind == "self_hosted" else "Only allowed when not self hosted."
        )


def revoke_by_name(call: Call, kind: str) -> Response:
    organization_id = call.params["sponsoringOrgId"]
    require_manage_users(call, organization_id)
    require_kind(call, kind)
    name = _route_name(call).lower()
    for row in call.store.rows(TABLE, SponsoringOrganizationId=organization_id):
        if (row["FriendlyName"] or "").lower() == name:
            rules.revoke(call.persona, row)
            return ok()
    raise BadRequest(NO_SUCH_NAME)


def listed(call: Call, organization_id: str) -> Response:
    rows = call.store.rows(TABLE, SponsoringOrganizationId=organization_id, IsAdminInitiated=1)
    return json({"data": [_shown(row) for row in rows], "continuationToken": None, "object": "list"})


def _shown(row: Row) -> Row:
    return {
        "sponsoringOrganizationUserId": row["SponsoringOrganizationUserId"].lower(),
        "friendlyName": row["FriendlyName"],
        "offeredToEmail": row["OfferedToEmail"],
        "planSponsorshipType": row["PlanSponsorshipType"],
        "lastSyncDate": times.iso(row["LastSyncDate"]),
        "validUntil": times.iso(row["ValidUntil"]),
        "toDelete": bool(row["ToDelete"]),
        "isAdminInitiated": bool(row["IsAdminInitiated"]),
        "notes": row.get("Notes"),
        "cloudSponsorshipRemoved": False,
        "object": "organizationSponsorship",
    }


@route("POST", SELF_HOSTED + "/{sponsoringOrgId}/families-for-enterprise", policy="Application", only="self_hosted",
       guid={"sponsoringOrgId": "param"})  # fmt: skip
async def offer_self_hosted(call: Call) -> Response:
    offer = read_offer(call)
    organization_id = call.params["sponsoringOrgId"]
    rules.create(call, call.store.one("Organization", Id=organization_id), member_of(call, organization_id), offer)
    return ok()


@route("POST", SELF_HOSTED + "/{sponsoringOrgId}/delete", policy="Application", only="self_hosted",
       guid={"sponsoringOrgId": "param"})  # fmt: skip
@route("DELETE", SELF_HOSTED + "/{sponsoringOrgId}", policy="Application", only="self_hosted",
       guid={"sponsoringOrgId": "param"})  # fmt: skip
async def revoke_self_hosted(call: Call) -> Response:
    member = member_of(call, call.params["sponsoringOrgId"])
    if member is None:
        raise BadRequest("Unknown Organization User")
    return revoke_own(call, member)


def revoke_own(call: Call, member: Row) -> Response:
    row = rules.own_row(call.store, member)
    if row is None:
        raise BadRequest(NOT_SPONSORING)
    rules.revoke(call.persona, row)
    return ok()


@route("DELETE", SELF_HOSTED + "/{sponsoringOrgId}/{sponsoredFriendlyName}/revoke")
async def revoke_by_name_self_hosted(call: Call) -> Response:
    return revoke_by_name(call, "self_hosted")


@route("GET", SELF_HOSTED + "/{orgId}/sponsored", policy="Application", only="self_hosted", guid={"orgId": "param"})
async def sponsored_self_hosted(call: Call) -> Response:
    organization_id = call.params["orgId"]
    if call.store.one("Organization", Id=organization_id) is None:
        raise NotFound
    if not call.can_manage_users(organization_id):
        raise Unauthorized
    return listed(call, organization_id)


@route("GET", CLOUD + "/{sponsoringOrgId}/sync-status", guid={"sponsoringOrgId": "param"})
async def sync_status(call: Call) -> Response:
    """Anybody may ask; who has no token makes the server stumble."""
    organization_id = call.params["sponsoringOrgId"]
    if call.store.one("Organization", Id=organization_id) is None:
        raise ServerError(NULL_REFERENCE)
    if not call.claims:
        raise ServerError(null_argument("source"))
    if not call.is_owner(organization_id):
        raise NotFound
    dates = [row["LastSyncDate"] for row in call.store.rows(TABLE, SponsoringOrganizationId=organization_id)]
    last = max((date for date in dates if date), key=times.parse, default=None)
    return json({"lastSyncDate": times.iso(last), "object": "syncStatus"})
