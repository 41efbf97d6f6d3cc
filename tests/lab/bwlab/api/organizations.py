# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Organizations as their owners see them."""

from __future__ import annotations

from datetime import timedelta

from starlette.responses import Response

from bwlab import license_check, license_store, times
from bwlab.errors import BadRequest, NotFound, ServerError
from bwlab.net_text import NULL_REFERENCE
from bwlab.organization_models import cloud_plans, organization_response, subscription_response
from bwlab.store import Row
from bwlab.web import Call, json, route

GRACE = timedelta(days=60)
__all__ = ["organization_response"]


def owned(call: Call) -> Row:
    """Neither a stranger nor an admin learns whether the organization exists."""
    row = call.store.one("Organization", Id=call.params["id"])
    if row is None or not call.is_owner(call.params["id"]):
        raise NotFound
    return row


@route("GET", "/organizations/{id}", policy="Application", guid={"id": "text"})
async def get_organization(call: Call) -> Response:
    return json(organization_response(call.persona, owned(call)))


def _license_dates(call: Call, row: Row) -> dict[str, str | None]:
    """What the license's token claims counts; an old license without one is believed as it stands."""
    persona = call.persona
    license_ = license_store.read(persona, row["Id"])
    if license_ is None:
        raise ServerError(NULL_REFERENCE)
    try:
        claims = license_check.token_claims(license_, persona.lab.license_certificates, persona.now())
    except license_check.LicenseError as error:
        raise BadRequest(str(error)) from None
    values = license_ if claims is None else license_check.claimed_values(claims)
    expires, without_grace = values["Expires"], values["ExpirationWithoutGracePeriod"]
    if claims is None and without_grace is None and expires:
        without_grace = expires if values["Trial"] else times.iso(times.parse(expires) - GRACE)
    return {"expiration": expires, "expirationWithoutGracePeriod": without_grace}


@route("GET", "/organizations/{id}/subscription", policy="Application", guid={"id": "route"})
async def get_subscription(call: Call) -> Response:
    row = owned(call)
    if call.persona.is_cloud:
        dates = {"expiration": times.iso(row.get("ExpirationDate")), "expirationWithoutGracePeriod": None}
    else:
        dates = _license_dates(call, row)
    return json(subscription_response(call.persona, row, dates))


@route("GET", "/organizations/{id}/users", policy="Application", guid={"id": "param"})
async def members(call: Call) -> Response:
    """Read off the server's source, not recorded: what a member may do and uses is left out."""
    if not call.can_manage_users(call.params["id"]):
        raise NotFound
    found = []
    for row in call.store.rows("OrganizationUser", OrganizationId=call.params["id"]):
        user = call.store.one("User", Id=row["UserId"]) if row["UserId"] else None
        found.append(
            {
                "id": row["Id"].lower(),
                "userId": user["Id"].lower() if user else None,
                "type": row["Type"],
                "status": row["Status"],
                "name": user["Name"] if user else None,
                "email": user["Email"] if user else row["Email"],
                "object": "organizationUserUserDetails",
            }
        )
    return json({"data": found, "continuationToken": None, "object": "list"})


@route("GET", "/organizations/{id}/keys", policy="Application", guid={"id": "text"})
@route("GET", "/organizations/{id}/public-key", policy="Application", guid={"id": "text"})
async def public_key(call: Call) -> Response:
    row = call.store.one("Organization", Id=call.params["id"])
    if row is None:
        raise NotFound
    return json({"publicKey": row.get("PublicKey"), "object": "organizationPublicKey"})


@route("GET", "/plans")
async def plans(call: Call) -> Response:
    found = cloud_plans() if call.persona.is_cloud else []
    return json({"data": found, "continuationToken": None, "object": "list"})
