"""The registry fails between down and up: a restart by hand leaves the server down, site.yml does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testinfra.host import Host

PORT = "globalSettings__mail__smtp__port"


def test_site_brought_it_up_all_the_same(noted: Callable[[str], dict[str, Any]]) -> None:
    after = noted("after-registry")
    assert after["stack"] == "up"
    assert after["restarts"] == noted("before-registry")["restarts"] + 1


def test_a_restart_by_hand_did_not(noted: Callable[[str], dict[str, Any]]) -> None:
    assert noted("restarted-by-hand")["stack"] == "down"


def test_the_next_run_heals_it(
    host: Host, environment_of: Callable[..., dict[str, str]], front_door: Callable[..., dict[str, Any]]
) -> None:
    assert environment_of("bitwarden-api")[PORT] == "2525"
    assert front_door()["version"]
    assert set(host.check_output("docker ps -a --format {{.State}}").split()) == {"running"}


def test_bitwardens_own_programs_were_not_changed(host: Host) -> None:
    """What stood before docker on PATH for the restart is gone."""
    assert host.check_output("sh -lc 'command -v docker'") == "/usr/bin/docker"
    assert host.run("find /opt/bitwarden /tmp -xdev -name '.selfhosted-run-*'").stdout == ""
