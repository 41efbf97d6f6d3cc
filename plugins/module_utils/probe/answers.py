# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an answer is one that only Bitwarden's cloud gives. Nothing here connects to anything."""

from __future__ import annotations

import typing as t
from http import HTTPStatus
from urllib.parse import urlsplit

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.model import API, IDENTITY, PUSH, Stop
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.wire import Response

FIRST = {
    API: "/config",
    IDENTITY: "/.well-known/openid-configuration",
    PUSH: "/config",
    # Where a registry answers without a redirect.
    "registry": "/v2/",
}
_FORBIDDEN = (HTTPStatus.FORBIDDEN, HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS)
# What somebody says who does not want a GET with a body, or does not get one.
_NO_BODIES = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.LENGTH_REQUIRED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.NOT_IMPLEMENTED,
)


def judge(kind: str, answer: Response) -> None:
    """Raises the verdict of an answer that is not the cloud's own."""
    _general(answer)
    if answer.status == HTTPStatus.OK and _is_ours(kind, answer.json):
        return
    if answer.is_page:
        raise Stop("captive_portal", f"status {answer.status}, {_title(answer)}")
    raise Stop("not_bitwarden", f"status {answer.status}{_made_by(answer.json)}")


def judge_website(answer: Response) -> None:
    """The same for a website of which nothing is known but its name, which its certificate proves already."""
    # It may redirect and forbid; only no website sends people from https to http, which portals do.
    if answer.is_redirect and answer.headers.get("location", "").lower().startswith("http:"):
        raise Stop("captive_portal", _redirect(answer))
    if not answer.is_redirect and answer.status not in (*_FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
        _general(answer)


def _general(answer: Response) -> None:
    said = f"status {answer.status}"
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise Stop("rate_limited", said)
    if answer.status == HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED:
        raise Stop("captive_portal", said)
    if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        raise Stop("proxy_needs_login", said)
    if answer.is_redirect:
        raise Stop("captive_portal", _redirect(answer))
    if answer.status in _FORBIDDEN:
        raise Stop("filtered", said)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Stop("server_error", said)


def _redirect(answer: Response) -> str:
    try:
        host = urlsplit(answer.headers.get("location", "")).hostname
    except ValueError:
        host = None
    return f"status {answer.status}, to {host or 'elsewhere'}"


def _title(answer: Response) -> str:
    text = answer.body.decode("utf-8", "replace")
    _before, opened, rest = text.partition("<title>")
    title = " ".join(rest.partition("</title>")[0].split())[:60]
    return f"titled {title!r}" if opened and title else "a page"


def _made_by(found: t.Any) -> str:
    server = found.get("server") if isinstance(found, dict) else None
    name = server.get("name") if isinstance(server, dict) else None
    return f", made by {str(name)[:40]}" if name else ", without what Bitwarden would say"


def _is_ours(kind: str, found: t.Any) -> bool:
    if not isinstance(found, dict):
        return False
    if kind == IDENTITY:
        scopes = found.get("scopes_supported")
        return isinstance(scopes, list) and "api.licensing" in scopes
    return found.get("object") == "config" and isinstance(found.get("version"), str) and found.get("server") is None


def installation(answer: Response) -> bool | None:
    """Whether an installation is enabled, None where it is not known; raises the verdict of any other answer."""
    found = answer.json
    if answer.status == HTTPStatus.OK and isinstance(found, dict) and found.get("object") == "installation":
        return found.get("enabled") is True
    if answer.status == HTTPStatus.NOT_FOUND and isinstance(found, dict) and found.get("object") == "error":
        return None
    _general(answer)
    raise Stop("not_bitwarden", f"status {answer.status} for an installation")


def body_came(answer: Response, *, login: bool) -> bool | None:
    """Whether the body of a GET came along; None where the answer does not say.

    Without a login the cloud refuses before it looks at the body. With one it says that there is none (415), or that it
    does not know the organization.
    """
    if answer.status == HTTPStatus.NOT_FOUND and login:
        return True
    if answer.status in _NO_BODIES:
        return False
    return None
