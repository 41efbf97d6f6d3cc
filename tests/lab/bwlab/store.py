# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One persona's tables in one SQLite file, under the real server's table and column names.

Rows are dicts. GUIDs are upper-case in columns whose name ends in Id, as the real server stores them, so that
`store.one("Organization", Id="a42827dc-…")` finds a row whatever the letter case of the argument.
Tables and columns come into being with the first row that has them.
"""

from __future__ import annotations

import re
import sqlite3
import uuid
from pathlib import Path
from typing import Any

Row = dict[str, Any]
GUID = re.compile(r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")


def new_id() -> str:
    return str(uuid.uuid4()).upper()


def is_guid(text: str) -> bool:
    return bool(GUID.match(text))


def _stored(column: str, value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and column.endswith("Id") and is_guid(value):
        return value.upper()
    return value


class Store:
    """`Store(None)` lives in memory."""

    def __init__(self, path: Path | None) -> None:
        self._db = sqlite3.connect(
            ":memory:" if path is None else path, timeout=30, isolation_level=None, check_same_thread=False
        )
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._columns: dict[str, list[str]] = {}

    def close(self) -> None:
        self._db.close()

    def begin(self) -> None:
        self._db.execute("BEGIN")

    def commit(self) -> None:
        self._db.execute("COMMIT")

    def tables(self) -> list[str]:
        found = self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        return [row["name"] for row in found]

    def _known(self, table: str, wanted: Row) -> list[str]:
        """The table's columns; read anew when one is missing, as another process may have added it."""
        columns = self._columns.get(table)
        if columns is None or any(name not in columns for name in wanted):
            columns = [row["name"] for row in self._db.execute(f'PRAGMA table_info("{table}")').fetchall()]
            self._columns[table] = columns
        return columns

    def _ensure(self, table: str, row: Row) -> None:
        columns = self._known(table, row)
        if not columns:
            self._db.execute(f'CREATE TABLE IF NOT EXISTS "{table}" ("Id" PRIMARY KEY)')
            columns = self._known(table, {"Id": None, "": None})
        for name in row:
            if name not in columns:
                self._db.execute(f'ALTER TABLE "{table}" ADD COLUMN "{name}"')
        self._known(table, row)

    def rows(self, table: str, **where: Any) -> list[Row]:
        """In the order in which they were inserted."""
        columns = self._known(table, where)
        if not columns or any(name not in columns and value is not None for name, value in where.items()):
            return []
        where = {name: _stored(name, value) for name, value in where.items() if name in columns}
        tests = [f'"{name}" IS ?' for name in where]
        sql = f'SELECT * FROM "{table}"' + (" WHERE " + " AND ".join(tests) if tests else "") + " ORDER BY rowid"  # noqa: S608 - names from code
        return [dict(row) for row in self._db.execute(sql, list(where.values())).fetchall()]

    def one(self, table: str, **where: Any) -> Row | None:
        found = self.rows(table, **where)
        return found[0] if found else None

    def insert(self, table: str, row: Row) -> Row:
        """Adds the row (with an Id of its own if it has none) and gives it back as stored."""
        row = {name: _stored(name, value) for name, value in row.items()}
        row.setdefault("Id", new_id())
        self._ensure(table, row)
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        self._db.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(row.values()))  # noqa: S608 - names from code
        return row

    def update(self, table: str, key: str, **columns: Any) -> None:
        """`key` is the row's Id."""
        columns = {name: _stored(name, value) for name, value in columns.items()}
        if not columns:
            return
        self._ensure(table, columns)
        sets = ", ".join(f'"{name}" = ?' for name in columns)
        self._db.execute(f'UPDATE "{table}" SET {sets} WHERE "Id" = ?', [*columns.values(), _stored("Id", key)])  # noqa: S608 - names from code

    def delete(self, table: str, key: str) -> None:
        if self._known(table, {}):
            self._db.execute(f'DELETE FROM "{table}" WHERE "Id" = ?', (_stored("Id", key),))  # noqa: S608 - names from code

    def clear(self, table: str) -> None:
        if self._known(table, {}):
            self._db.execute(f'DELETE FROM "{table}"')  # noqa: S608 - names from code
