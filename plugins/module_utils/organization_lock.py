# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One task at a time for one organization, whatever forks, runs and users a controller has."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import sys
import time
import typing as t
from contextlib import contextmanager

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.files import locked
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.pace import state_directory

_PAUSE = 0.05


def lock_spec() -> dict[str, dict[str, t.Any]]:
    """The options of the lock, for argument specs; C(lock_timeout) is in seconds."""
    return {"lock_path": {"type": "path"}, "lock_timeout": {"type": "int", "default": 120}}


@contextmanager
def organization_lock(params: t.Mapping[str, t.Any], api: str, organization_id: str) -> t.Iterator[None]:
    """Hold the lock of one organization at one server; a BitwardenError when others hold it for too long."""
    name = hashlib.sha256(f"{api}\n{organization_id}".encode()).hexdigest()
    end = time.monotonic() + params["lock_timeout"]
    with locked(_directory(params["lock_path"], name), params["lock_timeout"]), _machine_wide(name, end):
        yield


def _directory(lock_path: str | None, name: str) -> str:
    path = os.path.join(state_directory(lock_path), name)
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise BitwardenError(
            f"The directory {path} cannot be made: {error.strerror}.",
            next_step="Give a directory that the user of the module may write to in lock_path.",
        ) from error
    return path


@contextmanager
def _machine_wide(name: str, end: float) -> t.Iterator[None]:
    """Keeps out the runs of other users too, whose homes are others.

    The name is the kernel's, and gone with the process that holds it: no file that one user could not open for another.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as holder:
        while not _take(holder, f"\0selfhosted.bitwarden/{name}"):
            if time.monotonic() >= end:
                raise BitwardenError(
                    "A run of another user of this machine works on the same organization.",
                    next_step=f"Wait for it to end (ss -xap | grep {name} shows it), or raise lock_timeout.",
                )
            time.sleep(_PAUSE)
        yield


def _take(holder: socket.socket, address: str) -> bool:
    try:
        holder.bind(address)
    except OSError as error:
        # Where a sandbox forbids such names, the lock on the directory is what there is.
        return error.errno != errno.EADDRINUSE
    return True
