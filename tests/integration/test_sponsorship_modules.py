"""sponsorship and sponsorship_info against the lab: its TLS, its proxy, its tables, on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.families_server import Server
from labkit import Lab
from unit.module_runner import Result

JO = {"email": "jo@home.example", "friendly_name": "Family of Jo"}
GUEST = {"email": "guest@home.example", "friendly_name": "A guest", "admin_initiated": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A fresh server; the tests of this file run in order on it."""
    lab = Lab(tmp_path_factory.mktemp("sponsors"), "--servers", "1", "--regions", "US")
    try:
        found = Server.of(lab)
        found.join("jo", "kim")
        yield found
    finally:
        lab.down()


def change(server: Server, *entries: dict[str, Any], **options: Any) -> Result:
    return server.module("sponsorship", sponsorships=list(entries), **options)


def at_cloud(server: Server, module: str, **options: Any) -> Result:
    us1 = json.loads((server.lab.directory / "secrets.json").read_text())["us1"]
    owner = {key: us1["cloud_owner"][key] for key in ("client_id", "client_secret")}
    return server.module(module, region="US", **owner, **{"organization": us1["cloud_organization"], **options})


def test_offered_as_predicted_and_seen(server: Server, tmp_path: Path) -> None:
    for person, entry in (("jo", JO), ("owner", GUEST)):
        predicted = change(server, entry, person=person, check=True, diff=True)
        done = change(server, entry, person=person, diff=True, lock_path=str(tmp_path))
        assert done.changed and done["diff"] == predicted["diff"] and done["actions"] == predicted["actions"], done.data
        assert not change(server, entry, person=person).changed
    assert list(tmp_path.iterdir())
    assert server.rows() == ["A guest", "Family of Jo"]
    found = server.module("sponsorship_info", sponsorship_sync=False)
    assert [one["friendly_name"] for one in found["sponsorships"]] == ["A guest"]
    assert found["awaiting_sync"] == ["A guest"] and found["last_sync"] is None
    assert found["blocked_by"] == ["cloud_communication_off", "no_connection", "database"]
    assert server.module("sponsorship_info", sync=False)["blocked_by"] == []


def test_what_a_server_does_wrongly_is_refused(server: Server) -> None:
    last = server.lab.last()
    renamed = {**JO, "friendly_name": "Other"}
    second = {"email": "b@home.example", "admin_initiated": True}
    refused = [
        (change(server, renamed, person="jo"), "would replace"),
        (change(server, second), "more than one sponsorship"),
        (change(server, JO, state="absent", person="jo", sponsorship_sync=False), "only forget it"),
        (change(server, JO, state="absent", person="kim", unseen=True), "its own sponsorship only"),
        (change(server, JO, state="resent"), "cannot mail an offer again"),
    ]
    for result, words in refused:
        assert result.failed and words in result["msg"] and result["next_step"], result.data
    written = [one for one in server.lab.log(last) if one["method"] != "GET" and "/connect/token" not in one["path"]]
    assert written == []
    assert "made no sponsorship" in change(server, {**JO, "email": "kim@home.example"}, person="kim")["msg"]
    assert server.rows() == ["A guest", "Family of Jo"]


def test_what_is_allowed_explicitly_is_done(server: Server) -> None:
    assert change(server, {**JO, "friendly_name": "Other"}, person="jo", replace=True).changed
    second = {"email": "b@home.example", "admin_initiated": True}
    several = change(server, second, allow_several=True)
    assert several.changed and "several sponsorships" in several.warnings
    assert server.module("sponsorship_info")["blocked_by"][-1] == "several_of_one_member"
    assert change(server, purge="all", keep=["A guest"]).changed
    assert server.rows() == ["A guest", "Other"]
    server.change("UPDATE OrganizationSponsorship SET LastSyncDate = '2026-11-22 15:32:08' WHERE IsAdminInitiated = 1")
    waiting = change(server, {"email": "c@home.example", "admin_initiated": True}, purge="own", postpone=True)
    assert waiting.changed and waiting["postponed"] == ["c@home.example"] and waiting["awaiting_sync"] == ["A guest"]


def test_revoked_by_its_member_and_by_name(server: Server) -> None:
    gone = {"friendly_name": "Other"}
    assert change(server, gone, state="absent", person="jo", sponsorship_sync=False, allow_orphan=True).changed
    assert change(server, JO, person="jo").changed
    assert not change(server, JO, state="absent").changed
    assert change(server, JO, state="absent", unseen=True).changed
    assert server.rows() == ["A guest"]


def test_at_the_cloud_an_offer_is_mailed_again(server: Server) -> None:
    given = {"sponsorships": [GUEST]}
    assert at_cloud(server, "sponsorship", **given).changed
    last = server.lab.last()
    predicted = at_cloud(server, "sponsorship", **given, state="resent", check=True)
    assert predicted["actions"] == ["resend A guest"]
    assert not [one for one in server.lab.log(last) if "resend" in one["path"]]
    assert at_cloud(server, "sponsorship", **given, state="resent").changed
    assert [one for one in server.lab.log(last) if "resend" in one["path"]]
    assert at_cloud(server, "sponsorship_info")["sponsorships"][0]["status"] == "sent"
    assert at_cloud(server, "sponsorship", **given, state="absent").changed
    assert at_cloud(server, "sponsorship_info")["sponsorships"] == []


def test_an_unchanged_member_costs_two_requests_and_a_manager_three(server: Server) -> None:
    change(server, JO, person="jo")
    for person, count in (("jo", 2), ("owner", 3)):
        last = server.lab.last()
        state = "present" if person == "jo" else "absent"
        assert not change(server, JO, person=person, state=state).changed
        assert len(server.lab.log(last)) == count
