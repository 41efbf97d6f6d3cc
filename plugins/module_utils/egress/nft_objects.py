# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the nftables backend adds to one table: sets of destinations, a chain for each hook, a jump to it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .model import BRIDGES, CONTAINERS, DEFAULT_BRIDGE, HOST, OURS, SETUP, Opening
from .nft_ruleset import HOOKS, Table

_CHAINS = {hook: f"{OURS}-{hook}" for hook in HOOKS}
_FAMILY_OF = {4: "ip", 6: "ip6"}
_VERSIONS = {"inet": (4, 6), "ip": (4,), "ip6": (6,)}
_INTERFACES = {CONTAINERS: f"{BRIDGES}*", SETUP: DEFAULT_BRIDGE}


@dataclass
class Addition:
    """Our objects in one table. Rules are pairs: the comment, which says all, and the statement."""

    label: str
    sets: dict[str, set[str]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    rules: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    jumps: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The normal form."""
        jumps = [f"{self.label} {chain}: jump {target}" for chain, target in sorted(self.jumps.items())]
        rules = [
            f"{self.label} {chain}: {comment}" for chain in sorted(self.rules) for comment, _s in self.rules[chain]
        ]
        elements = [f"{self.label} {name}: {one}" for name in sorted(self.sets) for one in sorted(self.sets[name])]
        return jumps + rules + elements


def wanted(table: Table, openings: t.Sequence[Opening]) -> Addition:
    """What is to stand in this table."""
    addition = Addition(table.label)
    mine = sorted(one for one in openings if one.version in _VERSIONS.get(table.family, ()))
    for hook in HOOKS:
        chains = [chain.name for chain in table.closing() if chain.hook == hook]
        here = [one for one in mine if (one.path == HOST) == (hook == "output")]
        if chains and here:
            addition.jumps.update({chain: _CHAINS[hook] for chain in chains})
            addition.rules[_CHAINS[hook]] = _chain(addition, here, table.family)
    return addition


def _chain(addition: Addition, openings: list[Opening], family: str) -> list[tuple[str, str]]:
    groups: dict[str, Opening] = {}
    sources = sorted({one.source for one in openings if one.source})
    for one in openings:
        name = _set_name(one, sources)
        groups.setdefault(name, one)
        addition.sets.setdefault(name, set()).add(_element(one))
        address = "" if one.address is None else f"ipv{one.version}_addr . "
        addition.types[name] = f"{address}inet_proto . inet_service"
    out = [_rule(name, one, family, reply=False) for name, one in sorted(groups.items())]
    if openings[0].path == HOST:
        return out
    # What goes into a container network does not leave the server: other people's rules decide about it.
    inwards = [(f"{OURS} return {name}", f'oifname "{name}" return') for name in _INTERFACES.values()]
    return [*(_rule(name, one, family, reply=True) for name, one in sorted(groups.items())), *inwards, *out]


def _set_name(one: Opening, sources: list[str]) -> str:
    number = f"-{sources.index(one.source) + 1}" if one.source else ""
    return f"{OURS}-{one.path}{one.version}{number}{'' if one.address else '-any'}"


def _element(one: Opening) -> str:
    return " . ".join([*([one.address] if one.address else []), one.protocol, str(one.port)])


def _rule(name: str, one: Opening, family: str, *, reply: bool) -> tuple[str, str]:
    """Lets through what goes to the set, or the answers that come from there."""
    protocol = _FAMILY_OF[one.version]
    near, far, port = ("daddr", "saddr", "sport") if reply else ("saddr", "daddr", "dport")
    parts: list[str] = []
    if one.source:
        parts.append(f"{protocol} {near} {one.source}")
    elif one.path != HOST:
        parts.append(f'{"oifname" if reply else "iifname"} "{_INTERFACES[one.path]}"')
    if one.address is None and family == "inet":
        parts.append(f"meta nfproto ipv{one.version}")
    parts.append(f"{f'{protocol} {far} . ' if one.address else ''}meta l4proto . th {port} @{name}")
    if reply:
        parts.append("ct state established")
    comment = " ".join([name, *([one.source] if one.source else []), *(["replies"] if reply else [])])
    return comment, " ".join([*parts, "accept"])


def present(table: Table) -> Addition:
    """Our objects as they are in this table."""
    addition = Addition(table.label, sets=dict(table.sets))
    for chain in table.chains.values():
        if chain.name.startswith(OURS):
            addition.rules[chain.name] = [(_comment_of(rule), "") for rule in chain.rules]
        for number, rule in enumerate(chain.rules):
            if rule.get("comment") == OURS:
                late = any(table.rule_can_drop(before) for before in chain.rules[:number])
                twice = chain.name in addition.jumps
                target = next(iter(one["jump"]["target"] for one in rule["expr"] if "jump" in one), "nothing")
                addition.jumps[chain.name] = target + (" behind a drop" if late else "") + (" twice" if twice else "")
    return addition


def _comment_of(rule: dict[str, t.Any]) -> str:
    """The comment says what the rule is, as long as it still does it."""
    verdict = next((one for one in ("accept", "return") if one in rule["expr"][-1]), "nothing")
    comment = str(rule.get("comment", "a rule of somebody else"))
    return (
        comment
        if (verdict == "return") == (f"{OURS} return" in comment) and verdict != "nothing"
        else f"{comment}: {verdict}"
    )


def jump_handles(table: Table, chain: str) -> list[int]:
    """The handles of our jumps in a chain of others."""
    return [int(rule["handle"]) for rule in table.chains[chain].rules if rule.get("comment") == OURS]


def script(table: Table, new: Addition) -> list[str]:
    """What nft is to do, in one transaction, to make the table hold the new objects and not the old ones."""
    old, label = present(table), table.label
    lines: list[str] = []
    for name, elements in new.sets.items():
        if name not in old.sets:
            lines.append(f"add set {label} {name} {{ type {new.types[name]}; }}")
        lines += _elements("add", f"{label} {name}", elements - old.sets.get(name, set()))
    for chain, rules in new.rules.items():
        if [comment for comment, _s in old.rules.get(chain, [])] != [comment for comment, _s in rules] or not rules:
            lines += [f"add chain {label} {chain}", f"flush chain {label} {chain}"]
            lines += [f'add rule {label} {chain} {text} comment "{comment}"' for comment, text in rules]
    for chain in sorted({*new.jumps, *old.jumps}):
        if new.jumps.get(chain) != old.jumps.get(chain):
            if chain in new.jumps:
                lines.append(f'insert rule {label} {chain} jump {new.jumps[chain]} comment "{OURS}"')
            lines += [f"delete rule {label} {chain} handle {number}" for number in jump_handles(table, chain)]
    for chain in sorted(set(old.rules) - set(new.rules)):
        lines += [f"flush chain {label} {chain}", f"delete chain {label} {chain}"]
    for name, elements in old.sets.items():
        if name in new.sets:
            lines += _elements("delete", f"{label} {name}", elements - new.sets[name])
        else:
            lines.append(f"delete set {label} {name}")
    return lines


def _elements(verb: str, where: str, elements: set[str]) -> list[str]:
    return [f"{verb} element {where} {{ {', '.join(sorted(elements))} }}"] if elements else []
