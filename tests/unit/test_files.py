# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is said where a file cannot be replaced, kept or removed, whoever runs the tests."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import files
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.files import FileError


@pytest.fixture
def env(tmp_path: Path) -> Path:
    path = tmp_path / "global.override.env"
    path.write_bytes(b"old")
    path.chmod(0o640)
    return path


class User:
    """An account that is not root, without rights but those that are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *rights: Path) -> None:
        self.rights = {str(one) for one in rights}
        monkeypatch.setattr(files.os, "geteuid", lambda: 4711)
        monkeypatch.setattr(files.os, "getegid", lambda: 4712)
        monkeypatch.setattr(files.os, "getgroups", lambda: [4713])
        monkeypatch.setattr(files.os, "access", lambda path, _mode: str(path) in self.rights)


def owned(path: Path, uid: int, gid: int) -> os.stat_result:
    """What stat would say of a file of somebody else."""
    values = list(path.stat())
    values[stat.ST_UID], values[stat.ST_GID] = uid, gid
    return os.stat_result(values)


def refused(path: Path, status: os.stat_result | None) -> str:
    with pytest.raises(FileError) as error:
        files.check_replaceable(str(path), status)
    assert error.value.next_step
    return str(error.value)


def test_a_directory_in_which_nothing_can_be_written_is_told_with_its_owner(
    env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    User(monkeypatch, env)
    text = refused(env, env.stat())
    assert f"No file can be written in {env.parent} (owner " in text and "as user 4711" in text


def test_a_file_that_cannot_be_written_is_told_with_its_mode(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = User(monkeypatch, env.parent)
    text = refused(env, owned(env, 99991, 99992))
    assert "(owner 99991, group 99992, mode 0640) cannot be written as user 4711" in text
    user.rights.add(str(env))
    for uid, gid in ((99991, 4712), (4711, 99992)):
        assert "without a change of its owner or group" in refused(env, owned(env, uid, gid))
    for gid in (4712, 4713):
        files.check_replaceable(str(env), owned(env, 4711, gid))
    files.check_replaceable(str(env), None)


def fails(code: int) -> Any:
    def raise_it(*_given: Any, **_options: Any) -> None:
        raise OSError(code, os.strerror(code))

    return raise_it


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "Free space on the file system"),
        (errno.EDQUOT, "Free space on the file system"),
        (errno.EBUSY, "mount point of its own"),
        (errno.EROFS, "whether its file system is read-only"),
    ],
)
def test_a_file_that_cannot_be_replaced_stays_as_it_is(
    env: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    monkeypatch.setattr(files.os, "replace", fails(code))
    with pytest.raises(FileError, match=r"could not be replaced: .*It is as it was") as error:
        files.write(str(env), b"new", env.stat())
    assert words in str(error.value.next_step)
    assert env.read_bytes() == b"old" and os.listdir(env.parent) == [env.name]


def test_labels_that_cannot_be_set_are_left_and_other_trouble_is_none_of_them(
    env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.os, "listxattr", lambda _path: ["security.selinux"])
    monkeypatch.setattr(files.os, "getxattr", lambda _path, _name: b"label")
    for code in (errno.EPERM, errno.ENOTSUP, errno.EACCES, errno.ENODATA):
        monkeypatch.setattr(files.os, "setxattr", fails(code))
        files.write(str(env), str(code).encode(), env.stat())
        assert env.read_bytes() == str(code).encode()
    monkeypatch.setattr(files.os, "setxattr", fails(errno.ENOSPC))
    with pytest.raises(FileError):
        files.write(str(env), b"new", env.stat())
    assert env.read_bytes() == str(errno.ENODATA).encode()


def test_a_new_file_belongs_to_whom_its_directory_belongs(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(files.os, "chown", lambda _path, uid, gid: given.append((uid, gid)))
    monkeypatch.setattr(files.os, "geteuid", lambda: 0)
    new = env.parent / "new.env"
    files.write(str(new), b"x", None)
    parent = env.parent.stat()
    assert given == [(parent.st_uid, parent.st_gid)] and new.read_bytes() == b"x"
    monkeypatch.setattr(files.os, "geteuid", lambda: 4711)
    files.write(str(env.parent / "other.env"), b"x", None)
    assert len(given) == 1


def test_a_backup_that_cannot_be_made_is_told_and_nothing_is_left(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = env.parent / "kept"
    target = folder / "copy"
    files.private_copy(str(target), b"one", env.stat())
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(target.stat().st_mode)) == (0o700, 0o600)
    made = files.backup(str(env), b"old", env.stat(), str(folder))
    assert Path(made).read_bytes() == b"old"
    monkeypatch.setattr(files, "_write_new", fails(errno.ENOSPC))
    for step in (
        lambda: files.backup(str(env), b"old", env.stat(), str(folder)),
        lambda: files.private_copy(str(target), b"two", env.stat()),
    ):
        with pytest.raises(FileError, match=r"No backup could be made in .*: No space left on device"):
            step()
    assert target.read_bytes() == b"one" and len(os.listdir(folder)) == 2


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/opt/bitwarden/bwdata/env/global.override.env", "/opt/bitwarden/bwdata-backups"),
        ("/bwdata/env/x", "/bwdata-backups"),
        ("/opt/lite/settings.env", "/opt/lite/env-backups"),
    ],
)
def test_backups_lie_where_nobody_else_looks(path: str, wanted: str) -> None:
    assert files.backup_directory(path) == wanted


def test_what_is_gone_is_removed_and_what_cannot_be_is_told(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.remove(str(env))
    files.remove(str(env))
    monkeypatch.setattr(files.os, "unlink", fails(errno.EACCES))
    with pytest.raises(FileError, match=r"cannot be removed as user .*: Permission denied"):
        files.remove(str(env))


def test_a_directory_that_cannot_be_locked_is_told(env: Path) -> None:
    with pytest.raises(FileError, match="cannot be opened as user"), files.locked(str(env), 0.1):
        pass
    held = pytest.raises(FileError, match="Another run has held the lock")
    with files.locked(str(env.parent), 0.1), held, files.locked(str(env.parent), 0.1):
        pass
