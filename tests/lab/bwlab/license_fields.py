# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The properties of an organization license, and which of them its token and its signature cover."""

from __future__ import annotations

import uuid
from typing import Any

License = dict[str, Any]

EMPTY_GUID = str(uuid.UUID(int=0))
ORGANIZATION_LICENSE = 1
LICENSE_TYPES = ("User", "Organization")
EMITTED_VERSION = 15
ACCEPTED_VERSIONS = range(1, 17)

# Name, kind and the organization's column; an empty column stands for a value that make_license fills in itself.
FIELDS: tuple[tuple[str, str, str], ...] = (
    ("LicenseKey", "text", "LicenseKey"),
    ("InstallationId", "guid?", ""),
    ("Id", "guid", ""),
    ("Name", "text", "Name"),
    ("BillingEmail", "text", "BillingEmail"),
    ("BusinessName", "text", "BusinessName"),
    ("Enabled", "bool", "Enabled"),
    ("Plan", "text", "Plan"),
    ("PlanType", "int", "PlanType"),
    ("Seats", "int?", "Seats"),
    ("MaxCollections", "int?", "MaxCollections"),
    ("UsePolicies", "bool", "UsePolicies"),
    ("UseSso", "bool", "UseSso"),
    ("UseKeyConnector", "bool", "UseKeyConnector"),
    ("UseScim", "bool", "UseScim"),
    ("UseGroups", "bool", "UseGroups"),
    ("UseEvents", "bool", "UseEvents"),
    ("UseDirectory", "bool", "UseDirectory"),
    ("UseTotp", "bool", "UseTotp"),
    ("Use2fa", "bool", "Use2fa"),
    ("UseApi", "bool", "UseApi"),
    ("UseResetPassword", "bool", "UseResetPassword"),
    ("MaxStorageGb", "int?", "MaxStorageGb"),
    ("SelfHost", "bool", "SelfHost"),
    ("UsersGetPremium", "bool", "UsersGetPremium"),
    ("UseCustomPermissions", "bool", "UseCustomPermissions"),
    ("Version", "int", ""),
    ("Issued", "date", ""),
    ("Refresh", "date?", ""),
    ("Expires", "date?", ""),
    ("ExpirationWithoutGracePeriod", "date?", ""),
    ("UsePasswordManager", "bool", "UsePasswordManager"),
    ("UseSecretsManager", "bool", "UseSecretsManager"),
    ("SmSeats", "int?", "SmSeats"),
    ("SmServiceAccounts", "int?", "SmServiceAccounts"),
    ("UseRiskInsights", "bool", "UseRiskInsights"),
    ("UsePhishingBlocker", "bool", "UsePhishingBlocker"),
    ("LimitCollectionCreationDeletion", "bool", ""),
    ("AllowAdminAccessToAllCollectionItems", "bool", "AllowAdminAccessToAllCollectionItems"),
    ("Trial", "bool", ""),
    ("LicenseType", "int?", ""),
    ("UseOrganizationDomains", "bool", "UseOrganizationDomains"),
    ("UseAdminSponsoredFamilies", "bool", "UseAdminSponsoredFamilies"),
    ("UseAutomaticUserConfirmation", "bool", "UseAutomaticUserConfirmation"),
    ("UseDisableSmAdsForUsers", "bool", "UseDisableSmAdsForUsers"),
    # The real cloud carries these three in the token only, and leaves the properties false.
    ("UseMyItems", "bool", ""),
    ("UseInviteLinks", "bool", ""),
    ("UsePam", "bool", ""),
    ("Hash", "text", ""),
    ("Signature", "text", ""),
    ("Token", "text", ""),
)
KINDS = {name: kind for name, kind, _unused in FIELDS}
DEFAULTS: dict[str, Any] = {"bool": False, "int": 0, "guid": EMPTY_GUID, "date": "0001-01-01T00:00:00"}
ORGANIZATION_COLUMNS = tuple(column for _unused, _unused, column in FIELDS if column)

CLAIM_ONLY = ("UseMyItems", "UseInviteLinks", "UsePam")
FIRST_FLAGS = (
    "UsePolicies", "UseSso", "UseKeyConnector", "UseScim", "UseGroups", "UseEvents", "UseDirectory", "UseTotp",
    "Use2fa", "UseApi", "UseResetPassword", "SelfHost", "UsersGetPremium", "UseCustomPermissions",
    "UsePasswordManager", "UseSecretsManager", "LimitCollectionCreationDeletion",
    "AllowAdminAccessToAllCollectionItems", "UseRiskInsights",
)  # fmt: skip
LATER_FLAGS = (
    "UseAdminSponsoredFamilies", "UseOrganizationDomains", "UseAutomaticUserConfirmation", "UseDisableSmAdsForUsers",
    "UsePhishingBlocker", *CLAIM_ONLY,
)  # fmt: skip
CLAIM_FLAGS = (*FIRST_FLAGS, *LATER_FLAGS)
CLAIM_TEXTS = ("Name", "BillingEmail", "Plan", "BusinessName", "LicenseKey")
CLAIM_NUMBERS = ("Seats", "MaxCollections", "MaxStorageGb", "SmSeats", "SmServiceAccounts")

# Properties that the signature of a license without token does not cover: they came after version 15, or are no data.
UNSIGNED = {
    "Signature", "Token", "LicenseType", "UseRiskInsights", "UsePhishingBlocker", "UseOrganizationDomains",
    "UseAdminSponsoredFamilies", "UseAutomaticUserConfirmation", "UseDisableSmAdsForUsers", *CLAIM_ONLY,
}  # fmt: skip
UNHASHED = UNSIGNED | {"Hash", "Issued", "Refresh"}
SINCE_VERSION = {
    "UsersGetPremium": 2, "UseEvents": 3, "Use2fa": 4, "UseApi": 5, "UsePolicies": 6, "UseSso": 7,
    "UseResetPassword": 8, "UseKeyConnector": 9, "UseScim": 10, "UseCustomPermissions": 11,
    "ExpirationWithoutGracePeriod": 12, "UsePasswordManager": 13, "UseSecretsManager": 13, "SmSeats": 13,
    "SmServiceAccounts": 13, "LimitCollectionCreationDeletion": 14, "AllowAdminAccessToAllCollectionItems": 15,
    "UseOrganizationDomains": 16,
}  # fmt: skip


def camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def empty_license() -> License:
    return {name: DEFAULTS.get(kind) for name, kind, _unused in FIELDS}
