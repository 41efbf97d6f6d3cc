# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prelogin, and the documents by which other services find Identity's endpoints and keys."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from bwlab.binding import Model, String
from bwlab.identity.responses import MEDIA_TYPE
from bwlab.web import Call, json, route

PRELOGIN = Model(
    "Bit.Identity.Models.Request.Accounts.PasswordPreloginRequestModel",
    String("email", required=True, max=256, email=True),
    nullable_context=True,
)
SIGNING = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
FIXED: dict[str, Any] = {
    "scopes_supported": [
        "api", "api.push", "api.licensing", "api.organization", "api.installation", "internal", "api.secrets",
        "api.send.access", "offline_access",
    ],
    "claims_supported": [
        "name", "email", "email_verified", "sstamp", "premium", "device", "devicetype", "orgowner", "orgadmin",
        "orguser", "orgcustom", "providerprovideradmin", "providerserviceuser", "accesssecretsmanager", "sub",
        "send_id", "organization",
    ],
    "grant_types_supported": [
        "authorization_code", "client_credentials", "refresh_token", "implicit", "password",
        "urn:ietf:params:oauth:grant-type:device_code", "urn:openid:params:grant-type:ciba", "webauthn",
        "send_access",
    ],
    "response_types_supported": [
        "code", "token", "id_token", "id_token token", "code id_token", "code token", "code id_token token",
    ],
    "response_modes_supported": ["form_post", "query", "fragment"],
    "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    "id_token_signing_alg_values_supported": ["RS256"],
    "subject_types_supported": ["public"],
    "code_challenge_methods_supported": ["plain", "S256"],
    "request_parameter_supported": True,
    "request_object_signing_alg_values_supported": SIGNING,
    "prompt_values_supported": ["none", "login", "consent", "select_account"],
    "authorization_response_iss_parameter_supported": True,
    "backchannel_token_delivery_modes_supported": ["poll"],
    "backchannel_user_code_parameter_supported": True,
    "dpop_signing_alg_values_supported": SIGNING,
}  # fmt: skip


@route("POST", "/accounts/prelogin/password", service="identity")
@route("POST", "/accounts/prelogin", service="identity")
async def prelogin(call: Call) -> Response:
    """An address nobody has gets an answer too, as if it had the default settings."""
    email = call.json(PRELOGIN)["email"]
    user = call.store.one("User", Email=email)
    if user is None:
        user = {"Kdf": 0, "KdfIterations": 600000, "MasterPasswordSalt": email.strip().lower()}
    numbers = [user["Kdf"], user["KdfIterations"], user.get("KdfMemory"), user.get("KdfParallelism")]
    settings = dict(zip(("kdfType", "iterations", "memory", "parallelism"), numbers, strict=True))
    flat = dict(zip(("kdf", "kdfIterations", "kdfMemory", "kdfParallelism"), numbers, strict=True))
    return json({**flat, "kdfSettings": settings, "salt": user.get("MasterPasswordSalt")})


@route("GET", "/.well-known/openid-configuration", service="identity")
async def configuration(call: Call) -> Response:
    settings = call.persona.settings()
    base = settings.urls.get("identity", "")
    # Below a path base the real document names it twice here.
    authorize = base if call.persona.is_cloud else f"{base}/identity"
    return json(
        {
            "issuer": settings.issuer,
            "jwks_uri": f"{base}/.well-known/openid-configuration/jwks",
            "authorization_endpoint": f"{authorize}/connect/authorize",
            "token_endpoint": f"{base}/connect/token",
            "device_authorization_endpoint": f"{base}/connect/deviceauthorization",
            "backchannel_authentication_endpoint": f"{base}/connect/ciba",
            **FIXED,
        },
        media_type=MEDIA_TYPE,
    )


@route("GET", "/.well-known/openid-configuration/jwks", service="identity")
async def jwks(call: Call) -> Response:
    return json({"keys": [call.persona.signing().jwk]}, media_type=MEDIA_TYPE)
