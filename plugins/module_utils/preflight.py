# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is looked at before anything stops: whether the way back up is open."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import bitwarden_sh
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import ComposeError, Service, version_of
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.deployment import STANDARD
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Docker

_MEBIBYTE = 1024 * 1024
_VERSION = re.compile(r"\d+(\.\d+)+")
_OUR_IMAGE = re.compile(r"(?:^|/)bitwarden/(?P<name>[\w-]+):")
# They have versions of their own.
_NOT_CORE = {"web": "web", "key-connector": "keyconnector"}
# Names that the account may not run, one a line, then the one that it may not write.
_RIGHTS = """
for path in "$1" "$2"; do [ -x "$path" ] || printf 'x%s\\n' "$path"; done
[ -w "$3" ] || { [ ! -e "$3" ] && [ -w "${3%/*}" ]; } || printf 'w%s\\n' "$3"
"""


class PreflightError(ComposeError):
    """The server could not come up again, so it was not stopped."""


def check(docker: Docker, services: t.Mapping[str, Service], min_free_space: int) -> None:
    """All that can be known without waiting and without changing anything."""
    root = docker.root_directory()
    check_free_space(docker, root, min_free_space)
    if docker.deployment.kind == STANDARD:
        _check_path(docker.directory)
        _check_versions(docker.directory, services)
        check_rights(docker)


def check_free_space(docker: Docker, root: str | None, min_free_space: int) -> None:
    """Refuses where images, logs or the database would find no room; C(min_free_space) in MiB."""
    if min_free_space <= 0:
        return
    for purpose, path in (("Docker's directory", root), ("the installation", docker.directory)):
        free = None if path is None else _free_space(path)
        if free is not None and free < min_free_space:
            raise PreflightError(
                f"The file system of {purpose} {path} has {free} MiB left, less than {min_free_space}; "
                "nothing was stopped.",
                next_step=f"Free space (df -h {path}; 'docker image prune' removes images that nothing uses), or lower "
                "'min_free_space'.",
            )


def _free_space(path: str) -> int | None:
    """In MiB; nothing where the place is not on this machine."""
    while not os.path.exists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    try:
        status = os.statvfs(path)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize // _MEBIBYTE


def _check_path(directory: str) -> None:
    if re.search(r"\s", directory):
        raise PreflightError(
            f"The path '{directory}' has a blank in it, with which bitwarden.sh cannot work; nothing was stopped.",
            next_step="Move the installation to a directory without blanks in its path.",
        )


def _check_versions(directory: str, services: t.Mapping[str, Service]) -> None:
    """A script that is newer than the compose file would start old services with a new setup."""
    pinned = bitwarden_sh.pinned_versions(directory)
    tags: dict[str, set[str]] = {}
    for service in services.values():
        match, tag = _OUR_IMAGE.search(service.image), version_of(service.image)
        if match and tag and _VERSION.fullmatch(tag):
            tags.setdefault(_NOT_CORE.get(match.group("name"), "core"), set()).add(tag)
    for part, found in tags.items():
        wanted = pinned.get(part, "")
        # Somebody may have chosen another version of one service in an override file; then the rest still agrees.
        if _VERSION.fullmatch(wanted) and wanted not in found:
            raise PreflightError(
                f"bitwarden.sh is of version {wanted}, the compose files name {', '.join(sorted(found))}: an update "
                "was begun (bitwarden.sh updateself) and not finished. Nothing was stopped.",
                next_step="Finish the update: run the playbook selfhosted.bitwarden.update, or 'bitwarden.sh update'.",
            )


def check_rights(docker: Docker) -> None:
    """What would end C(bitwarden.sh) at once or, worse, half-way."""
    uid_env = os.path.join(docker.directory, "bwdata", "env", "uid.env")
    scripts = [bitwarden_sh.script_path(docker.directory), bitwarden_sh.worker_path(docker.directory)]
    lines = docker.run(["sh", "-c", _RIGHTS, "sh", *scripts, uid_env]).stdout.splitlines()
    not_run = [line[1:] for line in lines if line.startswith("x")]
    if not_run:
        raise PreflightError(
            f"{not_run[0]} cannot be run as user {docker.account.label}; nothing was stopped.",
            next_step=f"Make it executable for that user (chmod u+x {not_run[0]}), on a file system without 'noexec'.",
        )
    if any(line.startswith("w") for line in lines) and not _is_complete(uid_env):
        raise PreflightError(
            f"{uid_env} lacks LOCAL_UID or LOCAL_GID, and user {docker.account.label} may not write it: bitwarden.sh "
            "would end at once. Nothing was stopped.",
            next_step=f"Write both lines into it, or give it to the user (chown {docker.account.label} {uid_env}).",
        )


def _is_complete(path: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            names = {line.partition("=")[0] for line in stream}
    except OSError:
        return False
    return {"LOCAL_UID", "LOCAL_GID"} <= names
