# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""DIR/lab.sqlite: what the daemon, the command and the managed hosts' stand-ins share.

There is no other channel between them: whoever needs to know opens this file.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS container (
    host TEXT, name TEXT, service TEXT, project TEXT, image TEXT, env TEXT, state TEXT,
    started REAL, ready REAL, id TEXT, restart_count INTEGER, extra TEXT, PRIMARY KEY (host, name));
CREATE TABLE IF NOT EXISTS image (host TEXT, name TEXT, PRIMARY KEY (host, name));
CREATE TABLE IF NOT EXISTS event (n INTEGER PRIMARY KEY, host TEXT, what TEXT, t REAL);
CREATE TABLE IF NOT EXISTS fault (n INTEGER PRIMARY KEY, name TEXT, options TEXT, count_left INTEGER);
CREATE TABLE IF NOT EXISTS request (
    n INTEGER PRIMARY KEY, t REAL, persona TEXT, service TEXT, method TEXT, path TEXT, status INTEGER, actor TEXT);
CREATE TABLE IF NOT EXISTS clock (persona TEXT PRIMARY KEY, seconds REAL);
CREATE TABLE IF NOT EXISTS limits (n INTEGER PRIMARY KEY CHECK (n = 1), forgotten INTEGER);
CREATE TABLE IF NOT EXISTS release (n INTEGER PRIMARY KEY CHECK (n = 1), version TEXT);
"""
# The container whose environment the persona has: of a standard or manual deployment, and of Lite.
API_SERVICES = ("api", "bitwarden")
CONTAINER_COLUMNS = (
    "host", "name", "service", "project", "image", "env", "state",
    "started", "ready", "id", "restart_count", "extra",
)  # fmt: skip
FIRST_RELEASE = "2026.7.2"
LIMITS = ("server", "persona", "path", "command", "image")


@dataclass
class Fault:
    """One fault as it was set; `options` holds everything but the count."""

    name: str
    options: dict[str, str] = field(default_factory=dict)
    count_left: int | None = None

    def number(self, key: str, default: float) -> float:
        return float(self.options.get(key, default))


def _matches(options: dict[str, str], limits: dict[str, str | None]) -> bool:
    """A limit that the fault has must be the caller's too; of a path or an image a part is enough."""
    for key in LIMITS:
        wanted = options.get(key)
        if wanted is None:
            continue
        given = limits.get(key)
        if given is None:
            return False
        if key in ("path", "image"):
            if wanted.lower().strip("/") not in given.lower():
                return False
        elif key == "command":
            if given.split()[: len(wanted.split())] != wanted.split():
                return False
        elif wanted != given and given.partition(":")[2] != wanted:
            return False
    return True


class LabDb:
    """The lab-wide state; every method is one transaction, so that processes may share the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.executescript(SCHEMA)
        self._version = -1
        self._cached: dict[str, list[dict[str, Any]]] = {}

    def close(self) -> None:
        self._db.close()

    def _all(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        with closing(self._db.execute(sql, values)) as cursor:
            return [dict(row) for row in cursor.fetchall()]

    def _kept(self, key: str, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Rows as they were read last, unless this or another process has written since.

        The daemon asks several times a request; what it writes itself goes through _forget.
        """
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            self._cached.clear()
        if key not in self._cached:
            self._cached[key] = self._all(sql, *values)
        return self._cached[key]

    def _forget(self) -> None:
        self._cached.clear()

    def containers(self, host: str) -> list[dict[str, Any]]:
        found = []
        for kept in self._kept(f"container {host}", "SELECT * FROM container WHERE host = ? ORDER BY rowid", host):
            row = {**kept, "env": json.loads(kept["env"] or "{}"), **json.loads(kept["extra"] or "{}")}
            del row["extra"]
            found.append(row)
        return found

    def container(self, host: str, service: str) -> dict[str, Any] | None:
        return next((row for row in self.containers(host) if row["service"] == service), None)

    def api_container(self, host: str) -> dict[str, Any] | None:
        """The one that has the api in it; of two (Lite, while one takes the other's place) the one that runs."""
        rows = [row for row in self.containers(host) if row["service"] in API_SERVICES]
        return max(rows, key=lambda row: row["state"] == "running", default=None)

    def put_container(self, host: str, row: dict[str, Any]) -> None:
        """Keys beyond the known columns are kept too and come back from containers()."""
        known = {key: row[key] for key in CONTAINER_COLUMNS if key in row and key not in {"host", "env", "extra"}}
        extra = {key: value for key, value in row.items() if key not in CONTAINER_COLUMNS}
        known.update(host=host, env=json.dumps(row.get("env", {})), extra=json.dumps(extra))
        self._forget()
        names = ", ".join(known)
        marks = ", ".join("?" * len(known))
        self._db.execute(f"INSERT OR REPLACE INTO container ({names}) VALUES ({marks})", list(known.values()))  # noqa: S608 - fixed names

    def remove_container(self, host: str, name: str) -> None:
        self._forget()
        self._db.execute("DELETE FROM container WHERE host = ? AND name = ?", (host, name))

    def images(self, host: str) -> list[str]:
        return [row["name"] for row in self._all("SELECT name FROM image WHERE host = ? ORDER BY rowid", host)]

    def add_image(self, host: str, name: str) -> None:
        self._db.execute("INSERT OR IGNORE INTO image (host, name) VALUES (?, ?)", (host, name))

    def remove_image(self, host: str, name: str) -> None:
        self._db.execute("DELETE FROM image WHERE host = ? AND name = ?", (host, name))

    def event(self, host: str, what: str, t: float | None = None) -> None:
        moment = time.time() if t is None else t
        self._db.execute("INSERT INTO event (host, what, t) VALUES (?, ?, ?)", (host, what, moment))

    def events(self, host: str) -> list[dict[str, Any]]:
        return self._all("SELECT what, t FROM event WHERE host = ? ORDER BY n", host)

    def counters(self, host: str) -> dict[str, Any]:
        """Restarts are the ups that followed a down; down time runs from a down to the time of the up after it."""
        restarts, downtime, since = 0, 0.0, None
        for event in self.events(host):
            if event["what"] == "down" and since is None:
                since = event["t"]
            elif event["what"] == "up" and since is not None:
                restarts += 1
                downtime += max(0.0, event["t"] - since)
                since = None
        if since is not None:
            downtime += max(0.0, time.time() - since)
        return {"restarts": restarts, "downtime_s": round(downtime, 3)}

    def faults(self) -> list[Fault]:
        rows = self._kept("fault", "SELECT * FROM fault ORDER BY n")
        return [Fault(row["name"], json.loads(row["options"]), row["count_left"]) for row in rows]

    def set_fault(self, name: str, options: dict[str, str] | None = None) -> None:
        self._forget()
        options = dict(options or {})
        count = options.pop("count", None)
        self._db.execute(
            "INSERT INTO fault (name, options, count_left) VALUES (?, ?, ?)",
            (name, json.dumps(options), None if count is None else int(count)),
        )

    def clear_faults(self, name: str | None = None, server: str | None = None) -> None:
        """All faults, those of a name, those that are set for one server."""
        self._forget()
        self._db.execute(
            "DELETE FROM fault WHERE (?1 IS NULL OR name = ?1) "
            "AND (?2 IS NULL OR json_extract(options, '$.server') = ?2 "
            "OR json_extract(options, '$.persona') = 'server:' || ?2)",
            (name, server),
        )

    def take_fault(self, name: str, **limits: str | None) -> Fault | None:
        """The first fault of that name whose limits fit; counted down in the same step."""
        if not any(fault.name == name for fault in self.faults()):
            return None
        self._forget()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for row in self._all("SELECT * FROM fault WHERE name = ? ORDER BY n", name):
                options = json.loads(row["options"])
                if row["count_left"] == 0 or not _matches(options, limits):
                    continue
                if row["count_left"] is not None:
                    self._db.execute("UPDATE fault SET count_left = count_left - 1 WHERE n = ?", (row["n"],))
                return Fault(name, options, None if row["count_left"] is None else row["count_left"] - 1)
            return None
        finally:
            self._db.execute("COMMIT")

    def log_request(self, persona: str, service: str, method: str, *, path: str, status: int, actor: str) -> None:
        self._db.execute(
            "INSERT INTO request (t, persona, service, method, path, status, actor) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (time.time(), persona, service, method, path, status, actor),
        )

    def log(self, after: int = 0) -> list[dict[str, Any]]:
        return self._all("SELECT * FROM request WHERE n > ? ORDER BY n", after)

    def clock_offset(self, persona: str) -> float:
        rows = self._kept("clock", "SELECT persona, seconds FROM clock")
        return float(next((row["seconds"] for row in rows if row["persona"] == persona), 0.0))

    def set_clock(self, persona: str, seconds: float) -> None:
        self._forget()
        self._db.execute("INSERT OR REPLACE INTO clock (persona, seconds) VALUES (?, ?)", (persona, seconds))

    def limits_forgotten(self) -> int:
        """How often the clouds have been told to forget whom they counted."""
        rows = self._kept("limits", "SELECT forgotten FROM limits")
        return int(rows[0]["forgotten"]) if rows else 0

    def forget_limits(self) -> None:
        self._forget()
        self._db.execute("INSERT OR REPLACE INTO limits (n, forgotten) VALUES (1, ?)", (self.limits_forgotten() + 1,))

    def release(self) -> str:
        """The newest version that Bitwarden offers: scripts and images."""
        rows = self._kept("release", "SELECT version FROM release")
        return str(rows[0]["version"]) if rows else FIRST_RELEASE

    def set_release(self, version: str) -> None:
        self._forget()
        self._db.execute("INSERT OR REPLACE INTO release (n, version) VALUES (1, ?)", (version,))
