"""Rotating a token that several servers hold: once, for all of them, and not at all where one would be left behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from integration.fleet import Fleet
from labkit import ROOT, Play

ROTATE = str(ROOT / "playbooks" / "rotate_token.yml")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three servers of one cloud organization, connected."""
    fleet = Fleet(tmp_path_factory.mktemp("rotate"), 3, one_organization=True)
    try:
        fleet.run()
        yield fleet
    finally:
        fleet.lab.down()


def rotate(fleet: Fleet, *options: str) -> Play:
    return Play(fleet.lab.run("ansible-playbook", ROTATE, *options))


def rotations(fleet: Fleet) -> int:
    (organization,) = fleet.lab.state()["clouds"]["US"]["organizations"]
    return int(organization["rotations"])


def last_syncs(fleet: Fleet) -> list[Any]:
    servers = fleet.lab.state()["servers"].values()
    return [server["organizations"][0]["connection"]["last_license_sync"] for server in servers]


def test_check_mode_names_the_servers_and_rotates_nothing(fleet: Fleet) -> None:
    play = rotate(fleet, "--check")
    assert play.status == 0, play.output
    assert "us1, us2, us3" in play.output
    assert (rotations(fleet), fleet.connected()) == (0, 3)


def test_a_part_of_the_servers_is_refused(fleet: Fleet) -> None:
    play = rotate(fleet, "--limit", "us1")
    assert play.status != 0
    assert "us2, us3 of the inventory" in play.said
    assert "Nothing was rotated" in play.output
    assert rotations(fleet) == 0


def test_a_server_that_does_not_answer_keeps_the_token_from_being_rotated(fleet: Fleet) -> None:
    fleet.lab.fault("cloud_status", persona="server:us3", status=502)
    play = rotate(fleet)
    fleet.lab.clear()
    assert play.status != 0
    assert (rotations(fleet), fleet.connected()) == (0, 3)


def test_one_rotation_serves_all_servers(fleet: Fleet) -> None:
    start, before = fleet.lab.last(), last_syncs(fleet)
    play = rotate(fleet, "-vvv", "--diff")
    assert play.status == 0, play.output
    assert rotations(fleet) == 1
    assert fleet.key_rows() == [1]
    assert fleet.connected() == 3
    assert not set(before) & set(last_syncs(fleet))
    assert fleet.at_cloud(start) == [
        "POST /connect/token",
        "GET /accounts/profile",
        "GET /organizations/ID/api-key-information/1",
        "POST /organizations/ID/rotate-api-key",
    ]
    assert [secret for secret in fleet.lab.secrets() if secret in play.output] == []
    assert fleet.run().changed() == {}


def test_a_server_that_fails_after_the_rotation_is_told_and_healed_by_the_next_run(fleet: Fleet) -> None:
    before = rotations(fleet)
    fleet.lab.fault("cloud_status", persona="server:us2", status=500, path="PUT /api")
    play = rotate(fleet)
    fleet.lab.clear()
    assert play.status != 0
    assert "us2 may hold the old one" in play.output
    assert (rotations(fleet), fleet.connected()) == (before + 1, 2)
    fleet.run("-e", "billing_sync_license_max_age=0")
    assert (rotations(fleet), fleet.connected()) == (before + 1, 3)
