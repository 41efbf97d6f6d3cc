"""site.yml on a machine whose firewall lets nothing out: the way is opened before the restart, and proven from inside.

The tests are one story, in this order.
"""

from __future__ import annotations

import re

import pytest
from bwlab.docker.outer import Outer
from labkit import ROOT, Play
from machines import Machines

pytestmark = pytest.mark.docker

EGRESS = str(ROOT / "playbooks" / "egress.yml")
# A machine that runs tests may be slow to start the container that asks in Setup's place.
OPEN = ("-e", "bitwarden_egress=true", "-e", "egress_probe_timeout=30")
# As the network team does it, and the name server stays reachable.
CLOSE = """
for chain in OUTPUT DOCKER-USER; do
    sudo iptables -I $chain -d {gateway} -p tcp --dport 443 -m comment --comment "network team" -j REJECT
done
"""
RULES = "sudo iptables-save | grep -v '^#' | sed 's/ \\[[0-9:]*\\]$//'"
# A restart makes Docker's networks anew, with other names and addresses.
PASSING = re.compile(r"\bbr-[0-9a-f]{12}\b|\b172(\.\d+){3}(/\d+)?")
FROM_INSIDE = "docker exec bitwarden-api python3 -c \"import socket; socket.create_connection(('{}', 443), 5)\""
BEFORE: dict[str, list[str]] = {}


def rules(machines: Machines) -> list[str]:
    return sorted(PASSING.sub("…", machines.on(RULES)).splitlines())


def reaches(machines: Machines, name: str) -> tuple[bool, bool]:
    """From the machine itself, and from inside the running api container."""
    host = machines.ssh(f"curl --silent --max-time 5 --output /dev/null https://{name}/alive").returncode == 0
    return host, machines.ssh(FROM_INSIDE.format(name)).returncode == 0


@pytest.fixture(scope="module")
def closed(machines: Machines) -> Machines:
    assert reaches(machines, "api.bitwarden.com") == (True, True)
    machines.on(CLOSE.format(gateway=Outer(machines.directory).gateway()))
    BEFORE["rules"] = rules(machines)
    return machines


def test_the_machine_is_closed_on_both_paths(closed: Machines) -> None:
    assert reaches(closed, "api.bitwarden.com") == (False, False)


def test_without_it_nothing_is_stopped_and_what_is_closed_is_named(closed: Machines) -> None:
    play = closed.site(ok=False)
    assert play.status != 0
    assert "The images cannot be pulled; nothing was stopped." in play.said
    assert (closed.server()["stack"], closed.server()["restarts"]) == ("up", 0)


def test_it_is_opened_as_predicted_and_the_server_is_connected(closed: Machines) -> None:
    predicted = closed.site("--check", *OPEN).changed()
    assert rules(closed) == BEFORE["rules"]
    assert closed.site(*OPEN).changed() == predicted
    assert reaches(closed, "api.bitwarden.com") == reaches(closed, "identity.bitwarden.com") == (True, True)
    connection = closed.server()["organizations"][0]["connection"]
    assert connection["key_is_current"]
    assert connection["last_license_sync"]


def test_a_second_run_changes_nothing(closed: Machines) -> None:
    restarts, before = closed.server()["restarts"], rules(closed)
    assert closed.site(*OPEN).recap["us1"]["changed"] == 0
    assert (closed.server()["restarts"], rules(closed)) == (restarts, before)


def test_taken_away_it_is_as_closed_as_before(closed: Machines) -> None:
    play = Play(closed.run("ansible-playbook", EGRESS, "-e", "egress_state=absent"))
    assert play.status == 0, play.output
    assert rules(closed) == BEFORE["rules"]
    assert reaches(closed, "api.bitwarden.com") == (False, False)
