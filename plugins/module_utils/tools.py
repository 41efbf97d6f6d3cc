# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How each kind of deployment is started and stopped: always with the tool that its maker has for it."""

from __future__ import annotations

import typing as t

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import bitwarden_sh, drift, images, private
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Account, Answer, Runner, owner_of
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.compose import Compose
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import Service
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.deployment import LITE, STANDARD, Deployment
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Docker, Project
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.drift import Drift
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.lite import RunTool, SingleContainer

Services = t.Mapping[str, Service]


class Tool(t.Protocol):
    """Starts and stops one installation."""

    @property
    def project(self) -> Project:
        """What it works on."""

    @property
    def label(self) -> str:
        """What it is called in a message."""

    def other_images(self) -> list[str]:
        """What a start needs besides the images of the services."""

    def check(self) -> None:
        """Refuses what could not be started again in the same way."""

    def heal(self) -> None:
        """Clears away what a run that was killed has left."""

    def restart(self, services: Services, differences: t.Sequence[Drift], timeout: float) -> Answer:
        """New containers with what the files say."""

    def start(self, services: Services, differences: t.Sequence[Drift], timeout: float) -> Answer:
        """Whatever does not run runs afterwards."""

    def again(self, services: Services, timeout: float) -> Answer:
        """New containers in another way, where the usual one has left old ones."""

    def stop(self, timeout: float) -> Answer:
        """Ends all containers in the usual way."""

    def end(self, timeout: float) -> Answer:
        """Ends containers that the usual way has left."""

    def rescue(self, services: Services, timeout: float) -> Answer:
        """Starts what is not there after a start that failed."""

    def can_go_back(self) -> bool:
        """Whether what ran before is still there, whatever the env file says."""

    def go_back(self, services: Services, timeout: float) -> Answer:
        """Starts the server with what ran before; the env file has been put back."""

    def accept(self) -> None:
        """What runs now has been proven."""


class ComposeTool:
    """C(docker compose down) and C(up -d), which is all that an installation without C(bitwarden.sh) has."""

    label = "'docker compose down' and 'up -d'"

    def __init__(self, project: Compose) -> None:
        self.project = project

    def other_images(self) -> list[str]:
        """Nothing besides the images of the services."""
        return []

    def check(self) -> None:
        """The compose files say all that a start needs."""

    def heal(self) -> None:
        """Compose takes containers in any state."""

    def restart(self, services: Services, differences: t.Sequence[Drift], timeout: float) -> Answer:
        """New containers with what the files say."""
        lite = self.project.deployment.kind == LITE
        if lite and differences and all(one.kind == drift.SETTING for one in differences):
            changed = self.project.up(services, timeout)
            if changed.status == 0:
                return changed
        # All at once: nginx would keep the addresses of the services that ran when it started.
        down = self.project.compose("down", timeout=timeout, mixed=True)
        up = self.project.up(services, timeout)
        return Answer(up.status or down.status, down.stdout + up.stdout, down.stderr + up.stderr)

    def again(self, services: Services, timeout: float) -> Answer:
        """Compose without any script around it."""
        return ComposeTool.restart(self, services, [], timeout)

    def start(self, services: Services, differences: t.Sequence[Drift], timeout: float) -> Answer:
        """A half of the stack is not started beside the other half."""
        return self.restart(services, [], timeout)

    def stop(self, timeout: float) -> Answer:
        """Ends all containers in the usual way."""
        return self.project.compose("down", timeout=timeout, mixed=True)

    def end(self, timeout: float) -> Answer:
        """Ends containers that the usual way has left."""
        return self.project.compose("down", timeout=timeout, mixed=True)

    def rescue(self, services: Services, timeout: float) -> Answer:
        """Starts what is not there after a start that failed."""
        return self.project.up(services, timeout)

    def can_go_back(self) -> bool:
        """The old containers are gone."""
        return False

    def go_back(self, services: Services, timeout: float) -> Answer:
        """Starts the server with what ran before; the env file has been put back."""
        return self.restart(services, [], timeout)

    def accept(self) -> None:
        """Nothing was kept."""


class ScriptTool(ComposeTool):
    """C(bitwarden.sh), unchanged; what it asks the registry for is there already."""

    label = "'bitwarden.sh restart'"

    def other_images(self) -> list[str]:
        """The setup program runs at the end of every start, certbot before."""
        return bitwarden_sh.other_images(self.project.directory)

    def heal(self) -> None:
        """Clears away what a run that was killed has left."""
        private.remove_leftovers(self.project.directory)

    def restart(self, services: Services, differences: t.Sequence[Drift], timeout: float) -> Answer:
        """New containers with what the files say."""
        return self._run("restart", services, timeout)

    def start(self, services: Services, differences: t.Sequence[Drift], timeout: float) -> Answer:
        """Whatever does not run runs afterwards."""
        return self._run("start", services, timeout)

    def _run(self, command: str, services: Services, timeout: float) -> Answer:
        known = [*(service.image for service in services.values()), *self.other_images()]
        with images.answered_at_once(self.project, known):
            return bitwarden_sh.run(self.project, command, timeout)

    def stop(self, timeout: float) -> Answer:
        """Ends all containers in the usual way; the script leaves one that runs alone."""
        return bitwarden_sh.run(self.project, "stop", timeout)


def tool_for(deployment: Deployment, runner: Runner, container: str) -> Tool:
    """The tool of an installation, driven as its owner."""
    if deployment.kind == STANDARD:
        script = bitwarden_sh.script_path(deployment.directory)
        return ScriptTool(Compose(deployment, owner_of(script, runner)))
    account = _docker_user(deployment, runner)
    if deployment.by_compose:
        return ComposeTool(Compose(deployment, account))
    return RunTool(SingleContainer(deployment, account, name=container))


def _docker_user(deployment: Deployment, runner: Runner) -> Account:
    """The owner of the directory, if Docker lets him in; an administrator may have used root instead."""
    owner = owner_of(deployment.directory, runner)
    if owner.name is not None and Docker(deployment, owner).docker(["version"]).status != 0:
        return Account(runner)
    return owner
