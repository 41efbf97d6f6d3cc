# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two-step login of the password grant: authenticator codes, mailed codes and remembered devices."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import struct
from typing import Any

from bwlab.identity.responses import TokenError, pascal_policy
from bwlab.persona import Persona
from bwlab.store import Row
from bwlab.verification import take_code

AUTHENTICATOR, EMAIL, REMEMBER = "0", "1", "5"
INVALID = "Two-step token is invalid. Try again."


def enabled_providers(user: Row) -> dict[str, Any]:
    providers = json.loads(user.get("TwoFactorProviders") or "{}")
    return {number: provider for number, provider in providers.items() if provider.get("Enabled")}


def totp(key: str, moment: float) -> str:
    """RFC 6238 with its defaults: SHA-1, 30 seconds, 6 digits."""
    counter = struct.pack(">Q", int(moment // 30))
    digest = hmac.new(base64.b32decode(key + "=" * (-len(key) % 8)), counter, hashlib.sha1).digest()
    offset = digest[-1] & 15
    number: int = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**6:06d}"


def _masked(email: str) -> str:
    """The first two letters of the name, then one star for each further one."""
    name, _unused, domain = email.partition("@")
    return f"{name[:2]}{'*' * (len(name) - 2)}@{domain}"


def required_error(persona: Persona, user: Row) -> TokenError:
    providers = enabled_providers(user)
    details: dict[str, Any] = {number: None for number in providers}
    extra: dict[str, Any] = {"TwoFactorProviders": list(providers), "TwoFactorProviders2": details}
    if EMAIL in providers:
        address = providers[EMAIL].get("MetaData", {}).get("Email", user["Email"])
        details[EMAIL] = {"Email": _masked(address)}
        extra["SsoEmail2faSessionToken"] = "BwSsoEmail2FaSessionToken_" + secrets.token_urlsafe(200)
        extra["Email"] = user["Email"]
    extra["MasterPasswordPolicy"] = pascal_policy(persona.store, user)
    return TokenError("invalid_grant", description="Two factor required.", extra=extra)


def is_right(persona: Persona, user: Row, provider: str, token: str, device: str) -> bool:
    if provider == REMEMBER:
        return persona.store.one("LabRemember", UserId=user["Id"], Device=device, Token=token) is not None
    found = enabled_providers(user).get(provider)
    if found is None:
        return False
    if provider == AUTHENTICATOR:
        now = persona.now().timestamp()
        key = found["MetaData"]["Key"]
        return any(hmac.compare_digest(totp(key, now + step * 30), token) for step in (-1, 0, 1))
    return provider == EMAIL and take_code(persona, user, "twofactor", token)


def remember(persona: Persona, user: Row, device: str) -> str:
    """A token that lets this device log in without a code from now on."""
    token = base64.b64encode(secrets.token_bytes(180)).decode()
    persona.store.insert("LabRemember", {"UserId": user["Id"], "Device": device, "Token": token})
    return token
