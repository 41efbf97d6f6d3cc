# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter table of iptables or ip6tables as their save programs print it: who may drop what leaves."""

from __future__ import annotations

import shlex
import typing as t
from dataclasses import dataclass, field

from .model import NOT_FOUND, EgressError, Run

OUT, FORWARD, DOCKER_USER = "OUTPUT", "FORWARD", "DOCKER-USER"
OUR_CHAINS = ("BITWARDEN-EGRESS-OUT", "BITWARDEN-EGRESS-FWD")
PROGRAMS = {4: "iptables", 6: "ip6tables"}
_DOCKERS = "DOCKER"
# Targets after which the packet goes on, or is let through.
_HARMLESS = ("ACCEPT", "AUDIT", "CONNMARK", "CT", "LOG", "MARK", "NFLOG", "RETURN", "SET", "TRACE", "ULOG", *OUR_CHAINS)


@dataclass
class Filter:
    """The filter table; C(there) is False where nobody has made one yet."""

    there: bool = False
    policies: dict[str, str] = field(default_factory=dict)
    rules: dict[str, list[str]] = field(default_factory=dict)

    def can_drop(self, chain: str, seen: tuple[str, ...] = ()) -> bool:
        """Whether a rule of people may drop a packet in this chain, or where it leads to."""
        return any(self.rule_can_drop(rule, (*seen, chain)) for rule in self.rules.get(chain, []))

    def rule_can_drop(self, rule: str, seen: tuple[str, ...] = ()) -> bool:
        """Whether a packet may end at this rule; Docker's own rules let its containers out."""
        target = target_of(rule)
        if not target or target in _HARMLESS or target in seen:
            return False
        if target in self.rules:
            of_docker = target.startswith(_DOCKERS) and target != DOCKER_USER
            return not of_docker and self.can_drop(target, seen)
        return True

    def closes(self, chain: str) -> bool:
        """Whether people closed this path, by rules or by the policy; the policy of FORWARD may be Docker's."""
        by_docker = chain == FORWARD and any(name.startswith(_DOCKERS) for name in self.rules)
        return self.can_drop(chain) or (self.policies.get(chain) == "DROP" and not by_docker)

    def forward_chain(self) -> str:
        """Where our jump for containers belongs: in DOCKER-USER, where packets reach that before any drop."""
        for rule in self.rules.get(FORWARD, []) if DOCKER_USER in self.rules else []:
            if rule == f"-A {FORWARD} -j {DOCKER_USER}":
                return DOCKER_USER
            if self.rule_can_drop(rule):
                break
        return FORWARD


def target_of(rule: str) -> str:
    """Where a rule sends a packet."""
    words = shlex.split(rule)
    for flag in ("-j", "-g"):
        if flag in words[:-1]:
            return words[words.index(flag) + 1]
    return ""


def read(run: Run, version: int) -> Filter:
    """The table, without counters; an empty one where the program is missing."""
    program = f"{PROGRAMS[version]}-save"
    # Asked for one table, the older generation would make it.
    status, output, error = run([program])
    if status == NOT_FOUND:
        return Filter()
    if status != 0:
        raise EgressError(
            f"{program} cannot read the filter table: {(error or output).strip()}.",
            next_step=f"Run as root, and check that `{program}` works on the server.",
        )
    return parse(output)


def parse(output: str) -> Filter:
    """The table in what iptables-save printed."""
    found = Filter()
    table = ""
    for line in output.splitlines():
        if line.startswith("*"):
            table = line
            found.there = found.there or table == "*filter"
        elif table != "*filter":
            continue
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            found.rules[name] = []
            if policy != "-":
                found.policies[name] = policy
        elif line.startswith("-A "):
            found.rules.setdefault(line.split()[1], []).append(line)
    return found


def save_warnings(texts: t.Iterable[str]) -> list[str]:
    """What the save programs say about rules of the other generation of iptables."""
    return sorted({line.lstrip("# ") for text in texts for line in text.splitlines() if "tables present" in line})
