# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The calls about licenses: download at the cloud, upload at a server, an organization made from one."""

from __future__ import annotations

import typing as t
import uuid
from contextlib import contextmanager
from http import HTTPStatus

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    arguments,
    license_file,
    organization,
    remedies,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import Transport
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.license_file import License
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server

if t.TYPE_CHECKING:
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import Organization

SELF_HOSTED_LICENSES = "/organizations/licenses/self-hosted"
_FILE_NAME = "bitwarden_organization_license.json"
_UNREADABLE = (HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR)


class InstallationRefused(BitwardenError):
    """A region of the cloud does not serve this installation."""


# At the cloud.


@contextmanager
def cloud_of(params: t.Mapping[str, t.Any]) -> t.Iterator[Server]:
    """The cloud that the option C(cloud) describes."""
    target = arguments.connection(arguments.CLOUD, params.get("cloud") or {})
    with Transport(target) as transport:
        yield Server(target, transport)


def require_installation(cloud: Server, installation_id: str) -> None:
    """Refuse an installation that this region does not serve; takes no login, and only a cloud can answer."""
    found = cloud.installation(installation_id)
    if found is None:
        raise InstallationRefused(
            f"The installation {installation_id} is not known at {cloud.name}.",
            next_step="Give the region that issued the installation id (the module installation_info tells which), "
            "or correct globalSettings__installation__id on the server.",
            details=remedies.known("installation-refused"),
        )
    if found.get("enabled") is not True:
        raise InstallationRefused(
            f"The installation {installation_id} is disabled at {cloud.name}.",
            next_step="Ask Bitwarden's support, or get a new installation id and key at https://bitwarden.com/host/.",
            details=remedies.known("installation-refused"),
        )


def cloud_organization(cloud: Server, wanted: str) -> Organization:
    """The cloud organization of that name or id, which the account must own and which must be enabled."""
    found = cloud.owned_organization(wanted)
    if not found.enabled:
        raise BitwardenError(
            f"The organization {found.name} is disabled at {cloud.name}, so that no server would take its license.",
            next_step="Settle its subscription at the cloud, then try again.",
            details=remedies.known("organization-disabled-at-cloud"),
        )
    return found


def download(cloud: Server, organization_id: str, installation_id: str) -> License:
    """The license that the cloud gives the organization for an installation, made at this moment."""
    what = f"Downloading the license from {cloud.name}"
    response = cloud.call("GET", f"/organizations/{organization_id}/license?installationId={installation_id}")
    cloud.object_of(remedies.LICENSE_DOWNLOAD, what, response)
    found = license_file.parse(response.text.encode(), f"What {cloud.name} answered")
    if found.organization_id != organization_id.lower():
        raise BitwardenError(
            f"{what} failed: it is the license of another organization ({found.name}, {found.organization_id}).",
            next_step="Something in place of the cloud answers: look for a proxy or cache on the way.",
            details={"endpoint": f"{response.method} {response.url}"},
        )
    return found


# At the self-hosted server.


def subscription(server: Server, organization_id: str) -> tuple[dict[str, t.Any] | None, BitwardenError | None]:
    """What the server tells of its license, or why it cannot read one, in words that continue a sentence."""
    what = f"Reading the license at {server.name}"
    response = server.call("GET", f"/organizations/{organization_id}/subscription")
    if response.status in _UNREADABLE:
        error = remedies.error_for(remedies.SUBSCRIPTION, what, response)
        return None, BitwardenError(str(error.details.get("cause") or error.message), details=error.details)
    if not response.ok:
        raise server.self_hosted_error(remedies.SUBSCRIPTION, what, response)
    body = server.object_of(remedies.SUBSCRIPTION, what, response)
    if not body.get("expiration") and not _by_cloud(body):
        # A download that was copied over the file by hand is read as a license without content.
        problem = "the license file on the server is read as one without content"
        return None, BitwardenError(problem, details=remedies.known("license-on-server-changed"))
    return body, None


def _by_cloud(body: t.Mapping[str, t.Any]) -> bool:
    """Whether a cloud answers, which needs no file and knows its prices."""
    plan = body.get("plan")
    return isinstance(plan, dict) and isinstance(plan.get("passwordManager"), dict)


def seats_taken(server: Server, organization_id: str) -> int | None:
    """How many seats members and sponsorships of administrators take; None where the server does not tell."""
    members = server.call("GET", f"/organizations/{organization_id}/users")
    rows = members.json.get("data") if members.ok and isinstance(members.json, dict) else None
    if not isinstance(rows, list):
        return None
    taken = [row for row in rows if isinstance(row, dict) and isinstance(row.get("status"), int) and row["status"] >= 0]
    offered = server.call("GET", f"/organization/sponsorship/self-hosted/{organization_id}/sponsored")
    sponsored = offered.json.get("data") if offered.ok and isinstance(offered.json, dict) else None
    return len(taken) + (len(sponsored) if isinstance(sponsored, list) else 0)


def _multipart(parts: t.Mapping[str, str], content: bytes) -> tuple[bytes, str]:
    """A form with the file; its length must be known, since the server refuses an upload that comes in chunks."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="license"; filename="{_FILE_NAME}"\r\n'
    body = f"{head}Content-Type: application/json\r\n\r\n".encode() + content + b"\r\n"
    for name, value in parts.items():
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def request_size(found: License, parts: t.Mapping[str, str] | None = None) -> int:
    """How many bytes the upload will have."""
    return len(_multipart(parts or {}, found.content)[0])


def upload(server: Server, organization_id: str, found: License) -> None:
    """Give the server the license."""
    _hide(server, found)
    content, content_type = _multipart({}, found.content)
    response = server.upload(f"{SELF_HOSTED_LICENSES}/{organization_id}", content, content_type)
    if not response.ok:
        raise server.self_hosted_error(remedies.LICENSE_UPLOAD, f"Uploading the license to {server.name}", response)


def create(server: Server, found: License, keys: t.Mapping[str, str]) -> Organization:
    """Make an organization from the license, owned by the account, and prove it by the account's profile."""
    _hide(server, found)
    what = f"Making the organization {found.name} at {server.name}"
    response = server.upload(SELF_HOSTED_LICENSES, *_multipart(keys, found.content))
    if not response.ok:
        raise server.self_hosted_error(remedies.LICENSE_CREATE, what, response)
    made = str(server.object_of(remedies.LICENSE_CREATE, what, response).get("id") or "").lower()
    server.profile(fresh=True)
    return organization.require_owner(organization.find(server.organizations(), made, server.name), server.name)


def account_public_key(server: Server) -> str:
    """The public key of the account that logged in, to encrypt an organization's key for it."""
    what = f"Reading the account's public key at {server.name}"
    keys = server.object_of(remedies.PROFILE, what, server.call("GET", "/accounts/keys"))
    key = keys.get("publicKey")
    if not isinstance(key, str) or not key:
        raise BitwardenError(
            f"The account has no keys at {server.name}, so that it cannot own an organization.",
            next_step="Log in to the web vault with it once, which makes them, or use another account.",
        )
    return key


def _hide(server: Server, found: License) -> None:
    for name in ("licensekey", "token", "hash", "signature"):
        value = found.properties.get(name)
        server.hide(value if isinstance(value, str) else None)
