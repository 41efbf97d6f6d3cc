# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Logins of people: with the personal API key, with the master password hash, with a refresh token."""

from __future__ import annotations

import re
import secrets
from typing import Any

from bwlab import times
from bwlab.identity import devices, twofactor
from bwlab.identity.claims import device_type_name, user_claims
from bwlab.identity.responses import TokenError, account_fields, applying_policies
from bwlab.store import Row
from bwlab.tokens import issue
from bwlab.verification import password_matches
from bwlab.web import Call, client_address

LIFETIME = 3600
VERSION = re.compile(r"^\s*\+?\d+(\s*\.\s*\+?\d+){1,3}\s*$")
V2_MINIMUM = (2025, 11, 0)
REQUIRE_SSO = 4
WRONG = "Username or password is incorrect. Try again."
NO_VERSION = (
    "No client version header found, required to prevent encryption errors. "
    'Please confirm your client is supplying the header: "Bitwarden-Client-Version"'
)
LEGACY = "Legacy encryption without a userkey is no longer supported. To recover your account, please contact support"
OUTDATED = "Please update your app to continue using Bitwarden"
NO_SSO = "Sso authentication is required."


def check_version(call: Call, user: Row) -> str:
    text = call.request.headers.get("bitwarden-client-version", "")
    if not VERSION.match(text):
        raise TokenError("version_header_missing", NO_VERSION, description=NO_VERSION)
    version = tuple(int(part) for part in text.split("."))
    if user.get("SecurityVersion") == 2 and version < V2_MINIMUM:
        raise TokenError("invalid_client_version", OUTDATED, description=OUTDATED)
    return text.strip()


def _check_key(user: Row, client_id: str) -> None:
    if not user.get("Key") and client_id != "web":
        raise TokenError("invalid_grant", LEGACY)


def _reset_failures(call: Call, user: Row) -> None:
    if user.get("FailedLoginCount"):
        moment = times.column(call.persona.now())
        call.store.update("User", user["Id"], FailedLoginCount=0, RevisionDate=moment)


def _count_failure(call: Call, user: Row) -> None:
    moment = times.column(call.persona.now())
    count = (user.get("FailedLoginCount") or 0) + 1
    call.store.update("User", user["Id"], FailedLoginCount=count, LastFailedLoginDate=moment, RevisionDate=moment)


def api_key_login(call: Call, user: Row, form: dict[str, str], scope: str) -> dict[str, Any]:
    """Two-step login, single sign-on policies and new-device codes are not asked for."""
    version = check_version(call, user)
    device = devices.from_form(form)
    _check_key(user, "")
    known = devices.remember(call.persona, user, device, version, client_address(call.request))
    _reset_failures(call, user)
    claims = {
        "scope": scope.split(),
        "amr": ["Application"],
        "client_id": f"user.{user['Id'].lower()}",
        **user_claims(call.store, user),
        "device": device.identifier,
        "devicetype": device_type_name(known["Type"]),
    }
    body = {
        "access_token": issue(call.persona, claims, LIFETIME),
        "expires_in": LIFETIME,
        "token_type": "Bearer",
        "scope": scope,
        **account_fields(call.store, user),
    }
    if user.get("UsesKeyConnector"):
        body["ApiUseKeyConnector"] = True
    return body


def _check_sso(call: Call, user: Row) -> None:
    for policy in applying_policies(call.store, user, REQUIRE_SSO):
        organization = call.store.one("Organization", Id=policy["OrganizationId"]) or {}
        identifier = organization.get("Identifier")
        extra = {"SsoOrganizationIdentifier": identifier} if identifier else {}
        raise TokenError("invalid_grant", NO_SSO, description=NO_SSO, extra=extra, wait=False)


def _check_two_factor(call: Call, user: Row, form: dict[str, str], device: str) -> str | None:
    """The remember token for this device, when it asked for one."""
    if not twofactor.enabled_providers(user):
        return None
    provider, token = form.get("twofactorprovider"), form.get("twofactortoken")
    if not provider or not token:
        raise twofactor.required_error(call.persona, user)
    if not twofactor.is_right(call.persona, user, provider, token, device):
        _count_failure(call, user)
        raise TokenError("invalid_grant", twofactor.INVALID, description="invalid_username_or_password")
    wants = form.get("twofactorremember") == "1" and provider != twofactor.REMEMBER
    return twofactor.remember(call.persona, user, device) if wants else None


def password_login(call: Call, form: dict[str, str], client_id: str, scope: str) -> dict[str, Any]:
    user = call.store.one("User", Email=form.get("username", ""))
    if user is None or not password_matches(user, form.get("password")):
        if user is not None:
            _count_failure(call, user)
        raise TokenError("invalid_grant", WRONG, description="invalid_username_or_password")
    version = check_version(call, user)
    _check_sso(call, user)
    remembered = _check_two_factor(call, user, form, form.get("deviceidentifier", ""))
    device = devices.from_form(form)
    address = client_address(call.request)
    devices.verify_new(call.persona, user, device, form, address)
    _check_key(user, client_id)
    known = devices.remember(call.persona, user, device, version, address)
    _reset_failures(call, user)
    now = call.persona.now()
    grant = call.store.insert(
        "LabGrant",
        {
            "Token": f"{secrets.token_hex(32).upper()}-1",
            "UserId": user["Id"],
            "ClientId": client_id,
            "Scope": scope,
            "Device": device.identifier,
            "DeviceType": device_type_name(known["Type"]),
            "AuthTime": int(now.timestamp()),
        },
    )
    body = {**_session(call, user, grant), **account_fields(call.store, user)}
    if remembered is not None:
        body["TwoFactorToken"] = remembered
    return body


def _session(call: Call, user: Row, grant: Row) -> dict[str, Any]:
    claims = user_claims(call.store, user)
    del claims["type"]
    claims = {
        "scope": grant["Scope"].split(),
        "amr": ["Application"],
        "client_id": grant["ClientId"],
        "auth_time": grant["AuthTime"],
        "idp": "bitwarden",
        **claims,
        "device": grant["Device"],
        "devicetype": grant["DeviceType"],
    }
    return {
        "access_token": issue(call.persona, claims, LIFETIME),
        "expires_in": LIFETIME,
        "token_type": "Bearer",
        "refresh_token": grant["Token"],
        "scope": grant["Scope"],
    }


def refresh(call: Call, form: dict[str, str], client_id: str) -> dict[str, Any]:
    grant = call.store.one("LabGrant", Token=form.get("refresh_token", ""), ClientId=client_id)
    user = call.store.one("User", Id=grant["UserId"]) if grant else None
    if grant is None or user is None:
        raise TokenError("invalid_grant")
    return _session(call, user, grant)
