# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Updates an installation by its own tool, with the way back kept open until the new version is proven."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    bitwarden_sh,
    files,
    images,
    preflight,
    private,
    unfinished,
    versions,
    view,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.compose import Compose
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import Container
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.deployment import Deployment
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.front_door import Watch
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.snapshot import Snapshot
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.update_plan import Plan, UpdateError, VersionDoor
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.update_steps import Attempt, Steps
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.versions import Release

_NEVER = "0001-01-01"
_PATIENCE = 300.0


@dataclass
class Outcome:
    """What was found and done."""

    plan: Plan
    changed: bool = False
    version: str | None = None
    downtime: float = 0.0
    removed_images: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass
class Update:
    """One run of the module update."""

    steps: Steps
    make_door: t.Callable[[str], VersionDoor]
    url: str | None
    timeout: float
    lock_timeout: float
    min_free_space: int
    prune: bool
    restore_command: str

    @property
    def project(self) -> Compose:
        """What is updated."""
        return self.steps.project

    @property
    def directory(self) -> str:
        """The directory of the installation."""
        return self.project.directory

    # -- before anything changes -----------------------------------------------------------------------------------

    def run(self, check_mode: bool) -> Outcome:
        """Updates where a newer version is offered."""
        offered = versions.offered(self.project.account, self.steps.address())
        plan, door = self._plan(offered)
        problem = door.problem()
        if problem is not None and problem.fixed:
            raise UpdateError(
                f"The front door cannot be asked: {problem.text}. Nothing was changed.", next_step=problem.next_step
            )
        if plan.due:
            self.steps.refuse()
        if not plan.due or check_mode:
            return _looked(plan, changed=plan.due)
        with files.locked(self.directory, self.lock_timeout):
            bitwarden_sh.wait_for_others(self.project, self.lock_timeout)
            private.remove_leftovers(self.directory)
            # Whoever was waited for may have updated the server already.
            plan, door = self._plan(offered)
            if not plan.due:
                return _looked(plan, changed=False)
            preflight.check_free_space(self.project, self.project.root_directory(), self.min_free_space)
            needed = self._fetch(plan)
            return self._update(plan, door, needed)

    def _plan(self, offered: Release) -> tuple[Plan, VersionDoor]:
        now = view.look(self.project, {})
        address = self.url or self.project.address(now.files)
        if address is None:
            raise UpdateError("The address of the server is unknown.", next_step="Give 'url'.")
        door = self.make_door(address)
        return self.steps.plan(offered, now, door.version()), door

    def _fetch(self, plan: Plan) -> list[str]:
        """All images of the new version, while the old one still runs."""
        services, others = plan.new_images(), self.steps.other_images(plan)
        images.pull(self.project, services, others, "missing", self.timeout)
        return [*services, *others]

    # -- the update ------------------------------------------------------------------------------------------------

    def _update(self, plan: Plan, door: VersionDoor, needed: list[str]) -> Outcome:
        resumed = unfinished.begun_from(self.directory) is not None
        attempt = Attempt(plan, door, needed, Snapshot.of(self.directory), resumed)
        outcome = Outcome(plan, changed=True)
        unfinished.begin(self.directory, plan.previous)
        with Watch(door) as watch:
            try:
                self.steps.apply(attempt)
            except BitwardenError as error:
                raise self._failure(error, attempt) from error
            outcome.downtime = watch.downtime
        unfinished.end(self.directory)
        outcome.version = door.version()
        if self.prune:
            outcome.removed_images = self._remove_old(plan, needed)
        return outcome

    def _remove_old(self, plan: Plan, needed: list[str]) -> list[str]:
        """The images of versions before, which the script itself would have removed before anything was proven."""
        listed = self.project.docker(["images", "--format", "{{.Repository}}:{{.Tag}}"]).stdout.split()
        removed = []
        repositories = {versions.split_image(image)[0] for image in needed}
        for image in listed:
            repository, tag = versions.split_image(image)
            if repository not in repositories or image in needed:
                continue
            old = versions.is_newer(plan.offered.tag_of(repository), tag)
            if old and self.project.docker(["rmi", image]).status == 0:
                removed.append(image)
        return removed

    # -- when it failed --------------------------------------------------------------------------------------------

    def _failure(self, error: BitwardenError, attempt: Attempt) -> UpdateError:
        """Goes back by itself only where no program of the new version has touched the database."""
        plan, door = attempt.plan, attempt.door
        touched = attempt.resumed or any(_has_run(container, plan) for container in self._containers())
        back = [] if touched else self._go_back(attempt)
        state = _state(door, plan, touched)
        return UpdateError(
            f"The update of {self.directory} from {plan.previous} to {plan.offered.core} failed: "
            f"{error.message.rstrip('.')}. {state} {_put_back(back, touched)} To return to the backup: "
            f"'{self.restore_command}'.",
            next_step=error.next_step
            or "Read 'script_output' and the logs of the containers, correct the cause and "
            "run the update again, or return to the backup.",
            details={
                "changed": touched,
                "server_state": state,
                "put_back": back,
                "restore_command": self.restore_command,
                "previous_version": plan.previous,
                "available_version": plan.offered.core,
                "script_output": self.steps.tail(attempt.said),
                "images_kept": [s.image for s in plan.view.files.values() if self.project.has_image(s.image)],
            },
        )

    def _go_back(self, attempt: Attempt) -> list[str]:
        back = attempt.kept.put_back()
        found = self._containers()
        if not found or any(container.at_rest for container in found):
            self.steps.start_old(attempt.plan.view.files)
            attempt.door.wait(min(self.timeout, _PATIENCE))
        unfinished.end(self.directory)
        return back

    def _containers(self) -> list[Container]:
        with contextlib.suppress(BitwardenError):
            return list(view.look_at_containers(self.project).containers.values())
        return []


def _looked(plan: Plan, *, changed: bool) -> Outcome:
    outcome = Outcome(plan, changed, plan.offered.core if changed else plan.previous)
    if plan.ahead:
        outcome.warnings.append(
            f"The server has a newer version than the {plan.offered.core} that is offered; it is left alone."
        )
    return outcome


def _state(door: VersionDoor, plan: Plan, touched: bool) -> str:
    problem = door.problem()
    if problem is None:
        return f"The server runs version {door.version()}."
    ran = f"; containers of {plan.offered.core} were started" if touched else ""
    return f"The server is down: {problem.text}{ran}."


def _has_run(container: Container, plan: Plan) -> bool:
    return plan.is_new(container.image) and bool(container.started) and not container.started.startswith(_NEVER)


def _put_back(paths: list[str], touched: bool) -> str:
    if touched:
        return (
            "Programs of the new version may have changed the database, so nothing was put back; the old images stay."
        )
    if not paths:
        return "Nothing had changed."
    return f"No program of the new version had run, so the files of before are back ({', '.join(paths)})."


def refuse_by_hand(found: Deployment) -> None:
    """Images of a deployment without C(bitwarden.sh) come by hand, and so do its files."""
    steps = {
        "manual": "Take a backup (module backup), load the new images (docker load), bring the new docker-compose.yml "
        "from the release's docker-stub archive, then run the module stack with state restarted.",
        "lite": "Take a backup, pull the new image (docker pull), remove the container and run it again with the new "
        "tag, as in the documented command.",
    }
    raise UpdateError(
        f"{found.directory} is a deployment of kind {found.kind} "
        f"{'without a compose file' if found.kind == 'lite' else 'without bitwarden.sh'}, which is updated by hand. "
        "Nothing was changed.",
        next_step=steps[found.kind],
    )
