"""A release that does not start: the first server stops the rollout, and the command that is printed brings it back."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
from integration.test_update import archives, run, version
from labkit import Lab, Play, started


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two fresh servers in one region, and a release that is broken; the tests run in order on it."""
    with started(tmp_path_factory.mktemp("failed"), "--servers", "2", "--regions", "US") as lab:
        lab.call("release", "2026.8.0")
        lab.fault("release_does_not_start")
        yield lab


def test_the_printed_command_returns_the_server_to_its_backup(lab: Lab) -> None:
    before = lab.state()["servers"]
    play = run(lab, "update", "-e", "update_timeout=20")
    assert {host: recap["failed"] for host, recap in play.recap.items()} == {"us1": 1, "us2": 0}
    after = lab.state()["servers"]
    assert after["us2"] == before["us2"] and archives(lab, "us2") == []
    text = " ".join(play.output.split())
    assert "The server is down" in text
    command = re.search(r"'(ansible-playbook selfhosted\.bitwarden\.restore [^']+)'", text.replace("''", "'"))
    assert command is not None, play.output
    back = Play(lab.run(*shlex.split(command.group(1))))
    assert back.status == 0, back.output
    assert version(lab, "us1") == "2026.7.2"
    organization = lab.state()["servers"]["us1"]["organizations"][0]
    assert organization == before["us1"]["organizations"][0]


@pytest.mark.long
def test_a_server_returns_by_itself_where_that_is_wanted(lab: Lab) -> None:
    play = run(lab, "update", "--limit", "us2", "-e", "update_timeout=20", "-e", "update_restore_on_failure=true")
    assert play.recap["us2"]["failed"] == 1
    assert "was returned to" in " ".join(play.output.split())
    assert version(lab, "us2") == "2026.7.2"
