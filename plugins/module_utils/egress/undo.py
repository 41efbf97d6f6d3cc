# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way back for a change that cuts the connection through which it was made."""

from __future__ import annotations

import os
import sys
import time
import typing as t
from dataclasses import dataclass

from .model import NOT_FOUND, EgressError, Run
from .state import PREVIOUS, State

PROGRAM = "/usr/local/lib/bitwarden-egress/bitwarden-egress"
UNIT = "bitwarden-egress-undo"
_SYSTEMD = "/run/systemd/system"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
# A timer may fire that much before its time by other clocks.
_EARLY = 2.0


def _uptime() -> float:
    # Nobody sets this clock, and it goes on while the machine sleeps, as systemd's timer does not have to.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class Undo:
    """A timer of systemd that takes a change back, unless it is confirmed before."""

    run: Run
    state: State
    program: str = PROGRAM
    systemd: str = _SYSTEMD
    boot_id: str = _BOOT_ID
    uptime: t.Callable[[], float] = _uptime

    def refusal(self) -> str | None:
        """Why there can be no way back on this server."""
        if not os.path.isdir(self.systemd) or self.run(["systemd-run", "--version"])[0] == NOT_FOUND:
            return (
                "undo_after needs systemd, which does not run this server. Next step: set undo_after to 0, and make "
                "sure that you can reach the server in another way."
            )
        if not os.path.isfile(self.program):
            return (
                f"undo_after needs {self.program}, which is not there. Next step: use the role "
                "selfhosted.bitwarden.egress, which installs it, or set undo_after to 0."
            )
        return None

    def record(self) -> t.Any:
        """The state before a change that nobody has confirmed yet, or None."""
        return self.state.read(PREVIOUS)

    def start(self, seconds: int, before: dict[str, t.Any]) -> float:
        """Records the state of before and starts the timer; when it will fire.

        A later change that is not confirmed either goes back to the same state as the first.
        """
        record = self.record() or before
        complaint = self._arm(seconds, record)
        if complaint:
            self.state.delete(PREVIOUS)
            raise EgressError(
                f"systemd did not start the timer that would take the change back: {complaint}. Nothing was changed.",
                next_step=f"Check `systemctl status {UNIT}.timer`, or set undo_after to 0.",
            )
        return float(record["undo_at"])

    def again(self, seconds: int) -> float:
        """Counts anew once the change is done: how long that took is nobody's time to confirm."""
        record = self.record()
        complaint = self._arm(seconds, record)
        if complaint:
            raise EgressError(
                f"systemd did not start the timer anew that would take the change back: {complaint}.",
                next_step=f"Run `{self.program} undo`, or confirm the change with state confirmed.",
            )
        return float(record["undo_at"])

    def _arm(self, seconds: int, record: dict[str, t.Any]) -> str:
        """Records when the time is over and starts the timer; what systemd complains of."""
        record.update(undo_at=time.time() + seconds, uptime=self.uptime() + seconds, boot=self._boot())
        self.state.write(PREVIOUS, record)
        self._stop()
        # One that fired while the change was being made waits for its end, and its name is needed.
        self.run(["systemctl", "stop", f"{UNIT}.service"])
        command = [
            "systemd-run",
            f"--unit={UNIT}",
            f"--on-active={seconds}",
            "--timer-property=AccuracySec=1s",
            "--description=Takes back an unconfirmed change of what may leave this server",
            sys.executable,
            self.program,
            "undo",
            "--due",
        ]
        status, output, error = self.run(command)
        return (error or output).strip() or f"exit status {status}" if status != 0 else ""

    def cancel(self) -> None:
        """Makes the change permanent; without the record the timer does nothing, should it fire now."""
        self.state.delete(PREVIOUS)
        self._stop()

    def orphaned(self) -> bool:
        """Whether a change waits to be confirmed and no timer lives that would take it back."""
        record = self.record()
        if record is None:
            return False
        return self.due() or self.run(["systemctl", "is-active", "--quiet", f"{UNIT}.timer"])[0] != 0

    def due(self) -> bool:
        """Whether the time to confirm is over, by a clock that nobody sets, or the server was started anew."""
        record = self.record()
        if record is None:
            return False
        return record.get("boot") != self._boot() or self.uptime() >= float(record.get("uptime", 0)) - _EARLY

    def _stop(self) -> None:
        self.run(["systemctl", "stop", f"{UNIT}.timer"])
        self.run(["systemctl", "reset-failed", f"{UNIT}.timer", f"{UNIT}.service"])

    def _boot(self) -> str:
        with open(self.boot_id, encoding="ascii") as stream:
            return stream.read().strip()
