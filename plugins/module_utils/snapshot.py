# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The small files that an update rewrites, remembered so that they can be put back."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import files

_PLACES = (
    "bitwarden.sh",
    "bwdata/scripts/run.sh",
    "bwdata/config.yml",
    "bwdata/docker",
    "bwdata/env",
    "bwdata/nginx/default.conf",
    "bwdata/web/app-id.json",
    "bwdata/identity/identity.pfx",
    ".env",
    "docker-compose.yml",
    "docker-compose.override.yml",
)


@dataclass
class Snapshot:
    """Contents, owners and modes by path; in memory only, for some are secrets."""

    directory: str
    kept: dict[str, tuple[bytes, os.stat_result]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, directory: str) -> Snapshot:
        """What is there now."""
        found = cls(directory)
        for place in _PLACES:
            path = os.path.join(directory, place)
            names = [path]
            if os.path.isdir(path):
                names = [os.path.join(path, name) for name in os.listdir(path)]
            for name in names:
                if os.path.isfile(name):
                    read = files.read(name)
                    if read is not None:
                        found.kept[name] = read
        return found

    def status(self, path: str) -> os.stat_result:
        """Owner and mode of a file as they were."""
        return self.kept[path][1]

    def text(self, path: str) -> str:
        """The content as text, of which every byte comes back."""
        return self.kept[path][0].decode("utf-8", "surrogateescape")

    def replace(self, path: str, text: str) -> None:
        """Writes another content into a file that was remembered."""
        files.write(path, text.encode("utf-8", "surrogateescape"), self.kept[path][1])

    def put_back(self) -> list[str]:
        """Writes every file that is another now; their names, below the directory."""
        changed = []
        for path, (data, status) in self.kept.items():
            now = files.read(path) if os.path.lexists(path) else None
            if now is not None and now[0] == data and stat.S_IMODE(now[1].st_mode) == stat.S_IMODE(status.st_mode):
                continue
            files.write(path, data, status if now is not None else None)
            with contextlib.suppress(OSError):
                os.chmod(path, stat.S_IMODE(status.st_mode))
                if os.geteuid() == 0:
                    os.chown(path, status.st_uid, status.st_gid)
            changed.append(os.path.relpath(path, self.directory))
        return changed
