# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logging in with a user's API key, and hashing a master password as Bitwarden's clients do."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import traceback
import typing as t
from dataclasses import dataclass, field

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import remedies
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import environment_variable
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

if t.TYPE_CHECKING:
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import Connection
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import Response, Transport

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
except ImportError:
    ARGON2_ERROR: str | None = traceback.format_exc()
else:
    ARGON2_ERROR = None

PBKDF2, ARGON2ID = 0, 1
_LINUX_CLI = "25"
_KEY_LENGTH = 32
_AES_WITH_HMAC = "2."
_IV_LENGTH = 16
# What clients accept, and what no account has: less would let a false server guess the password from its hash,
# more would let it keep the task busy for ever.
_PBKDF2_ITERATIONS = range(5_000, 10_000_001)
_ARGON2_ITERATIONS, _ARGON2_MEMORY, _ARGON2_LANES = range(2, 101), range(15, 4097), range(1, 65)
_USER_KEY = re.compile(r"user\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_WHERE_TO_FIND = "In the web vault of an owner's account: Settings, Security, Keys, View API key."


@dataclass(frozen=True)
class Kdf:
    """How an account's password becomes its key."""

    kind: int
    iterations: int
    memory: int = 0
    parallelism: int = 0


@dataclass(frozen=True)
class Login:
    """What a login gave: a token, and what it takes to prove the master password."""

    token: str = field(repr=False)
    kdf: Kdf
    salt: str | None
    has_master_password: bool
    wrapped_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Proof:
    """What shows the cloud that the owner is there: the hash of the master password, or a code out of a mail.

    C(certain) is a password that has opened the account's own key: the server cannot but agree.
    """

    body: dict[str, str] = field(repr=False)
    certain: bool = False

    @property
    def is_code(self) -> bool:
        """Whether it is a code, which counts once."""
        return "otp" in self.body


def check_client_id(client_id: str) -> None:
    """Refuse API keys that can never do what these modules do, before anything is sent."""
    kind = client_id.split(".", 1)[0].lower()
    if kind == "organization":
        raise BitwardenError(
            "client_id is the API key of an organization, which may not do this.",
            next_step=f"Use the API key of a user who owns the organization (client_id user.…). {_WHERE_TO_FIND}",
        )
    if kind == "installation":
        raise BitwardenError(
            "client_id is the id of an installation, which may not do this.",
            next_step=f"Installation id and key belong into the server's environment file. {_WHERE_TO_FIND}",
        )
    if not (client_id.startswith("user.") and _USER_KEY.fullmatch(client_id)):
        raise BitwardenError(
            "client_id is not the API key of a user (user. and a GUID).", next_step=f"Copy it anew. {_WHERE_TO_FIND}"
        )


def require_api_key(connection: Connection) -> None:
    """Say which part of the API key is missing, and where it may come from."""
    missing = [name for name in ("client_id", "client_secret") if not getattr(connection, name)]
    if missing:
        variables = [str(environment_variable(connection.kind, name)) for name in missing]
        raise BitwardenError(
            f"No {' and no '.join(missing)} is given to log in at {connection.where}.",
            next_step=f"Give {' and '.join(missing)}, or set {' and '.join(variables)} in the environment of the host "
            f"that the task is delegated to. {_WHERE_TO_FIND}",
        )


def login(transport: Transport, connection: Connection) -> Login:
    """Exchange the user's API key for a token."""
    require_api_key(connection)
    check_client_id(connection.client_id)
    what = f"Logging in at {connection.where}"
    if connection.is_cloud:
        transport.wait_for_turn()
    response = transport.request(
        "POST",
        f"{connection.identity}/connect/token",
        headers={"Bitwarden-Client-Version": connection.client_version},
        form={
            "grant_type": "client_credentials",
            "client_id": connection.client_id,
            "client_secret": connection.client_secret,
            "scope": "api",
            "deviceType": _LINUX_CLI,
            "deviceIdentifier": connection.device_identifier,
            "deviceName": connection.device_name,
        },
    )
    if not response.ok:
        raise remedies.error_for(remedies.TOKEN, what, response)
    body = response.json
    if not isinstance(body, dict) or not body.get("access_token"):
        raise _not_bitwarden(what, response)
    return _login(body)


def _login(body: dict[str, t.Any]) -> Login:
    options = _object(body.get("UserDecryptionOptions"))
    unlock = _object(options.get("MasterPasswordUnlock"))
    return Login(
        token=str(body["access_token"]),
        kdf=Kdf(*(_number(body.get(name)) for name in ("Kdf", "KdfIterations", "KdfMemory", "KdfParallelism"))),
        salt=unlock.get("Salt") if isinstance(unlock.get("Salt"), str) else None,
        has_master_password=bool(options.get("HasMasterPassword", True)),
        wrapped_key=_text(unlock.get("MasterKeyEncryptedUserKey")) or _text(body.get("Key")),
    )


def _object(value: t.Any) -> dict[str, t.Any]:
    return value if isinstance(value, dict) else {}


def _number(value: t.Any) -> int:
    """A number of an answer; whatever is none will be refused where it is needed."""
    return value if isinstance(value, int) else 0


def _text(value: t.Any) -> str | None:
    return value if isinstance(value, str) else None


def _not_bitwarden(what: str, response: Response) -> BitwardenError:
    return BitwardenError(
        f"{what} failed: {response.method} {response.url} answered {response.status} without a token: {response.said}.",
        next_step="Something else than Bitwarden answers there, such as the login page of a proxy: "
        "correct the URL, or let the host through.",
        details={"status": response.status, "endpoint": f"{response.method} {response.url}"},
    )


def password_proof(password: str, salt: str, login: Login) -> Proof:
    """The proof of a master password that goes over the wire instead of the password."""
    secret = password.encode()
    key = _master_key(secret, salt.encode(), login.kdf)
    proof = hashlib.pbkdf2_hmac("sha256", key, secret, 1, _KEY_LENGTH)
    return Proof({"masterPasswordHash": base64.b64encode(proof).decode()}, certain=_opens(key, login.wrapped_key))


def code_proof(code: str) -> Proof:
    """The proof of an owner by a code out of a mail, as the person typed it."""
    return Proof({"otp": re.sub(r"\s", "", code)})


def _opens(master_key: bytes, wrapped_key: str | None) -> bool:
    """Whether the key under which the account's own key was wrapped is this one; nothing is decrypted for it."""
    kind, _dot, rest = (wrapped_key or "").partition(".")
    try:
        iv, data, given = (base64.b64decode(part, validate=True) for part in rest.split("|"))
    except (ValueError, binascii.Error):
        return False
    if f"{kind}." != _AES_WITH_HMAC or len(iv) != _IV_LENGTH:
        return False
    # HKDF-Expand, of which one block is enough.
    key = hmac.digest(master_key, b"mac\x01", "sha256")
    return hmac.compare_digest(hmac.digest(key, iv + data, "sha256"), given)


def _master_key(password: bytes, salt: bytes, kdf: Kdf) -> bytes:
    if kdf.kind == PBKDF2:
        if kdf.iterations not in _PBKDF2_ITERATIONS:
            raise _odd_derivation(kdf)
        return hashlib.pbkdf2_hmac("sha256", password, salt, kdf.iterations, _KEY_LENGTH)
    if kdf.kind == ARGON2ID:
        given = (kdf.iterations, kdf.memory, kdf.parallelism)
        limits = (_ARGON2_ITERATIONS, _ARGON2_MEMORY, _ARGON2_LANES)
        if not all(number in limit for number, limit in zip(given, limits)):
            raise _odd_derivation(kdf)
        return _argon2id(password, salt, kdf)
    raise BitwardenError(
        f"The account's key derivation ({kdf.kind}) is not known to this collection.",
        next_step="Use another owner's account, or a newer version of the collection.",
    )


def _odd_derivation(kdf: Kdf) -> BitwardenError:
    shown = f"{kdf.iterations} iterations, {kdf.memory} MiB, {kdf.parallelism} lanes"
    return BitwardenError(
        f"The server says that the account's password is hashed in a way that no client of Bitwarden's uses ({shown}).",
        next_step="Nothing was sent. Check that the address is Bitwarden's; if it is, set the account's encryption "
        "settings anew (Settings, Security, Keys).",
    )


def _argon2id(password: bytes, salt: bytes, kdf: Kdf) -> bytes:
    hint = "The account uses Argon2id: install cryptography 44 or newer where the module runs."
    if ARGON2_ERROR is not None:
        raise BitwardenError(
            missing_required_lib("cryptography >= 44"), next_step=hint, details={"exception": ARGON2_ERROR}
        )
    try:
        derivation = Argon2id(
            salt=hashlib.sha256(salt).digest(),
            length=_KEY_LENGTH,
            iterations=kdf.iterations,
            lanes=kdf.parallelism,
            memory_cost=kdf.memory * 1024,
        )
        return derivation.derive(password)
    except UnsupportedAlgorithm as error:
        raise BitwardenError(f"The installed cryptography has no Argon2id: {error}.", next_step=hint) from error
