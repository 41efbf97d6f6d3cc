# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of a run's own in an installation, which only the account that drives it may read."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import typing as t

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import ComposeError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Docker

_PREFIX = ".selfhosted-run-"


@contextlib.contextmanager
def private_place(docker: Docker) -> t.Iterator[str]:
    """A directory that is removed afterwards.

    It lies in the installation where that is possible: programs can be run there, which many a /tmp forbids.
    """
    for parent in (docker.directory, tempfile.gettempdir()):
        if os.access(parent, os.W_OK | os.X_OK):
            break
    else:
        raise ComposeError(
            f"No directory can be made in {docker.directory}; nothing was stopped.",
            next_step="Become the user that owns the installation.",
        )
    place = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
    try:
        _own(docker, place)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def write_private(docker: Docker, path: str, text: str, mode: int) -> None:
    """A file with the mode from its first moment on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    _own(docker, path)


def _own(docker: Docker, path: str) -> None:
    if docker.account.name is not None:
        os.chown(path, docker.account.uid, docker.account.gid)


def remove_leftovers(directory: str) -> None:
    """What a run that was killed has left; call it while nobody else is at work."""
    with contextlib.suppress(OSError):
        for entry in os.listdir(directory):
            if entry.startswith(_PREFIX):
                shutil.rmtree(os.path.join(directory, entry), ignore_errors=True)
