# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An offer's mail, the token in it, and what redeeming it needs."""

from __future__ import annotations

import base64
import html
from datetime import timedelta
from urllib.parse import quote

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


def _token(persona: Persona, row: Row) -> str:
    """Wrapped once more, as the real one has no dots in it."""
    claims = {"member": row["SponsoringOrganizationUserId"], "email": row["OfferedToEmail"]}
    signed = jwt.encode(claims, persona.signing().private, algorithm="RS256")
    return PREFIX + base64.urlsafe_b64encode(signed.encode()).decode().rstrip("=")


def mail_offer(persona: Persona, organization: Row, row: Row, *, encoded_twice: bool = False) -> None:
    """A first offer at the cloud shows the organization's name as its row has it, that is, encoded once too often."""
    email = row["OfferedToEmail"]
    name = html.escape(organization["Name"]) if encoded_twice else organization["Name"]
    known = any(user["Email"].lower() == email.lower() for user in persona.store.rows("User"))
    how = "To activate your complimentary subscription, click the link below."
    if not known:
        how = (
            "To accept your complimentary subscription, you will need to create an account with this email address. "
            "Click the link below."
        )
    link = f"{persona.settings().urls.get('vault', '')}/#/accept-families-for-enterprise?token={_token(persona, row)}"
    link += f"&email={quote(email, safe='')}" + ("" if known else "&register=true")
    text = (
        f"A Bitwarden organization, {name}, has sponsored a free Families subscription for you! {how}\r\n\r\n"
        "If you do not recognize this account, please ignore this message.\r\n\r\n"
        f"{link.replace('&', '&amp;').replace('=', '&#x3D;')}"
    )
    persona.mail(email, "Accept Your Free Families Subscription", text)


def offered_row(persona: Persona, token: str, email: str) -> Row | None:
    """The sponsorship that a mailed token stands for; None for any other text and for anybody else's address."""
    try:
        key = persona.signing().private.public_key()
        wrapped = token.removeprefix(PREFIX)
        signed = base64.urlsafe_b64decode(wrapped + "=" * (-len(wrapped) % 4))
        claims = jwt.decode(signed, key, algorithms=["RS256"])
    except (ValueError, jwt.InvalidTokenError):
        return None
    if claims["email"].lower() != email.lower():
        return None
    where = {"SponsoringOrganizationUserId": claims["member"], "OfferedToEmail": claims["email"]}
    return persona.store.one(TABLE, **where)


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
