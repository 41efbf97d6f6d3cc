"""A managed host of the lab with a database and a front door that tells its version: for backups and updates."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from bwlab.host.managed import path_without_compose
from unit.module_runner import Result, run_module
from unit.stack_host import BEHIND_THE_DOOR, NAME, Host, listening


class KeptHost:
    """A fresh installation whose stack runs; `secrets` of it may be in no output."""

    def __init__(self, lab_dir: Path, url: str) -> None:
        (lab_dir / "state").mkdir()
        self.tables = lab_dir / "state" / f"server-{NAME}.sqlite"
        self.lab_dir = lab_dir
        self.host = Host(lab_dir, url)
        self.host.age()
        self.db = self.host.db
        self.directory = self.host.directory
        self.bwdata = self.host.bwdata
        self.script = self.host.script
        self.env_file = self.host.env_file
        self.secrets = self.host.secrets()
        self.execute("CREATE TABLE Organization (Id PRIMARY KEY, Name)")
        self.execute("INSERT INTO Organization VALUES ('1', 'before')")

    @property
    def archives(self) -> list[Path]:
        return sorted((self.directory / "bwdata-backups").glob("bitwarden-*.tar.gz"))

    @property
    def restarts(self) -> int:
        return self.host.restarts

    def execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self.tables)) as database:
            database.execute(statement)
            database.commit()

    def name(self) -> str | None:
        """What the database says."""
        with closing(sqlite3.connect(self.tables)) as database:
            row = database.execute("SELECT Name FROM Organization").fetchone()
            return row[0] if row else None

    def rename(self, name: str) -> None:
        self.execute(f"UPDATE Organization SET Name = '{name}'")  # noqa: S608 - the test's own word

    def fault(self, name: str, **options: Any) -> None:
        self.db.set_fault(name, {key: str(value) for key, value in options.items()})

    def images(self) -> set[str]:
        return {image.rpartition(":")[2] for image in self.db.images(NAME)}

    def version(self) -> str | None:
        """What the running api says of itself; None where the front door does not answer."""
        rows = {row["service"]: row for row in self.db.containers(NAME)}
        ready = [rows.get(name, {"state": "none", "ready": 0}) for name in BEHIND_THE_DOOR]
        if any(row["state"] != "running" or row["ready"] > time.time() for row in ready):
            return None
        return str(rows["api"]["image"].rpartition(":")[2])

    def down(self) -> None:
        """As after bitwarden.sh stop."""
        environment = {**os.environ, "PATH": f"{self.host.programs}:{path_without_compose()}"}
        subprocess.run(["docker", "compose", "down"], check=True, env=environment, cwd=self.bwdata / "docker")

    def run(self, module: str, *, check: bool = False, uid: int | None = None, **arguments: Any) -> Result:
        given: dict[str, Any] = {"directory": str(self.directory), "lock_timeout": 2}
        if module in {"update", "restore"}:
            given["timeout"] = 60
        if module == "update":
            given["min_free_space"] = 1
        if module == "host_info":
            del given["lock_timeout"]
        result = run_module(
            module, {**given, **arguments}, check=check, diff=True, env=self.host.environment(), uid=uid
        )
        for secret in self.secrets:
            assert secret not in result.output
        return result


@contextmanager
def kept_host(lab_dir: Path) -> Iterator[KeptHost]:
    """The host, behind a front door on a port of its own."""
    found: list[KeptHost] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            version = found[0].version() if found else None
            self.send_response(200 if version else 502)
            body = json.dumps({"version": version}).encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            return

    with listening(Handler) as url:
        host = KeptHost(lab_dir, url)
        found.append(host)
        try:
            yield host
        finally:
            host.db.close()
