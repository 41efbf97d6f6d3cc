# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services as the files define them and containers as they are, read from what docker and compose print."""

from __future__ import annotations

import calendar
import contextlib
import json
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

_SERVICE_LABEL = "com.docker.compose.service"
# States in which nothing of a container runs.
AT_REST = frozenset({"exited", "created", "dead", "removing"})


class ComposeError(BitwardenError):
    """Docker or compose cannot do what is needed."""


@dataclass(frozen=True)
class Service:
    """A service as the files define it, env files and interpolation resolved."""

    name: str
    container: str
    image: str
    environment: dict[str, str]
    # Sources on the host, by their place in the container.
    mounts: tuple[tuple[str, str], ...] = ()
    pull_policy: str = ""


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
    restarts: int = 0
    status: int = 0

    @property
    def at_rest(self) -> bool:
        """Whether nothing of it runs."""
        return self.state in AT_REST

    @property
    def began(self) -> float | None:
        """When it was started, as seconds since 1970."""
        with contextlib.suppress(ValueError):
            whole = calendar.timegm(time.strptime(self.started[:19], "%Y-%m-%dT%H:%M:%S"))
            return whole + float(f"0{self.started[19:26].rstrip('Z') or '.0'}")
        return None

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return float("inf") if self.began is None else time.time() - self.began


def parse_config(output: str) -> dict[str, Service]:
    """Reads C(docker compose config --format json), which doubles every dollar sign."""
    try:
        return {name: _service(name, entry) for name, entry in json.loads(output)["services"].items()}
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise ComposeError(
            "The answer of 'docker compose config --format json' is not understood.",
            next_step="Install the compose plugin, version 2 or newer (docker compose version).",
        ) from error


def _service(name: str, entry: dict[str, t.Any]) -> Service:
    return Service(
        name=name,
        container=str(entry.get("container_name") or ""),
        image=str(entry.get("image") or ""),
        environment={
            key: str(value).replace("$$", "$")
            for key, value in (entry.get("environment") or {}).items()
            if value is not None
        },
        mounts=tuple(_mount(volume) for volume in entry.get("volumes") or ()),
        pull_policy=str(entry.get("pull_policy") or ""),
    )


def _mount(volume: t.Any) -> tuple[str, str]:
    if isinstance(volume, dict):
        return str(volume.get("source", "")), str(volume.get("target", ""))
    source, _colon, rest = str(volume).partition(":")
    return source, rest.partition(":")[0]


def environment_of(pairs: t.Iterable[str] | None) -> dict[str, str]:
    """C(KEY=value) entries as a dictionary."""
    return dict(pair.partition("=")[::2] for pair in pairs or ())


def parse_inspect(output: str) -> list[dict[str, t.Any]]:
    """Reads C(docker inspect)."""
    try:
        entries = json.loads(output)
        return [entry for entry in entries if isinstance(entry["State"], dict)]
    except (ValueError, LookupError, TypeError) as error:
        raise _not_understood() from error


def _not_understood() -> ComposeError:
    return ComposeError(
        "The answer of 'docker inspect' is not understood.", next_step="Check the version of Docker Engine."
    )


def parse_containers(output: str) -> list[Container]:
    """Reads C(docker inspect) of containers."""
    try:
        return [_container(entry) for entry in parse_inspect(output)]
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise _not_understood() from error


def _container(entry: dict[str, t.Any]) -> Container:
    state = entry["State"]
    config = entry["Config"]
    return Container(
        name=str(entry["Name"]).lstrip("/"),
        service=str((config.get("Labels") or {}).get(_SERVICE_LABEL, "")),
        state="restarting" if state.get("Restarting") else str(state["Status"]),
        health=str((state.get("Health") or {}).get("Status", "")),
        image=str(config.get("Image", "")),
        environment=environment_of(config.get("Env")),
        started=str(state.get("StartedAt", "")),
        restarts=int(entry.get("RestartCount") or 0),
        status=int(state.get("ExitCode") or 0),
    )


def by_service(services: t.Mapping[str, Service], containers: t.Iterable[Container]) -> dict[str, Container]:
    """The container of each service, by compose's label or by its fixed name."""
    names = {service.container: name for name, service in services.items() if service.container}
    found: dict[str, Container] = {}
    for container in containers:
        name = container.service or names.get(container.name, "")
        if name in services and (name not in found or container.state == "running"):
            found[name] = container
    return found


def states(names: t.Iterable[str], containers: t.Mapping[str, Container]) -> dict[str, str]:
    """One word (or two) for each service."""
    words: dict[str, str] = {}
    for name in names:
        container = containers.get(name)
        words[name] = "missing" if container is None else container.state
        if container is not None and container.state == "running" and container.health in {"unhealthy", "starting"}:
            words[name] += f" ({container.health})"
    return words


def other_images(services: t.Mapping[str, Service], containers: t.Mapping[str, Container]) -> list[dict[str, str]]:
    """Services that run another image than the files name: a matter for an update, not for a restart."""
    return [
        {"service": name, "running": container.image, "wanted": services[name].image}
        for name, container in containers.items()
        if name in services and container.image != services[name].image
    ]


def version_of(image: str) -> str | None:
    """The tag of an image."""
    name, colon, tag = image.rpartition(":")
    return tag if colon and name and "/" not in tag else None
