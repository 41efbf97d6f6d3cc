"""The module stack on a small host: what makes it restart, what it refuses, and what it says when a start fails."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.module_runner import finish_module, start_module
from unit.stack_host import FLAG, PUSH, Host, front_door

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
NOBODY = 65534


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host whose stack runs with what its files say."""
    made = Host(tmp_path)
    with front_door(made) as url:
        made.write_env(url, f"{FLAG}=false")
        docker(made, "up", "-d")
        yield made


def docker(host: Host, *arguments: str) -> None:
    command = [str(host.programs / "docker"), "compose", "-f", str(host.directory / "bwdata/docker/x.yml"), *arguments]
    environment = {**os.environ, "FAKE_DOCKER": str(host.state)}
    subprocess.run(command, env=environment, check=True, capture_output=True)


def enable(host: Host) -> None:
    host.env_file.write_text(host.env_file.read_text().replace(f"{FLAG}=false", f"{FLAG}=true"))


def flag_of(host: Host, service: str = "api") -> str | None:
    value: str | None = host.containers()[service]["environment"].get(FLAG)
    return value


def test_nothing_to_do(host: Host) -> None:
    result = host.run()
    assert not result.changed
    assert not result["restarted"]
    assert result["drift"] == []
    assert result["containers"] == {"api": "running", "identity": "running", "icons": "running", "nginx": "running"}
    assert result["version"] == "2026.8.0"
    assert result["downtime"] == 0
    assert host.script_runs() == []


def test_a_change_in_the_file_restarts_once(host: Host) -> None:
    enable(host)
    predicted = host.run(check=True)
    assert predicted.changed
    assert not predicted["restarted"]
    assert host.script_runs() == []
    host.slow = 1.0
    result = host.run()
    assert result.changed
    assert result["restarted"]
    assert result["drift"] == predicted["drift"]
    assert {"service": "api", "key": FLAG, "what": "has another value"} in result["drift"]
    assert {drift["service"] for drift in result["drift"]} == {"api", "identity"}
    assert flag_of(host) == "true"
    assert 0.5 < result["downtime"] < 5
    assert len(host.script_runs()) == 1
    assert not host.run().changed
    assert len(host.script_runs()) == 1


def test_all_is_pulled_before_anything_is_stopped(host: Host) -> None:
    enable(host)
    host.run()
    words = [" ".join(map(str, call[2:])) for call in host.calls()]
    down = next(n for n, call in enumerate(words) if call.endswith("down"))
    assert any(call.endswith("compose.yml pull") for call in words[:down])
    assert "pull ghcr.io/bitwarden/setup:2026.8.0" in words[:down]


def test_wishes_predict_a_restart_for_a_file_that_is_not_written(host: Host) -> None:
    result = host.run(check=True, environment={FLAG: True})
    assert result.changed
    assert {drift["key"] for drift in result["drift"]} == {FLAG}
    assert not host.run(check=True, environment={FLAG: False, PUSH: None}).changed


def test_a_wish_that_the_files_do_not_fulfil_stops_nothing(host: Host) -> None:
    result = host.run(environment={FLAG: True})
    assert result.failed
    assert FLAG in result["msg"]
    assert "override" in result["next_step"]
    assert host.script_runs() == []


def test_a_key_taken_out_of_the_file_restarts(host: Host) -> None:
    host.env_file.write_text(host.env_file.read_text().replace(f"{FLAG}=false\n", ""))
    result = host.run(environment={FLAG: None})
    assert {"service": "api", "key": FLAG, "what": "is no longer wanted"} in result["drift"]
    assert flag_of(host) is None
    assert not host.run(environment={FLAG: None}).changed


def test_removal_is_predicted_with_what_it_falls_back_to(host: Host) -> None:
    host.env_file.write_text(host.env_file.read_text() + f"{PUSH}=https://push.bitwarden.eu\n")
    assert host.run().changed
    predicted = host.run(check=True, environment={PUSH: None})
    assert {"service": "api", "key": PUSH, "what": "has another value"} in predicted["drift"]


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"state": "exited"}, "is exited"),
        ({"state": "restarting"}, "is restarting"),
        ({"health": "unhealthy"}, "is unhealthy"),
    ],
)
def test_a_container_in_trouble_is_drift(host: Host, columns: dict[str, Any], what: str) -> None:
    host.alter("identity", **columns)
    result = host.run()
    assert result["drift"] == [{"service": "identity", "key": None, "what": what}]
    assert result["restarted"]


def test_a_missing_container_is_drift(host: Host) -> None:
    host.remove("nginx")
    assert host.run()["drift"] == [{"service": "nginx", "key": None, "what": "has no container"}]


def test_icons_without_internet_are_no_reason_to_restart(host: Host) -> None:
    host.alter("icons", health="unhealthy")
    result = host.run()
    assert not result.changed
    assert result["containers"]["icons"] == "running (unhealthy)"


def test_another_image_is_only_told(host: Host) -> None:
    host.alter("api", image="ghcr.io/bitwarden/api:2026.7.0")
    result = host.run()
    assert not result.changed
    assert result["version"] == "2026.7.0"
    assert [row["service"] for row in result["images"]] == ["api"]


def test_a_front_door_that_stays_shut_is_drift(host: Host) -> None:
    for service in host.containers():
        host.alter(service, started=time.time() - 1000)
    host.wrong_status = 503
    host.wrong_until_restart = True
    result = host.run(timeout=30)
    assert result["drift"][0]["service"] == "front door"
    assert "503" in result["drift"][0]["what"]
    assert result["restarted"]
    assert result["downtime"] > 0


def test_services_that_have_just_started_are_waited_for(host: Host) -> None:
    host.slow = 3.0
    host.alter("api", started=time.time())
    assert not host.run(timeout=20).changed


def test_a_wrong_address_is_an_error_and_no_reason_to_restart(host: Host) -> None:
    result = host.run(url="http://127.0.0.1:1/x?y")
    assert result.failed or result["restarted"]
    host.wrong_status = 404
    result = host.run()
    assert result.failed
    assert "404" in result["msg"]
    assert "'url'" in result["next_step"]
    result = host.run(url="nonsense")
    assert result.failed
    assert host.run(url="https://no-such-name.invalid").failed
    assert len(host.script_runs()) <= 1


class TestRefusals:
    """Nothing may be stopped when the way back up is closed."""

    @pytest.fixture(autouse=True)
    def drifted(self, host: Host) -> Iterator[None]:
        enable(host)
        before = host.containers()
        yield
        assert host.containers() == before
        assert host.script_runs() == []

    def refused(self, host: Host, *words: str, **arguments: Any) -> None:
        result = host.run(**arguments)
        assert result.failed
        assert result["next_step"]
        for word in words:
            assert word in result["msg"]
        assert "hunter2" not in result.output

    def test_files_that_do_not_resolve(self, host: Host) -> None:
        host.fault("config_fails")
        self.refused(host, "do not resolve", "line 3", "unexpected character")

    def test_a_dead_registry(self, host: Host) -> None:
        host.fault("registry_down")
        self.refused(host, "pulled", "ghcr.io")

    def test_docker_not_permitted(self, host: Host) -> None:
        host.fault("not_permitted")
        self.refused(host, "permission denied")

    def test_no_docker(self, host: Host) -> None:
        (host.programs / "docker").unlink()
        process = start_module("stack", {"directory": str(host.directory)}, env={"PATH": str(host.programs)})
        result = finish_module(process)
        assert "'docker'" in result["msg"]

    def test_no_script(self, host: Host) -> None:
        (host.directory / "bitwarden.sh").unlink()
        self.refused(host, "bitwarden.sh")

    def test_no_compose_file(self, host: Host) -> None:
        (host.directory / "bwdata/docker/docker-compose.yml").unlink()
        self.refused(host, "docker-compose.yml")

    def test_a_setup_container(self, host: Host) -> None:
        host.fault("setup_runs")
        self.refused(host, "setup", "nothing was stopped")

    def test_another_bitwarden_sh(self, host: Host) -> None:
        script = host.directory / "bwdata/scripts/run.sh"
        script.write_text("sleep 60\n")
        with subprocess.Popen(["bash", str(script), "update"]) as other:
            try:
                self.refused(host, "run.sh update", str(other.pid))
            finally:
                subprocess.run(["pkill", "-P", str(other.pid)], check=False)
                other.terminate()

    def test_another_run_of_this_module(self, host: Host) -> None:
        with subprocess.Popen(["flock", str(host.directory), "sleep", "60"]) as holder:
            time.sleep(0.3)
            try:
                self.refused(host, "lock", str(host.directory))
            finally:
                subprocess.run(["pkill", "-P", str(holder.pid)], check=False)


def test_two_runs_at_once_restart_once(host: Host) -> None:
    enable(host)
    arguments = {"directory": str(host.directory), "timeout": 20, "lock_timeout": 20}
    processes = [start_module("stack", arguments, env=host.environment()) for _ in range(2)]
    results = [finish_module(process) for process in processes]
    assert sorted(result["restarted"] for result in results) == [False, True]
    assert len(host.script_runs()) == 1


def test_a_status_that_lies_badly_is_only_a_warning(host: Host) -> None:
    enable(host)
    host.fault("setup_image_missing")
    docker(host, "down")
    docker(host, "up", "-d")
    host.alter("api", environment={})
    # The image is missing only after the stop, as when the registry fails at the end of the script.
    host.fault("registry_down_after_stop")
    result = host.run(timeout=20)
    assert result["restarted"]
    assert flag_of(host) == "true"
    assert "status 1" in result.warnings


def test_a_registry_that_dies_after_the_stop_is_rescued(host: Host) -> None:
    enable(host)
    host.fault("registry_down_after_stop")
    result = host.run()
    assert result["restarted"]
    assert flag_of(host) == "true"
    assert "docker compose up -d" in result.warnings
    assert not host.run().changed


def test_a_start_that_fails_once_is_tried_again(host: Host) -> None:
    enable(host)
    host.fault("up_fails")
    result = host.run()
    assert result["restarted"]
    assert "no space left" in result.warnings
    assert host.alive()


def test_a_start_that_never_succeeds_names_the_state(host: Host) -> None:
    enable(host)
    host.fault("identity_never_comes")
    result = host.run()
    assert result.failed
    assert result.changed
    assert "identity missing" in result["msg"]
    assert result["containers"]["identity"] == "missing"
    assert result["remaining"] == [{"service": "identity", "key": None, "what": "has no container"}]
    assert any("up and running" in line for line in result["script_output"])
    assert any("Unhandled" in line for line in result["logs"])
    assert result["downtime"] > 0
    assert "hunter2" not in result.output


def test_a_script_that_dies_before_the_stop_leaves_the_old_containers(host: Host) -> None:
    enable(host)
    before = host.containers()
    host.fault("script_dies_early")
    result = host.run()
    assert result.failed
    assert "uid.env" in result["msg"]
    assert host.containers() == before


def test_a_script_that_hangs_is_ended(host: Host) -> None:
    enable(host)
    host.fault("script_hangs")
    result = host.run(timeout=3)
    assert result.failed
    assert "3 seconds" in result["msg"]


@ROOT_ONLY
def test_root_answers_the_question_of_the_script(host: Host) -> None:
    enable(host)
    host.run()
    assert host.script_runs()[0].startswith("0 ")


def test_no_secret_in_any_output(host: Host) -> None:
    host.alter("api", environment={"globalSettings__installation__key": "hunter2old"})
    for check in (True, False):
        result = host.run(check=check)
        assert {"service": "api", "key": "globalSettings__installation__key", "what": "has another value"} in result[
            "drift"
        ]
        assert "hunter2" not in result.output
