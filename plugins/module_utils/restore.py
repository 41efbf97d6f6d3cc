# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts an archive in the place of an installation, and the old one back where the server does not come up with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    archive,
    backups,
    bitwarden_sh,
    database,
    deployment,
    files,
    images,
    private,
    unfinished,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Account
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.backup import COPIED, DUMPED, version_in
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.backups import Kept
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.compose import VAULT_KEY, Compose
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.deployment import Deployment
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.front_door import FrontDoor, Watch

ENV_FILE = "bwdata/env/global.override.env"
INSTALLATION_ID = "globalSettings__installation__id"
_STAGE = ".bwdata-restore-"
_RESERVE = 64 << 20
_DATA = ("bwdata", "mssql", "data")


class RestoreError(BitwardenError):
    """An archive that is not restored, or was not restored well."""


@dataclass
class Plan:
    """What will be done, once everything about the archive is known."""

    entry: Kept
    checksum: str
    manifest: dict[str, t.Any]
    size: int
    environment: str
    version: str | None
    warnings: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """What was done."""

    plan: Plan
    replaced: str | None = None
    downtime: float = 0.0
    url: str = ""


@dataclass
class Restore:
    """One run of the module restore."""

    directory: str
    account: Account
    path: str
    force: bool
    make_door: t.Callable[[str], FrontDoor]
    url: str | None
    timeout: float
    lock_timeout: float
    keep_replaced: bool = True

    # -- before anything changes -----------------------------------------------------------------------------------

    def run(self, check_mode: bool) -> Outcome:
        """Checks all that can be checked, then restores."""
        plan = self._plan()
        if check_mode:
            return Outcome(plan)
        with files.locked(self.directory, self.lock_timeout):
            present = self._compose(self.directory)
            bitwarden_sh.wait_for_others(present, self.lock_timeout)
            self._remove_leftovers()
            stage = tempfile.mkdtemp(prefix=_STAGE, dir=self.directory)
            if self.account.name is not None:
                os.chown(stage, self.account.uid, self.account.gid)
            try:
                archive.extract(plan.entry.path, stage)
                staged = self._compose(stage)
                needed = self._fetch(staged)
                return self._exchange(plan, stage, staged, needed)
            finally:
                shutil.rmtree(stage, ignore_errors=True)

    def _plan(self) -> Plan:
        entry = backups.at(self.path)
        digest = backups.verified(entry)
        manifest, size, names = archive.inspect(entry.path)
        self._check_kind(manifest, names)
        data = archive.read_member(entry.path, ENV_FILE) or b""
        plan = Plan(entry, digest, manifest, size, data.decode("utf-8", "replace"), manifest.get("version"))
        self._check_installation(plan)
        self._check_place(plan)
        if manifest.get("database") not in {DUMPED, COPIED}:
            plan.warnings.append("The archive holds no database: restore that by the tools that it was backed up with.")
        return plan

    def _check_kind(self, manifest: dict[str, t.Any], names: list[str]) -> None:
        kind = manifest.get("kind")
        if kind == deployment.LITE or "bwdata/docker/docker-compose.yml" not in names:
            raise RestoreError(
                f"{self.path} is an archive of a deployment of kind {kind}, which this module does not restore. "
                "Nothing was changed.",
                next_step="Unpack it with tar (tar -xzpf ARCHIVE -C DIRECTORY), restore the volumes by their own "
                "backups, and start the container.",
            )
        with contextlib.suppress(deployment.DeploymentError):
            found = deployment.detect(self.directory)
            if found.kind != kind:
                raise RestoreError(
                    f"{self.path} is an archive of a deployment of kind {kind}, and {self.directory} holds one of kind "
                    f"{found.kind}. Nothing was changed.",
                    next_step="Name an archive of this server.",
                )

    def _check_installation(self, plan: Plan) -> None:
        """Another server's archive is known by its installation id, which is not shown."""
        archived = database.setting_in(plan.environment, INSTALLATION_ID).lower()
        present = database.setting(os.path.join(self.directory, ENV_FILE), INSTALLATION_ID).lower()
        if self.force or not archived or not present or archived == present:
            return
        raise RestoreError(
            f"{self.path} is an archive of another installation: the installation id in it is not that of "
            f"{self.directory}/{ENV_FILE}. Nothing was changed.",
            next_step="Name an archive of this server, or set 'force' to replace this installation by the other one.",
        )

    def _check_place(self, plan: Plan) -> None:
        bwdata = os.path.join(self.directory, "bwdata")
        if os.path.islink(bwdata) or os.path.ismount(bwdata):
            raise RestoreError(
                f"{bwdata} is a link or a mount point and cannot be kept aside by another name. Nothing was changed.",
                next_step="Restore by hand: stop the server, unpack the archive with tar -xzpf, and restore the "
                "database backup in bwdata/mssql/backups.",
            )
        data = os.path.join(self.directory, *_DATA)
        size = archive.total_size(archive.entries(data, "data", lambda _name: False)) if os.path.isdir(data) else 0
        needed, free = plan.size + max(size, plan.size) + _RESERVE, backups.free_space(self.directory)
        if free < needed:
            raise RestoreError(
                f"The restore may need {needed >> 20} MiB in {self.directory}, where {free >> 20} MiB are free: the "
                "present data is kept until the server is up. Nothing was changed.",
                next_step="Free space, then run again.",
            )
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise RestoreError(
                f"Nothing can be written in {self.directory}. Nothing was changed.",
                next_step="Become root or the user that owns the installation.",
            )

    def _compose(self, directory: str) -> Compose:
        """The compose project of the files in a directory; its containers are the same wherever the files lie."""
        folder = os.path.join(directory, "bwdata", "docker")
        paths = [os.path.join(folder, name) for name in ("docker-compose.yml", "docker-compose.override.yml")]
        script = os.path.join(directory, "bitwarden.sh")
        found = Deployment(
            deployment.STANDARD if os.path.isfile(script) else deployment.MANUAL,
            directory,
            os.path.join(directory, ENV_FILE),
            tuple(path for path in paths if os.path.isfile(path)),
            script if os.path.isfile(script) else None,
        )
        return Compose(found, self.account)

    def _remove_leftovers(self) -> None:
        for name in os.listdir(self.directory):
            if name.startswith(_STAGE):
                shutil.rmtree(os.path.join(self.directory, name), ignore_errors=True)
        private.remove_leftovers(self.directory)

    def _fetch(self, staged: Compose) -> list[str]:
        """Gets the images of the archived version that an update has removed, while the server still runs."""
        services = staged.wanted()
        needed = [service.image for service in services.values()]
        others = bitwarden_sh.other_images(staged.directory) if staged.deployment.script else []
        images.pull(staged, needed, others, "missing", self.timeout)
        return [*needed, *others]

    # -- the exchange ----------------------------------------------------------------------------------------------

    def _exchange(self, plan: Plan, stage: str, staged: Compose, needed: list[str]) -> Outcome:
        address = self.url or database.setting_in(plan.environment, VAULT_KEY)
        door = self.make_door(address)
        mark = time.strftime("before-restore-%Y%m%dT%H%M%SZ", time.gmtime())
        with Watch(door) as watch:
            moved: list[tuple[str, str]] = []
            try:
                staged.checked(
                    staged.compose("down", "--remove-orphans", timeout=self.timeout),
                    "The server cannot be stopped.",
                    "Look at 'docker ps'.",
                )
                self._swap(stage, mark, moved)
                self._start(plan, needed, door)
            except BitwardenError as error:
                raise self._go_back(error, moved, door) from error
            outcome = Outcome(plan, moved[0][1] if moved else None, watch.downtime, door.url)
        unfinished.end(self.directory)
        if not self.keep_replaced:
            for _place, aside in moved:
                _remove(aside)
            outcome.replaced = None
        return outcome

    def _swap(self, stage: str, mark: str, moved: list[tuple[str, str]]) -> None:
        """Puts the archived files in place; C(moved) tells what lies aside, and where."""
        try:
            for name in ("bwdata", "bitwarden.sh"):
                place, new = os.path.join(self.directory, name), os.path.join(stage, name)
                if not os.path.lexists(new):
                    continue
                if os.path.lexists(place):
                    os.rename(place, f"{place}.{mark}")
                    moved.append((place, f"{place}.{mark}"))
                os.rename(new, place)
        except OSError as error:
            raise RestoreError(f"The files in {self.directory} cannot be exchanged: {error}.") from error

    def _start(self, plan: Plan, needed: list[str], door: FrontDoor) -> None:
        project = self._compose(self.directory)
        end = time.monotonic() + self.timeout
        dumped = plan.manifest.get("database_backup")
        if dumped:
            project.checked(
                project.compose("up", "-d", "mssql", timeout=self.timeout),
                "The database server cannot be started.",
                "Look at 'docker logs bitwarden-mssql'.",
            )
            database.wait(project, self.timeout)
            database.restore(project, str(dumped), self.timeout)
        said = self._up(project, needed)
        problem = door.wait(max(0.0, end - time.monotonic()))
        if problem is not None:
            raise RestoreError(f"The restored server does not come up: {problem.text}. {said}")
        if dumped:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.directory, "bwdata", "mssql", "backups", str(dumped)))

    def _up(self, project: Compose, needed: list[str]) -> str:
        """Starts everything, without a registry; the last line that was printed."""
        if project.deployment.script:
            with images.answered_at_once(project, needed):
                answer = bitwarden_sh.run(project, "start", self.timeout)
        else:
            answer = project.compose("up", "-d", timeout=self.timeout)
        lines = project.redacted(answer.said).strip().splitlines()
        return lines[-1] if lines else ""

    def _go_back(self, error: BitwardenError, moved: list[tuple[str, str]], door: FrontDoor) -> BitwardenError:
        """The old files in their places again, and the server started with them."""
        if moved:
            self._compose(self.directory).compose("down", "--remove-orphans", timeout=self.timeout)
        for place, aside in moved:
            _remove(place)
            os.rename(aside, place)
        old = self._compose(self.directory)
        if old.deployment.compose_files:
            said = self._up(old, bitwarden_sh.other_images(self.directory) if old.deployment.script else [])
            problem = door.wait(self.timeout)
            state = "runs as before" if problem is None else f"is down: {problem.text}. {said}"
            back = f"The files of before are in their places, and the server {state}."
        else:
            back = "There was no whole installation before; what was restored has been left in place."
        return RestoreError(
            f"{error.message} {back}",
            next_step=error.next_step or "Look at the logs of the containers, then take another archive.",
            details={"rolled_back": bool(moved), "server_state": back, "changed": True},
        )


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)


def version_now(directory: str) -> str | None:
    """The version that the files in a directory name."""
    return version_in([os.path.join(directory, "bwdata", "docker", "docker-compose.yml")])
