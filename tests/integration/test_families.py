"""families.yml against the lab: a list of sponsorships predicted, offered, synced by the server's job, revoked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from integration.families_server import Server
from labkit import Lab, Play

PREDICTED = ["Offer and revoke sponsorships"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A connected server; the tests of this file run in order on it."""
    lab = Lab(tmp_path_factory.mktemp("families"), "--servers", "1", "--regions", "US")
    try:
        lab.site()
        found = Server.of(lab)
        found.join("jo", "kim")
        found.join("stranger", member=False)
        yield found
    finally:
        lab.down()


def said(play: Play) -> str:
    """The output as one line: what is long is folded."""
    return " ".join(play.output.split())


def wanted(server: Server) -> list[dict[str, Any]]:
    return [
        {"email": "jo@home.example", "friendly_name": "Family of Jo", "account": server.accounts["jo"]},
        {"email": "kim@home.example", "account": server.accounts["kim"]},
        {"email": "guest@home.example", "friendly_name": "A guest", "admin_initiated": True},
    ]


def test_the_list_is_predicted_then_offered_then_left_alone(server: Server) -> None:
    families = server.families(*wanted(server))
    last = server.lab.last()
    predicted = server.play(families, "--check", "--diff")
    assert predicted.status == 0, predicted.output
    assert server.rows() == []
    assert predicted.changed() == {"us1": PREDICTED * 3}
    assert all(entry["persona"] == "server:us1" for entry in server.lab.log(last)), "the cloud was asked"
    done = server.play(families, "--diff")
    assert done.status == 0, done.output
    assert done.changed() == {"us1": PREDICTED * 3}
    assert server.rows() == ["A guest", "Family of Jo", "kim@home.example"]
    assert said(done).count("daily sponsorship sync") == 3
    again = server.play(families, "--diff")
    assert again.status == 0, again.output
    assert again.changed() == {} and again.recap["us1"]["changed"] == 0
    assert said(again).count("daily sponsorship sync") == 3


def test_after_the_sync_nothing_waits_and_an_account_costs_two_or_three_requests(server: Server) -> None:
    server.sync()
    assert all(server.rows("SELECT LastSyncDate FROM OrganizationSponsorship"))
    (cloud,) = server.lab.state()["clouds"]["US"]["organizations"]
    assert len(cloud["sponsorships"]) == 3
    last = server.lab.last()
    play = server.play(server.families(*wanted(server)))
    assert play.changed() == {} and "daily sponsorship sync" not in said(play)
    asked = server.lab.log(last)
    assert len(asked) == 7, asked
    assert {entry["persona"] for entry in asked} == {"server:us1"}


def test_a_changed_list_revokes_and_postpones_what_has_to_wait(server: Server) -> None:
    jo, kim, guest = wanted(server)
    families = server.families(jo, {**kim, "friendly_name": "Renamed"}, {**guest, "state": "absent"})
    unpurged = server.play(families)
    assert unpurged.status != 0 and "the cloud ignores another name" in said(unpurged)
    assert "No sponsorship of us1 was changed" in said(unpurged)
    predicted = server.play(families, "--check", families_purge=True)
    done = server.play(families, families_purge=True)
    assert predicted.status == done.status == 0, done.output
    assert predicted.changed() == done.changed() == {"us1": PREDICTED * 2}
    assert "Renamed is not offered yet" in said(done)
    marked = "SELECT FriendlyName FROM OrganizationSponsorship WHERE ToDelete = 1 ORDER BY 1"
    assert server.rows(marked) == ["A guest", "kim@home.example"]
    assert server.play(families, families_purge=True).changed() == {}
    server.sync()
    assert server.rows() == ["Family of Jo"]
    later = server.play(families, families_purge=True)
    assert later.changed() == {"us1": PREDICTED}
    assert server.rows() == ["Family of Jo", "Renamed"]


def test_what_keeps_it_from_being_synced_is_named(server: Server) -> None:
    jo, kim, _guest = wanted(server)
    server.change("UPDATE OrganizationConnection SET Enabled = 0")
    play = server.play(server.families(jo, {**kim, "friendly_name": "Renamed"}))
    server.change("UPDATE OrganizationConnection SET Enabled = 1")
    assert play.status == 0, play.output
    assert "Renamed waits for the server" in said(play)
    assert "nothing is synced as long as the billing sync connection is turned off" in said(play)


def test_who_is_no_member_stops_all_or_is_left_out(server: Server) -> None:
    jo, kim, guest = wanted(server)
    nobody = {"client_id": "user.00000000-0000-0000-0000-000000000001", "client_secret": "not-a-secret-of-anybody"}
    strangers = [
        {"email": "s@home.example", "account": server.accounts["stranger"]},
        {"email": "n@home.example", "account": nobody},
    ]
    families = server.families(jo, {**kim, "friendly_name": "Renamed"}, guest, *strangers)
    play = server.play(families)
    assert play.status != 0
    assert "sees no organization" in said(play) and "does not know this pair" in said(play)
    assert server.rows() == ["Family of Jo", "Renamed"]
    left_out = server.play(families, families_refused="go_on")
    assert left_out.status != 0 and left_out.changed() == {"us1": PREDICTED}
    assert "All others of us1 are as the list says" in said(left_out)
    assert server.rows() == ["A guest", "Family of Jo", "Renamed"]


def test_a_list_that_contradicts_itself_costs_no_request(server: Server) -> None:
    jo, kim, _guest = wanted(server)
    last = server.lab.last()
    play = server.play(server.families(jo, {**kim, "account": server.accounts["jo"]}))
    assert play.status != 0 and "have the same account" in said(play)
    assert server.lab.log(last) == []


def test_no_secret_is_printed_or_left_behind(server: Server) -> None:
    families = server.families(*wanted(server)[:1], purge=True)
    secrets = {*server.lab.secrets(), *(account["client_secret"] for account in server.accounts.values())}
    assert len(secrets) > 10
    plays = [server.play(families, *options, "-vvvv", "--diff") for options in (("--check",), (), ())]
    assert [play.status for play in plays] == [0, 0, 0], plays[-1].output[-3000:]
    assert [len(play.changed()) for play in plays] == [1, 1, 0]
    for play in plays:
        assert not [secret for secret in secrets if secret in play.output]
    left = [path for path in (server.lab.directory / "ansible").rglob("*") if path.is_file()]
    assert left
    assert not [path for path in left for secret in secrets if secret.encode() in path.read_bytes()]


def test_state_absent_revokes_all_of_the_list(server: Server) -> None:
    jo, kim, guest = wanted(server)
    families = server.families(jo, {**kim, "friendly_name": "Renamed"}, guest)
    play = server.play(families, families_state="absent")
    assert play.status == 0, play.output
    assert server.rows("SELECT FriendlyName FROM OrganizationSponsorship WHERE ToDelete = 0") == []
    assert server.play(families, families_state="absent").changed() == {}
    server.sync()
    assert server.rows() == []


def test_a_database_that_cannot_note_a_sync_is_refused(server: Server) -> None:
    families = server.families(wanted(server)[2])
    path = server.lab.env_file("us1")
    before = path.read_text()
    last = server.lab.last()
    path.write_text(before + "globalSettings__databaseProvider=postgresql\n")
    try:
        refused = server.play(families)
        assert refused.status != 0 and "The database of us1, PostgreSQL, cannot note" in said(refused)
        assert server.lab.log(last) == [] and server.rows() == []
        accepted = server.play(families, families_database="never_syncs")
        assert accepted.status == 0 and "stay 'requested'" in said(accepted), accepted.output
        revoked = server.play(families, families_state="absent")
        assert revoked.status != 0 and "only forget it" in said(revoked)
        assert server.play(families, families_state="absent", families_allow_orphan=True).status == 0
        assert server.rows() == []
    finally:
        path.write_text(before)
