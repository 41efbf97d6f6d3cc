# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""POST /connect/token: who asks, with which grant, for which scope."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from starlette.responses import Response

from bwlab import times
from bwlab.errors import Empty
from bwlab.identity.responses import TokenError, token_response
from bwlab.identity.users import api_key_login, password_login, refresh
from bwlab.store import Row, is_guid
from bwlab.tokens import issue
from bwlab.web import Call, route

PUBLIC_CLIENTS = {"web", "cli", "desktop", "browser", "mobile", "connector"}
GRANTS = {"client_credentials", "password", "refresh_token", "authorization_code", "webauthn", "send_access"}
INSTALLATION_SCOPES = ("api.installation", "api.licensing", "api.push")
DEFAULT_KEY = 0
MAX_SECRET = 100


@dataclass
class Client:
    kind: str
    row: Row
    secret: str
    scopes: tuple[str, ...]


def _credentials(call: Call, form: dict[str, str]) -> tuple[str, str]:
    """From the form or from a Basic header."""
    scheme, _unused, text = call.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _unused, secret = base64.b64decode(text, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise TokenError("invalid_client") from None
        return unquote_plus(name), unquote_plus(secret)
    return form.get("client_id", ""), form.get("client_secret", "")


def _confidential_client(call: Call, client_id: str) -> Client | None:
    prefix, _unused, guid = client_id.partition(".")
    if not is_guid(guid):
        return None
    if prefix == "user":
        user = call.store.one("User", Id=guid)
        return Client(prefix, user, user["ApiKey"], ("api",)) if user else None
    if prefix == "installation" and call.persona.is_cloud:
        row = call.store.one("Installation", Id=guid)
        return Client(prefix, row, row["Key"], INSTALLATION_SCOPES) if row and row["Enabled"] else None
    if prefix == "organization":
        row = call.store.one("Organization", Id=guid)
        if row is None:
            return None
        key = call.store.one("OrganizationApiKey", OrganizationId=guid, Type=DEFAULT_KEY)
        if key is None:
            raise Empty(500)
        usable = row["Enabled"] and row["UseApi"]
        return Client(prefix, row, key["ApiKey"], ("api.organization",)) if usable else None
    return None


def _scope(form: dict[str, str], allowed: tuple[str, ...]) -> str:
    wanted = form.get("scope", "").split()
    if any(scope not in allowed for scope in wanted):
        raise TokenError("invalid_scope")
    return " ".join(sorted(wanted) if wanted else allowed)


def _machine_token(call: Call, client: Client, scope: str) -> dict[str, Any]:
    """For an organization or an installation: no device, no version header, nothing about an account."""
    guid = client.row["Id"].lower()
    claims: dict[str, Any] = {"scope": scope.split(), "client_id": f"{client.kind}.{guid}", "client_sub": guid}
    lifetime = 86400
    if client.kind == "organization":
        claims["client_type"] = "Organization"
        lifetime = 3600
    else:
        moment = times.column(call.persona.now())
        call.store.update("Installation", client.row["Id"], LastActivityDate=moment)
    token = issue(call.persona, claims, lifetime)
    return {"access_token": token, "expires_in": lifetime, "token_type": "Bearer", "scope": scope}


def _client_credentials(call: Call, form: dict[str, str], client: Client) -> dict[str, Any]:
    scope = _scope(form, client.scopes)
    if client.kind == "user":
        return api_key_login(call, client.row, form, scope)
    return _machine_token(call, client, scope)


def _answer(call: Call, form: dict[str, str]) -> dict[str, Any]:
    client_id, secret = _credentials(call, form)
    call.request.scope["bwlab.actor"] = form.get("username") or client_id
    if not client_id or len(secret) > MAX_SECRET:
        raise TokenError("invalid_request")
    client = None
    if client_id not in PUBLIC_CLIENTS:
        client = _confidential_client(call, client_id)
        if client is None or not hmac.compare_digest(client.secret.encode(), secret.encode()):
            raise TokenError("invalid_client")
    grant = form.get("grant_type", "")
    if grant not in GRANTS:
        raise TokenError("unsupported_grant_type")
    if client is not None:
        if grant != "client_credentials":
            raise TokenError("unauthorized_client")
        return _client_credentials(call, form, client)
    if grant == "password":
        return password_login(call, form, client_id, _scope(form, ("api", "offline_access")))
    if grant == "refresh_token":
        return refresh(call, form, client_id)
    raise TokenError("unauthorized_client")


@route("GET", "/connect/token", service="identity")
@route("POST", "/connect/token", service="identity")
async def connect_token(call: Call) -> Response:
    media_type = call.request.headers.get("content-type", "").split(";")[0].strip().lower()
    if call.request.method != "POST" or media_type != "application/x-www-form-urlencoded":
        return token_response({"error": "invalid_request"}, 400)
    pairs = parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True)
    try:
        return token_response(_answer(call, {key.lower(): value for key, value in pairs}))
    except TokenError as error:
        if error.wait:
            await call.delay()
        return token_response(error.body(), 400)
