# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The docker program, run as the account that drives an installation, and what it says told without secrets."""

from __future__ import annotations

import abc
import contextlib
import json
import os
import pwd
import re
import shutil
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Account, Answer
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import (
    ComposeError,
    Service,
    environment_of,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.deployment import Deployment
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.redact import is_secret, redact_text

QUICK = 120.0
# What docker without the plugin says, and what versions of compose before 2 say.
_NO_COMPOSE = ("docker compose", "is not a docker command", "shorthand flag: 'f'", "No such option: --format")
_PROGRESS = re.compile(r"\s*(?:Image\s+)?\S+\s+(?:Pull(?:ing|ed)|Skipped|Interrupted|Waiting)\b")
_PROXIES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "ftpProxy": "FTP_PROXY",
    "noProxy": "NO_PROXY",
    "allProxy": "ALL_PROXY",
}


@dataclass
class Docker:
    """Docker, as one account uses it for one installation."""

    deployment: Deployment
    account: Account
    secrets: tuple[str, ...] = ()
    first_on_path: str = ""

    @property
    def directory(self) -> str:
        """The directory of the installation."""
        return self.deployment.directory

    @property
    def working_directory(self) -> str:
        """Where docker is run."""
        return self.directory

    def docker(self, arguments: t.Sequence[str], timeout: float = QUICK) -> Answer:
        """Runs docker and returns whatever came of it."""
        return self.run(["docker", *arguments], timeout)

    def run(self, command: t.Sequence[str], timeout: float = QUICK, *, answer: str = "", mixed: bool = False) -> Answer:
        """Runs a program as the account; with C(mixed) its complaints stand among the rest of the output."""
        if shutil.which(command[0]) is None:
            raise ComposeError(
                f"No program '{command[0]}' is on PATH.",
                next_step="Run this task on the Bitwarden server itself, with Docker Engine installed.",
            )
        return self.account.run(
            command,
            timeout=timeout,
            cwd=self.working_directory,
            answer=answer,
            one_output=mixed,
            first_on_path=self.first_on_path,
        )

    def checked(self, result: Answer, what: str, next_step: str) -> str:
        """The output of a command that has to succeed."""
        if result.status == 0:
            return result.stdout
        said = self.redacted(_without_progress(result.said))
        if "permission denied" in said.lower() and "docker" in said.lower():
            next_step = f"Let the user {self.account.label} use Docker (group docker), or become a user who may."
        elif "Cannot connect to the Docker daemon" in said:
            next_step = "Start Docker (systemctl start docker)."
        elif "did not end within" in said:
            next_step = f"Check the Docker engine (systemctl status docker). {next_step}"
        elif any(part in said for part in _NO_COMPOSE):
            next_step = f"Install the compose plugin of Docker for the user {self.account.label}."
        raise ComposeError(f"{what} Docker says: {said}", next_step=next_step)

    def redacted(self, text: str) -> str:
        """What a program printed, without the secrets that the files hold."""
        return redact_text(text, self.secrets)

    def learn_secrets(self, environments: t.Iterable[t.Mapping[str, str]]) -> None:
        """Remembers the secret values that no output may show."""
        found = {value for pairs in environments for key, value in pairs.items() if is_secret(key, value)}
        self.secrets = tuple(found.union(self.secrets))

    def inspect(self, names: t.Sequence[str]) -> str:
        """What docker tells about containers."""
        return self.checked(
            self.docker(["inspect", *names]),
            "The containers cannot be inspected.",
            "Run again; if they come and go, another program is restarting the stack.",
        )

    def image_environment(self, image: str) -> dict[str, str]:
        """What an image sets by itself; nothing where that cannot be told."""
        return environment_of(self.image_config(image).get("Env"))

    def image_config(self, image: str) -> dict[str, t.Any]:
        """How an image wants to be run; nothing where that cannot be told."""
        result = self.docker(["image", "inspect", image])
        with contextlib.suppress(ValueError, LookupError, TypeError):
            return dict(json.loads(result.stdout)[0]["Config"])
        return {}

    def has_image(self, image: str) -> bool:
        """Whether an image is on this machine."""
        return self.docker(["image", "inspect", image]).status == 0

    def root_directory(self) -> str | None:
        """Where Docker keeps images; proves on the way that it answers and that the account may ask."""
        output = self.checked(
            self.docker(["info", "--format", "{{.DockerRootDir}}"]),
            "Docker does not answer.",
            "Check the Docker engine (systemctl status docker).",
        )
        return output.strip() if output.strip().startswith("/") else None

    def injected(self) -> dict[str, str]:
        """The proxies that Docker's client gives to every container that it makes, from its own configuration."""
        home = self.account.home or _home()
        try:
            with open(os.path.join(home, ".docker", "config.json"), encoding="utf-8") as stream:
                chosen = json.load(stream)["proxies"]["default"]
            names = {name: str(chosen[key]) for key, name in _PROXIES.items() if chosen.get(key)}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return {}
        return {**names, **{name.lower(): value for name, value in names.items()}}


def _without_progress(said: str) -> str:
    """What compose says of each image before it says what went wrong is left out."""
    lines = [line for line in said.splitlines() if not _PROGRESS.match(line)]
    return "\n".join(lines).strip() or said


def _home() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return os.environ.get("HOME", "/")


class Project(Docker, abc.ABC):
    """What runs on behalf of an installation, and what shall run."""

    @abc.abstractmethod
    def wanted(self) -> dict[str, Service]:
        """What the files say now; one that does not resolve would leave the server down after a stop."""

    @abc.abstractmethod
    def containers_text(self) -> str:
        """C(docker inspect) of all containers, running or not; empty where there are none."""

    @abc.abstractmethod
    def reads_env_file(self, service: Service) -> bool:
        """Whether a service gets the env file that settings are merged into."""

    @abc.abstractmethod
    def address(self, services: t.Mapping[str, Service]) -> str | None:
        """The address that the server believes to have."""

    @abc.abstractmethod
    def pull(self, timeout: float) -> Answer:
        """Fetches the images of all services."""

    @abc.abstractmethod
    def logs(self, names: t.Sequence[str], lines: int) -> Answer:
        """The last lines that services logged."""
