# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of the module C(license_sync): decide, sync, prove it, and find the cause where it fails."""

from __future__ import annotations

import html
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    license,
    license_api,
    license_checks,
    license_probes,
    organization,
    remedies,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.license_file import License
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import BillingSync, Organization

if t.TYPE_CHECKING:
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server

DIFFERENT = "different"


@dataclass(frozen=True)
class Decision:
    """Whether to sync, and what was read to find that out."""

    due: license.Due
    expiration: str | None = None
    # What the cloud gives, and what that would change; None where it was not compared.
    offered: License | None = None
    differences: list[str] | None = None


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

    def run(self) -> dict[str, t.Any]:
        """Sync the license if it is due."""
        self._require_options()
        found = self._server.owned_organization(self._params["organization"])
        before = self._server.billing_sync(found.id)
        decision = self._decide(found, before)
        last_sync, expiration, name = before.last_license_sync, decision.expiration, found.name
        if decision.due.due:
            self._require_connection(before)
            if not self._check_mode:
                last_sync = self._sync(found, before)
                expiration, name = self._proven(found, before, decision.offered)
        planned = decision.due.due and self._check_mode
        return {
            "changed": decision.due.due,
            "organization": {"id": found.id, "name": name},
            "due": decision.due.due,
            "reason": decision.due.reason,
            "previous_sync": before.last_license_sync,
            "last_sync": last_sync,
            "expiration": expiration,
            "differences": decision.differences,
            "diff": {
                "before": {"last_license_sync": before.last_license_sync},
                "after": {"last_license_sync": "now" if planned else last_sync},
            },
        }

    # Deciding.

    def _require_options(self) -> None:
        given = (self._params["installation_id"] or "").strip()
        if given and not organization.is_guid(given):
            raise BitwardenError(
                f"The installation id {given!r} is no GUID.",
                next_step="Take it from globalSettings__installation__id in bwdata/env/global.override.env.",
            )
        if self._params["compare"] and not given:
            raise BitwardenError(
                "compare is set, and installation_id is missing: the cloud makes a license for one installation.",
                next_step="Give globalSettings__installation__id of the server's environment file.",
            )

    def _decide(self, found: Organization, before: BillingSync) -> Decision:
        due, expiration = self._server.license_due(found, before, self._policy)
        if not self._params["compare"] or not before.exists:
            return Decision(due, expiration)
        offered = self._offered(str(before.cloud_organization_id))
        has, _problem = license_api.subscription(self._server, found.id)
        differing = sorted(license_checks.differences(offered, has)) if has is not None else None
        if differing and not due.due:
            due = license.Due(True, DIFFERENT)
        return Decision(due, str(has["expiration"]) if has else expiration, offered, differing)

    def _offered(self, cloud_organization_id: str) -> License:
        """What the cloud gives the organization of the connection at this moment."""
        installation = self._params["installation_id"].strip().lower()
        with license_api.cloud_of(self._params) as cloud:
            license_api.require_installation(cloud, installation)
            found = license_api.cloud_organization(cloud, cloud_organization_id)
            return license_api.download(cloud, found.id, installation)

    def _require_connection(self, connected: BillingSync) -> None:
        """Without a working connection there is nothing to sync with; a check run may come before it is made."""
        if connected.exists and connected.enabled and connected.key is not None:
            return
        state, key = "is missing", "no-connection"
        if connected.exists:
            state, key = "is disabled", "connection-disabled"
            if connected.enabled:
                state, key = "has no token", "connection-without-token"
        problem = f"The organization's billing sync connection at {self._server.name} {state}"
        if self._check_mode:
            self._warn(f"{problem} now; a run needs it before this task, as the module billing_sync makes it.")
            return
        raise BitwardenError(
            f"{problem}, so that the license cannot be synced.",
            next_step="Connect it first with selfhosted.bitwarden.billing_sync (state=present).",
            details=remedies.known(key),
        )

    # Syncing, and proving it.

    def _sync(self, found: Organization, before: BillingSync) -> str:
        """Sync and prove it by the date that the server keeps."""
        try:
            self._server.sync_license(found.id)
        except BitwardenError as error:
            if error.details.get("remedy") not in license_probes.VAGUE:
                raise
            answers = license_probes.Probes(self._params, self._server, before).answers()
            raise license_probes.explained(error, answers) from error
        after = self._server.billing_sync(found.id)
        if not license.moved(before.last_license_sync, after.last_license_sync):
            raise BitwardenError(
                f"{self._server.name} answered that the license was synced, but its last sync is still "
                f"{after.last_license_sync or 'never'}.",
                next_step="Something between here and the server may have answered in its place: compare the address "
                "with the server's own, and look for a proxy or cache.",
                details=remedies.known("sync-did-not-move"),
            )
        return str(after.last_license_sync)

    def _proven(self, found: Organization, before: BillingSync, offered: License | None) -> tuple[str | None, str]:
        """The new license's end and the organization's name; that the license is a good one and the cloud's own."""
        has, problem = license_api.subscription(self._server, found.id)
        if has is None:
            raise BitwardenError(
                f"The license was synced, but {self._server.name} cannot read it: {problem}.",
                next_step="Look at bwdata/core/licenses there: it must belong to the user of bwdata/env/uid.env.",
                details=problem.details if problem else None,
            )
        if self._params["compare"]:
            self._require_equal(offered or self._offered(str(before.cloud_organization_id)), has)
        self._require_same_name(found, before, _name(has, found))
        ends = license.parse_date(str(has["expiration"]))
        if ends is not None and ends <= self._server.now:
            raise BitwardenError(
                f"The license was synced, but it ended on {ends:%Y-%m-%d}: {self._server.name} disables the "
                "organization within 12 hours.",
                next_step="Settle the subscription of the cloud organization, then sync again.",
                details=remedies.known("expired-license-accepted"),
            )
        return str(has["expiration"]), _name(has, found)

    def _require_equal(self, offered: License, has: dict[str, t.Any]) -> None:
        differing = license_checks.differences(offered, has)
        if license_checks.PROVEN.intersection(differing):
            told = ", ".join(f"{name} {gets!r}, not {has!r}" for name, (has, gets) in sorted(differing.items()))
            raise BitwardenError(
                f"The license was synced, but what {self._server.name} has now is not what the cloud gives {told}.",
                next_step=_ANOTHER,
                details=remedies.known("license-of-another-organization-accepted"),
            )

    def _require_same_name(self, found: Organization, before: BillingSync, name: str) -> None:
        """A license of another organization is taken by the server, which shows in nothing but what it brings along."""
        if name == found.name or self._params["compare"]:
            return
        place = self._params["cloud"] or {}
        if not (place.get("client_id") and any(place.get(key) for key in ("region", "url", "api_url"))):
            self._warn(
                f"The sync has renamed the organization {found.name} to {name}. If it was not renamed at the cloud, "
                "the license of another organization arrived; with an API key for the cloud (the option cloud) the "
                "module finds out."
            )
            return
        with license_api.cloud_of(self._params) as cloud:
            wanted = str(before.cloud_organization_id).lower()
            at_cloud = next((one.name for one in cloud.organizations() if one.id == wanted), None)
        if at_cloud != name:
            raise BitwardenError(
                f"The license was synced, but it is that of another organization: {found.name} at "
                f"{self._server.name} is called {name} now, and at the cloud {at_cloud or 'it is not to be seen'}.",
                next_step=_ANOTHER,
                details=remedies.known("license-of-another-organization-accepted"),
            )


def _name(has: t.Mapping[str, t.Any], found: Organization) -> str:
    return html.unescape(str(has.get("name") or found.name))


_ANOTHER = (
    "Something in place of the cloud gave the license of another organization. Upload the right one with the module "
    "license, then find out what answers for globalSettings__installation__apiUri."
)
