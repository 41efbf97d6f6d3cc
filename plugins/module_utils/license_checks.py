# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands against a license at a server, found before anything is uploaded, and where the two differ."""

from __future__ import annotations

import html
import typing as t
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import license, license_file, server_versions
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.license_file import License, same_moment, shown_date

# The server counts the whole request, not the file alone.
LARGEST_REQUEST = 51_200
_DOWNLOAD = "Download the license anew from the cloud, for this server's installation id."
_SETTLE = "Settle the organization's subscription at the cloud, then download the license anew."
_UPDATE = "Back up bwdata, update the server (role update, or ./bitwarden.sh updateself and update), and try again."
# From here on a server may know formats that did not exist when this was written.
_KNOWN_UP_TO = "2026.9.0"


@dataclass(frozen=True)
class Problem:
    """One thing against a license, and what to do about it."""

    cause: str
    next_step: str


@dataclass(frozen=True)
class Place:
    """What is known of the server that a license is meant for; None stands for what is not known."""

    server: str
    version: str
    now: datetime
    installation_id: str | None = None
    cloud_organization_id: str | None = None
    seats_taken: int | None = None
    request_size: int = 0


def problems(found: License, place: Place) -> list[Problem]:
    """Everything that stands against the license, in the order in which a person would put it right."""
    checks = (_kind, _plan, _made_for, _ended, _clock, _origin, _format, _room)
    return [problem for check in checks for problem in check(found, place)]


def _kind(found: License, _place: Place) -> t.Iterator[Problem]:
    if found.kind == license_file.USER:
        yield Problem(
            "it is a person's premium license, not an organization's",
            "Give the license of the organization: at the cloud in the organization's Billing, Subscription.",
        )


def _plan(found: License, _place: Place) -> t.Iterator[Problem]:
    if not found.value("Enabled"):
        yield Problem("the organization is disabled at the cloud", _SETTLE)
    if not found.value("SelfHost"):
        yield Problem(
            f"the plan {found.value('Plan') or 'of the organization'} does not allow self-hosting",
            "Change the plan at the cloud (Enterprise, Teams or Families), then download the license anew.",
        )


def _made_for(found: License, place: Place) -> t.Iterator[Problem]:
    if place.installation_id and found.installation_id != place.installation_id.lower():
        yield Problem(
            f"it was made for the installation {found.installation_id or 'of nobody'}, and {place.server} is the "
            f"installation {place.installation_id}",
            f"{_DOWNLOAD} If the server has the wrong one, correct globalSettings__installation__id and __key.",
        )
    connected = (place.cloud_organization_id or "").lower()
    if connected and found.organization_id != connected:
        yield Problem(
            f"it is the license of another cloud organization ({found.name}, {found.organization_id}) than the one "
            f"that the organization at {place.server} belongs to ({connected})",
            "Give the license of that one. To move the organization on purpose, remove its connection first "
            "(billing_sync with state=absent).",
        )


def _ended(found: License, place: Place) -> t.Iterator[Problem]:
    ends = found.expires
    if ends is not None and ends <= place.now:
        yield Problem(
            f"it ended on {shown_date(ends)}; the server would take it and disable the organization within 12 hours",
            "Renew the organization's subscription at the cloud, then download the license anew.",
        )
    until = found.moment("exp")
    if until is not None and until <= place.now:
        yield Problem(f"its token ended on {shown_date(until)}, a year after it was issued", _DOWNLOAD)


def behind(found: License, now: datetime) -> float:
    """By how many seconds the server's clock is behind the moment from which on it takes the license."""
    begins = found.moment("nbf") if found.claims is not None else found.issued
    return 0.0 if begins is None else max(0.0, (begins - now).total_seconds())


def _clock(found: License, place: Place) -> t.Iterator[Problem]:
    seconds = behind(found, place.now)
    if seconds:
        yield Problem(
            f"the clock of {place.server} is {seconds:.0f} seconds behind the cloud's, so that the license would be "
            "one from the future to it",
            "Set the server's clock (two seconds behind the cloud are enough for this), then try again.",
        )


def _origin(found: License, _place: Place) -> t.Iterator[Problem]:
    """The signature can only be verified by the server; all that an editor or a foreign issuer leaves is seen here."""
    if found.claims is None:
        if found.hash_is_good() is False:
            yield Problem("it was changed after the cloud issued it: its hash does not fit its content", _DOWNLOAD)
        return
    audience = found.claims.get("aud")
    if audience != f"{license_file.AUDIENCE}{found.organization_id}":
        yield Problem(
            f"it was changed after the cloud issued it: its id is {found.organization_id or 'empty'}, "
            f"its token is for {audience or 'nobody'}",
            _DOWNLOAD,
        )
    if found.claims.get("iss") != license_file.ISSUER:
        yield Problem(f"its token was issued by {found.claims.get('iss') or 'nobody'}, not by Bitwarden", _DOWNLOAD)
    if found.moment("exp") is None:
        yield Problem("its token has no end, which no token of Bitwarden's has", _DOWNLOAD)


def _format(found: License, place: Place) -> t.Iterator[Problem]:
    known = newest_format(place.version)
    counts = found.claims is None or not server_versions.is_new_enough("license_token", place.version)
    if known is not None and counts and found.version > known:
        yield Problem(
            f"its format (version {found.version}) is newer than {place.server} with Bitwarden {place.version} "
            f"knows (up to version {known}): the version is not supported there",
            _UPDATE,
        )


def newest_format(version: str) -> int | None:
    """The newest format that a server of a version may know; None for servers newer than what is known here."""
    if not version or server_versions.at_least(version, _KNOWN_UP_TO):
        return None
    return 16 if server_versions.is_new_enough("license_token", version) else 15


def _room(found: License, place: Place) -> t.Iterator[Problem]:
    if place.request_size > LARGEST_REQUEST:
        yield Problem(
            f"it is too large: its upload would have {place.request_size} bytes, and the server takes no more than "
            f"{LARGEST_REQUEST}",
            f"{_DOWNLOAD} Licenses have about five thousand bytes.",
        )
    if place.seats_taken is not None and found.seats is not None and place.seats_taken > found.seats:
        yield Problem(
            f"it has {found.seats} seats, and {place.seats_taken} are taken at {place.server}",
            "Remove members or sponsorships there, or buy seats at the cloud, then try again.",
        )


def refuse(found: License, where: str, against: t.Sequence[Problem]) -> None:
    """Fail with all that stands against a license, before anything was changed."""
    if not against:
        return
    raise BitwardenError(
        f"The license of {found.name or 'an organization'} ({where}) cannot be used: "
        + "; and ".join(problem.cause for problem in against)
        + ". Nothing was changed.",
        next_step=" ".join(dict.fromkeys(problem.next_step for problem in against)),
        details={"cause": against[0].cause, "problems": [problem.cause for problem in against]},
    )


# What a license writes into the organization, as the server's answer names it; the rest is the organization's own.
_COMPARED = ("Name", "BusinessName", "BillingEmail", "PlanType", "Seats", "MaxCollections", "SmSeats",
             "SmServiceAccounts", "SelfHost", *license_file.FEATURES)  # fmt: skip
_DATES = (("expires", "Expires", "expiration"),
          ("expires_without_grace_period", "ExpirationWithoutGracePeriod", "expirationWithoutGracePeriod"))  # fmt: skip


# What a server that took a license must show; other features may be unknown to its version.
PROVEN = frozenset({"name", "expires", "seats", "plan_type"})


def differences(found: License, subscription: t.Mapping[str, t.Any]) -> dict[str, tuple[t.Any, t.Any]]:
    """By property: what the server has, and what it would have with the license."""
    differing: dict[str, tuple[t.Any, t.Any]] = {}
    for name in _COMPARED:
        key = license_file.camel(name)
        if key not in subscription or (name in license_file.FEATURES and not found.names(name)):
            continue
        has, gets = _plain(subscription[key]), _plain(found.value(name))
        if has != gets:
            differing[license_file.snake(name)] = (has, gets)
    for shown, name, key in _DATES:
        has_date, gets_date = license.parse_date(subscription.get(key)), license.parse_date(found.value(name))
        if key in subscription and not same_moment(has_date, gets_date):
            differing[shown] = (shown_date(has_date), shown_date(gets_date))
    return differing


def _plain(value: t.Any) -> t.Any:
    """Texts without the encoding for HTML that licenses have; no text is an empty one."""
    return html.unescape(value).strip() if isinstance(value, str) else "" if value is None else value
