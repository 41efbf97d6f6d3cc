"""The managed host of the lab over real ssh, and what was noted on the way."""

from __future__ import annotations

import json
import os
import ssl
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from testinfra.host import Host

EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
SERVER = "eu1"


def over_ssh(lab: Path) -> Host:
    """The only managed host of a lab."""
    known = yaml.safe_load((lab / "inventory.yml").read_text())["bitwarden"]["hosts"][SERVER]
    config = EPHEMERAL / "seen" / f"ssh_config_{lab.name}"
    config.write_text(
        f"Host {SERVER}\n  HostName {known['ansible_host']}\n  Port {known['ansible_port']}\n"
        f"  User {known['ansible_user']}\n  IdentityFile {known['ansible_ssh_private_key_file']}\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {lab}/ssh/known_hosts\n"
    )
    return testinfra.get_host(f"ssh://{SERVER}", ssh_config=str(config))


@pytest.fixture(scope="module")
def host() -> Host:
    """The server deployed by bitwarden.sh."""
    return over_ssh(EPHEMERAL / "lab")


@pytest.fixture(scope="module")
def lite() -> Host:
    """The server in one container."""
    return over_ssh(EPHEMERAL / "lite")


@pytest.fixture(scope="module")
def noted() -> Callable[[str], dict[str, Any]]:
    """What the lab said of the server at a moment."""

    def read(moment: str) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((EPHEMERAL / "seen" / f"{moment}.json").read_text())
        found: dict[str, Any] = state["servers"][SERVER]
        return found

    return read


@pytest.fixture(scope="module")
def rolled_back() -> dict[str, Any]:
    """What the module returned that could not start the server."""
    found: dict[str, Any] = json.loads((EPHEMERAL / "seen" / "rollback.json").read_text())
    return found


@pytest.fixture(scope="module")
def environment_of(host: Host) -> Callable[[str], dict[str, str]]:
    """The environment that a container was made with."""

    def read(container: str, where: Host | None = None) -> dict[str, str]:
        text = (where or host).check_output("docker inspect %s", container)
        return dict(pair.partition("=")[::2] for pair in json.loads(text)[0]["Config"]["Env"])

    return read


@pytest.fixture(scope="module")
def front_door() -> Callable[..., dict[str, Any]]:
    """The answer of a server's front door, as it is asked from this machine."""

    def ask(lab: str = "lab") -> dict[str, Any]:
        url = json.loads((EPHEMERAL / lab / "lab.json").read_text())["servers"][SERVER]["url"]
        context = ssl.create_default_context(cafile=EPHEMERAL / lab / "ca.pem")
        with urllib.request.urlopen(f"{url}/api/config", context=context, timeout=30) as answer:  # noqa: S310 - https, the lab's
            found: dict[str, Any] = json.load(answer)
        return found

    return ask
