# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""iptables and ip6tables: own chains, filled in one step, and a jump to them before other people's drops."""

from __future__ import annotations

import typing as t

from . import iptables_filter
from .iptables_filter import FORWARD, OUR_CHAINS, OUT, PROGRAMS, Filter
from .model import (
    BRIDGES,
    CONTAINERS,
    DEFAULT_BRIDGE,
    HOST,
    NOT_FOUND,
    OURS,
    SETUP,
    Backend,
    EgressError,
    Opening,
    Wanted,
)

_OUR_OUT, _OUR_FORWARD = OUR_CHAINS
_INTERFACES = {CONTAINERS: f"{BRIDGES}+", SETUP: DEFAULT_BRIDGE}
_ATTEMPTS = 3


class Iptables(Backend):
    """Rules that people load with iptables, of either generation, with Docker's chains or without."""

    name = "iptables"
    durable = False

    def active(self) -> bool:
        """Whether people closed a path, in either version; what Docker itself closes does not count."""
        return any(
            table.closes(chain) for table in map(self._read, PROGRAMS) if table.there for chain in (OUT, FORWARD)
        )

    def refusals(self, wanted: Wanted) -> list[str]:
        """Missing programs."""
        return [
            f"{PROGRAMS[version]} is not there, though IPv{version} is to be opened. "
            f"Next step: install the package iptables, or leave {version} out of ip_versions."
            for version in wanted.ip_versions
            if self.run([PROGRAMS[version], "--version"])[0] == NOT_FOUND
        ]

    def warnings(self, wanted: Wanted) -> list[str]:
        """Rules of the other generation of iptables, which drop on their own."""
        saved = [self.run([f"{PROGRAMS[version]}-save"]) for version in wanted.ip_versions]
        return iptables_filter.save_warnings(part for one in saved for part in one[1:])

    def plan(self, openings: t.Sequence[Opening]) -> str:
        """Our chains and jumps of each version."""
        return "".join(_text(version, _lines(self._read(version), version, openings)) for version in PROGRAMS)

    def current(self) -> str:
        """Our chains and jumps of each version, as they are."""
        return "".join(_text(version, _present(self._read(version))) for version in PROGRAMS)

    def apply(self, openings: t.Sequence[Opening]) -> None:
        """One transaction a version."""
        for version in PROGRAMS:
            self._change(version, openings)

    def remove(self) -> None:
        """The jumps, then the chains."""
        self.apply(())

    def _read(self, version: int) -> Filter:
        return iptables_filter.read(self.run, version)

    def _change(self, version: int, openings: t.Sequence[Opening]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            found = self._read(version)
            lines = _script(found, _lines(found, version, openings))
            if not lines:
                return
            program = f"{PROGRAMS[version]}-restore"
            text = "\n".join(["*filter", *lines, "COMMIT", ""])
            status, output, error = self.run([program, "-w", "10", "--noflush"], text)
            if status == 0:
                return
            # Docker may have changed the table since it was read.
            if attempt == _ATTEMPTS:
                raise EgressError(
                    f"{program} did not take the change, so nothing of IPv{version} was changed: "
                    f"{(error or output).strip()}",
                    next_step=f"Check that `{program}` works on the server, and what else changes its rules.",
                )


def _text(version: int, lines: list[str]) -> str:
    return "".join(f"{PROGRAMS[version]} {line}\n" for line in lines)


def _jump(chain: str, target: str) -> str:
    return f"-A {chain} -m comment --comment {OURS} -j {target}"


def _lines(table: Filter, version: int, openings: t.Sequence[Opening]) -> list[str]:
    """Our part of the table as iptables-save prints it, jumps first; nothing where there is no table to drop in."""
    mine = sorted(one for one in openings if one.version == version) if table.there else []
    out = [one for one in mine if one.path == HOST]
    forward = [one for one in mine if one.path != HOST]
    jumps: list[str] = []
    rules: list[str] = []
    if out:
        jumps.append(_jump(OUT, _OUR_OUT))
        rules += [_rule(_OUR_OUT, one, reply=False) for one in out]
    if forward:
        jumps.append(_jump(table.forward_chain(), _OUR_FORWARD))
        rules += [_rule(_OUR_FORWARD, one, reply=True) for one in forward]
        # What goes into a container network does not leave the server: other people's rules decide about it.
        rules += [f"-A {_OUR_FORWARD} -o {name} -j RETURN" for name in _INTERFACES.values()]
        rules += [_rule(_OUR_FORWARD, one, reply=False) for one in forward]
    return jumps + rules


def _rule(chain: str, one: Opening, *, reply: bool) -> str:
    """Lets through what goes to an address, or the answers that come from there."""
    far = f"{one.address}/{32 if one.version == 4 else 128}" if one.address else None  # noqa: PLR2004 - IP's version
    ends = {"-s": far, "-d": one.source} if reply else {"-s": one.source, "-d": far}
    parts = [f"{flag} {value}" for flag, value in ends.items() if value]
    if one.path != HOST and not one.source:
        parts.append(f"{'-o' if reply else '-i'} {_INTERFACES[one.path]}")
    parts.append(f"-p {one.protocol} -m {one.protocol} {'--sport' if reply else '--dport'} {one.port}")
    if reply:
        parts.append("-m conntrack --ctstate ESTABLISHED")
    return f"-A {chain} {' '.join(parts)} -j ACCEPT"


def _present(table: Filter) -> list[str]:
    jumps: list[str] = []
    for chain, rules in table.rules.items():
        for number, rule in enumerate(rules):
            if rule == _jump(chain, iptables_filter.target_of(rule)) and chain not in OUR_CHAINS:
                late = any(table.rule_can_drop(before) for before in rules[:number])
                jumps.append(rule + (" behind a drop" if late else ""))
    order = {OUR_CHAINS[0]: 0, OUR_CHAINS[1]: 1}
    jumps.sort(key=lambda jump: order.get(iptables_filter.target_of(jump), 2))
    empty = [f":{chain}" for chain in OUR_CHAINS if table.rules.get(chain) == []]
    return [*jumps, *empty, *(rule for chain in OUR_CHAINS for rule in table.rules.get(chain, []))]


def _script(table: Filter, wanted: list[str]) -> list[str]:
    """The steps from what is there to what is wanted; the restore program takes them all or none."""
    present = _present(table)
    if present == wanted:
        return []
    jumps = [line for line in wanted if iptables_filter.target_of(line) in OUR_CHAINS]
    rules = [line for line in wanted if line not in jumps]
    chains = [chain for chain in OUR_CHAINS if any(line.startswith(f"-A {chain} ") for line in rules)]
    lines = [f":{chain} - [0:0]" for chain in chains] + rules
    old = [line for line in present if iptables_filter.target_of(line) in OUR_CHAINS]
    if old != jumps:
        lines += [line.replace(" behind a drop", "").replace("-A ", "-D ", 1) for line in old]
        lines += [f"-I {line.split()[1]} 1 {line.split(' ', 2)[2]}" for line in jumps]
    gone = [chain for chain in OUR_CHAINS if chain in table.rules and chain not in chains]
    return [*lines, *(f"-F {chain}" for chain in gone), *(f"-X {chain}" for chain in gone)]
