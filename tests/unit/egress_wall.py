"""A firewall in memory, for tests of what opens and closes firewalls."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import Backend, Opening, Wanted

# What each of them holds, by its name; whoever uses them empties it first.
RULES: dict[str, list[str]] = {}


class Wall(Backend):
    """One that knows a single path."""

    name = "wall"
    durable = False

    def active(self) -> bool:
        return True

    def refusals(self, wanted: Wanted) -> list[str]:
        return [] if wanted.host else ["The wall has no other path. Next step: switch host on."]

    def plan(self, openings: Sequence[Opening]) -> str:
        return "".join(f"{one.address} {one.port}\n" for one in sorted(openings))

    def current(self) -> str:
        return "".join(RULES.get(self.name, []))

    def apply(self, openings: Sequence[Opening]) -> None:
        RULES[self.name] = self.plan(openings).splitlines(keepends=True)

    def remove(self) -> None:
        RULES.pop(self.name, None)
