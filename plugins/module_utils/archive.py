# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives of an installation: written whole or not at all, with owners and modes, and read back before they count."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import stat
import tarfile
import time
import typing as t

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

MANIFEST = "manifest.json"
FORMAT = 1
_BLOCK = 1 << 20
# Attachments and database backups hardly get smaller by more effort.
_COMPRESSION = 4


class ArchiveError(BitwardenError):
    """An archive that cannot be written, or that is not to be trusted."""


class Entry(t.NamedTuple):
    """One file, folder or link, and its name in the archive."""

    path: str
    name: str
    status: os.stat_result


def entries(path: str, name: str, skip: t.Callable[[str], bool]) -> list[Entry]:
    """A file or a whole folder; C(skip) is asked by the name in the archive. A folder comes before what is in it."""
    try:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            return [Entry(path, name, status)]
        found = [Entry(path, name, status)]
        for child in sorted(os.listdir(path)):
            if not skip(f"{name}/{child}"):
                found += entries(os.path.join(path, child), f"{name}/{child}", skip)
    except FileNotFoundError:
        # Containers remove files of their own at any time.
        return []
    except OSError as error:
        raise ArchiveError(
            f"{path} cannot be read: {error.strerror}.",
            next_step="Become root or the user that owns the installation.",
        ) from error
    return found


def total_size(found: t.Iterable[Entry]) -> int:
    """Bytes of all files."""
    return sum(entry.status.st_size for entry in found if stat.S_ISREG(entry.status.st_mode))


def write(path: str, found: t.Sequence[Entry], manifest: t.Mapping[str, t.Any]) -> None:
    """Writes the archive at a path that does not exist; what C(path) names is not yet proven."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            with tarfile.open(fileobj=raw, mode="w:gz", format=tarfile.PAX_FORMAT, compresslevel=_COMPRESSION) as tar:
                _add_manifest(tar, manifest)
                for entry in found:
                    _add(tar, entry)
            raw.flush()
            os.fsync(raw.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise ArchiveError(
            f"The archive cannot be written: {error.strerror or error}.",
            next_step=f"Free space on the file system of {os.path.dirname(path)}, or name another directory."
            if error.errno in {errno.ENOSPC, errno.EDQUOT}
            else "Become root or the user that owns the installation.",
        ) from error


def _add_manifest(tar: tarfile.TarFile, manifest: t.Mapping[str, t.Any]) -> None:
    data = json.dumps({"format": FORMAT, **manifest}, indent=1, sort_keys=True).encode()
    info = tarfile.TarInfo(MANIFEST)
    info.size, info.mode, info.mtime = len(data), 0o600, int(time.time())
    tar.addfile(info, io.BytesIO(data))


def _add(tar: tarfile.TarFile, entry: Entry) -> None:
    kind = entry.status.st_mode
    if stat.S_ISREG(kind):
        _add_file(tar, entry)
    elif stat.S_ISDIR(kind) or stat.S_ISLNK(kind):
        info = _info(entry.name, entry.status)
        info.type = tarfile.DIRTYPE if stat.S_ISDIR(kind) else tarfile.SYMTYPE
        if info.issym():
            info.linkname = os.readlink(entry.path)
        tar.addfile(info)
    # Sockets, pipes and devices are made anew by whoever needs them.


def _add_file(tar: tarfile.TarFile, entry: Entry) -> None:
    try:
        stream = open(entry.path, "rb")  # noqa: SIM115 - closed below; a file that has gone is no error
    except FileNotFoundError:
        return
    with stream:
        # As long as it is now: a file that grows meanwhile is cut there, as tar does.
        status = os.fstat(stream.fileno())
        info = _info(entry.name, status)
        info.size = status.st_size
        tar.addfile(info, stream)


def _info(name: str, status: os.stat_result) -> tarfile.TarInfo:
    """Owners by number only: names may mean other users where it is restored."""
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
    info.mtime = int(status.st_mtime)
    return info


def checksum(path: str) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def inspect(path: str) -> tuple[dict[str, t.Any], int, list[str]]:
    """Reads an archive to its end: its manifest, the bytes that it unpacks to, and the names in it."""
    manifest: dict[str, t.Any] = {}
    size, names = 0, []
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in tar:
                _check(path, member)
                names.append(member.name)
                if not member.isreg():
                    continue
                size += member.size
                stream = t.cast("t.IO[bytes]", tar.extractfile(member))
                if member.name == MANIFEST:
                    manifest = json.loads(stream.read().decode("utf-8"))
                    continue
                while stream.read(_BLOCK):
                    pass
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        raise ArchiveError(
            f"{path} is damaged or no archive of this collection: {error}.", next_step="Take another archive."
        ) from error
    if manifest.get("format") != FORMAT:
        raise ArchiveError(
            f"{path} is no archive that the module backup wrote, or one of a newer format.",
            next_step="Name an archive of the module backup, and use a collection at least as new as the one that "
            "wrote it.",
        )
    return manifest, size, names


def _check(path: str, member: tarfile.TarInfo) -> None:
    parts = member.name.split("/")
    if member.name.startswith("/") or ".." in parts or not (member.isreg() or member.isdir() or member.issym()):
        raise ArchiveError(
            f"{path} holds {member.name!r}, which the module backup never writes.", next_step="Take another archive."
        )


def read_member(path: str, name: str) -> bytes | None:
    """One file of an archive; None where it has none of that name."""
    with tarfile.open(path, "r:gz") as tar:
        for member in tar:
            if member.name == name and member.isreg():
                return t.cast("t.IO[bytes]", tar.extractfile(member)).read()
    return None


def extract(path: str, target: str) -> None:
    """Unpacks into an empty folder; owners are given back where this process may."""
    folders: list[tuple[str, tarfile.TarInfo]] = []
    links: list[tuple[str, tarfile.TarInfo]] = []
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in tar:
                _check(path, member)
                place = os.path.join(target, member.name)
                if member.isdir():
                    os.mkdir(place, 0o700)
                    folders.append((place, member))
                elif member.issym():
                    links.append((place, member))
                else:
                    _extract_file(tar, member, place)
        # Last, so that nothing can be written through one.
        for place, member in links:
            os.symlink(member.linkname, place)
            _own(place, member)
        # A folder's own mode may forbid to write into it.
        for place, member in reversed(folders):
            _own(place, member)
            os.chmod(place, member.mode)
            os.utime(place, (member.mtime, member.mtime))
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ArchiveError(
            f"{path} cannot be unpacked in {target}: {error}. The installation is as it was.",
            next_step="Check the space there and the archive.",
        ) from error


def _extract_file(tar: tarfile.TarFile, member: tarfile.TarInfo, place: str) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        source = t.cast("t.IO[bytes]", tar.extractfile(member))
        for block in iter(lambda: source.read(_BLOCK), b""):
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
    _own(place, member)
    os.chmod(place, member.mode)
    os.utime(place, (member.mtime, member.mtime))


def _own(place: str, member: tarfile.TarInfo) -> None:
    if os.geteuid() == 0:
        os.chown(place, member.uid, member.gid, follow_symlinks=False)
