# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ufw backend on a real ufw that denies what leaves, and that Docker asks about its containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress import detect
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import EgressError, Endpoint, Wanted
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.ufw import Ufw
from egress_hosts import KEPT, LISTED, MOVED, OTHER, Host, closed_host
from egress_netns import openings

pytestmark = pytest.mark.docker

WANTED = Wanted("ufw", (Endpoint(LISTED[0], 443),))
RULES = "iptables-save -t filter | grep -v '^[#:]'; ip6tables-save -t filter | grep -v '^[#:]'"
FILES = "cd /etc/ufw && find . -type f | sort | xargs sha256sum; sha256sum /etc/default/ufw"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with closed_host("ufw") as made:
        yield made


@pytest.fixture
def backend(host: Host) -> Iterator[Ufw]:
    made = Ufw(host.run)
    yield made
    made.remove()
    host.becomes([*LISTED, *MOVED, *OTHER], "closed")


def test_it_is_found(host: Host) -> None:
    assert isinstance(detect.detect(host.run), Ufw)


def test_what_is_listed_is_open_and_nothing_else_until_it_is_removed(host: Host, backend: Ufw) -> None:
    before = host.sh(RULES), host.sh(FILES)
    wanted = openings(*LISTED)
    assert backend.refusals(WANTED) == []
    assert backend.warnings(WANTED) == []
    backend.apply(wanted)
    assert backend.current() == backend.plan(wanted) != ""
    host.becomes(LISTED, "open")
    assert set(host.reach(OTHER).values()) == {"closed"}
    backend.remove()
    assert backend.current() == ""
    assert (host.sh(RULES), host.sh(FILES)) == before


def test_addresses_move_without_a_closed_moment(host: Host, backend: Ufw) -> None:
    backend.apply(openings(*LISTED, *KEPT))
    with host.never_closed(("containers", KEPT[0]), ("host", KEPT[1])):
        backend.apply(openings(*MOVED, *KEPT))
    assert backend.current() == backend.plan(openings(*MOVED, *KEPT))
    assert set(host.reach(MOVED).values()) == {"open"}
    assert set(host.reach(LISTED).values()) == {"closed"}


def test_it_survives_reloads_and_restarts(host: Host, backend: Ufw) -> None:
    backend.apply(openings(*LISTED))
    for command in ("ufw reload", "systemctl restart docker"):
        host.sh(command)
        host.becomes(LISTED, "open")
    host.world.reboot("ufw")
    host.becomes(LISTED, "open")
    host.becomes(OTHER, "closed")
    assert backend.current() == backend.plan(openings(*LISTED))


@pytest.mark.parametrize("place", ["before", "after"])
def test_somebodys_denial_does_not_come_first(host: Host, backend: Ufw, place: str) -> None:
    """Route rules and those of the host, in both versions of IP; nothing of the denials themselves changes."""
    deny = ["deny out to {}", "route deny to {}"]
    wanted = openings(*LISTED)
    files = host.sh(FILES)
    if place == "after":
        backend.apply(wanted)
    for address in LISTED:
        for rule in deny:
            host.sh(f"ufw {rule.format(address).replace('deny', 'prepend deny')}")
    try:
        assert backend.current() != backend.plan(wanted)
        backend.apply(wanted)
        assert backend.current() == backend.plan(wanted)
        host.becomes(LISTED, "open")
        backend.remove()
        assert "DENY" in host.sh("ufw status")
    finally:
        for address in LISTED:
            for rule in deny:
                host.sh(f"ufw {rule.format(address).replace('deny', 'delete deny')}")
    assert host.sh(FILES) == files


def test_somebodys_same_rules_stay_theirs(host: Host, backend: Ufw) -> None:
    host.sh(f"ufw allow out proto tcp to {LISTED[0]} port 443 comment theirs")
    host.sh(f"ufw deny out proto tcp to {MOVED[0]} port 443 comment theirs")
    files = host.sh(FILES)
    try:
        wanted = openings(LISTED[0], paths=["host"])
        assert backend.plan(wanted) == backend.current() == ""
        backend.apply(wanted)
        with pytest.raises(EgressError, match="denies in ufw exactly"):
            backend.apply(openings(MOVED[0], paths=["host"]))
        assert host.sh(FILES) == files
    finally:
        host.sh(f"ufw delete allow out proto tcp to {LISTED[0]} port 443")
        host.sh(f"ufw delete deny out proto tcp to {MOVED[0]} port 443")


def test_sources_open_one_network_only(host: Host, backend: Ufw) -> None:
    four = openings(LISTED[0], paths=["containers"], source="172.30.1.0/24")
    six = openings(LISTED[1], paths=["containers"], source="fd00:30:1::/64")
    backend.apply([*four, *six])
    assert backend.current() == backend.plan([*four, *six])
    assert set(host.reach(LISTED, ["containers"]).values()) == {"open"}
    assert set(host.reach(LISTED, ["host", "setup"]).values()) == {"closed"}


def test_ipv6_without_ufw_is_refused(host: Host, backend: Ufw) -> None:
    host.sh("cp -p /etc/default/ufw /tmp/ufw; sed -i s/IPV6=yes/IPV6=no/ /etc/default/ufw")
    try:
        (reason,) = backend.refusals(WANTED)
        assert "IPV6=no" in reason
        assert backend.refusals(Wanted("ufw", (), ip_versions=(4,))) == []
    finally:
        host.sh("cp -p /tmp/ufw /etc/default/ufw")


def test_docker_that_does_not_ask_ufw(host: Host, backend: Ufw) -> None:
    """Open anyway where nothing else drops: told. Closed by other rules: refused."""
    host.sh("iptables -D DOCKER-USER -j ufw-user-forward")
    try:
        assert "does not ask" not in " ".join(backend.warnings(WANTED))
        assert "DOCKER-USER drops" in backend.refusals(WANTED)[0]
        host.sh("iptables-save -t filter >/tmp/saved; iptables -F DOCKER-USER")
        assert backend.refusals(WANTED) == []
        assert "does not ask ufw" in backend.warnings(WANTED)[0]
        host.becomes([LISTED[0], OTHER[0]], "open", ["containers", "setup"])
    finally:
        host.sh("ufw reload; systemctl restart docker; iptables -S DOCKER-USER")
        host.sh("iptables -F DOCKER-USER; ufw reload")
