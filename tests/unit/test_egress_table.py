"""The table of docs/egress.md is whole, and what measures it can tell the cells apart."""

from __future__ import annotations

from pathlib import Path

import egress_table as table
import pytest

CLOSED = ("closed", "closed", "closed")
OPENED = ("open", "open", "closed")


def looks(seen: dict[str, tuple[str, ...]]) -> table.Look:
    return {(path, version): seen.get(path, CLOSED) for path, version in table.CELLS}


def test_every_cell_is_opened_or_refused_with_a_reason() -> None:
    rows = table.committed()
    assert tuple(rows) == table.BACKENDS
    for name, row in rows.items():
        for (path, _version), word in row.items():
            allowed = table.NO_ROUTE if path == "internal" else table.TOLD if name == "none" else table.OPENED
            assert word == allowed


def test_the_document_is_what_is_rendered(tmp_path: Path) -> None:
    copy = tmp_path / "egress.md"
    copy.write_text(table.FILE.read_text(encoding="utf-8"), encoding="utf-8")
    table.write(table.committed(), copy)
    assert copy.read_bytes() == table.FILE.read_bytes()


@pytest.mark.parametrize(
    ("backend", "after", "words"),
    [
        ("ufw", {"host": OPENED, "containers": OPENED, "setup": OPENED}, {"opened", "no route"}),
        ("none", {}, {"told", "no route"}),
        ("ufw", {}, {"closed", "no route"}),
        ("ufw", {"host": ("open", "open", "open")}, {"closed/closed/closed → open/open/open", "closed", "no route"}),
        ("none", {"internal": OPENED}, {"opened", "told"}),
    ],
)
def test_what_is_not_as_it_should_be_is_written_as_seen(
    backend: str, after: dict[str, tuple[str, ...]], words: set[str]
) -> None:
    assert set(table.row(backend, looks({}), looks(after)).values()) == words
