# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An installation that compose files describe."""

from __future__ import annotations

import os
import shutil
import tempfile
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import deployment
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Account, Answer
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import (
    ComposeError,
    Service,
    parse_config,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import QUICK, Project
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.env_wish import SETUP_KEYS
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.redact import redact_text

_PLUGIN = ("docker", "compose")
VAULT_KEY = "globalSettings__baseServiceUri__vault"
_LITE_DOMAIN = "BW_DOMAIN"
# A service that has one of these gets the env file that Bitwarden's setup writes for the installation.
_OVERRIDE_MARKS = frozenset(key.lower() for key in SETUP_KEYS if key != VAULT_KEY)


@dataclass
class Compose(Project):
    """The compose project of one installation, driven as a given account."""

    program: tuple[str, ...] = _PLUGIN

    @property
    def working_directory(self) -> str:
        """Where the compose files lie: it also names the project, and may hold a file C(.env)."""
        if self.deployment.kind == deployment.LITE:
            return self.directory
        return os.path.join(self.directory, "bwdata", "docker")

    @property
    def files(self) -> tuple[str, ...]:
        """The compose files, as C(bitwarden.sh) puts them together."""
        return self.deployment.compose_files or (os.path.join(self.working_directory, "docker-compose.yml"),)

    def compose(self, *arguments: str, timeout: float = QUICK, mixed: bool = False) -> Answer:
        """Runs compose with those files."""
        chosen = [part for path in self.files for part in ("-f", path)]
        result = self.run([*self.program, *chosen, *arguments], timeout, mixed=mixed)
        if result.status != 0 and self._has_no_plugin():
            # What bitwarden.sh falls back to as well.
            self.program = ("docker-compose",)
            result = self.run([*self.program, *chosen, *arguments], timeout, mixed=mixed)
        return result

    def _has_no_plugin(self) -> bool:
        if self.program != _PLUGIN or shutil.which("docker-compose") is None:
            return False
        return self.docker(["compose", "version"]).status != 0

    def wanted(self) -> dict[str, Service]:
        """What the files say now; one that does not resolve would leave the server down after a stop."""
        if not os.path.exists(self.files[0]):
            raise ComposeError(
                f"{self.files[0]} does not exist.",
                next_step="Name the directory that holds bitwarden.sh and bwdata of an installed server.",
            )
        output = self.checked(
            self.compose("config", "--format", "json"),
            f"The compose files in {self.working_directory} and their env files do not resolve.",
            "Correct the file that the message names; nothing was stopped.",
        )
        services = parse_config(output)
        self.learn_secrets(service.environment for service in services.values())
        return services

    def containers_text(self) -> str:
        """C(docker inspect) of all containers, running or not; empty where there are none."""
        output = self.checked(
            self.compose("ps", "-a", "-q"), "The containers cannot be listed.", "Check the Docker engine."
        )
        ids = output.split()
        return self.inspect(ids) if ids else "[]"

    def reads_env_file(self, service: Service) -> bool:
        """Whether a service gets the env file that settings are merged into."""
        if self.deployment.kind == deployment.LITE:
            return any(key.startswith("BW_") for key in service.environment)
        return not _OVERRIDE_MARKS.isdisjoint(key.lower() for key in service.environment)

    def address(self, services: t.Mapping[str, Service]) -> str | None:
        """The address that the server believes to have."""
        return address_of(filter(self.reads_env_file, services.values()))

    def pull(self, timeout: float) -> Answer:
        """Fetches the images of all services."""
        return self.compose("pull", timeout=timeout)

    def logs(self, names: t.Sequence[str], lines: int) -> Answer:
        """The last lines that services logged."""
        return self.compose("logs", "--no-color", "--tail", str(lines), *names)

    def up(self, services: t.Mapping[str, Service], timeout: float) -> Answer:
        """Starts what is not running or has other settings, without asking a registry."""
        # A policy in the compose file may say that every start asks the registry.
        asks = any(service.pull_policy not in {"", "missing", "never"} for service in services.values())
        return self.compose("up", "-d", *(["--pull", "never"] if asks else []), timeout=timeout, mixed=True)


def address_of(services: t.Iterable[Service]) -> str | None:
    """The first address that a service has in its settings."""
    for service in services:
        if service.environment.get(VAULT_KEY):
            return service.environment[VAULT_KEY]
        if service.environment.get(_LITE_DOMAIN):
            return f"https://{service.environment[_LITE_DOMAIN]}"
    return None


def available(account: Account) -> bool:
    """Whether C(docker compose) is at hand; it needs no running engine for reading files."""
    if shutil.which("docker") is None:
        return False
    return account.run(["docker", "compose", "version"], timeout=QUICK).status == 0


def env_file_problem(account: Account, data: bytes, directory: str) -> str | None:
    """What the real compose says against an env file of that content, or None."""
    with tempfile.TemporaryDirectory(dir=directory) as place:
        for name, content in (
            ("candidate.env", data),
            ("docker-compose.yml", b"services:\n  check:\n    image: check\n    env_file: [candidate.env]\n"),
        ):
            with open(os.path.join(place, name), "wb") as stream:
                stream.write(content)
        command = ["docker", "compose", "-f", os.path.join(place, "docker-compose.yml"), "config", "--quiet"]
        result = account.run(command, timeout=QUICK, cwd=place)
    return None if result.status == 0 else redact_text(result.said)
