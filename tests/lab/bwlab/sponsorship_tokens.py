# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The token in an offer's mail, and what redeeming it needs."""

from __future__ import annotations

from datetime import timedelta

import jwt

from bwlab import plans, times
from bwlab.errors import BadRequest, ServerError
from bwlab.persona import Persona
from bwlab.sponsorship_rules import TABLE
from bwlab.store import Row

PREFIX = "BWOrganizationSponsorship_"
OFFER_AGE = timedelta(days=182.5)
FAMILIES_ONLY = "Can only redeem sponsorship offer on families organizations."
ALREADY_SPONSORED = (
    "Cannot redeem a sponsorship offer for an organization that is already sponsored. "
    "Revoke existing sponsorship first."
)


def offer_token(persona: Persona, row: Row) -> str:
    claims = {"id": row["Id"], "email": row["OfferedToEmail"], "plan": row["PlanSponsorshipType"]}
    return PREFIX + jwt.encode(claims, persona.signing().private, algorithm="RS256")


def offered_row(persona: Persona, token: str, email: str) -> Row | None:
    """The sponsorship that a mailed token stands for; None for any other text and for anybody else's address."""
    try:
        key = persona.signing().private.public_key()
        claims = jwt.decode(token.removeprefix(PREFIX), key, algorithms=["RS256"])
    except jwt.InvalidTokenError:
        return None
    row = persona.store.one(TABLE, Id=claims["id"])
    fits = row is not None and row["OfferedToEmail"] == claims["email"] and claims["email"].lower() == email.lower()
    return row if fits else None


def redeem(persona: Persona, row: Row, organization_id: str) -> None:
    store = persona.store
    organization = store.one("Organization", Id=organization_id)
    if organization is None or row.get("SponsoredOrganizationId"):
        raise BadRequest("No unredeemed sponsorship offer exists for you.")
    if store.one(TABLE, SponsoredOrganizationId=organization_id):
        raise BadRequest(ALREADY_SPONSORED)
    synced = row.get("LastSyncDate")
    if synced and times.parse(synced) + OFFER_AGE < persona.now():
        raise BadRequest("This sponsorship offer is more than 6 months old and has expired.")
    if plans.product_tier(organization["PlanType"]) != plans.FAMILIES:
        raise BadRequest(FAMILIES_ONLY)
    if not organization.get("GatewaySubscriptionId"):
        raise ServerError
    valid_until = times.column(persona.now() + timedelta(days=365))
    store.update(TABLE, row["Id"], SponsoredOrganizationId=organization_id, ValidUntil=valid_until)
