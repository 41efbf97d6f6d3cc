# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merges settings into an env file that Bitwarden's setup, compose and .NET all read, each by its own rules."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import dotenv, proxies
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.dotenv import Document, EnvFileError, Statement
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.env_wish import (
    BOOLEAN_KEYS,
    COMPOSE,
    READ_BY_SETUP,
    SETUP_KEYS,
    Dialect,
    Wish,
    canonical_key,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.redact import (
    INSTALLATION_IDS,
    is_secret,
    redact_line,
    shown,
)

# The server's own words for "not set".
_DISABLED = frozenset({"", "replace", "secret"})


@dataclass(frozen=True)
class Change:
    """One key that is different afterwards."""

    key: str
    before: str | None
    after: str | None

    def shown(self) -> dict[str, str | None]:
        """As a result holds it, without secrets."""
        return {"key": self.key, "before": shown(self.key, self.before), "after": shown(self.key, self.after)}


@dataclass(frozen=True)
class Plan:
    """An env file as it would be, and what is different then."""

    data: bytes
    changed: bool
    changes: tuple[Change, ...]
    values: dict[str, str | None]
    diff: dict[str, str]
    warnings: tuple[str, ...]
    document: Document


def merge(data: bytes, wish: Wish, name: str, dialect: Dialect = COMPOSE, no_proxy_needs: t.Sequence[str] = ()) -> Plan:
    """The file with the wish fulfilled: one key is one line, and every other byte is as it was."""
    document = dialect.parse(dotenv.decode(data, name), name)
    replaced: dict[int, tuple[int, str]] = {}
    removed: set[int] = set()
    appended: list[str] = []
    changes: list[Change] = []
    warnings = [*document.warnings, *(_eaten_by_setup(document, wish, name) if dialect.of_setup else ())]
    left_alone = set()
    _check_strays(document, wish, name)

    for key, value in [*wish.keys.items(), *((key, None) for key in wish.absent)]:
        present = document.find(key)
        before = document.effective(key)
        if key.lower() in wish.unless_disabled and before is not None and before.lower() in _DISABLED:
            left_alone.add(key)
            continue
        if _settled(present, key, value, dialect):
            continue
        changes.append(Change(key, before, value))
        keep = present[0] if present and value is not None else None
        for statement in present:
            if statement is not keep:
                removed.update(range(statement.first, statement.last + 1))
        line = f"{key}={dialect.render(key, value)}" if value is not None else ""
        if keep is not None:
            replaced[keep.first] = (keep.last, line)
        elif value is not None:
            appended.append(line)

    text = _assemble(document, replaced, removed, appended)
    after = _verified(document, dialect.parse(text, name), wish, left_alone, name)
    if wish.keys or wish.absent:
        proxies.check(after, no_proxy_needs, name)
    touched = _touched(document, replaced, removed)
    return Plan(
        data=dotenv.encode(text),
        changed=bool(changes),
        changes=tuple(changes),
        values={key: after.effective(key) for key in (*wish.keys, *wish.absent) if _may_be_shown(after, key)},
        diff=_diff(document, touched, [line for _last, line in replaced.values()] + appended),
        warnings=tuple(warnings),
        document=after,
    )


def _check_strays(document: Document, wish: Wish, name: str) -> None:
    managed = {key.lower() for key in (*wish.keys, *wish.absent)}
    for number, word in document.strays.items():
        if word.lower() in managed:
            raise EnvFileError(
                f"{name}, line {document.statements[number].last + 1}: {word} stands once more after a closing "
                "quotation mark, and compose takes it for a name.",
                next_step="Remove that word by hand; nothing was changed.",
            )


def _eaten_by_setup(document: Document, wish: Wish, name: str) -> list[str]:
    managed = {key.lower() for key in (*wish.keys, *wish.absent)}
    return [
        f"{name}, line {s.first + 1}: at every update Bitwarden's setup takes the backslash before '\"' out of "
        f"{s.key}; write the value without it."
        for s in document.statements
        if s.key not in SETUP_KEYS and s.key.lower() not in managed and '\\"' in s.raw
    ]


def _may_be_shown(document: Document, key: str) -> bool:
    return not is_secret(key, document.effective(key))


def read_values(document: Document, keys: t.Sequence[str]) -> dict[str, str | None]:
    """The values of keys that a playbook works with; of the secrets only the installation id is one of these."""
    values: dict[str, str | None] = {}
    for given in keys:
        key = canonical_key(given)
        values[given] = document.effective(key)
        if key.lower() not in INSTALLATION_IDS and is_secret(key, values[given]):
            raise EnvFileError(
                f"{key} is a secret and is not read out.",
                next_step="Remove the key from 'read'; no task needs its value.",
            )
    return values


def same_value(key: str, one: str | None, other: str | None) -> bool:
    """Whether the server sees no difference: a boolean may be C(True) or C(true)."""
    if one is not None and other is not None and key.lower() in BOOLEAN_KEYS:
        return one.strip().lower() == other.strip().lower()
    return one == other


def _settled(present: t.Sequence[Statement], key: str, value: str | None, dialect: Dialect) -> bool:
    if value is None or len(present) != 1:
        return value is None and not present
    (statement,) = present
    if statement.key != key or not statement.plain or statement.interpolated or statement.last != statement.first:
        return False
    if not dialect.of_setup:
        return same_value(key, statement.value, value)
    known = key in SETUP_KEYS
    if key.lower() in READ_BY_SETUP and statement.raw.strip('"').replace('\\"', '"') != value:
        return False
    return same_value(key, statement.value, value) and (known or '\\"' not in statement.raw)


def _touched(document: Document, replaced: t.Mapping[int, tuple[int, str]], removed: t.Collection[int]) -> list[int]:
    numbers = set(removed)
    for first, (last, _line) in replaced.items():
        numbers.update(range(first, last + 1))
    return sorted(number for number in numbers if number < len(document.lines))


def _assemble(
    document: Document,
    replaced: t.Mapping[int, tuple[int, str]],
    removed: t.Collection[int],
    appended: t.Sequence[str],
) -> str:
    parts: list[str] = []
    number = 0
    while number < len(document.lines):
        if number in replaced:
            last, line = replaced[number]
            parts.append(line + dotenv.split_ending(document.lines[last])[1])
            number = last
        elif number not in removed:
            parts.append(document.lines[number])
        number += 1
    endings = [dotenv.split_ending(line)[1] for line in document.lines]
    style = next((ending for ending in reversed(endings) if ending), "\n")
    if appended and parts and not parts[-1].endswith("\n"):
        parts.append(style)
    parts.extend(line + style for line in appended)
    return document.bom + "".join(parts)


def _verified(before: Document, after: Document, wish: Wish, left_alone: t.Collection[str], name: str) -> Document:
    """Looks at the result before anybody else does; a difference here is a mistake of this collection."""
    managed = {key.lower() for key in (*wish.keys, *wish.absent)}

    def _others(document: Document) -> list[tuple[str, str]]:
        return [(s.key, s.value) for s in document.statements if s.key.lower() not in managed]

    fulfilled = all(
        key in left_alone or (same_value(key, after.effective(key), value) and len(after.find(key)) == 1)
        for key, value in wish.keys.items()
    )
    gone = all(key in left_alone or not after.find(key) for key in wish.absent)
    if not (fulfilled and gone and _others(before) == _others(after)):
        raise EnvFileError(
            f"{name}: the merged text does not read back as intended; nothing was changed.",
            next_step="Report this with the names of the keys and the form of their lines (not their values).",
        )
    return after


def _diff(document: Document, touched: t.Sequence[int], new: t.Sequence[str]) -> dict[str, str]:
    """Only the lines that differ: the others may hold secrets in forms that nobody thought of."""
    owner = {n: s for s in document.statements for n in range(s.first, s.last + 1)}
    before: list[str] = []
    for number in touched:
        statement = owner[number]
        if number > statement.first and is_secret(statement.key, statement.value):
            continue
        before.append(redact_line(_printable(dotenv.split_ending(document.lines[number])[0])))
    # A secret that changes would give two equal lines and no diff.
    after = [
        shown_line + " (new)" if shown_line != line else line for line, shown_line in ((n, redact_line(n)) for n in new)
    ]
    return {
        "before": "".join(line + "\n" for line in before),
        "after": "".join(line + "\n" for line in after),
    }


def _printable(line: str) -> str:
    return dotenv.encode(line).decode("utf-8", "replace")
