# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers that an update has begun: by its versions alone, one that was killed may look finished."""

from __future__ import annotations

import contextlib
import os

_NAME = ".selfhosted-update-unfinished"


def _path(directory: str) -> str:
    return os.path.join(directory, _NAME)


def begun_from(directory: str) -> str | None:
    """The version before an update that has not been proven; None where there is none."""
    try:
        with open(_path(directory), encoding="ascii", errors="replace") as stream:
            return stream.read().strip() or "unknown"
    except FileNotFoundError:
        return None


def begin(directory: str, version: str | None) -> None:
    """To be called before the first change; the version of the first attempt stays."""
    if begun_from(directory) is None:
        descriptor = os.open(_path(directory), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(f"{version or 'unknown'}\n")


def end(directory: str) -> None:
    """The server has been proven, with the new version or the old one."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path(directory))
