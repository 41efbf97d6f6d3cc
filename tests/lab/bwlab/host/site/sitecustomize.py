# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can go wrong with a lab host's files: no space is left, the disk is read-only, the writer is killed half-way.

Loaded by every Python of a host; all it costs without a fault is a look at the path that is written to.
"""

from __future__ import annotations

import builtins
import errno
import importlib
import io
import json
import os
import signal
from typing import Any

LAB = os.environ.get("BWLAB_DIR", "")
HOST = os.environ.get("BWLAB_HOST", "")
HOME = os.path.join(LAB, "hosts", HOST)
DIRECTORY = os.path.join(HOME, "opt", "bitwarden")
PLACES = {
    "env": (os.path.join(DIRECTORY, "bwdata", "env"), os.path.join(DIRECTORY, "settings.env")),
    "backups": (os.path.join(DIRECTORY, "bwdata-backups"), os.path.join(DIRECTORY, "env-backups")),
    "docker": (os.path.join(HOME, "var", "lib", "docker"),),
}
DEFAULTS = {"where": "env", "how": "fsync"}
CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

real_write, real_fsync, real_open, real_sendfile = os.write, os.fsync, io.open, os.sendfile
real_os_open, real_replace, real_rename, real_mkdir = os.open, os.replace, os.rename, os.mkdir
real_statvfs, real_access = os.statvfs, os.access


def path_of(target: Any) -> str:
    """The path behind a file descriptor or name, if it is one of this host's."""
    try:
        path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else os.path.abspath(os.fspath(target))
    except (OSError, TypeError, ValueError):
        return ""
    text = os.fsdecode(path)
    return text if text.startswith(HOME + os.sep) else ""


def place_of(path: str) -> str:
    """env, backups, docker, or nothing of these. The new file beside Lite's settings.env has a dot before its name."""
    folder, name = os.path.split(path)
    if folder == DIRECTORY:
        path = os.path.join(folder, name.lstrip("."))
    for place, starts in PLACES.items():
        for start in starts:
            if path == start or path.startswith((start + os.sep, start + ".")):
                return place
    return ""


def holds(name: str, key: str = "", among: tuple[str, ...] = (), *, count: bool = True) -> bool:
    """Whether a fault is set for this host, whose option (or what it is when not given) is one of those."""
    # Loaded here: most programs of a host never write where faults strike.
    sqlite3 = importlib.import_module("sqlite3")
    try:
        database = sqlite3.connect(os.path.join(LAB, "lab.sqlite"), timeout=30, isolation_level=None)
    except sqlite3.Error:
        return False
    try:
        rows = database.execute("SELECT n, options, count_left FROM fault WHERE name = ?", (name,)).fetchall()
        for number, text, left in rows:
            options: dict[str, str] = json.loads(text)
            if left == 0 or options.get("server", HOST) != HOST:
                continue
            if key and options.get(key, DEFAULTS[key]) not in among:
                continue
            if left is not None and count:
                database.execute("UPDATE fault SET count_left = count_left - 1 WHERE n = ?", (number,))
            return True
        return False
    except sqlite3.Error:
        return False
    finally:
        database.close()


def trouble(target: Any, moment: str, data: Any = b"") -> None:
    """Raises or kills, where a fault says so."""
    path = path_of(target)
    if not path:
        return
    place = place_of(path)
    if place == "env" and holds("killed_while_writing", "how", (moment,)):
        if moment == "write" and isinstance(target, int):
            real_write(target, bytes(data)[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    if path.startswith(DIRECTORY + os.sep) and moment != "fsync" and holds("disk_read_only"):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
    if place and moment in ("write", "fsync") and holds("disk_full", "where", (place, "all")):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write(fd: int, data: Any, /) -> int:
    trouble(fd, "write", data)
    return real_write(fd, data)


def sendfile(out_fd: int, *rest: Any, **options: Any) -> int:
    trouble(out_fd, "write")
    return real_sendfile(out_fd, *rest, **options)


def fsync(fd: Any) -> None:
    trouble(fd if isinstance(fd, int) else fd.fileno(), "fsync")
    real_fsync(fd)


def os_open(path: Any, flags: int, *rest: Any, **options: Any) -> int:
    if flags & CHANGES:
        trouble(path, "open")
    return real_os_open(path, flags, *rest, **options)


def replace(src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
    trouble(dst, "replace")
    real_replace(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def rename(src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
    trouble(dst, "replace")
    real_rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def mkdir(path: Any, *rest: Any, **options: Any) -> None:
    trouble(path, "open")
    real_mkdir(path, *rest, **options)


def statvfs(path: Any) -> os.statvfs_result:
    found = real_statvfs(path)
    own = path_of(path)
    if not own or not holds("disk_full", "where", (place_of(own), "all"), count=False):
        return found
    values = list(found)
    values[3] = values[4] = 0
    return os.statvfs_result(values)


def access(path: Any, mode: int, **options: Any) -> bool:
    if mode & os.W_OK and path_of(path).startswith(DIRECTORY + os.sep) and holds("disk_read_only", count=False):
        return False
    return real_access(path, mode, **options)


class StruckFile(io.FileIO):
    """A file on a disk with a fault: it can be made, and may take no data."""

    def write(self, data: Any, /) -> int:
        trouble(self.fileno(), "write", data)
        return super().write(data)


def open_file(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **options: Any) -> Any:
    if not set("wax+") & set(mode) or not (path := path_of(file)):
        return real_open(file, mode, buffering, *rest, **options)
    trouble(file, "open")
    if not place_of(path):
        return real_open(file, mode, buffering, *rest, **options)
    raw = StruckFile(file, mode.replace("b", "").replace("t", ""), options.get("closefd", True))
    if buffering == 0:
        return raw
    buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
    encoding = options.get("encoding", rest[0] if rest else None)
    return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, newline=options.get("newline"))


if LAB and HOST:
    os.write, os.fsync, os.sendfile, os.open = write, fsync, sendfile, os_open
    os.replace, os.rename, os.mkdir, os.statvfs, os.access = replace, rename, mkdir, statvfs, access
    io.open = builtins.open = open_file
