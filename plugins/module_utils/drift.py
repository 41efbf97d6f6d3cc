# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the running containers differ from what the files say."""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import Container, Service
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.env_file import same_value
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.redact import is_secret

SETTING, STATE, HEALTH, CERTIFICATES = "setting", "state", "health", "certificates"
# The icons service is healthy only while it reaches the internet, which a firewall may rightly forbid.
_HEALTH_NEEDS_INTERNET = frozenset({"icons"})
_PROXY_KEYS = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"})
# A service that ends soon after each start looks as if it ran whenever one looks.
_LOOP_RESTARTS = 3
_LOOP_SECONDS = 30.0
_SHOWN = 3


@dataclass(frozen=True)
class Drift:
    """One difference between the files and what runs."""

    service: str
    what: str
    key: str | None = None
    kind: str = STATE
    # Whether it may pass by itself while the stack starts.
    passing: bool = False

    def shown(self) -> dict[str, str | None]:
        """As a result holds it."""
        return {"service": self.service, "key": self.key, "what": self.what}

    @property
    def words(self) -> str:
        """As a sentence holds it."""
        return " ".join(filter(None, (self.service, self.key, self.what)))


def words(drift: t.Sequence[Drift]) -> str:
    """The first few, for a message."""
    hidden = len(drift) - _SHOWN
    return ", ".join(one.words for one in drift[:_SHOWN]) + (f" and {hidden} more" if hidden > 0 else "")


def overlay(
    services: t.Mapping[str, Service],
    environment: t.Mapping[str, str | None],
    reads: t.Callable[[Service], bool],
) -> dict[str, Service]:
    """The services as they will be once the env file holds these values.

    A key that is taken out of that file falls back to what other files say, and only the services that do not read
    the env file show that alone.
    """
    plain = {name: service for name, service in services.items() if not reads(service)}
    fallback = {key: value for service in plain.values() for key, value in service.environment.items()}
    result: dict[str, Service] = {}
    for name, service in services.items():
        if name in plain:
            result[name] = service
            continue
        merged: dict[str, str | None] = {**service.environment, **environment}
        resolved = {key: fallback.get(key) if value is None else value for key, value in merged.items()}
        kept = {key: value for key, value in resolved.items() if value is not None}
        result[name] = replace(service, environment=kept)
    return result


def contradictions(services: t.Mapping[str, Service], expected: t.Mapping[str, Service]) -> list[Drift]:
    """Where the files as they are do not lead to what is expected of them."""
    return [
        Drift(name, "resolves to another value", key, SETTING)
        for name, service in expected.items()
        for key, value in service.environment.items()
        if not _same(key, services[name].environment.get(key), value)
    ]


def _same(key: str, one: str | None, other: str | None) -> bool:
    """Secrets are compared by their hash."""
    if one is None or other is None or not (is_secret(key, one) or is_secret(key, other)):
        return same_value(key, one, other)
    return (
        hashlib.sha256(one.encode("utf-8", "replace")).digest()
        == hashlib.sha256(other.encode("utf-8", "replace")).digest()
    )


def find(
    services: t.Mapping[str, Service],
    containers: t.Mapping[str, Container],
    image_environment: t.Callable[[str], t.Mapping[str, str]],
    *,
    injected: t.Mapping[str, str] | None = None,
    ignored: t.Container[str] = (),
) -> list[Drift]:
    """Every difference that only new containers can heal.

    C(injected) is what Docker adds by itself to new containers, C(ignored) holds keys that an image overwrites.
    """
    drift: list[Drift] = []
    for name, service in services.items():
        container = containers.get(name)
        if container is None:
            drift.append(Drift(name, "has no container"))
            continue
        drift += _trouble(container, name)
        drift += [
            Drift(name, what, key, SETTING)
            for key, what in _settings(service, container, image_environment, injected or {})
            if key not in ignored
        ]
    return drift


def _trouble(container: Container, name: str) -> list[Drift]:
    """What is wrong with a container whatever its settings are."""
    state = container.state
    looping = container.restarts >= _LOOP_RESTARTS and container.age < _LOOP_SECONDS
    if state == "exited":
        return [Drift(name, f"has exited with status {container.status}")]
    if state == "created":
        return [Drift(name, "was created and never started")]
    if state == "restarting" or (state == "running" and looping):
        return [Drift(name, f"keeps restarting (restarts so far: {container.restarts})", passing=True)]
    if state != "running":
        return [Drift(name, f"is {state}")]
    if container.health == "unhealthy" and name not in _HEALTH_NEEDS_INTERNET:
        return [Drift(name, "is unhealthy", kind=HEALTH, passing=True)]
    return []


def _settings(
    service: Service,
    container: Container,
    image_environment: t.Callable[[str], t.Mapping[str, str]],
    injected: t.Mapping[str, str],
) -> t.Iterator[tuple[str, str]]:
    for key, value in service.environment.items():
        actual = container.environment.get(key)
        if not _same(key, actual, value):
            yield key, "is missing" if actual is None else "has another value"
    # What was taken out of the files after the container was made.
    suspects = [key for key in container.environment if key not in service.environment and is_bitwardens(key)]
    own = image_environment(container.image) if suspects else {}
    for key in suspects:
        if key in injected:
            if not _same(key, container.environment[key], injected[key]):
                yield key, "has another value"
        elif key not in own:
            yield key, "is no longer wanted"


def is_bitwardens(key: str) -> bool:
    """Whether nobody but the files would set it: Bitwarden's own settings, and proxies."""
    lowered = key.lower()
    return "settings__" in lowered or lowered.startswith("bw_") or lowered in _PROXY_KEYS
