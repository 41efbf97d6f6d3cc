# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the clients fetch after a login. The lab keeps no vault items: these lists are empty."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from bwlab import times
from bwlab.api.accounts import current_user, profile_model
from bwlab.identity.responses import CONFIRMED, master_password_salt
from bwlab.store import Row, Store
from bwlab.web import Call, json, route


def _policies(store: Store, user: Row) -> list[dict[str, Any]]:
    return [
        {
            "id": row["Id"].lower(),
            "organizationId": row["OrganizationId"].lower(),
            "type": row["Type"],
            "data": None,
            "enabled": bool(row["Enabled"]),
            "revisionDate": times.iso(row["RevisionDate"]),
            "object": "policy",
        }
        for member in store.rows("OrganizationUser", UserId=user["Id"], Status=CONFIRMED)
        for row in store.rows("Policy", OrganizationId=member["OrganizationId"])
    ]


def _unlock(user: Row) -> dict[str, Any]:
    kdf = {
        "kdfType": user["Kdf"],
        "iterations": user["KdfIterations"],
        "memory": user.get("KdfMemory"),
        "parallelism": user.get("KdfParallelism"),
    }
    return {"kdf": kdf, "masterKeyEncryptedUserKey": user["Key"], "salt": master_password_salt(user)}


@route("GET", "/sync", policy="Application")
async def sync(call: Call) -> Response:
    user = current_user(call)
    unlock = _unlock(user) if user.get("MasterPassword") else None
    return json(
        {
            "profile": profile_model(call.store, user),
            "folders": [],
            "collections": [],
            "ciphers": [],
            "domains": {"equivalentDomains": [], "globalEquivalentDomains": [], "object": "domains"},
            "policies": _policies(call.store, user),
            "sends": [],
            "userDecryption": {"masterPasswordUnlock": unlock},
            "object": "sync",
        }
    )
