# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Identity's token signing key."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from bwlab.store import Store


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    """Always the same for the same key, as its digest names the key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Bitwarden IdentityServer")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=3650))
    return builder.sign(key, hashes.SHA256())


class SigningKey:
    """An RSA key with the names that the real server derives from its certificate (kid, x5t)."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self.private = key
        self._der = _certificate(key).public_bytes(serialization.Encoding.DER)
        digest = hashlib.sha1(self._der, usedforsecurity=False).digest()
        self.x5t = b64url(digest)
        self.kid = digest.hex().upper() + "RS256"

    @classmethod
    def of(cls, store: Store) -> SigningKey:
        row = store.one("LabSigningKey")
        if row is None:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            store.insert("LabSigningKey", {"Pem": pem.decode()})
            return cls(key)
        loaded = serialization.load_pem_private_key(row["Pem"].encode(), None)
        if not isinstance(loaded, rsa.RSAPrivateKey):
            raise TypeError("the stored signing key is no RSA key")
        return cls(loaded)

    @cached_property
    def jwk(self) -> dict[str, Any]:
        numbers = self.private.public_key().public_numbers()
        length = (numbers.n.bit_length() + 7) // 8
        return {
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "x5t": self.x5t,
            "e": b64url(numbers.e.to_bytes(3, "big")),
            "n": b64url(numbers.n.to_bytes(length, "big")),
            "x5c": [base64.b64encode(self._der).decode()],
            "alg": "RS256",
        }
