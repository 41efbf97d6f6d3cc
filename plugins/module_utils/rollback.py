# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers what an env file held when its server last ran well, so that a bad change can be taken back.

A point carries the hash of the content that replaced the one inside it. So it fits only as long as nobody else, a
person or Bitwarden's setup, has changed the file since.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import typing as t

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import files

_MARK = ".previous-"


def _point(path: str, content: bytes) -> str:
    name = f"{os.path.basename(path)}{_MARK}{hashlib.sha256(content).hexdigest()[:16]}"
    return os.path.join(files.backup_directory(path), name)


def _points(path: str) -> t.Iterator[str]:
    directory = files.backup_directory(path)
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            if name.startswith(os.path.basename(path) + _MARK):
                yield os.path.join(directory, name)


def _content(path: str) -> bytes | None:
    found = files.read(path)
    return None if found is None else found[0]


def keep(path: str, old: bytes, new: bytes, status: os.stat_result) -> str:
    """Keeps what ran last before C(new) takes the place of C(old); the point's name, or nothing where none is needed.

    Call it before the file is replaced, and L(settle) after. Points for both contents exist in between, so a run that
    is killed at any moment leaves one that fits.
    """
    path = os.path.realpath(path)
    earlier = _content(_point(path, old))
    ran = old if earlier is None else earlier
    if ran == new:
        return ""
    target = _point(path, new)
    files.private_copy(target, ran, status)
    return target


def settle(path: str) -> None:
    """Removes the points that do not fit the file as it is now."""
    path = os.path.realpath(path)
    present = _content(path)
    fitting = None if present is None else _point(path, present)
    for point in list(_points(path)):
        if point != fitting or _content(point) == present:
            files.remove(point)
    files.remove_leftovers(files.backup_directory(path), os.path.basename(path))


def find(path: str) -> bytes | None:
    """What the file held before, or None where it has been changed by somebody else since."""
    path = os.path.realpath(path)
    present = _content(path)
    if present is None:
        return None
    previous = _content(_point(path, present))
    return None if previous == present else previous


def put_back(path: str) -> bool:
    """Puts the earlier content in place, at once or not at all; false where there is none."""
    path = os.path.realpath(path)
    previous = find(path)
    found = files.read(path)
    if previous is None or found is None:
        return False
    files.check_replaceable(path, found[1])
    files.write(path, previous, found[1])
    settle(path)
    return True


def forget(path: str) -> None:
    """Removes all points of a file: what it holds now has been proven."""
    for point in list(_points(os.path.realpath(path))):
        files.remove(point)
