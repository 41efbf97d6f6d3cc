"""The module env_file on real files, as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import files
from unit.module_runner import Result, finish_module, module_environment, run_module, start_module

FLAG = "globalSettings__enableCloudCommunication"
REGION = "globalSettings__baseServiceUri__cloudRegion"
SECRETS = ("FixtureDbPassword", "FixtureInstallKey001", "FixtureHibp", "11111111-2222")
CONTENT = f"""\
globalSettings__baseServiceUri__vault=https://bw.example.com
{REGION}=US
globalSettings__sqlServer__connectionString="Data Source=tcp:mssql,1433;User ID=sa;Password=FixtureDbPassword;"
globalSettings__installation__id=11111111-2222-3333-4444-555555555555
globalSettings__installation__key=FixtureInstallKey001
# globalSettings__hibpApiKey=FixtureHibp
globalSettings__hibpApiKey=FixtureHibp
"""
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
NOBODY = 65534


def laid_out(folder: Path) -> Path:
    path = folder / "opt" / "bwdata" / "env" / "global.override.env"
    path.parent.mkdir(parents=True)
    path.write_text(CONTENT)
    path.chmod(0o600)
    return path


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """A global.override.env in the usual place, without docker on PATH."""
    return laid_out(tmp_path)


@pytest.fixture
def own(open_path: Path) -> Path:
    """The same of a normal user who can reach it."""
    path = laid_out(open_path)
    for folder in path.parents[1:3]:
        folder.chmod(0o755)
    for one in (path.parent, path):
        os.chown(one, NOBODY, NOBODY)
    return path


def without_docker(tmp_path: Path) -> dict[str, str | None]:
    return {"PATH": str(tmp_path)}


def run(path: Path, arguments: dict[str, Any] | None = None, **options: Any) -> Result:
    options.setdefault("env", without_docker(path.parent))
    return run_module("env_file", {"path": str(path), **(arguments or {"keys": {FLAG: True}})}, **options)


def test_change_then_nothing(env: Path) -> None:
    first = run(env, diff=True)
    assert first.changed
    assert first["changes"] == [{"key": FLAG, "before": None, "after": "true"}]
    assert first["settings"] == {FLAG: "true"}
    assert first["diff"]["after"] == f"{FLAG}=true\n"
    assert env.read_text() == CONTENT + f"{FLAG}=true\n"
    before = env.stat()
    second = run(env, diff=True)
    assert not second.changed
    assert second["changes"] == []
    assert second["diff"]["before"] == second["diff"]["after"] == ""
    assert (env.stat().st_ino, env.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_check_mode_tells_the_same_and_changes_nothing(env: Path) -> None:
    arguments = {"keys": {FLAG: True, REGION: "EU"}, "backup": True}
    predicted = run(env, arguments, check=True, diff=True)
    assert env.read_text() == CONTENT
    assert sorted(p.name for p in env.parent.parent.parent.iterdir()) == ["bwdata"]
    real = run(env, arguments, diff=True)
    for key in ("changed", "changes", "settings", "read", "diff", "path"):
        assert predicted[key] == real[key]


def test_owner_mode_and_attributes_are_kept(env: Path) -> None:
    env.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(env, 1234, 2345)
    os.setxattr(env, "user.note", b"kept")
    assert run(env).changed
    status = env.stat()
    assert stat.S_IMODE(status.st_mode) == 0o640
    assert os.getxattr(env, "user.note") == b"kept"
    if os.geteuid() == 0:
        assert (status.st_uid, status.st_gid) == (1234, 2345)


def test_a_symbolic_link_stays_one(env: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.env"
    link.symlink_to(env)
    result = run(link)
    assert result["path"] == str(env)
    assert link.is_symlink()
    assert f"{FLAG}=true" in env.read_text()


def test_hard_links_are_named(env: Path, tmp_path: Path) -> None:
    other = env.parent / "other.env"
    other.hardlink_to(env)
    (tmp_path / "far.env").hardlink_to(env)
    result = run(env)
    assert result["hard_links"] == [str(other), f"1 outside {env.parent}"]
    assert str(other) in result.warnings
    assert other.read_text() == CONTENT


def test_backup_lies_outside_bwdata_and_is_private(env: Path) -> None:
    result = run(env, {"keys": {FLAG: True}, "backup": True})
    copy = Path(result["backup_file"])
    assert "bwdata" not in copy.relative_to(env.parents[2]).parts
    assert copy.read_text() == CONTENT
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    assert "backup_file" not in run(env, {"keys": {FLAG: True}, "backup": True}).data


@ROOT_ONLY
def test_a_backup_and_its_folder_belong_to_the_owner_of_the_file(env: Path) -> None:
    os.chown(env, NOBODY, NOBODY)
    copy = Path(run(env, {"keys": {FLAG: True}, "backup": True})["backup_file"])
    assert [(path.stat().st_uid, path.stat().st_gid) for path in (copy, copy.parent)] == [(NOBODY, NOBODY)] * 2


def test_a_missing_file_is_an_error_unless_it_is_to_be_made(env: Path) -> None:
    env.unlink()
    for check in (True, False):
        result = run(env, check=check)
        assert result.failed
        assert str(env) in result["msg"]
        assert "backup" in result["next_step"]
    assert not env.exists()
    assert run(env, {"keys": {FLAG: True}, "create": True}, check=True).changed
    assert not env.exists()
    made = run(env, {"keys": {FLAG: True}, "create": True})
    assert made.changed
    assert env.read_text() == f"{FLAG}=true\n"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600


def test_a_missing_directory_is_an_error_even_for_create(tmp_path: Path) -> None:
    for check in (True, False):
        result = run(
            tmp_path / "no" / "where.env", {"keys": {FLAG: True}, "create": True}, check=check, env={"PATH": ""}
        )
        assert result.failed
        assert str(tmp_path / "no") in result["msg"]


def test_a_directory_in_its_place(env: Path) -> None:
    env.unlink()
    env.mkdir()
    result = run(env)
    assert result.failed
    assert "Is a directory" in result["msg"]


@ROOT_ONLY
@pytest.mark.parametrize("check", [True, False])
def test_a_file_of_mode_0400_is_refused_to_its_owner(own: Path, check: bool) -> None:
    own.chmod(0o400)
    result = run(own, check=check, uid=NOBODY)
    assert result.failed
    assert "mode 0400" in result["msg"]
    assert "chmod 600" in result["next_step"]
    assert own.read_text() == CONTENT


@ROOT_ONLY
@pytest.mark.parametrize("check", [True, False])
def test_a_directory_that_cannot_be_written_is_refused(own: Path, check: bool) -> None:
    own.parent.chmod(0o555)
    result = run(own, check=check, uid=NOBODY)
    assert result.failed
    assert str(own.parent) in result["msg"]
    assert "mode 0555" in result["msg"]
    assert [p.name for p in own.parent.iterdir()] == [own.name]


@ROOT_ONLY
def test_a_file_of_another_user_is_not_taken_over(own: Path) -> None:
    own.parent.chmod(0o777)
    os.chown(own, 1234, 1234)
    own.chmod(0o666)
    result = run(own, uid=NOBODY)
    assert result.failed
    assert "owner" in result["msg"]
    assert own.stat().st_uid == 1234


@ROOT_ONLY
def test_an_unreadable_file(own: Path) -> None:
    os.chown(own, 0, 0)
    result = run(own, uid=NOBODY)
    assert result.failed
    assert "cannot be read" in result["msg"]


@ROOT_ONLY
def test_the_owner_needs_no_root(own: Path) -> None:
    assert run(own, uid=NOBODY).changed
    assert own.stat().st_uid == NOBODY


def test_a_malformed_file_is_left_as_it_is(env: Path) -> None:
    env.write_text(CONTENT + 'globalSettings__x="unclosed FixtureHibp\n')
    before = env.read_bytes()
    for check in (True, False):
        result = run(env, check=check)
        assert result.failed
        assert "line 8" in result["msg"]
        assert env.read_bytes() == before
        assert_no_secret(result)


def test_no_secret_in_any_output(env: Path) -> None:
    arguments = {
        "keys": {"globalSettings__hibpApiKey": "FixtureHibp2", FLAG: True},
        "secrets": {"globalSettings__installation__key": "FixtureInstallKey001x"},
        "lines": "globalSettings__mail__smtp__password=FixtureDbPassword2\n# hibpApiKey=FixtureHibp\n",
    }
    for check in (True, False, False):
        assert_no_secret(run(env, arguments, check=check, diff=True))
    assert "FixtureHibp2" in env.read_text()
    assert "FixtureDbPassword2" in env.read_text()
    assert "'secrets'" in run(env, arguments).warnings


def assert_no_secret(result: Result) -> None:
    for secret in SECRETS:
        assert secret not in result.output


def test_reading(env: Path) -> None:
    result = run(env, {"read": [REGION, "globalSettings__installation__id", "not_there"]})
    assert not result.changed
    assert result["read"] == {
        REGION: "US",
        "globalSettings__installation__id": "11111111-2222-3333-4444-555555555555",
        "not_there": None,
    }
    refused = run(env, {"read": ["globalSettings__installation__key"]})
    assert refused.failed
    assert_no_secret(refused)


def test_the_installation_id_under_the_name_that_lite_has(env: Path) -> None:
    identity = "99999999-2222-3333-4444-555555555555"
    result = run(env, {"keys": {"BW_INSTALLATION_ID": identity}, "read": ["BW_INSTALLATION_ID"]})
    assert result["read"] == {"BW_INSTALLATION_ID": identity}
    assert identity not in json.dumps([result["changes"], result["diff"], result["settings"]])


def test_two_runs_at_once_both_survive(env: Path) -> None:
    options = {"env": without_docker(env.parent)}
    processes = [
        start_module("env_file", {"path": str(env), "keys": {f"key_{n}": str(n)}}, **options) for n in range(6)
    ]
    assert all(finish_module(process).changed for process in processes)
    text = env.read_text()
    assert text.startswith(CONTENT)
    assert sorted(text[len(CONTENT) :].splitlines()) == [f"key_{n}={n}" for n in range(6)]
    assert [path.name for path in env.parent.iterdir()] == [env.name]


def test_a_lock_that_is_held_is_waited_for_and_then_named(env: Path) -> None:
    holder = subprocess.Popen(["flock", str(env.parent), "sleep", "60"])
    try:
        while not locked(env.parent):
            time.sleep(0.01)
        result = run(env, {"keys": {FLAG: True}, "lock_timeout": 1})
        assert result.failed
        assert str(env.parent) in result["msg"]
        assert run(env, {"keys": {FLAG: True}, "lock_timeout": 0}, check=True).changed
    finally:
        subprocess.run(["kill", *children(holder.pid)], check=False)
        holder.wait()
    assert env.read_text() == CONTENT


def locked(folder: Path) -> bool:
    return subprocess.run(["flock", "--nonblock", str(folder), "true"], check=False).returncode != 0


def children(pid: int) -> list[str]:
    return [*Path(f"/proc/{pid}/task/{pid}/children").read_text().split(), str(pid)]


KILLED = """
import os, signal, sys
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import files
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
files.write(sys.argv[1], b"half", os.stat(sys.argv[1]))
"""


def test_a_run_killed_before_the_rename_leaves_the_file_whole(env: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(env)], env=module_environment(), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert env.read_text() == CONTENT
    assert len(list(env.parent.iterdir())) == 2
    assert run(env).changed
    assert [path.name for path in env.parent.iterdir()] == [env.name]


def test_a_power_cut_finds_either_file_whole(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content reaches the disk before the name does, and the name before anybody is told."""
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content")
        fsync(descriptor)

    def note_replace(source: str, target: str) -> None:
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    files.write(str(env), b"new", env.stat())
    assert steps == ["content", "rename", "folder"]


def test_a_full_disk_leaves_the_file_whole(env: Path) -> None:
    code = (
        "import resource, runpy, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
        "runpy.run_module('ansible_collections.selfhosted.bitwarden.plugins.modules.env_file', run_name='__main__')"
    )
    arguments = {"ANSIBLE_MODULE_ARGS": {"path": str(env), "keys": {FLAG: True}}}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        env=module_environment(without_docker(env.parent)),
        check=False,
    )
    result = json.loads(ended.stdout.strip().splitlines()[-1])
    assert result["failed"]
    assert "It is as it was" in result["msg"]
    assert env.read_text() == CONTENT
    assert [path.name for path in env.parent.iterdir()] == [env.name]


DOCKER = """#!/bin/sh
case "$*" in *version*) exit 0 ;; esac
grep -q refuse-me "$(dirname "$3")/candidate.env" || exit 0
echo 'failed to read x.env: line 8: unexpected character "," in variable name "FixtureHibp,refuse-me=1"' >&2
exit 1
"""


def test_the_real_parser_has_the_last_word(env: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    options: dict[str, Any] = {"env": {"PATH": f"{program.parent}:{os.environ['PATH']}"}}
    result = run(env, {"keys": {"A": "refuse-me"}}, **options)
    assert result.failed
    assert "docker compose refuses" in result["msg"]
    assert_no_secret(result)
    assert env.read_text() == CONTENT
    assert run(env, **options).changed
    env.write_text("A=refuse-me\n")
    assert "could not check" in run(env, **options).warnings
    assert f"{FLAG}=true" in env.read_text()
