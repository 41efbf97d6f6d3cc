# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One task at a time for one organization, whatever forks and runs a controller has."""

from __future__ import annotations

import hashlib
import os
import typing as t
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.files import locked


def lock_spec() -> dict[str, dict[str, t.Any]]:
    """The options of the lock, for argument specs; C(lock_timeout) is in seconds."""
    return {"lock_path": {"type": "path"}, "lock_timeout": {"type": "int", "default": 120}}


@contextmanager
def organization_lock(params: t.Mapping[str, t.Any], api: str, organization_id: str) -> t.Iterator[None]:
    """Hold the lock of one organization at one server; a BitwardenError when others hold it for too long."""
    with locked(_directory(params["lock_path"], api, organization_id), params["lock_timeout"]):
        yield


def _directory(lock_path: str | None, api: str, organization_id: str) -> str:
    home = os.environ.get("ANSIBLE_HOME") or Path.home() / ".ansible"
    base = lock_path or os.path.join(home, "selfhosted.bitwarden")
    name = hashlib.sha256(f"{api}\n{organization_id}".encode()).hexdigest()
    path = os.path.join(base, name)
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise BitwardenError(
            f"The directory {path} cannot be made: {error.strerror}.",
            next_step="Give a directory that the user of the module may write to in lock_path.",
        ) from error
    return path
