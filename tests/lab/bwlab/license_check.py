# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Is this license good here? Signature, lifetime, audience and issuer of its token, then its content."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bwlab import times
from bwlab.license_fields import (
    ACCEPTED_VERSIONS,
    CLAIM_FLAGS,
    CLAIM_NUMBERS,
    CLAIM_TEXTS,
    LICENSE_TYPES,
    ORGANIZATION_LICENSE,
    License,
)
from bwlab.licenses import signed_bytes

Claims = Mapping[str, Any]

PREMIUM_LICENSE = (
    "Premium licenses cannot be applied to an organization. "
    "Upload this license from your personal account settings page."
)
CLOUD_DISABLED = "Your cloud-hosted organization is currently disabled."
OTHER_INSTALLATION = "The installation ID does not match the current installation."
NO_SELF_HOST = "The license does not allow for on-premise hosting of organizations."
PII = "[PII of type '{kind}' is hidden. For more details, see https://aka.ms/IdentityModel/PII.]"


class LicenseError(Exception):
    """The license is refused; the text is what the server answers with 400."""


class SignatureMissing(Exception):
    """No signature to look at: the real server runs into an exception of its own."""


def _moment(moment: datetime) -> str:
    """11/22/2026 3:27:49 PM, with the narrow blank that .NET's culture data has before PM."""
    moment = moment.astimezone(UTC)
    return f"{moment.month}/{moment.day}/{moment.year} {moment.hour % 12 or 12}:{moment:%M:%S}\u202f{moment:%p}"


def _decoded(segment: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))


def _verifies(certificate: x509.Certificate, signature: bytes, data: bytes) -> bool:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    try:
        key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _signature_text(trusted: Sequence[x509.Certificate]) -> str:
    thumbprint = trusted[0].fingerprint(hashes.SHA1())  # noqa: S303 - a thumbprint as the server names it
    internal = base64.urlsafe_b64encode(thumbprint).decode().rstrip("=")
    return (
        "IDX10517: Signature validation failed. The token's kid is missing. Keys tried: "
        f"'Microsoft.IdentityModel.Tokens.X509SecurityKey, KeyId: '{thumbprint.hex().upper()}', "
        f"InternalId: '{internal}'.'.\n"
        "Number of keys in TokenValidationParameters: '1'. \n"
        "Number of keys in Configuration: '0'.\n"
        "Exceptions caught:\n"
        f" '{PII.format(kind='System.String')}'.\n"
        f"token: '{PII.format(kind='System.IdentityModel.Tokens.Jwt.JwtSecurityToken')}'."
        " See https://aka.ms/IDX10503 for details."
    )


def _check_lifetime(payload: Claims, now: datetime) -> None:
    """No skew at all: a server two seconds behind the cloud refuses a fresh license."""
    current = f"Current time (UTC): '{_moment(now)}'."
    if "exp" not in payload:
        raise LicenseError(
            "IDX10225: Lifetime validation failed. The token is missing an Expiration Time. "
            "Tokentype: 'System.IdentityModel.Tokens.Jwt.JwtSecurityToken'."
        )
    expires = datetime.fromtimestamp(payload["exp"], UTC)
    if "nbf" in payload:
        begins = datetime.fromtimestamp(payload["nbf"], UTC)
        if begins > now:
            raise LicenseError(
                "IDX10222: Lifetime validation failed. The token is not yet valid. "
                f"ValidFrom (UTC): '{_moment(begins)}', {current}"
            )
    if expires < now:
        raise LicenseError(
            "IDX10223: Lifetime validation failed. The token is expired. "
            f"ValidTo (UTC): '{_moment(expires)}', {current}"
        )


def _token_payload(token: str, trusted: Sequence[x509.Certificate]) -> dict[str, Any]:
    segments = token.split(".")
    if len(segments) not in (3, 5):
        raise LicenseError("IDX12741: JWT must have three segments (JWS) or five segments (JWE).")
    try:
        header = _decoded(segments[0])
        payload = _decoded(segments[1])
        signature = base64.urlsafe_b64decode(segments[2] + "=" * (-len(segments[2]) % 4))
    except ValueError:
        raise LicenseError(_signature_text(trusted)) from None
    signed = ".".join(segments[:2]).encode()
    good = header.get("alg") == "RS256" and any(_verifies(each, signature, signed) for each in trusted)
    if not good or not isinstance(payload, dict):
        raise LicenseError(_signature_text(trusted))
    return payload


def token_claims(license_: License, trusted: Sequence[x509.Certificate], now: datetime) -> dict[str, Any] | None:
    """The claims of the license's token, verified; None for an old license without one."""
    token = license_["Token"]
    if not token or not token.strip():
        return None
    try:
        payload = _token_payload(token, trusted)
        _check_lifetime(payload, now)
        if payload.get("aud") != f"organization:{license_['Id'].lower()}":
            raise LicenseError(
                "IDX10214: Audience validation failed. See https://aka.ms/identitymodel/app-context-switches"
            )
        if payload.get("iss") != "bitwarden":
            raise LicenseError(
                f"IDX10205: Issuer validation failed. Issuer: '{payload.get('iss')}'. Did not match: "
                "validationParameters.ValidIssuer: 'bitwarden' or validationParameters.ValidIssuers: 'null' or "
                "validationParameters.ConfigurationManager.CurrentConfiguration.Issuer: 'Null'. "
                "For more details, see https://aka.ms/IdentityModel/issuer-validation. "
            )
    except LicenseError as error:
        raise LicenseError(f"Invalid license. {error}") from None
    return payload


def _flag(claims: Claims, name: str) -> bool:
    return str(claims.get(name, "")).lower() == "true"


def _number(claims: Claims, name: str) -> int | None:
    text = str(claims.get(name, ""))
    return int(text) if text.lstrip("-").isdigit() else None


def _date(claims: Claims, name: str) -> str | None:
    """A claim's date as .NET reads and writes it: one with a zone is turned into local time with offset."""
    text = claims.get(name)
    if not text:
        return None
    try:
        return datetime.strptime(text, "%m/%d/%Y %H:%M:%S").strftime("%Y-%m-%dT%H:%M:%S")
    except ValueError:
        pass
    moment = times.parse(text)
    fraction = f".{moment:%f}".rstrip("0").rstrip(".")
    zoned = text.endswith("Z") or text[-6:-5] in ("+", "-")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") + fraction + ("+00:00" if zoned else "")


def claimed_values(claims: Claims) -> License:
    """The properties that the token overwrites; what it does not name is empty, not as it was in the file."""
    values: License = {name: _flag(claims, name) for name in (*CLAIM_FLAGS, "Enabled", "Trial")}
    values.update({name: claims.get(name) for name in CLAIM_TEXTS})
    values.update({name: _number(claims, name) for name in CLAIM_NUMBERS})
    values["PlanType"] = _number(claims, "PlanType") or 0
    kind = claims.get("LicenseType")
    values["LicenseType"] = LICENSE_TYPES.index(kind) if kind in LICENSE_TYPES else None
    values["InstallationId"] = claims.get("InstallationId")
    for name in ("Issued", "Refresh", "Expires", "ExpirationWithoutGracePeriod"):
        values[name] = _date(claims, name)
    values["Issued"] = values["Issued"] or "0001-01-01T00:00:00"
    return values


def version_error(license_: License) -> str | None:
    if license_["Version"] in ACCEPTED_VERSIONS:
        return None
    return f"Version {license_['Version']} is not supported."


def signature_is_good(license_: License, trusted: Sequence[x509.Certificate]) -> bool:
    """The old signature of a license without token."""
    if license_["Signature"] is None:
        raise SignatureMissing
    try:
        signature = base64.b64decode(license_["Signature"], validate=True)
    except ValueError:
        raise SignatureMissing from None
    data = signed_bytes(license_)
    return any(_verifies(each, signature, data) for each in trusted)


def check_usable(
    license_: License,
    claims: Claims | None,
    *,
    installation_id: str,
    trusted: Sequence[x509.Certificate],
    now: datetime,
) -> None:
    """Raises LicenseError with every reason against this license; `claims` as token_claims gave them."""
    values = license_ if claims is None else {**license_, **claimed_values(claims)}
    lines = [] if values["Enabled"] else [CLOUD_DISABLED]
    if claims is None:
        unknown = version_error(license_)
        if unknown:
            raise LicenseError(unknown)
        if times.parse(values["Issued"]) > now:
            lines.append("The license hasn't been issued yet.")
        if values["Expires"] and times.parse(values["Expires"]) < now:
            lines.append("The license has expired.")
    if (values["InstallationId"] or "").lower() != installation_id.lower():
        lines.append(OTHER_INSTALLATION)
    if not values["SelfHost"]:
        lines.append(NO_SELF_HOST)
    if values["LicenseType"] not in (None, ORGANIZATION_LICENSE):
        lines.append(PREMIUM_LICENSE)
    if claims is None and not signature_is_good(license_, trusted):
        lines.append("The license verification failed.")
    if lines:
        raise LicenseError("Invalid license. " + "\n".join(lines))


def verify(license_: License, trusted: Sequence[x509.Certificate], now: datetime) -> str | None:
    """What connections and jobs ask: None when the license is genuine, else the reason.

    LicenseError for a version that is not known.
    """
    if license_["Token"] and license_["Token"].strip():
        try:
            token_claims(license_, trusted, now)
        except LicenseError as error:
            return str(error)
        return None
    unknown = version_error(license_)
    if unknown:
        raise LicenseError(unknown)
    return None if signature_is_good(license_, trusted) else "The license verification failed."
