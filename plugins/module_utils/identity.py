# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logging in with a user's API key, and hashing a master password as Bitwarden's clients do."""

from __future__ import annotations

import base64
import hashlib
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
_USER_KEY = re.compile(r"user\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_WHERE_TO_FIND = "In the web vault of an owner's account: Settings, Security, Keys, View API key."


@dataclass(frozen=True)
class Kdf:
    """How an account's password becomes its key."""

    kind: int
    iterations: int
    memory: int | None = None
    parallelism: int | None = None


@dataclass(frozen=True)
class Login:
    """What a login gave: a token, and what it takes to prove the master password."""

    token: str = field(repr=False)
    kdf: Kdf
    salt: str | None
    has_master_password: bool


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
    options = body.get("UserDecryptionOptions") or {}
    unlock = options.get("MasterPasswordUnlock") or {}
    return Login(
        token=str(body["access_token"]),
        kdf=Kdf(
            int(body.get("Kdf") or 0),
            int(body.get("KdfIterations") or 0),
            body.get("KdfMemory"),
            body.get("KdfParallelism"),
        ),
        salt=unlock.get("Salt"),
        has_master_password=bool(options.get("HasMasterPassword", True)),
    )


def _not_bitwarden(what: str, response: Response) -> BitwardenError:
    return BitwardenError(
        f"{what} failed: {response.method} {response.url} answered {response.status} without a token: {response.said}.",
        next_step="Something else than Bitwarden answers there, such as the login page of a proxy: "
        "correct the URL, or let the host through.",
        details={"status": response.status, "endpoint": f"{response.method} {response.url}"},
    )


def master_password_hash(password: str, salt: str, kdf: Kdf) -> str:
    """The proof of a master password that goes over the wire instead of the password."""
    secret = password.encode()
    key = _master_key(secret, salt.encode(), kdf)
    proof = hashlib.pbkdf2_hmac("sha256", key, secret, 1, _KEY_LENGTH)
    return base64.b64encode(proof).decode()


def _master_key(password: bytes, salt: bytes, kdf: Kdf) -> bytes:
    if kdf.kind == PBKDF2:
        return hashlib.pbkdf2_hmac("sha256", password, salt, kdf.iterations, _KEY_LENGTH)
    if kdf.kind == ARGON2ID:
        return _argon2id(password, salt, kdf)
    raise BitwardenError(
        f"The account's key derivation ({kdf.kind}) is not known to this collection.",
        next_step="Use another owner's account, or a newer version of the collection.",
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
            lanes=int(kdf.parallelism or 1),
            memory_cost=int(kdf.memory or 0) * 1024,
        )
        return derivation.derive(password)
    except UnsupportedAlgorithm as error:
        raise BitwardenError(f"The installed cryptography has no Argon2id: {error}.", next_step=hint) from error
