"""Bitwarden Lite after site.yml: one container with the region's settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testinfra.host import Host

PREFIX = "globalSettings__"
WANTED = {
    f"{PREFIX}enableCloudCommunication": "true",
    f"{PREFIX}baseServiceUri__cloudRegion": "EU",
    f"{PREFIX}installation__identityUri": "https://identity.bitwarden.eu",
    f"{PREFIX}installation__apiUri": "https://api.bitwarden.eu",
}


def test_the_settings_are_in_its_file_once(lite: Host) -> None:
    file = lite.file("/opt/bitwarden/settings.env")
    lines = file.content_string.splitlines()
    for key, value in WANTED.items():
        assert [line for line in lines if line.lower().startswith(key.lower())] == [f"{key}={value}"]


def test_the_one_container_has_them(lite: Host, environment_of: Callable[..., dict[str, str]]) -> None:
    names = lite.check_output("docker ps --format {{.Names}}").splitlines()
    assert len(names) == 1
    assert WANTED.items() <= environment_of(names[0], lite).items()


def test_it_is_up_and_licensed(
    noted: Callable[[str], dict[str, Any]], front_door: Callable[..., dict[str, Any]]
) -> None:
    server = noted("lite")
    assert server["stack"] == "up"
    assert server["organizations"][0]["connection"]["key_is_current"]
    assert front_door("lite")["environment"]["cloudRegion"] == "EU"
