# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Free Families sponsorships: what an offer must satisfy, and what the cloud does with a batch of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bwlab import plans, times
from bwlab.errors import BadRequest, ServerError, Unauthorized
from bwlab.net_text import NULL_REFERENCE
from bwlab.persona import Persona
from bwlab.store import Row, Store
from bwlab.web import Call

TABLE = "OrganizationSponsorship"
CONFIRMED = 2
FREE_FAMILIES_POLICY = 13
GRACE = timedelta(days=93)
TO_SELF = "Cannot offer a Families Organization Sponsorship to yourself. Choose a different email."
NOT_ENTERPRISE = "Specified Organization cannot sponsor other organizations."
NOT_CONFIRMED = "Only confirmed users can sponsor other organizations."
ONE_EACH = "Can only sponsor one organization per Organization User."
NOT_LICENSED = "Sponsoring organization cannot send admin-initiated sponsorship invitations"
NO_SEATS = "Cannot autoscale on self-hosted instance."

# How many base64 parts follow the number of an encrypted string's kind.
ENCRYPTED_PARTS = {"0": 2, "1": 3, "2": 3, "3": 1, "4": 1, "5": 2, "6": 2, "7": 1}
BASE64 = re.compile(r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")
EMAIL = re.compile(r"^[^\s@<>(),;:\"\[\]\\]+@[^\s@<>(),;:\"\[\]\\]+\.[^\s@<>(),;:\"\[\]\\]+$")


def is_encrypted(text: str) -> bool:
    kind, _unused, rest = text.partition(".")
    parts = rest.split("|")
    return ENCRYPTED_PARTS.get(kind) == len(parts) and all(part and BASE64.match(part) for part in parts)


def is_supported_email(text: str) -> bool:
    return bool(EMAIL.match(text))


def occupied_seats(store: Store, organization_id: str) -> int:
    """Everybody who is invited, accepted or confirmed, and every sponsorship that an admin gave."""
    members = [row for row in store.rows("OrganizationUser", OrganizationId=organization_id) if row["Status"] >= 0]
    given = store.rows(TABLE, SponsoringOrganizationId=organization_id, IsAdminInitiated=1)
    return len(members) + len(given)


def own_row(store: Store, member: Row) -> Row | None:
    """The sponsorship that a member has for himself; those given as admin do not count."""
    return store.one(TABLE, SponsoringOrganizationUserId=member["Id"], IsAdminInitiated=0)


@dataclass
class Offer:
    plan: int
    email: str
    friendly_name: str | None
    by_admin: bool
    notes: str | None


def _check_member(call: Call, organization: Row | None, member: Row | None, offer: Offer) -> tuple[Row, Row]:
    if organization is None or member is None or offer.plan != 0:
        raise ServerError(NULL_REFERENCE)
    user = call.store.one("User", Id=member["UserId"])
    if user is None or user["Email"].lower() == offer.email.lower():
        raise BadRequest(TO_SELF)
    if plans.product_tier(organization["PlanType"]) != plans.ENTERPRISE:
        raise BadRequest(NOT_ENTERPRISE)
    if member["Status"] != CONFIRMED:
        raise BadRequest(NOT_CONFIRMED)
    return organization, member


def _check_admin(call: Call, organization: Row) -> None:
    if not call.can_manage_users(organization["Id"]):
        raise Unauthorized
    if not organization["UseAdminSponsoredFamilies"]:
        raise BadRequest(NOT_LICENSED)
    full = organization["Seats"] is not None and occupied_seats(call.store, organization["Id"]) >= organization["Seats"]
    if full and not call.persona.is_cloud:
        raise BadRequest(NO_SEATS)


def create(call: Call, organization: Row | None, member: Row | None, offer: Offer) -> Row:
    """The row of the offer; a name that the organization has already gives the old row, whoever's it is."""
    organization, member = _check_member(call, organization, member, offer)
    store = call.store
    for row in store.rows(TABLE, SponsoringOrganizationId=organization["Id"]):
        if row.get("FriendlyName") == offer.friendly_name:
            return row
    if offer.by_admin:
        _check_admin(call, organization)
    columns = {
        "SponsoringOrganizationId": organization["Id"],
        "SponsoringOrganizationUserId": member["Id"],
        "FriendlyName": offer.friendly_name,
        "OfferedToEmail": offer.email,
        "PlanSponsorshipType": offer.plan,
        "LastSyncDate": None,
        "ValidUntil": None,
        "ToDelete": False,
        "IsAdminInitiated": offer.by_admin,
        "Notes": offer.notes,
    }
    old = None if offer.by_admin else own_row(store, member)
    if old is None:
        return store.insert(TABLE, columns)
    if old.get("SponsoredOrganizationId"):
        raise BadRequest(ONE_EACH)
    store.update(TABLE, old["Id"], **columns)
    return {**old, **columns}


def revoke(persona: Persona, row: Row) -> None:
    """What the other side may know of is only marked; the rest goes."""
    known = row.get("SponsoredOrganizationId") if persona.is_cloud else row["LastSyncDate"]
    if known is None:
        persona.store.delete(TABLE, row["Id"])
    elif not row["ToDelete"]:
        persona.store.update(TABLE, row["Id"], ToDelete=True)


def _long_disabled(organization: Row, now: datetime) -> bool:
    if organization["Enabled"]:
        return False
    expired = organization["ExpirationDate"]
    return expired is None or times.parse(expired) + GRACE < now


def _known_rows(store: Store, organization_id: str) -> dict[str, Row]:
    """By member: two rows of one member are more than the server's dictionary takes."""
    known: dict[str, Row] = {}
    for row in store.rows(TABLE, SponsoringOrganizationId=organization_id):
        member = row["SponsoringOrganizationUserId"].lower()
        if member in known:
            what = "An item with the same key has already been added. Key: "
            raise ServerError(f"System.ArgumentException: {what}{member}")
        known[member] = row
    return known


def sync_batch(persona: Persona, organization: Row, batch: list[dict[str, Any]]) -> tuple[list[Row], list[Row]]:
    """The cloud's side of the daily job: the answer's items, and the rows whose offer has to be mailed."""
    store = persona.store
    known = _known_rows(store, organization["Id"]) if batch else {}
    answer: list[Row] = []
    to_mail: list[Row] = []
    for item in batch:
        if item["planSponsorshipType"] != 0:
            raise ServerError(NULL_REFERENCE)
        if plans.product_tier(organization["PlanType"]) != plans.ENTERPRISE:
            continue
        now = times.column(persona.now())
        row = known.get(item["sponsoringOrganizationUserId"].lower())
        if row is None:
            never_synced = item["toDelete"] and item["lastSyncDate"] is None
            if never_synced or _long_disabled(organization, persona.now()):
                continue
            row = store.insert(TABLE, _new_row(organization, item, now))
            to_mail.append(row)
            removed = item["toDelete"]
        else:
            removed = item["toDelete"] and row.get("SponsoredOrganizationId") is None
            if removed:
                store.delete(TABLE, row["Id"])
            else:
                marked = {"ToDelete": True} if item["toDelete"] else {}
                store.update(TABLE, row["Id"], LastSyncDate=now, **marked)
        valid_until = times.iso(row.get("ValidUntil"))
        changes = {"lastSyncDate": times.iso(now), "validUntil": valid_until, "cloudSponsorshipRemoved": removed}
        answer.append({**item, **changes, "isAdminInitiated": False})
    return answer, to_mail


def _new_row(organization: Row, item: dict[str, Any], now: str) -> Row:
    return {
        "SponsoringOrganizationId": organization["Id"],
        "SponsoringOrganizationUserId": item["sponsoringOrganizationUserId"].upper(),
        "FriendlyName": item["friendlyName"],
        "OfferedToEmail": item["offeredToEmail"],
        "PlanSponsorshipType": item["planSponsorshipType"],
        "LastSyncDate": now,
        "ToDelete": False,
        "IsAdminInitiated": False,
    }
