# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the iptables backend reads and changes, in tables that are lists; the real ones are in tests/docker."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.iptables import Iptables
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.iptables_filter import parse, target_of
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import (
    NOT_FOUND,
    EgressError,
    Endpoint,
    Opening,
    Wanted,
)

WANTED = Wanted("iptables", (Endpoint("192.0.2.1", 443),))
HOST = Opening("host", 4, "tcp", 443, "192.0.2.1")
SIX = Opening("host", 6, "udp", 53)
BRIDGES = Opening("containers", 4, "tcp", 443, "192.0.2.1")
SETUP = Opening("setup", 4, "tcp", 443)
SOURCE = Opening("containers", 4, "tcp", 443, "192.0.2.1", "172.30.1.0/24")
OUT, FWD = "BITWARDEN-EGRESS-OUT", "BITWARDEN-EGRESS-FWD"
COMMENT = "-m comment --comment bitwarden-egress"
DROP_OUT = "-A OUTPUT -j DROP"
DOCKER = [":DOCKER - [0:0]", ":DOCKER-USER - [0:0]", "-A FORWARD -j DOCKER-USER", "-A FORWARD -j DOCKER"]


class Tables:
    """iptables-save and iptables-restore, for the table filter of both versions."""

    def __init__(self, *four: str, six: tuple[str, ...] | None = ()) -> None:
        self.chains: dict[str, dict[str, list[str]]] = {}
        self.policies: dict[str, dict[str, str]] = {}
        self.status = 0
        self.refuses = 0
        self.said = ""
        self.scripts: list[str] = []
        for program, lines in (("iptables", four), ("ip6tables", six)):
            if lines is not None:
                self.chains[program] = {"INPUT": [], "FORWARD": [], "OUTPUT": []}
                self.policies[program] = {}
                self.do(program, lines)

    def do(self, program: str, lines: Any) -> None:
        chains = self.chains[program]
        for line in lines:
            if line.startswith(":"):
                name, policy = line[1:].split()[:2]
                chains[name] = []
                if policy != "-":
                    self.policies[program][name] = policy
                continue
            flag, chain, *rest = line.split(" ", 2)
            rule = f"-A {chain} {rest[0] if rest else ''}"
            if flag == "-A":
                chains[chain].append(rule)
            elif flag == "-I":
                chains[chain].insert(0, f"-A {chain} {rest[0].removeprefix('1 ')}")
            elif flag == "-D":
                chains[chain].remove(rule)
            elif flag == "-F":
                chains[chain].clear()
            else:
                assert flag == "-X" and not chains[chain]
                assert not any(target_of(one) == chain for rules in chains.values() for one in rules), "in use"
                del chains[chain]

    def __call__(self, argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        program, _dash, what = argv[0].partition("-")
        if program not in self.chains:
            return NOT_FOUND, "", "not there"
        if what == "save":
            chains = self.chains[program]
            lines = [f":{name} {self.policies[program].get(name, '-')} [0:0]" for name in chains]
            lines += [rule for rules in chains.values() for rule in rules]
            text = "\n".join(
                ["# made", "*nat", ":OUTPUT DROP [0:0]", "-A OUTPUT -j DROP", "COMMIT", "*filter", *lines, ""]
            )
            return self.status, text if not self.status else "", self.said
        if what == "restore":
            assert argv[1:] == ["-w", "10", "--noflush"] and stdin.startswith("*filter\n")
            self.scripts.append(stdin)
            if self.refuses:
                self.refuses -= 1
                return 1, "", "line 2 failed"
            self.do(program, stdin.splitlines()[1:-1])
        return 0, "", ""

    def rules(self, program: str = "iptables") -> list[str]:
        return [rule for rules in self.chains[program].values() for rule in rules]


@pytest.mark.parametrize(
    ("lines", "active"),
    [
        ([], False),
        ([DROP_OUT], True),
        (["-A INPUT -j DROP"], False),
        ([":OUTPUT DROP [0:0]"], True),
        ([":OUTPUT ACCEPT [0:0]"], False),
        ([":FORWARD DROP [0:0]"], True),
        # Docker's own policy and chains close nothing.
        ([":FORWARD DROP [0:0]", *DOCKER, "-A DOCKER -j DROP"], False),
        ([*DOCKER, "-A DOCKER-USER -j REJECT"], True),
        ([":X - [0:0]", "-A OUTPUT -g X", "-A X -j REJECT --reject-with icmp-port-unreachable"], True),
        ([":X - [0:0]", "-A OUTPUT -j X", "-A X -j LOG", "-A X -j OUTPUT"], False),
        (["-A OUTPUT -p tcp -j ACCEPT", "-A OUTPUT -m set"], False),
    ],
)
def test_it_serves_where_people_closed_a_path(lines: list[str], active: bool) -> None:
    assert Iptables(Tables(*lines)).active() is active
    assert Iptables(Tables(six=tuple(lines))).active() is active


def test_without_the_programs_there_is_nothing() -> None:
    def missing(argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        return NOT_FOUND, "", "not there"

    backend = Iptables(missing)
    assert not backend.active() and backend.current() == backend.plan([HOST]) == ""
    assert [text.split(" ")[0] for text in backend.refusals(WANTED)] == ["iptables", "ip6tables"]
    backend.apply([HOST])
    only_four = Iptables(Tables(six=None))
    assert ["IPv6" in text for text in only_four.refusals(WANTED)] == [True]
    assert only_four.refusals(Wanted("iptables", (), ip_versions=(4,))) == []


def test_the_host_s_openings_come_before_any_drop() -> None:
    tables = Tables(DROP_OUT)
    backend = Iptables(tables)
    backend.apply([HOST, SIX])
    assert tables.chains["iptables"]["OUTPUT"] == [f"-A OUTPUT {COMMENT} -j {OUT}", DROP_OUT]
    assert tables.chains["iptables"][OUT] == [f"-A {OUT} -d 192.0.2.1/32 -p tcp -m tcp --dport 443 -j ACCEPT"]
    assert tables.chains["ip6tables"][OUT] == [f"-A {OUT} -p udp -m udp --dport 53 -j ACCEPT"]
    assert FWD not in tables.chains["iptables"]
    assert backend.current() == backend.plan([SIX, HOST])
    backend.apply([HOST, SIX])
    assert len(tables.scripts) == 2


def test_an_address_of_ipv6_is_one_host() -> None:
    backend = Iptables(Tables())
    assert "-d 2001:db8::1/128 -p tcp" in backend.plan([Opening("host", 6, "tcp", 443, "2001:db8::1")])


def test_of_containers_the_answers_come_back_and_nothing_gets_in() -> None:
    tables = Tables("-A FORWARD -j DROP")
    Iptables(tables).apply([BRIDGES, SETUP])
    assert tables.chains["iptables"]["FORWARD"][0] == f"-A FORWARD {COMMENT} -j {FWD}"
    replies = "-m conntrack --ctstate ESTABLISHED -j ACCEPT"
    assert tables.chains["iptables"][FWD] == [
        f"-A {FWD} -s 192.0.2.1/32 -o br-+ -p tcp -m tcp --sport 443 {replies}",
        f"-A {FWD} -o docker0 -p tcp -m tcp --sport 443 {replies}",
        f"-A {FWD} -o br-+ -j RETURN",
        f"-A {FWD} -o docker0 -j RETURN",
        f"-A {FWD} -d 192.0.2.1/32 -i br-+ -p tcp -m tcp --dport 443 -j ACCEPT",
        f"-A {FWD} -i docker0 -p tcp -m tcp --dport 443 -j ACCEPT",
    ]
    assert OUT not in tables.chains["iptables"]


def test_a_network_that_is_named_takes_the_place_of_the_bridges() -> None:
    plan = Iptables(Tables()).plan([SOURCE])
    assert f"-A {FWD} -s 172.30.1.0/24 -d 192.0.2.1/32 -p tcp -m tcp --dport 443 -j ACCEPT" in plan
    assert f"-A {FWD} -s 192.0.2.1/32 -d 172.30.1.0/24 -p tcp -m tcp --sport 443 -m conntrack" in plan


@pytest.mark.parametrize(
    ("lines", "chain"),
    [
        (DOCKER, "DOCKER-USER"),
        (["-A FORWARD -j ACCEPT", *DOCKER], "DOCKER-USER"),
        # A drop before Docker's chain would be met first.
        (["-A FORWARD -j DROP", *DOCKER], "FORWARD"),
        (DOCKER[:2], "FORWARD"),
        ([], "FORWARD"),
    ],
)
def test_the_jump_lies_where_packets_reach_it_before_a_drop(lines: list[str], chain: str) -> None:
    tables = Tables(*lines)
    backend = Iptables(tables)
    backend.apply([BRIDGES])
    assert tables.chains["iptables"][chain][0] == f"-A {chain} {COMMENT} -j {FWD}"
    assert backend.current() == backend.plan([BRIDGES])


def test_a_jump_behind_a_drop_that_came_later_is_put_first_again() -> None:
    tables = Tables(DROP_OUT)
    backend = Iptables(tables)
    backend.apply([HOST])
    jump = tables.chains["iptables"]["OUTPUT"][0]
    tables.chains["iptables"]["OUTPUT"] = ["-A OUTPUT -p tcp -j ACCEPT", jump]
    assert backend.current() == backend.plan([HOST])
    tables.chains["iptables"]["OUTPUT"] = [DROP_OUT, jump]
    assert "behind a drop" in backend.current()
    assert backend.current() != backend.plan([HOST])
    backend.apply([HOST])
    assert tables.chains["iptables"]["OUTPUT"] == [jump, DROP_OUT]


def test_rules_change_without_the_jump_being_touched_and_go_without_a_trace() -> None:
    tables = Tables(DROP_OUT, *DOCKER)
    before = tables.rules()
    backend = Iptables(tables)
    backend.apply([HOST, BRIDGES])
    tables.scripts.clear()
    backend.apply([Opening("host", 4, "tcp", 8443, "192.0.2.9"), BRIDGES])
    assert len(tables.scripts) == 1 and "-I" not in tables.scripts[0] and "-D" not in tables.scripts[0]
    assert any("192.0.2.9/32" in rule for rule in tables.rules())
    assert not any("--dport 443" in rule for rule in tables.chains["iptables"][OUT])
    backend.apply([BRIDGES])
    assert OUT not in tables.chains["iptables"] and FWD in tables.chains["iptables"]
    backend.remove()
    assert tables.rules() == before and backend.current() == ""
    assert not {OUT, FWD} & set(tables.chains["iptables"])


def test_an_empty_chain_that_was_left_is_seen_and_taken_away() -> None:
    tables = Tables(f":{OUT} - [0:0]")
    backend = Iptables(tables)
    assert backend.current() == f"iptables :{OUT}\n"
    backend.remove()
    assert backend.current() == ""


@pytest.mark.parametrize(("refuses", "attempts"), [(2, 3), (3, 3)])
def test_a_table_that_changes_meanwhile_is_read_again_three_times(refuses: int, attempts: int) -> None:
    tables = Tables(DROP_OUT)
    tables.refuses = refuses
    backend = Iptables(tables)
    if refuses < attempts:
        backend.apply([HOST])
        assert backend.current() == backend.plan([HOST])
    else:
        with pytest.raises(EgressError, match=r"iptables-restore did not take the change.* line 2 failed"):
            backend.apply([HOST])
    assert len(tables.scripts) == attempts


def test_what_cannot_be_read_is_told() -> None:
    tables = Tables()
    tables.status, tables.said = 4, "Permission denied (you must be root)"
    with pytest.raises(EgressError, match="cannot read the filter table: Permission denied") as error:
        Iptables(tables).current()
    assert error.value.next_step


def test_rules_of_the_other_generation_are_told_once() -> None:
    tables = Tables()
    tables.said = "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n"
    told = Iptables(tables).warnings(WANTED)
    assert told == ["Warning: iptables-legacy tables present, use iptables-legacy-save to see them"]

    def by_output(argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        return 0, tables.said, ""

    assert Iptables(by_output).warnings(WANTED) == told


def test_its_rules_are_gone_after_a_reboot() -> None:
    assert not Iptables(Tables()).durable


def test_without_a_table_there_is_none() -> None:
    assert not parse("*nat\n:OUTPUT DROP [0:0]\nCOMMIT\n").there
    assert parse("*filter\n:OUTPUT DROP [0:0]\n-A NEW -j DROP\n").rules == {"OUTPUT": [], "NEW": ["-A NEW -j DROP"]}
    assert target_of("-A OUTPUT -m comment --comment 'a -j b'") == ""
