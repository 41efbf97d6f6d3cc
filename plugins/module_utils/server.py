# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The calls of Bitwarden's API that this collection makes, one method each."""

from __future__ import annotations

import re
import typing as t
from dataclasses import replace
from http import HTTPStatus

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import identity, license, organization, remedies
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import CLOUD, SELF_HOSTED, connection
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError, fail
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import EMPTY, Response, Transport
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import BillingSync, Organization

if t.TYPE_CHECKING:
    from datetime import datetime

    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import Connection
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.regions import Region

OLDEST_SERVER = "2023.2.0"
NOT_FOUND = "Resource not found."
_BILLING_SYNC = 1
# The server itself waits 100 seconds for the cloud before it gives up, and nginx 90 for the server.
_SYNC_SECONDS = 120
_NO_INSTALLATION = "00000000-0000-0000-0000-000000000000"


class Server:
    """One Bitwarden server, cloud or self-hosted, called by one account that logs in when it has to."""

    def __init__(self, target: Connection, transport: Transport) -> None:
        self.connection = target
        self.name = target.where
        self._transport = transport
        self._login: identity.Login | None = None
        self._profile: dict[str, t.Any] | None = None

    @property
    def login(self) -> identity.Login:
        """The login of this task, made when it is first needed."""
        if self._login is None:
            try:
                self._login = identity.login(self._transport, self.connection)
            except BitwardenError as error:
                self._explain_failed_login(error)
                raise
        return self._login

    @property
    def now(self) -> datetime:
        """The server's clock as its answers tell it; it decides how old the server's own dates are."""
        return self._transport.server_time or license.utc_now()

    # What exists where, without a login.

    def config(self) -> Response:
        """What the server says about itself."""
        return self._transport.request("GET", f"{self.connection.api}/config")

    def installation(self, installation_id: str) -> dict[str, t.Any] | None:
        """An installation as this cloud knows it, or None."""
        response = self._transport.request("GET", f"{self.connection.api}/installations/{installation_id}")
        if response.status == HTTPStatus.NOT_FOUND:
            if response.said != NOT_FOUND:
                self._require_official(response)
            else:
                return None
        return self._object(remedies.INSTALLATION, f"Asking {self.name} for the installation", response)

    def require_cloud(self) -> None:
        """Prove without credentials that a Bitwarden cloud answers: only a cloud knows of installations."""
        self.installation(_NO_INSTALLATION)

    def elsewhere(self, region: Region) -> Server:
        """The same caller at another region."""
        target = replace(self.connection, name=region.name, api=region.api.rstrip("/"), identity=region.identity)
        return Server(target, self._transport)

    # The account and its organizations.

    def email(self) -> str:
        """The account's address."""
        return str(self._profile_object().get("email") or "")

    def organizations(self) -> list[Organization]:
        """What the account belongs to, each organization once, also where it was accepted but not yet confirmed."""
        profile = self._profile_object()
        rows = [*(profile.get("organizationsNew") or []), *(profile.get("organizations") or [])]
        return organization.unique(Organization.of_profile(row) for row in rows)

    def owned_organization(self, wanted: str) -> Organization:
        """The organization of that name or id, which the account must own."""
        found = organization.find(self.organizations(), wanted, self.name)
        return organization.require_owner(found, self.name)

    def _profile_object(self) -> dict[str, t.Any]:
        if self._profile is None:
            response = self._call("GET", "/accounts/profile")
            self._profile = self._object(remedies.PROFILE, f"Reading the account's profile at {self.name}", response)
        return self._profile

    # The billing sync key at the cloud.

    def key_dates(self, organization_id: str) -> list[str]:
        """When each billing sync key of the organization was made or rotated; no password needed, no key returned."""
        what = f"Asking {self.name} whether the organization has a billing sync token"
        response = self._call("GET", f"/organizations/{organization_id}/api-key-information/{_BILLING_SYNC}")
        body = self._object(remedies.KEY_INFORMATION, what, response)
        return [str(row.get("revisionDate")) for row in body.get("data") or []]

    def verify_password(self, password_hash: str) -> None:
        """Fail on a wrong master password; unlike the key's own endpoint this one changes nothing."""
        response = self._call("POST", "/accounts/verify-password", {"masterPasswordHash": password_hash})
        if not response.ok:
            raise remedies.error_for(
                remedies.VERIFY_PASSWORD, f"Verifying the master password at {self.name}", response
            )

    def billing_sync_key(self, organization_id: str, password_hash: str) -> dict[str, t.Any]:
        """The key and its date; the cloud makes one where there is none."""
        what = f"Fetching the organization's billing sync token from {self.name}"
        # Without a type the server would hand out the key of the public API instead.
        body = {"type": _BILLING_SYNC, "masterPasswordHash": password_hash}
        response = self._call("POST", f"/organizations/{organization_id}/api-key", body)
        return self._object(remedies.KEY, what, response)

    # The connection, the license and its sync at the self-hosted server.

    def cloud_communication(self) -> bool:
        """Whether the running server may call the cloud."""
        response = self._call("GET", "/organizations/connections/enabled")
        if not response.ok:
            raise self._self_hosted_error(
                remedies.CONNECTION_READ, f"Asking {self.name} for cloud communication", response
            )
        return response.json is True

    def billing_sync(self, organization_id: str) -> BillingSync:
        """The connection, which may be none."""
        what = f"Reading the billing sync connection at {self.name}"
        response = self._call("GET", f"/organizations/connections/{organization_id}/{_BILLING_SYNC}")
        if not response.ok:
            raise self._self_hosted_error(remedies.CONNECTION_READ, what, response)
        return BillingSync.of_response(self._object(remedies.CONNECTION_READ, what, response))

    def save_billing_sync(self, organization_id: str, current: BillingSync, key: str, *, enabled: bool) -> None:
        """Create or replace the connection; the date of the last license sync survives only when it is sent along."""
        config = {"billingSyncKey": key}
        if current.last_license_sync is not None:
            config["lastLicenseSync"] = current.last_license_sync
        body = {"type": _BILLING_SYNC, "organizationId": organization_id, "enabled": enabled, "config": config}
        self._transport.hide(key)
        path = "/organizations/connections" + (f"/{current.id}" if current.exists else "")
        response = self._call("PUT" if current.exists else "POST", path, body)
        if not response.ok:
            what = f"Saving the billing sync connection at {self.name}"
            raise self._self_hosted_error(remedies.CONNECTION_SAVE, what, response)

    def connect(self, organization_id: str, current: BillingSync, key: str, *, enabled: bool) -> BillingSync:
        """Save the connection and prove it by reading it back."""
        try:
            self.save_billing_sync(organization_id, current, key, enabled=enabled)
        except BitwardenError as error:
            if current.exists or "already has a connection" not in error.details.get("server_said", ""):
                raise
            # Another run made it between the look and the call: replace what that one left.
            self.save_billing_sync(organization_id, self.billing_sync(organization_id), key, enabled=enabled)
        saved = self.billing_sync(organization_id)
        if (saved.key, saved.enabled) != (key, enabled):
            raise BitwardenError(
                f"{self.name} accepted the billing sync connection, but afterwards holds another one.",
                next_step="See whether another run connects the organization at the same time, then try again.",
            )
        return saved

    def delete_billing_sync(self, current: BillingSync) -> None:
        """Remove a connection; nothing else changes, here or at the cloud."""
        response = self._call("DELETE", f"/organizations/connections/{current.id}")
        if not response.ok:
            what = f"Removing the billing sync connection at {self.name}"
            raise self._self_hosted_error(remedies.CONNECTION_DELETE, what, response)

    def expiration(self, organization_id: str) -> str | None:
        """The day on which the license on the server ends; None where the server cannot read a license."""
        what = f"Reading the license's expiration at {self.name}"
        response = self._call("GET", f"/organizations/{organization_id}/subscription")
        body = self._object(remedies.SUBSCRIPTION, what, response)
        value = body.get("expiration")
        return str(value) if value else None

    def license_due(
        self, found: Organization, connected: BillingSync, policy: license.Policy
    ) -> tuple[license.Due, str | None]:
        """Whether the license should be synced now; it is only read where the date of the last sync decides nothing."""
        due = license.due_without_license(
            policy, enabled=found.enabled, last_sync=connected.last_license_sync, now=self.now
        )
        if due is not None:
            return due, None
        try:
            expiration = self.expiration(found.id)
        except BitwardenError as error:
            # A sync writes a license file anew that is missing or cannot be verified.
            if error.details.get("status") not in {HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR}:
                raise
            expiration = None
        return license.due_by_license(policy, expiration=expiration, now=self.now), expiration

    def sync_license(self, organization_id: str) -> None:
        """Let the server fetch the license; it answers when it has it, or has failed."""
        path = f"/organizations/licenses/self-hosted/{organization_id}/sync"
        response = self._call("POST", path, timeout=_SYNC_SECONDS)
        if not response.ok:
            raise self._self_hosted_error(remedies.LICENSE_SYNC, f"Syncing the license at {self.name}", response)

    # How to call, and what to make of an answer.

    def _call(self, method: str, path: str, body: t.Any = None, timeout: int = 0) -> Response:
        url = self.connection.api + path
        return self._transport.request(method, url, bearer=self.login.token, body=body, timeout=timeout)

    def _object(self, operation: str, what: str, response: Response) -> dict[str, t.Any]:
        if not response.ok:
            raise remedies.error_for(operation, what, response)
        body = response.json
        if not isinstance(body, dict):
            raise BitwardenError(
                f"{what} failed: {response.method} {response.url} answered {response.status} "
                f"with something that is no JSON object: {response.said}.",
                next_step="Something else than Bitwarden answers there: correct the URL, or look at the proxy.",
                details={"status": response.status, "endpoint": f"{response.method} {response.url}"},
            )
        return body

    def _self_hosted_error(self, operation: str, what: str, response: Response) -> BitwardenError:
        """The error for an answer; a route that does not exist is first asked what kind of server this is."""
        if response.status == HTTPStatus.NOT_FOUND and response.said == EMPTY:
            self._require_official(response)
            self._require_new_enough()
        return remedies.error_for(operation, what, response)

    def _require_official(self, response: Response) -> None:
        """Refuse servers of other makers, which say so in their configuration."""
        config = self.config()
        body = config.json if config.ok else None
        if not isinstance(body, dict) or "version" not in body:
            raise remedies.error_for(remedies.INSTALLATION, f"Looking for Bitwarden at {self.name}", response)
        other = body.get("server")
        if other is not None:
            name = other.get("name") if isinstance(other, dict) else other
            raise BitwardenError(
                f"{self.connection.api} is {name}, not a server of Bitwarden's own.",
                next_step="This collection works with Bitwarden's own servers only; correct the URL.",
                details={"endpoint": f"GET {self.connection.api}/config"},
            )

    def _require_new_enough(self) -> None:
        body = self.config().json
        version = str(body.get("version", "")) if isinstance(body, dict) else ""
        if _numbers(version) < _numbers(OLDEST_SERVER):
            raise BitwardenError(
                f"{self.name} runs Bitwarden {version or 'of an unknown version'}, which cannot do this: "
                f"{OLDEST_SERVER} or newer is needed.",
                next_step="Back up bwdata, update the server (./bitwarden.sh updateself, then update), and try again.",
                details={"version": version, "needed": OLDEST_SERVER},
            )

    def _explain_failed_login(self, error: BitwardenError) -> None:
        """Credentials of one kind of server are unknown at the other: say so where that is the reason."""
        if error.details.get("status") is None:
            return
        probe = self._transport.request("GET", f"{self.connection.api}/installations/{_NO_INSTALLATION}")
        if self.connection.kind == SELF_HOSTED and (probe.status, probe.said) == (HTTPStatus.NOT_FOUND, NOT_FOUND):
            raise BitwardenError(
                f"{self.name} is a Bitwarden cloud, but this module works on a self-hosted server.",
                next_step="Give the address of your own server in url, and the API key of the owner there.",
                details=error.details,
            ) from error
        if self.connection.kind == CLOUD and not probe.ok:
            self.require_cloud()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def execute(module: AnsibleModule, kind: str, run: t.Callable[[AnsibleModule, Server], dict[str, t.Any]]) -> t.NoReturn:
    """Run a module's work against the server of its options; the one way out for results and errors."""
    try:
        target = connection(kind, module.params)
        with Transport(target) as transport:
            result = run(module, Server(target, transport))
    except BitwardenError as error:
        fail(module, error)
    module.exit_json(**result)
    raise AssertionError("exit_json does not return")
