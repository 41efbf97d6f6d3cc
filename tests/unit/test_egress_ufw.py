# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the ufw backend reads and asks; the real one is asked in tests/docker."""

from __future__ import annotations

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import (
    NOT_FOUND,
    EgressError,
    Endpoint,
    Opening,
    Wanted,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.ufw import Ufw

WANTED = Wanted("ufw", (Endpoint("192.0.2.1", 443),), ip_versions=(4,))
OURS = f"comment={b'bitwarden-egress'.hex()}"
THEIRS = f"comment={b'theirs'.hex()}"
HOST = Opening("host", 4, "tcp", 443, "192.0.2.1")
ROUTE = Opening("containers", 4, "tcp", 443, "192.0.2.1")


class Fake:
    def __init__(self, *tuples: str, six: tuple[str, ...] = ()) -> None:
        self.files = {"/etc/ufw/user.rules": tuples, "/etc/ufw/user6.rules": six}
        self.status, self.version, self.ipv6 = "Status: active", "ufw 0.36.2", "yes"
        self.chains: dict[str, str] = {}
        self.done: list[str] = []

    def __call__(self, argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        if argv[0] == "cat":
            if argv[1] == "/etc/default/ufw":
                return 0, f"# IPV6=maybe\nIPV6={self.ipv6}\n", ""
            return 0, "".join(f"### tuple ### {line}\n-A x\n" for line in self.files[argv[1]]), ""
        if argv[0] == "env":
            words = " ".join(argv[3:])
            if words == "status":
                return 0, self.status, ""
            if words == "version":
                return 0, self.version, ""
            self.done.append(words)
            return 0, "", ""
        return (0, self.chains[argv[-1]], "") if argv[-1] in self.chains else (1, "", "No chain")


def test_without_ufw_there_is_nothing() -> None:
    def missing(argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        return NOT_FOUND, "", "not found"

    backend = Ufw(missing)
    assert not backend.active()
    assert backend.current() == ""
    assert "not active" in backend.refusals(WANTED)[0]
    backend.remove()


@pytest.mark.parametrize(
    ("opening", "line", "command"),
    [
        (HOST, "allow tcp 443 192.0.2.1 any 0.0.0.0/0 out", "allow out proto tcp to 192.0.2.1 port 443"),
        (
            Opening("host", 6, "udp", 53),
            "allow udp 53 ::/0 any ::/0 out",
            "allow out proto udp to ::/0 port 53",
        ),
        (
            ROUTE,
            "route:allow tcp 443 192.0.2.1 any 0.0.0.0/0 in_br-+",
            "route allow in on br-+ proto tcp to 192.0.2.1 port 443",
        ),
        (
            Opening("setup", 4, "tcp", 443),
            "route:allow tcp 443 0.0.0.0/0 any 0.0.0.0/0 in_docker0",
            "route allow in on docker0 proto tcp to 0.0.0.0/0 port 443",
        ),
        (
            Opening("containers", 4, "tcp", 443, "192.0.2.1", "172.30.1.0/24"),
            "route:allow tcp 443 192.0.2.1 any 172.30.1.0/24 in",
            "route allow proto tcp from 172.30.1.0/24 to 192.0.2.1 port 443",
        ),
    ],
)
def test_each_opening_is_one_rule_of_ufw(opening: Opening, line: str, command: str) -> None:
    fake = Fake()
    Ufw(fake).apply([opening])
    assert fake.done == [f"{command} comment bitwarden-egress"]
    there = (f"{line} {OURS}",)
    fake = Fake(*there) if opening.version == 4 else Fake(six=there)
    backend = Ufw(fake)
    assert backend.current() == backend.plan([opening])
    backend.apply([opening])
    assert fake.done == []
    backend.remove()
    assert fake.done == [command.replace("allow", "delete allow", 1)]


def test_new_rules_come_before_old_ones_go() -> None:
    fake = Fake(f"allow tcp 443 192.0.2.9 any 0.0.0.0/0 out {OURS}")
    Ufw(fake).apply([HOST])
    assert ["delete" in line for line in fake.done] == [False, True]


def test_a_rule_is_put_first_only_where_somebody_denies_on_the_same_way() -> None:
    fake = Fake("route:deny any any 0.0.0.0/0 any 0.0.0.0/0 in", "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in")
    Ufw(fake).apply([HOST, ROUTE])
    assert [line.split(" proto")[0] for line in fake.done] == ["route prepend allow in on br-+", "allow out"]


def test_a_denial_that_came_later_is_overtaken() -> None:
    fake = Fake(
        "deny_log any any 192.0.2.0/24 any 0.0.0.0/0 out_eth0",
        f"allow tcp 443 192.0.2.1 any 0.0.0.0/0 out {OURS}",
    )
    backend = Ufw(fake)
    assert "behind a denial" in backend.current()
    backend.apply([HOST])
    assert [line.split(" out")[0] for line in fake.done] == ["delete allow", "prepend allow"]


def test_somebodys_rules_are_not_taken_over() -> None:
    fake = Fake(f"allow tcp 443 192.0.2.1 any 0.0.0.0/0 out {THEIRS}")
    backend = Ufw(fake)
    assert backend.plan([HOST]) == backend.current() == ""
    backend.apply([HOST])
    backend.remove()
    denied = Fake(f"reject tcp 443 192.0.2.1 any 0.0.0.0/0 out {THEIRS}")
    with pytest.raises(EgressError, match="denies in ufw exactly"):
        Ufw(denied).apply([HOST])
    assert fake.done == denied.done == []


def test_what_ufw_cannot_do_is_refused() -> None:
    fake = Fake()
    fake.version = "ufw 0.35"
    assert "older than 0.36" in Ufw(fake).refusals(WANTED)[0]
    fake = Fake()
    fake.ipv6 = "no"
    assert Ufw(fake).refusals(WANTED) == []
    assert "IPV6=no" in Ufw(fake).refusals(Wanted("ufw", WANTED.endpoints))[0]
    fake.status = "Status: inactive"
    assert "not active" in Ufw(fake).refusals(WANTED)[0]
    with pytest.raises(EgressError, match="not active"):
        Ufw(fake).apply([HOST])


DOCKER = "-A FORWARD -j DOCKER-USER\n-A FORWARD -j ufw-before-forward\n"
ASKS, DROPS = "-A DOCKER-USER -j ufw-user-forward\n", "-A DOCKER-USER -i eth0 -j DROP\n"


@pytest.mark.parametrize(
    ("forward", "user", "refused", "warned"),
    [
        (DOCKER, ASKS + DROPS, False, False),
        (DOCKER, DROPS + ASKS, True, False),
        (DOCKER, DROPS, True, False),
        (DOCKER, "-A DOCKER-USER -j RETURN\n", False, True),
        ("-A FORWARD -j ufw-before-forward\n", "", False, False),
    ],
)
def test_containers_count_where_docker_asks_ufw(forward: str, user: str, refused: bool, warned: bool) -> None:
    fake = Fake()
    fake.chains = {"FORWARD": forward, "DOCKER-USER": user}
    assert bool(Ufw(fake).refusals(WANTED)) == refused
    assert bool(Ufw(fake).warnings(WANTED)) == warned
    host_only = Wanted("ufw", WANTED.endpoints, containers=False, setup=False, ip_versions=(4,))
    assert Ufw(fake).refusals(host_only) == Ufw(fake).warnings(host_only) == []
