# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server's nftables ruleset as it is: who may drop what leaves, and which objects are ours."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from .model import NOT_FOUND, OURS, EgressError, Run

# Tables that a program writes as it likes and that let containers out by rules of their own.
_OF_PROGRAMS = ("docker-bridges", "f2b-table", "firewalld", "libvirt_network", "netavark")
_OF_IPTABLES = ("filter", "mangle", "raw", "security")
_PROTOCOLS = {6: "tcp", 17: "udp"}
HOOKS = ("output", "forward")


@dataclass
class Chain:
    """A chain; C(hook) only where packets enter it by themselves."""

    name: str
    hook: str | None = None
    drops: bool = False
    rules: list[dict[str, t.Any]] = field(default_factory=list)


@dataclass
class Table:
    """One table with its chains, and the sets that are ours, as lines of their elements."""

    family: str
    name: str
    owned: bool = False
    chains: dict[str, Chain] = field(default_factory=dict)
    sets: dict[str, set[str]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How nft names it."""
        return f"{self.family} {self.name}"

    def can_drop(self, chain: Chain) -> bool:
        """Whether a packet may end in this chain or where it leads to."""
        return chain.drops or any(self.rule_can_drop(rule) for rule in chain.rules)

    def rule_can_drop(self, rule: dict[str, t.Any], seen: tuple[str, ...] = ()) -> bool:
        """Whether a packet may end at this rule."""
        return any(self._verdict_can_drop(key, value, seen) for key, value in _pairs(rule.get("expr", [])))

    def _verdict_can_drop(self, key: str, value: t.Any, seen: tuple[str, ...]) -> bool:
        if key in ("drop", "reject", "queue"):
            return True
        # What a named map of verdicts holds may change at any time.
        if key == "vmap" and isinstance(value, dict) and isinstance(value.get("data"), str):
            return True
        if key in ("jump", "goto") and isinstance(value, dict):
            target = self.chains.get(str(value.get("target")))
            if target is not None and target.name not in seen and not target.name.startswith(OURS):
                return any(self.rule_can_drop(rule, (*seen, target.name)) for rule in target.rules)
        return False

    def closing(self) -> list[Chain]:
        """The chains where packets that leave or are forwarded may end."""
        return [chain for chain in self.chains.values() if chain.hook in HOOKS and self.can_drop(chain)]


def _pairs(node: t.Any) -> t.Iterator[tuple[str, t.Any]]:
    """Every key with its value, however deep."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from _pairs(value)
    elif isinstance(node, list):
        for value in node:
            yield from _pairs(value)


def read(run: Run) -> list[Table]:
    """All tables, in the order of their names; none where nft is missing."""
    status, output, error = run(["nft", "-j", "list", "ruleset"])
    if status == NOT_FOUND:
        return []
    if status != 0:
        raise EgressError(
            f"The nftables ruleset cannot be read: {error.strip() or output.strip()}.",
            next_step="Run as root, and check that `nft -j list ruleset` works on the server.",
        )
    try:
        return parse(json.loads(output)["nftables"])
    except (KeyError, TypeError, ValueError) as problem:
        raise EgressError(
            f"`nft -j list ruleset` gave something that is not its JSON: {problem}.",
            next_step="Check `nft -j list ruleset` on the server; nft must be built with JSON support.",
        ) from problem


def parse(objects: list[dict[str, t.Any]]) -> list[Table]:
    """The tables that nft's JSON tells of."""
    tables: dict[tuple[str, str], Table] = {}
    for one in objects:
        for kind, found in one.items():
            if kind == "table":
                flags = found.get("flags", [])
                owned = "owner" in (flags if isinstance(flags, list) else [flags])
                tables[(found["family"], found["name"])] = Table(found["family"], found["name"], owned)
            elif kind in ("chain", "set", "rule"):
                _add(tables[(found["family"], found["table"])], kind, found)
    return [tables[key] for key in sorted(tables)]


def _add(table: Table, kind: str, found: dict[str, t.Any]) -> None:
    if kind == "chain":
        hook = found.get("hook") if found.get("type") == "filter" else None
        table.chains[found["name"]] = Chain(found["name"], hook, found.get("policy") == "drop")
    elif kind == "rule":
        table.chains[found["chain"]].rules.append(found)
    elif found["name"].startswith(OURS):
        table.sets[found["name"]] = {_element(one) for one in found.get("elem", [])}


def _element(one: t.Any) -> str:
    parts = one["concat"] if isinstance(one, dict) and "concat" in one else [one]
    address, (protocol, port) = parts[:-2], parts[-2:]
    return " . ".join(str(part) for part in [*address, _PROTOCOLS.get(protocol, protocol), port])


def foreign(tables: list[Table], run: Run) -> list[Table]:
    """The tables that people wrote themselves: not those of iptables, firewalld and other programs."""
    return [table for table in tables if table.name not in _OF_PROGRAMS and not _of_iptables(table, run)]


def _of_iptables(table: Table, run: Run) -> bool:
    """iptables' own program says whether it can read the table: a table written by hand is incompatible to it."""
    program = {"ip": "iptables", "ip6": "ip6tables"}.get(table.family)
    if program is None or table.name not in _OF_IPTABLES:
        return False
    status, output, error = run([f"{program}-nft-save", "-t", table.name])
    return status == 0 and "incompatible" not in output + error
