# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The firewalld backend on a real firewalld, whose owner drops what leaves the host and its containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress import detect
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.firewalld import Firewalld
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import EgressError, Endpoint, Wanted
from egress_hosts import KEPT, LISTED, MOVED, OTHER, Host, closed_host, settles
from egress_netns import openings

pytestmark = pytest.mark.docker

WANTED = Wanted("firewalld", (Endpoint(LISTED[0], 443),))
# A host that drops the questions for neighbors has no IPv6 at all, whatever else is open.
NEIGHBORS = "".join(
    "firewall-cmd --quiet --permanent --policy=company-out "
    f"--add-rich-rule='rule family=ipv6 icmp-type name={kind} accept';"
    for kind in ("neighbour-solicitation", "neighbour-advertisement")
)
RULES = "nft -s list table inet firewalld; iptables-save -t filter | grep '^-' | sort"
FILES = "cd /etc/firewalld && find . -type f | sort | xargs sha256sum"
PORT_AT_RUNTIME = "firewall-cmd --quiet --zone=public --add-port=2222/tcp"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with closed_host("firewalld", f"{NEIGHBORS} firewall-cmd --quiet --reload") as made:
        yield made


@pytest.fixture
def backend(host: Host) -> Iterator[Firewalld]:
    made = Firewalld(host.run)
    yield made
    host.sh("firewall-cmd --quiet --zone=public --remove-port=2222/tcp")
    made.remove()
    host.sh("firewall-cmd --quiet --reload")
    host.becomes([*LISTED, *MOVED, *OTHER], "closed")


def test_it_is_found(host: Host) -> None:
    assert isinstance(detect.detect(host.run), Firewalld)


def test_what_is_listed_is_open_and_nothing_else_until_it_is_removed(host: Host, backend: Firewalld) -> None:
    host.sh("firewall-cmd --quiet --reload")
    before = settles(lambda: (host.sh(RULES), host.sh(FILES)))
    wanted = openings(*LISTED)
    assert backend.refusals(WANTED) == []
    backend.apply(wanted)
    assert backend.current() == backend.plan(wanted) != ""
    host.becomes(LISTED, "open")
    assert set(host.reach(OTHER).values()) == {"closed"}
    backend.remove()
    assert backend.current() == ""
    host.becomes(LISTED, "closed")
    assert settles(lambda: (host.sh(RULES), host.sh(FILES))) == before


def test_addresses_move_without_a_reload_and_without_a_closed_moment(host: Host, backend: Firewalld) -> None:
    backend.apply(openings(*LISTED, *KEPT))
    host.becomes([*LISTED, *KEPT], "open")
    host.calls.clear()
    with host.never_closed(("containers", KEPT[0]), ("host", KEPT[1])):
        backend.apply(openings(*MOVED, *KEPT))
    assert not any("--reload" in call for call in host.calls)
    assert backend.current() == backend.plan(openings(*MOVED, *KEPT))
    assert set(host.reach(MOVED).values()) == {"open"}
    assert set(host.reach(LISTED).values()) == {"closed"}


def test_it_survives_reloads_and_restarts(host: Host, backend: Firewalld) -> None:
    backend.apply(openings(*LISTED))
    for command in ("firewall-cmd --reload", "systemctl restart docker", "systemctl restart firewalld"):
        host.sh(command)
        host.becomes(LISTED, "open")
        assert backend.current() == backend.plan(openings(*LISTED))
    host.world.reboot("firewalld")
    host.becomes(LISTED, "open")
    host.becomes(OTHER, "closed")
    assert backend.current() == backend.plan(openings(*LISTED))


def test_sources_open_one_network_only(host: Host, backend: Firewalld) -> None:
    four = openings(LISTED[0], paths=["containers"], source="172.30.1.0/24")
    six = openings(LISTED[1], paths=["containers"], source="fd00:30:1::/64")
    backend.apply([*four, *six])
    host.becomes(LISTED, "open", ["containers"])
    assert set(host.reach(LISTED, ["host", "setup"]).values()) == {"closed"}


def test_setup_alone_is_open_alone(host: Host, backend: Firewalld) -> None:
    backend.apply(openings(*LISTED, paths=["setup"]))
    host.becomes(LISTED, "open", ["setup"])
    assert set(host.reach(LISTED, ["host", "containers"]).values()) == {"closed"}


def test_a_reload_that_would_lose_a_port_is_refused(host: Host, backend: Firewalld) -> None:
    host.sh(PORT_AT_RUNTIME)
    files = host.sh(FILES)
    (reason,) = backend.refusals(WANTED)
    assert "zone public, ports: 2222/tcp (only at runtime)" in reason
    with pytest.raises(EgressError, match="2222/tcp"):
        backend.apply(openings(*LISTED))
    assert host.sh(FILES) == files
    assert "2222/tcp" in host.sh("firewall-cmd --zone=public --list-ports")


def test_removal_does_not_lose_a_port_either(host: Host, backend: Firewalld) -> None:
    backend.apply(openings(*LISTED))
    host.sh(PORT_AT_RUNTIME)
    backend.apply(openings(*MOVED))
    backend.remove()
    assert backend.current() == ""
    assert "2222/tcp" in host.sh("firewall-cmd --zone=public --list-ports")
    host.becomes([*LISTED, *MOVED], "closed")


def test_a_stopped_firewalld_is_refused(host: Host, backend: Firewalld) -> None:
    backend.apply(openings(*LISTED))
    host.sh("systemctl stop firewalld")
    try:
        assert "not running" in backend.refusals(WANTED)[0]
        with pytest.raises(EgressError, match="not running"):
            backend.apply(openings(*MOVED))
    finally:
        host.sh("systemctl start firewalld; systemctl restart docker")
