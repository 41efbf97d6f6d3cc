"""The module stack on a host of the lab: what makes it restart, what it refuses, what it says when a start fails."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import accounts, bitwarden_sh, compose, deployment
from unit.module_runner import finish_module, start_module
from unit.stack_host import FLAG, PUSH, Door, Host, front_door, running_host

SERVICES = ["admin", "api", "attachments", "events", "icons", "identity", "mssql", "nginx"]
SERVICES += ["notifications", "sso", "web"]
READ_THE_FILE = {"admin", "api", "events", "identity", "notifications", "sso"}
INSTALLATION_KEY = "globalSettings__installation__key"


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def host(tmp_path: Path, door: Door) -> Iterator[Host]:
    with running_host(tmp_path, door) as running:
        yield running


class TestDrift:
    def test_nothing_to_do(self, host: Host) -> None:
        result = host.run()
        assert not result.changed
        assert not result["restarted"]
        assert result["drift"] == []
        assert result["images"] == []
        assert sorted(result["containers"]) == SERVICES
        assert set(result["containers"].values()) == {"running"}
        assert result["version"] == "2026.7.2"
        assert result["downtime"] == 0
        assert result["url"] == host.url
        assert host.restarts == 0

    def test_a_change_in_the_file_restarts_once(self, host: Host) -> None:
        host.set(FLAG, "true")
        predicted = host.run(check=True)
        assert predicted.changed
        assert not predicted["restarted"]
        assert host.restarts == 0
        assert f"api {FLAG} is missing\n" in predicted["diff"]["before"]
        assert predicted["diff"]["after"] == ""
        host.db.set_fault("slow_start", {"seconds": "1.5", "count": "1"})
        result = host.run()
        assert result.changed
        assert result["restarted"]
        assert result["drift"] == predicted["drift"]
        assert {(d["service"], d["key"], d["what"]) for d in result["drift"]} == {
            (service, FLAG, "is missing") for service in READ_THE_FILE
        }
        assert host.environment_of("api")[FLAG] == "true"
        assert 1.0 < result["downtime"] < 10
        assert host.restarts == 1
        assert not host.run().changed
        assert host.restarts == 1

    def test_setups_rewrite_is_no_drift(self, host: Host) -> None:
        host.set(FLAG, "true")
        assert host.run().changed
        host.env_file.write_text("".join(sorted(host.env_file.read_text().splitlines(keepends=True))))
        assert not host.run().changed

    def test_wishes_predict_a_restart_for_a_file_that_is_not_written(self, host: Host) -> None:
        result = host.run(check=True, environment={FLAG: True})
        assert result.changed
        assert {drift["key"] for drift in result["drift"]} == {FLAG}
        assert not host.run(check=True, environment={FLAG: None, PUSH: None}).changed

    def test_a_wish_that_the_files_do_not_fulfil_stops_nothing(self, host: Host) -> None:
        before = host.snapshot()
        host.set(FLAG, "true")
        override = host.bwdata / "docker/docker-compose.override.yml"
        override.write_text(f"services:\n  api:\n    environment:\n      {FLAG}: 'false'\n")
        result = host.run(environment={FLAG: True})
        assert result.failed
        assert FLAG in result["msg"]
        assert "docker-compose.override.yml" in result["next_step"]
        assert [found["service"] for found in result["contradictions"]] == ["api"]
        assert host.snapshot() == before

    def test_a_key_taken_out_of_the_file_restarts(self, host: Host) -> None:
        host.set(FLAG, "true")
        assert host.run().changed
        host.set(FLAG, None)
        result = host.run(environment={FLAG: None})
        assert {"service": "api", "key": FLAG, "what": "is no longer wanted"} in result["drift"]
        assert FLAG not in host.environment_of("api")
        assert not host.run(environment={FLAG: None}).changed

    def test_a_removal_that_the_file_does_not_hold_restarts_nothing(self, host: Host) -> None:
        host.set(FLAG, "true")
        host.run()
        assert host.run(check=True, environment={FLAG: None}).changed
        assert not host.run(environment={FLAG: None}).changed
        assert host.restarts == 1

    def test_removal_is_predicted_with_what_the_key_falls_back_to(self, host: Host) -> None:
        host.set(PUSH, "https://push.bitwarden.eu")
        assert host.run().changed
        predicted = host.run(check=True, environment={PUSH: None})
        assert {"service": "api", "key": PUSH, "what": "has another value"} in predicted["drift"]
        host.set(PUSH, None)
        assert host.run(environment={PUSH: None})["drift"] == predicted["drift"]
        assert host.environment_of("api")[PUSH] == "https://push.bitwarden.com"

    def test_a_dollar_sign_is_no_drift(self, host: Host) -> None:
        host.set("globalSettings__mail__smtp__host", "'a$b$$c'")
        assert host.run().changed
        assert host.environment_of("api")["globalSettings__mail__smtp__host"] == "a$b$$c"
        assert not host.run().changed

    @pytest.mark.parametrize(
        ("state", "words"),
        [
            ("exited", r"has exited with status 0"),
            ("restarting", r"keeps restarting \(restarts so far: 1\d{3}\)"),
            ("created", r"was created and never started"),
            ("paused", r"is paused"),
        ],
    )
    def test_a_container_in_trouble_is_drift(self, host: Host, state: str, words: str) -> None:
        host.alter("identity", state=state)
        result = host.run()
        (found,) = result["drift"]
        assert (found["service"], found["key"]) == ("identity", None)
        assert re.fullmatch(words, found["what"])
        assert result["restarted"]

    def test_an_unhealthy_container_is_drift(self, host: Host) -> None:
        host.sicken("events")
        assert host.run()["drift"] == [{"service": "events", "key": None, "what": "is unhealthy"}]

    def test_a_missing_container_is_drift(self, host: Host) -> None:
        host.remove("nginx")
        assert host.run()["drift"] == [{"service": "nginx", "key": None, "what": "has no container"}]

    def test_icons_without_internet_are_no_reason_to_restart(self, host: Host) -> None:
        host.sicken("icons")
        result = host.run()
        assert not result.changed
        assert result["containers"]["icons"] == "running (unhealthy)"

    def test_another_image_is_only_told(self, host: Host) -> None:
        host.alter("api", image="ghcr.io/bitwarden/api:2026.6.0")
        result = host.run()
        assert not result.changed
        assert result["version"] == "2026.6.0"
        assert [row["service"] for row in result["images"]] == ["api"]

    def test_a_secret_that_differs_is_named_and_not_shown(self, host: Host) -> None:
        host.alter("api", env={**host.environment_of("api"), INSTALLATION_KEY: "TheOldInstallationKey"})
        result = host.run()
        assert result["drift"] == [{"service": "api", "key": INSTALLATION_KEY, "what": "has another value"}]
        assert "TheOldInstallationKey" not in result.output


class TestFrontDoor:
    def test_one_that_stays_shut_is_drift(self, host: Host, door: Door) -> None:
        door.status, door.until_restart = 503, True
        result = host.run(timeout=30)
        assert [drift["service"] for drift in result["drift"]] == ["front door"]
        assert "503" in result["drift"][0]["what"]
        assert result["restarted"]
        assert result["downtime"] > 0

    def test_services_that_have_just_started_are_waited_for(self, host: Host) -> None:
        now = time.time()
        host.alter("api", started=now, ready=now + 7)
        assert not host.run(timeout=20).changed

    @pytest.mark.parametrize(
        ("url", "status", "word"),
        [(None, 404, "404"), ("nonsense", None, "nonsense"), ("https://no-such-name.invalid", None, "no-such-name")],
    )
    def test_a_wrong_address_is_no_reason_to_restart(
        self, host: Host, door: Door, url: str | None, status: int | None, word: str
    ) -> None:
        door.status = status
        result = host.run(url=url)
        assert result.failed
        assert word in result["msg"]
        assert "'url'" in result["next_step"]
        assert host.restarts == 0

    def test_a_door_without_tls_is_no_reason_to_restart(self, host: Host) -> None:
        result = host.run(url=host.url.replace("http://", "https://"))
        assert result.failed
        assert "does not speak TLS" in result["msg"]
        assert "http://" in result["next_step"]
        assert host.restarts == 0

    def test_a_certificate_that_is_not_trusted_stops_nothing(self, host: Host, door: Door, tmp_path: Path) -> None:
        host.set(FLAG, "true")
        with front_door(door, secure=tmp_path) as url:
            for check in (True, False):
                result = host.run(check=check, url=url)
                assert result.failed
                assert "not trusted" in result["msg"]
                assert "'ca_path'" in result["next_step"]
            assert host.restarts == 0
            assert host.run(url=url, ca_path=str(tmp_path / "ca.pem"))["restarted"]
            assert not host.run(url=url, validate_certs=False).changed
            missing = host.run(url=url, ca_path=str(tmp_path / "none.pem"))
            assert missing.failed
            assert "none.pem" in missing["msg"]


class TestRefusals:
    """Nothing may be stopped while the way back up is closed."""

    @pytest.fixture
    def refused(self, host: Host) -> Iterator[Callable[..., None]]:
        host.set(FLAG, "true")
        before = host.snapshot()

        def check(*words: str) -> None:
            result = host.run()
            assert result.failed
            assert result["next_step"]
            for word in words:
                assert word in result["msg"]
            assert host.snapshot() == before
            assert host.restarts == 0

        return check

    def test_an_env_file_that_does_not_resolve(self, host: Host, refused: Callable[..., None]) -> None:
        with host.env_file.open("a") as stream:
            stream.write("A,StackHostInstallationKey=1\n")
        refused("do not resolve", "unexpected character")

    def test_a_dead_registry(self, host: Host, refused: Callable[..., None]) -> None:
        host.db.set_fault("registry_down")
        refused("cannot be pulled", "ghcr.io")

    def test_a_missing_setup_image(self, host: Host, refused: Callable[..., None]) -> None:
        host.db.set_fault("setup_image_missing")
        refused("ghcr.io/bitwarden/setup:2026.7.2", "manifest unknown")

    def test_docker_not_permitted(self, host: Host, refused: Callable[..., None]) -> None:
        text = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"
        # Written by another process: what this one starts elsewhere meanwhile would keep the file busy.
        script = f"#!/bin/sh\necho '{text}' >&2\nexit 1\n"
        subprocess.run(["tee", host.programs / "docker"], input=script, text=True, capture_output=True, check=True)
        refused("permission denied")

    def test_no_script(self, host: Host, refused: Callable[..., None]) -> None:
        host.script.unlink()
        refused("bitwarden.sh does not exist")

    def test_no_compose_file(self, host: Host, refused: Callable[..., None]) -> None:
        (host.bwdata / "docker/docker-compose.yml").unlink()
        refused("docker-compose.yml does not exist")

    def test_a_setup_container(self, host: Host, refused: Callable[..., None]) -> None:
        host.db.set_fault("concurrent_update")
        refused("container named setup", "nothing was stopped")

    def test_another_bitwarden_sh(self, host: Host, refused: Callable[..., None]) -> None:
        script = host.bwdata / "scripts/run.sh"
        script.write_text("read -r -t 60 never\n")
        with subprocess.Popen(["bash", str(script), "update"], stdin=subprocess.PIPE) as other:
            refused("run.sh update", str(other.pid))
            other.terminate()

    def test_another_run_of_this_module(self, host: Host, refused: Callable[..., None]) -> None:
        with subprocess.Popen(["flock", "-o", str(host.directory), "cat"], stdin=subprocess.PIPE) as holder:
            while subprocess.run(["flock", "-n", str(host.directory), "true"], check=False).returncode == 0:
                time.sleep(0.05)
            refused("lock", str(host.directory))
            assert holder.stdin is not None
            holder.stdin.close()

    def test_no_docker(self, host: Host) -> None:
        result = finish_module(start_module("stack", host.arguments(), env={"PATH": str(host.directory)}))
        assert "'docker'" in result["msg"]


class TestFailingStarts:
    @pytest.fixture(autouse=True)
    def drifted(self, host: Host) -> None:
        host.set(FLAG, "true")

    def test_two_runs_at_once_restart_once(self, host: Host) -> None:
        arguments = host.arguments(timeout=30, lock_timeout=30)
        processes = [start_module("stack", arguments, env=host.environment()) for _unused in range(2)]
        results = [finish_module(process) for process in processes]
        assert sorted(result["restarted"] for result in results) == [False, True]
        assert host.restarts == 1

    def test_a_bad_status_of_a_good_restart_is_only_a_warning(self, host: Host) -> None:
        host.replace_script("bash ./real.sh restart || exit; echo 'manifest unknown' >&2; exit 125")
        result = host.run()
        assert result["restarted"]
        assert host.environment_of("api")[FLAG] == "true"
        assert "status 125: manifest unknown" in result.warnings
        assert not host.run().changed

    def test_a_good_status_of_a_bad_restart_is_not_believed(self, host: Host) -> None:
        host.replace_script("docker compose -f bwdata/docker/docker-compose.yml stop; exit 0")
        host.db.set_fault("compose_up_fails")
        result = host.run(timeout=5)
        assert result.failed
        assert "api exited" in result["msg"]

    def test_a_registry_that_dies_after_the_stop_is_survived(self, host: Host) -> None:
        host.db.set_fault("registry_down_after_stop")
        result = host.run()
        assert result["restarted"]
        assert host.environment_of("api")[FLAG] == "true"
        assert result.warnings == ""
        assert host.restarts == 1
        assert not host.run().changed

    def test_a_start_that_fails_once_is_tried_again(self, host: Host) -> None:
        host.db.set_fault("compose_up_fails", {"count": "1"})
        result = host.run()
        assert result["restarted"]
        assert "port is already allocated" in result.warnings

    def test_a_start_that_never_succeeds_names_the_state(self, host: Host) -> None:
        host.db.set_fault("compose_up_fails")
        result = host.run()
        assert result.failed
        assert result.changed
        assert "api missing" in result["msg"]
        assert set(result["containers"].values()) == {"missing"}
        assert {"service": "identity", "key": None, "what": "has no container"} in result["remaining"]
        assert any("already allocated" in line for line in result["script_output"])
        assert result["restarted"]
        assert result["drift"]
        assert isinstance(result["logs"], list)
        assert result["downtime"] > 0
        host.db.clear_faults()
        healed = host.run()
        assert healed["restarted"]
        assert host.environment_of("api")[FLAG] == "true"

    def test_services_that_never_get_ready(self, host: Host) -> None:
        host.db.set_fault("start_never_ready")
        result = host.run(timeout=12)
        assert result.failed
        assert "502" in result["msg"]
        assert "up and running" in " ".join(result["script_output"])

    def test_a_script_that_dies_before_the_stop_leaves_the_old_containers(self, host: Host) -> None:
        before = host.snapshot()
        host.replace_script("echo 'uid.env: Permission denied' >&2; exit 1")
        result = host.run()
        assert result.failed
        assert "uid.env: Permission denied" in result["msg"]
        assert "enableCloudCommunication is missing" in result["msg"]
        assert host.snapshot() == before

    def test_a_script_that_hangs_is_ended(self, host: Host) -> None:
        host.replace_script("exec /bin/sleep 600")
        began = time.monotonic()
        result = host.run(timeout=2)
        assert result.failed
        assert "2 seconds" in result["msg"]
        assert time.monotonic() - began < 30

    def test_a_script_that_cannot_be_run(self, host: Host) -> None:
        before = host.snapshot()
        host.script.chmod(0o600)
        result = host.run()
        assert result.failed
        assert "cannot be run" in result["msg"]
        assert "chmod u+x" in result["next_step"]
        assert host.snapshot() == before


def runner(args: list[str], *, cwd: str | None, **options: Any) -> tuple[int, str, str]:
    """As Ansible runs a program for a module, without input: a program that ends without reading it breaks the pipe."""
    assert "data" not in options
    with subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE) as silent:
        try:
            ended = subprocess.run(args, stdin=silent.stdout, cwd=cwd, capture_output=True, text=True, check=False)
        finally:
            silent.kill()
    return ended.returncode, ended.stdout, ended.stderr


def test_a_program_reads_its_answer_or_nothing_whatever_stands_at_the_modules_own_input() -> None:
    account = accounts.Account(runner)
    assert account.run(["cat"], timeout=5) == accounts.Answer(0, "", "")
    assert account.run(["cat"], timeout=5, answer="y") == accounts.Answer(0, "y\n", "")
    both = account.run(["sh", "-c", "cat; echo no >&2; exit 3"], timeout=5, answer="y", one_output=True)
    assert both == accounts.Answer(3, "y\nno\n", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_the_script_runs_as_its_owner_and_root_answers_its_question(open_path: Path) -> None:
    text = 'read -r answer; echo "$(id -un) $(id -G) $HOME $USER answer=$answer $COMPOSE_FILE"'
    with running_host(open_path, Door()) as host:
        host.replace_script(text)
        for folder in (host.directory, *host.directory.parents):
            if folder.is_relative_to(open_path):
                folder.chmod(0o755)
        host.script.chmod(0o755)
        found = deployment.detect(str(host.directory))
        own = compose.Compose(found, accounts.owner_of(str(host.script), runner))
        assert bitwarden_sh.run(own, "restart", 10).stdout.startswith("root ")
        assert "answer=y " in bitwarden_sh.run(own, "restart", 10).stdout
        user = pwd.getpwnam("nobody")
        os.chown(host.script, user.pw_uid, user.pw_gid)
        other = compose.Compose(found, accounts.owner_of(str(host.script), runner))
        said = bitwarden_sh.run(other, "restart", 10).stdout
        assert said.strip() == f"nobody {user.pw_gid} {user.pw_dir} nobody answer="
