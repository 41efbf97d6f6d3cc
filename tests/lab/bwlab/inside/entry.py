# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the images' entrypoints do as root before the service runs: folders, owners, stepping down."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType

NOBODY = 65534
WGET = Path("/usr/local/bin/wget")
BUSYBOX = Path("/bin/busybox")


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() and int(text) else NOBODY


def user(environment: Mapping[str, str]) -> tuple[int, int]:
    """Never root: whoever names it, or nobody, gets the user nobody."""
    return _number(environment.get("LOCAL_UID")), _number(environment.get("LOCAL_GID"))


def own(folders: Iterable[Path], uid: int, gid: int) -> None:
    """Everything below, as `chown -R`; other containers may be removing files meanwhile."""
    for top in folders:
        for folder, _unused, names in os.walk(top):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                with suppress(FileNotFoundError):
                    os.chown(path, uid, gid, follow_symlinks=False)


def programs() -> None:
    """The wget that knows the health checks' options; removed files of a container come back with the next."""
    if BUSYBOX.is_file() and not WGET.exists():
        WGET.symlink_to(BUSYBOX)


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def obey_signals() -> None:
    """Process 1 gets no signal that it has not asked for."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


def step_down(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def begin(folders: Iterable[Path], *, stay_root: bool = False) -> tuple[int, int]:
    """Makes the folders, gives them to the user of uid.env and becomes that user."""
    obey_signals()
    uid, gid = user(os.environ)
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    wanted = list(folders)
    for folder in wanted:
        folder.mkdir(parents=True, exist_ok=True)
    programs()
    own(wanted, uid, gid)
    if not stay_root:
        step_down(uid, gid)
    return uid, gid
