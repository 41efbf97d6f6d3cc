# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sponsorship endpoints of both kinds of server."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from starlette.responses import Response

from bwlab import sponsorship_rules as rules
from bwlab import times
from bwlab.api_key_rows import billing_sync_key_fits
from bwlab.binding import Any_, Enum, Field, Guid, Model, String
from bwlab.errors import BadRequest, Empty, Forbidden, ModelState, NotFound, ServerError, Unauthorized
from bwlab.net_text import NULL_REFERENCE, json_date, null_argument
from bwlab.sponsorship_rules import TABLE, Offer
from bwlab.sponsorship_tokens import mail_offer, offered_row
from bwlab.sponsorship_tokens import redeem as redeem_offer
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
SYNC = Model(
    "Bit.Api.Models.Request.Organizations.OrganizationSponsorshipSyncRequestModel",
    String("billingSyncKey"),
    Guid("sponsoringOrganizationCloudId"),
    Any_("sponsorshipsBatch", "System.Collections.Generic.IEnumerable`1", "list"),
)
ITEM_DEFAULTS = {
    "sponsoringOrganizationUserId": "00000000-0000-0000-0000-000000000000",
    "friendlyName": None,
    "offeredToEmail": None,
    "planSponsorshipType": 0,
    "lastSyncDate": None,
    "validUntil": None,
    "toDelete": False,
}
REDEEM = Model(
    "Bit.Api.Models.Request.Organizations.OrganizationSponsorshipRedeemRequestModel",
    Enum("planSponsorshipType", PLAN),
    Guid("sponsoredOrganizationId"),
)
MAX_TEXT = 256
NOT_SPONSORING = "You are not currently sponsoring an organization."
NO_SUCH_NAME = "The specified sponsored organization could not be found under the given sponsoring organization."


def _offer(call: Call) -> Offer:
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


def _member(call: Call, organization_id: str) -> Row | None:
    return call.store.one("OrganizationUser", OrganizationId=organization_id, UserId=call.user_id)


def _route_name(call: Call) -> str:
    """The name in the path; an encoded slash stays encoded, so that a name with a slash is never found."""
    path: bytes = call.request.scope["raw_path"]
    segment = path.decode().rstrip("/").split("/")[-2]
    return unquote(segment.replace("%2F", "%252F").replace("%2f", "%252f"))


def _require_manage_users(call: Call, organization_id: str) -> None:
    """This check stumbles over a caller without a token and over a bad id, and gives the bare 403 to everybody else."""
    if not call.claims or not is_guid(organization_id):
        raise Empty(500)
    if not call.can_manage_users(organization_id):
        raise Forbidden


def _only(call: Call, kind: str) -> None:
    if call.persona.kind != kind:
        raise BadRequest(
            "Only allowed when self hosted." if kind == "self_hosted" else "Only allowed when not self hosted."
        )


def _revoke_by_name(call: Call, kind: str) -> Response:
    organization_id = call.params["sponsoringOrgId"]
    _require_manage_users(call, organization_id)
    _only(call, kind)
    name = _route_name(call).lower()
    for row in call.store.rows(TABLE, SponsoringOrganizationId=organization_id):
        if (row["FriendlyName"] or "").lower() == name:
            rules.revoke(call.persona, row)
            return ok()
    raise BadRequest(NO_SUCH_NAME)


def _list(call: Call, organization_id: str) -> Response:
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
    offer = _offer(call)
    organization_id = call.params["sponsoringOrgId"]
    rules.create(call, call.store.one("Organization", Id=organization_id), _member(call, organization_id), offer)
    return ok()


@route("POST", SELF_HOSTED + "/{sponsoringOrgId}/delete", policy="Application", only="self_hosted",
       guid={"sponsoringOrgId": "param"})  # fmt: skip
@route("DELETE", SELF_HOSTED + "/{sponsoringOrgId}", policy="Application", only="self_hosted",
       guid={"sponsoringOrgId": "param"})  # fmt: skip
async def revoke_self_hosted(call: Call) -> Response:
    member = _member(call, call.params["sponsoringOrgId"])
    if member is None:
        raise BadRequest("Unknown Organization User")
    return _revoke_own(call, member)


def _revoke_own(call: Call, member: Row) -> Response:
    row = rules.own_row(call.store, member)
    if row is None:
        raise BadRequest(NOT_SPONSORING)
    rules.revoke(call.persona, row)
    return ok()


@route("DELETE", SELF_HOSTED + "/{sponsoringOrgId}/{sponsoredFriendlyName}/revoke")
async def revoke_by_name_self_hosted(call: Call) -> Response:
    return _revoke_by_name(call, "self_hosted")


@route("GET", SELF_HOSTED + "/{orgId}/sponsored", policy="Application", only="self_hosted", guid={"orgId": "param"})
async def sponsored_self_hosted(call: Call) -> Response:
    organization_id = call.params["orgId"]
    if call.store.one("Organization", Id=organization_id) is None:
        raise NotFound
    if not call.can_manage_users(organization_id):
        raise Unauthorized
    return _list(call, organization_id)


@route("POST", CLOUD + "/{sponsoringOrgId}/families-for-enterprise", policy="Application", only="cloud",
       guid={"sponsoringOrgId": "param"})  # fmt: skip
async def offer_cloud(call: Call) -> Response:
    offer = _offer(call)
    organization_id = call.params["sponsoringOrgId"]
    organization = call.store.one("Organization", Id=organization_id)
    policies = call.store.rows("Policy", OrganizationId=organization_id, Type=rules.FREE_FAMILIES_POLICY, Enabled=1)
    if policies:
        raise BadRequest("Free Bitwarden Families sponsorship has been disabled by your organization administrator.")
    row = rules.create(call, organization, _member(call, organization_id), offer)
    if organization is not None:
        mail_offer(call.persona, organization, row, encoded_twice=True)
    return ok()


@route("POST", CLOUD + "/{sponsoringOrgId}/families-for-enterprise/resend")
async def resend(call: Call) -> Response:
    organization_id = call.params["sponsoringOrgId"]
    _require_manage_users(call, organization_id)
    _only(call, "cloud")
    organization = call.store.one("Organization", Id=organization_id)
    if organization is None:
        raise BadRequest("Cannot find the requested sponsoring organization.")
    name = call.query.get("sponsoredfriendlyname")
    row = call.store.one(TABLE, SponsoringOrganizationId=organization_id, FriendlyName=name) if name else None
    if row is not None:
        if row.get("SponsoredOrganizationId"):
            raise BadRequest("Cannot find an outstanding sponsorship offer for this organization.")
        mail_offer(call.persona, organization, row)
    return ok()


@route("GET", CLOUD + "/{sponsoringOrgId}/sponsored", policy="Application", only="cloud",
       guid={"sponsoringOrgId": "param"})  # fmt: skip
async def sponsored_cloud(call: Call) -> Response:
    organization_id = call.params["sponsoringOrgId"]
    if call.store.one("Organization", Id=organization_id) is None:
        raise NotFound
    if not call.is_member(organization_id):
        raise ServerError("System.InvalidOperationException: Sequence contains no matching element")
    if not call.can_manage_users(organization_id):
        raise Unauthorized
    return _list(call, organization_id)


@route("POST", CLOUD + "/{sponsoringOrganizationId}/delete", policy="Application", only="cloud",
       guid={"sponsoringOrganizationId": "param"})  # fmt: skip
@route("DELETE", CLOUD + "/{sponsoringOrganizationId}", policy="Application", only="cloud",
       guid={"sponsoringOrganizationId": "param"})  # fmt: skip
async def revoke_cloud(call: Call) -> Response:
    member = _member(call, call.params["sponsoringOrganizationId"])
    if member is None:
        raise BadRequest("Can only revoke a sponsorship you granted.")
    return _revoke_own(call, member)


@route("DELETE", CLOUD + "/{sponsoringOrgId}/{sponsoredFriendlyName}/revoke")
async def revoke_by_name_cloud(call: Call) -> Response:
    return _revoke_by_name(call, "cloud")


@route("POST", CLOUD + "/sponsored/{sponsoredOrgId}/remove", policy="Application", only="cloud",
       guid={"sponsoredOrgId": "param"})  # fmt: skip
@route("DELETE", CLOUD + "/sponsored/{sponsoredOrgId}", policy="Application", only="cloud",
       guid={"sponsoredOrgId": "param"})  # fmt: skip
async def remove(call: Call) -> Response:
    organization_id = call.params["sponsoredOrgId"]
    if not call.is_owner(organization_id):
        raise BadRequest("Only the owner of an organization can remove sponsorship.")
    row = call.store.one(TABLE, SponsoredOrganizationId=organization_id)
    if row is None:
        raise BadRequest("The requested organization is not currently being sponsored.")
    call.store.delete(TABLE, row["Id"])
    return ok()


def _offered_to_caller(call: Call) -> Row | None:
    user = call.store.one("User", Id=call.user_id)
    token = call.query.get("sponsorshiptoken", "")
    return offered_row(call.persona, token, user["Email"]) if user else None


@route("POST", CLOUD + "/validate-token", policy="Application", only="cloud")
async def validate(call: Call) -> Response:
    row = _offered_to_caller(call)
    policy = row is not None and bool(
        call.store.rows(
            "Policy", OrganizationId=row["SponsoringOrganizationId"], Type=rules.FREE_FAMILIES_POLICY, Enabled=1
        )
    )
    return json({"isTokenValid": row is not None, "isFreeFamilyPolicyEnabled": policy})


@route("POST", CLOUD + "/redeem", policy="Application", only="cloud")
async def redeem(call: Call) -> Response:
    model = call.json(REDEEM)
    row = _offered_to_caller(call)
    if row is None:
        raise BadRequest("Failed to parse sponsorship token.")
    if not call.is_owner(model["sponsoredOrganizationId"]):
        raise BadRequest("Can only redeem sponsorship for an organization you own.")
    redeem_offer(call.persona, row, model["sponsoredOrganizationId"])
    return ok()


def _item(value: Any) -> dict[str, Any]:
    given = {name.lower(): each for name, each in value.items()} if isinstance(value, dict) else {}
    item: dict[str, Any] = {name: given.get(name.lower(), default) for name, default in ITEM_DEFAULTS.items()}
    for name in ("lastSyncDate", "validUntil"):
        item[name] = json_date(item[name]) if isinstance(item[name], str) else None
    return item


@route("POST", CLOUD + "/sync", policy="Installation")
async def sync(call: Call) -> Response:
    model = call.json(SYNC)
    organization = call.store.one("Organization", Id=model["sponsoringOrganizationCloudId"])
    if organization is None:
        raise BadRequest("Invalid organization")
    if not billing_sync_key_fits(call.store, organization["Id"], model["billingSyncKey"]):
        raise BadRequest("Invalid Billing Sync Key")
    if model["sponsorshipsBatch"] is None:
        raise ServerError(null_argument("source"))
    items = [_item(value) for value in model["sponsorshipsBatch"]]
    answer, to_mail = rules.sync_batch(call.persona, organization, items)
    for row in to_mail:
        mail_offer(call.persona, organization, row)
    return json({"sponsorshipsBatch": answer})


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
