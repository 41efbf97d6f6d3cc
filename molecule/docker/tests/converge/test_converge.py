"""One server in the EU after site.yml, seen from inside and outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

PREFIX = "globalSettings__"
WANTED = {
    f"{PREFIX}enableCloudCommunication": "true",
    f"{PREFIX}baseServiceUri__cloudRegion": "EU",
    f"{PREFIX}installation__identityUri": "https://identity.bitwarden.eu",
    f"{PREFIX}installation__apiUri": "https://api.bitwarden.eu",
    f"{PREFIX}pushRelayBaseUri": "https://push.bitwarden.eu",
}
ENV = "/opt/bitwarden/bwdata/env/global.override.env"


def test_the_env_file_is_whole_and_belongs_to_the_owner(host: Host) -> None:
    file = host.file(ENV)
    assert (file.user, file.group, file.mode) == ("bitwarden", "bitwarden", 0o600)
    lines = file.content_string.splitlines()
    for key, value in WANTED.items():
        assert [line for line in lines if line.lower().startswith(key.lower())] == [f"{key}={value}"]
    # Setup's own secrets are still there.
    assert len([line for line in lines if "__installation__key=" in line or "connectionString=" in line]) == 2


def test_nothing_is_left_beside_it(host: Host) -> None:
    names = set(host.file("/opt/bitwarden/bwdata/env").listdir())
    assert names == {"global.override.env", "mssql.override.env", "uid.env"}


@pytest.mark.parametrize("service", ["api", "identity", "admin", "sso", "notifications", "events"])
def test_the_containers_have_it(environment_of: Callable[..., dict[str, str]], service: str) -> None:
    assert WANTED.items() <= environment_of(f"bitwarden-{service}").items()


def test_all_containers_run(host: Host) -> None:
    states = host.check_output("docker ps -a --format {{.Names}}={{.State}}").splitlines()
    assert len(states) == 11
    assert [state for state in states if not state.endswith("=running")] == []


def test_the_front_door_answers(front_door: Callable[..., dict[str, Any]]) -> None:
    assert front_door()["environment"]["cloudRegion"] == "EU"


def test_python_there_is_old(host: Host) -> None:
    """The modules ran on the oldest version that they support."""
    assert host.check_output("/usr/bin/python3 -c 'import sys; print(sys.version_info[:2])'") == "(3, 9)"
