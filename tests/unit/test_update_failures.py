"""The module update on a host of the lab when something fails: what goes on running, what is put back, what is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.kept_host import KeptHost, kept_host
from unit.test_update_module import NEW, OLD, files

MARK = ".selfhosted-update-unfinished"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeptHost]:
    with kept_host(tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    ("fault", "options", "words"),
    [
        ("registry_down", {}, "nothing was stopped"),
        ("release_download_fails", {"status": 503}, "answered 503"),
        ("release_download_fails", {"how": "dns"}, "cannot be downloaded"),
        ("concurrent_update", {}, "setup"),
    ],
)
def test_what_fails_before_the_stop_stops_nothing(
    host: KeptHost, fault: str, options: dict[str, object], words: str
) -> None:
    host.db.set_release(NEW)
    before, snapshot = files(host), host.host.snapshot()
    host.fault(fault, **options)
    result = host.run("update", lock_timeout=1)
    assert result.failed and words in result["msg"]
    assert files(host) == before and host.host.snapshot() == snapshot


def test_a_registry_that_dies_with_the_stack_does_not_matter(host: KeptHost) -> None:
    host.db.set_release(NEW)
    host.fault("registry_down_after_stop")
    assert host.run("update")["version"] == NEW


def test_a_start_that_fails_once_is_tried_again(host: KeptHost) -> None:
    host.db.set_release(NEW)
    host.fault("compose_up_fails", count=1)
    assert host.run("update")["version"] == NEW
    assert host.version() == NEW


def test_before_new_programs_ran_the_old_server_comes_back(host: KeptHost) -> None:
    host.db.set_release(NEW)
    before = files(host)
    host.fault("compose_up_fails", count=2)
    result = host.run("update", restore_command="play restore")
    assert result.failed and not result.changed
    assert result["server_state"] == f"The server runs version {OLD}."
    assert {"bitwarden.sh", "bwdata/docker/docker-compose.yml"} <= set(result["put_back"])
    assert "'play restore'" in result["msg"] and result["restore_command"] == "play restore"
    assert f"ghcr.io/bitwarden/api:{OLD}" in result["images_kept"]
    assert files(host) == before and host.version() == OLD


def test_after_new_programs_ran_the_backup_is_the_way_back(host: KeptHost) -> None:
    archive = host.run("backup")["archive"]
    host.db.set_release(NEW)
    host.fault("release_does_not_start")
    result = host.run("update", timeout=20)
    assert result.failed and result.changed and result["put_back"] == []
    assert "The server is down" in result["server_state"] and NEW in result["server_state"]
    assert OLD in host.images() and host.version() is None
    # The versions alone look as if the update had been made; it is not taken for that.
    assert (host.directory / MARK).exists()
    again = host.run("update", timeout=20)
    assert again.failed and again["previous_version"] == OLD
    assert host.run("restore", archive=archive)["version"] == OLD
    assert host.version() == OLD and host.name() == "before" and not (host.directory / MARK).exists()


def test_an_update_that_was_killed_is_taken_up(host: KeptHost) -> None:
    host.db.set_release(NEW)
    host.run("update")
    (host.directory / MARK).write_text(f"{OLD}\n")
    host.fault("setup_image_missing")
    assert host.run("update", check=True).changed
    host.db.clear_faults()
    result = host.run("update")
    assert result.changed and (result["previous_version"], result["version"]) == (OLD, NEW)
    assert not (host.directory / MARK).exists() and host.restarts == 1
