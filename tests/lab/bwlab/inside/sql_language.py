# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The statements that the lab's database server understands, found one by one in a batch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

NAME = r"(?:\[(?P<bracketed>[^\]]+)\]|(?P<plain>\w+))"
DISK = r"DISK\s*=\s*N?'(?P<disk>[^']+)'"
OPTIONS = r"(?P<options>\s+WITH\s+[^;]*?)?"
END = r"\s*(?=;|\Z|\n\s*(?:USE|SET|SELECT|BACKUP|RESTORE|ALTER|CREATE)\b)"
KINDS = {
    "use": rf"USE\s+{NAME}",
    "set": r"SET\s+(?P<option>NOCOUNT|ANSI_NULLS|QUOTED_IDENTIFIER)\s+(?P<value>ON|OFF)",
    "verify": rf"RESTORE\s+VERIFYONLY\s+FROM\s+{DISK}{OPTIONS}{END}",
    "restore": rf"RESTORE\s+DATABASE\s+{NAME}\s+FROM\s+{DISK}{OPTIONS}{END}",
    "back_up": rf"BACKUP\s+DATABASE\s+{NAME}\s+TO\s+{DISK}{OPTIONS}{END}",
    "alter": rf"ALTER\s+DATABASE\s+{NAME}\s+SET\s+(?P<state>OFFLINE|ONLINE|SINGLE_USER|MULTI_USER){OPTIONS}{END}",
    "create": rf"CREATE\s+DATABASE\s+{NAME}",
    "databases": r"SELECT\s+name\s+FROM\s+(?:master\.)?sys\.databases",
    "version": r"SELECT\s+@@VERSION",
    "number": r"SELECT\s+(?P<number>\d+)",
}
PATTERNS = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in KINDS.items()}
GAP = re.compile(r"(?:\s|;|--[^\n]*|/\*.*?\*/)+", re.DOTALL)
GO = re.compile(r"^[ \t]*GO[ \t]*;?[ \t]*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Statement:
    kind: str
    name: str = ""
    disk: str = ""
    options: str = ""
    value: str = ""

    def has(self, option: str) -> bool:
        return re.search(rf"\b{option}\b", self.options, re.IGNORECASE) is not None


class SyntaxFault(Exception):
    """Near which word."""


def batches(text: str) -> list[str]:
    return [part for part in GO.split(text) if part.strip()]


def statements(batch: str) -> Iterator[Statement]:
    position = 0
    while position < len(batch):
        if gap := GAP.match(batch, position):
            position = gap.end()
            continue
        for kind, pattern in PATTERNS.items():
            if found := pattern.match(batch, position):
                yield _statement(kind, found)
                position = found.end()
                break
        else:
            raise SyntaxFault(re.split(r"\s", batch[position:], maxsplit=1)[0])


def _statement(kind: str, found: re.Match[str]) -> Statement:
    parts = {key: value or "" for key, value in found.groupdict().items()}
    value = parts.get("state") or parts.get("value") or parts.get("number") or ""
    return Statement(
        kind, parts.get("bracketed") or parts.get("plain", ""), parts.get("disk", ""), parts.get("options", ""), value
    )
