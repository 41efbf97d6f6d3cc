# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Role egress on closed hosts with the kernel's own firewalls: what is open is found out by real TCP connects.

The tests are one story, in this order.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import egress_table as table
import pytest
from bwlab.egress import closing, names
from bwlab.egress.world import World
from egress_hosts import settles
from egress_role import AGENT, INTERVAL, ansible, changed, everywhere, role, rules, same, settled, snapshot

pytestmark = pytest.mark.docker

HOSTS = ("firewalld", "ufw", "nftables", "iptables")
PATHS = ("host", "containers", "setup")
LISTED = ("api.bitwarden.com", "identity.bitwarden.com", "push.bitwarden.com")
ALL = dict.fromkeys(HOSTS, True)
SETTLE_SECONDS = 30.0
UNDO_AFTER = 20
LITERAL = names.addresses(0x41)
# What an owner of the firewall does to it, and what brings Docker back where that took Docker's rules.
EVENTS = {
    "firewalld": ("firewall-cmd --reload", "firewall-cmd --complete-reload"),
    "ufw": ("ufw reload",),
    "nftables": ("systemctl reload nftables", "systemctl restart nftables && systemctl restart docker"),
    "iptables": ("systemctl restart company-firewall",),
}
BEFORE: dict[str, tuple[str, str]] = {}
CLOSED: dict[str, table.Look] = {}
ROWS: dict[str, table.Row] = {}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="bwe-") as folder:
        made = World(Path(folder) / "world")
        made.up(HOSTS)
        try:
            yield made
        finally:
            made.down()


def words(world: World, host: str, path: str, wanted: tuple[str, ...], port: int = 443) -> set[str]:
    return set(world.reach(host, path, [(name, port, version) for name in wanted for version in (4, 6)]))


def opens(world: World, host: str) -> bool:
    """A container's IPv6 needs a moment after its start, and Docker one after a reload."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while [words(world, host, path, LISTED[:2]) for path in PATHS] != [{"open"}] * 3:
        if time.monotonic() > deadline:
            return False
    return True


def kept(fewer: str, more: str) -> list[str]:
    """Lines that are not there any more, or stand elsewhere."""
    lines = iter(more.splitlines())
    return [line for line in fewer.splitlines() if line not in lines]


def shut(world: World, host: str, *wanted: str) -> bool:
    return [words(world, host, path, wanted) for path in PATHS] == [{"closed"}] * 3


def test_closed_hosts_let_nothing_out(world: World) -> None:
    def close(host: str) -> set[str]:
        found = words(world, host, "host", LISTED)
        closing.close(world, host)
        world.reboot(host)
        return found

    assert everywhere(HOSTS, close) == {host: {"open"} for host in HOSTS}
    world.sh("firewalld", "firewall-cmd --reload")
    assert everywhere(HOSTS, lambda host: shut(world, host, *LISTED)) == ALL
    BEFORE.update(everywhere(HOSTS, lambda host: settles(lambda: snapshot(world, host))))
    CLOSED.update(everywhere(HOSTS, lambda host: table.look(world, host)))


def test_backend_none_tells_what_is_to_be_opened_and_touches_no_server(world: World) -> None:
    report = world.directory / "report"
    asked = {"egress_backend": "none", "egress_report": str(report), "egress_ip_versions": [4]}
    limit = ("--limit", "ufw")
    predicted = changed(world, *limit, check=True, **asked)
    assert not report.with_suffix(".csv").exists()
    assert changed(world, *limit, **asked) == predicted == {"ufw": 2}
    assert changed(world, *limit, **asked) == {"ufw": 0}
    with report.with_suffix(".csv").open(newline="", encoding="utf-8") as stream:
        rows = {row["host"]: row for row in csv.DictReader(stream)}
    assert tuple(sorted(rows)) == LISTED
    expected = {"server": "ufw", "addresses": "198.51.100.20", "port": "443", "protocol": "tcp", "via": "direct"}
    assert {key: rows[LISTED[2]][key] for key in expected} == expected
    assert [rows[name]["paths"] for name in LISTED] == ["host containers setup"] * 2 + ["host containers"]
    told = json.loads(report.with_suffix(".json").read_text(encoding="utf-8"))
    assert [told[key] for key in ("server", "backend", "match", "ip_versions")] == ["ufw", "none", "addresses", [4]]
    assert {one["host"]: " ".join(one["addresses"]) for one in told["endpoints"]} == {
        name: row["addresses"] for name, row in rows.items()
    }
    assert "setup IPv4 tcp api.bitwarden.com (198.51.100.16) 443" in told["rules"]
    assert snapshot(world, "ufw") == BEFORE["ufw"]
    ROWS["none"] = table.row("none", CLOSED["ufw"], table.look(world, "ufw"))


def test_a_reload_that_would_lose_somebodys_rule_is_refused_with_the_command_that_keeps_it(world: World) -> None:
    world.sh("firewalld", "firewall-cmd --zone=public --add-port=2222/tcp")
    before = snapshot(world, "firewalld")
    done = role(world, "--limit", "firewalld")
    assert done.status != 0
    assert "zone public, ports: 2222/tcp (only at runtime)" in done.said
    assert "firewall-cmd --runtime-to-permanent" in done.said
    assert done.changed == {"firewalld": 0}
    assert snapshot(world, "firewalld") == before
    world.sh("firewalld", "firewall-cmd --zone=public --remove-port=2222/tcp")


def test_a_network_without_a_way_out_is_refused_and_a_container_in_no_other_is_told(world: World) -> None:
    refused = role(world, "--limit", "nftables", egress_sources=["172.30.2.0/24"])
    assert refused.status != 0
    assert "The network 172.30.2.0/24 in sources is bitwarden_default of Docker, which is internal" in refused.said
    assert refused.changed == {"nftables": 0}
    move = "docker network disconnect {} bitwarden-api && docker network connect {} bitwarden-api"
    world.sh("nftables", move.format("bitwarden_public", "bitwarden_default"))
    told = role(world, "--limit", "nftables", check=True)
    world.sh("nftables", move.format("bitwarden_default", "bitwarden_public"))
    assert told.status == 0, told.text
    assert "The container bitwarden-api is in internal networks only (bitwarden_default)" in told.said
    assert snapshot(world, "nftables") == BEFORE["nftables"]


def test_the_role_opens_as_predicted_and_a_second_run_changes_nothing(world: World) -> None:
    settled(world, HOSTS)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", HOSTS)
def test_only_what_is_listed_is_open_in_both_versions_of_ip(world: World, host: str, path: str) -> None:
    # Setup asks no push service.
    assert words(world, host, path, LISTED[:2] if path == "setup" else LISTED) == {"open"}
    assert words(world, host, path, (names.OTHER,)) == {"closed"}


def test_the_table_in_the_document_is_what_is_seen(world: World) -> None:
    """`make egress-table` writes it."""
    seen = everywhere(HOSTS, lambda host: table.row(host, CLOSED[host], table.look(world, host)))
    if os.environ.get("EGRESS_TABLE") == "write":
        table.write({**seen, **ROWS})
    assert table.committed() == {**seen, **ROWS}


def test_everything_of_others_is_still_there_in_its_order(world: World) -> None:
    for host, found in everywhere(HOSTS, lambda host: rules(world, host)).items():
        assert kept(BEFORE[host][0], found) == [], host


def test_what_nobody_confirms_is_taken_back_in_every_firewall(world: World) -> None:
    """As after a controller that died."""

    def as_before(host: str) -> bool:
        found = rules(world, host)
        # firewalld makes all of its rules anew when it reloads, in the order in which interfaces come back.
        return same(found, before[host]) if host == "firewalld" else found == before[host]

    def is_back(host: str) -> bool:
        deadline = time.monotonic() + UNDO_AFTER + 4 * SETTLE_SECONDS
        while not as_before(host) or json.loads(world.sh(host, f"{AGENT} status"))["pending"]:
            if time.monotonic() > deadline:
                return False
            time.sleep(1.0)
        return "The unconfirmed change was taken back." in world.sh(host, "journalctl --unit 'bitwarden-egress*'")

    before = everywhere(HOSTS, lambda host: rules(world, host))
    wanted = json.dumps({"endpoints": [{"name": names.OTHER}], "undo_after": UNDO_AFTER})
    done = ansible(world, "ansible", "bitwarden", "-m", "selfhosted.bitwarden.egress_rules", "-a", wanted)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("pending: true") == len(HOSTS)
    assert everywhere(HOSTS, is_back) == ALL
    assert everywhere(HOSTS, lambda host: opens(world, host) and shut(world, host, names.OTHER)) == ALL


def test_the_timer_follows_a_name_and_nothing_is_shut_meanwhile(world: World) -> None:
    old, new = world.internet.records.read()[LISTED[2]], list(names.addresses(0x50))
    world.internet.change(LISTED[2], new)
    watched = everywhere(HOSTS, lambda host: world.watch(host, "containers", [*old, *new], 443, INTERVAL + 10.0))
    assert [host for host, (tried, closed) in watched.items() if tried < INTERVAL or closed] == []
    checks = [(address, 443, None) for address in new]
    deadline = time.monotonic() + SETTLE_SECONDS
    while {word for host in HOSTS for path in PATHS[:2] for word in world.reach(host, path, checks)} != {"open"}:
        assert time.monotonic() < deadline


def test_without_a_name_server_everything_stays_as_it_is(world: World) -> None:
    listed = [(address, 443, None) for name in LISTED for address in world.internet.records.read()[name]]
    world.internet.stop_names()
    try:
        everywhere(HOSTS, lambda host: world.sh(host, f"{AGENT} refresh"))
        assert changed(world, "--limit", "nftables") == {"nftables": 0}
        for path in PATHS[:2]:
            found = {host: set(world.reach(host, path, listed)) for host in HOSTS}
            assert found == {host: {"open"} for host in HOSTS}
    finally:
        world.internet.start_names()


def hold_lock(world: World, host: str, seconds: int) -> None:
    holder = f"sh -c 'touch /run/held; sleep {seconds}'"
    world.sh(
        host,
        f"systemd-run --quiet --collect --unit=holder flock /var/lib/bitwarden-egress {holder}; "
        "until [ -e /run/held ]; do sleep 0.1; done; rm /run/held",
    )


def test_timer_and_module_wait_for_each_other(world: World) -> None:
    hold_lock(world, "nftables", 12)
    began = time.monotonic()
    world.sh("nftables", f"{AGENT} refresh")
    assert time.monotonic() - began >= 5.0
    before = rules(world, "nftables")
    hold_lock(world, "nftables", 300)
    wanted = "state=absent lock_timeout=1"
    done = ansible(world, "ansible", "nftables", "-m", "selfhosted.bitwarden.egress_rules", "-a", wanted)
    world.sh("nftables", "systemctl stop holder")
    assert done.returncode != 0
    assert "Another run has held the lock on /var/lib/bitwarden-egress for 1 seconds" in done.stdout + done.stderr
    assert rules(world, "nftables") == before


def test_it_survives_reloads_a_restart_of_docker_and_a_reboot(world: World) -> None:
    def survive(host: str) -> list[str]:
        lost = []
        for event in (*EVENTS[host], "systemctl restart docker", "reboot"):
            if event == "reboot":
                world.reboot(host)
            else:
                world.sh(host, event)
            if not opens(world, host) or not shut(world, host, names.OTHER):
                lost.append(event)
        return lost

    assert everywhere(HOSTS, survive) == {host: [] for host in HOSTS}


def test_ports_for_any_address_and_a_proxy_for_every_name(world: World) -> None:
    ports = {
        "egress_match": "ports",
        "egress_endpoints": [{"host": LITERAL[0], "port": 8443, "paths": ["host"]}, {"host": "a.test", "port": 587}],
    }
    proxy = {
        "egress_match": "proxy",
        "egress_proxy": "http://proxy.example.com:3128",
        "egress_smtp": [{"host": "smtp.example.com", "port": 587}],
    }
    chosen = {host: proxy if host == "iptables" else ports for host in HOSTS}
    settled(world, HOSTS, of_host=chosen)


@pytest.mark.parametrize("host", ["firewalld", "ufw", "nftables"])
def test_a_port_is_open_to_any_address_and_an_address_keeps_to_itself(world: World, host: str) -> None:
    assert [words(world, host, path, (LISTED[0], names.OTHER)) for path in PATHS] == [{"open"}] * 3
    assert [words(world, host, path, (names.OTHER,), 587) for path in PATHS] == [{"open"}] * 3
    assert [words(world, host, path, (names.OTHER,), 8443) for path in PATHS] == [{"closed"}] * 3
    checks = [(LITERAL[0], 8443, None)]
    assert [world.reach(host, path, checks) for path in PATHS] == [["open"], ["closed"], ["closed"]]


def test_with_a_proxy_only_the_way_to_it_is_open_and_to_the_mail_server(world: World) -> None:
    assert [words(world, "iptables", path, ("proxy.example.com",), 3128) for path in PATHS] == [{"open"}] * 3
    assert shut(world, "iptables", *LISTED)
    mail = [words(world, "iptables", path, ("smtp.example.com",), 587) for path in PATHS]
    assert mail == [{"closed"}, {"open"}, {"closed"}]


def test_after_it_is_taken_away_every_byte_is_as_before(world: World) -> None:
    opened = everywhere(HOSTS, lambda host: rules(world, host))
    settled(world, HOSTS, egress_state="absent")
    assert everywhere(HOSTS, lambda host: shut(world, host, *LISTED)) == ALL
    for host, (found, files) in everywhere(HOSTS, lambda host: snapshot(world, host)).items():
        # firewalld makes all of its rules anew when it reloads, in the order in which interfaces come back.
        assert host == "firewalld" or kept(found, opened[host]) == [], host
        assert same(found, BEFORE[host][0]), host
        assert files.splitlines() == BEFORE[host][1].splitlines(), host
