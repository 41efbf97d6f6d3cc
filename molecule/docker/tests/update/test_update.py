"""A new version was offered: the server runs it, and a whole backup from before is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testinfra.host import Host

VERSION = "2026.8.1"
BACKUPS = "/opt/bitwarden/bwdata-backups"


def test_the_front_door_says_the_new_version(front_door: Callable[..., dict[str, Any]]) -> None:
    assert front_door()["version"] == VERSION


def test_the_containers_are_of_it(host: Host) -> None:
    images = host.check_output("docker ps -a --format {{.Image}}").splitlines()
    assert f"ghcr.io/bitwarden/api:{VERSION}" in images
    assert [image for image in images if image.rpartition(":")[2].startswith("2026.7")] == []


def test_a_private_backup_with_its_checksum_was_made_before(host: Host) -> None:
    names = set(host.file(BACKUPS).listdir())
    archives = {name for name in names if name.endswith(".tar.gz")}
    assert archives
    assert {f"{name}.sha256" for name in archives} <= names
    for name in archives:
        assert host.file(f"{BACKUPS}/{name}").mode == 0o600
    assert host.file(BACKUPS).mode == 0o700


def test_the_settings_survived_it(environment_of: Callable[..., dict[str, str]]) -> None:
    environment = environment_of("bitwarden-api")
    assert environment["globalSettings__enableCloudCommunication"] == "true"
    assert environment["globalSettings__installation__apiUri"] == "https://api.bitwarden.eu"
