# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules that ufw has written down, in their order, and where Docker stands to them."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .model import NOT_FOUND, OURS, EgressError, Run

FILES = {4: "/etc/ufw/user.rules", 6: "/etc/ufw/user6.rules"}
SETTINGS = "/etc/default/ufw"
ANY = {4: "0.0.0.0/0", 6: "::/0"}
# The names of ufw's chain for routed traffic, and the programs that show it.
FORWARD = {4: ("iptables", "ufw-user-forward"), 6: ("ip6tables", "ufw6-user-forward")}
_MARK = "### tuple ###"
_COMMENT = "comment="
_FIELDS = 7


@dataclass(frozen=True)
class Rule:
    """One rule. C(match) is all but its action and its comment."""

    version: int
    action: str
    match: str
    comment: str = ""

    @property
    def ours(self) -> bool:
        """Whether we made it."""
        return self.comment == OURS

    @property
    def opens(self) -> bool:
        """Whether it lets through."""
        return self.action == "allow"

    @property
    def way(self) -> str:
        """The chain that it lies in."""
        if self.match.startswith("route"):
            return "route"
        return self.match.rpartition(" ")[2].partition("_")[0]

    @property
    def line(self) -> str:
        """As people read it."""
        return f"IPv{self.version} {self.action} {self.match}"


def rules(run: Run, version: int) -> list[Rule]:
    """In their order; none where there is no ufw."""
    _status, output, _error = run(["cat", FILES[version]])
    lines = [line[len(_MARK) :].split() for line in output.splitlines() if line.startswith(_MARK)]
    return [_rule(version, words) for words in lines if len(words) >= _FIELDS]


def _rule(version: int, words: list[str]) -> Rule:
    comment = ""
    if words[-1].startswith(_COMMENT):
        comment = bytes.fromhex(words.pop()[len(_COMMENT) :]).decode("utf-8", "replace")
    head, _colon, action = words[0].rpartition(":")
    # What is logged matches no differently.
    action = action.partition("_")[0]
    return Rule(version, action, " ".join([*([head] if head else []), *words[1:]]), comment)


def ask(run: Run, *words: str) -> str:
    """The answer of ufw, in English."""
    status, output, error = run(["env", "LC_ALL=C", "ufw", *words])
    if status != 0:
        raise EgressError(
            f"`ufw {' '.join(words)}` failed: {(error or output).strip()[-500:]}",
            next_step="Look what `ufw status verbose` says.",
        )
    return output


def active(run: Run) -> bool:
    """Whether ufw is there and switched on."""
    status, output, _error = run(["env", "LC_ALL=C", "ufw", "status"])
    return status == 0 and "Status: active" in output


def number(run: Run) -> tuple[int, ...]:
    """The version of ufw."""
    words = ask(run, "version").split()
    found = next((word for word in words if word[0].isdigit()), "0")
    return tuple(int(part) for part in found.split(".") if part.isdigit())


def six(run: Run) -> bool:
    """Whether ufw deals with IPv6."""
    _status, output, _error = run(["cat", SETTINGS])
    value = ""
    for line in output.splitlines():
        if line.strip().startswith("IPV6="):
            value = line.partition("=")[2].strip().strip("'\"").lower()
    return value == "yes"


def chain(run: Run, version: int, name: str) -> list[list[str]] | None:
    """Rules of a chain as words, or None where there is none."""
    status, output, _error = run([FORWARD[version][0], "-w", "-S", name])
    if status == NOT_FOUND or status != 0:
        return None
    return [line.split() for line in output.splitlines() if line.startswith("-A ")]


def target(rule: t.Sequence[str]) -> str:
    """Where a rule jumps to."""
    return rule[rule.index("-j") + 1] if "-j" in rule[:-1] else ""
