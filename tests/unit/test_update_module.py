"""The module update on a host of the lab: what is due, and what it refuses."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.kept_host import KeptHost, kept_host

OLD, NEW = "2026.7.2", "2026.8.0"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeptHost]:
    with kept_host(tmp_path) as found:
        yield found


def files(host: KeptHost) -> dict[str, tuple[int, bytes]]:
    """Everything that an update writes, and what a failed one may leave."""
    return {
        str(path.relative_to(host.directory)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in host.directory.rglob("*")
        if path.is_file() and "mssql" not in path.parts and "logs" not in path.parts
    }


def test_nothing_to_do_and_nothing_touched(host: KeptHost) -> None:
    before, snapshot = files(host), host.host.snapshot()
    result = host.run("update")
    assert not result.changed and not result["due"]
    assert (result["previous_version"], result["version"], result["available_version"]) == (OLD, OLD, OLD)
    assert files(host) == before and host.host.snapshot() == snapshot


def test_an_update_is_predicted_made_and_not_repeated(host: KeptHost) -> None:
    host.script.chmod(0o750)
    host.db.set_release(NEW)
    before = files(host)
    predicted = host.run("update", check=True)
    assert predicted.changed and predicted["version"] == NEW
    assert predicted["diff"] == {"before": f"{OLD}\n", "after": f"{NEW}\n"}
    assert files(host) == before and host.version() == OLD
    result = host.run("update")
    assert result.changed and (result["previous_version"], result["version"]) == (OLD, NEW)
    assert result["downtime"] > 0 and host.restarts == 1
    assert host.version() == NEW and host.images() == {NEW}
    assert f"ghcr.io/bitwarden/api:{OLD}" in result["removed_images"]
    assert stat.S_IMODE(host.script.stat().st_mode) == 0o750
    assert sorted(path.name for path in host.directory.iterdir()) == ["bitwarden.sh", "bwdata"]
    again = host.run("update")
    assert not again.changed and host.restarts == 1


def test_old_images_stay_where_that_is_wanted(host: KeptHost) -> None:
    host.db.set_release(NEW)
    assert host.run("update", prune=False)["removed_images"] == []
    assert host.images() == {OLD, "2026.7.1", NEW}


def test_never_back(host: KeptHost) -> None:
    host.db.set_release(NEW)
    host.run("update")
    host.db.set_release("2026.7.3")
    result = host.run("update")
    assert not result.changed and host.version() == NEW
    assert result["available_version"] == "2026.7.3" and "left alone" in result.warnings


def test_a_script_that_is_newer_than_what_runs_is_followed(host: KeptHost) -> None:
    host.db.set_release(NEW)
    host.script.write_text(host.script.read_text().replace(OLD, NEW).replace("2026.7.1", NEW).replace("2026.7.0", NEW))
    assert host.run("update").changed
    assert host.version() == NEW


def test_a_compose_file_of_the_administrator_is_refused(host: KeptHost) -> None:
    config = host.bwdata / "config.yml"
    config.write_text(config.read_text().replace("generate_compose_config: true", "generate_compose_config: false"))
    host.db.set_release(NEW)
    for check in (True, False):
        result = host.run("update", check=check)
        assert result.failed and "generate_compose_config" in result["msg"] and "Nothing was changed" in result["msg"]


def test_a_deployment_by_hand_is_refused_with_the_steps(host: KeptHost) -> None:
    host.script.unlink()
    shutil.rmtree(host.bwdata / "scripts")
    result = host.run("update")
    assert result.failed and "by hand" in result["msg"] and "docker load" in result["next_step"]
