# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folder of an installation's backups: what lies in it, what is still good, and what may go."""

from __future__ import annotations

import calendar
import contextlib
import os
import re
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import archive
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

FOLDER = "bwdata-backups"
_STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"^bitwarden-(?P<stamp>\d{8}T\d{6}Z)-(?P<version>[\w.]+)\.tar\.gz$")
_PART = ".part"
_SUM = ".sha256"


class BackupError(BitwardenError):
    """A backup that cannot be made, found or trusted."""


@dataclass(frozen=True)
class Kept:
    """One archive."""

    path: str
    created: float
    version: str

    @property
    def age(self) -> float:
        """Hours since it was made."""
        return (time.time() - self.created) / 3600

    @property
    def checksum_file(self) -> str:
        """The file beside it that C(sha256sum -c) reads."""
        return self.path + _SUM


def default_folder(directory: str) -> str:
    """Beside bwdata: what is in there changes owner at each restart, and would be in the next archive."""
    return os.path.join(directory, FOLDER)


def check_folder(folder: str, directory: str) -> None:
    """Refuses a folder inside bwdata, under whatever name."""
    bwdata = os.path.realpath(os.path.join(directory, "bwdata"))
    if os.path.realpath(folder) == bwdata or os.path.realpath(folder).startswith(bwdata + os.sep):
        raise BackupError(
            f"The folder {folder} lies in {bwdata}: its archives would change owner at each restart, and each would "
            "hold all those before it.",
            next_step=f"Leave 'path' out (then it is {default_folder(directory)}), or name a folder elsewhere.",
        )


def new_name(version: str | None) -> str:
    """A name that tells when, and of which version, and nothing else."""
    plain = re.sub(r"[^\w.]", "_", version or "unknown")
    return f"bitwarden-{time.strftime(_STAMP, time.gmtime())}-{plain}.tar.gz"


def kept(folder: str) -> list[Kept]:
    """All finished archives, the newest first."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            match = _NAME.match(name)
            if match:
                created = float(calendar.timegm(time.strptime(match.group("stamp"), _STAMP)))
                found.append(Kept(os.path.join(folder, name), created, match.group("version")))
    return sorted(found, key=lambda entry: entry.created, reverse=True)


def expected_checksum(entry: Kept) -> str | None:
    """What the file beside the archive says; None where it does not speak of this archive."""
    try:
        with open(entry.checksum_file, encoding="ascii") as stream:
            digest, _blanks, name = stream.readline().rstrip("\n").partition("  ")
    except (OSError, ValueError):
        return None
    return digest if name == os.path.basename(entry.path) and re.fullmatch("[0-9a-f]{64}", digest) else None


def at(path: str) -> Kept:
    """The archive at a path that a person gave."""
    path = os.path.abspath(path)
    match = _NAME.match(os.path.basename(path))
    if not os.path.isfile(path):
        raise BackupError(
            f"There is no archive {path}. Nothing was changed.",
            next_step=f"List the folder {os.path.dirname(path)} on the server and name one of its archives.",
        )
    created = calendar.timegm(time.strptime(match.group("stamp"), _STAMP)) if match else os.path.getmtime(path)
    return Kept(path, float(created), match.group("version") if match else "")


def verified(entry: Kept) -> str:
    """The checksum of an archive, which is that of the file beside it; otherwise the archive is refused."""
    expected = expected_checksum(entry)
    if expected is None:
        raise BackupError(
            f"{entry.checksum_file} does not exist, or does not speak of {os.path.basename(entry.path)}; "
            "nothing proves that the archive is whole. Nothing was changed.",
            next_step="Take another archive, or bring the file of the checksum that was made with this one.",
        )
    if archive.checksum(entry.path) != expected:
        raise BackupError(
            f"{entry.path} does not have the checksum in {entry.checksum_file}: it is damaged. Nothing was changed.",
            next_step="Take another archive.",
        )
    return expected


def newest_good(folder: str, max_age: float) -> tuple[Kept, str] | None:
    """The newest archive that is young enough and undamaged, and its checksum."""
    for entry in kept(folder):
        if not 0 <= entry.age <= max_age:
            continue
        with contextlib.suppress(BackupError):
            return entry, verified(entry)
    return None


def prepare(folder: str, owner: os.stat_result) -> None:
    """Makes the folder, for its owner only."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        status = os.stat(folder)
        if os.geteuid() == 0 and status.st_uid == 0 and not os.listdir(folder):
            os.chown(folder, owner.st_uid, owner.st_gid)
        if status.st_mode & 0o077:
            os.chmod(folder, 0o700)
        for name in os.listdir(folder):
            # The lock is held, so a run that was killed has left it.
            if name.startswith(".bitwarden-") and name.endswith(_PART):
                os.unlink(os.path.join(folder, name))
    except OSError as error:
        raise BackupError(
            f"The folder {folder} cannot be made ready: {error.strerror}. No backup was made.",
            next_step="Become root or the user that owns the installation, or name another 'path'.",
        ) from error


def unfinished(folder: str, name: str) -> str:
    """Where an archive is written until it is proven."""
    return os.path.join(folder, f".{name}{_PART}")


def finish(part: str, folder: str, name: str, owner: os.stat_result) -> Kept:
    """Reads the archive back, writes its checksum and gives it its name."""
    digest = archive.checksum(part)
    archive.inspect(part)
    entry = Kept(os.path.join(folder, name), time.time(), "")
    descriptor = os.open(entry.checksum_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{digest}  {name}\n")
        stream.flush()
        os.fsync(stream.fileno())
    for path in (part, entry.checksum_file):
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)
    os.rename(part, entry.path)
    return entry


def superfluous(folder: str, keep: int, coming: int = 0) -> list[Kept]:
    """What goes when C(keep) archives stay (all with 0), of which C(coming) are not yet made."""
    return kept(folder)[max(0, keep - coming) :] if keep else []


def remove(entries: t.Iterable[Kept]) -> list[str]:
    """Removes archives with their checksums."""
    removed = []
    for entry in entries:
        for path in (entry.path, entry.checksum_file):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        removed.append(entry.path)
    return removed


def free_space(path: str) -> int:
    """Bytes that may still be written below a path, which need not exist yet."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
