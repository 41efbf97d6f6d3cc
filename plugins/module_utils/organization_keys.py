# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of a new organization, made as Bitwarden's clients make them: the server never sees them in the clear."""

from __future__ import annotations

import base64
import os
import traceback

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

try:
    from cryptography.hazmat.primitives import hashes, hmac, padding, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
except ImportError:
    CRYPTOGRAPHY_ERROR: str | None = traceback.format_exc()
else:
    CRYPTOGRAPHY_ERROR = None

DEFAULT_COLLECTION = "Default collection"
_HALF = 32
_BLOCK_BITS = 128
_RSA_BITS = 2048


def for_new_organization(owner_public_key: str) -> dict[str, str]:
    """The fields that a new organization needs: its key for the owner, its pair of keys, a name for a collection."""
    if CRYPTOGRAPHY_ERROR is not None:
        raise BitwardenError(
            missing_required_lib("cryptography"),
            next_step="An organization is made with keys of its own: install cryptography where the module runs.",
            details={"exception": CRYPTOGRAPHY_ERROR},
        )
    key = os.urandom(2 * _HALF)
    pair = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    public = pair.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = pair.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "key": _for_owner(key, owner_public_key),
        "collectionName": _encrypted(DEFAULT_COLLECTION.encode(), key),
        "keys.publicKey": base64.b64encode(public).decode(),
        "keys.encryptedPrivateKey": _encrypted(private, key),
    }


def _for_owner(key: bytes, owner_public_key: str) -> str:
    """Type 4 of Bitwarden's encrypted texts: RSA with OAEP and SHA-1."""
    try:
        owner = serialization.load_der_public_key(base64.b64decode(owner_public_key, validate=True))
    except ValueError as error:
        raise BitwardenError("The account's public key cannot be read.", next_step="Use another account.") from error
    if not isinstance(owner, rsa.RSAPublicKey):
        raise BitwardenError("The account's public key is no RSA key.", next_step="Use another account.")
    digest = hashes.SHA1()  # noqa: S303 - Bitwarden's clients know no other digest here
    return "4." + base64.b64encode(owner.encrypt(key, OAEP(MGF1(digest), digest, None))).decode()


def _encrypted(plain: bytes, key: bytes) -> str:
    """Type 2: AES-256 in CBC mode, then HMAC with SHA-256 over initialization vector and text."""
    vector = os.urandom(_BLOCK_BITS // 8)
    padder = padding.PKCS7(_BLOCK_BITS).padder()
    encryptor = Cipher(algorithms.AES(key[:_HALF]), modes.CBC(vector)).encryptor()
    text = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    seal = hmac.HMAC(key[_HALF:], hashes.SHA256())
    seal.update(vector + text)
    parts = (base64.b64encode(part).decode() for part in (vector, text, seal.finalize()))
    return "2." + "|".join(parts)
