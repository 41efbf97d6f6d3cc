"""The nftables backend on the kernel's own nftables, in network namespaces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress import config, detect
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import PATHS, Opening, Wanted
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.nftables import Nftables
from egress_netns import LISTED, MOVED, OTHER, Namespaces, openings, reached

pytestmark = pytest.mark.docker

INET = """
table inet filter {
  set friends { type ipv4_addr; elements = { 203.0.113.1 } }
  chain input { type filter hook input priority filter; policy accept; }
  chain output { type filter hook output priority filter; policy drop;
    oifname "lo" accept
    ip daddr @friends accept comment "somebody else's"
    meta l4proto ipv6-icmp accept
  }
  chain forward { type filter hook forward priority filter; policy drop;
    iifname "wg0" accept
  }
}
"""
# Two more chains at the same hooks, of other families, one of which drops only where it jumps to.
MORE = """
table ip guard {
  chain deeper { tcp dport 443 reject; }
  chain leaving { type filter hook output priority 10; policy accept; jump deeper; }
  chain passing { type filter hook forward priority -10; policy drop; ct state established accept; }
}
table ip6 guard {
  chain passing { type filter hook forward priority 20; policy drop; }
}
table inet counting { chain output { type filter hook output priority -5; policy accept; counter; }; }
"""


@pytest.fixture
def world() -> Iterator[Namespaces]:
    made = Namespaces(f"bwn{os.getpid()}")
    try:
        made.up()
        yield made
    finally:
        made.down()


def close(world: Namespaces, *rulesets: str) -> str:
    for one in rulesets:
        world.must("nft", "-f", "-", stdin=one)
    return world.must("nft", "-s", "list", "ruleset")


@pytest.mark.parametrize("rulesets", [(INET,), (INET, MORE)], ids=["one table", "several chains at one hook"])
def test_only_what_is_listed_is_open_and_removal_leaves_every_byte(
    world: Namespaces, rulesets: tuple[str, ...]
) -> None:
    assert all(reached(world, *LISTED, *OTHER).values())
    before = close(world, *rulesets)
    assert not any(reached(world, *LISTED).values())
    backend = Nftables(world.run)
    assert backend.active()
    assert backend.current() == ""
    plan = backend.plan(openings(*LISTED))
    assert world.must("nft", "-s", "list", "ruleset") == before, "planning changes nothing"
    backend.apply(openings(*LISTED))
    assert backend.current() == plan
    assert all(reached(world, *LISTED).values())
    assert not any(reached(world, *OTHER).values())
    assert not world.reaches("host", LISTED[0], 8443)
    once = world.must("nft", "-sa", "list", "ruleset")
    backend.apply(openings(*LISTED))
    assert world.must("nft", "-sa", "list", "ruleset") == once
    backend.remove()
    assert world.must("nft", "-s", "list", "ruleset") == before
    assert backend.current() == ""


def test_an_update_adds_before_it_takes_away_and_keeps_everything_else(world: Namespaces) -> None:
    close(world, INET)
    backend = Nftables(world.run)
    backend.apply(openings(*LISTED))
    rules = world.must("nft", "-sa", "list", "chain", "inet", "filter", "bitwarden-egress-output")
    scripts: list[str] = []

    def _watching(argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        scripts.extend([stdin] if argv[:2] == ["nft", "-f"] else [])
        return world.run(argv, stdin)

    Nftables(_watching).apply(openings(*LISTED, *MOVED))
    Nftables(_watching).apply(openings(*MOVED))
    assert len(scripts) == 2, "one transaction each"
    assert not any(word in script for script in scripts for word in ("flush", "delete rule"))
    assert world.must("nft", "-sa", "list", "chain", "inet", "filter", "bitwarden-egress-output") == rules
    assert all(reached(world, *MOVED).values())
    assert not any(reached(world, *LISTED).values())


def test_what_somebody_did_to_our_objects_is_healed(world: Namespaces) -> None:
    before = close(world, INET)
    backend = Nftables(world.run)
    plan = backend.plan(openings(*LISTED))
    for harm in (
        "flush chain inet filter output\nadd rule inet filter output meta l4proto ipv6-icmp accept",
        "insert rule inet filter output tcp dport 443 drop",
        "flush chain inet filter bitwarden-egress-forward",
        "flush set inet filter bitwarden-egress-host4",
        "flush ruleset\n" + INET,
        'insert rule inet filter output jump bitwarden-egress-output comment "bitwarden-egress"',
    ):
        backend.apply(openings(*LISTED))
        world.must("nft", "-f", "-", stdin=harm)
        assert backend.current() != plan, harm
        backend.apply(openings(*LISTED))
        assert backend.current() == plan, harm
        assert all(reached(world, *LISTED).values()), harm
    world.must("nft", "-f", "-", stdin="flush ruleset\n" + INET)
    backend.apply(openings(*LISTED))
    backend.remove()
    assert world.must("nft", "-s", "list", "ruleset") == before


def test_ports_alone_open_any_address_but_not_the_way_between_container_networks(world: Namespaces) -> None:
    before = close(world, INET)
    backend = Nftables(world.run)
    everywhere = [Opening(path, version, "tcp", 443) for path in PATHS for version in (4, 6)]
    backend.apply(everywhere)
    assert backend.current() == backend.plan(everywhere)
    assert all(reached(world, *LISTED, *OTHER).values())
    assert not world.reaches("host", OTHER[0], 8443)
    assert not world.gets_through("containers", "172.17.0.2"), "other people's drops decide between networks"
    world.must("nft", "insert", "rule", "inet", "filter", "forward", "ip", "daddr", "172.17.0.2", "accept")
    world.must("nft", "insert", "rule", "inet", "filter", "forward", "ip", "saddr", "172.17.0.2", "accept")
    assert world.gets_through("containers", "172.17.0.2"), "the check above can tell"
    backend.remove()
    world.must("nft", "-f", "-", stdin="flush ruleset\n" + INET)
    assert world.must("nft", "-s", "list", "ruleset") == before


def test_paths_versions_and_sources_are_separate(world: Namespaces) -> None:
    close(world, INET)
    backend = Nftables(world.run)
    backend.apply(openings(LISTED[0], paths=("setup",)))
    assert [key for key, found in reached(world, *LISTED).items() if found] == [("setup", LISTED[0])]
    backend.apply(openings(LISTED[1], paths=("host",)))
    assert [key for key, found in reached(world, *LISTED).items() if found] == [("host", LISTED[1])]
    backend.apply(openings(LISTED[0], paths=("containers",), source="172.30.1.0/24"))
    assert [key for key, found in reached(world, *LISTED).items() if found] == [("containers", LISTED[0])]
    backend.apply(openings(LISTED[0], paths=("containers",), source="172.31.0.0/16"))
    assert backend.current() == backend.plan(openings(LISTED[0], paths=("containers",), source="172.31.0.0/16"))
    assert not any(reached(world, *LISTED).values())


def test_tables_of_iptables_firewalld_and_programs_are_left_alone(world: Namespaces) -> None:
    world.must("iptables-nft", "-A", "OUTPUT", "-d", "203.0.113.9", "-j", "DROP")
    world.must("ip6tables-nft", "-P", "FORWARD", "DROP")
    owned = "table inet firewalld { chain out { type filter hook output priority 10; policy drop; }; }\n"
    before = close(world, owned, owned.replace("firewalld", "docker-bridges"))
    backend = Nftables(world.run)
    assert not backend.active()
    backend.apply(openings(*LISTED))
    assert backend.current() == ""
    assert world.must("nft", "-s", "list", "ruleset") == before
    native = "table ip filter { chain out { type filter hook output priority 0; policy drop; }; }"
    world.must("iptables-nft", "-F")
    world.must("nft", "delete", "table", "ip", "filter")
    close(world, native)
    assert backend.active(), "a table of that name that iptables cannot read was written by hand"


def test_it_is_found_and_missing_tools_are_refused_with_the_next_step(world: Namespaces, tmp_path: Path) -> None:
    wanted = config.wanted_of(
        {
            "backend": "auto",
            "endpoints": [{"name": LISTED[0], "port": 443}],
            "match": "addresses",
            "host": True,
            "containers": True,
            "setup": True,
            "sources": [],
            "ip_versions": [4, 6],
            "lifetime": 86400,
        }
    )
    assert isinstance(wanted, Wanted)
    assert detect.detect(world.run).name == "none"
    close(world, INET)
    assert detect.detect(world.run).name == "nftables"
    assert Nftables(world.run).refusals(wanted) == []
    world.programs["nft"] = str(tmp_path / "missing")
    (reason,) = Nftables(world.run).refusals(wanted)
    assert "Next step: install the package nftables" in reason
    assert Nftables(world.run).current() == ""
