"""What a fleet costs: one cloud organization behind many servers, and many organizations under the cloud's limit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from integration.fleet import Fleet

FIRST_RUN = [
    "POST /connect/token",
    "GET /accounts/profile",
    "GET /organizations/ID/api-key-information/1",
    "POST /organizations/ID/api-key",
]


@pytest.mark.parametrize(
    ("servers", "forks"),
    [
        (12, 6),
        pytest.param(100, 1, marks=pytest.mark.long),
        pytest.param(100, 20, marks=pytest.mark.long),
    ],
)
def test_one_cloud_organization_costs_the_same_however_many_servers_it_has(
    tmp_path: Path, servers: int, forks: int
) -> None:
    fleet = Fleet(tmp_path, servers, one_organization=True)
    try:
        start = fleet.lab.last()
        fleet.run("--forks", str(forks))
        assert fleet.at_cloud(start) == FIRST_RUN
        assert fleet.key_rows() == [1]
        assert fleet.connected() == servers
        start = fleet.lab.last()
        again = fleet.run("--forks", str(forks))
        assert again.changed() == {}
        assert fleet.at_cloud(start) == []
        costs = fleet.at_servers(start)
        assert len(costs) == servers
        assert max(costs.values()) <= 5
    finally:
        fleet.lab.down()


def test_batches_and_strategies_share_one_answer_too(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 4, one_organization=True)
    try:
        start = fleet.lab.last()
        fleet.run("-e", "serial=1")
        assert fleet.at_cloud(start) == FIRST_RUN
        assert fleet.connected() == 4
        start = fleet.lab.last()
        fleet.run("-e", "{serial: 2, billing_sync_verify: true}")
        assert fleet.at_cloud(start) == FIRST_RUN
        # Hosts that do not wait for each other may each ask, but never at once, and never for another key.
        fleet.run("-e", "{strategy: free, billing_sync_verify: true}")
        assert fleet.key_rows() == [1]
    finally:
        fleet.lab.down()


@pytest.mark.long
def test_many_organizations_are_asked_for_under_the_clouds_limit(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 13, one_organization=False)
    try:
        start = fleet.lab.last()
        play = fleet.run("--forks", "13")
        entries = [entry for call, entry in fleet.asked(start) if call in FIRST_RUN]
        own = [entry for entry in entries if not entry["actor"].startswith("server:")]
        assert [entry["path"] for entry in own if entry["status"] == 429] == []
        logins = sorted(entry["t"] for entry in own if entry["path"].lower() == "/connect/token")
        assert len(logins) == 13
        assert logins[10] - logins[0] >= 60
        assert sorted(fleet.key_rows()) == [1] * 13
        assert fleet.connected() == 13
        said = re.findall(r"Asking the cloud for organizations [^\"\n]*", play.output)
        assert said == [
            "Asking the cloud for organizations 1 to 10 of 13; about 1 min more.",
            "Asking the cloud for organizations 11 to 13 of 13.",
        ]
    finally:
        fleet.lab.down()
