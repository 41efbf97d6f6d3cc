# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nftables: own sets and chains in the tables whose chains drop, since an accept elsewhere does not undo a drop."""

from __future__ import annotations

import typing as t

from . import nft_objects, nft_ruleset
from .model import CONTAINERS, HOST, NOT_FOUND, SETUP, Backend, EgressError, Opening, Wanted
from .nft_ruleset import Table

_ATTEMPTS = 3
_HOOK_OF = {HOST: "output", CONTAINERS: "forward", SETUP: "forward"}


class Nftables(Backend):
    """The rulesets that people load with nft."""

    name = "nftables"
    durable = False

    def active(self) -> bool:
        """Whether a chain that somebody wrote by hand may drop what leaves."""
        return bool(self._closing())

    def refusals(self, wanted: Wanted) -> list[str]:
        """Missing tools, and tables that the kernel lets nobody but their owner change."""
        if self.run(["nft", "--version"])[0] == NOT_FOUND:
            return ["nft is not there. Next step: install the package nftables, or name another backend."]
        hooks = {_HOOK_OF[path] for path in wanted.paths}
        return [
            f"The table {table.label} drops packets and belongs to a running program (flags owner), so that nobody "
            "else can change it. Next step: open the endpoints in that program."
            for table in self._closing()
            if table.owned and any(chain.hook in hooks for chain in table.closing())
        ]

    def plan(self, openings: t.Sequence[Opening]) -> str:
        """Our objects in each table that closes."""
        return _text(nft_objects.wanted(table, openings) for table in self._closing())

    def current(self) -> str:
        """Our objects in any table."""
        return _text(nft_objects.present(table) for table in nft_ruleset.read(self.run))

    def apply(self, openings: t.Sequence[Opening]) -> None:
        """All tables in one transaction."""
        self._change(openings)

    def remove(self) -> None:
        """Each of our rules by its handle, then the chains and sets that nothing uses any more."""
        self._change(())

    def _closing(self) -> list[Table]:
        tables = [table for table in nft_ruleset.read(self.run) if table.closing()]
        return nft_ruleset.foreign(tables, self.run)

    def _change(self, openings: t.Sequence[Opening]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            closing = {table.label for table in self._closing()}
            lines: list[str] = []
            for table in nft_ruleset.read(self.run):
                mine = openings if table.label in closing else ()
                lines += nft_objects.script(table, nft_objects.wanted(table, mine))
            if not lines:
                return
            status, output, error = self.run(["nft", "-f", "-"], "\n".join([*lines, ""]))
            if status == 0:
                return
            # Somebody may have loaded another ruleset since it was read.
            if attempt == _ATTEMPTS:
                raise EgressError(
                    f"nft did not take the change, so nothing was changed: {(error or output).strip()}",
                    next_step="Check that nft is 0.9.3 or newer and that nothing reloads the ruleset all the time.",
                )


def _text(additions: t.Iterable[nft_objects.Addition]) -> str:
    return "".join(f"{line}\n" for addition in additions for line in addition.lines())
