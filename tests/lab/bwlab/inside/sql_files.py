# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database server's files: a database is one SQLite file, a backup a consistent copy of it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from bwlab.inside.sql_protocol import SqlError

MAGIC = b"SQLite format 3\0"
CANNOT_OPEN = "Cannot open backup device '{device}'. Operating system error {why}."
NO_FILE = "2(The system cannot find the file specified.)"
NO_SPACE = "112(There is not enough space on the disk.)"
DAMAGED = "The media family on device '{device}' is incorrectly formed. SQL Server cannot process this media family."


def no_device(device: Path, why: str, state: int = 1) -> SqlError:
    return SqlError(3201, 16, state, CANNOT_OPEN.format(device=device, why=why))


class Files:
    def __init__(self, data: Path, log: Path) -> None:
        self.data = data
        self.log = log

    def path(self, name: str) -> Path:
        return self.data / f"{name}.sqlite"

    def names(self) -> list[str]:
        return ["master", *sorted(path.stem for path in self.data.glob("*.sqlite"))]

    def exists(self, name: str) -> bool:
        return name.lower() in (known.lower() for known in self.names())

    def create(self, name: str) -> None:
        with closing(sqlite3.connect(self.path(name))) as database:
            database.execute("PRAGMA journal_mode=WAL")

    def back_up(self, name: str, device: Path) -> int:
        """Pages written; nothing stands under the final name before it is whole."""
        partial = device.with_name(f".{device.name}.part")
        try:
            with closing(sqlite3.connect(self.path(name), timeout=30)) as source, closing(_open(partial)) as copy:
                source.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")
                pages = int(copy.execute("PRAGMA page_count").fetchone()[0])
            partial.replace(device)
        except (sqlite3.Error, OSError) as error:
            partial.unlink(missing_ok=True)
            raise no_device(device, _why(error)) from None
        self.note(f"BACKUP DATABASE successfully processed {pages} pages. Database: {name}, device: {device}")
        return pages

    def verify(self, device: Path) -> None:
        try:
            with device.open("rb") as stream:
                genuine = stream.read(len(MAGIC)) == MAGIC
            if genuine:
                with closing(_open(device, read_only=True)) as copy:
                    genuine = copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        except FileNotFoundError:
            raise no_device(device, NO_FILE, 2) from None
        except OSError as error:
            raise no_device(device, _why(error), 2) from None
        except sqlite3.DatabaseError:
            genuine = False
        if not genuine:
            raise SqlError(3241, 16, 0, DAMAGED.format(device=device))

    def restore(self, name: str, device: Path) -> int:
        """Through the database, not over its file: others may have it open."""
        self.verify(device)
        with closing(_open(device, read_only=True)) as copy, closing(_open(self.path(name))) as target:
            copy.backup(target)
            target.execute("PRAGMA journal_mode=WAL")
            pages = int(target.execute("PRAGMA page_count").fetchone()[0])
        self.note(f"RESTORE DATABASE successfully processed {pages} pages. Database: {name}, device: {device}")
        return pages

    def note(self, text: str) -> None:
        """A line of the errorlog."""
        try:
            self.log.mkdir(parents=True, exist_ok=True)
            with (self.log / "errorlog").open("a", encoding="utf-8") as stream:
                stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())}.00 Server      {text}\n")
        except OSError:
            # A full disk must not end the server; the real one goes on too.
            return


def _open(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode={'ro' if read_only else 'rwc'}", uri=True, timeout=30)


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.errno}({error.strerror})"
    return NO_SPACE
