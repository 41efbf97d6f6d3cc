# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an answer of Bitwarden or a line of its log means, and what to do: the functions that read the catalog."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog import (
    connection,
    general,
    license,
    log_cloud,
    log_events,
    log_server,
    sponsorship,
    token,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog.model import (
    ANYWHERE,
    CONNECTION_DELETE,
    CONNECTION_READ,
    CONNECTION_SAVE,
    CONNECTIONS,
    INSTALLATION,
    KEY,
    KEY_INFORMATION,
    KEY_ROTATE,
    KEYS,
    LICENSE_CREATE,
    LICENSE_DOWNLOAD,
    LICENSE_SYNC,
    LICENSE_UPLOAD,
    LOG,
    LOG_API,
    LOG_CHECK,
    LOG_JOB,
    LOG_START,
    LOG_SYNC,
    OFFER,
    ORGANIZATION,
    PROFILE,
    REQUEST_OTP,
    RESEND,
    REVOKE,
    SPONSORSHIPS,
    SUBSCRIPTION,
    SYNC_STATUS,
    TOKEN,
    VERIFY_PASSWORD,
    Entry,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

if t.TYPE_CHECKING:
    from datetime import datetime

    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import Response

__all__ = [
    "ANYWHERE",
    "CATALOG",
    "CONNECTIONS",
    "CONNECTION_DELETE",
    "CONNECTION_READ",
    "CONNECTION_SAVE",
    "GATEWAY_TROUBLE",
    "INSTALLATION",
    "KEY",
    "KEYS",
    "KEY_INFORMATION",
    "KEY_ROTATE",
    "LICENSE_CREATE",
    "LICENSE_DOWNLOAD",
    "LICENSE_SYNC",
    "LICENSE_UPLOAD",
    "LOG",
    "LOG_API",
    "LOG_CHECK",
    "LOG_JOB",
    "LOG_RULES",
    "LOG_START",
    "LOG_SYNC",
    "OFFER",
    "ORGANIZATION",
    "PROFILE",
    "REQUEST_OTP",
    "RESEND",
    "REVOKE",
    "RULES",
    "SPONSORSHIPS",
    "SUBSCRIPTION",
    "SYNC_STATUS",
    "TOKEN",
    "VERIFY_PASSWORD",
    "Entry",
    "Found",
    "entry",
    "error_for",
    "explain",
    "known",
    "of_log",
]

# What a web server answers while Bitwarden behind it does not run.
GATEWAY_TROUBLE = (502, 503, 504)

# In both, the first that fits counts.
RULES: tuple[Entry, ...] = (
    *token.ENTRIES,
    *connection.KEY,
    *connection.CONNECTION,
    *license.LICENSE,
    *license.SYNC,
    *sponsorship.ENTRIES,
    *general.GATEWAY,
)
LOG_RULES: tuple[Entry, ...] = (
    *log_cloud.ENTRIES,
    *log_server.JOB,
    *log_server.CHECK,
    *log_server.API,
    *log_server.START,
)
CATALOG: tuple[Entry, ...] = (*RULES, *LOG_RULES, *general.SYMPTOMS)

_BY_KEY = {one.key: one for one in CATALOG}


@dataclass(frozen=True)
class Found:
    """One event of a server's log that the catalog knows: its words, what they mean, and when, if the log tells."""

    entry: Entry
    event: str
    at: datetime | None = None

    @property
    def said(self) -> str:
        """The words for an error: on one line, and not at length."""
        return log_events.quoted(self.event)


def entry(key: str) -> Entry:
    """The row of that key, which a caller knows without any words of a server."""
    return _BY_KEY[key]


def known(key: str) -> dict[str, t.Any]:
    """The row of that key as the details of an error."""
    found = entry(key)
    return {"cause": found.cause, "remedy": found.key, "link": found.link or None}


def explain(operation: str, response: Response) -> Entry | None:
    """The first row of the catalog that fits the answer."""
    return next((one for one in RULES if one.matches(operation, response.status, response.said)), None)


def error_for(operation: str, what: str, response: Response) -> BitwardenError:
    """An answer as an error: what was tried, where, what the server said, what it means, what to do."""
    found = explain(operation, response)
    endpoint = f"{response.method} {response.url}"
    message = f"{what} failed: {endpoint} answered {response.status}: {response.said.rstrip('.')}."
    return BitwardenError(
        f"{message} This means that {found.cause}." if found else message,
        next_step=found.next_step if found else f"Look for this moment in {LOG}.",
        details={
            "status": response.status,
            "endpoint": endpoint,
            "cause": found.cause if found else None,
            "remedy": found.key if found else None,
            "link": (found.link or None) if found else None,
            "server_said": response.said,
            "server_down": response.status in GATEWAY_TROUBLE or None,
        },
    )


def of_log(lines: t.Iterable[str], operation: str | None = None, *, since: datetime | None = None) -> list[Found]:
    """What the catalog knows of a server's log, the newest first.

    C(operation) is one of the LOG constants, none for all; events from before C(since) are left out, where the log
    gives its events a date.
    """
    found = []
    for event in log_events.merged(log_events.split(lines), log_cloud.ENTRIES):
        if since is not None and event.at is not None and event.at < since:
            continue
        row = _of_event(event.text, operation)
        if row is not None:
            found.append(Found(row, event.text, event.at))
    return found[::-1]


def _of_event(text: str, operation: str | None) -> Entry | None:
    wanted = set(log_events.operations(text))
    if operation is not None:
        wanted &= {operation}
    return next((one for one in LOG_RULES if wanted.intersection(one.where) and one.fits(text)), None)
