# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a license is due for a sync."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

NEVER, AGE, EXPIRATION, DISABLED, UNREADABLE, FRESH = (
    "never_synced",
    "age",
    "expiration",
    "organization_disabled",
    "license_unreadable",
    "fresh",
)
_DATE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?")
_MICROSECONDS = 6
# The server's answers tell its clock in whole seconds, so that a sync of this very second seems to lie ahead.
_CLOCK_NOISE = timedelta(minutes=1)


@dataclass(frozen=True)
class Due:
    """Whether to sync, and why."""

    due: bool
    reason: str


@dataclass(frozen=True)
class Policy:
    """Sync when the last one is older than C(max_age), or the license ends within C(renew_before)."""

    max_age: timedelta
    renew_before: timedelta

    @classmethod
    def of_days(cls, max_age: int, renew_before: int) -> Policy:
        """The policy as modules get it."""
        return cls(timedelta(days=max_age), timedelta(days=renew_before))


def parse_date(text: t.Any) -> datetime | None:
    """A date of Bitwarden's: up to seven digits of fraction, and UTC where no zone is given; None for all else."""
    match = _DATE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    moment, fraction, zone = match.groups()
    micro = (fraction or "")[:_MICROSECONDS].ljust(_MICROSECONDS, "0")
    try:
        found = datetime.fromisoformat(f"{moment}.{micro}" + ("+00:00" if zone in {None, "Z"} else zone))
        return found.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def due_without_license(policy: Policy, *, enabled: bool, last_sync: str | None, now: datetime) -> Due | None:
    """The decision as far as the last sync makes it; None when it takes the license's expiration."""
    if not enabled:
        return Due(True, DISABLED)
    synced = parse_date(last_sync)
    if synced is None:
        return Due(True, NEVER)
    age = now - synced
    if not policy.max_age or age >= policy.max_age:
        return Due(True, AGE)
    # A license that was synced within a day is as new as the cloud's: looking at it would change nothing.
    if -_CLOCK_NOISE <= age < timedelta(days=1):
        return Due(False, FRESH)
    return None


def due_by_license(policy: Policy, *, expiration: str | None, now: datetime) -> Due:
    """The decision of the license's own expiration; without one the server could not read its license."""
    ends = parse_date(expiration)
    if ends is None:
        return Due(True, UNREADABLE)
    return Due(True, EXPIRATION) if ends - now <= policy.renew_before else Due(False, FRESH)


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(timezone.utc)


def moved(before: str | None, after: str | None) -> bool:
    """Whether a sync left a new date behind."""
    return after is not None and after != before and parse_date(after) is not None


def policy_spec(prefix: str = "") -> dict[str, dict[str, t.Any]]:
    """The options of the policy, for argument specs."""
    return {
        f"{prefix}max_age": {"type": "int", "default": 7},
        f"{prefix}renew_before": {"type": "int", "default": 30},
    }
