# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Programs that outlive the command which starts them, known and ended by process id."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from bwlab.docker import needs

END_SECONDS = 20.0
OWN = ("dockerd", "containerd", "dnsmasq", "runc")


def start(name: str, command: list[str], folder: Path, log: Path) -> int:
    """Leaves NAME.pid in the folder."""
    environment = {**os.environ, "PATH": needs.path()}
    # Whatever proxy the caller has, it is not for the lab's own engine.
    for key in ("http_proxy", "https_proxy", "no_proxy"):
        environment.pop(key, None)
        environment.pop(key.upper(), None)
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/", env=environment
        )
    (folder / f"{name}.pid").write_text(f"{process.pid}\n", encoding="utf-8")
    return process.pid


def running(name: str, folder: Path) -> int | None:
    """The process of that name, if it is one of this folder and lives."""
    try:
        pid = int((folder / f"{name}.pid").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return pid if alive(pid, folder) else None


def alive(pid: int, folder: Path) -> bool:
    """A path below the folder stands in the command line of everything that the lab starts here."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    # For a moment after its start a program has no command line yet.
    return status != "Z" and (not line or _names(line, folder))


def _names(line: bytes, folder: Path) -> bool:
    """Not the folder of another lab whose path ends like this one's."""
    return re.search(rb"(?:^|[\0=]|://)" + re.escape(os.fsencode(folder)) + rb"(?:[/\0]|$)", line) is not None


def end(name: str, folder: Path, seconds: float = END_SECONDS) -> None:
    pid = running(name, folder)
    if pid is not None:
        end_pid(pid, folder, seconds)
    (folder / f"{name}.pid").unlink(missing_ok=True)


def end_pid(pid: int, folder: Path, seconds: float = END_SECONDS) -> None:
    _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while alive(pid, folder):
        if time.monotonic() > deadline:
            _signal(pid, signal.SIGKILL)
        _reap(pid)
        time.sleep(0.05)
    _reap(pid)


def left(folder: Path) -> list[int]:
    """What an engine that was killed leaves, known by the folder in its command line; containers before their shims."""
    found = [pid for pid in _pids() if _name(pid).startswith(OWN) and alive(pid, folder)]
    shims = {pid for pid in found if _name(pid).startswith("containerd-shim")}
    inside = [pid for pid in _pids() if _parent(pid) in shims]
    return inside + found


def end_left(folder: Path) -> None:
    for pid in left(folder):
        _signal(pid, signal.SIGKILL)
    deadline = time.monotonic() + END_SECONDS
    while left(folder) and time.monotonic() < deadline:
        time.sleep(0.05)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return 0


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _reap(pid: int) -> None:
    """A child of this very process stays a zombie otherwise."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
