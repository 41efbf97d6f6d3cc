# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bitwarden Lite as one container of C(docker run): no file but the env file says how it was started.

So its options are read from the container itself. The old one is kept under another name until the new one is proven.
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import drift, private, run_options
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Answer
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.compose import address_of
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import (
    AT_REST,
    ComposeError,
    Service,
    environment_of,
    parse_inspect,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import QUICK, Project
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.drift import Drift

Entry = dict[str, t.Any]
_KEPT = "-previous"


def parse_run_environment(data: bytes, name: str) -> dict[str, str]:
    """An env file as C(docker run --env-file) reads it: values are literal, a name alone comes from the caller."""
    found: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        text = line.lstrip()
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        if not key or key != key.strip() or any(letter.isspace() for letter in key):
            raise ComposeError(
                f"Line {number} of {name} is no KEY=value that 'docker run --env-file' accepts; nothing was stopped.",
                next_step="Correct the line: no blanks in the name, none around the '='.",
            )
        if equals:
            found[key] = value
        elif key in os.environ:
            found[key] = os.environ[key]
    return found


@dataclass
class SingleContainer(Project):
    """The container of Lite, and the one that a run of ours has put aside."""

    name: str = "bitwarden"

    @property
    def kept(self) -> str:
        """What the old container is called until the new one is proven."""
        return self.name + _KEPT

    def entry(self, name: str) -> Entry | None:
        """What docker says about a container."""
        result = self.docker(["inspect", "--type", "container", name])
        if result.status != 0:
            said = result.said.lower()
            if "no such" not in said:
                self.checked(result, f"The container {name} cannot be inspected.", "Check the Docker engine.")
            return None
        return parse_inspect(result.stdout)[0]

    def current(self) -> Entry:
        """The container, or the one that was put aside."""
        found = self.entry(self.name) or self.entry(self.kept)
        if found is None:
            raise ComposeError(
                f"There is no container '{self.name}', and no compose file in {self.directory}: how Lite was started "
                "is not known.",
                next_step=f"Start it as documented (docker run -d --name {self.name} … --env-file settings.env …), or "
                "name it in 'container'.",
            )
        return found

    def wanted(self) -> dict[str, Service]:
        """One service, with what the env file says now."""
        config = self.current()["Config"]
        try:
            with open(self.deployment.env_file, "rb") as stream:
                environment = parse_run_environment(stream.read(), self.deployment.env_file)
        except OSError as error:
            raise ComposeError(
                f"{self.deployment.env_file} cannot be read: {error.strerror}.", next_step="Become root or its owner."
            ) from error
        self.learn_secrets([environment])
        return {self.name: Service(self.name, self.name, str(config.get("Image", "")), environment)}

    def containers_text(self) -> str:
        """C(docker inspect) of the container; empty where there is none."""
        return "[]" if self.entry(self.name) is None else self.inspect([self.name])

    def reads_env_file(self, service: Service) -> bool:
        """The one container does."""
        return True

    def address(self, services: t.Mapping[str, Service]) -> str | None:
        """The address that the server believes to have."""
        return address_of(services.values())

    def pull(self, timeout: float) -> Answer:
        """Fetches the image."""
        return self.docker(["pull", str(self.current()["Config"]["Image"])], timeout)

    def logs(self, names: t.Sequence[str], lines: int) -> Answer:
        """The last lines that the container logged."""
        return self.docker(["logs", "--tail", str(lines), self.name])


class RunTool:
    """Stop, put aside, run: and back again if the new container does not come up."""

    label = "'docker run'"

    def __init__(self, project: SingleContainer) -> None:
        self.project = project

    def other_images(self) -> list[str]:
        """Nothing besides the image of the container."""
        return []

    def _image_config(self, entry: Entry) -> Entry:
        """That of the image which the container was made from: the name may have gone over to a newer one."""
        made_from = self.project.image_config(str(entry.get("Image")))
        return made_from or self.project.image_config(str(entry["Config"]["Image"]))

    def check(self) -> None:
        """Refuses options that the new container would not get in the same way."""
        entry = self.project.current()
        runtime = self.project.docker(["info", "--format", "{{.DefaultRuntime}}"]).stdout.strip()
        unknown = run_options.not_carried_over(entry, self._image_config(entry), runtime)
        if unknown:
            raise ComposeError(
                f"The container {self.project.name} was made with options that are not carried over to a new one: "
                f"{', '.join(unknown)}. Nothing was stopped.",
                next_step="Describe the server in a docker-compose.yml beside settings.env (then that file is used), "
                "or make the container with the documented options: image, name, ports, volumes, network, restart.",
            )

    def heal(self) -> None:
        """Brings the kept container back where a run was killed between two steps."""
        docker = self.project.docker
        private.remove_leftovers(self.project.directory)
        if self.project.entry(self.project.kept) is None:
            return
        if self.project.entry(self.project.name) is None:
            renamed = docker(["rename", self.project.kept, self.project.name])
            self._checked(renamed, "The old container cannot be renamed.")

    def restart(self, services: t.Mapping[str, Service], differences: t.Sequence[Drift], timeout: float) -> Answer:
        """A new container, for an old one keeps the settings that it was made with."""
        entry = self.project.current()
        if differences and all(one.kind == drift.STATE for one in differences) and entry["State"]["Status"] in AT_REST:
            return self.project.docker(["start", self.project.name], timeout)
        image = self._image_config(entry)
        extra = self._extra(services, entry, image)
        if self.project.entry(self.project.kept) is not None:
            # A run was killed before the container of now was proven: the older one is what can be gone back to.
            steps = [["rm", "-f", self.project.name]]
        else:
            steps = [["stop", self.project.name], ["rename", self.project.name, self.project.kept]]
        for step in steps:
            answer = self.project.docker(step, timeout)
            if answer.status != 0:
                return answer
        return self._run(entry, image, extra, timeout)

    def _run(self, entry: Entry, image: Entry, extra: t.Mapping[str, str], timeout: float) -> Answer:
        options = ["run", "-d", "--name", self.project.name, *run_options.arguments(entry, image)]
        with private.private_place(self.project) as place:
            # Not in the arguments: everybody may read those while the program runs.
            given = os.path.join(place, "given")
            private.write_private(self.project, given, "".join(f"{key}={extra[key]}\n" for key in extra), 0o600)
            files = ["--env-file", self.project.deployment.env_file, "--env-file", given]
            answer = self.project.docker([*options, *files, str(entry["Config"]["Image"])], timeout)
            for network in run_options.more_networks(entry):
                self.project.docker(["network", "connect", network, self.project.name], QUICK)
        return answer

    def _extra(self, services: t.Mapping[str, Service], entry: Entry, image: Entry) -> dict[str, str]:
        """Variables that neither the image nor the env file has: they were given by hand and stay."""
        service = services[self.project.name]
        own, injected = environment_of(image.get("Env")), self.project.injected()
        return {
            key: value
            for key, value in environment_of(entry["Config"].get("Env")).items()
            if key not in service.environment
            and own.get(key) != value
            and key not in injected
            and not drift.is_bitwardens(key)
        }

    def again(self, services: t.Mapping[str, Service], timeout: float) -> Answer:
        """There is no other way."""
        return self.restart(services, [], timeout)

    def start(self, services: t.Mapping[str, Service], differences: t.Sequence[Drift], timeout: float) -> Answer:
        """Starts the container as it is; one that runs and is not well is started anew."""
        entry = self.project.entry(self.project.name)
        command = "start" if entry is not None and entry["State"]["Status"] in AT_REST else "restart"
        return self.project.docker([command, self.project.name], timeout)

    def stop(self, timeout: float) -> Answer:
        """Ends the container in the usual way."""
        return self.project.docker(["stop", self.project.name], timeout)

    def end(self, timeout: float) -> Answer:
        """Ends a container that the usual way has left."""
        return self.project.docker(["kill", self.project.name], timeout)

    def rescue(self, services: t.Mapping[str, Service], timeout: float) -> Answer:
        """Starts what is not there after a start that failed."""
        return self.project.docker(["start", self.project.name], timeout)

    def can_go_back(self) -> bool:
        """Whether the old container is still there."""
        return self.project.entry(self.project.kept) is not None

    def go_back(self, services: t.Mapping[str, Service], timeout: float) -> Answer:
        """The old container takes its name and its place again."""
        if self.can_go_back():
            self.project.docker(["rm", "-f", self.project.name], timeout)
            answer = self.project.docker(["rename", self.project.kept, self.project.name])
            if answer.status != 0:
                return answer
        return self.project.docker(["start", self.project.name], timeout)

    def accept(self) -> None:
        """The old container has done its duty; its volumes stay."""
        if self.can_go_back():
            self._checked(self.project.docker(["rm", self.project.kept]), "The old container cannot be removed.")

    def _checked(self, answer: Answer, what: str) -> None:
        self.project.checked(answer, what, f"Look at it with 'docker ps -a --filter name={self.project.name}'.")
