# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What clients compute when an account is made: password hashes, wrapped keys, encrypted strings.

All of it is real, so that the official client can log in and decrypt.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Any

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

PBKDF2, ARGON2ID = 0, 1


@dataclass(frozen=True)
class Kdf:
    kind: int = PBKDF2
    iterations: int = 600000
    memory: int | None = None
    parallelism: int | None = None


ARGON2_DEFAULT = Kdf(ARGON2ID, 6, 32, 4)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def master_key(password: str, salt: str, kdf: Kdf) -> bytes:
    if kdf.kind == PBKDF2:
        return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), kdf.iterations, 32)
    return hash_secret_raw(
        secret=password.encode(),
        salt=hashlib.sha256(salt.encode()).digest(),
        time_cost=kdf.iterations,
        memory_cost=(kdf.memory or 1) * 1024,
        parallelism=kdf.parallelism or 1,
        hash_len=32,
        type=Type.ID,
    )


def master_password_hash(key: bytes, password: str) -> str:
    return b64(hashlib.pbkdf2_hmac("sha256", key, password.encode(), 1, 32))


def encrypt(data: bytes, key: bytes) -> str:
    """An encrypted string of type 2: AES-256-CBC, then HMAC-SHA-256."""
    encryption_key, mac_key = key[:32], key[32:]
    vector = os.urandom(16)
    padder = padding.PKCS7(128).padder()
    padded = padder.update(data) + padder.finalize()
    encryptor = Cipher(algorithms.AES(encryption_key), modes.CBC(vector)).encryptor()
    text = encryptor.update(padded) + encryptor.finalize()
    mac = hmac.new(mac_key, vector + text, hashlib.sha256).digest()
    return f"2.{b64(vector)}|{b64(text)}|{b64(mac)}"


def _stretched(key: bytes) -> bytes:
    return b"".join(HKDFExpand(hashes.SHA256(), 32, info).derive(key) for info in (b"enc", b"mac"))


class KeyPair:
    """One RSA key serves all accounts and organizations of a lab: making them is what would take long."""

    def __init__(self) -> None:
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.private_der = self.private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.public = b64(
            self.private.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def wrap(self, key: bytes) -> str:
        """An encrypted string of type 4: RSA with OAEP and SHA-1."""
        oaep = rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - the clients' own
        return "4." + b64(self.private.public_key().encrypt(key, oaep))


def account_columns(email: str, password: str, kdf: Kdf, pair: KeyPair) -> dict[str, Any]:
    """The columns of User that hang on the password."""
    key = master_key(password, email.strip().lower(), kdf)
    user_key = os.urandom(64)
    return {
        "Email": email,
        "MasterPassword": master_password_hash(key, password),
        "Kdf": kdf.kind,
        "KdfIterations": kdf.iterations,
        "KdfMemory": kdf.memory,
        "KdfParallelism": kdf.parallelism,
        "Key": encrypt(user_key, _stretched(key)),
        "PublicKey": pair.public,
        "PrivateKey": encrypt(pair.private_der, user_key),
    }


def organization_keys(pair: KeyPair) -> tuple[dict[str, Any], str]:
    """The columns of Organization, and the organization key as its owner holds it."""
    key = os.urandom(64)
    return {"PublicKey": pair.public, "PrivateKey": encrypt(pair.private_der, key)}, pair.wrap(key)
