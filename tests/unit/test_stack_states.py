"""The module stack's states, its checks before a stop, private certificates, proxies, and the way back."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.module_runner import finish_module
from unit.stack_host import FLAG, Door, Host, running_host

BAD = "globalSettings__badSetting"
UNTOUCHED = "as it was: nothing was stopped"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with running_host(tmp_path, Door()) as running:
        yield running


def running(host: Host) -> int:
    return sum(row["state"] == "running" for row in host.db.containers("us1"))


class TestStates:
    def test_stopped_and_started_change_once_each(self, host: Host) -> None:
        predicted = host.run(check=True, state="stopped")
        assert predicted.changed
        assert running(host) == 11
        stopped = host.run(state="stopped")
        assert stopped.changed
        assert stopped["drift"] == predicted["drift"]
        assert {"service": "api", "key": None, "what": "is running"} in stopped["drift"]
        assert "api is running\n" in stopped["diff"]["before"]
        assert (stopped["restarted"], stopped["containers"]) == (False, {})
        assert running(host) == 0
        assert not host.run(state="stopped").changed
        predicted = host.run(check=True, state="started")
        assert predicted.changed
        assert running(host) == 0
        started = host.run(state="started")
        assert started["restarted"]
        assert started["drift"] == predicted["drift"]
        assert set(started["containers"].values()) == {"running"}
        assert not host.run(state="started").changed
        assert host.restarts == 1

    def test_a_container_that_runs_alone_is_stopped_too(self, host: Host) -> None:
        for row in host.db.containers("us1"):
            if row["service"] != "mssql":
                host.remove(row["service"])
        assert host.run(state="stopped").changed
        assert host.db.containers("us1") == []

    def test_a_stop_needs_no_files_that_resolve(self, host: Host) -> None:
        with host.env_file.open("a") as stream:
            stream.write("A,B=1\n")
        assert host.run(state="stopped").changed
        assert running(host) == 0

    def test_started_does_not_mind_other_settings(self, host: Host) -> None:
        host.set(FLAG, "true")
        assert not host.run(state="started").changed
        host.alter("identity", state="exited")
        result = host.run(state="started")
        assert result["drift"] == [{"service": "identity", "key": None, "what": "has exited with status 0"}]
        assert host.environment_of("api")[FLAG] == "true"

    def test_restarted_restarts_each_time(self, host: Host) -> None:
        predicted = host.run(check=True, state="restarted")
        assert predicted.changed
        assert host.restarts == 0
        before = host.snapshot()
        result = host.run(state="restarted")
        assert result["restarted"]
        assert result["drift"] == []
        assert result["diff"] == {"before": "", "after": "restarted\n"}
        assert not set(before) & set(host.snapshot())
        assert host.run(state="restarted").changed
        assert host.restarts == 2

    def test_what_is_told(self, host: Host) -> None:
        result = host.run()
        assert result["deployment"] == "standard"
        assert result["versions"] == dict.fromkeys(("script", "files", "running"), "2026.7.2")
        assert result["rolled_back"] is False


class TestChecks:
    """Nothing may be stopped while the way back up is closed."""

    @pytest.fixture(autouse=True)
    def drifted(self, host: Host) -> None:
        host.set(FLAG, "true")

    def refused(self, host: Host, *words: str, check: bool = True, **arguments: object) -> None:
        before = host.snapshot()
        for mode in (True, False) if check else (False,):
            result = host.run(check=mode, **arguments)
            assert result.failed
            for word in words:
                assert word in result["msg"]
            assert result["next_step"]
            assert result["server_state"] == UNTOUCHED
        assert host.snapshot() == before
        assert host.restarts == 0

    def test_an_update_that_was_begun(self, host: Host) -> None:
        host.script.write_text(host.script.read_text().replace('COREVERSION="2026.7.2"', 'COREVERSION="2026.8.0"'))
        self.refused(host, "2026.8.0", "2026.7.2", "bitwarden.sh update")

    def test_another_version_of_one_service_is_no_begun_update(self, host: Host) -> None:
        override = host.bwdata / "docker/docker-compose.override.yml"
        override.write_text("services:\n  icons:\n    image: ghcr.io/bitwarden/icons:2026.6.0\n")
        assert host.run(check=True).changed

    def test_a_full_disk(self, host: Host) -> None:
        self.refused(host, "MiB left", "df -h", min_free_space=10**9)

    def test_no_check_of_the_disk_on_demand(self, host: Host) -> None:
        assert host.run(min_free_space=0)["restarted"]

    def test_images_that_are_there_are_not_asked_for_on_demand(self, host: Host) -> None:
        host.db.set_fault("registry_down")
        self.refused(host, "ghcr.io", "pull", check=False)
        result = host.run(pull="missing")
        assert result["restarted"]
        assert result.warnings == ""

    def test_an_image_that_is_missing_is_asked_for_all_the_same(self, host: Host) -> None:
        host.db.remove_image("us1", "ghcr.io/bitwarden/api:2026.7.2")
        host.db.set_fault("registry_down")
        self.refused(host, "ghcr.io/bitwarden/api:2026.7.2 cannot be pulled", check=False, pull="missing")

    def test_the_wrong_kind_of_deployment(self, host: Host) -> None:
        self.refused(host, "of kind standard, not lite", deployment="lite")

    def test_a_script_that_was_lost(self, host: Host) -> None:
        host.script.unlink()
        self.refused(host, "bitwarden.sh does not exist", "manual")


class TestNothingIsFetchedAfterTheStop:
    def test_the_registry_is_asked_before_the_stop_and_not_after(self, host: Host) -> None:
        log = host.directory.parent / "calls"
        real = host.programs / "docker.real"
        (host.programs / "docker").rename(real)
        (host.programs / "docker").write_text(f'#!/bin/sh\necho "$*" >>"{log}"\nexec "{real}" "$@"\n')
        (host.programs / "docker").chmod(0o755)
        (host.bwdata / "letsencrypt/live").mkdir(parents=True, exist_ok=True)
        host.set(FLAG, "true")
        script = host.script.read_bytes()
        assert host.run()["restarted"]
        calls = log.read_text().splitlines()
        down = next(n for n, call in enumerate(calls) if call == "compose down")
        pulls = [n for n, call in enumerate(calls) if "pull" in call.split()]
        assert [calls[n].split()[-1] for n in pulls] == ["pull", "ghcr.io/bitwarden/setup:2026.7.2", "certbot/certbot"]
        assert max(pulls) < down < calls.index("compose up -d")
        assert host.script.read_bytes() == script
        assert not [name for name in os.listdir(host.directory) if name.startswith(".selfhosted")]


class TestCertificates:
    def test_a_new_one_restarts_and_is_seen_from_inside(self, host: Host) -> None:
        (host.certificates / "own.crt").write_bytes(b"\xff\xfe no text\n")
        predicted = host.run(check=True)
        assert {"service": "api", "key": None, "what": "was started before bwdata/ca-certificates/own.crt changed"} in (
            predicted["drift"]
        )
        assert "nginx" not in {drift["service"] for drift in predicted["drift"]}
        result = host.run()
        assert result["restarted"]
        assert result.warnings == ""
        assert not host.run().changed
        (host.certificates / "own.crt").unlink()
        assert host.run(check=True).changed

    def test_one_that_the_containers_do_not_see_is_a_failure(self, host: Host) -> None:
        (host.certificates / "own.crt").write_text("one\n")
        real = host.programs / "docker.real"
        (host.programs / "docker").rename(real)
        text = f'#!/bin/sh\n[ "$1" = exec ] && {{ echo two; exit 0; }}\nexec "{real}" "$@"\n'
        (host.programs / "docker").write_text(text)
        (host.programs / "docker").chmod(0o755)
        result = host.run(timeout=20)
        assert result.failed
        assert "bitwarden-api does not see" in result["msg"]
        assert result["server_state"].startswith("up, but not as wanted")

    def test_one_of_the_future_does_not_restart_for_ever(self, host: Host) -> None:
        path = host.certificates / "own.crt"
        path.write_text("x\n")
        ahead = time.time() + 86400
        os.utime(path, (ahead, ahead))
        host.age()
        assert not host.run().changed


class TestProxies:
    def test_one_that_was_taken_out_of_the_file_restarts(self, host: Host) -> None:
        host.set("https_proxy", "http://proxy.example:3128")
        host.set("no_proxy", "identity,api,admin,notifications,localhost")
        assert host.run()["restarted"]
        host.set("https_proxy", None)
        result = host.run()
        assert {"service": "api", "key": "https_proxy", "what": "is no longer wanted"} in result["drift"]
        assert "https_proxy" not in host.environment_of("api")


class TestTheWayBack:
    @pytest.fixture(autouse=True)
    def broken(self, host: Host) -> None:
        host.db.set_fault("container_crashes_with", {"key": BAD})

    def test_a_setting_that_services_do_not_start_with(self, host: Host) -> None:
        before = host.env_file.read_bytes()
        assert host.write(BAD, "bad").changed
        result = host.run(timeout=8)
        assert result.failed
        assert result["rolled_back"]
        assert result["server_state"] == "up with the previous settings"
        assert "The server is now up with the previous settings." in result["msg"]
        assert "put back" in result["msg"]
        assert any(line.startswith("bitwarden-api") and "Unhandled exception" in line for line in result["logs"])
        assert result["script_output"]
        assert result["downtime"] > 0
        assert host.env_file.read_bytes() == before
        assert BAD not in host.environment_of("api")
        assert set(result["containers"].values()) == {"running"}
        assert not host.run().changed
        assert os.listdir(host.directory / "bwdata-backups") == []

    def test_success_forgets_it(self, host: Host) -> None:
        host.write(FLAG, "true")
        assert len(os.listdir(host.directory / "bwdata-backups")) == 1
        assert host.run()["restarted"]
        assert os.listdir(host.directory / "bwdata-backups") == []

    def test_so_does_a_restart_by_hand(self, host: Host) -> None:
        host.write(FLAG, "true")
        host.alter("api", env={**host.environment_of("api"), FLAG: "true"})
        for row in host.db.containers("us1"):
            if "globalSettings__installation__id" in row["env"]:
                host.alter(row["service"], env={**row["env"], FLAG: "true"})
        assert not host.run().changed
        assert os.listdir(host.directory / "bwdata-backups") == []

    def test_not_wanted(self, host: Host) -> None:
        host.write(BAD, "bad")
        result = host.run(timeout=5, rollback=False)
        assert result.failed
        assert not result["rolled_back"]
        assert result["server_state"].startswith("down with the settings of now")
        assert f"{BAD}=bad" in host.env_file.read_text()

    def test_a_file_that_somebody_has_changed_since_is_left_alone(self, host: Host) -> None:
        host.write(BAD, "bad")
        host.set("globalSettings__mail__smtp__host", "by.hand")
        result = host.run(timeout=5)
        assert result.failed
        assert not result["rolled_back"]
        assert "by.hand" in host.env_file.read_text()

    def test_a_server_that_does_not_start_with_either_is_told_to_be_down(self, host: Host) -> None:
        host.write(FLAG, "true")
        host.db.set_fault("compose_up_fails")
        result = host.run(timeout=5)
        assert result.failed
        assert result["rolled_back"]
        assert result["server_state"] == "down with the previous settings: no container runs"
        host.db.clear_faults()
        assert host.run()["restarted"]


class TestKilledRuns:
    """By SIGKILL, at several moments; the next run heals what is left."""

    def wait(self, condition: str, host: Host) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            calls = Path(host.directory.parent / "calls")
            if calls.is_file() and condition in calls.read_text():
                return
            time.sleep(0.02)
        raise AssertionError(f"no call of {condition!r}")

    @pytest.mark.parametrize("moment", ["compose pull", "compose down", "compose up", "run -i --rm --name setup"])
    @pytest.mark.parametrize("all_of_it", [False, True], ids=["the module", "everything"])
    def test_healed_by_the_next_run(self, host: Host, moment: str, all_of_it: bool) -> None:
        calls = host.directory.parent / "calls"
        real = host.programs / "docker.real"
        (host.programs / "docker").rename(real)
        words = moment.replace("compose ", "")
        slower = f'case " $* " in *" {words} "*) echo "{moment}" >>"{calls}"; sleep 1 ;; esac'
        (host.programs / "docker").write_text(f'#!/bin/sh\n{slower}\nexec "{real}" "$@"\n')
        (host.programs / "docker").chmod(0o755)
        host.write(FLAG, "true")
        process = host.begin(timeout=60)
        self.wait(moment, host)
        if all_of_it:
            os.killpg(process.pid, signal.SIGKILL)
            for pid in descendants(host):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        else:
            process.kill()
        process.communicate()
        # A script that has outlived its module may still be about to call the real one.
        link = host.programs / "docker.link"
        link.symlink_to(real)
        link.replace(host.programs / "docker")
        healed = host.run(timeout=60, lock_timeout=60)
        assert not healed.failed
        assert host.environment_of("api")[FLAG] == "true"
        # The script may have outlived its module; what it needs is cleared away after it.
        end = time.monotonic() + 60
        while descendants(host) and time.monotonic() < end:
            time.sleep(0.1)
        assert not host.run().changed
        assert os.listdir(host.directory / "bwdata-backups") == []
        assert not [name for name in os.listdir(host.directory) if name.startswith(".selfhosted")]

    def test_a_lost_connection_does_not_end_a_begun_restart(self, host: Host) -> None:
        host.db.set_fault("slow_start", {"seconds": "3", "count": "1"})
        host.write(FLAG, "true")
        process = host.begin(timeout=60)
        end = time.monotonic() + 60
        while running(host) == 11 and time.monotonic() < end:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGHUP)
        result = finish_module(process)
        assert result["restarted"]
        assert not host.run().changed


def descendants(host: Host) -> list[int]:
    """What works in the host's folders; killed by number."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(host.directory.parent.parent).encode() in words and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found
