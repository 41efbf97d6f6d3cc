# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The config of a billing sync connection: how it is stored, and whether it is fit for a sync."""

from __future__ import annotations

import json
from typing import Any

from bwlab.errors import BadRequest
from bwlab.licenses import net_json
from bwlab.store import Row


def connection_config(connection: Row) -> dict[str, Any]:
    """The config of a connection that is, or the reason why it is not."""
    whose = f"for organization {connection['OrganizationId'].lower()}"
    if not connection["Enabled"]:
        raise BadRequest(f"Connection disabled {whose}")
    if not connection["Config"]:
        raise BadRequest(f"No saved Connection config {whose}")
    try:
        config: dict[str, Any] = json.loads(connection["Config"])
    except ValueError:
        raise BadRequest(f"Error parsing Connection config {whose}") from None
    if not config.get("BillingSyncKey"):
        raise BadRequest("Failed to get Billing Sync Key")
    return config


def config_text(config: dict[str, Any]) -> str:
    """As it is stored: the date is the one value whose plus sign is written as it is."""
    members = []
    for name, value in config.items():
        text = json.dumps(value) if name == "LastLicenseSync" else net_json(value)
        members.append(f"{net_json(name)}:{text}")
    return "{" + ",".join(members) + "}"
