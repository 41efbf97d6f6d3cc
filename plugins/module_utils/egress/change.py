# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module does: present, absent, confirmed; each also as a prediction."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from . import config, detect, networks
from .keeper import Keeper, Outcome, Refused, settings_text
from .memory import Memory
from .model import Backend, EgressError, Opening, Run, Wanted
from .state import CONFIG, LOCK_TIMEOUT, MEMORY, UNDONE

_NO_ADDRESS = (
    "No address is known of {names}. Next step: check the names, and that this server can ask DNS; where its firewall "
    "closes DNS too, open that with them (the role's egress_dns, or the DNS servers as endpoints with port 53)."
)
_PAIR = {"nftables": "iptables", "iptables": "nftables"}


class Change:
    """One run of the module."""

    def __init__(self, keeper: Keeper, *, check: bool, undo_after: int = 0, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self.keeper, self.check, self.undo_after, self.lock_timeout = keeper, check, undo_after, lock_timeout
        self.undo_at: float | None = None

    def present(self, wanted: Wanted) -> Outcome:
        """Opens what is wanted, in the backend that is named or found."""
        backend = detect.make(wanted.backend, self.keeper.run)
        wanted = dataclasses.replace(wanted, backend=backend.name)
        if backend.name == "none":
            return self._report(wanted)
        reasons = [*backend.refusals(wanted), *networks.refusals(self.keeper.run, wanted)]
        if reasons:
            raise Refused(backend.name, reasons)
        self._check_undo()
        with self._locked():
            return self._open(wanted, backend)

    def _report(self, wanted: Wanted) -> Outcome:
        memory = Memory()
        self.keeper.ask(wanted, memory)
        outcome = self._outcome(wanted, memory)
        outcome.rules = [_line(wanted, one, memory) for one in config.openings_of(wanted, memory.addresses)]
        outcome.warnings += networks.refusals(self.keeper.run, wanted) + networks.warnings(self.keeper.run, wanted)
        if self.keeper.recorded() is not None:
            outcome.warnings.append(
                "Openings that were made earlier with another backend are still there, since this one changes nothing. "
                "Next step: take them away with state absent."
            )
        return outcome

    def _open(self, wanted: Wanted, backend: Backend) -> Outcome:
        keeper, recorded = self.keeper, self.keeper.recorded()
        before, memory = backend.current(), keeper.memory()
        failed = keeper.ask(wanted, memory)
        if not self.check and failed and not all(memory.addresses(name) for name in config.names_of(wanted)):
            self._open_the_way_to_dns(wanted, backend, memory)
        openings = config.openings_of(wanted, memory.addresses)
        outcome = self._outcome(wanted, memory)
        if not openings:
            said, _words, step = " ".join(outcome.warnings).rpartition(" Next step: ")
            raise EgressError(f"Nothing can be opened. {said or step}", next_step=step if said else None)
        outcome.warnings += backend.warnings(wanted) + networks.warnings(self.keeper.run, wanted)
        outcome.warnings += _other_walls(backend, self.keeper.run)
        outcome.before, outcome.after = before, backend.plan(openings)
        outcome.rules = outcome.after.splitlines()
        waiting = keeper.undo.record() is not None
        outcome.changed = before != outcome.after or recorded != wanted or (waiting and not self.undo_after)
        outcome.before = settings_text(recorded) + outcome.before
        outcome.after = settings_text(wanted) + outcome.after
        if not self.check:
            self._make_so(wanted, backend, openings, memory, outcome.changed)
        outcome.pending, outcome.undo_at = self._pending()
        return outcome

    def _open_the_way_to_dns(self, wanted: Wanted, backend: Backend, memory: Memory) -> None:
        """Where DNS itself is closed, names can be asked for only after the DNS servers were opened."""
        openings = config.openings_of(wanted, memory.addresses)
        if openings and backend.current() != backend.plan(openings):
            self._start_undo(backend.name)
            # What other names have stays as it is until the names are known.
            self.keeper.put(backend, openings)
            unknown = [name for name in config.names_of(wanted) if not memory.addresses(name)]
            self.keeper.ask(wanted, memory, unknown)

    def _make_so(
        self, wanted: Wanted, backend: Backend, openings: list[Opening], memory: Memory, changed: bool
    ) -> None:
        state, recorded = self.keeper.state, self.keeper.recorded()
        if changed or self.keeper.undo.record() is not None:
            self._start_undo(backend.name)
        self.keeper.put(backend, openings)
        if recorded is not None and recorded.backend != backend.name:
            detect.make(recorded.backend, self.keeper.run).remove()
        state.write(MEMORY, memory.seen)
        if changed:
            state.write(CONFIG, config.to_json(wanted))
        state.delete(UNDONE)
        self._end()

    def absent(self) -> Outcome:
        """Takes away all that was ever added, whichever backend holds it."""
        self._check_undo()
        with self._locked():
            keeper, recorded = self.keeper, self.keeper.recorded()
            texts = {one.name: one.current() for one in detect.every(keeper.run)}
            holding = [name for name, text in texts.items() if text]
            outcome = Outcome(recorded.backend if recorded else (holding or ["none"])[0])
            outcome.before = settings_text(recorded) + "".join(texts.values())
            waiting = keeper.undo.record() is not None
            outcome.changed = bool(holding) or recorded is not None or (waiting and not self.undo_after)
            if not self.check:
                self._take_away(holding, outcome.changed)
            outcome.pending, outcome.undo_at = self._pending()
        if not self.check:
            keeper.state.tidy()
        return outcome

    def _take_away(self, holding: list[str], changed: bool) -> None:
        keeper = self.keeper
        if changed:
            self._start_undo("")
        for name in holding:
            detect.make(name, keeper.run).remove()
        keeper.state.delete(CONFIG, MEMORY, UNDONE)
        self._end()

    def confirmed(self) -> Outcome:
        """Makes the last change permanent."""
        keeper = self.keeper
        recorded = keeper.recorded()
        outcome = Outcome(recorded.backend if recorded else "none")
        if not keeper.state.exists():
            return outcome
        with self._locked():
            if keeper.state.read(UNDONE) is not None:
                raise EgressError(
                    "The change was already taken back, since nobody confirmed it in time.",
                    next_step="Check that the change does not cut the connection to this server, and raise undo_after "
                    "where connecting again takes longer.",
                )
            outcome.changed = keeper.undo.record() is not None
            if outcome.changed and not self.check:
                keeper.undo.cancel()
        if not self.check and keeper.recorded() is None:
            keeper.state.tidy()
        return outcome

    def _check_undo(self) -> None:
        reason = self.keeper.undo.refusal() if self.undo_after else None
        if reason:
            raise EgressError(*reason.split(" Next step: ")[:1], next_step=reason.partition(" Next step: ")[2])

    def _start_undo(self, backend: str) -> None:
        if self.undo_after and self.undo_at is None:
            self.undo_at = self.keeper.undo.start(self.undo_after, self.keeper.snapshot(backend))

    def _end(self) -> None:
        undo = self.keeper.undo
        if self.undo_at is not None:
            self.undo_at = undo.again(self.undo_after)
        elif not self.undo_after and undo.record() is not None:
            undo.cancel()

    def _pending(self) -> tuple[bool, float | None]:
        record = None if self.check else self.keeper.undo.record()
        return record is not None, None if record is None else float(record["undo_at"])

    def _locked(self) -> t.ContextManager[None]:
        """A prediction reads only, and must not make the directory of the lock either."""
        return contextlib.nullcontext() if self.check else self.keeper.state.locked(self.lock_timeout)

    def _outcome(self, wanted: Wanted, memory: Memory) -> Outcome:
        names = config.names_of(wanted)
        outcome = Outcome(wanted.backend, addresses={name: memory.addresses(name) for name in names})
        outcome.unresolved = [name for name in names if not memory.addresses(name)]
        outcome.warnings = config.notes_of(wanted)
        if outcome.unresolved:
            outcome.warnings.append(_NO_ADDRESS.format(names=", ".join(outcome.unresolved)))
        return outcome


def _other_walls(backend: Backend, run: Run) -> list[str]:
    """nftables and iptables know nothing of each other, and a packet has to pass both."""
    name = _PAIR.get(backend.name)
    if name is None or not detect.make(name, run).active():
        return []
    return [
        f"{name} closes this server too, and nothing is opened there, since the backend is {backend.name}. "
        "Next step: have the owner of its rules open the same; backend none lists what."
    ]


def _line(wanted: Wanted, one: Opening, memory: Memory) -> str:
    """An opening in words, for the people who look after the firewall."""
    names = [
        endpoint.host
        for endpoint in wanted.endpoints
        if (endpoint.port, endpoint.protocol) == (one.port, one.protocol)
        and (one.address in memory.addresses(endpoint.host) or one.address == endpoint.host or one.address is None)
    ]
    source = f" {one.source}" if one.source else ""
    return f"{one.path}{source} IPv{one.version} {one.protocol} {'/'.join(names)} ({one.address or 'any'}) {one.port}"
