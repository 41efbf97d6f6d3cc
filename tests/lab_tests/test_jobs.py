# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The daily sponsorship sync and the half-daily license check of a self-hosted Api."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from bwlab import jobs, times
from bwlab.jobs import LICENSE_JOB, SPONSORSHIP_JOB
from lab_tests.small_world import KEY, NOW, SmallWorld

SPONSORSHIPS = "OrganizationSponsorship"
SYNC = "/organization/sponsorship/sync"


@pytest.fixture
def world(recordings: Path, tmp_path: Path, signing_keys: dict[str, str]) -> Iterator[SmallWorld]:
    small = SmallWorld(recordings, tmp_path, signing_keys)
    yield small
    small.close()


def run(world: SmallWorld, name: str = SPONSORSHIP_JOB) -> list[str]:
    """The lines that the run left in the log."""
    world.server.store.clear("LabLog")
    asyncio.run(jobs.run_job(world.server, name))
    return world.log_lines()


def due(world: SmallWorld, started: float = 1.0) -> list[str]:
    return asyncio.run(jobs.run_due(world.server, started))


def offer(world: SmallWorld, person: str = "member", name: str = "Family One") -> None:
    path = f"/organization/sponsorship/self-hosted/{world.acme()}/families-for-enterprise"
    body = {"planSponsorshipType": 0, "sponsoredEmail": "family@home.example", "friendlyName": name}
    assert world.call("self_hosted", person, "POST", path, body).status == 200


def revoke(world: SmallWorld) -> None:
    path = f"/organization/sponsorship/self-hosted/{world.acme()}"
    assert world.call("self_hosted", "member", "DELETE", path).status == 200


def mails(world: SmallWorld) -> list[str]:
    return [row["To"] for row in world.cloud.store.rows("LabMail")]


def test_an_offer_goes_to_the_cloud_and_its_date_comes_back(world: SmallWorld) -> None:
    world.connect()
    offer(world)
    run(world)
    row = world.row(SPONSORSHIPS, "cloud")
    assert (row["FriendlyName"], row["OfferedToEmail"]) == ("Family One", "family@home.example")
    assert world.row(SPONSORSHIPS)["LastSyncDate"] is not None
    assert mails(world) == ["family@home.example"]
    assert world.config()["LastLicenseSync"] is None
    run(world)
    assert mails(world) == ["family@home.example"]


def test_a_revocation_is_marked_until_the_run_and_gone_after_it(world: SmallWorld) -> None:
    world.connect()
    offer(world)
    run(world)
    revoke(world)
    assert world.row(SPONSORSHIPS)["ToDelete"] == 1
    run(world)
    assert world.server.store.rows(SPONSORSHIPS) == []
    assert world.cloud.store.rows(SPONSORSHIPS) == []


def test_with_entity_framework_the_mail_goes_out_and_nothing_is_written_back(world: SmallWorld) -> None:
    world.settings(env={"databaseprovider": "postgresql"})
    world.connect()
    offer(world)
    lines = run(world)
    assert any("The entity type 'OrganizationSponsorship' was not found." in line for line in lines)
    assert world.row(SPONSORSHIPS)["LastSyncDate"] is None
    assert mails(world) == ["family@home.example"]
    revoke(world)
    run(world)
    assert world.server.store.rows(SPONSORSHIPS) == []
    assert len(world.cloud.store.rows(SPONSORSHIPS)) == 1


def test_without_sponsorships_nobody_is_asked(world: SmallWorld) -> None:
    world.connect()
    assert f"No existing sponsorships to sync for organization {world.acme()}" in run(world)
    assert world.requests() == []


def test_two_of_one_member_stop_every_run(world: SmallWorld) -> None:
    world.connect()
    member = world.row("OrganizationUser", OrganizationId=world.acme(), Type=2)
    columns = {"SponsoringOrganizationId": world.acme(), "SponsoringOrganizationUserId": member["Id"]}
    for name in ("One", "Two"):
        world.server.store.insert(SPONSORSHIPS, {**columns, "FriendlyName": name, "IsAdminInitiated": 1})
    lines = run(world)
    assert any(line.endswith(f"Key: {member['Id'].lower()}") for line in lines)
    assert world.requests() == []


def second_organization(world: SmallWorld) -> None:
    """Organization other has a connection too, and its own sponsorship."""
    other, cloud_other = (world.world.people[side]["orgs"]["other"]["id"] for side in ("self_hosted", "cloud"))
    config = {"BillingSyncKey": KEY, "CloudOrganizationId": cloud_other, "LastLicenseSync": None}
    connection = {"Type": 1, "OrganizationId": other, "Enabled": 1, "Config": json.dumps(config)}
    world.server.store.insert("OrganizationConnection", connection)
    path = f"/organization/sponsorship/self-hosted/{other}/families-for-enterprise"
    body = {"planSponsorshipType": 0, "sponsoredEmail": "o@home.example", "friendlyName": "Other Family"}
    assert world.call("self_hosted", "owner", "POST", path, body).status == 200


def test_one_organizations_failure_does_not_stop_the_next(world: SmallWorld) -> None:
    world.connect(key="x" * 30)
    offer(world)
    second_organization(world)
    lines = run(world)
    assert [line for line in lines if line.endswith("Failed")] == [
        "Sponsorship sync for organization Acme & Söhne Failed",
        "Sponsorship sync for organization Other Enterprise Failed",
    ]
    statuses = [(path, status) for _actor, _method, path, status in world.requests()]
    assert statuses == [("/connect/token", 200), (SYNC, 400), (SYNC, 500)]


def test_identitys_no_stops_the_rest_of_the_run_but_not_the_next_run(world: SmallWorld) -> None:
    world.settings(installation_key="wrong")
    world.connect()
    offer(world)
    second_organization(world)
    for runs in (1, 2):
        lines = run(world)
        assert sum(line.startswith("Not requesting a token at") for line in lines) == 1
        assert [path for _actor, _method, path, _status in world.requests()] == ["/connect/token"] * runs


def test_the_sponsorship_job_needs_cloud_communication_at_start(world: SmallWorld) -> None:
    world.settings(enable_cloud_communication=False)
    assert jobs.registered(world.server) == [LICENSE_JOB]
    world.settings(enable_cloud_communication=True)
    assert jobs.registered(world.server) == [LICENSE_JOB, SPONSORSHIP_JOB]
    assert SPONSORSHIP_JOB not in jobs.registered(world.cloud)


@pytest.mark.parametrize("rolled", [0, 1, 23])
def test_the_first_run_comes_within_a_day_and_then_one_a_day(
    world: SmallWorld, monkeypatch: pytest.MonkeyPatch, rolled: int
) -> None:
    monkeypatch.setattr("bwlab.jobs.random.randrange", lambda _hours: rolled)
    assert due(world) == []
    ran = []
    for hour in range(1, 73):
        world.pass_time(hours=1)
        ran += [hour for name in due(world) if name == SPONSORSHIP_JOB]
    assert ran == [max(rolled, 1), *range(rolled + 24, 73, 24)]


def test_a_new_start_rolls_the_hour_anew(world: SmallWorld) -> None:
    due(world)
    world.pass_time(days=2)
    assert due(world, started=2.0) == []
    planned = times.parse(world.row("LabJob", Name=SPONSORSHIP_JOB)["Next"])
    assert world.server.now() <= planned <= world.server.now() + timedelta(hours=23)


def test_licenses_are_checked_at_half_past_twelve_day_and_night(world: SmallWorld) -> None:
    due(world)
    for hours, expected in ((8, []), (1, [LICENSE_JOB]), (11, []), (1, [LICENSE_JOB])):
        world.pass_time(hours=hours)
        assert [name for name in due(world) if name == LICENSE_JOB] == expected
    assert world.server.now() - NOW == timedelta(hours=21)


def test_a_good_license_stays_and_a_missing_one_disables(world: SmallWorld) -> None:
    assert "Validating licenses for 3 organizations." in run(world, LICENSE_JOB)
    assert world.organization()["Enabled"] == 1
    (world.world.licenses / "organization" / f"{world.acme()}.json").unlink()
    lines = run(world, LICENSE_JOB)
    assert any(line.endswith("is being disabled. Reason: No license file.") for line in lines)
    assert world.organization()["Enabled"] == 0
    assert [row["To"] for row in world.server.store.rows("LabMail")] == ["billing-acme@acme.example"]


def test_an_expired_token_is_only_logged_and_a_sync_mends_it(world: SmallWorld) -> None:
    world.connect()
    world.set_time(NOW + timedelta(days=370))

    def unreadable() -> int:
        return sum(line.startswith("---> ") and "IDX10223" in line for line in run(world, LICENSE_JOB))

    assert unreadable() == 3
    assert world.organization()["Enabled"] == 1
    world.tokens.clear()
    assert world.sync().status == 200
    assert unreadable() == 2
