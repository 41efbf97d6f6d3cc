# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Access tokens: signed JWTs, and what the Api says about a bearer that it does not accept."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from bwlab.persona import Persona

SKEW = timedelta(minutes=5)


class BadToken(Exception):
    """`description` is None for a text that is no token at all."""

    def __init__(self, description: str | None = None) -> None:
        super().__init__(description or "no token")
        self.description = description


def issue(persona: Persona, claims: dict[str, Any], lifetime: int) -> str:
    now = int(persona.now().timestamp())
    payload = {
        "iss": persona.settings().issuer,
        "nbf": now,
        "iat": now,
        "exp": now + lifetime,
        **claims,
        "jti": secrets.token_hex(16).upper(),
    }
    key = persona.signing()
    headers = {"kid": key.kid, "x5t": key.x5t, "typ": "at+jwt"}
    return jwt.encode(payload, key.private, algorithm="RS256", headers=headers)


def _moment(value: Any) -> datetime:
    return datetime.fromtimestamp(int(value), UTC)


def _us_date(moment: datetime) -> str:
    return moment.strftime("%m/%d/%Y %H:%M:%S")


def _identity_behind_proxy(persona: Persona) -> bool:
    """A proxy for all that is not told to leave `identity` out: the Api then cannot fetch the signing keys."""
    if persona.identity_known is not None:
        return not persona.identity_known
    env = persona.settings().env
    proxied = env.get("http_proxy") or env.get("all_proxy")
    return bool(proxied) and "identity" not in env.get("no_proxy", "") and not persona.is_cloud


def read(persona: Persona, token: str) -> dict[str, Any]:
    """The claims, or BadToken with the text of WWW-Authenticate's error_description."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        raise BadToken from None
    key = persona.signing()
    if header.get("kid") != key.kid:
        raise BadToken("The signature key was not found")
    try:
        options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
        claims: dict[str, Any] = jwt.decode(token, key.private.public_key(), algorithms=["RS256"], options=options)
    except jwt.InvalidSignatureError:
        raise BadToken("The signature is invalid") from None
    except jwt.InvalidTokenError:
        raise BadToken from None
    if _identity_behind_proxy(persona):
        raise BadToken(f"The issuer '{claims['iss']}' is invalid")
    now = persona.now()
    if now - SKEW > _moment(claims["exp"]):
        raise BadToken(f"The token expired at '{_us_date(_moment(claims['exp']))}'")
    if now + SKEW < _moment(claims["nbf"]):
        raise BadToken(f"The token is not valid before '{_us_date(_moment(claims['nbf']))}'")
    return claims
