# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's part of egress_rules: a change is confirmed over a connection that was made after it."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

# The server must not take back what is just being confirmed.
_MARGIN, _SHORTEST, _PAUSE = 10.0, 5.0, 1.0
_CUT = (
    "{server} cannot be reached any more since the change of its firewall. It takes the change back by itself within "
    "{seconds} seconds. Next step: look what else in the firewall depends on what was changed, and run again."
)


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible's base has no types
    """In one task, since a play brings all servers to the end of one before the first server goes on to the next."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """The module's result, or why it could not be confirmed."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        result.update(self._execute_module(task_vars=task_vars))
        wanted = boolean(self._task.args.get("confirm", False), strict=False)
        if not wanted or result.get("failed") or not result.get("pending"):
            return result
        seconds = int(self._task.args["undo_after"])
        answer = self._confirmed(max(seconds - _MARGIN, _SHORTEST), task_vars)
        if answer is None:
            server = (task_vars or {}).get("inventory_hostname", "The server")
            return {**result, "failed": True, "msg": _CUT.format(server=server, seconds=seconds)}
        if answer.get("failed"):
            return {**result, **answer}
        result.pop("undo_at", None)
        return {**result, "pending": False}

    def _confirmed(self, seconds: float, task_vars: dict[str, t.Any] | None) -> dict[str, t.Any] | None:
        """What the module says to its confirmation; None where no new connection can be made in time."""
        end = time.monotonic() + seconds
        while True:
            # Not every kind of connection keeps one that could be given up.
            with contextlib.suppress(AttributeError):
                self._connection.reset()
            try:
                answer: dict[str, t.Any] = self._execute_module(module_args={"state": "confirmed"}, task_vars=task_vars)
            except AnsibleConnectionFailure:
                if time.monotonic() >= end:
                    return None
                time.sleep(_PAUSE)
                continue
            return answer
