# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How organizations look in answers: to their owners, and in a member's profile."""

from __future__ import annotations

import functools
import html
import json
from pathlib import Path
from typing import Any

from bwlab import times
from bwlab.persona import Persona
from bwlab.plans import ENTERPRISE, product_tier
from bwlab.store import Row, Store

PLANS = Path(__file__).with_name("plans.json")
ACCEPTED, CONFIRMED = 1, 2
PERMISSIONS = (
    "accessEventLogs", "accessImportExport", "accessReports", "createNewCollections", "editAnyCollection",
    "deleteAnyCollection", "manageGroups", "managePolicies", "manageSso", "manageUsers", "manageResetPassword",
    "manageScim",
)  # fmt: skip
FLAGS = (
    "usePolicies", "useSso", "useKeyConnector", "useScim", "useGroups", "useDirectory", "useEvents", "useTotp",
    "use2fa", "useApi", "useSecretsManager", "useResetPassword", "usersGetPremium", "useCustomPermissions",
    "selfHost", "usePasswordManager", "limitCollectionCreation", "limitCollectionDeletion", "limitItemDeletion",
    "allowAdminAccessToAllCollectionItems", "useRiskInsights", "useOrganizationDomains", "useAdminSponsoredFamilies",
    "useAutomaticUserConfirmation", "usePhishingBlocker", "useMyItems", "useInviteLinks", "usePam",
)  # fmt: skip
TEXTS = (
    "businessName", "businessAddress1", "businessAddress2", "businessAddress3", "businessCountry",
    "businessTaxNumber", "billingEmail",
)  # fmt: skip
NUMBERS = (
    "seats", "maxAutoscaleSeats", "maxCollections", "maxStorageGb", "smSeats", "smServiceAccounts",
    "maxAutoscaleSmSeats", "maxAutoscaleSmServiceAccounts",
)  # fmt: skip


def _column(name: str) -> str:
    return name[:1].upper() + name[1:]


def _flags(row: Row) -> dict[str, bool]:
    return {name: bool(row.get(_column(name))) for name in FLAGS}


def _has_keys(row: Row) -> bool:
    return bool(row.get("PublicKey")) and bool(row.get("PrivateKey"))


@functools.cache
def cloud_plans() -> list[dict[str, Any]]:
    """What the pricing service of the recorded cloud offered."""
    plans: list[dict[str, Any]] = json.loads(PLANS.read_text(encoding="utf-8"))
    return plans


def _plan(persona: Persona, row: Row) -> dict[str, Any]:
    """A self-hosted server has no prices: only type, product and name are filled."""
    if persona.is_cloud:
        found = next((plan for plan in cloud_plans() if plan["type"] == row["PlanType"]), None)
        if found is not None:
            return found
    empty = {
        key: False if isinstance(value, bool) else None
        for key, value in cloud_plans()[0].items()
        if key not in {"type", "productTier", "name", "object"}
    }
    return {
        **empty,
        "upgradeSortOrder": 0,
        "displaySortOrder": 0,
        "type": row["PlanType"],
        "productTier": product_tier(row["PlanType"]),
        "name": row["Plan"],
        "object": "plan",
    }


def organization_response(persona: Persona, row: Row) -> dict[str, Any]:
    """For owners."""
    return {
        "id": row["Id"].lower(),
        "name": html.unescape(row["Name"]),
        **{name: row.get(_column(name)) for name in TEXTS},
        "plan": _plan(persona, row),
        "secretsManagerPlan": _plan(persona, row) if row.get("UseSecretsManager") else None,
        "planType": row["PlanType"],
        **{name: row.get(_column(name)) for name in NUMBERS},
        **_flags(row),
        "useDisableSmAdsForUsers": bool(row.get("UseDisableSmAdsForUsers")),
        "hasPublicAndPrivateKeys": _has_keys(row),
        "object": "organization",
    }


def _storage(row: Row) -> dict[str, Any]:
    used = row.get("Storage")
    gigabytes = (used or 0) / 1024**3
    return {
        "storageName": None if used is None else f"{gigabytes:.2f} GB",
        "storageGb": round(gigabytes, 2) if used else 0,
    }


def subscription_response(persona: Persona, row: Row, dates: dict[str, str | None]) -> dict[str, Any]:
    """`dates`: expiration and expirationWithoutGracePeriod, at the cloud the row's, elsewhere the license file's."""
    return {
        **organization_response(persona, row),
        **_storage(row),
        "customerDiscount": None,
        "subscription": None,
        "upcomingInvoice": None,
        "smServiceAccountsGrace": None,
        **dates,
        "exemptFromBillingAutomation": bool(row.get("ExemptFromBillingAutomation")),
        "object": "organizationSubscription",
    }


def _sponsorship(row: Row | None, tier: int) -> dict[str, Any]:
    row = row or {}
    name, admin = row.get("FriendlyName"), bool(row.get("IsAdminInitiated"))
    marked = row.get("ToDelete")
    return {
        "familySponsorshipFriendlyName": name,
        "familySponsorshipAvailable": (name is None or admin) and tier == ENTERPRISE,
        "familySponsorshipLastSyncDate": times.iso(row.get("LastSyncDate")),
        "familySponsorshipValidUntil": times.iso(row.get("ValidUntil")),
        "familySponsorshipToDelete": None if marked is None else bool(marked),
        "isAdminInitiated": admin,
    }


def _membership(row: Row, member: Row, sponsorship: Row | None) -> dict[str, Any]:
    granted = json.loads(member.get("Permissions") or "{}")
    tier = product_tier(row["PlanType"])
    flags = _flags(row)
    return {
        "organizationUserId": member["Id"].lower(),
        "userIsClaimedByOrganization": False,
        "userIsManagedByOrganization": False,
        **_sponsorship(sponsorship, tier),
        "id": row["Id"].lower(),
        "name": html.unescape(row["Name"]),
        "enabled": bool(row["Enabled"]),
        "identifier": row.get("Identifier"),
        "productTierType": tier,
        **flags,
        "useDisableSMAdsForUsers": bool(row.get("UseDisableSmAdsForUsers")),
        "useActivateAutofillPolicy": tier == ENTERPRISE,
        "seats": row.get("Seats"),
        "maxCollections": row.get("MaxCollections"),
        "maxStorageGb": row.get("MaxStorageGb"),
        "key": member.get("Key"),
        "hasPublicAndPrivateKeys": _has_keys(row),
        "ssoBound": False,
        "resetPasswordEnrolled": bool(member.get("ResetPasswordKey")),
        "providerId": None,
        "providerName": None,
        "providerType": None,
        "ssoEnabled": False,
        "keyConnectorEnabled": False,
        "keyConnectorUrl": None,
        "ssoMemberDecryptionType": None,
        "accessSecretsManager": flags["useSecretsManager"] and bool(member.get("AccessSecretsManager")),
        "userId": member["UserId"].lower(),
        "status": member["Status"],
        "type": member["Type"],
        "permissions": {name: granted.get(name) is True for name in PERMISSIONS},
        "object": "profileOrganization",
    }


def memberships(store: Store, user_id: str, *statuses: int) -> list[dict[str, Any]]:
    """An organization comes once for each sponsorship of the member in it, and once where there is none."""
    found = []
    for member in store.rows("OrganizationUser", UserId=user_id):
        row = store.one("Organization", Id=member["OrganizationId"])
        if member["Status"] in statuses and row is not None:
            sponsorships: list[Row | None] = []
            sponsorships += store.rows("OrganizationSponsorship", SponsoringOrganizationUserId=member["Id"])
            found += [_membership(row, member, each) for each in sponsorships or [None]]
    return found
