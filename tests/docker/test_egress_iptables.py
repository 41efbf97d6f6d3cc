"""The iptables backend on the kernel's own iptables, of both generations, in network namespaces."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress import detect
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.iptables import Iptables
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import PATHS, Opening
from egress_netns import LISTED, MOVED, OTHER, Namespaces, openings, reached

pytestmark = pytest.mark.docker
PROGRAMS = [name + end for name in ("iptables", "ip6tables") for end in ("", "-save", "-restore")]


@pytest.fixture(params=["nft", "legacy"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Namespaces]:
    made = Namespaces(f"bwi{os.getpid()}")
    for name in PROGRAMS:
        (tmp_path / name).symlink_to(f"/usr/sbin/xtables-{request.param}-multi")
        made.programs[name] = str(tmp_path / name)
    try:
        made.up()
        yield made
    finally:
        made.down()


def both(world: Namespaces, *rules: str) -> None:
    for rule in rules:
        for program in ("iptables", "ip6tables"):
            world.must(program, *rule.split())


def saved(world: Namespaces) -> str:
    text = world.must("iptables-save") + world.must("ip6tables-save")
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    return re.sub(r"\[\d+:\d+\]", "[0:0]", text)


def close(world: Namespaces, *, docker: bool) -> str:
    """As an admin does it, with other rules among; Docker's own chains as it makes them."""
    if docker:
        both(world, "-N DOCKER-USER", "-N DOCKER", "-A FORWARD -j DOCKER-USER", "-A FORWARD -o br-+ -j DOCKER")
        both(world, "-A FORWARD -i br-+ -j ACCEPT", "-P FORWARD DROP", "-A DOCKER-USER -i br-+ -j DROP")
        both(world, "-A DOCKER-USER -i docker0 -j DROP", "-A DOCKER-USER -j RETURN")
    else:
        both(world, "-N JUDGE", "-A JUDGE -j DROP", "-A FORWARD -i wg0 -j ACCEPT", "-A FORWARD -j JUDGE")
    both(world, "-A OUTPUT -o lo -j ACCEPT", "-A OUTPUT -p tcp -m tcp --dport 9 -j LOG")
    world.must("ip6tables", "-A", "OUTPUT", "-p", "ipv6-icmp", "-j", "ACCEPT")
    both(world, "-P OUTPUT DROP")
    return saved(world)


@pytest.mark.parametrize("docker", [True, False], ids=["with Docker", "without Docker"])
def test_only_what_is_listed_is_open_and_removal_leaves_every_byte(world: Namespaces, docker: bool) -> None:
    assert all(reached(world, *LISTED, *OTHER).values())
    before = close(world, docker=docker)
    assert not any(reached(world, *LISTED).values())
    backend = Iptables(world.run)
    assert backend.active()
    assert backend.current() == ""
    plan = backend.plan(openings(*LISTED))
    assert saved(world) == before, "planning changes nothing"
    backend.apply(openings(*LISTED))
    assert backend.current() == plan
    assert all(reached(world, *LISTED).values())
    assert not any(reached(world, *OTHER).values())
    assert not world.reaches("host", LISTED[0], 8443)
    assert (f"-A {'DOCKER-USER' if docker else 'FORWARD'} -m comment" in plan) and "-A OUTPUT -m comment" in plan
    theirs = [line for line in saved(world).splitlines() if "EGRESS" not in line]
    assert theirs == before.splitlines()
    backend.remove()
    assert saved(world) == before
    assert backend.current() == ""


def test_an_update_is_one_transaction_a_version_and_leaves_the_jumps_alone(world: Namespaces) -> None:
    close(world, docker=True)
    backend = Iptables(world.run)
    backend.apply(openings(*LISTED))
    scripts: list[str] = []

    def _watching(argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        scripts.extend([stdin] if argv[0].endswith("-restore") else [])
        return world.run(argv, stdin)

    Iptables(_watching).apply(openings(*LISTED, *MOVED))
    Iptables(_watching).apply(openings(*MOVED))
    assert len(scripts) == 4
    assert not any(line.startswith(("-I", "-D", "-F")) for script in scripts for line in script.splitlines())
    assert all(reached(world, *MOVED).values())
    assert not any(reached(world, *LISTED).values())


def test_what_docker_or_somebody_did_is_healed(world: Namespaces) -> None:
    before = close(world, docker=True)
    backend = Iptables(world.run)
    plan = backend.plan(openings(*LISTED))
    for harm in (
        ("-F OUTPUT", "-A OUTPUT -o lo -j ACCEPT", "-A OUTPUT -p tcp -m tcp --dport 9 -j LOG"),
        ("-I DOCKER-USER 1 -i br-+ -j DROP",),
        ("-F BITWARDEN-EGRESS-FWD",),
        ("-D BITWARDEN-EGRESS-FWD -o docker0 -j RETURN",),
    ):
        backend.apply(openings(*LISTED))
        both(world, *harm)
        assert backend.current() != plan, harm
        backend.apply(openings(*LISTED))
        assert backend.current() == plan, harm
    both(world, "-D DOCKER-USER -i br-+ -j DROP")
    world.must("ip6tables", "-A", "OUTPUT", "-p", "ipv6-icmp", "-j", "ACCEPT")
    assert all(reached(world, *LISTED).values())
    backend.remove()
    assert saved(world) == before


def test_docker_that_starts_later_gets_the_jump_into_its_own_chain(world: Namespaces) -> None:
    both(world, "-A FORWARD -i br-+ -j DROP")
    backend = Iptables(world.run)
    backend.apply(openings(*LISTED, paths=("containers",)))
    assert "-A FORWARD -m comment" in backend.current()
    both(world, "-N DOCKER-USER", "-I FORWARD 1 -j DOCKER-USER", "-A DOCKER-USER -j RETURN")
    assert all(world.reaches("containers", address) for address in LISTED)
    backend.apply(openings(*LISTED, paths=("containers",)))
    assert "-A DOCKER-USER -m comment" in backend.current()
    assert "-A FORWARD -m comment" not in backend.current()
    assert all(world.reaches("containers", address) for address in LISTED)
    # A drop ahead of Docker's chain makes that chain the wrong place.
    both(world, "-I FORWARD 1 -i br-+ -j DROP")
    assert not world.reaches("containers", LISTED[0])
    backend.apply(openings(*LISTED, paths=("containers",)))
    assert "-A FORWARD -m comment" in backend.current()
    assert all(world.reaches("containers", address) for address in LISTED)


def test_ports_alone_and_sources(world: Namespaces) -> None:
    before = close(world, docker=True)
    backend = Iptables(world.run)
    everywhere = [Opening(path, version, "tcp", 443) for path in PATHS for version in (4, 6)]
    backend.apply(everywhere)
    assert backend.current() == backend.plan(everywhere)
    assert all(reached(world, *LISTED, *OTHER).values())
    assert not world.reaches("setup", OTHER[0], 8443)
    assert not world.gets_through("containers", "172.17.0.2"), "other people's drops decide between networks"
    for source, opened in (("172.30.1.0/24", True), ("172.31.0.0/16", False)):
        mine = openings(LISTED[0], paths=("containers",), source=source)
        backend.apply(mine)
        assert backend.current() == backend.plan(mine)
        assert world.reaches("containers", LISTED[0]) is opened
        assert not world.reaches("host", LISTED[0])
    backend.remove()
    assert saved(world) == before


def test_a_server_without_rules_gets_none_and_docker_alone_closes_nothing(world: Namespaces) -> None:
    backend = Iptables(world.run)
    before = saved(world)
    backend.apply(openings(*LISTED))
    assert saved(world) == before == ""
    both(world, "-N DOCKER-USER", "-N DOCKER", "-A FORWARD -j DOCKER-USER", "-P FORWARD DROP")
    both(world, "-A FORWARD -o br-+ -j DOCKER", "-A DOCKER -i uplink -j DROP")
    assert not backend.active()
    assert detect.detect(world.run).name == "none"
    both(world, "-A DOCKER-USER -i br-+ -j REJECT")
    assert detect.detect(world.run).name == "iptables"
