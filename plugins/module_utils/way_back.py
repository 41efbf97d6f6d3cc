# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way back to what ran before, when a server does not come up, and how all of it is told."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import rollback, verdict
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Answer
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.drift import Drift
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.tools import Tool
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.verdict import Trial

RESCUE_WAIT = 120.0


@dataclass(frozen=True)
class WayBack:
    """What may be done about a start that failed."""

    tool: Tool
    allowed: bool
    timeout: float

    def failure(self, trial: Trial, said: Answer, wrong: list[Drift]) -> BitwardenError:
        """Goes back to what ran before, where that is known, and tells all of it."""
        failed, problem = trial.view, trial.problem.text if trial.problem else ""
        logs = verdict.container_logs(self.tool.project, failed)
        again, told = self._go_back(trial)
        settings = "the settings of now" if again is None else "the previous settings"
        state = trial.state(settings)
        listed = ", ".join(f"{name} {failed.states[name]}" for name in failed.troubled) or "all containers run"
        healed = again is not None and trial.problem is None
        return BitwardenError(
            f"The stack in {self.tool.project.directory} is not as wanted after a restart. "
            f"{verdict.summary(self.tool, said)} Then: {problem}; {listed}. {told}The server is now {state}.",
            next_step="Read 'logs' and 'script_output', correct the new settings, then run the playbook again; until "
            "then the server works as before."
            if healed
            else "Read 'script_output' and 'logs', correct the cause, then run the playbook again "
            f"(or {self._by_hand()}).",
            details={
                "changed": True,
                "restarted": True,
                "rolled_back": again is not None,
                "server_state": state,
                "downtime": trial.watch.downtime,
                "drift": [one.shown() for one in wrong],
                "remaining": [one.shown() for one in failed.broken],
                "containers": trial.view.states,
                "script_output": verdict.tail(self.tool.project, said, *([again] if again else [])),
                "logs": logs,
            },
        )

    def _go_back(self, trial: Trial) -> tuple[Answer | None, str]:
        """What the start with the previous settings said, and what was done or why nothing was."""
        env_file = self.tool.project.deployment.env_file
        if not self.allowed:
            return None, ""
        try:
            put_back = rollback.put_back(env_file)
        except BitwardenError as error:
            return None, f"{env_file} could not be put back: {error.message} "
        if not put_back and not self.tool.can_go_back():
            return None, ""
        end = time.monotonic() + self.timeout
        again = self.tool.go_back(trial.view.files, self.timeout)
        # The wishes were for the settings that were given up.
        trial.environment = {}
        trial.judge(end, hopeless=again.status != 0)
        if trial.problem is not None and trial.view.stopped:
            rescue = self.tool.rescue(trial.view.files, self.timeout)
            trial.judge(time.monotonic() + min(RESCUE_WAIT, self.timeout), hopeless=rescue.status != 0)
        what = f"{env_file} was put back to what it held before" if put_back else "The old container got its name back"
        return again, f"{what}, and the server started again. "

    def _by_hand(self) -> str:
        script = self.tool.project.deployment.script
        return (
            f"{script} start"
            if script
            else f"'docker compose up -d' or 'docker start' in {self.tool.project.directory}"
        )
