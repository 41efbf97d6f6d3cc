"""What an env file held before: kept beside bwdata, and only put back where it fits."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import files, rollback
from unit.module_runner import module_environment

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def env(tmp_path: Path) -> Path:
    path = tmp_path / "opt" / "bwdata" / "env" / "global.override.env"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"A=1\n")
    path.chmod(0o640)
    return path


def points(env: Path) -> list[Path]:
    folder = Path(files.backup_directory(str(env)))
    return sorted(folder.iterdir()) if folder.is_dir() else []


def replace(env: Path, new: bytes) -> str:
    """What the module does: keep, write, settle."""
    status = env.stat()
    name = rollback.keep(str(env), env.read_bytes(), new, status)
    files.write(str(env), new, status)
    rollback.settle(str(env))
    return name


def test_the_earlier_content_is_put_back(env: Path) -> None:
    name = replace(env, b"A=2\n")
    assert points(env) == [Path(name)]
    assert rollback.find(str(env)) == b"A=1\n"
    assert rollback.put_back(str(env))
    assert env.read_bytes() == b"A=1\n"
    assert stat.S_IMODE(env.stat().st_mode) == 0o640
    assert points(env) == []
    assert not rollback.put_back(str(env))


def test_a_point_is_private_and_lies_outside_bwdata(env: Path) -> None:
    point = Path(replace(env, b"A=2\n"))
    assert stat.S_IMODE(point.stat().st_mode) == 0o600
    assert stat.S_IMODE(point.parent.stat().st_mode) == 0o700
    assert point.parent == env.parents[2] / "bwdata-backups"


@ROOT_ONLY
def test_a_point_belongs_to_the_owner_of_the_file(env: Path) -> None:
    os.chown(env, 1234, 2345)
    point = Path(replace(env, b"A=2\n"))
    assert [(path.stat().st_uid, path.stat().st_gid) for path in (point, point.parent)] == [(1234, 2345)] * 2
    assert rollback.put_back(str(env))
    assert (env.stat().st_uid, env.stat().st_gid) == (1234, 2345)


def test_a_second_write_keeps_what_ran_last(env: Path) -> None:
    replace(env, b"A=2\n")
    replace(env, b"A=3\n")
    assert len(points(env)) == 1
    assert rollback.put_back(str(env))
    assert env.read_bytes() == b"A=1\n"


def test_a_way_back_to_what_ran_last_leaves_no_point(env: Path) -> None:
    replace(env, b"A=2\n")
    assert replace(env, b"A=1\n") == ""
    assert points(env) == []
    assert rollback.find(str(env)) is None


def test_what_a_person_changed_since_is_not_overwritten(env: Path) -> None:
    replace(env, b"A=2\n")
    env.write_bytes(b"A=2\nB=by hand\n")
    assert rollback.find(str(env)) is None
    assert not rollback.put_back(str(env))
    assert env.read_bytes() == b"A=2\nB=by hand\n"
    replace(env, b"A=4\n")
    assert rollback.find(str(env)) == b"A=2\nB=by hand\n"
    assert len(points(env)) == 1


def test_proven_content_is_kept(env: Path) -> None:
    replace(env, b"A=2\n")
    rollback.forget(str(env))
    assert points(env) == []
    assert not rollback.put_back(str(env))
    rollback.forget(str(env))


def test_a_link_leads_to_the_points_of_the_file(env: Path, tmp_path: Path) -> None:
    (tmp_path / "link.env").symlink_to(env)
    replace(env, b"A=2\n")
    assert rollback.put_back(str(tmp_path / "link.env"))
    assert env.read_bytes() == b"A=1\n"


def test_other_copies_in_the_folder_stay(env: Path) -> None:
    copy = files.backup(str(env), b"A=0\n", env.stat(), files.backup_directory(str(env)))
    replace(env, b"A=2\n")
    rollback.forget(str(env))
    assert points(env) == [Path(copy)]


def test_a_missing_file_has_no_point(env: Path) -> None:
    replace(env, b"A=2\n")
    env.unlink()
    assert rollback.find(str(env)) is None
    assert not rollback.put_back(str(env))


KILLED = """
import os, signal, sys
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import files, rollback
path, moment = sys.argv[1], int(sys.argv[2])
passed = 0
def count(event, arguments):
    global passed
    if event in ("open", "os.rename", "os.remove", "os.chmod", "os.chown", "os.mkdir", "os.listdir"):
        passed += 1
        if passed > moment:
            os.kill(os.getpid(), signal.SIGKILL)
old, new = open(path, "rb").read(), b"A=3\\n"
sys.addaudithook(count)
rollback.keep(path, old, new, os.stat(path))
files.write(path, new, os.stat(path))
rollback.settle(path)
"""


def test_a_run_killed_at_any_moment_leaves_a_way_back(env: Path) -> None:
    """Two writes before a restart, the second one killed: what ran last can still be put back."""
    moment, killed = 0, -signal.SIGKILL
    while killed == -signal.SIGKILL:
        rollback.forget(str(env))
        env.write_bytes(b"A=1\n")
        replace(env, b"A=2\n")
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(env), str(moment)], env=module_environment(), check=False
        ).returncode
        assert env.read_bytes() in {b"A=2\n", b"A=3\n"}
        assert rollback.put_back(str(env))
        assert env.read_bytes() == b"A=1\n"
        assert points(env) == []
        moment += 1
    assert killed == 0
    assert moment > 10
