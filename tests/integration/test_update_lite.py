"""update.yml on Bitwarden Lite: the tag in the compose file changes, and comes back where nothing starts with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.test_update import run, version
from labkit import Lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One fresh server of Lite with a compose file; the tests run in order on it."""
    lab = Lab(tmp_path_factory.mktemp("lite"), "--servers", "1", "--regions", "US", "--deployment", "lite")
    yield lab
    lab.down()


def compose_file(lab: Lab) -> Path:
    return lab.directory / "hosts" / "us1" / "opt" / "bitwarden" / "docker-compose.yml"


def test_without_its_database_a_backup_has_to_be_allowed(lab: Lab) -> None:
    lab.call("release", "2026.8.0")
    text = compose_file(lab).read_text()
    play = run(lab, "update")
    assert play.recap["us1"]["failed"] == 1 and "SQLite" in play.output
    assert compose_file(lab).read_text() == text and version(lab, "us1") == "2026.7.2"


def test_a_container_that_does_not_start_leaves_the_old_one(lab: Lab) -> None:
    text = compose_file(lab).read_text()
    lab.fault("compose_up_fails", count=1)
    play = run(lab, "update", "-e", "update_backup_database=optional")
    lab.clear()
    assert play.recap["us1"]["failed"] == 1 and "port is already allocated" in " ".join(play.output.split())
    assert compose_file(lab).read_text() == text and version(lab, "us1") == "2026.7.2"


def test_the_new_tag_is_written_where_the_old_one_stood(lab: Lab) -> None:
    text = compose_file(lab).read_text()
    play = run(lab, "update", "-e", "update_backup_database=optional")
    assert play.status == 0, play.output
    assert compose_file(lab).read_text() == text.replace("2026.7.2", "2026.8.0")
    assert version(lab, "us1") == "2026.8.0"
    again = run(lab, "update", "-e", "update_backup_database=optional")
    assert again.recap["us1"]["changed"] == 0
