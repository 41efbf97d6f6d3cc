"""A setting changed by hand without a restart, and a service that was stopped: both are as wanted again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testinfra.host import Host

FLAG = "globalSettings__enableCloudCommunication"
ENV = "/opt/bitwarden/bwdata/env/global.override.env"


def test_the_server_had_drifted(noted: Callable[[str], dict[str, Any]]) -> None:
    assert noted("drifted")["env_file"] != noted("before-drift")["env_file"]


def test_file_and_containers_agree_again(host: Host, environment_of: Callable[..., dict[str, str]]) -> None:
    lines = host.file(ENV).content_string.splitlines()
    assert [line for line in lines if FLAG in line] == [f"{FLAG}=true"]
    assert environment_of("bitwarden-api")[FLAG] == "true"
    assert host.check_output("docker inspect -f {{.State.Status}} bitwarden-icons") == "running"


def test_one_restart_was_enough(noted: Callable[[str], dict[str, Any]]) -> None:
    after = noted("after-drift")
    assert after["stack"] == "up"
    assert after["restarts"] == noted("before-drift")["restarts"] + 1
    assert after["env_file"] == noted("before-drift")["env_file"]
