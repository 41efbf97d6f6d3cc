# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers of the token endpoint: the protocol's own fields in snake case, Bitwarden's in Pascal case."""

from __future__ import annotations

import json as json_module
from typing import Any

from starlette.responses import Response

from bwlab.store import Row, Store
from bwlab.web import json

HEADERS = {"cache-control": "no-store, no-cache, max-age=0", "pragma": "no-cache"}
MEDIA_TYPE = "application/json; charset=UTF-8"
MASTER_PASSWORD_POLICY = 1
CONFIRMED = 2


class TokenError(Exception):
    """`code` is OAuth's error; `message` makes it one of Bitwarden's own, which come after two seconds."""

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        description: str | None = None,
        extra: dict[str, Any] | None = None,
        wait: bool = True,
    ) -> None:
        super().__init__(message or code)
        self.code = code
        self.message = message
        self.description = description
        self.extra = extra or {}
        self.wait = wait and message is not None

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"error": self.code}
        if self.description is not None:
            body["error_description"] = self.description
        if self.message is not None:
            body["ErrorModel"] = {"Message": self.message, "Object": "error"}
        return {**body, **self.extra}


def token_response(body: dict[str, Any], status: int = 200) -> Response:
    return json(body, status, MEDIA_TYPE, dict(HEADERS))


def master_password_salt(user: Row) -> str:
    return str(user.get("MasterPasswordSalt") or user["Email"].strip().lower())


def _without_nulls(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def applying_policies(store: Store, user: Row, policy_type: int) -> list[Row]:
    """Enabled policies of that type of the enabled organizations where the user is neither owner nor admin."""
    found = []
    for member in store.rows("OrganizationUser", UserId=user["Id"], Status=CONFIRMED):
        organization = store.one("Organization", Id=member["OrganizationId"])
        if member["Type"] in (0, 1) or organization is None or not organization["Enabled"]:
            continue
        if organization["UsePolicies"]:
            found += store.rows("Policy", OrganizationId=organization["Id"], Type=policy_type, Enabled=1)
    return found


def master_password_policy(store: Store, user: Row) -> dict[str, Any]:
    """Camel case and with nulls left to the caller."""
    names = ("minComplexity", "minLength", "requireLower", "requireUpper", "requireNumbers", "requireSpecial")
    policies = applying_policies(store, user, MASTER_PASSWORD_POLICY)
    data = json_module.loads(policies[0]["Data"] or "{}") if policies else {}
    return {name: data.get(name) for name in (*names, "enforceOnLogin")}


def pascal_policy(store: Store, user: Row) -> dict[str, Any]:
    policy = _without_nulls(master_password_policy(store, user))
    return {**{name[:1].upper() + name[1:]: value for name, value in policy.items()}, "Object": "masterPasswordPolicy"}


def _account_keys(user: Row) -> dict[str, Any]:
    pair = {
        "wrappedPrivateKey": user["PrivateKey"],
        "publicKey": user["PublicKey"],
        "signedPublicKey": user.get("SignedPublicKey"),
        "Object": "publicKeyEncryptionKeyPair",
    }
    return {"publicKeyEncryptionKeyPair": _without_nulls(pair), "Object": "privateKeys"}


def _decryption_options(user: Row) -> dict[str, Any]:
    options: dict[str, Any] = {"HasMasterPassword": bool(user.get("MasterPassword"))}
    if options["HasMasterPassword"]:
        kdf = {
            "KdfType": user["Kdf"],
            "Iterations": user["KdfIterations"],
            "Memory": user.get("KdfMemory"),
            "Parallelism": user.get("KdfParallelism"),
        }
        options["MasterPasswordUnlock"] = {
            "Kdf": _without_nulls(kdf),
            "MasterKeyEncryptedUserKey": user["Key"],
            "Salt": master_password_salt(user),
        }
    return {**options, "Object": "userDecryptionOptions"}


def account_fields(store: Store, user: Row) -> dict[str, Any]:
    """What a login tells the client about the account, so that it can derive and decrypt keys."""
    return {
        "PrivateKey": user["PrivateKey"],
        "AccountKeys": _account_keys(user),
        "Key": user["Key"],
        "MasterPasswordPolicy": pascal_policy(store, user),
        "ForcePasswordReset": bool(user.get("ForcePasswordReset")),
        "Kdf": user["Kdf"],
        "KdfIterations": user["KdfIterations"],
        "KdfMemory": user.get("KdfMemory"),
        "KdfParallelism": user.get("KdfParallelism"),
        "UserDecryptionOptions": _decryption_options(user),
    }
