# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells how a Bitwarden server is deployed, by what lies in its directory."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

STANDARD, MANUAL, LITE = "standard", "manual", "lite"
KINDS = (STANDARD, MANUAL, LITE)


class DeploymentError(BitwardenError):
    """A directory that holds no Bitwarden server, or another kind than was named."""


@dataclass(frozen=True)
class Deployment:
    """Where the parts of one installation lie; C(script) and the compose files only where the kind has them."""

    kind: str
    directory: str
    env_file: str
    compose_files: tuple[str, ...] = ()
    script: str | None = None

    @property
    def by_compose(self) -> bool:
        """Whether compose files describe it; Lite may also be one container from C(docker run)."""
        return bool(self.compose_files)

    def shown(self) -> dict[str, t.Any]:
        """As a result holds it."""
        return {
            "kind": self.kind,
            "directory": self.directory,
            "env_file": self.env_file,
            "compose_files": list(self.compose_files),
            "script": self.script,
        }


def detect(directory: str, wanted: str = "auto") -> Deployment:
    """The deployment in a directory; with C(wanted) other than C(auto) anything else is refused."""
    directory = directory.rstrip("/") or "/"
    found = _found(directory)
    if found is None:
        raise DeploymentError(
            f"{directory} holds no Bitwarden server: neither bitwarden.sh with bwdata/scripts/run.sh, nor "
            "bwdata/docker/docker-compose.yml, nor settings.env is there.",
            next_step="Name the directory that holds bitwarden.sh and bwdata, usually /opt/bitwarden, or for Lite the "
            "one with settings.env; and become a user who may read it.",
        )
    if wanted == "auto" and found.kind == MANUAL and os.path.isfile(_worker(directory)):
        raise DeploymentError(
            f"{directory}/bitwarden.sh does not exist, but its run.sh is in {directory}/bwdata/scripts.",
            next_step="Get bitwarden.sh back; or set 'deployment' to manual if this server shall do without it.",
        )
    if wanted not in {"auto", found.kind}:
        raise DeploymentError(
            f"{directory} holds a deployment of kind {found.kind}, not {wanted}.",
            next_step="Correct 'deployment', or leave it at auto.",
        )
    return found


def _worker(directory: str) -> str:
    return os.path.join(directory, "bwdata", "scripts", "run.sh")


def _found(directory: str) -> Deployment | None:
    def _path(*parts: str) -> str:
        return os.path.join(directory, *parts)

    def _present(folder: str) -> tuple[str, ...]:
        names = ("docker-compose.yml", "docker-compose.override.yml")
        paths = [os.path.join(folder, name) for name in names]
        return tuple(path for path in paths if os.path.isfile(paths[0]) and os.path.isfile(path))

    env_file = _path("bwdata", "env", "global.override.env")
    files = _present(_path("bwdata", "docker"))
    script = _path("bitwarden.sh")
    if os.path.isfile(script) and os.path.isdir(_path("bwdata")):
        return Deployment(STANDARD, directory, env_file, files, script)
    if files:
        return Deployment(MANUAL, directory, env_file, files)
    if os.path.isfile(_path("settings.env")):
        return Deployment(LITE, directory, _path("settings.env"), _present(directory))
    return None
