# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the compose files say, what the containers have, and where the two differ."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Account, Answer
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.env_file import same_value
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.env_wish import SETUP_KEYS
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.redact import is_secret, redact_text

VAULT_KEY = "globalSettings__baseServiceUri__vault"
# A service that has one of these gets the env file that Bitwarden's setup writes for the installation.
OVERRIDE_MARKS = frozenset(key.lower() for key in SETUP_KEYS if key != VAULT_KEY)
_SERVICE_LABEL = "com.docker.compose.service"
_QUICK = 120.0
# The icons service is healthy only while it reaches the internet, which a firewall may rightly forbid.
_HEALTH_NEEDS_INTERNET = frozenset({"icons"})


class ComposeError(BitwardenError):
    """Docker or compose cannot do what is needed."""


@dataclass(frozen=True)
class Service:
    """A service as the compose files define it, env files and interpolation resolved."""

    name: str
    container: str
    image: str
    environment: dict[str, str]


@dataclass(frozen=True)
class Container:
    """A container as it is; its environment is that of its creation."""

    name: str
    service: str
    state: str
    health: str
    image: str
    environment: dict[str, str]
    started: str = ""


@dataclass(frozen=True)
class Drift:
    """One difference between the files and what runs."""

    service: str
    what: str
    key: str | None = None

    def shown(self) -> dict[str, str | None]:
        """As a result holds it."""
        return {"service": self.service, "key": self.key, "what": self.what}


@dataclass
class Compose:
    """The compose project of one installation, driven as a given account."""

    directory: str
    account: Account
    secrets: tuple[str, ...] = ()

    @property
    def docker_directory(self) -> str:
        """Where the compose files lie."""
        return os.path.join(self.directory, "bwdata", "docker")

    @property
    def files(self) -> list[str]:
        """The compose files, as C(bitwarden.sh) puts them together."""
        names = ["docker-compose.yml", "docker-compose.override.yml"]
        paths = [os.path.join(self.docker_directory, name) for name in names]
        return [path for path in paths if os.path.exists(path) or path == paths[0]]

    def docker(self, arguments: t.Sequence[str], timeout: float = _QUICK) -> Answer:
        """Runs docker and returns whatever came of it."""
        if shutil.which("docker") is None:
            raise ComposeError(
                "No program 'docker' is on PATH.",
                next_step="Run this task on the Bitwarden server itself, with Docker Engine installed.",
            )
        return self.account.run(["docker", *arguments], timeout=timeout, cwd=self.docker_directory)

    def compose(self, *arguments: str, timeout: float = _QUICK) -> Answer:
        """Runs C(docker compose) with those files."""
        chosen = [part for path in self.files for part in ("-f", path)]
        return self.docker(["compose", *chosen, *arguments], timeout)

    def checked(self, result: Answer, what: str, next_step: str) -> str:
        """The output of a command that has to succeed."""
        if result.status == 0:
            return result.stdout
        said = self.redacted(result.said)
        if "permission denied" in said.lower() and "docker" in said.lower():
            next_step = f"Let the user {self.account.label} use Docker (group docker), or become a user who may."
        elif "Cannot connect to the Docker daemon" in said:
            next_step = "Start Docker (systemctl start docker)."
        elif "docker compose" in said or "is not a docker command" in said:
            next_step = f"Install the compose plugin of Docker for the user {self.account.label}."
        raise ComposeError(f"{what} Docker says: {said}", next_step=next_step)

    def redacted(self, text: str) -> str:
        """What a program printed, without the secrets that the files hold."""
        return redact_text(text, self.secrets)

    def wanted(self) -> dict[str, Service]:
        """What the files say now; a file that does not resolve would leave the server down after a stop."""
        if not os.path.exists(self.files[0]):
            raise ComposeError(
                f"{self.files[0]} does not exist.",
                next_step="Name the directory that holds bitwarden.sh and bwdata of an installed server.",
            )
        output = self.checked(
            self.compose("config", "--format", "json"),
            f"The compose files in {self.docker_directory} and their env files do not resolve.",
            "Correct the file that the message names; nothing was stopped.",
        )
        services = parse_config(output)
        self.secrets = tuple(
            value
            for service in services.values()
            for key, value in service.environment.items()
            if is_secret(key, value)
        )
        return services

    def containers(self) -> list[Container]:
        """All containers of the project, running or not."""
        output = self.checked(
            self.compose("ps", "-a", "-q"), "The containers cannot be listed.", "Check the Docker engine."
        )
        ids = output.split()
        if not ids:
            return []
        output = self.checked(
            self.docker(["inspect", *ids]),
            "The containers cannot be inspected.",
            "Run again; if they come and go, another program is restarting the stack.",
        )
        return parse_containers(output)

    def image_environment(self, image: str) -> dict[str, str]:
        """What an image sets by itself; nothing where that cannot be told."""
        result = self.docker(["image", "inspect", image])
        try:
            return _environment(json.loads(result.stdout)[0]["Config"]["Env"])
        except (ValueError, LookupError, TypeError):
            return {}


def available(account: Account) -> bool:
    """Whether C(docker compose) is at hand; it needs no running engine for reading files."""
    if shutil.which("docker") is None:
        return False
    return account.run(["docker", "compose", "version"], timeout=_QUICK).status == 0


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
        result = account.run(command, timeout=_QUICK, cwd=place)
    return None if result.status == 0 else redact_text(result.said)


def parse_config(output: str) -> dict[str, Service]:
    """Reads C(docker compose config --format json), which doubles every dollar sign."""
    try:
        services = json.loads(output)["services"]
        return {
            name: Service(
                name=name,
                container=str(service.get("container_name") or ""),
                image=str(service.get("image") or ""),
                environment={
                    key: str(value).replace("$$", "$")
                    for key, value in (service.get("environment") or {}).items()
                    if value is not None
                },
            )
            for name, service in services.items()
        }
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise ComposeError(
            "The answer of 'docker compose config --format json' is not understood.",
            next_step="Install the compose plugin, version 2 or newer (docker compose version).",
        ) from error


def _environment(pairs: t.Iterable[str] | None) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in pairs or ())


def parse_containers(output: str) -> list[Container]:
    """Reads C(docker inspect) of containers."""
    try:
        return [_container(entry) for entry in json.loads(output)]
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise ComposeError(
            "The answer of 'docker inspect' is not understood.", next_step="Check the version of Docker Engine."
        ) from error


def _container(entry: dict[str, t.Any]) -> Container:
    state = entry["State"]
    config = entry["Config"]
    return Container(
        name=str(entry["Name"]).lstrip("/"),
        service=str((config.get("Labels") or {}).get(_SERVICE_LABEL, "")),
        state="restarting" if state.get("Restarting") else str(state["Status"]),
        health=str((state.get("Health") or {}).get("Status", "")),
        image=str(config.get("Image", "")),
        environment=_environment(config.get("Env")),
        started=str(state.get("StartedAt", "")),
    )


def overlay(services: t.Mapping[str, Service], environment: t.Mapping[str, str | None]) -> dict[str, Service]:
    """The services as they will be once the env file that Bitwarden's setup writes holds these values.

    A key that is taken out of that file falls back to what C(docker/global.env) says, and only the services that
    do not read the former show it alone.
    """
    plain = {name: s for name, s in services.items() if OVERRIDE_MARKS.isdisjoint(key.lower() for key in s.environment)}
    fallback = {key: value for service in plain.values() for key, value in service.environment.items()}
    result: dict[str, Service] = dict(plain)
    for name, service in services.items():
        if name in plain:
            continue
        merged: dict[str, str | None] = {**service.environment, **environment}
        resolved = {key: fallback.get(key) if value is None else value for key, value in merged.items()}
        kept = {key: value for key, value in resolved.items() if value is not None}
        result[name] = replace(service, environment=kept)
    return {name: result[name] for name in services}


def contradictions(services: t.Mapping[str, Service], expected: t.Mapping[str, Service]) -> list[Drift]:
    """Where the compose files as they are do not lead to what is expected of them."""
    return [
        Drift(name, "resolves to another value", key)
        for name, service in expected.items()
        for key, value in service.environment.items()
        if not same_value(key, services[name].environment.get(key), value)
    ]


def by_service(services: t.Mapping[str, Service], containers: t.Iterable[Container]) -> dict[str, Container]:
    """The container of each service, by compose's label or by its fixed name."""
    names = {service.container: name for name, service in services.items() if service.container}
    found: dict[str, Container] = {}
    for container in containers:
        name = container.service or names.get(container.name, "")
        if name in services and (name not in found or container.state == "running"):
            found[name] = container
    return found


def find_drift(
    services: t.Mapping[str, Service],
    containers: t.Mapping[str, Container],
    image_environment: t.Callable[[str], t.Mapping[str, str]],
) -> list[Drift]:
    """Every difference that only new containers can heal."""
    drift: list[Drift] = []
    for name, service in services.items():
        container = containers.get(name)
        if container is None:
            drift.append(Drift(name, "has no container"))
            continue
        if container.state != "running":
            drift.append(Drift(name, f"is {container.state}"))
        elif container.health == "unhealthy" and name not in _HEALTH_NEEDS_INTERNET:
            drift.append(Drift(name, "is unhealthy"))
        for key, value in service.environment.items():
            actual = container.environment.get(key)
            if not same_value(key, actual, value):
                drift.append(Drift(name, "is missing" if actual is None else "has another value", key))
        drift += [Drift(name, "is no longer wanted", key) for key in _stale(service, container, image_environment)]
    return drift


def _stale(
    service: Service, container: Container, image_environment: t.Callable[[str], t.Mapping[str, str]]
) -> list[str]:
    """Settings of Bitwarden that were taken out of the files after the container was made."""
    suspects = [key for key in container.environment if key not in service.environment and "settings__" in key.lower()]
    own = image_environment(container.image) if suspects else {}
    return [key for key in suspects if key not in own]


def states(services: t.Mapping[str, Service], containers: t.Mapping[str, Container]) -> dict[str, str]:
    """One word (or two) for each service."""
    words: dict[str, str] = {}
    for name in services:
        container = containers.get(name)
        words[name] = "missing" if container is None else container.state
        if container is not None and container.health in {"unhealthy", "starting"}:
            words[name] += f" ({container.health})"
    return words


def other_images(services: t.Mapping[str, Service], containers: t.Mapping[str, Container]) -> list[dict[str, str]]:
    """Services that run another image than the files name: a matter for an update, not for a restart."""
    return [
        {"service": name, "running": container.image, "wanted": services[name].image}
        for name, container in containers.items()
        if container.image != services[name].image
    ]
