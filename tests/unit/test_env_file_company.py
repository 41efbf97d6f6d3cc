"""env_file beside other programs: locks, Bitwarden's setup at the same time, death at any moment, labels to keep."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import files, rollback, settled
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.modules import env_file
from bwlab.host.cases.support import UPDATE, make_bwdata, run_setup
from fuzz.real_compose import program
from fuzz.real_docker import CLIENT
from unit.module_runner import Result, module_environment, run_module

FLAG = "globalSettings__enableCloudCommunication"
CONTENT = "globalSettings__baseServiceUri__cloudRegion=US\nA=1\n"
INSTALL = ["-install", "1", "-domain", "bw.example.com", *UPDATE[2:], "-install-key", "Key1", "-skip-ssl", "1"]
IDENTITY = "11111111-2222-3333-4444-555555555555"
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may set such an attribute")


@pytest.fixture
def env(tmp_path: Path) -> Path:
    path = tmp_path / "opt" / "bwdata" / "env" / "global.override.env"
    path.parent.mkdir(parents=True)
    path.write_text(CONTENT)
    path.chmod(0o600)
    return path


@pytest.fixture
def bwdata(tmp_path: Path) -> Path:
    root = tmp_path / "opt" / "bwdata"
    make_bwdata(root)
    done = run_setup(root, [*INSTALL, "-install-id", IDENTITY], fetch=lambda _address: (200, '{"enabled": true}'))
    assert done.exit_code == 0, done.stderr
    return root


def run(path: Path, arguments: dict[str, Any] | None = None, **options: Any) -> Result:
    return run_module(
        "env_file",
        {"path": str(path), **(arguments or {"keys": {FLAG: True}})},
        env={"PATH": str(path.parent)},
        **options,
    )


def age(path: Path) -> None:
    """As if it had been written a minute ago."""
    os.utime(path, (time.time() - 60, time.time() - 60))


def in_process(
    path: Path, problem_of: Callable[[bytes], str | None] = lambda _data: None, **more: Any
) -> dict[str, Any]:
    """The module's work without its process."""
    params = {name: spec.get("default") for name, spec in env_file.ARGUMENT_SPEC.items()}
    params.update({"path": str(path), "keys": {FLAG: True}, **more})
    return env_file.run(params, check_mode=False, warn=lambda _text: None, problem_of=problem_of)


class TestLocks:
    @pytest.mark.parametrize("kind", [fcntl.LOCK_EX, fcntl.LOCK_SH])
    def test_a_lock_of_somebody_else_stops_nothing(self, env: Path, kind: int) -> None:
        age(env)
        with env.open() as stream:
            fcntl.flock(stream, kind)
            assert run(env).changed
        assert env.read_text() == CONTENT + f"{FLAG}=true\n"

    def test_no_lock_is_taken_on_the_file_itself(self, env: Path) -> None:
        """Setup aborts when it meets one."""
        seen = []

        def look(_data: bytes) -> None:
            seen.append(subprocess.run(["flock", "--nonblock", "--exclusive", env, "true"], check=False).returncode)

        assert in_process(env, look)["changed"]
        assert seen == [0]

    def test_a_lock_on_a_file_that_was_written_just_now_is_waited_for(self, env: Path) -> None:
        with env.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            result = run(env, {"keys": {FLAG: True}, "lock_timeout": 1})
            assert result.failed
            assert "being written" in result["msg"]
            timer = threading.Timer(0.3, stream.close)
            timer.start()
            assert run(env).changed
            timer.join()


class TestSetup:
    def test_setup_runs_while_we_hold_our_lock(self, bwdata: Path) -> None:
        with files.locked(str(bwdata / "env"), 1):
            assert run_setup(bwdata, UPDATE).exit_code == 0

    def test_a_half_written_file_is_not_taken_for_the_whole(self, bwdata: Path) -> None:
        """Setup empties the file, and is seen before it has written it again."""
        path = bwdata / "env" / "global.override.env"
        whole = path.read_bytes()
        descriptor = os.open(path, os.O_WRONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        os.write(descriptor, whole[:600])

        def finish() -> None:
            os.write(descriptor, whole[600:])
            os.close(descriptor)

        timer = threading.Timer(0.5, finish)
        timer.start()
        assert run(path).changed
        timer.join()
        assert path.read_bytes() == whole + f"{FLAG}=true\n".encode()

    def test_setup_between_reading_and_writing(self, bwdata: Path) -> None:
        path = bwdata / "env" / "global.override.env"
        path.write_bytes(path.read_bytes() + b"# gone=1\n\nlast=1\n")
        runs: list[int] = []

        def setup_runs(_data: bytes) -> None:
            if not runs:
                runs.append(run_setup(bwdata, UPDATE).exit_code)

        result = in_process(path, setup_runs, rollback=True, backup=True)
        assert runs == [0]
        assert result["changed"]
        text = path.read_text()
        assert text.endswith(f"last=1\n{FLAG}=true\n")
        assert "\n\n" not in text
        assert rollback.find(str(path)) == text.replace(f"{FLAG}=true\n", "").encode()

    def test_somebody_who_never_stops(self, env: Path) -> None:
        count = iter(range(1000))

        def change(_data: bytes) -> None:
            env.write_text(f"A={next(count)}\n")

        with pytest.raises(BitwardenError, match="again and again"):
            in_process(env, change, rollback=True)
        assert env.read_text() == f"A={next(count) - 1}\n"
        assert rollback.find(str(env)) is None

    def test_both_at_once_many_times(self, bwdata: Path) -> None:
        """Whoever comes first, all secrets of the installation stay: nobody completes half a file with new ones."""
        path = bwdata / "env" / "global.override.env"
        secrets = set(path.read_text().splitlines())
        stop = threading.Event()
        runs: list[int] = []

        def setup() -> None:
            # A setup that never pauses can keep a reader out for as long as it likes.
            while not stop.wait(0.02):
                runs.append(run_setup(bwdata, UPDATE).exit_code)

        thread = threading.Thread(target=setup)
        thread.start()
        try:
            number = 0
            # Setup may be the slower one of the two.
            while number < 25 or len(runs) < 3:
                assert number < 1000
                assert in_process(path, keys={f"own_{number}": str(number)}, rollback=True)["changed"]
                found = settled.read(str(path), 5)
                assert found is not None
                assert secrets <= set(found[0].decode().splitlines())
                number += 1
        finally:
            stop.set()
            thread.join()
        assert secrets <= set(path.read_text().splitlines())
        assert set(runs) == {0}


KILLED = """
import json, os, signal, sys
from ansible_collections.selfhosted.bitwarden.plugins.modules import env_file
params, moment = json.loads(sys.argv[1]), int(sys.argv[2])
WRITES = os.O_WRONLY | os.O_CREAT
passed = 0
def count(event, arguments):
    global passed
    if event == "open" and not (arguments[2] or 0) & WRITES:
        return
    if event in ("open", "fcntl.flock", "os.rename", "os.remove", "os.chmod", "os.chown", "os.mkdir", "os.setxattr"):
        passed += 1
        if passed > moment:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
env_file.run(params, False, print, lambda data: None)
"""


def test_death_at_any_moment_leaves_the_old_or_the_new_file(env: Path) -> None:
    new = CONTENT + f"{FLAG}=true\n"
    params = {name: spec.get("default") for name, spec in env_file.ARGUMENT_SPEC.items()}
    params.update({"path": str(env), "keys": {FLAG: True}, "rollback": True, "backup": True})
    os.setxattr(env, "user.note", b"kept")
    seen = []
    status, moment = -signal.SIGKILL, 0
    while status == -signal.SIGKILL:
        shutil.rmtree(env.parents[2] / "bwdata-backups", ignore_errors=True)
        env.write_text(CONTENT)
        status = subprocess.run(
            [sys.executable, "-c", KILLED, json.dumps(params), str(moment)], env=module_environment(), check=False
        ).returncode
        seen.append(env.read_text())
        assert seen[-1] in {CONTENT, new}
        # A run that died after the replacement has left the way back.
        assert (rollback.find(str(env)) == CONTENT.encode()) is (seen[-1] == new)
        moment += 1
    assert status == 0
    assert {CONTENT, new} == set(seen)
    assert moment > 8
    # The next run takes away what the dead ones left beside the file.
    run(env, {"keys": {"B": "1"}})
    assert [path.name for path in env.parent.iterdir()] == [env.name]


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """A POSIX access list as the kernel stores it: version 2, then tag, rights and id of each entry."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_an_access_list_is_kept(env: Path) -> None:
    nobody = 0xFFFFFFFF
    rights = access_list((1, 6, nobody), (2, 4, 1234), (4, 0, nobody), (0x10, 4, nobody), (0x20, 0, nobody))
    try:
        os.setxattr(env, "system.posix_acl_access", rights)
    except OSError:
        pytest.skip("this file system has no access lists")
    mode = env.stat().st_mode
    assert run(env).changed
    assert os.getxattr(env, "system.posix_acl_access") == rights
    assert env.stat().st_mode == mode


@ROOT_ONLY
def test_a_label_of_selinux_is_kept(env: Path) -> None:
    label = b"system_u:object_r:container_file_t:s0\0"
    try:
        os.setxattr(env, "security.selinux", label)
    except OSError:
        pytest.skip("this kernel lets nobody set a label")
    assert run(env).changed
    assert os.getxattr(env, "security.selinux") == label


@pytest.mark.skipif(CLIENT is None, reason="no docker client is installed")
class TestRealCompose:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, Any]:
        plugins = tmp_path / "home" / ".docker" / "cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(program())
        return {"env": {"PATH": f"{Path(str(CLIENT)).parent}:{os.defpath}", "HOME": str(tmp_path / "home")}}

    def test_a_merge_that_leaves_another_key_without_its_variable(self, env: Path, options: dict[str, Any]) -> None:
        env.write_text("own=1\nB=${own:?hunter2}\n")
        result = run_module("env_file", {"path": str(env), "absent": ["own"]}, **options)
        assert result.failed
        assert "docker compose refuses" in result["msg"]
        assert "hunter2" not in result.output
        assert env.read_text() == "own=1\nB=${own:?hunter2}\n"
        assert run_module("env_file", {"path": str(env), "keys": {FLAG: True}}, **options).changed

    def test_a_file_that_compose_refused_before_is_told(self, env: Path, options: dict[str, Any]) -> None:
        env.write_text("B=${own:?hunter2}\n")
        result = run_module("env_file", {"path": str(env), "keys": {FLAG: True}}, **options)
        assert result.changed
        assert "could not check" in result.warnings
        assert "hunter2" not in result.output
