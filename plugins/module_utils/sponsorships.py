# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Free Families sponsorships of an organization: what an account sees of them, and the calls that change them."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import organization, remedies
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import EMPTY

if t.TYPE_CHECKING:
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import Response
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import Organization
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server

REQUESTED, SENT, ACTIVE = "requested", "sent", "active"
REMOVED, EXPIRING = "removed_awaiting_sync", "expiring"
NO_SUCH_NAME = "could not be found under the given sponsoring organization"
_FAMILIES = 0


@dataclass(frozen=True)
class Sponsorship:
    """One sponsorship, as far as the account sees it: of its own ones the server never tells the address."""

    friendly_name: str
    email: str | None = None
    admin_initiated: bool = False
    mine: bool = True
    member: str = ""
    last_sync: str | None = None
    valid_until: str | None = None
    to_delete: bool = False
    at_cloud: bool = False

    @property
    def status(self) -> str:
        """What the web vault calls it, in the web vault's order."""
        if self.to_delete:
            return EXPIRING if self.valid_until else REMOVED
        if self.valid_until:
            return ACTIVE
        return SENT if self.last_sync or self.at_cloud else REQUESTED

    @property
    def awaiting_sync(self) -> bool:
        """Whether the cloud has yet to hear of it, or of its end."""
        return self.status in {REQUESTED, REMOVED}

    def is_named(self, name: str) -> bool:
        """As the server compares names in a revocation; in an offer it heeds upper and lower case."""
        return self.friendly_name.casefold() == name.casefold()

    def as_dict(self) -> dict[str, t.Any]:
        """The sponsorship as modules return it."""
        return {
            "friendly_name": self.friendly_name,
            "email": self.email,
            "admin_initiated": self.admin_initiated,
            "mine": self.mine,
            "status": self.status,
            "awaiting_sync": self.awaiting_sync,
            "last_sync": self.last_sync,
            "valid_until": self.valid_until,
        }


@dataclass(frozen=True)
class Sponsor:
    """The organization, and what the account is and sees in it; C(member) is empty where it is no member."""

    organization: Organization
    email: str
    member: str
    manager: bool
    admin_allowed: bool
    seats: int | None
    sponsorships: tuple[Sponsorship, ...]

    @property
    def mine(self) -> list[Sponsorship]:
        """Those that the server files under this account, also what it offers as a manager."""
        return [one for one in self.sponsorships if one.mine]

    def named(self, name: str) -> Sponsorship | None:
        """The sponsorship of exactly that name, else one that differs in upper and lower case."""
        alike = [one for one in self.sponsorships if one.is_named(name)]
        return next((one for one in alike if one.friendly_name == name), None) or next(iter(alike), None)

    @property
    def overloaded(self) -> list[str]:
        """Members with more than one sponsorship, of those that are seen."""
        members = [one.member for one in self.sponsorships]
        return sorted({member for member in members if members.count(member) > 1})


class Sponsorships:
    """The sponsorships of one server; the same calls exist at the cloud, under another path."""

    def __init__(self, server: Server, *, cloud: bool) -> None:
        self.server = server
        self.cloud = cloud
        self._base = "/organization/sponsorship" + ("" if cloud else "/self-hosted")

    def sponsor(self, wanted: str, *, fresh: bool = False) -> Sponsor:
        """The account's view of an organization; a manager's costs one request more."""
        profile = self.server.profile(fresh=fresh)
        found = organization.find(self.server.organizations(), wanted, self.server.name)
        # All lists tell of the same sponsorships; the second one adds those who are not confirmed yet, and the third
        # those who manage the organization for a provider and are no members of it.
        lists = (_rows(profile.get(name), found.id) for name in ("organizations", "organizationsNew"))
        own = next(filter(None, lists), [])
        first = (own or _rows(profile.get("providerOrganizations"), found.id))[0]
        member = str(first.get("organizationUserId") or "").lower() if own else ""
        manager = found.status == "confirmed" and _manages(found.role, first)
        listed = self._listed(found.id, member) if manager else None
        seen = [self._of_profile(row, member) for row in own if row.get("familySponsorshipToDelete") is not None]
        if listed is not None:
            seen = [one for one in seen if not one.admin_initiated] + listed
        return Sponsor(
            organization=found,
            email=str(profile.get("email") or ""),
            member=member,
            manager=manager,
            admin_allowed=bool(first.get("useAdminSponsoredFamilies")),
            seats=_number(first.get("seats")),
            sponsorships=tuple(seen),
        )

    def _listed(self, organization_id: str, member: str) -> list[Sponsorship] | None:
        what = f"Listing the sponsorships at {self.server.name}"
        response = self.server.call("GET", f"{self._base}/{organization_id}/sponsored")
        if response.status == HTTPStatus.NOT_FOUND and response.said == EMPTY:
            # Servers before 2025.5 have no such list.
            return None
        body = self.server.object_of(remedies.SPONSORSHIPS, what, response)
        return [self._of_list(row, member) for row in _rows(body.get("data"))]

    def _of_profile(self, row: t.Mapping[str, t.Any], member: str) -> Sponsorship:
        return Sponsorship(
            friendly_name=str(row.get("familySponsorshipFriendlyName") or ""),
            admin_initiated=bool(row.get("isAdminInitiated")),
            member=member,
            last_sync=_text(row.get("familySponsorshipLastSyncDate")),
            valid_until=_text(row.get("familySponsorshipValidUntil")),
            to_delete=bool(row.get("familySponsorshipToDelete")),
            at_cloud=self.cloud,
        )

    def _of_list(self, row: t.Mapping[str, t.Any], member: str) -> Sponsorship:
        whose = str(row.get("sponsoringOrganizationUserId") or "").lower()
        return Sponsorship(
            friendly_name=str(row.get("friendlyName") or ""),
            email=_text(row.get("offeredToEmail")),
            admin_initiated=bool(row.get("isAdminInitiated", True)),
            mine=whose == member,
            member=whose,
            last_sync=_text(row.get("lastSyncDate")),
            valid_until=_text(row.get("validUntil")),
            to_delete=bool(row.get("toDelete")),
            at_cloud=self.cloud,
        )

    def offer(self, organization_id: str, *, name: str, email: str, admin_initiated: bool) -> None:
        """Offer a sponsorship; the server says yes also where it does nothing, so that one has to look afterwards."""
        if admin_initiated and not self.cloud:
            # An older server takes it for the member's own offer and says nothing.
            self.server.require("admin_sponsorships")
        body = {
            "planSponsorshipType": _FAMILIES,
            "sponsoredEmail": email,
            "friendlyName": name,
            "isAdminInitiated": admin_initiated,
        }
        response = self.server.call("POST", f"{self._base}/{organization_id}/families-for-enterprise", body)
        self._require(remedies.OFFER, f"Offering the sponsorship {name!r} at {self.server.name}", response)

    def revoke_own(self, organization_id: str, name: str) -> None:
        """Revoke the sponsorship that the member itself offered."""
        response = self.server.call("DELETE", f"{self._base}/{organization_id}")
        self._require(remedies.REVOKE, f"Revoking the sponsorship {name!r} at {self.server.name}", response)

    def revoke_named(self, organization_id: str, name: str) -> bool:
        """Revoke anybody's sponsorship as a manager; False where there is none of that name."""
        response = self.server.call("DELETE", f"{self._base}/{organization_id}/{quote(name, safe='')}/revoke")
        if response.status == HTTPStatus.BAD_REQUEST and NO_SUCH_NAME in response.said:
            return False
        if response.status == HTTPStatus.NOT_FOUND and response.said == EMPTY and not self.cloud:
            self.server.require("revoke_sponsorship_by_name")
        self._require(remedies.REVOKE, f"Revoking the sponsorship {name!r} at {self.server.name}", response)
        return True

    def resend(self, organization_id: str, name: str) -> None:
        """Mail an offer again, which only the cloud does; it says yes also where there is no such offer."""
        path = f"{self._base}/{organization_id}/families-for-enterprise/resend?sponsoredFriendlyName="
        response = self.server.call("POST", path + quote(name, safe=""))
        self._require(remedies.RESEND, f"Mailing the offer {name!r} again from {self.server.name}", response)

    def last_sync(self, organization_id: str) -> str | None:
        """When a sponsorship of the organization was synced last; only owners may ask."""
        response = self.server.call("GET", f"/organization/sponsorship/{organization_id}/sync-status")
        what = f"Asking {self.server.name} when sponsorships were synced last"
        value = self.server.object_of(remedies.SYNC_STATUS, what, response).get("lastSyncDate")
        return str(value) if value else None

    def _require(self, operation: str, what: str, response: Response) -> None:
        if not response.ok:
            raise self.server.self_hosted_error(operation, what, response)


def _rows(value: t.Any, organization_id: str | None = None) -> list[dict[str, t.Any]]:
    """The objects of a list, all of them or those of one organization; none out of anything else."""
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    return [row for row in rows if organization_id in {None, str(row.get("id", "")).lower()}]


def _text(value: t.Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: t.Any) -> int | None:
    return value if isinstance(value, int) else None


def _manages(role: str, row: t.Mapping[str, t.Any]) -> bool:
    """Whether somebody of that role may see and revoke the sponsorships of others."""
    permissions = row.get("permissions")
    granted = bool(permissions.get("manageUsers")) if isinstance(permissions, dict) else False
    return role in {"owner", "admin"} or (role == "custom" and granted)
