# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replaces a file at once or not at all, with its owner, mode and labels kept."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import stat
import time
import typing as t

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

_SUFFIX = ".selfhosted-tmp"


class FileError(BitwardenError):
    """A file that cannot be read or replaced."""


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def describe(path: str, status: os.stat_result) -> str:
    """A file with what decides who may change it."""
    return (
        f"{path} (owner {_user(status.st_uid)}, group {_group(status.st_gid)}, mode {stat.S_IMODE(status.st_mode):04o})"
    )


def _own_name() -> str:
    return _user(os.geteuid())


@contextlib.contextmanager
def locked(directory: str, timeout: float) -> t.Iterator[None]:
    """Keeps other runs of this collection out of a directory.

    The directory and not the file is locked: an exclusive lock on the env file kills Bitwarden's setup.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise FileError(
            f"The directory {directory} cannot be opened as user {_own_name()}: {error.strerror}.",
            next_step="Check the path, and become root or the user that owns the installation.",
        ) from error
    try:
        _wait_for_lock(descriptor, directory, timeout)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, directory: str, timeout: float) -> None:
    end = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise FileError(
                    f"Another run has held the lock on {directory} for {timeout:g} seconds.",
                    next_step=f"Wait for it to end (fuser -v {directory} shows it), or raise the time limit.",
                ) from error
            time.sleep(0.05)


def read(path: str) -> tuple[bytes, os.stat_result] | None:
    """The content of a regular file, or None where nothing exists."""
    try:
        with open(path, "rb") as stream:
            status = os.fstat(stream.fileno())
            return stream.read(), status
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileError(
            f"{path} cannot be read as user {_own_name()}: {error.strerror}.",
            next_step="Name a regular file, and become root or its owner.",
        ) from error


def check_replaceable(path: str, status: os.stat_result | None) -> None:
    """Refuses what would fail half-way: a file or a directory that this user may not change."""
    directory = os.path.dirname(path)
    parent = os.stat(directory)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise FileError(
            f"No file can be written in {describe(directory, parent)} as user {_own_name()}.",
            next_step=f"Become root or {_user(parent.st_uid)}, and check that the file system is not read-only.",
        )
    if status is None or os.geteuid() == 0:
        return
    if not os.access(path, os.W_OK):
        raise FileError(
            f"{describe(path, status)} cannot be written as user {_own_name()}; "
            "Bitwarden's setup could not rewrite it either.",
            next_step=f"Become root or {_user(status.st_uid)}, and give the file mode 0600 (chmod 600 {path}).",
        )
    if status.st_uid != os.geteuid() or status.st_gid not in {os.getegid(), *os.getgroups()}:
        raise FileError(
            f"{describe(path, status)} cannot be replaced by user {_own_name()} "
            "without a change of its owner or group.",
            next_step=f"Become root or {_user(status.st_uid)}.",
        )


def hard_links(path: str, status: os.stat_result) -> list[str]:
    """Other names of the file in its directory, and the number of those elsewhere."""
    others = status.st_nlink - 1
    if not others:
        return []
    directory = os.path.dirname(path)
    names = []
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        found = entry.stat(follow_symlinks=False)
        if (found.st_ino, found.st_dev) == (status.st_ino, status.st_dev) and entry.path != path:
            names.append(entry.path)
    elsewhere = others - len(names)
    return [*names, f"{elsewhere} outside {directory}"] if elsewhere else names


def write(path: str, data: bytes, status: os.stat_result | None) -> None:
    """Puts the content into a new file beside the old one, and then in its place."""
    directory, name = os.path.split(path)
    remove_leftovers(directory, name)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}{_SUFFIX}")
    try:
        _write_new(temporary, data)
        _take_over(temporary, path, status)
        os.replace(temporary, path)
    except OSError as error:
        raise FileError(
            f"{path} could not be replaced: {error.strerror}. It is as it was.", next_step=_cure(error, directory)
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    _sync_directory(directory)


def _cure(error: OSError, directory: str) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"Free space on the file system of {directory} (df -h {directory}), then run again."
    if error.errno == errno.EBUSY:
        return "The file is a mount point of its own: mount its directory instead."
    return f"Check {directory}: its rights, attributes (lsattr) and whether its file system is read-only."


def remove_leftovers(directory: str, name: str) -> None:
    """Removes what a run left that was killed: the lock is held, so such a file is nobody's, and it holds secrets."""
    for entry in os.listdir(directory) if os.path.isdir(directory) else []:
        if entry.startswith(f".{name}.") and entry.endswith(_SUFFIX):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(directory, entry))


def _write_new(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _take_over(temporary: str, path: str, status: os.stat_result | None) -> None:
    """Gives the new file the owner, mode and labels of the old one, or the owner of the directory."""
    if status is None:
        parent = os.stat(os.path.dirname(path))
        if os.geteuid() == 0:
            os.chown(temporary, parent.st_uid, parent.st_gid)
        return
    os.chown(temporary, status.st_uid, status.st_gid)
    os.chmod(temporary, stat.S_IMODE(status.st_mode))
    for attribute in os.listxattr(path):
        try:
            os.setxattr(temporary, attribute, os.getxattr(path, attribute))
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EACCES, errno.ENODATA}:
                raise


def _sync_directory(directory: str) -> None:
    # Without this a power cut may bring the old file back; it cannot harm the content.
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def backup_directory(path: str) -> str:
    """A place that neither Bitwarden's setup nor its containers touch: beside bwdata, never inside."""
    parts = path.split(os.sep)
    if "bwdata" in parts:
        return os.path.join(os.sep.join(parts[: parts.index("bwdata")]) or os.sep, "bwdata-backups")
    return os.path.join(os.path.dirname(path), "env-backups")


def backup(path: str, data: bytes, status: os.stat_result, directory: str) -> str:
    """Keeps the present content, readable for its owner only; the name of the copy."""
    target = os.path.join(
        directory, f"{os.path.basename(path)}.{time.strftime('%Y%m%dT%H%M%S')}.{time.time_ns() % 10**9:09d}"
    )
    try:
        _private_directory(directory, status)
        _write_new(target, data)
        _chown_like(target, status)
    except OSError as error:
        raise _no_backup(directory, error) from error
    _sync_directory(directory)
    return target


def private_copy(target: str, data: bytes, status: os.stat_result) -> None:
    """Writes a copy, readable for the owner of the original only, at once or not at all."""
    directory, name = os.path.split(target)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}{_SUFFIX}")
    try:
        _private_directory(directory, status)
        remove_leftovers(directory, name)
        _write_new(temporary, data)
        _chown_like(temporary, status)
        os.replace(temporary, target)
    except OSError as error:
        raise _no_backup(directory, error) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    _sync_directory(directory)


def _no_backup(directory: str, error: OSError) -> FileError:
    return FileError(
        f"No backup could be made in {directory}: {error.strerror}. Nothing was changed.",
        next_step="Name another directory for backups, or free space.",
    )


def _private_directory(directory: str, status: os.stat_result) -> None:
    if not os.path.isdir(directory):
        os.makedirs(directory, mode=0o700)
        _chown_like(directory, status)


def remove(path: str) -> None:
    """Removes a file that may be gone already."""
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    except OSError as error:
        raise FileError(
            f"{path} cannot be removed as user {_own_name()}: {error.strerror}.",
            next_step="Become root or its owner, or remove it by hand.",
        ) from error


def _chown_like(path: str, status: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(path, status.st_uid, status.st_gid)
