# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes one archive of an installation, its database included where that can be had."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import typing as t
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    archive,
    backups,
    bitwarden_sh,
    database,
    deployment,
    files,
    versions,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.archive import Entry
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.backups import BackupError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.deployment import Deployment
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Docker

# How the database came into the archive.
DUMPED, COPIED, ABSENT = "dumped by the database server", "files of the stopped database server", "not included"
_DATA = "bwdata/mssql/data"
_BACKUPS = "bwdata/mssql/backups"
_RESERVE = 64 << 20
# As Setup writes it, or as in Lite's file: ${REGISTRY:-ghcr.io/bitwarden}/lite:${TAG:-2026.8.0}.
_TAG = re.compile(r"^\s*image:\s*\S*bitwarden\}?/[\w-]+:(?:\$\{\w+:?-)?(\d[\w.]*)", re.MULTILINE)


@dataclass
class Wishes:
    """What the caller wants."""

    folder: str
    max_age: float = 0
    keep: int = 5
    database_required: bool = True
    include_logs: bool = False
    timeout: float = 3600
    lock_timeout: float = 300


@dataclass
class Outcome:
    """What was found or made."""

    archive: str | None = None
    checksum: str | None = None
    size: int | None = None
    age: float | None = None
    database: str = ABSENT
    missing: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: bool = False


@dataclass
class Backup:
    """One run of the module backup."""

    found: Deployment
    docker: Docker
    wishes: Wishes

    def run(self, check_mode: bool) -> Outcome:
        """Makes an archive unless a young and good one is there."""
        kept = self._young()
        if kept is not None:
            return kept
        how, missing = self._plan()
        names = self._entries(how)
        self._check_space(how, names)
        outcome = Outcome(database=how, missing=missing + _links_out(self.found.directory, names), changed=True)
        if check_mode:
            gone = backups.superfluous(self.wishes.folder, self.wishes.keep, coming=1)
            outcome.removed = [entry.path for entry in gone]
            return outcome
        with files.locked(self.found.directory, self.wishes.lock_timeout):
            if self.found.script:
                bitwarden_sh.wait_for_others(self.docker, self.wishes.lock_timeout)
            # Whoever was waited for may have made one, or have started or stopped the database.
            kept = self._young()
            if kept is not None:
                return kept
            outcome.database, _missing = self._plan()
            return self._make(outcome)

    def _young(self) -> Outcome | None:
        if self.wishes.max_age <= 0:
            return None
        good = backups.newest_good(self.wishes.folder, self.wishes.max_age)
        if good is None:
            return None
        entry, digest = good
        manifest, _size, _names = archive.inspect(entry.path)
        if self.wishes.database_required and manifest.get("database") == ABSENT:
            return None
        return Outcome(
            entry.path,
            digest,
            os.path.getsize(entry.path),
            round(entry.age, 2),
            str(manifest.get("database")),
            [str(name) for name in manifest.get("missing", [])],
        )

    def _plan(self) -> tuple[str, list[str]]:
        """How the database gets into the archive, and what does not get in; refuses what the caller has not allowed."""
        known = database.of(self.found)
        missing: list[str] = []
        if self.found.kind == deployment.LITE:
            missing.append("what the container keeps in its volumes (attachments, keys, logs)")
        if self.found.kind != deployment.LITE and known.kind == database.BUILT_IN:
            if database.is_running(self.docker):
                return DUMPED, missing
            if _has_files(os.path.join(self.found.directory, _DATA)):
                return COPIED, missing
        place = self.found.directory if self.found.kind == deployment.LITE else f"{self.found.directory}/bwdata"
        missing.insert(0, f"the database ({known.provider}), which is not kept in {place}")
        if self.wishes.database_required:
            raise BackupError(
                f"The backup of {self.found.directory} would not hold {missing[0]}. Nothing was done.",
                next_step="Back that database up with its own tools, and set 'database' to optional for the rest.",
                details={"missing": missing},
            )
        return ABSENT, missing

    # -- what goes in ----------------------------------------------------------------------------------------------

    def _entries(self, how: str, dumped: str | None = None) -> list[Entry]:
        directory = self.found.directory
        if self.found.kind == deployment.LITE:
            paths = [self.found.env_file, os.path.join(directory, ".env"), *self.found.compose_files]
            return [entry for path in paths for entry in archive.entries(path, os.path.basename(path), _nothing)]

        def _skip(name: str) -> bool:
            parent = name.rpartition("/")[0]
            if name.startswith("bwdata/logs/"):
                # The folders themselves are needed: they are mounted.
                return not self.wishes.include_logs and not os.path.isdir(os.path.join(directory, name))
            if parent == _DATA:
                return how == DUMPED
            return parent == _BACKUPS and name != f"{_BACKUPS}/{os.path.basename(dumped or '')}"

        found = archive.entries(os.path.realpath(os.path.join(directory, "bwdata")), "bwdata", _skip)
        if self.found.script:
            found += archive.entries(self.found.script, "bitwarden.sh", _nothing)
        return found

    def _check_space(self, how: str, names: list[Entry]) -> None:
        """Room for the archive as if nothing got smaller, and for the database's own backup before it."""
        bwdata = os.path.join(self.found.directory, "bwdata")
        dump = 0
        if how == DUMPED:
            data = os.path.join(self.found.directory, _DATA)
            dump = archive.total_size(archive.entries(data, "data", _nothing)) if os.path.isdir(data) else 0
        needs = {self.wishes.folder: archive.total_size(names) + dump + _RESERVE}
        if dump:
            needs[bwdata] = dump + _RESERVE
        if dump and os.stat(bwdata).st_dev == os.stat(_existing(self.wishes.folder)).st_dev:
            needs = {self.wishes.folder: needs[self.wishes.folder] + dump}
        for path, needed in needs.items():
            free = backups.free_space(path)
            if free < needed:
                raise BackupError(
                    f"The backup may need {needed >> 20} MiB on the file system of {path}, and {free >> 20} MiB are "
                    "free. Nothing was done.",
                    next_step="Free space, keep fewer archives ('keep'), or name another 'path'.",
                )

    # -- making it -------------------------------------------------------------------------------------------------

    def _make(self, outcome: Outcome) -> Outcome:
        folder, owner = self.wishes.folder, os.stat(self.found.directory)
        backups.prepare(folder, owner)
        dumped = database.dump(self.docker, self.wishes.timeout) if outcome.database == DUMPED else None
        version = self.version()
        name = backups.new_name(version)
        part = backups.unfinished(folder, name)
        try:
            names = self._entries(outcome.database, dumped)
            archive.write(part, names, self._manifest(outcome, dumped, version))
            entry = backups.finish(part, folder, name, owner)
        finally:
            for leftover in (part, dumped):
                if leftover is not None:
                    with contextlib.suppress(OSError):
                        os.unlink(leftover)
        outcome.archive, outcome.age = entry.path, 0.0
        outcome.checksum, outcome.size = backups.expected_checksum(entry), os.path.getsize(entry.path)
        outcome.removed = backups.remove(backups.superfluous(folder, self.wishes.keep))
        return outcome

    def version(self) -> str | None:
        """The version that the installation's own files name."""
        return version_in(self.found.compose_files)

    def _manifest(self, outcome: Outcome, dumped: str | None, version: str | None) -> dict[str, t.Any]:
        return {
            "kind": self.found.kind,
            "directory": self.found.directory,
            "version": version,
            "script_version": bitwarden_sh.core_version(self.found.directory) if self.found.script else None,
            "database": outcome.database,
            "database_backup": os.path.basename(dumped) if dumped else None,
            "logs": self.wishes.include_logs,
            "missing": outcome.missing,
        }


def version_in(compose_files: t.Iterable[str]) -> str | None:
    """The highest version of Bitwarden's images in compose files, read without resolving them."""
    found: list[str] = []
    for path in compose_files:
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
            found += _TAG.findall(stream.read())
    return versions.newest(found)


def _nothing(_name: str) -> bool:
    return False


def _has_files(folder: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return any(os.scandir(folder))
    return False


def _existing(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _links_out(directory: str, names: t.Iterable[Entry]) -> list[str]:
    """Links that lead out of the installation: what they lead to is not in the archive."""
    base = os.path.realpath(directory) + os.sep
    return [
        f"what {entry.name} leads to ({os.path.realpath(entry.path)})"
        for entry in names
        if stat.S_ISLNK(entry.status.st_mode) and not os.path.realpath(entry.path).startswith(base)
    ]
