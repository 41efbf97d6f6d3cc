# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an access token says about a user: fixed when the token is made."""

from __future__ import annotations

import json
from typing import Any

from bwlab.store import Row, Store

CONFIRMED = 2
CLAIM_OF_TYPE = {0: "orgowner", 1: "orgadmin", 2: "orguser", 4: "orgcustom"}
DEVICE_TYPES = (
    "Android", "iOS", "ChromeExtension", "FirefoxExtension", "OperaExtension", "EdgeExtension", "WindowsDesktop",
    "MacOsDesktop", "LinuxDesktop", "ChromeBrowser", "FirefoxBrowser", "OperaBrowser", "EdgeBrowser", "IEBrowser",
    "UnknownBrowser", "AndroidAmazon", "UWP", "SafariBrowser", "VivaldiBrowser", "VivaldiExtension",
    "SafariExtension", "SDK", "Server", "WindowsCLI", "MacOsCLI", "LinuxCLI", "DuckDuckGoBrowser",
)  # fmt: skip


def _listed(values: list[str]) -> str | list[str]:
    """One value is a string, several are an array."""
    return values[0] if len(values) == 1 else values


def organization_claims(store: Store, user_id: str) -> dict[str, Any]:
    """Confirmed memberships only; a disabled organization counts too."""
    found: dict[str, list[str]] = {}
    for member in store.rows("OrganizationUser", UserId=user_id, Status=CONFIRMED):
        organization = member["OrganizationId"].lower()
        found.setdefault(CLAIM_OF_TYPE[member["Type"]], []).append(organization)
        if CLAIM_OF_TYPE[member["Type"]] == "orgcustom":
            for name, granted in json.loads(member.get("Permissions") or "{}").items():
                if granted is True:
                    found.setdefault(name.lower(), []).append(organization)
        if member.get("AccessSecretsManager"):
            found.setdefault("accesssecretsmanager", []).append(organization)
    return {name: _listed(ids) for name, ids in found.items()}


def user_claims(store: Store, user: Row) -> dict[str, Any]:
    return {
        "sub": user["Id"].lower(),
        "type": "User",
        "premium": bool(user.get("Premium")),
        "email": user["Email"],
        "email_verified": bool(user.get("EmailVerified")),
        "sstamp": user["SecurityStamp"],
        "name": user.get("Name"),
        **organization_claims(store, user["Id"]),
    }


def device_type_name(number: int) -> str:
    return DEVICE_TYPES[number] if number < len(DEVICE_TYPES) else str(number)


def device_type_number(text: str) -> int | None:
    """A number from 0 to 255, or the exact name; anything else is no device type."""
    text = text.strip()
    if text.isdigit():
        return int(text) if int(text) <= 255 else None
    return DEVICE_TYPES.index(text) if text in DEVICE_TYPES else None
