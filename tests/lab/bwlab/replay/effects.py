# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an exchange did to tables, license files, mails and the log: the lab's effect beside the recorded one."""

from __future__ import annotations

import re
from typing import Any

from bwlab.persona import Persona
from bwlab.replay.compare import TIME, Comparison, plain
from bwlab.replay.world import NOT_KEPT, Rows

LOG_HEAD = re.compile(r"^(trce|dbug|info|warn|fail|crit): (.*)\[(\d+)\]$")
LEVELS = {"info": "Information", "warn": "Warning", "fail": "Error", "crit": "Fatal", "dbug": "Debug"}
UNHANDLED = "ExceptionHandlerFilterAttribute"
ADDRESS = re.compile(r"(IP(?: Address)?\s?: )\S+")


def rows_effect(before: Rows, after: Rows) -> dict[str, Any]:
    """In the recorded form."""
    found: dict[str, Any] = {}
    for table in sorted(set(before) | set(after)):
        old, new = before.get(table, {}), after.get(table, {})
        change: dict[str, Any] = {}
        if added := [row for key, row in new.items() if key not in old]:
            change["added"] = [{name: value for name, value in row.items() if value is not None} for row in added]
        if removed := [row for key, row in old.items() if key not in new]:
            change["removed"] = removed
        changed = []
        for key in old.keys() & new.keys():
            columns = {
                name: [old[key].get(name), value] for name, value in new[key].items() if value != old[key].get(name)
            }
            if columns:
                changed.append({"key": key, "columns": columns})
        if changed:
            change["changed"] = changed
        if change:
            found[table] = change
    return found


def compare_rows(comparison: Comparison, side: str, expected: dict[str, Any], actual: dict[str, Any]) -> None:
    expected = {table: change for table, change in expected.items() if table not in NOT_KEPT}
    if set(expected) != set(actual):
        comparison.differ(f"{side} tables", {t: list(c) for t, c in expected.items()}, actual)
        return
    for table, change in expected.items():
        where = f"{side}.{table}"
        other = actual[table]
        if set(change) != set(other):
            comparison.differ(f"{where} (kinds of change)", change, other)
            continue
        added = [{name: value for name, value in row.items() if value is not None} for row in change.get("added", [])]
        comparison.values(f"{where}.added", *(sorted(rows, key=_content) for rows in (added, other.get("added", []))))
        gone = [sorted(row["Id"] for row in rows.get("removed", [])) for rows in (change, other)]
        comparison.values(f"{where}.removed", *gone)
        _compare_changed(comparison, where, change.get("changed", []), other.get("changed", []))


def _content(row: dict[str, Any]) -> list[str]:
    """Rows stand in the recording in the order of their random ids; what they hold tells which is which."""
    return sorted(f"{name} {value}" for name, value in row.items() if name != "Id" and not TIME.match(str(value)))


def _compare_changed(comparison: Comparison, where: str, expected: list[Any], actual: list[Any]) -> None:
    one = {row["key"]: {name: after for name, (_b, after) in row["columns"].items()} for row in expected}
    other = {row["key"]: {name: after for name, (_b, after) in row["columns"].items()} for row in actual}
    for columns in (*one.values(), *other.values()):
        if isinstance(columns.get("Key"), str) and columns["Key"].startswith("P|"):
            del columns["Key"]
    comparison.values(f"{where}.changed", one, other)


def file_effect(before: dict[str, bytes], after: dict[str, bytes]) -> dict[str, str]:
    found = {name: "created" for name in after if name not in before}
    found |= {name: "removed" for name in before if name not in after}
    found |= {name: "rewritten, other bytes" for name in after if name in before and before[name] != after[name]}
    return found


def compare_files(comparison: Comparison, expected: dict[str, str], actual: dict[str, str]) -> None:
    """A file written anew with the same bytes shows no effect here: its time of change is not kept."""

    def named(files: dict[str, str]) -> dict[str, str]:
        return {comparison.without_fresh_guids(name): what for name, what in files.items()}

    expected = {name: what for name, what in expected.items() if what != "rewritten, same bytes"}
    comparison.values("license files", named(expected), named(actual))


def log_entries(lines: list[str]) -> list[tuple[str, str, list[str]]]:
    entries: list[tuple[str, str, list[str]]] = []
    for line in lines:
        if head := LOG_HEAD.match(line):
            entries.append((LEVELS[head.group(1)], head.group(2), []))
        elif entries:
            entries[-1][2].append(plain(line))
    return entries


def compare_log(comparison: Comparison, expected: dict[str, list[str]], personas: dict[str, Persona]) -> None:
    """Entries of the self-hosted Api; the texts of unforeseen exceptions are not kept."""
    wanted = [
        [level, category, text]
        for name, lines in expected.items()
        if name.startswith("self_hosted:")
        for level, category, text in log_entries(lines)
        if UNHANDLED not in category
    ]
    given = [
        [row["Level"], row["Category"], [plain(line) for line in row["Text"].split("\n")]]
        for row in personas["self_hosted"].store.rows("LabLog")
        if UNHANDLED not in row["Category"]
    ]
    comparison.values("log", wanted, given)


def compare_mails(comparison: Comparison, expected: list[dict[str, str]], personas: dict[str, Persona]) -> None:
    def readable(text: str) -> str:
        text = re.sub(r"token&#x3D;[\w-]+", "token", plain(ADDRESS.sub(r"\1…", text)))
        return re.sub(r"(Date\s?: ).*", r"\1…", text)

    wanted = sorted([mail["to"], mail["subject"], readable(mail["text"])] for mail in expected)
    rows = [row for persona in personas.values() for row in persona.store.rows("LabMail")]
    given = sorted([row["To"], row["Subject"], readable(row["Text"])] for row in rows)
    comparison.values("mails", wanted, given)
