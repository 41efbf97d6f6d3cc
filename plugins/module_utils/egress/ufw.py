# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ufw: rules with a comment of our own, ahead of what others deny."""

from __future__ import annotations

import typing as t

from . import ufw_read as read
from .model import BRIDGES, CONTAINERS, DEFAULT_BRIDGE, HOST, OURS, SETUP, Backend, EgressError, Opening, Wanted
from .ufw_read import ANY, Rule

_INTERFACES = {CONTAINERS: f"{BRIDGES}+", SETUP: DEFAULT_BRIDGE}
_USER, _FORWARD = "DOCKER-USER", "FORWARD"
_CLOSING = ("DROP", "REJECT")
# `ufw prepend` and route rules with comments.
_OLDEST = (0, 36)


class Ufw(Backend):
    """One rule for each address, since ufw has no sets."""

    name = "ufw"
    durable = True

    def active(self) -> bool:
        """Whether it is there and switched on."""
        return read.active(self.run)

    def refusals(self, wanted: Wanted) -> list[str]:
        """A ufw that is off, too old or without IPv6, and Docker's chain where it closes without asking ufw."""
        if not read.active(self.run):
            return ["ufw is not active. Next step: `ufw enable`, or choose another backend."]
        if read.number(self.run) < _OLDEST:
            return ["This ufw is older than 0.36 and cannot put a rule first. Next step: update it."]
        found = []
        if 6 in wanted.ip_versions and not read.six(self.run):  # noqa: PLR2004 - IP's version
            found.append(
                "ufw has IPV6=no in /etc/default/ufw and leaves IPv6 alone, so it cannot open it. "
                "Next step: leave 6 out of ip_versions, or set IPV6=yes and run `ufw reload`."
            )
        if wanted.containers or wanted.setup:
            found += [reason for version in wanted.ip_versions for reason in self._unasked(version, closed=True)]
        return found

    def warnings(self, wanted: Wanted) -> list[str]:
        """Where Docker lets containers through before ufw sees them."""
        if not (wanted.containers or wanted.setup) or not read.active(self.run):
            return []
        return [reason for version in wanted.ip_versions for reason in self._unasked(version, closed=False)]

    def plan(self, openings: t.Sequence[Opening]) -> str:
        """The rules that are not somebody else's already."""
        foreign = {(rule.version, rule.match) for rule in self._all() if not rule.ours and rule.opens}
        return _text(rule for rule in map(_rule, openings) if (rule.version, rule.match) not in foreign)

    def current(self) -> str:
        """Our rules, and which of them stand behind something that others deny."""
        found = self._all()
        late = _late(found)
        return _text((rule for rule in found if rule.ours), late)

    def apply(self, openings: t.Sequence[Opening]) -> None:
        """Adds before it deletes."""
        if not read.active(self.run):
            raise EgressError("ufw is not active.", next_step="Switch it on with `ufw enable`.")
        found = self._all()
        _check_denied(found, openings)
        foreign = {(rule.version, rule.match) for rule in found if not rule.ours}
        wanted = {_rule(one): one for one in openings}
        wanted = {rule: one for rule, one in wanted.items() if (rule.version, rule.match) not in foreign}
        ours = {rule for rule in found if rule.ours}
        # What stands behind a denial opens nothing, and ufw moves no rule.
        for rule in _late(found) & set(wanted):
            self._delete(rule)
            ours.discard(rule)
        denied = {(rule.version, rule.way) for rule in found if not rule.ours and not rule.opens}
        for rule in sorted(set(wanted) - ours, key=_order):
            # A rule put first makes ufw load all of its rules anew, so it is done only where it matters.
            self._add(rule, first=(rule.version, rule.way) in denied)
        for rule in sorted(ours - set(wanted), key=_order):
            self._delete(rule)

    def remove(self) -> None:
        """Rules with our comment; a ufw that is off has them in its files all the same."""
        for rule in sorted({rule for rule in self._all() if rule.ours}, key=_order):
            self._delete(rule)

    def _all(self) -> list[Rule]:
        return [rule for version in read.FILES for rule in read.rules(self.run, version)]

    def _add(self, rule: Rule, *, first: bool) -> None:
        route, words = _command(rule)
        verb = ["prepend"] if first else []
        read.ask(self.run, *route, *verb, rule.action, *words, "comment", OURS)

    def _delete(self, rule: Rule) -> None:
        route, words = _command(rule)
        read.ask(self.run, *route, "delete", rule.action, *words)

    def _unasked(self, version: int, *, closed: bool) -> list[str]:
        """Docker's way around ufw: where it is closed there, or where it is open."""
        chain = read.chain(self.run, version, _USER) or []
        asks, drops = _asks(chain, read.FORWARD[version][1])
        if asks or self._asked_first(version):
            return []
        where = f"IPv{version}: {_USER}"
        if drops and closed:
            return [
                f"{where} drops traffic of containers before ufw is asked, so ufw cannot open it. Next step: have "
                f"{_USER} jump to {read.FORWARD[version][1]} first, as ufw-docker does, or use backend iptables."
            ]
        if not drops and not closed:
            return [
                f"{where} does not ask ufw, so Docker lets its containers through whatever ufw says: they are open "
                "already, and these rules have an effect only from the day on which ufw is asked."
            ]
        return []

    def _asked_first(self, version: int) -> bool:
        """Whether ufw decides since Docker has no rules that come before it."""
        chain = read.chain(self.run, version, _FORWARD) or []
        return not any(read.target(rule).startswith("DOCKER") for rule in chain)


def _asks(chain: list[list[str]], name: str) -> tuple[bool, bool]:
    """Whether the chain comes to ufw's before it closes, and whether it closes at all."""
    targets = [read.target(rule) for rule in chain]
    drops = next((at for at, target in enumerate(targets) if target in _CLOSING), None)
    asked = targets.index(name) if name in targets else None
    return asked is not None and (drops is None or asked < drops), drops is not None


def _rule(one: Opening) -> Rule:
    far = one.address or ANY[one.version]
    near = one.source or ANY[one.version]
    ends = f"{one.protocol} {one.port} {far} any {near}"
    if one.path == HOST:
        return Rule(one.version, "allow", f"{ends} out", OURS)
    interface = "" if one.source else f"_{_INTERFACES[one.path]}"
    return Rule(one.version, "allow", f"route {ends} in{interface}", OURS)


def _command(rule: Rule) -> tuple[list[str], list[str]]:
    """The words of `ufw` before and after the action."""
    words = rule.match.split()
    route = [words.pop(0)] if words[0] == "route" else []
    protocol, port, far, _any, near, way = words
    direction, _line, interface = way.partition("_")
    ends = ["proto", protocol]
    if near != ANY[rule.version]:
        ends += ["from", near]
    ends += ["to", far, "port", port]
    if route:
        return route, [*([direction, "on", interface] if interface else []), *ends]
    return route, [direction, *ends]


def _late(found: list[Rule]) -> set[Rule]:
    """Our rules behind what others deny on the same way."""
    late: set[Rule] = set()
    denied: set[tuple[int, str]] = set()
    for rule in found:
        if rule.ours and (rule.version, rule.way) in denied:
            late.add(rule)
        elif not rule.ours and not rule.opens:
            denied.add((rule.version, rule.way))
    return late


def _check_denied(found: list[Rule], openings: t.Sequence[Opening]) -> None:
    """To ufw a rule with the same ends is the same rule: ours would replace somebody's denial."""
    wanted = {(rule.version, rule.match) for rule in map(_rule, openings)}
    for rule in found:
        if not rule.ours and not rule.opens and (rule.version, rule.match) in wanted:
            raise EgressError(
                f"Somebody denies in ufw exactly what is to be opened: {rule.line}. Nothing was changed.",
                next_step="Have its owner delete that rule, or leave this endpoint out.",
            )


def _order(rule: Rule) -> tuple[int, str]:
    return rule.version, rule.match


def _text(rules: t.Iterable[Rule], late: t.Collection[Rule] = ()) -> str:
    lines = {f"{rule.line}{' behind a denial' if rule in late else ''}\n" for rule in rules}
    return "".join(sorted(lines))
