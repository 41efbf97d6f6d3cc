"""The module stack on servers that have no bitwarden.sh: by hand with compose, and Lite in both of its forms."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from unit.stack_host import NAME, Door, Host, running_host

KEY = "globalSettings__ownSetting"
RUN = {"dialect": "docker_run"}
Maker = Callable[[str], Host]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Maker]:
    with ExitStack() as stack:

        def maker(kind: str) -> Host:
            return stack.enter_context(running_host(tmp_path, Door(), kind))

        yield maker


def rows(host: Host) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in host.db.containers(NAME)}


def api(host: Host) -> dict[str, Any]:
    found = rows(host)
    return found.get("bitwarden-api") or found.get("bitwarden") or next(iter(found.values()))


@pytest.mark.parametrize("kind", ["manual", "lite", "lite-run"])
def test_each_kind_is_found_restarted_stopped_and_started(make: Maker, kind: str) -> None:
    host = make(kind)
    result = host.run()
    assert not result.changed
    assert result["deployment"] == kind.partition("-")[0]
    assert result["versions"] == {"script": None, "files": "2026.7.2", "running": "2026.7.2"}
    assert set(result["containers"].values()) == {"running"}
    host.write(KEY, "wanted", **(RUN if kind == "lite-run" else {}))
    predicted = host.run(check=True)
    assert KEY in {drift["key"] for drift in predicted["drift"]}
    before = api(host)["id"]
    result = host.run()
    assert result["restarted"]
    assert result.warnings == ""
    assert result["drift"] == predicted["drift"]
    assert api(host)["id"] != before
    assert api(host)["env"][KEY] == "wanted"
    assert not host.run().changed
    assert host.run(state="stopped").changed
    assert not [row for row in rows(host).values() if row["state"] == "running"]
    assert not host.run(state="stopped").changed
    assert host.run(state="started")["restarted"]
    assert not host.run(state="started").changed
    assert not host.run().changed
    before = api(host)["id"]
    assert host.run(state="restarted")["restarted"]
    assert api(host)["id"] != before
    left = {name for name in os.listdir(host.directory) if "selfhosted" in name}
    assert (left, sorted(rows(host))) == (set(), sorted(result_names(kind)))


def result_names(kind: str) -> list[str]:
    if kind != "manual":
        return ["bitwarden"] if kind == "lite-run" else ["bitwarden-bitwarden-1"]
    names = ("admin", "api", "attachments", "events", "icons", "identity", "mssql", "nginx", "notifications")
    return [f"bitwarden-{name}" for name in (*names, "sso", "web")]


@pytest.mark.parametrize("kind", ["manual", "lite", "lite-run"])
def test_each_kind_goes_back(make: Maker, kind: str) -> None:
    host = make(kind)
    before = host.env_file.read_bytes()
    host.db.set_fault("container_crashes_with", {"key": KEY})
    host.write(KEY, "bad", **(RUN if kind == "lite-run" else {}))
    result = host.run(timeout=6)
    assert result.failed
    assert result["rolled_back"]
    assert result["server_state"] == "up with the previous settings"
    assert any("Unhandled exception" in line for line in result["logs"])
    assert host.env_file.read_bytes() == before
    assert KEY not in api(host)["env"]
    assert not host.run().changed


@pytest.mark.parametrize("kind", ["manual", "lite", "lite-run"])
def test_a_dead_registry_stops_nothing_and_need_not_be_asked(make: Maker, kind: str) -> None:
    host = make(kind)
    host.write(KEY, "wanted", **(RUN if kind == "lite-run" else {}))
    host.db.set_fault("registry_down")
    before = api(host)["id"]
    refused = host.run()
    assert refused.failed
    assert "nothing was stopped" in refused["msg"]
    assert "'pull' to missing" in refused["next_step"]
    assert api(host)["id"] == before
    assert host.run(pull="missing")["restarted"]


def test_the_installation_that_lite_overwrites_is_no_drift(make: Maker) -> None:
    host = make("lite")
    with host.env_file.open("a") as stream:
        stream.write("globalSettings__installation__id=00000000-0000-0000-0000-000000000000\n")
    assert not host.run().changed


class TestRun:
    def test_options_that_cannot_be_carried_over_stop_nothing(self, make: Maker) -> None:
        host = make("lite-run")
        row = api(host)
        host.write(KEY, "wanted", **RUN)
        shim = host.programs / "docker.real"
        (host.programs / "docker").rename(shim)
        edit = 'sed \'s/"HostConfig": {/"HostConfig": {"SomethingNew": true, /\''
        (host.programs / "docker").write_text(f'#!/bin/bash\nset -o pipefail\n"{shim}" "$@" | {edit}\n')
        (host.programs / "docker").chmod(0o755)
        for check in (True, False):
            result = host.run(check=check)
            assert result.failed
            assert "not carried over to a new one: SomethingNew" in result["msg"]
            assert "docker-compose.yml" in result["next_step"]
        assert api(host)["id"] == row["id"]

    def test_variables_given_by_hand_stay(self, make: Maker) -> None:
        host = make("lite-run")
        row = api(host)
        host.db.put_container(NAME, {**row, "env": {**row["env"], "TZ": "Europe/Berlin", "BW_ENABLE_SCIM": "true"}})
        predicted = host.run(check=True)
        assert [drift["key"] for drift in predicted["drift"]] == ["BW_ENABLE_SCIM"]
        assert host.run()["restarted"]
        assert api(host)["env"]["TZ"] == "Europe/Berlin"
        assert "BW_ENABLE_SCIM" not in api(host)["env"]
        assert not host.run().changed

    def test_the_old_container_comes_back_without_a_way_back_in_the_file(self, make: Maker) -> None:
        host = make("lite-run")
        host.db.set_fault("container_crashes_with", {"key": KEY})
        host.set(KEY, "by hand")
        before = api(host)["id"]
        result = host.run(timeout=6)
        assert result["server_state"].startswith("up")
        assert "The old container got its name back" in result["msg"]
        assert api(host)["id"] == before
        assert KEY in host.env_file.read_text()

    @pytest.mark.parametrize("renamed", [False, True])
    def test_a_run_that_was_killed_half_way_is_healed(self, make: Maker, renamed: bool) -> None:
        host = make("lite-run")
        host.write(KEY, "wanted", **RUN)
        row = {**api(host), "state": "exited"}
        host.db.remove_container(NAME, row["name"])
        host.db.put_container(NAME, {**row, "name": "bitwarden-previous" if renamed else "bitwarden"})
        result = host.run()
        assert result["restarted"]
        assert api(host)["env"][KEY] == "wanted"
        assert list(rows(host)) == ["bitwarden"]

    def test_a_container_that_nobody_knows(self, make: Maker) -> None:
        host = make("lite-run")
        result = host.run(container="other")
        assert result.failed
        assert "no container 'other'" in result["msg"]
        assert "'container'" in result["next_step"]
