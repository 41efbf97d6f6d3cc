"""A setting that no service starts with was taken back, and the server is up with what it had before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testinfra.host import Host

PORT = "globalSettings__mail__smtp__port"
ENV = "/opt/bitwarden/bwdata/env/global.override.env"


def test_the_module_failed_and_says_how_the_server_is(rolled_back: dict[str, Any]) -> None:
    """That it failed is what the play demands."""
    assert rolled_back["rolled_back"]
    assert rolled_back["server_state"] == "up with the previous settings"
    assert rolled_back["msg"]
    assert rolled_back["next_step"]


def test_the_setting_is_gone_from_file_and_containers(
    host: Host, environment_of: Callable[..., dict[str, str]]
) -> None:
    assert [line for line in host.file(ENV).content_string.splitlines() if PORT in line] == [f"{PORT}=2525"]
    assert environment_of("bitwarden-api")[PORT] == "2525"
    assert host.file(ENV).mode == 0o600
    assert host.file(ENV).user == "bitwarden"


def test_the_server_is_up(noted: Callable[[str], dict[str, Any]], front_door: Callable[..., dict[str, Any]]) -> None:
    assert noted("after-rollback")["stack"] == "up"
    assert front_door()["version"]


def test_no_secret_is_in_the_message(host: Host, rolled_back: dict[str, Any]) -> None:
    lines = host.file(ENV).content_string.splitlines()
    secrets = [line.partition("=")[2].strip('"') for line in lines if "Key=" in line or "__key=" in line]
    assert len(secrets) > 3
    text = str(rolled_back)
    assert [secret for secret in secrets if len(secret) > 8 and secret in text] == []


def test_no_copy_of_it_is_left(host: Host) -> None:
    """What was kept to go back to is removed after it has been used."""
    assert "previous" not in host.run("ls /opt/bitwarden/bwdata-backups").stdout
