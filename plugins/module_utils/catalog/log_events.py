# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server's log as events: lines that belong together, what they are about, and when they were written."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog import model
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.license import parse_date

if t.TYPE_CHECKING:
    from datetime import datetime

# An event begins so in the console (its words follow in lines of their own), in a file, and where the process ends.
_CONSOLE = re.compile(r"(?:trce|dbug|info|warn|fail|crit): (?P<category>\S+)")
_FILE = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d(?:\.\d+)?) ?(?P<zone>Z|[+-]\d\d:\d\d)?"
    r".*?\[(?:\w{3}|Verbose|Debug|Information|Warning|Error|Fatal)\] ?(?P<words>.*?)(?: \([0-9a-f]{8}\))?"
)
_END = "Unhandled exception. "
# What the server writes after a failure, and which says nothing by itself.
_FOLLOWS = re.compile(
    r"(\S+\[\d+\]\n)?(Empty token response from |Unable to send \w+ request to |"
    r"Sponsorship sync for organization [^\n]* Failed[^\n]*\n[^\n]*Organization sync failed)"
)
_ABOUT = (
    (model.LOG_SYNC, re.compile(r"GetSelfHostedOrganizationLicenseQuery|licenses/organization/")),
    (model.LOG_JOB, re.compile(r"SelfHostedSyncSponsorshipsCommand|SelfHostedSponsorshipSyncJob|organization/sponsor")),
    (model.LOG_CHECK, re.compile(r"ValidateOrganizationsJob|is being disabled\. Reason: ")),
)
_QUOTED = 300


@dataclass(frozen=True)
class Event:
    """Its words, where the console's category stands first, and its moment, where the log has one."""

    text: str
    at: datetime | None = None


def split(lines: t.Iterable[str]) -> list[Event]:
    """The events of a log, of the console or of a file."""
    events: list[tuple[list[str], datetime | None]] = [([], None)]
    for line in lines:
        words, begins, at = _line(line.strip())
        if begins:
            events.append(([], at))
        if words:
            events[-1][0].append(words)
    return [Event("\n".join(words), at) for words, at in events if words]


def _line(line: str) -> tuple[str, bool, datetime | None]:
    console = _CONSOLE.match(line)
    if console is not None:
        return console["category"], True, None
    file = _FILE.fullmatch(line)
    if file is not None:
        return file["words"], True, parse_date(f"{file['day']}T{file['time']}{file['zone'] or ''}")
    return line, line.startswith(_END), None


def merged(events: t.Iterable[Event], leads: t.Iterable[model.Entry]) -> list[Event]:
    """What only follows from a failure joins it; it names the address, the organization and with them the operation."""
    found: list[Event] = []
    rows = tuple(leads)
    for event in events:
        before = found[-1] if found else None
        if before is not None and _FOLLOWS.match(event.text) and any(row.fits(before.text) for row in rows):
            found[-1] = Event(f"{before.text}\n{event.text}", before.at)
        else:
            found.append(event)
    return found


def operations(text: str) -> tuple[str, ...]:
    """What an event may be about: one operation where it says so, else all."""
    named = tuple(name for name, pattern in _ABOUT if pattern.search(text))
    return named or model.LOGS


def quoted(text: str) -> str:
    """The words of an event for an error: on one line, without the category, and not too long."""
    lines = [line for line in text.splitlines() if not re.fullmatch(r"[\w.]+\[\d+\]", line)]
    words = " ".join(lines).rstrip(".")
    return words if len(words) <= _QUOTED else words[:_QUOTED] + " …"
