# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a start came to a good end: the front door and the containers are asked, no exit status."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import certificates, drift
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Answer
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Project
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.drift import Drift
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.front_door import Problem, Watch
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.tools import Tool
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.view import View, look

LINES = 20
_INTERVAL = 0.5
# They stand between the front door and the answer.
_BEHIND_THE_DOOR = ("nginx", "api", "identity")


@dataclass
class Trial:
    """One start that is judged."""

    project: Project
    environment: t.Mapping[str, str | None]
    watch: Watch
    view: View
    problem: Problem | None = None
    warning: str | None = None

    def judge(self, end: float, *, hopeless: bool) -> None:
        """Waits until the front door answers and the containers are as wanted.

        Where the program that starts them has failed, what is not there is not waited for.
        """
        began = time.monotonic()
        while True:
            asked, problem = self.watch.seen_since(began)
            over = time.monotonic() >= end
            # Docker is asked when it matters: a host has more to do while its server starts.
            seen = self.glance() if over or hopeless or (asked and problem is None) else None
            if seen is not None and self._decide(seen, asked, problem, over=over, hopeless=hopeless):
                return
            if seen is None and over:
                self.problem = problem or Problem("Docker does not say what runs")
                return
            time.sleep(_INTERVAL)

    def _decide(self, seen: View, asked: bool, problem: Problem | None, *, over: bool, hopeless: bool) -> bool:
        self.view = seen
        if asked and problem is None and not seen.broken:
            self.problem = self._unlike_inside()
            return True
        if over or (hopeless and seen.broken):
            words = drift.words(seen.broken)
            self.problem = Problem(words) if words else problem or Problem("the front door was not asked yet")
            return True
        return False

    def _unlike_inside(self) -> Problem | None:
        unlike, self.warning = certificates.unlike_inside(self.project, self.view.expected, self.view.containers)
        return Problem(unlike) if unlike else None

    def glance(self) -> View | None:
        """The stack, or None while containers come and go between two questions."""
        try:
            return look(self.project, self.environment)
        except BitwardenError:
            return None

    def state(self, settings: str) -> str:
        """In which state the server is, in words."""
        if self.problem is None:
            return f"up with {settings}"
        _asked, shut = self.watch.seen_since(0.0)
        if shut is None:
            return f"up, but not as wanted with {settings}: {self.problem.text}"
        if not self.view.running:
            return f"down with {settings}: no container runs"
        return f"down with {settings}: {len(self.view.running)} of {len(self.view.states)} containers run, {shut.text}"


def left_running(trial: Trial, moment: float) -> list[str]:
    """Services whose containers are older than the restart that should have made new ones."""
    seen = trial.glance()
    containers = {} if seen is None else seen.containers
    return [
        name for name, one in containers.items() if not one.at_rest and one.began is not None and one.began < moment
    ]


def summary(tool: Tool, said: Answer) -> str:
    """How a tool ended, with its last line where that may say why."""
    lines = tail(tool.project, said) if said.status else []
    return f"{tool.label} ended with status {said.status}" + (f": {lines[-1].rstrip('.')}." if lines else ".")


def tail(project: Project, *results: Answer) -> list[str]:
    """The last lines that programs printed, without secrets."""
    text = project.redacted("\n".join(result.stdout + result.stderr for result in results))
    return [line.rstrip() for line in text.splitlines() if line.strip()][-LINES:]


def container_logs(project: Project, view: View) -> list[str]:
    """What the services said that are in trouble, or that stand behind a front door that does not answer."""
    names = [name for name in view.troubled if name in view.containers]
    names = names or [name for name in _BEHIND_THE_DOOR if name in view.containers] or list(view.containers)
    return tail(project, project.logs(names, LINES)) if names else []


def front_door_drift(problem: Problem) -> list[Drift]:
    """A front door that does not answer, in the form of all that is wrong."""
    return [Drift("front door", problem.text)]
