# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Organizations and their connections as the server tells them, in words instead of numbers."""

from __future__ import annotations

import html
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
ROLES = {0: "owner", 1: "admin", 2: "user", 3: "manager", 4: "custom"}
STATUSES = {-1: "revoked", 0: "invited", 1: "accepted", 2: "confirmed", 3: "staged"}
PLANS = {0: "free", 1: "families", 2: "teams", 3: "enterprise", 4: "teams_starter"}
PLANS_WITH_BILLING_SYNC = ("teams", "enterprise")


class NoSuchOrganization(BitwardenError):
    """The account sees no organization of that name or id."""


@dataclass(frozen=True)
class Organization:
    """One organization, seen by the account that logged in."""

    id: str
    name: str
    role: str
    status: str
    plan: str
    enabled: bool
    seats: int | None = None

    @property
    def owned(self) -> bool:
        """Whether the account is a confirmed owner."""
        return self.role == "owner" and self.status == "confirmed"

    @property
    def billing_sync_allowed(self) -> bool:
        """Whether the plan has billing sync."""
        return self.plan in PLANS_WITH_BILLING_SYNC

    @classmethod
    def of_profile(cls, row: t.Mapping[str, t.Any]) -> Organization:
        """An organization out of the account's profile."""
        # Servers before 2024 call the plan planProductType.
        plan = row.get("productTierType", row.get("planProductType"))
        return cls(
            id=str(row.get("id", "")).lower(),
            name=html.unescape(str(row.get("name", ""))),
            role=_word(ROLES, row.get("type")),
            status=_word(STATUSES, row.get("status")),
            plan=_word(PLANS, plan),
            enabled=bool(row.get("enabled")),
            seats=seats if isinstance(seats := row.get("seats"), int) else None,
        )

    def as_dict(self) -> dict[str, t.Any]:
        """The organization as modules return it."""
        return {
            "id": self.id,
            "name": self.name,
            "role": self.role,
            "status": self.status,
            "plan": self.plan,
            "enabled": self.enabled,
            "seats": self.seats,
            "billing_sync_allowed": self.billing_sync_allowed,
        }


@dataclass(frozen=True)
class BillingSync:
    """The billing sync connection of an organization; without an id there is none."""

    id: str | None = None
    enabled: bool = False
    key: str | None = field(default=None, repr=False)
    cloud_organization_id: str | None = None
    last_license_sync: str | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a connection at all."""
        return self.id is not None

    @classmethod
    def of_response(cls, body: t.Mapping[str, t.Any]) -> BillingSync:
        """The connection out of the server's answer, which is one even where there is none."""
        # The server gives the inside of config in another case than everything around it.
        given = body.get("config")
        config = {str(key).lower(): value for key, value in given.items()} if isinstance(given, dict) else {}
        return cls(
            id=body.get("id"),
            enabled=bool(body.get("enabled")),
            key=config.get("billingsynckey") or None,
            cloud_organization_id=config.get("cloudorganizationid"),
            last_license_sync=config.get("lastlicensesync"),
        )

    def as_dict(self) -> dict[str, t.Any]:
        """The facts without the key."""
        return {
            "exists": self.exists,
            "id": self.id,
            "enabled": self.enabled,
            "key_present": self.key is not None,
            "cloud_organization_id": self.cloud_organization_id,
            "last_license_sync": self.last_license_sync,
        }


def is_guid(text: str) -> bool:
    """Whether a text has the form of an id."""
    return GUID.fullmatch(text) is not None


def unique(organizations: t.Iterable[Organization]) -> list[Organization]:
    """Each organization once: a member with several sponsorships sees it several times."""
    return list({organization.id: organization for organization in organizations}.values())


def find(organizations: t.Sequence[Organization], wanted: str, server: str) -> Organization:
    """The organization of that id or name, where there is exactly one."""
    wanted = wanted.strip()
    if is_guid(wanted):
        found = [item for item in organizations if item.id == wanted.lower()]
    else:
        found = [item for item in organizations if item.name == html.unescape(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BitwardenError(
            f"{len(found)} organizations at {server} are named {wanted!r}: {', '.join(item.id for item in found)}.",
            next_step="Give the id of the one that is meant.",
        )
    seen = ", ".join(sorted(f"{item.name} ({item.id})" for item in organizations)) or "none"
    raise NoSuchOrganization(
        f"The account sees no organization {wanted!r} at {server}; it sees: {seen}.",
        next_step="Correct the name or id (at the cloud and at the self-hosted server an organization has different "
        "ids), or use the API key of a member of it.",
        details={"organization_missing": True},
    )


def require_owner(organization: Organization, server: str) -> Organization:
    """Refuse whoever is no confirmed owner."""
    if not organization.owned:
        raise BitwardenError(
            f"The account is {organization.status} {organization.role} of {organization.name} at {server}, "
            "but only a confirmed owner may do this.",
            next_step="Use the API key of a confirmed owner of this organization.",
        )
    return organization


def require_billing_sync_plan(organization: Organization, server: str) -> Organization:
    """Refuse plans without billing sync."""
    if not organization.billing_sync_allowed:
        raise BitwardenError(
            f"The organization {organization.name} at {server} has the plan "
            f"{organization.plan.replace('_', ' ').title()}, and billing sync exists for Teams and Enterprise only.",
            next_step="Name the right organization, or change its plan at the cloud.",
        )
    return organization


def _word(words: t.Mapping[int, str], number: t.Any) -> str:
    return words.get(number, str(number)) if isinstance(number, int) else "unknown"
