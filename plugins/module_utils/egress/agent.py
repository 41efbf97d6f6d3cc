# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the server itself does: at its start, every few minutes, and when nobody confirms a change."""

from __future__ import annotations

import json
import os
import typing as t

from . import config, detect
from .keeper import Keeper
from .model import EgressError, Run
from .state import DIRECTORY, MEMORY, State
from .undo import PROGRAM, Undo

USAGE = "usage: bitwarden-egress apply | refresh | undo [--due] | status"


class Agent:
    """The commands of the program; each gives what it says."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper

    def apply(self) -> str:
        """From memory, since at the start of a server there may be no DNS yet."""
        return self._put(ask_all=False)

    def refresh(self) -> str:
        """Asks DNS, follows new addresses, and heals what somebody flushed."""
        return self._put(ask_all=True)

    def undo(self, only_due: bool = False) -> str:
        """Takes an unconfirmed change back; a timer of an earlier change only when the time has come."""
        with self.keeper.state.locked():
            if only_due and not self.keeper.undo.due():
                return "Nothing is due to be taken back."
            return self.keeper.restore()

    def status(self) -> str:
        """What is recorded, and whether the firewall shows it."""
        wanted, memory, record = self.keeper.recorded(), self.keeper.memory(), self.keeper.undo.record()
        found: dict[str, t.Any] = {"backend": None, "in_place": None, "addresses": memory.seen}
        if wanted is not None:
            backend = detect.make(wanted.backend, self.keeper.run)
            plan = backend.plan(config.openings_of(wanted, memory.addresses))
            found.update(backend=wanted.backend, in_place=backend.current() == plan, rules=plan.splitlines())
        found.update(pending=record is not None, undo_at=None if record is None else record["undo_at"])
        return json.dumps(found, indent=1, sort_keys=True)

    def _put(self, *, ask_all: bool) -> str:
        keeper = self.keeper
        if not keeper.state.exists():
            return "Nothing is to be opened."
        with keeper.state.locked():
            if keeper.undo.orphaned():
                return keeper.restore()
            wanted = keeper.recorded()
            if wanted is None:
                return "Nothing is to be opened."
            memory = keeper.memory()
            names = [name for name in config.names_of(wanted) if ask_all or not memory.addresses(name)]
            failed = keeper.ask(wanted, memory, names)
            backend = detect.make(wanted.backend, keeper.run)
            changed = keeper.put(backend, config.openings_of(wanted, memory.addresses))
            if names:
                keeper.state.write(MEMORY, memory.seen)
        silent = sorted({f"{name}: {said}" for (name, _version), said in failed.items() if not memory.addresses(name)})
        done = f"The openings in {wanted.backend} were {'brought up to date' if changed else 'as they should be'}."
        return "\n".join([done, *(f"No address is known of {one}." for one in silent)])


def main(arguments: list[str], run: Run) -> tuple[int, str, str]:
    """The program: its exit status, what it prints, and its complaint."""
    state = State(os.environ.get("BITWARDEN_EGRESS_DIRECTORY", DIRECTORY))
    undo = Undo(run, state, program=PROGRAM)
    agent = Agent(Keeper(run, state, undo))
    commands: dict[str, t.Callable[[], str]] = {
        "apply": agent.apply,
        "refresh": agent.refresh,
        "undo": agent.undo,
        "undo --due": lambda: agent.undo(only_due=True),
        "status": agent.status,
    }
    command = commands.get(" ".join(arguments))
    if command is None:
        return 2, "", USAGE
    try:
        return 0, command(), ""
    except EgressError as error:
        return 1, "", str(error)
