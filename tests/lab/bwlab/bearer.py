# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who calls: the bearer token of a request, and whether it is enough for a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from bwlab import tokens
from bwlab.errors import Empty, Forbidden

if TYPE_CHECKING:
    from bwlab.web import Call

SCOPES = {"Licensing": "api.licensing", "Installation": "api.installation", "Push": "api.push"}


def bearer(request: Request) -> str | None:
    scheme, _unused, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.query_params.get("access_token")


def authenticate(call: Call) -> None:
    """Fills the claims, or raises the 401 with its WWW-Authenticate."""
    token = bearer(call.request)
    if token is None:
        raise Empty(401, {"www-authenticate": "Bearer"})
    try:
        call.claims = tokens.read(call.persona, token)
        call.request.scope["bwlab.actor"] = call.claims.get("email") or call.claims.get("client_id")
    except tokens.BadToken as error:
        text = 'Bearer error="invalid_token"'
        if error.description:
            text += f', error_description="{error.description}"'
        raise Empty(401, {"www-authenticate": text}) from None


def _has_scope(claims: dict[str, Any], scope: str) -> bool:
    given = claims.get("scope", [])
    return scope in ([given] if isinstance(given, str) else given)


def authorize(call: Call, policy: str) -> None:
    scope = SCOPES.get(policy, "api")
    allowed = _has_scope(call.claims, scope)
    if policy == "Application":
        allowed = allowed and bool({"Application", "external"} & set(call.claims.get("amr", [])))
    if not allowed:
        raise Forbidden
