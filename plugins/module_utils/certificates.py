# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A private authority's certificates: known to a service from its next start on, and to be seen from inside."""

from __future__ import annotations

import hashlib
import os
import time
import typing as t

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import Container, Service
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Project
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.drift import CERTIFICATES, Drift

INSIDE = "/etc/bitwarden/ca-certificates"
# Exit statuses of docker exec: the program could not be run, or is not in the image.
_NOT_RUN = frozenset({126, 127})


def _folder(directory: str) -> str:
    return os.path.join(directory, "bwdata", "ca-certificates")


def _files(directory: str) -> list[str]:
    try:
        entries = sorted(os.scandir(_folder(directory)), key=lambda entry: entry.name)
        return [entry.path for entry in entries if entry.is_file() and not entry.name.startswith(".")]
    except OSError:
        return []


def _readers(services: t.Mapping[str, Service]) -> list[str]:
    return [name for name, service in services.items() if any(target == INSIDE for _source, target in service.mounts)]


def newer_than_containers(
    directory: str, services: t.Mapping[str, Service], containers: t.Mapping[str, Container]
) -> list[Drift]:
    """Services that were started before a certificate was put there, replaced or removed."""
    found = _newest(directory)
    if found is None:
        return []
    name, moment = found
    began = {reader: containers[reader].began for reader in _readers(services) if reader in containers}
    return [
        Drift(reader, f"was started before bwdata/ca-certificates{name} changed", kind=CERTIFICATES)
        for reader, start in began.items()
        if start is not None and start < moment and containers[reader].state == "running"
    ]


def _newest(directory: str) -> tuple[str, float] | None:
    """The last change; the folder's own time tells of files that went, or came with an old time."""
    folder = _folder(directory)
    found: list[tuple[str, float]] = []
    for path in (folder, *_files(directory)):
        try:
            found.append((path[len(folder) :], os.stat(path).st_mtime))
        except OSError:
            continue
    # One whose time lies ahead would be newer than every container for ever; of equals the file tells more.
    past = [(name, moment) for name, moment in found if moment <= time.time()]
    return max(past, key=lambda one: (int(one[1]), bool(one[0]))) if past else None


def unlike_inside(
    project: Project, services: t.Mapping[str, Service], containers: t.Mapping[str, Container]
) -> tuple[str | None, str | None]:
    """What a service sees otherwise than this machine, and why that could not be told."""
    readers = [name for name in _readers(services) if name in containers and containers[name].state == "running"]
    if not readers:
        return None, None
    reader = "api" if "api" in readers else readers[0]
    for path in _files(directory=project.directory):
        inside = f"{INSIDE}/{os.path.basename(path)}"
        seen = project.docker(["exec", containers[reader].name, "cat", inside])
        if seen.status in _NOT_RUN:
            return None, f"{inside} could not be looked at in {containers[reader].name}: it has no program 'cat'."
        if seen.status != 0 or _digest(seen.raw) != _digest_of_file(path):
            return f"{containers[reader].name} does not see {path}, which should be its {inside}", None
    return None, None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of_file(path: str) -> str | None:
    try:
        with open(path, "rb") as stream:
            return _digest(stream.read())
    except OSError:
        return None
