# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The calls of Bitwarden's API that this collection makes, one method each."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from http import HTTPStatus

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    identity,
    license,
    organization,
    regions,
    remedies,
    server_versions,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import CLOUD, SELF_HOSTED, connection
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError, fail
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import Response, Transport
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import BillingSync, Organization

if t.TYPE_CHECKING:
    from datetime import datetime

    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import Connection
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.regions import Region

NOT_FOUND = "Resource not found."
_BILLING_SYNC = 1
# The server itself waits 100 seconds for the cloud before it gives up, and nginx 90 for the server.
_SYNC_SECONDS = 120
_UNKNOWN_ROUTE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
_NO_INSTALLATION = "00000000-0000-0000-0000-000000000000"


class Server:
    """One Bitwarden server, cloud or self-hosted, called by one account that logs in when it has to."""

    def __init__(self, target: Connection, transport: Transport) -> None:
        self.connection = target
        self.name = target.where
        self._transport = transport
        self._login: identity.Login | None = None
        self._profile: dict[str, t.Any] | None = None
        self._configuration: t.Any = None

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
                server_versions.require_bitwarden(self._config_object(), self.name, self.connection.api)
            else:
                return None
        return self.object_of(remedies.INSTALLATION, f"Asking {self.name} for the installation", response)

    def require_cloud(self) -> None:
        """Prove without credentials that a Bitwarden cloud answers: only a cloud knows of installations.

        Bitwarden's own addresses need no proof beyond their certificate, and are asked as little as can be.
        """
        if not regions.is_official(self.connection.api):
            self.installation(_NO_INSTALLATION)

    def elsewhere(self, region: Region) -> Server:
        """The same caller at another region."""
        target = replace(self.connection, name=region.name, api=region.api.rstrip("/"), identity=region.identity)
        return Server(target, self._transport)

    # The account and its organizations.

    def email(self) -> str:
        """The account's address."""
        return str(self.profile().get("email") or "")

    def organizations(self) -> list[Organization]:
        """What the account belongs to, each organization once, also where it was accepted but not yet confirmed."""
        profile = self.profile()
        # Whoever manages an organization for a provider counts as its owner, and comes last to be taken as that.
        lists = (profile.get(name) for name in ("organizationsNew", "organizations", "providerOrganizations"))
        rows = [row for part in lists if isinstance(part, list) for row in part if isinstance(row, dict)]
        return organization.unique(Organization.of_profile(row) for row in rows)

    def owned_organization(self, wanted: str) -> Organization:
        """The organization of that name or id, which the account must own."""
        found = organization.find(self.organizations(), wanted, self.name)
        return organization.require_owner(found, self.name)

    def profile(self, *, fresh: bool = False) -> dict[str, t.Any]:
        """The account's profile as the server gives it; C(fresh) asks anew."""
        if self._profile is None or fresh:
            response = self.call("GET", "/accounts/profile")
            self._profile = self.object_of(remedies.PROFILE, f"Reading the account's profile at {self.name}", response)
        return self._profile

    # The billing sync key at the cloud.

    def key_dates(self, organization_id: str) -> list[str]:
        """When each billing sync key of the organization was made or rotated; no password needed, no key returned."""
        what = f"Asking {self.name} whether the organization has a billing sync token"
        response = self.call("GET", f"/organizations/{organization_id}/api-key-information/{_BILLING_SYNC}")
        body = self.object_of(remedies.KEY_INFORMATION, what, response)
        rows = body.get("data")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            # Taken for none it would let a first token be made beside another one.
            raise BitwardenError(
                f"{what} failed: {response.method} {response.url} answered without a list.",
                next_step="Something else than Bitwarden answers there: correct the URL, or look at the proxy.",
                details={"endpoint": f"{response.method} {response.url}"},
            )
        return [str(row.get("revisionDate")) for row in rows]

    def verify_password(self, proof: identity.Proof) -> None:
        """Fail on a wrong master password; unlike the key's own endpoint this one changes nothing."""
        response = self.call("POST", "/accounts/verify-password", proof.body)
        if not response.ok:
            raise remedies.error_for(
                remedies.VERIFY_PASSWORD, f"Verifying the master password at {self.name}", response
            )

    def billing_sync_key(self, organization_id: str, proof: identity.Proof) -> dict[str, t.Any]:
        """The key and its date; the cloud makes one where there is none."""
        what = f"Fetching the organization's billing sync token from {self.name}"
        return self._key(remedies.KEY, what, f"/organizations/{organization_id}/api-key", proof)

    def rotate_billing_sync_key(self, organization_id: str, proof: identity.Proof) -> dict[str, t.Any]:
        """A new key and its date; the old one counts no more from this moment on."""
        what = f"Rotating the organization's billing sync token at {self.name}"
        return self._key(remedies.KEY_ROTATE, what, f"/organizations/{organization_id}/rotate-api-key", proof)

    def _key(self, operation: str, what: str, path: str, proof: identity.Proof) -> dict[str, t.Any]:
        # Without a type the server would hand out, or rotate, the key of the public API instead.
        body = self.object_of(operation, what, self.call("POST", path, {"type": _BILLING_SYNC, **proof.body}))
        if not isinstance(body.get("apiKey"), str) or not body["apiKey"]:
            raise BitwardenError(
                f"{what} failed: {self.connection.api}{path} answered without a token.",
                next_step="Something else than Bitwarden answers there: correct the URL, or look at the proxy.",
                details={"endpoint": f"POST {self.connection.api}{path}"},
            )
        self._transport.hide(body["apiKey"])
        return body

    def mail_code(self) -> None:
        """Have the server mail the account a code, which stands in for the master password once."""
        response = self.call("POST", "/accounts/request-otp")
        if not response.ok:
            raise remedies.error_for(remedies.REQUEST_OTP, f"Having {self.name} mail a one-time code", response)

    # The connection, the license and its sync at the self-hosted server.

    def cloud_communication(self) -> bool:
        """Whether the running server may call the cloud."""
        response = self.call("GET", "/organizations/connections/enabled")
        if not response.ok:
            raise self.self_hosted_error(
                remedies.CONNECTION_READ, f"Asking {self.name} for cloud communication", response
            )
        return response.json is True

    def billing_sync(self, organization_id: str) -> BillingSync:
        """The connection, which may be none."""
        what = f"Reading the billing sync connection at {self.name}"
        response = self.call("GET", f"/organizations/connections/{organization_id}/{_BILLING_SYNC}")
        if not response.ok:
            raise self.self_hosted_error(remedies.CONNECTION_READ, what, response)
        return BillingSync.of_response(self.object_of(remedies.CONNECTION_READ, what, response))

    def save_billing_sync(self, organization_id: str, current: BillingSync, key: str, *, enabled: bool) -> None:
        """Create or replace the connection; the date of the last license sync survives only when it is sent along."""
        config = {"billingSyncKey": key}
        if current.last_license_sync is not None:
            config["lastLicenseSync"] = current.last_license_sync
        body = {"type": _BILLING_SYNC, "organizationId": organization_id, "enabled": enabled, "config": config}
        self._transport.hide(key)
        path = "/organizations/connections" + (f"/{current.id}" if current.exists else "")
        response = self.call("PUT" if current.exists else "POST", path, body)
        if not response.ok:
            what = f"Saving the billing sync connection at {self.name}"
            raise self.self_hosted_error(remedies.CONNECTION_SAVE, what, response)

    def delete_billing_sync(self, current: BillingSync) -> None:
        """Remove a connection; nothing else changes, here or at the cloud."""
        response = self.call("DELETE", f"/organizations/connections/{current.id}")
        if not response.ok:
            what = f"Removing the billing sync connection at {self.name}"
            raise self.self_hosted_error(remedies.CONNECTION_DELETE, what, response)

    def expiration(self, organization_id: str) -> str | None:
        """The day on which the license on the server ends; None where the server cannot read a license."""
        what = f"Reading the license's expiration at {self.name}"
        response = self.call("GET", f"/organizations/{organization_id}/subscription")
        body = self.object_of(remedies.SUBSCRIPTION, what, response)
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
        response = self.call("POST", path, timeout=_SYNC_SECONDS)
        if not response.ok:
            raise self.self_hosted_error(remedies.LICENSE_SYNC, f"Syncing the license at {self.name}", response)

    # How to call, and what to make of an answer.

    def call(self, method: str, path: str, body: t.Any = None, timeout: int = 0) -> Response:
        """Send one request to the API as the account that logged in."""
        url = self.connection.api + path
        return self._transport.request(method, url, bearer=self.login.token, body=body, timeout=timeout)

    def upload(self, path: str, content: bytes, content_type: str) -> Response:
        """Send bytes to the API as they are."""
        headers = {"Content-Type": content_type}
        url = self.connection.api + path
        return self._transport.request("POST", url, bearer=self.login.token, form=content, headers=headers)

    def hide(self, secret: str | None) -> None:
        """Never quote this value, whoever echoes it."""
        self._transport.hide(secret)

    def require_self_hosted_version(self) -> str:
        """The server's version, asked once; servers of other makers and those that are too old are refused."""
        self.require("server")
        return str((self._config_object() or {}).get("version") or "")

    def object_of(self, operation: str, what: str, response: Response) -> dict[str, t.Any]:
        """The JSON object of a good answer; everything else is an error."""
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

    def self_hosted_error(self, operation: str, what: str, response: Response) -> BitwardenError:
        """The error for an answer; a route that does not exist is first asked what kind of server this is."""
        if response.status in _UNKNOWN_ROUTE and response.said != NOT_FOUND:
            self.require("server")
        return remedies.error_for(operation, what, response)

    def _config_object(self) -> dict[str, t.Any] | None:
        if self._configuration is None:
            response = self.config()
            self._configuration = response.json if response.ok else None
        return self._configuration if isinstance(self._configuration, dict) else None

    def require(self, feature: str) -> None:
        """Refuse servers of other makers, and those that are too old for a feature of the table."""
        config = self._config_object()
        server_versions.require_bitwarden(config, self.name, self.connection.api)
        server_versions.require(feature, str((config or {}).get("version") or ""), self.name)

    def _explain_failed_login(self, error: BitwardenError) -> None:
        """Credentials of one kind of server are unknown at the other: say so where that is the reason."""
        if error.details.get("status") is None:
            return
        server_versions.refuse_other_makers(self._config_object(), self.connection.api)
        probe = self._transport.request("GET", f"{self.connection.api}/installations/{_NO_INSTALLATION}")
        if self.connection.kind == SELF_HOSTED and (probe.status, probe.said) == (HTTPStatus.NOT_FOUND, NOT_FOUND):
            raise BitwardenError(
                f"{self.name} is a Bitwarden cloud, but this module works on a self-hosted server.",
                next_step="Give the address of your own server in url, and the API key of the owner there.",
                details=error.details,
            ) from error
        if self.connection.kind == CLOUD and not probe.ok:
            self.installation(_NO_INSTALLATION)


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
