# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a file that Bitwarden's setup may be writing just now, in place, so that half of it can be seen."""

from __future__ import annotations

import contextlib
import os
import time

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import files

_LOCKS = "/proc/locks"
_FRESH = 5.0
_PAUSE = 0.05


def read(path: str, timeout: float) -> tuple[bytes, os.stat_result] | None:
    """The content when nobody writes it, or None where nothing exists."""
    end = time.monotonic() + timeout
    while True:
        found = files.read(path)
        if found is None or abs(time.time() - found[1].st_mtime) > _FRESH:
            return found
        if not _locked(found[1]) and unchanged(path, *found):
            return found
        if time.monotonic() >= end:
            raise files.FileError(
                f"{path} is being written by another program, for {timeout:g} seconds now.",
                next_step=f"Wait until Bitwarden's setup has ended ('fuser -v {path}' shows who has it open), "
                "or raise the time limit.",
            )
        time.sleep(_PAUSE)


def unchanged(path: str, data: bytes, status: os.stat_result | None) -> bool:
    """Whether the file is still the one that was read."""
    found = files.read(path)
    if found is None or status is None:
        return found is None and status is None
    now = found[1]
    return found[0] == data and (now.st_ino, now.st_mtime_ns) == (status.st_ino, status.st_mtime_ns)


def _locked(status: os.stat_result) -> bool:
    """Whether a program holds a lock on the file, as setup does while it writes; looking takes no lock itself.

    An attempt to take a lock would tell as well, but setup aborts when it meets one.
    """
    with contextlib.suppress(OSError), open(_LOCKS, "rb") as stream:
        for line in stream:
            words = line.split()
            if b"FLOCK" in words and any(word.endswith(b":%d" % status.st_ino) for word in words):
                return True
    return False
