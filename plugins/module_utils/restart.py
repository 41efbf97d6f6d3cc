# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings an installation to the wanted state, and proves it."""

from __future__ import annotations

import contextlib
import signal
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    bitwarden_sh,
    drift,
    files,
    images,
    preflight,
    rollback,
    verdict,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Project
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.drift import Drift
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.front_door import FrontDoor, Watch
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.tools import Tool
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.verdict import Trial
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.view import (
    START_PERIOD,
    View,
    look,
    look_at_containers,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.way_back import RESCUE_WAIT, WayBack

CURRENT, RESTARTED, STARTED, STOPPED = "current", "restarted", "started", "stopped"
STATES = (CURRENT, RESTARTED, STARTED, STOPPED)
NOTHING_STOPPED = "as it was: nothing was stopped"
_SHORT_WAIT = 5.0


@dataclass
class Outcome:
    """What was found, and what was done about it."""

    view: View
    drift: list[Drift]
    changed: bool = False
    restarted: bool = False
    downtime: float = 0.0
    warnings: list[str] = field(default_factory=list)


@contextlib.contextmanager
def to_the_end() -> t.Iterator[None]:
    """A lost connection hangs up on the module; a restart that was begun must not end half-way with it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@dataclass
class Stack:
    """One installation with its wishes and limits."""

    tool: Tool
    environment: t.Mapping[str, str | None]
    door: FrontDoor | None
    make_door: t.Callable[[str], FrontDoor]
    timeout: float
    lock_timeout: float
    state: str = CURRENT
    pull: str = "always"
    min_free_space: int = 0
    rollback: bool = True

    @property
    def project(self) -> Project:
        """What is looked at."""
        return self.tool.project

    def front_door(self, view: View) -> FrontDoor:
        """The address given, or the one that the server believes to have."""
        if self.door is None:
            address = self.project.address(view.files)
            if address is None:
                raise BitwardenError(
                    f"The settings of {self.project.directory} do not name its own address.", next_step="Give 'url'."
                )
            self.door = self.make_door(address)
        return self.door

    def converge(self, check_mode: bool) -> Outcome:
        """Changes something when, and only when, the state differs from the wanted one."""
        return self._stop(check_mode) if self.state == STOPPED else self._start(check_mode)

    def measure(self) -> tuple[View, list[Drift]]:
        """The stack and all that is wrong with it.

        Where a restart is due anyway the front door is asked only whether it could say afterwards that all is well.
        """
        view, wrong = self._settled()
        door = self.front_door(view)
        due = bool(wrong) or self.state == RESTARTED
        patience = 0.0 if due else min(START_PERIOD if view.starting else _SHORT_WAIT, self.timeout)
        problem = door.wait(patience)
        if problem is not None and problem.fixed:
            raise BitwardenError(
                f"The front door cannot be asked: {problem.text}. Nothing was stopped.", next_step=problem.next_step
            )
        if problem is not None:
            self._refuse_another_address(view, door, problem.text)
        return view, wrong if wrong or problem is None else verdict.front_door_drift(problem)

    def _refuse_another_address(self, view: View, door: FrontDoor, problem: str) -> None:
        """A wrong address never answers; then a good start would look like a bad one, and good settings be put back."""
        own = (self.project.address(view.files) or "").rstrip("/")
        if own and own != door.url and self.make_door(own).problem() is None:
            raise BitwardenError(
                f"{problem}, while the server answers under its own address {own}. Nothing was stopped.",
                next_step="Give 'url' as the address under which clients reach this server.",
            )

    def _settled(self) -> tuple[View, list[Drift]]:
        """After a reboot services restart a few times until all the others are there."""
        end = time.monotonic() + min(START_PERIOD, self.timeout)
        while True:
            view = look(self.project, {} if self.state == STARTED else self.environment)
            wrong = [one for one in view.drift if self.state != STARTED or one.kind in {drift.STATE, drift.HEALTH}]
            passing = wrong and view.starting and all(one.passing for one in wrong)
            if not passing or self.state == RESTARTED or time.monotonic() >= end:
                return view, wrong
            time.sleep(1)

    def _start(self, check_mode: bool) -> Outcome:
        view, wrong = self.measure()
        if not wrong and self.state != RESTARTED:
            if not check_mode:
                self._tidy()
            return Outcome(view, [])
        self.tool.check()
        preflight.check(self.project, view.expected, self.min_free_space)
        if check_mode:
            return Outcome(view, wrong, changed=True)
        with files.locked(self.project.directory, self.lock_timeout):
            bitwarden_sh.wait_for_others(self.project, self.lock_timeout)
            self.tool.heal()
            # Whoever was waited for may have restarted the stack already.
            view, wrong = self.measure()
            if not wrong and self.state != RESTARTED:
                self._accept()
                return Outcome(view, [])
            self._refuse_contradictions(view)
            notes = self._prepare(view)
            with to_the_end():
                outcome = self._restart(view, wrong)
            outcome.warnings[:0] = notes
            return outcome

    def _tidy(self) -> None:
        """Removes what runs have left that were killed, unless somebody is at work who needs it."""
        with contextlib.suppress(files.FileError), files.locked(self.project.directory, 0):
            if bitwarden_sh.running_script(self.project.directory) is None:
                self.tool.heal()
                self._accept()

    def _accept(self) -> None:
        """What runs now is what the files say, and it answers: nothing older is gone back to."""
        if self.state != STARTED:
            self.tool.accept()
            rollback.forget(self.project.deployment.env_file)

    def _refuse_contradictions(self, view: View) -> None:
        found = drift.contradictions(view.files, view.expected)
        if found:
            first = found[0]
            raise BitwardenError(
                f"{first.key} of service {first.service} {first.what} in the compose files than is wanted; "
                "a restart would not help, and nothing was stopped.",
                next_step="Look for the key in docker-compose.override.yml ('environment' there wins over env files) "
                "and in the env file itself.",
                details={"contradictions": [one.shown() for one in found]},
            )

    def _prepare(self, view: View) -> list[str]:
        """Everything that the start needs is fetched, and there is still room for the rest; warnings."""
        wanted, others = [service.image for service in view.files.values()], self.tool.other_images()
        notes = []
        try:
            images.pull(self.project, wanted, others, self.pull, self.timeout)
        except BitwardenError as error:
            # A server that is down has nothing to lose, and a registry is not needed for what is there.
            if self.front_door(view).problem() is None or not all(map(self.project.has_image, [*wanted, *others])):
                raise
            notes.append(f"{error.message} The server is down and has all its images: it is started with those.")
        preflight.check_free_space(self.project, self.project.root_directory(), self.min_free_space)
        return notes

    def _restart(self, before: View, wrong: list[Drift]) -> Outcome:
        with Watch(self.front_door(before)) as watch:
            began, end = time.time(), time.monotonic() + self.timeout
            act = self.tool.start if self.state == STARTED else self.tool.restart
            said = act(before.files, wrong, self.timeout)
            trial = Trial(self.project, self.environment, watch, before)
            outcome = Outcome(before, wrong, changed=True, restarted=True)
            left = verdict.left_running(trial, began) if said.status == 0 else []
            if left:
                # The script goes on when its question what runs fails; then nginx has the old services' addresses.
                outcome.warnings.append(
                    f"{self.tool.label} left containers running: {', '.join(left)}. They were stopped."
                )
                said = self.tool.again(before.files, self.timeout)
            trial.judge(end, hopeless=said.status != 0)
            # Only what is not there is started: 'up -d' beside running containers leaves nginx with old addresses.
            if trial.problem is not None and trial.view.stopped:
                rescue = self.tool.rescue(trial.view.files, self.timeout)
                trial.judge(time.monotonic() + min(RESCUE_WAIT, self.timeout), hopeless=rescue.status != 0)
                outcome.warnings.append(f"{verdict.summary(self.tool, said)} What was missing was started once more.")
            elif said.status != 0 and trial.problem is None:
                outcome.warnings.append(
                    f"{verdict.summary(self.tool, said)} The stack is up and as wanted all the same."
                )
            outcome.warnings += [trial.warning] if trial.warning else []
            if trial.problem is not None:
                raise WayBack(self.tool, self.rollback, self.timeout).failure(trial, said, wrong)
            outcome.view, outcome.downtime = trial.view, watch.downtime
        self._accept()
        return outcome

    def _stop(self, check_mode: bool) -> Outcome:
        self.project.root_directory()
        view = look_at_containers(self.project)
        wrong = [Drift(name, f"is {view.states[name]}") for name in view.running]
        if not wrong or check_mode:
            return Outcome(view, wrong, changed=bool(wrong))
        with files.locked(self.project.directory, self.lock_timeout):
            bitwarden_sh.wait_for_others(self.project, self.lock_timeout)
            self.tool.heal()
            with to_the_end():
                said = self.tool.stop(self.timeout)
                view = look_at_containers(self.project)
                if view.running:
                    said = self.tool.end(self.timeout)
                    view = look_at_containers(self.project)
        if view.running:
            raise BitwardenError(
                f"Containers in {self.project.directory} still run: {', '.join(view.running)}. "
                f"{verdict.summary(self.tool, said)}",
                next_step="Look at 'docker ps', and at what 'script_output' says.",
                details={
                    "server_state": f"half stopped: {', '.join(view.running)} run",
                    "containers": view.states,
                    "script_output": verdict.tail(self.project, said),
                },
            )
        return Outcome(view, wrong, changed=True)
