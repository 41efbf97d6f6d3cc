# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An organization's license as it lies in a file: what it says, and what can be proven of it without Bitwarden's key.

Since 2025.1.0 a license has a token. The server then goes by the token's claims and ignores the properties beside it,
but for the id of the organization. Without a token the properties count, and a signature over them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import json
import typing as t
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import license
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

ORGANIZATION, USER = "organization", "user"
AUDIENCE = "organization:"
ISSUER = "bitwarden"
# What the last known format of the cloud's licenses hashes.
HASHED_UP_TO_VERSION = 15
_DOWNLOAD_AGAIN = "Download the license anew from the cloud, and keep editors and proxies away from it."
_TOKEN_PARTS = 3
_CLAIMED_DATE = "%m/%d/%Y %H:%M:%S"

_TEXTS = ("Name", "BillingEmail", "BusinessName", "Plan", "LicenseKey", "InstallationId")
_NUMBERS = ("PlanType", "Seats", "MaxCollections", "MaxStorageGb", "SmSeats", "SmServiceAccounts")
_DATES = ("Issued", "Refresh", "Expires", "ExpirationWithoutGracePeriod")
# The features that a license gives, as the server's answers name them too.
FEATURES = (
    "UsePolicies", "UseSso", "UseKeyConnector", "UseScim", "UseGroups", "UseEvents", "UseDirectory", "UseTotp",
    "Use2fa", "UseApi", "UseResetPassword", "UsersGetPremium", "UseCustomPermissions", "UsePasswordManager",
    "UseSecretsManager", "UseRiskInsights", "UsePhishingBlocker", "UseOrganizationDomains",
    "UseAdminSponsoredFamilies", "UseAutomaticUserConfirmation", "UseDisableSmAdsForUsers", "UseMyItems",
    "UseInviteLinks", "UsePam",
)  # fmt: skip
_FLAGS = (*FEATURES, "Enabled", "SelfHost", "Trial")
_CLAIMED = frozenset(name.lower() for name in (*_TEXTS, *_NUMBERS, *_DATES, *_FLAGS, "LicenseType"))
_LICENSE_TYPES = {0: USER, 1: ORGANIZATION, "user": USER, "organization": ORGANIZATION}

# Property and the version of the format from which on it is part of the hash.
_HASHED: tuple[tuple[str, int], ...] = (
    ("AllowAdminAccessToAllCollectionItems", 15), ("BillingEmail", 1), ("BusinessName", 1), ("Enabled", 1),
    ("ExpirationWithoutGracePeriod", 12), ("Expires", 1), ("Id", 1), ("InstallationId", 1), ("LicenseKey", 1),
    ("LimitCollectionCreationDeletion", 14), ("MaxCollections", 1), ("MaxStorageGb", 1), ("Name", 1), ("Plan", 1),
    ("PlanType", 1), ("Seats", 1), ("SelfHost", 1), ("SmSeats", 13), ("SmServiceAccounts", 13), ("Trial", 1),
    ("Use2fa", 4), ("UseApi", 5), ("UseCustomPermissions", 11), ("UseDirectory", 1), ("UseEvents", 3),
    ("UseGroups", 1), ("UseKeyConnector", 9), ("UsePasswordManager", 13), ("UsePolicies", 6),
    ("UseResetPassword", 8), ("UsersGetPremium", 2), ("UseScim", 10), ("UseSecretsManager", 13), ("UseSso", 7),
    ("UseTotp", 1), ("Version", 1),
)  # fmt: skip


class LicenseFileError(BitwardenError):
    """The file is no license of Bitwarden's."""


@dataclass(frozen=True)
class License:
    """A license; nothing of it that is secret is ever shown: its key, token, hash and signature."""

    content: bytes = field(repr=False)
    properties: t.Mapping[str, t.Any] = field(repr=False)
    claims: t.Mapping[str, t.Any] | None = field(repr=False)

    def value(self, name: str) -> t.Any:
        """What the server will take for a property, of the claims where there is a token."""
        lowered = name.lower()
        if self.claims is None or lowered not in _CLAIMED:
            return self.properties.get(lowered)
        return _typed(name, self.claims.get(lowered))

    def names(self, name: str) -> bool:
        """Whether the license says anything about a property: older clouds do not know of newer ones."""
        return name.lower() in (self.properties if self.claims is None else self.claims)

    @property
    def organization_id(self) -> str:
        """The id of the organization at the cloud; the token only confirms it."""
        return str(self.properties.get("id") or "").lower()

    @property
    def name(self) -> str:
        """The organization's name as people see it: licenses hold it encoded for HTML."""
        return html.unescape(str(self.value("Name") or ""))

    @property
    def installation_id(self) -> str:
        """The installation that the license was made for."""
        return str(self.value("InstallationId") or "").lower()

    @property
    def kind(self) -> str | None:
        """Whether it is an organization's license or a person's; old ones do not say."""
        kind = self.value("LicenseType")
        if not isinstance(kind, (str, int)):
            return None
        return _LICENSE_TYPES.get(kind.lower() if isinstance(kind, str) else kind)

    @property
    def seats(self) -> int | None:
        """How many members it allows, None for any number."""
        return _number(self.value("Seats"))

    @property
    def version(self) -> int:
        """The version of its format."""
        return _number(self.properties.get("version")) or 0

    @property
    def issued(self) -> datetime | None:
        """When the cloud made it."""
        return license.parse_date(self.value("Issued"))

    @property
    def expires(self) -> datetime | None:
        """When the organization ends with it, days of grace included."""
        return license.parse_date(self.value("Expires"))

    def moment(self, claim: str) -> datetime | None:
        """A date of the token itself, C(nbf) or C(exp)."""
        seconds = (self.claims or {}).get(claim)
        if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
            return None
        try:
            return datetime.fromtimestamp(seconds, timezone.utc)
        except (OverflowError, ValueError, OSError):
            return None

    @property
    def features(self) -> dict[str, bool]:
        """What it lets the organization use, by the names that the server's answers have."""
        return {snake(name): bool(self.value(name)) for name in FEATURES if self.names(name)}

    def hash_is_good(self) -> bool | None:
        """Whether its properties are what the cloud hashed; None where this collection cannot know."""
        given = self.properties.get("hash")
        if not isinstance(given, str) or not 1 <= self.version <= HASHED_UP_TO_VERSION:
            return None
        try:
            return base64.b64encode(hashlib.sha256(self._hashed()).digest()).decode() == given
        except ValueError:
            return False

    def _hashed(self) -> bytes:
        parts = [f"{name}:{_hashed_text(name, self.properties.get(name.lower()))}" for name, since in _HASHED
                 if since <= self.version]  # fmt: skip
        return ("license:organization|" + "|".join(parts)).encode()

    def facts(self) -> dict[str, t.Any]:
        """What modules return of it."""
        valid_from, valid_until = self.moment("nbf"), self.moment("exp")
        return {
            "cloud_organization_id": self.organization_id,
            "name": self.name,
            "plan": self.value("Plan"),
            "plan_type": _number(self.value("PlanType")),
            "seats": self.seats,
            "expires": shown_date(self.expires),
            "expires_without_grace_period": shown_date(license.parse_date(self.value("ExpirationWithoutGracePeriod"))),
            "issued": shown_date(self.issued),
            "installation_id": self.installation_id or None,
            "version": self.version,
            "type": self.kind,
            "enabled": bool(self.value("Enabled")),
            "self_host": bool(self.value("SelfHost")),
            "trial": bool(self.value("Trial")),
            "token": None
            if self.claims is None
            else {"valid_from": shown_date(valid_from), "valid_until": shown_date(valid_until)},
            "features": self.features,
        }


def parse(content: bytes, where: str) -> License:
    """The license in a file or an answer; C(where) names that for the error."""
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _no_license(where, "it is no JSON") from error
    if not isinstance(found, dict):
        raise _no_license(where, "it is JSON, but no object")
    properties = {str(name).lower(): value for name, value in found.items()}
    if not properties.get("licensekey") and not properties.get("token"):
        raise _no_license(where, "it has neither a license key nor a token")
    token = properties.get("token")
    claims = claims_of(token, where) if isinstance(token, str) and token.strip() else None
    return License(content, properties, claims)


def claims_of(token: str, where: str) -> dict[str, t.Any]:
    """The payload of the token, its names in small letters; nobody but the server can check the signature."""
    segments = token.strip().split(".")
    if len(segments) != _TOKEN_PARTS:
        raise _no_license(where, f"its token has {len(segments)} parts instead of {_TOKEN_PARTS}, so it was cut")
    header, payload = (_json(segment) for segment in segments[:2])
    if not isinstance(header, dict) or not isinstance(payload, dict) or not _decoded(segments[2]):
        raise _no_license(where, "its token was changed: it cannot be decoded")
    return {str(name).lower(): value for name, value in payload.items()}


def _json(segment: str) -> t.Any:
    try:
        return json.loads(_decoded(segment))
    except (ValueError, RecursionError):
        return None


def _decoded(segment: str) -> bytes:
    try:
        return base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return b""


def _no_license(where: str, why: str) -> LicenseFileError:
    return LicenseFileError(f"{where} holds no license of an organization: {why}.", next_step=_DOWNLOAD_AGAIN)


def _typed(name: str, claim: t.Any) -> t.Any:
    """A claim in the type of the property: claims are all texts."""
    if name in _FLAGS:
        return str(claim).lower() == "true"
    if claim is None or claim == "":
        return None
    if name in _NUMBERS:
        return _number(claim)
    if name in _DATES:
        return _iso(str(claim))
    return claim


def _iso(text: str) -> str:
    try:
        return datetime.strptime(text, _CLAIMED_DATE).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return text


def _number(value: t.Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _hashed_text(name: str, value: t.Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if name in _DATES:
        moment = license.parse_date(str(value))
        if moment is None:
            raise ValueError(name)
        # Rounded to the nearest second, as the cloud does.
        return str(round(moment.timestamp()))
    return str(value)


def snake(name: str) -> str:
    """A property's name as results have it."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def camel(name: str) -> str:
    """A property's name as the server's answers have it."""
    return name[:1].lower() + name[1:]


def shown_date(moment: datetime | None) -> str | None:
    """A date as results have it, in UTC."""
    return None if moment is None else moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def same_moment(one: datetime | None, other: datetime | None) -> bool:
    """Whether two dates are the same but for the fraction that tokens leave out."""
    if one is None or other is None:
        return one is other
    return abs(one - other) < timedelta(seconds=2)
