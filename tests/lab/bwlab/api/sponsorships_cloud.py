# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sponsorship endpoints of the cloud: its own members' offers, redemption, and the other side of the daily job."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from bwlab import sponsorship_rules as rules
from bwlab.api.sponsorships import (
    CLOUD,
    PLAN,
    listed,
    member_of,
    read_offer,
    require_kind,
    require_manage_users,
    revoke_by_name,
    revoke_own,
)
from bwlab.api_key_rows import billing_sync_key_fits
from bwlab.binding import Any_, Enum, Guid, Model, String
from bwlab.errors import BadRequest, NotFound, ServerError, Unauthorized
from bwlab.net_text import json_date, null_argument
from bwlab.sponsorship_rules import TABLE
from bwlab.sponsorship_tokens import mail_offer, offered_row
from bwlab.sponsorship_tokens import redeem as redeem_offer
from bwlab.store import Row
from bwlab.web import Call, json, ok, route

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


@route("POST", CLOUD + "/{sponsoringOrgId}/families-for-enterprise", policy="Application", only="cloud",
       guid={"sponsoringOrgId": "param"})  # fmt: skip
async def offer_cloud(call: Call) -> Response:
    offer = read_offer(call)
    organization_id = call.params["sponsoringOrgId"]
    organization = call.store.one("Organization", Id=organization_id)
    policies = call.store.rows("Policy", OrganizationId=organization_id, Type=rules.FREE_FAMILIES_POLICY, Enabled=1)
    if policies:
        raise BadRequest("Free Bitwarden Families sponsorship has been disabled by your organization administrator.")
    row = rules.create(call, organization, member_of(call, organization_id), offer)
    if organization is not None:
        mail_offer(call.persona, organization, row, encoded_twice=True)
    return ok()


@route("POST", CLOUD + "/{sponsoringOrgId}/families-for-enterprise/resend")
async def resend(call: Call) -> Response:
    organization_id = call.params["sponsoringOrgId"]
    require_manage_users(call, organization_id)
    require_kind(call, "cloud")
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
    return listed(call, organization_id)


@route("POST", CLOUD + "/{sponsoringOrganizationId}/delete", policy="Application", only="cloud",
       guid={"sponsoringOrganizationId": "param"})  # fmt: skip
@route("DELETE", CLOUD + "/{sponsoringOrganizationId}", policy="Application", only="cloud",
       guid={"sponsoringOrganizationId": "param"})  # fmt: skip
async def revoke_cloud(call: Call) -> Response:
    member = member_of(call, call.params["sponsoringOrganizationId"])
    if member is None:
        raise BadRequest("Can only revoke a sponsorship you granted.")
    return revoke_own(call, member)


@route("DELETE", CLOUD + "/{sponsoringOrgId}/{sponsoredFriendlyName}/revoke")
async def revoke_by_name_cloud(call: Call) -> Response:
    return revoke_by_name(call, "cloud")


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
