# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stack at one moment: what the files say, what runs, and where the two differ."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import certificates, containers, drift
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import Container, Service
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.deployment import LITE
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Project
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.drift import Drift

# Services answer some time after their containers have started; an older one that does not answer is broken.
START_PERIOD = 120.0
# The image of Lite overwrites these at every start, from BW_INSTALLATION_ID and BW_INSTALLATION_KEY.
_OVERWRITTEN_BY_LITE = frozenset({"globalSettings__installation__id", "globalSettings__installation__key"})


@dataclass(frozen=True)
class View:
    """The stack at one moment."""

    files: dict[str, Service]
    expected: dict[str, Service]
    containers: dict[str, Container]
    drift: list[Drift]

    @property
    def states(self) -> dict[str, str]:
        """The state of each service in words."""
        return containers.states(self.expected or self.containers, self.containers)

    @property
    def troubled(self) -> list[str]:
        """Services that do not simply run."""
        return [name for name, state in self.states.items() if state != "running"]

    @property
    def running(self) -> list[str]:
        """Services of which something runs."""
        return [name for name, container in self.containers.items() if not container.at_rest]

    @property
    def stopped(self) -> list[Drift]:
        """Services that lack a running container."""
        return [one for one in self.drift if one.kind == drift.STATE]

    @property
    def broken(self) -> list[Drift]:
        """What is left to complain of after a restart: health needs half a minute to be known."""
        return [one for one in self.drift if one.kind != drift.HEALTH]

    @property
    def starting(self) -> bool:
        """Whether the stack is so young that its silence means nothing.

        A container in a crash loop is always young; so only those count that were started once.
        """
        return any(c.state == "running" and not c.restarts and c.age < START_PERIOD for c in self.containers.values())

    def version(self) -> str | None:
        """The version of the running api (in Lite of the one container), else the one in the files."""
        return _version({name: container.image for name, container in self.containers.items()}) or self.file_version()

    def file_version(self) -> str | None:
        """The version that the files name."""
        return _version({name: service.image for name, service in self.files.items()})


def _version(images: t.Mapping[str, str]) -> str | None:
    image = images.get("api") or (next(iter(images.values())) if len(images) == 1 else "")
    return containers.version_of(image)


def look(project: Project, environment: t.Mapping[str, str | None]) -> View:
    """Reads files and containers; changes nothing."""
    wanted = project.wanted()
    expected = drift.overlay(wanted, environment, project.reads_env_file)
    found = containers.by_service(expected, containers.parse_containers(project.containers_text()))
    project.learn_secrets(container.environment for container in found.values())
    differences = drift.find(
        expected,
        found,
        project.image_environment,
        injected=project.injected(),
        ignored=_OVERWRITTEN_BY_LITE if project.deployment.kind == LITE else (),
    )
    differences += certificates.newer_than_containers(project.directory, expected, found)
    return View(wanted, expected, found, differences)


def look_at_containers(project: Project) -> View:
    """What runs, whatever the files say: a stop needs no more, and a file that does not resolve must not prevent it."""
    found = {c.service or c.name: c for c in containers.parse_containers(project.containers_text())}
    project.learn_secrets(container.environment for container in found.values())
    return View({}, {}, found, [])
