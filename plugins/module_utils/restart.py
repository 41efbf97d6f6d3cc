# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings the running containers to what the files say, and proves it."""

from __future__ import annotations

import calendar
import contextlib
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import bitwarden_sh, compose, files
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Answer
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.compose import Compose, Container, Drift, Service
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.front_door import FrontDoor, Problem, Watch

FRONT_DOOR = "front door"
# Services answer some time after their containers have started; an older one that does not answer is broken.
_START_PERIOD = 120.0
_SHORT_WAIT = 5.0
_RESCUE_WAIT = 120.0
_OUTPUT_LINES = 20


@dataclass(frozen=True)
class View:
    """The stack at one moment."""

    files: dict[str, Service]
    expected: dict[str, Service]
    containers: dict[str, Container]
    drift: list[Drift]

    @property
    def states(self) -> dict[str, str]:
        """The state of each service in words."""
        return compose.states(self.expected, self.containers)

    @property
    def stopped(self) -> list[Drift]:
        """Services that lack a running container."""
        return [drift for drift in self.broken if drift.key is None]

    @property
    def broken(self) -> list[Drift]:
        """What is left to complain of after a restart: health needs half a minute to be known."""
        return [drift for drift in self.drift if drift.what != "is unhealthy"]

    @property
    def starting(self) -> bool:
        """Whether a container is so young that its silence means nothing."""
        return any(c.health == "starting" or _age(c.started) < _START_PERIOD for c in self.containers.values())

    def version(self) -> str | None:
        """The version of the running api, else the one in the files."""
        holder = self.containers.get("api") or self.files.get("api")
        return holder.image.rpartition(":")[2] if holder and ":" in holder.image else None


def _age(started: str) -> float:
    with contextlib.suppress(ValueError):
        return time.time() - calendar.timegm(time.strptime(started[:19], "%Y-%m-%dT%H:%M:%S"))
    return float("inf")


@dataclass
class Outcome:
    """What was found, and what was done about it."""

    view: View
    drift: list[Drift]
    restarted: bool = False
    downtime: float = 0.0
    warnings: list[str] = field(default_factory=list)


@dataclass
class Stack:
    """One installation with its wishes and limits."""

    project: Compose
    environment: t.Mapping[str, str | None]
    door: FrontDoor | None
    make_door: t.Callable[[str], FrontDoor]
    timeout: float
    lock_timeout: float

    def look(self) -> View:
        """Reads files and containers; changes nothing."""
        wanted = self.project.wanted()
        expected = compose.overlay(wanted, self.environment)
        containers = compose.by_service(expected, self.project.containers())
        drift = compose.find_drift(expected, containers, self.project.image_environment)
        return View(wanted, expected, containers, drift)

    def front_door(self, view: View) -> FrontDoor:
        """The address given, or the one that the server believes to have."""
        if self.door is None:
            values = [s.environment[compose.VAULT_KEY] for s in view.files.values() if _has_own_address(s)]
            if not values:
                raise BitwardenError(
                    f"No service in {self.project.docker_directory} has {compose.VAULT_KEY}: its address is unknown.",
                    next_step="Give 'url'.",
                )
            self.door = self.make_door(values[0])
        return self.door

    def measure(self) -> tuple[View, list[Drift]]:
        """The stack and all that is wrong with it.

        Where a restart is due anyway the front door is asked only whether it could say afterwards that all is well.
        """
        view = self.look()
        door = self.front_door(view)
        patience = 0.0 if view.drift else min(_START_PERIOD if view.starting else _SHORT_WAIT, self.timeout)
        problem = door.wait(patience)
        if problem is not None and problem.fixed:
            raise BitwardenError(
                f"The front door cannot be asked: {problem.text}. Nothing was stopped.", next_step=problem.next_step
            )
        if view.drift or problem is None:
            return view, view.drift
        return view, [Drift(FRONT_DOOR, problem.text)]

    def bring_up_to_date(self, check_mode: bool) -> Outcome:
        """Restarts when, and only when, something differs."""
        view, drift = self.measure()
        if not drift or check_mode:
            return Outcome(view, drift)
        self._refuse_contradictions(view)
        with files.locked(self.project.directory, self.lock_timeout):
            bitwarden_sh.wait_for_others(self.project, self.lock_timeout)
            # Whoever was waited for may have restarted the stack already.
            view, drift = self.measure()
            if not drift:
                return Outcome(view, drift)
            bitwarden_sh.pull(self.project, self.timeout)
            return self._restart(self.front_door(view), drift)

    def _refuse_contradictions(self, view: View) -> None:
        found = compose.contradictions(view.files, view.expected)
        if found:
            first = found[0]
            raise BitwardenError(
                f"{first.key} of service {first.service} {first.what} in the compose files than is wanted; "
                "a restart would not help, and nothing was stopped.",
                next_step="Look for the key in docker-compose.override.yml ('environment' there wins over env files) "
                "and in the env file itself.",
                details={"contradictions": [drift.shown() for drift in found]},
            )

    def _restart(self, door: FrontDoor, drift: list[Drift]) -> Outcome:
        with Watch(door) as watch:
            end = time.monotonic() + self.timeout
            script = bitwarden_sh.restart(self.project, self.timeout)
            view, problem = self._settle(watch, end, hopeless=script.status != 0)
            outcome = Outcome(view, drift, restarted=True)
            # Only what is not there is started: 'up -d' beside running containers leaves nginx with old addresses.
            if problem is not None and view.stopped:
                rescue = self.project.compose("up", "-d", timeout=self.timeout)
                end = time.monotonic() + min(_RESCUE_WAIT, self.timeout)
                outcome.view, problem = self._settle(watch, end, hopeless=rescue.status != 0)
                outcome.warnings.append(self._summary(script) + " The stack was started by 'docker compose up -d'.")
            elif script.status != 0:
                outcome.warnings.append(self._summary(script) + " The stack is up and as wanted all the same.")
            outcome.downtime = watch.downtime
            if problem is not None:
                raise self._failure(outcome, script, problem)
        return outcome

    def _settle(self, watch: Watch, end: float, *, hopeless: bool) -> tuple[View, Problem | None]:
        """Waits until the front door answers and the containers are as wanted.

        Where the program that starts them has failed, what is not there is not waited for.
        """
        began = time.monotonic()
        while True:
            asked, problem = watch.seen_since(began)
            over = time.monotonic() >= end
            view = self._glance(over) if over or hopeless or (asked and problem is None) else None
            if view is not None:
                if asked and problem is None and not view.broken:
                    return view, None
                if over or (hopeless and view.broken):
                    words = _words(view.broken)
                    return view, Problem(words) if words else problem or Problem("the front door was not asked yet")
            time.sleep(0.5)

    def _glance(self, must: bool) -> View | None:
        """The stack, or None while containers come and go between two questions."""
        try:
            return self.look()
        except BitwardenError:
            if must:
                raise
            return None

    def _summary(self, script: Answer) -> str:
        said = self._tail(script)
        return f"'bitwarden.sh restart' ended with status {script.status}" + (f": {said[-1]}." if said else ".")

    def _tail(self, result: Answer) -> list[str]:
        text = self.project.redacted(result.stdout + result.stderr)
        return [line.rstrip() for line in text.splitlines() if line.strip()][-_OUTPUT_LINES:]

    def _failure(self, outcome: Outcome, script: Answer, problem: Problem) -> BitwardenError:
        view = outcome.view
        troubled = [name for name, state in view.states.items() if state != "running"]
        logs = self._tail(self.project.compose("logs", "--tail", str(_OUTPUT_LINES), *troubled)) if troubled else []
        listed = ", ".join(f"{name} {state}" for name, state in view.states.items() if name in troubled)
        return BitwardenError(
            f"The stack in {self.project.directory} is not as wanted after a restart. "
            f"{self._summary(script)} Now: {problem.text}; {listed or 'all containers run'}.",
            next_step="Read 'script_output' and 'logs', correct the cause, then run the playbook again "
            f"(or {self.project.directory}/bitwarden.sh start).",
            details={
                "changed": True,
                "restarted": True,
                "downtime": outcome.downtime,
                "drift": [drift.shown() for drift in outcome.drift],
                "remaining": [drift.shown() for drift in view.broken],
                "containers": view.states,
                "script_output": self._tail(script),
                "logs": logs,
            },
        )


def _has_own_address(service: Service) -> bool:
    marked = not compose.OVERRIDE_MARKS.isdisjoint(key.lower() for key in service.environment)
    return marked and compose.VAULT_KEY in service.environment


def _words(drift: t.Sequence[Drift]) -> str:
    return ", ".join(f"{d.service} {d.key + ' ' if d.key else ''}{d.what}" for d in drift[:3])
