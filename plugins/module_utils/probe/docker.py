# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the container whose network is used, and makes one for a moment where there is none."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import secrets
import shutil
import subprocess
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import environment_of
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.timing import Deadline, OutOfTimeError

_SHARE = 0.3
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_SERVICE, _PROJECT = "com.docker.compose.service", "com.docker.compose.project.working_dir"
_PATIENCE = 0.1
# What has to be left of the time when the container runs.
_FOR_QUESTIONS = 0.25
# It waits for a line that never comes; its end is that of whoever holds the other side, however that ends.
_WAITING = ("--entrypoint", "sh")
_SCRIPT = ("-c", "read -r line")
_END_SECONDS = 5.0
_LABEL = "selfhosted.bitwarden.egress_probe"
# No probe takes so long.
_OLD = 300


class DockerError(Exception):
    """Docker does not give what is needed; the text says why."""


@dataclass(frozen=True)
class Container:
    """A container that runs."""

    name: str
    pid: int
    image: str
    environment: dict[str, str]
    labels: dict[str, str]

    @property
    def rank(self) -> int:
        """How surely it is Bitwarden's api; 0 means not at all."""
        ours = "bitwarden" in self.image
        if ours and self.labels.get(_SERVICE) == "api":
            return 4
        if self.name == "bitwarden-api":
            return 3
        if re.search(r"bitwarden/(lite|self-host)\b", self.image):
            return 2
        return 1 if self.name == "bitwarden" else 0


def program() -> str:
    """The docker program."""
    found = shutil.which("docker", path=f"{os.environ.get('PATH', '')}:/usr/local/bin:/usr/bin:/bin:/snap/bin")
    if found is None:
        raise DockerError("there is no program docker on this server")
    return found


def call(arguments: t.Sequence[str], deadline: Deadline) -> str:
    """What docker prints; it changes nothing by that."""
    try:
        done = subprocess.run(
            [program(), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline.step(_SHARE),
            check=False,
        )
    except (subprocess.TimeoutExpired, OutOfTimeError) as error:
        raise DockerError("Docker does not answer in time") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise DockerError(f"Docker says: {lines[-1].rstrip('.?')}")
    return done.stdout


def running(deadline: Deadline) -> list[Container]:
    """All containers that run."""
    names = call(["ps", "--quiet", "--no-trunc"], deadline).split()
    return [_container(entry) for entry in _inspected(names, deadline)] if names else []


def _inspected(names: t.Sequence[str], deadline: Deadline) -> list[dict[str, t.Any]]:
    try:
        return list(json.loads(call(["inspect", "--type", "container", *names], deadline)))
    except (ValueError, TypeError) as error:
        raise DockerError("the answer of 'docker inspect' is not understood") from error


def _container(entry: t.Mapping[str, t.Any]) -> Container:
    try:
        config = entry["Config"]
        return Container(
            name=str(entry["Name"]).lstrip("/"),
            pid=int(entry["State"]["Pid"]),
            image=str(config.get("Image", "")),
            environment=environment_of(config.get("Env")),
            labels=dict(config.get("Labels") or {}),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DockerError("the answer of 'docker inspect' is not understood") from error


def check_name(name: str) -> None:
    """Refuses what no container is called."""
    if not _NAME.fullmatch(name):
        raise BitwardenError(
            f"container is {name!r}, which no container can be called.",
            next_step="Give a name as docker ps shows it, or leave it out for Bitwarden's api.",
        )


def named(name: str, containers: t.Sequence[Container]) -> Container:
    """The container of that name; it has to run."""
    for one in containers:
        if one.name == name and one.pid:
            return one
    raise BitwardenError(
        f"No container {name} runs on this server.",
        next_step="Start it, give the name of one that docker ps shows, or leave it out for Bitwarden's api.",
    )


def bitwarden(containers: t.Sequence[Container]) -> Container:
    """The api of Bitwarden, or Lite."""
    best = max((one.rank for one in containers if one.pid), default=0)
    found = [one for one in containers if one.pid and one.rank == best]
    if not best:
        raise DockerError("no container of Bitwarden's api runs here")
    if len(found) > 1:
        raise BitwardenError(
            f"Several containers may be Bitwarden's api: {', '.join(sorted(one.name for one in found))}.",
            next_step="Name one in container.",
        )
    return found[0]


def image_for_setup(containers: t.Sequence[Container], deadline: Deadline) -> str:
    """An image that is here already: Bitwarden's Setup, or else one that runs, or else any."""
    output = call(["image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"], deadline)
    images = [(name, identity) for name, _blank, identity in (line.partition(" ") for line in output.splitlines())]
    if not images:
        raise DockerError("there is no image on this server, and none is fetched for this")
    setup = [one[1] for one in images if re.search(r"bitwarden/setup:", one[0])]
    ours = sorted((one for one in containers if one.rank), key=lambda one: -one.rank)
    return [*setup, *(one.image for one in ours), *(one[1] for one in images)][0]


def configuration_of(containers: t.Sequence[Container]) -> str | None:
    """The folder of Docker's settings of whoever drives Bitwarden: they may give a proxy to what is started."""
    for one in sorted(containers, key=lambda one: -one.rank):
        with contextlib.suppress(OSError, KeyError):
            owner = pwd.getpwuid(os.stat(one.labels[_PROJECT]).st_uid)
            folder = os.path.join(owner.pw_dir, ".docker")
            if one.rank and os.path.isfile(os.path.join(folder, "config.json")):
                return folder
    return None


def clear(deadline: Deadline) -> None:
    """Removes what a probe had to leave that was killed between making a container and starting it."""
    found = call(
        ["ps", "--all", "--filter", f"label={_LABEL}", "--format", f'{{{{.ID}}}} {{{{.Label "{_LABEL}"}}}}'], deadline
    )
    for identity, _blank, made in (line.partition(" ") for line in found.splitlines()):
        if made.isdigit() and int(made) < time.time() - _OLD:
            call(["rm", "--force", "--volumes", identity], deadline)


class Helper:
    """A container in Docker's default network that waits, as long as it is needed and no longer."""

    def __init__(self, image: str, configuration: str | None = None) -> None:
        self.name = f"bitwarden-egress-probe-{secrets.token_hex(6)}"
        self._image = image
        self._environment = {**os.environ, **({"DOCKER_CONFIG": configuration} if configuration else {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, deadline: Deadline) -> Container:
        """Starts it, and returns it when it runs."""
        command = [program(), "run", "--rm", "--interactive", "--pull", "never", "--name", self.name]
        command += ["--label", f"{_LABEL}={time.time():.0f}"]
        command += ["--network", "bridge", "--cap-drop", "ALL", "--log-driver", "none", "--no-healthcheck"]
        command += ["--user", "65534:65534", "--read-only", *_WAITING, self._image, *_SCRIPT]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
        )
        while deadline.left > _FOR_QUESTIONS * deadline.whole:
            if self._process.poll() is not None:
                raise DockerError(f"no container can be started from the image {self._image}: {self._said()}")
            with contextlib.suppress(DockerError):
                for found in map(_container, _inspected([self.name], deadline)):
                    if found.pid:
                        return found
            time.sleep(_PATIENCE)
        raise DockerError(f"a container from the image {self._image} does not start in time")

    def _said(self) -> str:
        stderr = self._process.stderr if self._process else None
        lines = (stderr.read(4096) if stderr else b"").decode("utf-8", "replace").strip().splitlines()
        return lines[0] if lines else "it ends at once"

    def remove(self) -> None:
        """Lets it end, which removes it, and removes it otherwise where that does not help."""
        if self._process is None:
            return
        process, self._process = self._process, None
        for stream in (process.stdin, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
            return
        process.kill()
        process.wait()
        with contextlib.suppress(DockerError):
            call(["rm", "--force", "--volumes", self.name], Deadline.after(_END_SECONDS))
