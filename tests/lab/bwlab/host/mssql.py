"""The database server of a managed host: the server's tables, its file in bwdata, its backups and its `sqlcmd`.

The tables lie where the lab's process reads them. As with the real server, what counts at a start is the file in
bwdata/mssql/data: another one there means other tables, none means an empty database.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from bwlab.host import options
from bwlab.host.engine import Engine, EngineError, Row

SERVICE = "mssql"
TOOL = "/opt/mssql-tools18/bin/sqlcmd"
BACKUPS = "/etc/bitwarden/mssql/backups/"
RESTORE = re.compile(r"RESTORE\s+DATABASE\s+\[?(\w+)\]?\s+FROM\s+DISK\s*=\s*N?'([^']+)'", re.IGNORECASE)
VALUES = ("-S", "-U", "-P", "-Q", "-q", "-i", "-h", "-d", "-l", "-t")
FLAGS = ("-C", "-b", "-W", "-N")
DAMAGED = (
    "Msg 3241, Level 16, State 0, Server {server}, Line 1\n"
    "The media family on device '{path}' is incorrectly formed. SQL Server cannot process this media family.\n"
    "Msg 3013, Level 16, State 1, Server {server}, Line 1\nRESTORE DATABASE is terminating abnormally."
)


def _tables(engine: Engine) -> Path:
    return engine.lab_dir / "state" / f"server-{engine.host}.sqlite"


def data_file(engine: Engine) -> Path:
    return engine.bwdata / "mssql" / "data" / "vault.mdf"


def _load(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source, timeout=30)) as old, closing(sqlite3.connect(target, timeout=30)) as new:
        old.backup(new)


def _write(tables: Path, file: Path, *, mode: int) -> None:
    """A consistent copy of the tables in one file, the folder's owner's."""
    _load(tables, file)
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=DELETE")
    file.chmod(mode)
    owner = file.parent.stat()
    if os.geteuid() == 0:
        os.chown(file, owner.st_uid, owner.st_gid)


def _mark(path: Path, number: int | None = None) -> int:
    """The number that tells one database from another; with `number` it is set."""
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
        if number is not None:
            database.execute(f"PRAGMA user_version = {number:d}")
        found: int = database.execute("PRAGMA user_version").fetchone()[0]
        return found


def _save(engine: Engine) -> None:
    """Writes the tables into the file in bwdata, under a new number in both."""
    _mark(_tables(engine), secrets.randbelow(2**30) + 1)
    file = data_file(engine)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    _write(_tables(engine), file, mode=0o660)


def stopped(engine: Engine) -> None:
    if _tables(engine).is_file() and engine.bwdata.is_dir():
        _save(engine)


def started(engine: Engine) -> None:
    tables, file = _tables(engine), data_file(engine)
    if not tables.is_file() or not (known := _mark(tables)):
        return
    if file.is_file():
        if _mark(file) != known:
            _load(file, tables)
        return
    with closing(sqlite3.connect(tables, timeout=30)) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            database.execute(f'DELETE FROM "{name}"')  # noqa: S608 - a name from the database itself
        database.commit()
    _save(engine)


def run_inside(engine: Engine, row: Row, command: list[str]) -> int | None:
    """The programs that only this container has; None for any other."""
    program, *arguments = command or [""]
    if program == "/backup-db.sh":
        return _back_up(engine, row)
    if program == TOOL:
        return sqlcmd(engine, row, arguments, os.environ.get("SQLCMDPASSWORD", ""))
    if program in ("sh", "bash", "/bin/sh", "/bin/bash") and arguments[:1] == ["-c"]:
        script = arguments[1].replace(TOOL, str(engine.home / "bin" / "sqlcmd"))
        environment = {**row["env"], "BWLAB_DIR": str(engine.lab_dir), "BWLAB_HOST": engine.host}
        done = subprocess.run(["/bin/sh", "-c", script, *arguments[2:]], env=environment, check=False)
        return done.returncode
    return None


def _back_up(engine: Engine, row: Row) -> int:
    """As the real script: the exit status is 0 whatever comes of it."""
    name = time.strftime(f"{row['env'].get('DATABASE', 'vault')}_FULL_%Y%m%d_%H%M%S.BAK", time.gmtime())
    path = f"{BACKUPS}{name}"
    folder = engine.bwdata / "mssql" / "backups"
    if time.time() < row["ready"]:
        print("Sqlcmd: Error: Microsoft ODBC Driver 18 for SQL Server : Login timeout expired.", file=sys.stderr)
        return 0
    if engine.fault("database_backup_fails") or not folder.is_dir():
        print(f"Msg 3201, Level 16, State 1, Server {row['id'][:12]}, Line 10")
        print(
            f"Cannot open backup device '{path}'. Operating system error 112(There is not enough space on the disk.)."
        )
        print("Msg 3013, Level 16, State 1, Server mssql, Line 10\nBACKUP DATABASE is terminating abnormally.")
        return 0
    if _tables(engine).is_file():
        _write(_tables(engine), folder / name, mode=0o640)
    else:
        (folder / name).write_bytes(b"TAPE")
    print("100 percent processed.\nBACKUP DATABASE successfully processed 1042 pages in 0.041 seconds (198.4 MB/sec).")
    return 0


def sqlcmd(engine: Engine, row: Row, arguments: list[str], password: str) -> int:
    chosen = options.parse(arguments, VALUES, flags=FLAGS)
    if time.time() < row["ready"]:
        print("Sqlcmd: Error: Microsoft ODBC Driver 18 for SQL Server : Login timeout expired.", file=sys.stderr)
        return 1
    if (chosen.last("-P") or password) != row["env"].get("SA_PASSWORD"):
        print("Sqlcmd: Error: Microsoft ODBC Driver 18 for SQL Server : Login failed for user 'sa'..", file=sys.stderr)
        return 1
    query = chosen.last("-Q", "-q") or sys.stdin.read()
    problem = _restore(engine, found.group(2)) if (found := RESTORE.search(query)) else None
    if problem is None:
        print("RESTORE DATABASE successfully processed 1042 pages in 0.06 seconds." if found else "1")
        return 0
    print(problem.format(server=row["id"][:12], path=found.group(2) if found else ""))
    # Without -b an error of the query is no error of the program.
    return 1 if chosen.has("-b") else 0


def _restore(engine: Engine, path: str) -> str | None:
    file = engine.bwdata / "mssql" / "backups" / path.removeprefix(BACKUPS)
    if not path.startswith(BACKUPS) or not file.is_file():
        return (
            "Msg 3201, Level 16, State 2, Server {server}, Line 1\nCannot open backup device '{path}'. Operating "
            "system error 2(The system cannot find the file specified.)."
        )
    if engine.fault("database_restore_fails"):
        return DAMAGED
    if not _tables(engine).is_file():
        return None
    try:
        _load(file, _tables(engine))
    except sqlite3.DatabaseError:
        return DAMAGED
    _save(engine)
    return None


def main(arguments: list[str]) -> int:
    """The sqlcmd program of a host: found where the container's own would be."""
    engine = Engine(Path(os.environ["BWLAB_DIR"]), os.environ["BWLAB_HOST"])
    try:
        row = next(row for row in engine.containers() if row["service"] == SERVICE)
        return sqlcmd(engine, row, arguments, os.environ.get("SQLCMDPASSWORD", ""))
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        engine.db.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
