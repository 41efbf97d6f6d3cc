# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of the module C(license): read both sides, decide, check, upload, read back."""

from __future__ import annotations

import base64
import html
import time
import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    license,
    license_api,
    license_checks,
    license_file,
    organization,
    organization_keys,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.license_file import License, shown_date
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import BillingSync, Organization

if t.TYPE_CHECKING:
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server

MISSING, DIFFERENT, SAME, OLDER = "organization_missing", "different", "same", "older"
NOT_CONNECTED = BillingSync()
NOTHING_TO_DO = (license.FRESH, SAME, OLDER)
CLOUD, FILE = "cloud", "src"
# Clocks that differ by this much are waited for; more is a clock that nobody sets.
_SHORT_WAIT = 10.0
_LARGEST_FILE = 10_000_000


@dataclass(frozen=True)
class Side:
    """The organization and its license as the server tells of them."""

    found: Organization | None = None
    connected: BillingSync = NOT_CONNECTED
    subscription: dict[str, t.Any] | None = None
    problem: BitwardenError | None = None
    installed: License | None = None

    @property
    def cloud_organization_id(self) -> str | None:
        """The organization at the cloud that it belongs to."""
        return self.connected.cloud_organization_id or (self.installed.organization_id if self.installed else None)

    @property
    def known_since(self) -> datetime | None:
        """From when the license on the server is at the latest known to be."""
        synced = license.parse_date(self.connected.last_license_sync)
        moments = [moment for moment in (synced, self.installed.issued if self.installed else None) if moment]
        return max(moments) if moments else None

    def facts(self) -> dict[str, t.Any] | None:
        """What modules return of it."""
        if self.found is None:
            return None
        given = self.subscription or {}
        plan = given.get("plan")
        installed = self.installed.facts() if self.installed else {}
        features = {license_file.snake(name): given.get(license_file.camel(name)) for name in license_file.FEATURES}
        return {
            "enabled": self.found.enabled,
            "readable": self.subscription is not None,
            "problem": self.problem.message if self.problem else None,
            "name": self.found.name,
            "plan": plan.get("name") if isinstance(plan, dict) else None,
            "plan_type": given.get("planType"),
            "seats": given.get("seats"),
            "expires": shown_date(license.parse_date(given.get("expiration"))),
            "expires_without_grace_period": shown_date(license.parse_date(given.get("expirationWithoutGracePeriod"))),
            "cloud_organization_id": self.cloud_organization_id,
            "last_license_sync": self.connected.last_license_sync,
            **{name: installed.get(name) for name in ("issued", "installation_id", "version", "token")},
            "features": {name: value for name, value in features.items() if isinstance(value, bool)},
        }


class Task:
    """One run of the module for one organization."""

    def __init__(
        self, params: t.Mapping[str, t.Any], server: Server, *, check_mode: bool, warn: t.Callable[[str], None]
    ) -> None:
        self._params = params
        self._server = server
        self._check_mode = check_mode
        self._warn = warn
        self._policy = license.Policy.of_days(params["max_age"], params["renew_before"])
        self._installed = _installed(params["installed"])
        self._installation_id = _installation(params["installation_id"]) or (
            self._installed.installation_id if self._installed else ""
        )

    def read(self) -> dict[str, t.Any]:
        """What is known of both sides; changes nothing."""
        side = self._look()
        cloud = self._params["cloud"] or {}
        asked = bool(self._installation_id and cloud.get("client_id"))
        found = self._file() if self._params["src"] else self._download(side) if asked else None
        if found is None:
            return self._result(side, self._due(side), None, [])
        against = license_checks.problems(found, self._place(side, found))
        return self._result(side, self._decide(side, found), found, [one.cause for one in against])

    def current(self) -> dict[str, t.Any]:
        """Upload the license where the server's is not current."""
        side = self._look()
        if self._params["src"]:
            found = self._file()
        elif self._due(side) == license.FRESH:
            return self._result(side, license.FRESH, None, [])
        else:
            found = self._download(side)
        reason = self._decide(side, found)
        if reason == OLDER:
            self._warn(
                f"{self._params['src']} is older than the license that {self._server.name} has, and was not uploaded. "
                "Download it anew, or take the file away and let the module ask the cloud."
            )
        if reason in NOTHING_TO_DO:
            return self._result(side, reason, found, [])
        license_checks.refuse(found, self._where, license_checks.problems(found, self._place(side, found)))
        if self._check_mode:
            return self._result(side, reason, found, [])
        return self._result(self._apply(side, found), reason, found, [], before=side)

    # Reading.

    @property
    def _where(self) -> str:
        return str(self._params["src"]) if self._params["src"] else "from the cloud"

    def _look(self) -> Side:
        found = self._organization()
        if found is None:
            return Side(installed=self._installed)
        connected = self._server.billing_sync(found.id)
        subscription, problem = license_api.subscription(self._server, found.id)
        return Side(found, connected, subscription, problem, self._installed)

    def _organization(self) -> Organization | None:
        wanted = self._params["organization"].strip()
        try:
            return self._server.owned_organization(wanted)
        except organization.NoSuchOrganization as error:
            if not self._params["create"]:
                raise BitwardenError(
                    error.message, next_step=f"{error.next_step} A new organization is made with create=true."
                ) from error
        if organization.is_guid(wanted):
            raise BitwardenError(
                f"The account sees no organization {wanted} at {self._server.name}, and none can be made with a given "
                "id.",
                next_step="Give the name that the organization has in its license.",
            )
        return None

    def _file(self) -> License:
        path = str(self._params["src"])
        try:
            with open(path, "rb") as stream:
                content = stream.read(_LARGEST_FILE)
        except OSError as error:
            raise BitwardenError(
                f"The license file {path} cannot be read: {error.strerror}.",
                next_step="Give src as a path on the host that the task is delegated to.",
            ) from error
        return license_file.parse(content, path)

    def _download(self, side: Side) -> License:
        if not self._installation_id:
            raise BitwardenError(
                "installation_id is missing, and the cloud makes a license for one installation.",
                next_step="Give globalSettings__installation__id of the server's environment file "
                "(bwdata/env/global.override.env).",
            )
        wanted = self._params["cloud_organization"] or side.cloud_organization_id or self._params["organization"]
        with license_api.cloud_of(self._params) as cloud:
            license_api.require_installation(cloud, self._installation_id)
            found = license_api.cloud_organization(cloud, wanted)
            return license_api.download(cloud, found.id, self._installation_id)

    # Deciding.

    def _due(self, side: Side) -> str:
        """Why the cloud is to be asked, or that it need not be."""
        if side.found is None:
            return MISSING
        if not side.found.enabled:
            return license.DISABLED
        if side.subscription is None:
            return license.UNREADABLE
        now = self._server.now
        if self._ends_soon(license.parse_date(side.subscription["expiration"])) or self._token_ends_soon(side):
            return license.EXPIRATION
        known = side.known_since
        old = known is not None and now - known >= self._policy.max_age
        return license.AGE if old or not self._policy.max_age else license.FRESH

    def _ends_soon(self, moment: datetime | None) -> bool:
        return moment is not None and moment - self._server.now <= self._policy.renew_before

    def _token_ends_soon(self, side: Side) -> bool:
        return side.installed is not None and self._ends_soon(side.installed.moment("exp"))

    def _decide(self, side: Side, found: License) -> str:
        """Why this license is to be uploaded, or why not."""
        due = self._due(side)
        if side.subscription is None or due in (MISSING, license.DISABLED, license.UNREADABLE):
            return due
        differing = license_checks.differences(found, side.subscription)
        if differing and self._params["src"] and _is_older(side, found):
            return OLDER
        if differing:
            return due if due == license.EXPIRATION and "expires" in differing else DIFFERENT
        return self._decide_by_token(side, found, due)

    def _decide_by_token(self, side: Side, found: License, due: str) -> str:
        """What the server has says the same; it may still be a license that was issued long ago."""
        installed = side.installed
        if installed is None or found.issued is None or installed.issued is None or found.issued <= installed.issued:
            return SAME
        if self._token_ends_soon(side):
            return license.EXPIRATION
        by_age = due == license.AGE and bool(self._policy.max_age)
        return license.AGE if by_age or self._params["src"] else SAME

    # Checking.

    def _place(self, side: Side, found: License) -> license_checks.Place:
        version = self._server.require_self_hosted_version()
        now = self._server.now
        wait = license_checks.behind(found, now)
        if 0 < wait <= _SHORT_WAIT:
            if not self._check_mode and self._params["state"] == "current":
                time.sleep(wait + 1)
            now += timedelta(seconds=wait)
        if side.found is None and found.name != html.unescape(self._params["organization"].strip()):
            raise BitwardenError(
                f"The license ({self._where}) is of the organization {found.name!r}, not of "
                f"{self._params['organization']!r}: the organization would get that name. Nothing was changed.",
                next_step="Give the name that stands in the license, or the license of the right organization.",
            )
        return license_checks.Place(
            server=self._server.name,
            version=version,
            now=now,
            installation_id=self._installation_id or None,
            cloud_organization_id=side.cloud_organization_id,
            seats_taken=self._seats_taken(side, found),
            request_size=license_api.request_size(found),
        )

    def _seats_taken(self, side: Side, found: License) -> int | None:
        """Only asked where the license has fewer seats than the server's: it could not be too few otherwise."""
        has = (side.subscription or {}).get("seats")
        if side.found is None or found.seats is None or (isinstance(has, int) and found.seats >= has):
            return None
        return license_api.seats_taken(self._server, side.found.id)

    # Changing.

    def _apply(self, side: Side, found: License) -> Side:
        if side.found is None:
            keys = organization_keys.for_new_organization(license_api.account_public_key(self._server))
            made = license_api.create(self._server, found, keys)
            # The account's token is older than the organization, and does not open it.
            return Side(made, NOT_CONNECTED, None, None, found)
        license_api.upload(self._server, side.found.id, found)
        subscription, problem = license_api.subscription(self._server, side.found.id)
        if subscription is None:
            raise BitwardenError(
                f"{self._server.name} took the license, but cannot read it: {problem}.",
                next_step="Look at bwdata/core/licenses there: it must belong to the user of bwdata/env/uid.env.",
                details=problem.details if problem else None,
            )
        left = sorted(license_checks.differences(found, subscription))
        if license_checks.PROVEN.intersection(left):
            raise BitwardenError(
                f"{self._server.name} answered that it took the license, but still has another one "
                f"({', '.join(left)}).",
                next_step="Something on the way may have answered in its place, or another run uploads a license at "
                "the same time: look for a proxy, then try again.",
            )
        if left:
            self._warn(f"{self._server.name} took the license, but shows otherwise: {', '.join(left)}.")
        self._server.profile(fresh=True)
        after = self._server.owned_organization(side.found.id)
        return Side(after, side.connected, subscription, None, found)

    # Telling.

    def _result(
        self, side: Side, reason: str, found: License | None, against: list[str], before: Side | None = None
    ) -> dict[str, t.Any]:
        was = before or side
        changes = self._changes(was, reason, found)
        return {
            "changed": self._params["state"] == "current" and reason not in NOTHING_TO_DO,
            "organization": None if side.found is None else {"id": side.found.id, "name": side.found.name},
            "reason": reason,
            "source": None if found is None else FILE if self._params["src"] else CLOUD,
            "differences": sorted(changes),
            "problems": against,
            "server": side.facts(),
            "license": None if found is None else found.facts(),
            "diff": {
                "before": {name: has for name, (has, _gets) in changes.items()},
                "after": {name: gets for name, (_has, gets) in changes.items()},
            },
        }

    def _changes(self, was: Side, reason: str, found: License | None) -> dict[str, tuple[t.Any, t.Any]]:
        """What the license changes, by name: before and after."""
        if found is None or reason in NOTHING_TO_DO:
            return {}
        has, gets = was.facts() or {}, found.facts()
        if was.subscription is None:
            names: tuple[str, ...] = ("name", "plan", "seats", "expires")
            changes = {name: (has.get(name), gets[name]) for name in names if has.get(name) != gets[name]}
        else:
            changes = license_checks.differences(found, was.subscription)
        if was.found is not None and not was.found.enabled:
            changes["enabled"] = (False, True)
        if has.get("issued") and has["issued"] != gets["issued"]:
            changes["issued"] = (has["issued"], gets["issued"])
        return changes


def _is_older(side: Side, found: License) -> bool:
    """Whether the server has a newer license than the file: by when it came, else by when it ends."""
    known = side.known_since
    if known is not None and found.issued is not None:
        return found.issued < known
    ends = license.parse_date((side.subscription or {}).get("expiration"))
    return ends is not None and found.expires is not None and found.expires < ends


def _installation(given: str | None) -> str:
    text = (given or "").strip().lower()
    if text and not organization.is_guid(text):
        raise BitwardenError(
            f"The installation id {text!r} is no GUID.",
            next_step="Take it from globalSettings__installation__id in bwdata/env/global.override.env.",
        )
    return text


def _installed(given: str | None) -> License | None:
    """The server's own license file; one that is none is what the server finds unreadable too."""
    text = (given or "").strip()
    if not text:
        return None
    try:
        content = text.encode() if text.startswith("{") else base64.b64decode(text, validate=True)
        return license_file.parse(content, "installed")
    except (ValueError, license_file.LicenseFileError):
        return None
