# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The billing sync connection of an organization: saved, read back, made one, and taken back where it is wrong."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import BillingSync

if t.TYPE_CHECKING:
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server

# More connections than several runs at once can have left behind.
MOST_CONNECTIONS = 20
_DUPLICATE = "already has a connection"
_GONE = 404


@dataclass(frozen=True)
class Wish:
    """The connection as it should be; C(cloud_organization_id) is whose token it is, where that is known."""

    key: str = field(repr=False)
    enabled: bool = True
    cloud_organization_id: str | None = None

    def met_by(self, connection: BillingSync) -> bool:
        """Whether a connection is like that."""
        return self.saved_in(connection) and self.same_organization(connection)

    def saved_in(self, connection: BillingSync) -> bool:
        """Whether a connection holds what was sent."""
        return (connection.key or "", connection.enabled) == (self.key, self.enabled)

    def same_organization(self, connection: BillingSync) -> bool:
        """Whether the server's license, as the connection knows it, is of the organization that the token is of."""
        return self.cloud_organization_id in (None, (connection.cloud_organization_id or "").lower())


def save(server: Server, organization_id: str, wish: Wish) -> tuple[BillingSync, int]:
    """Save the connection and prove it by reading it back; and how many others had to be removed for that."""
    before = server.billing_sync(organization_id)
    removed = _save(server, organization_id, before, wish)
    saved = server.billing_sync(organization_id)
    if not wish.saved_in(saved):
        raise BitwardenError(
            f"{server.name} accepted the billing sync connection, but afterwards holds another one.",
            next_step="See whether another run connects the organization at the same time, then try again.",
        )
    if not wish.same_organization(saved):
        _take_back(server, organization_id, before, saved)
        raise BitwardenError(
            f"The token is of the cloud organization {wish.cloud_organization_id}, but the license on {server.name} is "
            f"of {saved.cloud_organization_id}: no sync could succeed. The connection is again what it was before.",
            next_step="Give the token of the organization that the license is of, or upload the license of the right "
            "one first (module license, or the organization's subscription page).",
        )
    return saved, removed


def remove(server: Server, organization_id: str, before: BillingSync) -> int:
    """Remove every connection that there is, and count them."""
    current = before
    for count in range(MOST_CONNECTIONS):
        if not current.exists:
            return count
        _delete(server, current)
        current = server.billing_sync(organization_id)
    raise BitwardenError(
        f"The organization still has a billing sync connection at {server.name} after {MOST_CONNECTIONS} were removed.",
        next_step="See whether another run connects it at the same time.",
    )


def _save(server: Server, organization_id: str, before: BillingSync, wish: Wish) -> int:
    """The server refuses to change any of two connections: all but one are removed, which loses nothing.

    It only ever reads the first, and the date of the last sync is carried over.
    """
    current, removed = before, 0
    for attempt in range(MOST_CONNECTIONS + 1):
        try:
            server.save_billing_sync(organization_id, current, wish.key, enabled=wish.enabled)
        except BitwardenError as error:
            if _DUPLICATE not in error.details.get("server_said", "") or attempt == MOST_CONNECTIONS:
                raise
        else:
            break
        # Without an id it was another run that made one between the look and the call.
        if current.exists:
            _delete(server, current)
            removed += 1
        latest = server.billing_sync(organization_id)
        current = replace(latest, last_license_sync=latest.last_license_sync or current.last_license_sync)
    return removed


def _delete(server: Server, current: BillingSync) -> None:
    try:
        server.delete_billing_sync(current)
    except BitwardenError as error:
        # Another run removed it between the look and the call.
        if error.details.get("status") != _GONE:
            raise


def _take_back(server: Server, organization_id: str, before: BillingSync, saved: BillingSync) -> None:
    if before.exists:
        server.save_billing_sync(organization_id, saved, before.key or "", enabled=before.enabled)
    else:
        server.delete_billing_sync(saved)
