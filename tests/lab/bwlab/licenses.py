# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Organization licenses: what the cloud emits, how they look on disk, how an upload is read.

A license is a dict with the names and the order of the file on disk (PascalCase); dates are texts as .NET writes
them. `license_check` verifies one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from bwlab import times
from bwlab.license_fields import (
    CLAIM_FLAGS,
    CLAIM_NUMBERS,
    CLAIM_ONLY,
    CLAIM_TEXTS,
    EMITTED_VERSION,
    FIELDS,
    FIRST_FLAGS,
    KINDS,
    LATER_FLAGS,
    ORGANIZATION_LICENSE,
    SINCE_VERSION,
    UNHASHED,
    UNSIGNED,
    License,
    camel,
    empty_license,
)


def api_form(license_: License) -> dict[str, Any]:
    """The license as the cloud's API answers it."""
    return {camel(name): license_[name] for name, _unused, _unused in FIELDS}


class LicenseSigner:
    """The key and certificate that sign licenses; kept in a directory so that a restarted lab trusts its own."""

    def __init__(self, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
        self.key = key
        self.certificate = certificate

    @classmethod
    def load(cls, directory: Path) -> LicenseSigner:
        """The directory's signer; the first call makes it."""
        key_file, certificate_file = directory / "licensing.key", directory / "licensing.pem"
        if not key_file.exists():
            signer = cls.create()
            directory.mkdir(parents=True, exist_ok=True)
            certificate_file.write_bytes(signer.certificate.public_bytes(serialization.Encoding.PEM))
            key_file.touch(mode=0o600)
            key_file.write_bytes(
                signer.key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError(f"{key_file} holds no RSA key; remove it and the certificate beside it")
        return cls(key, load_certificate(certificate_file))

    @classmethod
    def create(cls) -> LicenseSigner:
        key = rsa.generate_private_key(public_exponent=65537, key_size=4096)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bitwarden License (lab)")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=3650))
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    def sign(self, data: bytes) -> str:
        return base64.b64encode(self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())).decode()

    def token(self, claims: Mapping[str, Any]) -> str:
        """Names stand in it as they are: PyJWT's own JSON would escape what is not ASCII."""
        payload = json.dumps(dict(claims), ensure_ascii=False, separators=(",", ":")).encode()
        return jwt.PyJWS().encode(payload, self.key, algorithm="RS256")


def load_certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _epoch_seconds(text: str) -> str:
    """Rounded, not cut, as the cloud does."""
    moment = times.parse(text)
    return str(round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()))


def signed_bytes(license_: License, *, for_hash: bool = False) -> bytes:
    """The text that Hash and Signature are made from."""
    left_out = UNHASHED if for_hash else UNSIGNED
    parts = []
    for name in sorted(KINDS, key=str.lower):
        if name in left_out or SINCE_VERSION.get(name, 1) > license_["Version"]:
            continue
        value, kind = license_[name], KINDS[name]
        if value is None:
            text = ""
        elif kind.startswith("date"):
            text = _epoch_seconds(value)
        elif kind == "bool":
            text = str(value).lower()
        else:
            text = str(value)
        parts.append(f"{name}:{text}")
    return ("license:organization|" + "|".join(parts)).encode()


def license_hash(license_: License) -> str:
    return base64.b64encode(hashlib.sha256(signed_bytes(license_, for_hash=True)).digest()).decode()


def _claim_date(text: str) -> str:
    return times.parse(text).strftime("%m/%d/%Y %H:%M:%S")


def token_claims(license_: License, organization: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The payload of the license's JWT, in the order in which the cloud writes it."""
    flags = {name: str(bool(license_[name])) for name in CLAIM_FLAGS}
    flags.update({name: str(bool(organization.get(name))) for name in CLAIM_ONLY})
    claims: dict[str, Any] = {
        "LicenseType": "Organization",
        "Id": license_["Id"],
        "Enabled": str(license_["Enabled"]),
        "PlanType": str(license_["PlanType"]),
        **{name: flags[name] for name in FIRST_FLAGS},
        "Issued": _claim_date(license_["Issued"]),
        "Expires": _claim_date(license_["Expires"]),
        "Refresh": _claim_date(license_["Refresh"]),
        "Trial": str(license_["Trial"]),
        **{name: flags[name] for name in LATER_FLAGS},
    }
    if license_["ExpirationWithoutGracePeriod"]:
        claims["ExpirationWithoutGracePeriod"] = _claim_date(license_["ExpirationWithoutGracePeriod"])
    for name in (*CLAIM_TEXTS, "InstallationId", *CLAIM_NUMBERS):
        if license_[name] is not None:
            claims[name] = str(license_[name])
    issued = int(now.timestamp())
    claims.update(
        jti=str(uuid.uuid4()),
        nbf=issued,
        exp=issued + 365 * 86400,
        iat=issued,
        iss="bitwarden",
        aud=f"organization:{license_['Id']}",
    )
    return claims


def make_license(
    organization: Mapping[str, Any], installation_id: str, now: datetime, signer: LicenseSigner
) -> License:
    """The license that the cloud emits for this row of Organization."""
    license_ = empty_license()
    for name, kind, column in FIELDS:
        if column:
            value = organization.get(column)
            license_[name] = bool(value) if kind == "bool" else value
    expires = times.iso(organization["ExpirationDate"]) or ""
    if "." in expires:
        expires = expires.rstrip("Z").rstrip("0").rstrip(".") + "Z"
    license_.update(
        InstallationId=installation_id.lower(),
        Id=str(organization["Id"]).lower(),
        Version=EMITTED_VERSION,
        Issued=times.iso(now),
        Refresh=expires,
        Expires=expires,
        LimitCollectionCreationDeletion=bool(
            organization.get("LimitCollectionCreation") or organization.get("LimitCollectionDeletion")
        ),
        LicenseType=ORGANIZATION_LICENSE,
    )
    license_["Hash"] = license_hash(license_)
    license_["Signature"] = signer.sign(signed_bytes(license_))
    license_["Token"] = signer.token(token_claims(license_, organization, now))
    return license_


def _well_typed(kind: str, value: Any) -> bool:
    base = kind.rstrip("?")
    if value is None:
        return kind.endswith("?") or base == "text"
    if base == "bool":
        return isinstance(value, bool)
    if base == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(value, str):
        return False
    try:
        if base == "guid":
            uuid.UUID(value)
        elif base == "date":
            times.parse(value)
    except ValueError:
        return False
    return True


def _read(values: Mapping[str, Any], names: Mapping[str, str]) -> License:
    license_ = empty_license()
    for given, value in values.items():
        name = names.get(given)
        if name is None:
            continue
        if not _well_typed(KINDS[name], value):
            raise ValueError(f"{name} cannot hold {value!r}")
        license_[name] = value
    return license_


def parse_upload(data: bytes) -> License | None:
    """A license from an upload or from the cloud's answer, names in any case; None for what is no license JSON."""
    try:
        values = json.loads(data.decode("utf-8-sig"))
        if not isinstance(values, dict):
            return None
        lower = {name.lower(): name for name in KINDS}
        return _read({key.lower(): value for key, value in values.items()}, lower)
    except ValueError:
        return None


def write_license_file(path: Path, license_: License) -> None:
    """As the server does: the folder is made if it is missing, the file is replaced in place, indented, ASCII only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(net_json({name: license_[name] for name, _unused, _unused in FIELDS}, indent=2), encoding="utf-8")


def read_license_file(path: Path) -> License | None:
    """None without a file; names are read with their case; ValueError for a file that holds no JSON."""
    if not path.is_file():
        return None
    return _read(json.loads(path.read_text(encoding="utf-8-sig")), {name: name for name in KINDS})


def net_json(value: Any, *, indent: int | None = None) -> str:
    """JSON as .NET's default encoder writes it: \\uXXXX in capitals for everything beyond plain ASCII letters."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(value, ensure_ascii=False, separators=separators, indent=indent)
    text = text.replace('\\"', "\\u0022")
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character not in "&<>'+`" and ord(character) < 127:
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02X}{units[i + 1]:02X}" for i in range(0, len(units), 2))
