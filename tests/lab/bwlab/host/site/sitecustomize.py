"""Makes the disk of a lab host full for files under bwdata/env while the fault `disk_full` is set.

Loaded by every Python of a host; all it costs without the fault is a look at the path that is written to.
"""

from __future__ import annotations

import builtins
import errno
import importlib
import io
import json
import os
from typing import Any

LAB = os.environ.get("BWLAB_DIR", "")
HOST = os.environ.get("BWLAB_HOST", "")
ENV = os.path.join(LAB, "hosts", HOST, "opt", "bitwarden", "bwdata", "env")

real_write, real_fsync, real_open, real_sendfile = os.write, os.fsync, io.open, os.sendfile


def is_full(target: Any) -> bool:
    try:
        path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else os.path.abspath(os.fspath(target))
    except (OSError, TypeError, ValueError):
        return False
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    return path.startswith(ENV + os.sep) and fault_is_set()


def fault_is_set() -> bool:
    # Loaded here: most programs of a host never write to that folder.
    sqlite3 = importlib.import_module("sqlite3")
    try:
        database = sqlite3.connect(os.path.join(LAB, "lab.sqlite"), timeout=30, isolation_level=None)
    except sqlite3.Error:
        return False
    try:
        rows = database.execute("SELECT n, options, count_left FROM fault WHERE name = 'disk_full'").fetchall()
        for number, options, left in rows:
            if left == 0 or json.loads(options).get("server", HOST) != HOST:
                continue
            if left is not None:
                database.execute("UPDATE fault SET count_left = count_left - 1 WHERE n = ?", (number,))
            return True
        return False
    except sqlite3.Error:
        return False
    finally:
        database.close()


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write(fd: int, data: Any, /) -> int:
    if is_full(fd):
        raise full()
    return real_write(fd, data)


def sendfile(out_fd: int, *rest: Any, **options: Any) -> int:
    if is_full(out_fd):
        raise full()
    return real_sendfile(out_fd, *rest, **options)


def fsync(fd: Any) -> None:
    if is_full(fd if isinstance(fd, int) else fd.fileno()):
        raise full()
    real_fsync(fd)


class FullFile(io.FileIO):
    """A file that can be made but takes no data."""

    def write(self, data: Any, /) -> int:
        raise full()


def open_file(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **options: Any) -> Any:
    if not set("wax+") & set(mode) or not is_full(file):
        return real_open(file, mode, buffering, *rest, **options)
    raw = FullFile(file, mode.replace("b", "").replace("t", ""), options.get("closefd", True))
    buffered = io.BufferedWriter(raw)
    encoding = options.get("encoding", rest[0] if rest else None)
    return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding)


if LAB and HOST:
    os.write, os.fsync, os.sendfile = write, fsync, sendfile
    io.open = builtins.open = open_file
