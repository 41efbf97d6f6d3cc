# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The openings over time: wanted, applied, refreshed, confirmed, undone, taken away."""

from __future__ import annotations

import json
import time
import typing as t
from dataclasses import dataclass, field

from . import config, detect, resolver
from .memory import Memory
from .model import Backend, EgressError, Opening, Run, Wanted
from .state import CONFIG, MEMORY, UNDONE, State
from .undo import Undo


class Refused(EgressError):
    """What a backend cannot do, each with its reason and next step."""

    def __init__(self, backend: str, reasons: list[str]) -> None:
        super().__init__(f"The backend {backend} cannot do this, so nothing was changed. {' '.join(reasons)}")
        self.reasons = reasons


@dataclass
class Outcome:
    """What a change did, or would do."""

    backend: str
    changed: bool = False
    before: str = ""
    after: str = ""
    rules: list[str] = field(default_factory=list)
    addresses: dict[str, list[str]] = field(default_factory=dict)
    unresolved: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    pending: bool = False
    undo_at: float | None = None


class Keeper:
    """Everything that acts on the openings of one server."""

    def __init__(self, run: Run, state: State, undo: Undo, lookup: resolver.Lookup = resolver.look_up) -> None:
        self.run, self.state, self.undo, self.lookup = run, state, undo, lookup

    def recorded(self) -> Wanted | None:
        """What was applied last."""
        found = self.state.read(CONFIG)
        return None if found is None else config.from_json(found)

    def memory(self) -> Memory:
        """The known addresses; a broken file is none, since DNS gives them again."""
        try:
            return Memory.from_json(self.state.read(MEMORY))
        except EgressError:
            return Memory()

    def ask(self, wanted: Wanted, memory: Memory, names: t.Collection[str] | None = None) -> dict[resolver.Key, str]:
        """Looks names up and remembers; what failed, with what was said."""
        asked = config.names_of(wanted) if names is None else names
        answers = resolver.resolve(asked, wanted.ip_versions, lookup=self.lookup)
        memory.update(answers, time.time(), wanted.lifetime)
        memory.keep_only(config.names_of(wanted))
        return {key: answer.said or "no such address" for key, answer in answers.items() if not answer.addresses}

    def put(self, backend: Backend, openings: t.Sequence[Opening]) -> bool:
        """Applies, reads back, and says whether anything had to be changed."""
        if backend.current() == backend.plan(openings):
            return False
        backend.apply(openings)
        if backend.current() != backend.plan(openings):
            raise EgressError(
                f"The backend {backend.name} took the rules, but does not show them.",
                next_step="Look what else changes the firewall of this server at this moment, and run again.",
            )
        return True

    def restore(self) -> str:
        """Goes back to the state that was recorded before a change; what was done, in words."""
        record = self.undo.record()
        if record is None:
            return "Nothing waits to be confirmed."
        keeps = ""
        if record["config"] is not None:
            wanted = config.from_json(record["config"])
            memory = Memory.from_json(record["addresses"])
            keeps = wanted.backend
            self.put(detect.make(keeps, self.run), config.openings_of(wanted, memory.addresses))
            self.state.write(CONFIG, record["config"])
            self.state.write(MEMORY, record["addresses"])
        self._remove({str(record["backend"]), self._recorded_backend()} - {keeps, ""})
        if record["config"] is None:
            self.state.delete(CONFIG, MEMORY)
        self.state.write(UNDONE, {"at": time.time()})
        self.undo.cancel()
        return "The unconfirmed change was taken back."

    def _remove(self, names: t.Collection[str]) -> None:
        for name in sorted(names):
            detect.make(name, self.run).remove()

    def _recorded_backend(self) -> str:
        found = self.recorded()
        return found.backend if found else ""

    def snapshot(self, backend: str) -> dict[str, t.Any]:
        """What has to be known to come back to the present state from one in which C(backend) holds rules."""
        return {"backend": backend, "config": self.state.read(CONFIG), "addresses": self.memory().seen}


def settings_text(wanted: Wanted | None) -> str:
    """The settings as they stand in a diff."""
    if wanted is None:
        return ""
    return json.dumps(config.to_json(wanted), indent=1, sort_keys=True) + "\n"
