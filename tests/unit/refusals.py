"""The recorded refusals by what a module was about to do: one table of calls for all tests of the remedies."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import remedies
from unit import recordings

GUID = "[0-9a-fA-F-]{36}"
REFUSED = 400
_FROM_A_SERVER = re.compile(f"/licenses/organization/{GUID}|/organization/sponsorship/sync")

# The calls of the modules, as operation, method and path.
CALLS = [
    (remedies.TOKEN, "POST", "/connect/token"),
    (remedies.PROFILE, "GET", "/accounts/profile"),
    (remedies.INSTALLATION, "GET", "/installations/.*"),
    (remedies.KEY_INFORMATION, "GET", f"/organizations/{GUID}/api-key-information/1"),
    (remedies.KEY, "POST", f"/organizations/{GUID}/api-key"),
    (remedies.KEY_ROTATE, "POST", f"/organizations/{GUID}/rotate-api-key"),
    (remedies.VERIFY_PASSWORD, "POST", "/accounts/verify-password"),
    (remedies.CONNECTION_READ, "GET", f"/organizations/connections/({GUID}/1|enabled)"),
    (remedies.CONNECTION_SAVE, "POST", "/organizations/connections"),
    (remedies.CONNECTION_SAVE, "PUT", f"/organizations/connections/{GUID}"),
    (remedies.CONNECTION_DELETE, "DELETE", f"/organizations/connections/{GUID}"),
    (remedies.SUBSCRIPTION, "GET", f"/organizations/{GUID}/subscription"),
    (remedies.LICENSE_DOWNLOAD, "GET", f"/organizations/{GUID}/license"),
    (remedies.LICENSE_CREATE, "POST", "/organizations/licenses/self-hosted"),
    (remedies.LICENSE_UPLOAD, "POST", f"/organizations/licenses/self-hosted/{GUID}"),
    (remedies.LICENSE_SYNC, "POST", f"/organizations/licenses/self-hosted/{GUID}/sync"),
    (remedies.OFFER, "POST", f"/organization/sponsorship/self-hosted/{GUID}/families-for-enterprise"),
    (remedies.REVOKE, "DELETE", f"/organization/sponsorship/self-hosted/{GUID}(/[^/]+/revoke)?"),
    (remedies.SPONSORSHIPS, "GET", f"/organization/sponsorship/self-hosted/{GUID}/sponsored"),
    (remedies.SYNC_STATUS, "GET", f"/organization/sponsorship/{GUID}/sync-status"),
    (remedies.RESEND, "POST", f"/organization/sponsorship/self-hosted/{GUID}/families-for-enterprise/resend"),
]
GROUPS = ("a", "b", "c", "d", "e", "f1", "f2", "f3", "g1", "h", "i", "j", "k", "m")

# Mistakes that a module never makes: odd bodies and headers, a version of the key that is not asked for.
NEVER_SENT = re.compile(
    r"no-body|no-content-type|not-json|wrong-type|empty-body|access-code|hash-too-long|type-(3|name|omitted)|"
    r"-form|refresh|array|-null|empty-object|missing$|json-body|-get$|empty-form|null-hash|verify-password-(wrong-)?otp"
)


@dataclass(frozen=True)
class Refusal:
    """One recorded refusal, and what it refused."""

    group: str
    name: str
    operation: str

    @property
    def exchange(self) -> dict[str, Any]:
        return recordings.exchange(self.group, self.name)


def operation(one: dict[str, Any]) -> str | None:
    """What the request of an exchange was to do; none where no module does it."""
    request = one.get("request") or {"method": "", "path": ""}
    for name, method, path in CALLS:
        if request["method"] == method and re.fullmatch(path, request["path"].partition("?")[0]):
            return name
    return None


def refusals() -> Iterator[Refusal]:
    for letter in GROUPS:
        for one in recordings.group(letter):
            name = operation(one)
            if name is not None and one["response"]["status"] >= REFUSED and not NEVER_SENT.search(one["name"]):
                yield Refusal(letter, one["name"], name)


def named(group: str, pattern: str) -> list[dict[str, Any]]:
    """The exchanges of a group by a pattern with stars."""
    return [one for one in recordings.exchanges(group) if fnmatch.fnmatchcase(one["name"], pattern)]


def as_logged(one: dict[str, Any]) -> str | None:
    """What a self-hosted server logs when the cloud answers it so; none where the exchange is none of these two."""
    request, answer = one.get("request"), one.get("response")
    if not (
        request and answer and _FROM_A_SERVER.fullmatch(request["path"]) and "message" in (answer.get("body") or {})
    ):
        return None
    status = HTTPStatus(answer["status"])
    code = "".join(status.phrase.split())
    said = f"{code}-{status.phrase}: {answer['body']['message']}"
    return f"Request to x{request['path']} is unsuccessful with status of {said}"
