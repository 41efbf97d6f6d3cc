# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The account that a token stands for: profile, keys, proofs of its owner."""

from __future__ import annotations

import secrets
import string
from typing import Any

from starlette.responses import Response

from bwlab import times
from bwlab.binding import Model, String
from bwlab.errors import ModelState, ServerError, Unauthorized
from bwlab.identity.responses import master_password_policy
from bwlab.identity.twofactor import enabled_providers
from bwlab.organization_models import ACCEPTED, CONFIRMED, memberships
from bwlab.store import Row, Store
from bwlab.verification import SECRET_FIELDS, mail_code, password_matches, read_secret, take_code, verify_secret
from bwlab.web import Call, json, ok, route

SECRET = Model("Bit.Api.Auth.Models.Request.Accounts.SecretVerificationRequestModel", *SECRET_FIELDS)
CODE = Model("Bit.Api.Auth.Models.Request.Accounts.VerifyOTPRequestModel", String("otp", required=True))
CODE_TEXT = "Your email verification code is: CODE\n\nUse this code to complete the protected action in Bitwarden."


def current_user(call: Call) -> Row:
    user = call.store.one("User", Id=call.user_id)
    if user is None:
        raise Unauthorized
    return user


def account_keys(user: Row) -> dict[str, Any]:
    return {
        "signatureKeyPair": None,
        "publicKeyEncryptionKeyPair": {
            "wrappedPrivateKey": user["PrivateKey"],
            "publicKey": user["PublicKey"],
            "signedPublicKey": user.get("SignedPublicKey"),
            "object": "publicKeyEncryptionKeyPair",
        },
        "securityState": None,
        "object": "privateKeys",
    }


def _has_premium_organization(store: Store, user: Row) -> bool:
    """An accepted membership counts before it is confirmed."""
    for member in store.rows("OrganizationUser", UserId=user["Id"]):
        organization = store.one("Organization", Id=member["OrganizationId"]) or {}
        counts = member["Status"] in (ACCEPTED, CONFIRMED)
        if counts and organization.get("Enabled") and organization.get("UsersGetPremium"):
            return True
    return False


def profile_model(store: Store, user: Row) -> dict[str, Any]:
    return {
        "id": user["Id"].lower(),
        "name": user.get("Name"),
        "email": user["Email"],
        "emailVerified": bool(user.get("EmailVerified")),
        "premium": bool(user.get("Premium")),
        "premiumFromOrganization": _has_premium_organization(store, user),
        "culture": user.get("Culture"),
        "twoFactorEnabled": bool(enabled_providers(user)),
        "key": user.get("Key"),
        "privateKey": user.get("PrivateKey"),
        "accountKeys": account_keys(user),
        "securityStamp": user["SecurityStamp"],
        "forcePasswordReset": bool(user.get("ForcePasswordReset")),
        "usesKeyConnector": bool(user.get("UsesKeyConnector")),
        "avatarColor": user.get("AvatarColor"),
        "creationDate": times.iso(user["CreationDate"]),
        "verifyDevices": bool(user.get("VerifyDevices")),
        "organizations": memberships(store, user["Id"], CONFIRMED),
        "organizationsNew": memberships(store, user["Id"], CONFIRMED, ACCEPTED),
        "providers": [],
        "providerOrganizations": [],
        "object": "profile",
    }


@route("GET", "/accounts/profile", policy="Application")
async def profile(call: Call) -> Response:
    return json(profile_model(call.store, current_user(call)))


@route("GET", "/organizations", policy="Application")
@route("GET", "/accounts/organizations", policy="Application")
async def organizations(call: Call) -> Response:
    found = memberships(call.store, call.user_id, CONFIRMED)
    return json({"data": found, "continuationToken": None, "object": "list"})


@route("GET", "/accounts/keys", policy="Application")
async def keys(call: Call) -> Response:
    user = current_user(call)
    return json(
        {
            "key": user.get("Key"),
            "publicKey": user.get("PublicKey"),
            "privateKey": user.get("PrivateKey"),
            "accountKeys": account_keys(user),
            "object": "keys",
        }
    )


@route("GET", "/accounts/revision-date", policy="Application")
async def revision_date(call: Call) -> Response:
    """Whole milliseconds since 1970."""
    moment = times.parse(current_user(call)["AccountRevisionDate"])
    return json(int(moment.timestamp()) * 1000 + round(moment.microsecond / 1000))


@route("POST", "/accounts/verify-password", policy="Application")
async def verify_password(call: Call) -> Response:
    """Only a hash will do here; a code alone makes the server stumble."""
    user, model = current_user(call), read_secret(call, SECRET)
    if not model["masterPasswordHash"]:
        raise ServerError("System.ArgumentNullException: Value cannot be null. (Parameter 'providedPassword')")
    if password_matches(user, model["masterPasswordHash"]):
        return json({**master_password_policy(call.store, user), "object": "masterPasswordPolicy"})
    await call.delay()
    raise ModelState({"MasterPasswordHash": ["Invalid password."]})


def _api_key(user: Row) -> Response:
    return json({"apiKey": user["ApiKey"], "revisionDate": times.iso(user["RevisionDate"]), "object": "apiKey"})


async def _verified(call: Call) -> Row:
    user, model = current_user(call), read_secret(call, SECRET)
    if not await verify_secret(call, user, model):
        raise ModelState({"": ["User verification failed."]})
    return user


@route("POST", "/accounts/api-key", policy="Application")
async def api_key(call: Call) -> Response:
    return _api_key(await _verified(call))


@route("POST", "/accounts/rotate-api-key", policy="Application")
async def rotate_api_key(call: Call) -> Response:
    user = await _verified(call)
    key = "".join(secrets.choice(string.ascii_letters + string.digits) for _unused in range(30))
    call.store.update("User", user["Id"], ApiKey=key, RevisionDate=times.column(call.persona.now()))
    return _api_key(current_user(call))


@route("POST", "/accounts/request-otp", policy="Application")
async def request_otp(call: Call) -> Response:
    mail_code(call.persona, current_user(call), "otp", CODE_TEXT)
    return ok()


@route("POST", "/accounts/verify-otp", policy="Application")
async def verify_otp(call: Call) -> Response:
    user, model = current_user(call), call.json(CODE)
    if not take_code(call.persona, user, "otp", model["otp"]):
        await call.delay()
        raise ModelState({"Token": ["Invalid token"]})
    return ok()
