# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the nftables backend reads and what it asks nft to do; the real one is asked in tests/docker."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import (
    NOT_FOUND,
    EgressError,
    Endpoint,
    Opening,
    Wanted,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.nft_ruleset import parse
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.nftables import Nftables

WANTED = Wanted("nftables", (Endpoint("192.0.2.1", 443),))
HOST = Opening("host", 4, "tcp", 443, "192.0.2.1")
ANY6 = Opening("host", 6, "udp", 53)
BRIDGES = Opening("containers", 4, "tcp", 443, "192.0.2.1")
SETUP = Opening("setup", 4, "tcp", 443)
SOURCE = Opening("containers", 4, "tcp", 443, "192.0.2.1", "172.30.1.0/24")
OURS = "bitwarden-egress"
DROP: dict[str, Any] = {"drop": None}


class Nft:
    """nft with its ruleset as JSON; it does what its scripts say, with rules as their text."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = list(objects)
        self.handle = 100
        self.refuses, self.status, self.said = 0, 0, ""
        self.saves: dict[str, tuple[int, str]] = {}
        self.scripts: list[str] = []

    def __call__(self, argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        if argv[0].endswith("-nft-save"):
            return (*self.saves.get(argv[0], (1, "")), "")
        if argv[1:] == ["-j", "list", "ruleset"]:
            text = self.said or json.dumps({"nftables": [{"metainfo": {}}, *self.objects]})
            return self.status, text if not self.status else "", "no right" if self.status else ""
        if argv[1:] == ["-f", "-"]:
            self.scripts.append(stdin)
            if self.refuses:
                self.refuses -= 1
                return 1, "", "line 1: busy"
            for line in stdin.splitlines():
                self.do(line)
        return 0, "", ""

    def find(self, kind: str, family: str, table: str, name: str) -> dict[str, Any] | None:
        key = {"family": family, "table": table, "name": name}
        return next((one[kind] for one in self.objects if kind in one and key.items() <= one[kind].items()), None)

    def do(self, line: str) -> None:
        verb, kind, family, table, name, *rest = line.split(" ", 5)
        place = {"family": family, "table": table}
        text = rest[0] if rest else ""
        if (verb, kind) == ("add", "set"):
            self.objects.append({"set": {**place, "name": name, "type": text}})
        elif kind == "element":
            found = self.find("set", family, table, name)
            assert found is not None
            there = found.setdefault("elem", [])
            for one in re.sub(r"[{}]", "", text).split(","):
                parts = [int(part) if part.isdigit() else part for part in one.strip().split(" . ")]
                if verb == "add":
                    there.append({"concat": parts})
                else:
                    there.remove({"concat": parts})
        elif (verb, kind) == ("add", "chain"):
            if not self.find("chain", family, table, name):
                self.objects.append({"chain": {**place, "name": name}})
        elif verb in ("flush", "delete") and kind == "chain":
            key = {**place, "chain": name}
            self.objects = [one for one in self.objects if "rule" not in one or not key.items() <= one["rule"].items()]
            if verb == "delete":
                self.objects = [one for one in self.objects if one.get("chain", {}) != {**place, "name": name}]
        elif (verb, kind) == ("delete", "rule"):
            number = int(text.split()[1])
            self.objects = [one for one in self.objects if one.get("rule", {}).get("handle") != number]
        elif (verb, kind) == ("delete", "set"):
            self.objects.remove({"set": self.find("set", family, table, name)})
        else:
            assert kind == "rule"
            self.handle += 1
            body, comment = re.fullmatch(r'(.+) comment "(.+)"', text).groups()  # type: ignore[union-attr]  # it fits
            last = body.split()[-2:]
            end: Any = {"jump": {"target": last[1]}} if last[0] == "jump" else {last[1]: None}
            rule = {**place, "chain": name, "handle": self.handle, "comment": comment, "expr": [end]}
            first = next((at for at, one in enumerate(self.objects) if one.get("rule", {}).get("chain") == name), None)
            at = first if verb == "insert" and first is not None else len(self.objects)
            self.objects.insert(at, {"rule": {**rule, "text": body}})

    def texts(self, chain: str) -> list[str]:
        return [one["rule"].get("text", "theirs") for one in self.objects if one.get("rule", {}).get("chain") == chain]


def table(family: str = "inet", name: str = "mine", **more: Any) -> dict[str, Any]:
    return {"table": {"family": family, "name": name, **more}}


def chain(
    name: str = "out", hook: str | None = "output", policy: str = "accept", family: str = "inet", of: str = "mine"
) -> dict[str, Any]:
    based = {"type": "filter", "hook": hook, "policy": policy} if hook else {}
    return {"chain": {"family": family, "table": of, "name": name, **based}}


def rule(*expr: dict[str, Any], chain: str = "out", family: str = "inet", of: str = "mine", **more: Any) -> Any:
    return {"rule": {"family": family, "table": of, "chain": chain, "handle": 7, "expr": list(expr), **more}}


CLOSED = (table(), chain(), rule(DROP))
FORWARD = (table(), chain("fwd", "forward", "drop"))


@pytest.mark.parametrize(
    ("objects", "active"),
    [
        ([], False),
        (CLOSED, True),
        ([table(), chain(policy="drop")], True),
        (FORWARD, True),
        ([table(), chain("in", "input", "drop")], False),
        ([table(), chain(), rule({"accept": None})], False),
        ([table(), chain(), rule({"reject": {"type": "icmp"}})], True),
        ([table(), chain(), rule({"queue": {}})], True),
        ([table(), chain(), rule({"vmap": {"key": "x", "data": "@verdicts"}})], True),
        ([table(), chain(), rule({"vmap": {"key": "x", "data": {"set": [[1, {"accept": None}]]}}})], False),
        ([table(), chain(), rule({"vmap": {"key": "x", "data": {"set": [[1, {"drop": None}]]}}})], True),
        ([table(), chain(), chain("x", None), rule({"jump": {"target": "x"}}), rule(DROP, chain="x")], True),
        ([table(), chain(), chain("x", None), rule({"goto": {"target": "x"}}), rule(DROP, chain="x")], True),
        ([table(), chain(), chain("x", None), rule({"jump": {"target": "x"}})], False),
        ([table(), chain(), chain("x", None), rule({"jump": {"target": "x"}}),
          rule({"jump": {"target": "x"}}, chain="x")], False),
        ([table(), chain(), rule({"jump": {"target": "nowhere"}})], False),
        ([table(), {"chain": {**chain(policy="drop")["chain"], "type": "nat"}}], False),
        # Programs that write tables as they like.
        ([table(name="firewalld"), chain(of="firewalld", policy="drop")], False),
    ],
)  # fmt: skip
def test_it_serves_where_somebody_wrote_a_drop_by_hand(objects: list[dict[str, Any]], active: bool) -> None:
    assert Nftables(Nft(*objects)).active() is active


@pytest.mark.parametrize(
    ("family", "name", "saved", "active"),
    [
        ("ip", "filter", (0, "*filter"), False),
        ("ip6", "filter", (0, "*filter"), False),
        ("ip", "filter", (0, "# Table `filter' is incompatible, use 'nft' tool."), True),
        ("ip", "filter", (1, "no such program"), True),
        ("ip", "mine", (0, "*mine"), True),
        ("inet", "filter", (0, "*filter"), True),
    ],
)
def test_what_iptables_can_read_is_iptables_own(family: str, name: str, saved: Any, active: bool) -> None:
    nft = Nft(table(family, name), chain(policy="drop", family=family, of=name))
    nft.saves = {"iptables-nft-save": saved, "ip6tables-nft-save": saved}
    assert Nftables(nft).active() is active


def test_without_nft_there_is_nothing() -> None:
    def missing(argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        return NOT_FOUND, "", "not there"

    backend = Nftables(missing)
    assert not backend.active() and backend.current() == backend.plan([HOST]) == ""
    assert backend.refusals(WANTED) == [
        "nft is not there. Next step: install the package nftables, or name another backend."
    ]
    backend.apply([HOST])
    assert not backend.durable


def test_a_table_that_belongs_to_a_running_program_is_refused_where_it_matters() -> None:
    for flags in ("owner", ["owner", "persist"]):
        backend = Nftables(Nft(table(flags=flags), chain("fwd", "forward", "drop")))
        assert "belongs to a running program" in backend.refusals(WANTED)[0]
        assert backend.refusals(Wanted("nftables", (), containers=False, setup=False)) == []
    assert Nftables(Nft(*CLOSED)).refusals(WANTED) == []
    assert Nftables(Nft(table(flags=["dormant"]), *CLOSED[1:])).refusals(WANTED) == []


def test_the_host_s_openings_come_before_any_drop() -> None:
    nft = Nft(*CLOSED)
    backend = Nftables(nft)
    backend.apply([HOST, ANY6])
    assert nft.texts("out") == [f"jump {OURS}-output", "theirs"]
    assert nft.texts(f"{OURS}-output") == [
        f"ip daddr . meta l4proto . th dport @{OURS}-host4 accept",
        f"meta nfproto ipv6 meta l4proto . th dport @{OURS}-host6-any accept",
    ]
    assert f"add set inet mine {OURS}-host4 {{ type ipv4_addr . inet_proto . inet_service; }}" in nft.scripts[0]
    assert f"add set inet mine {OURS}-host6-any {{ type inet_proto . inet_service; }}" in nft.scripts[0]
    assert backend.current() == backend.plan([ANY6, HOST])
    assert f"inet mine {OURS}-host4: 192.0.2.1 . tcp . 443\n" in backend.current()
    backend.apply([HOST, ANY6])
    assert len(nft.scripts) == 1


@pytest.mark.parametrize(("family", "mine"), [("ip", [HOST]), ("ip6", [ANY6]), ("arp", []), ("inet", [HOST, ANY6])])
def test_a_table_gets_what_is_of_its_family(family: str, mine: list[Opening]) -> None:
    backend = Nftables(Nft(table(family), chain(policy="drop", family=family)))
    plan = backend.plan([HOST, ANY6])
    assert plan == backend.plan(mine)
    assert bool(plan) is bool(mine)


def test_of_containers_the_answers_come_back_and_nothing_gets_in() -> None:
    nft = Nft(*FORWARD)
    backend = Nftables(nft)
    backend.apply([BRIDGES, SETUP, HOST])
    assert nft.texts(f"{OURS}-forward") == [
        f'oifname "br-*" ip saddr . meta l4proto . th sport @{OURS}-containers4 ct state established accept',
        f'oifname "docker0" meta nfproto ipv4 meta l4proto . th sport @{OURS}-setup4-any ct state established accept',
        'oifname "br-*" return',
        'oifname "docker0" return',
        f'iifname "br-*" ip daddr . meta l4proto . th dport @{OURS}-containers4 accept',
        f'iifname "docker0" meta nfproto ipv4 meta l4proto . th dport @{OURS}-setup4-any accept',
    ]
    # Nothing closes the host's own way.
    assert "output" not in backend.current()
    assert backend.current() == backend.plan([BRIDGES, SETUP])


def test_a_network_that_is_named_takes_the_place_of_the_bridges() -> None:
    nft = Nft(*FORWARD)
    other = Opening("containers", 4, "tcp", 443, "192.0.2.1", "172.31.0.0/16")
    Nftables(nft).apply([SOURCE, other])
    texts = nft.texts(f"{OURS}-forward")
    assert f"ip saddr 172.30.1.0/24 ip daddr . meta l4proto . th dport @{OURS}-containers4-1 accept" in texts
    assert f"ip saddr 172.31.0.0/16 ip daddr . meta l4proto . th dport @{OURS}-containers4-2 accept" in texts
    replies = f"ip daddr 172.30.1.0/24 ip saddr . meta l4proto . th sport @{OURS}-containers4-1 ct state established"
    assert f"{replies} accept" in texts


def test_only_elements_change_where_the_rules_stay() -> None:
    nft = Nft(*CLOSED)
    backend = Nftables(nft)
    backend.apply([HOST])
    nft.scripts.clear()
    backend.apply([Opening("host", 4, "tcp", 443, "192.0.2.9")])
    assert nft.scripts == [
        f"add element inet mine {OURS}-host4 {{ 192.0.2.9 . tcp . 443 }}\n"
        f"delete element inet mine {OURS}-host4 {{ 192.0.2.1 . tcp . 443 }}\n"
    ]
    before = [*CLOSED]
    backend.remove()
    assert nft.objects == before and backend.current() == ""


def test_a_jump_behind_a_drop_that_came_later_or_twice_is_made_one_again() -> None:
    nft = Nft(*CLOSED)
    backend = Nftables(nft)
    backend.apply([HOST])
    at = next(number for number, one in enumerate(nft.objects) if one.get("rule", {}).get("comment") == OURS)
    nft.objects.append(nft.objects.pop(at))
    assert "behind a drop" in backend.current()
    backend.apply([HOST])
    assert nft.texts("out") == [f"jump {OURS}-output", "theirs"]
    jump = next(one for one in nft.objects if one.get("rule", {}).get("comment") == OURS)
    nft.objects.insert(nft.objects.index(jump), {"rule": {**jump["rule"], "handle": 999}})
    assert backend.current().count("twice") == 1
    backend.apply([HOST])
    assert nft.texts("out") == [f"jump {OURS}-output", "theirs"]
    assert backend.current() == backend.plan([HOST])


@pytest.mark.parametrize(
    ("number", "verdict", "said"),
    [(0, {"drop": None}, "nothing"), (0, {"return": None}, "return"), (2, {"accept": None}, "accept")],
)
def test_a_rule_of_ours_that_does_something_else_now_is_made_anew(number: int, verdict: Any, said: str) -> None:
    nft = Nft(*FORWARD)
    backend = Nftables(nft)
    # Beside the rules themselves, a return.
    backend.apply([BRIDGES, SETUP])
    mine = [one for one in nft.objects if one.get("rule", {}).get("chain") == f"{OURS}-forward"]
    mine[number]["rule"]["expr"] = [verdict]
    assert f": {said}\n" in backend.current()
    backend.apply([BRIDGES, SETUP])
    assert backend.current() == backend.plan([BRIDGES, SETUP])


def test_a_rule_of_somebody_else_in_our_chain_is_taken_away() -> None:
    nft = Nft(*CLOSED)
    backend = Nftables(nft)
    backend.apply([HOST])
    nft.objects.append(rule({"accept": None}, chain=f"{OURS}-output"))
    assert "a rule of somebody else" in backend.current()
    backend.apply([HOST])
    assert backend.current() == backend.plan([HOST])


def test_what_lies_in_a_table_that_closes_no_more_is_taken_away() -> None:
    nft = Nft(*CLOSED)
    backend = Nftables(nft)
    backend.apply([HOST])
    nft.objects.remove(CLOSED[2])
    backend.apply([HOST])
    assert backend.current() == "" and nft.objects == [*CLOSED[:2]]


@pytest.mark.parametrize(("refuses", "attempts"), [(2, 3), (3, 3)])
def test_a_ruleset_that_changes_meanwhile_is_read_again_three_times(refuses: int, attempts: int) -> None:
    nft = Nft(*CLOSED)
    nft.refuses = refuses
    backend = Nftables(nft)
    if refuses < attempts:
        backend.apply([HOST])
        assert backend.current() == backend.plan([HOST])
    else:
        with pytest.raises(EgressError, match="nft did not take the change, so nothing was changed: line 1: busy"):
            backend.apply([HOST])
    assert len(nft.scripts) == attempts


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (1, "", "cannot be read: no right"),
        (0, "nothing", "not its JSON"),
        (0, "{}", "not its JSON"),
        (0, "[]", "not its"),
    ],
)
def test_a_ruleset_that_cannot_be_read_is_told(status: int, said: str, words: str) -> None:
    nft = Nft()
    nft.status, nft.said = status, said
    with pytest.raises(EgressError, match=words) as error:
        Nftables(nft).current()
    assert error.value.next_step


def test_elements_are_read_in_each_form() -> None:
    made = {
        "set": {
            "family": "inet",
            "table": "mine",
            "name": f"{OURS}-x",
            "elem": [{"concat": [6, 443]}, {"concat": ["192.0.2.1", 17, 53]}],
        }
    }
    theirs = {"set": {"family": "inet", "table": "mine", "name": "theirs", "elem": ["x"]}}
    (found,) = parse([table(), made, theirs])
    assert found.sets == {f"{OURS}-x": {"tcp . 443", "192.0.2.1 . udp . 53"}}
