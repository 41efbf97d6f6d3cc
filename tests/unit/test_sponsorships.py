"""Sponsorships against the recorded people over HTTP: what is offered, revoked, refused, and read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.module_runner import Result
from unit.recorded_world import ACME, Recorded

NAME = "Acme & Söhne"
TABLE = "OrganizationSponsorship"
FAMILY = {"email": "family@home.example", "friendly_name": "Family One"}
ADMIN = {"email": "a@home.example", "friendly_name": "Admin One", "admin_initiated": True}
SYNCED = "2026-11-22 15:32:08.5022327"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Recorded]:
    with Recorded(tmp_path).running() as running:
        for side in ("cloud", "self_hosted"):
            for row in running.rows(side, TABLE):
                running.store(side).delete(TABLE, row["Id"])
        # As recorded all seats are taken.
        seats(running, 50)
        yield running


def seats(world: Recorded, number: int | None) -> None:
    (row,) = world.rows("self_hosted", "Organization", Id=ACME["self_hosted"].upper())
    world.store("self_hosted").update("Organization", row["Id"], Seats=number)


def change(world: Recorded, *entries: dict[str, Any], person: str = "member", **options: Any) -> Result:
    given = {"organization": ACME["self_hosted"], "sponsorships": list(entries), **options}
    return world.run("self_hosted", "sponsorship", person=person, **given)


def at_cloud(world: Recorded, module: str, *, person: str = "owner", **options: Any) -> Result:
    region = {"name": "Test", "api": world.urls["cloud"] + "/api", "identity": world.urls["cloud"] + "/identity"}
    return world.run("cloud", module, person=person, url=None, region=region, organization=ACME["cloud"], **options)


def info(world: Recorded, person: str = "owner", **options: Any) -> Result:
    return world.run("self_hosted", "sponsorship_info", person=person, organization=NAME, **options)


def rows(world: Recorded, side: str = "self_hosted") -> list[tuple[Any, ...]]:
    found = world.rows(side, TABLE)
    return [(row["FriendlyName"], row["OfferedToEmail"], bool(row["IsAdminInitiated"])) for row in found]


def synced(world: Recorded, side: str = "self_hosted", **columns: Any) -> None:
    for row in world.rows(side, TABLE):
        world.store(side).update(TABLE, row["Id"], **{"LastSyncDate": SYNCED, **columns})


def changes(world: Recorded, side: str = "self_hosted") -> int:
    """How many requests there were that could change a sponsorship."""
    return sum("/sponsorship/" in line and not line.startswith("GET") for line in world.logs[side])


def test_a_member_offers_and_the_second_run_changes_nothing(world: Recorded) -> None:
    predicted = change(world, FAMILY, check=True, diff=True)
    assert rows(world) == []
    done = change(world, FAMILY, diff=True)
    assert rows(world) == [("Family One", "family@home.example", False)]
    for key in ("changed", "actions", "sponsorships", "awaiting_sync", "diff", "organization"):
        assert predicted[key] == done[key]
    assert done.changed and done["awaiting_sync"] == ["Family One"] and done["actions"] == ["offer Family One"]
    assert done["diff"] == {"before": {}, "after": {"Family One": "requested"}}
    again = change(world, FAMILY, diff=True)
    assert not again.changed and again["actions"] == []
    assert again["sponsorships"] == done["sponsorships"]
    assert again["diff"]["before"] == again["diff"]["after"] == {"Family One": "requested"}
    assert changes(world) == 1


def test_the_address_is_the_name_unless_there_is_another(world: Recorded) -> None:
    assert change(world, {"email": " family@home.example "}).changed
    assert rows(world) == [("family@home.example", "family@home.example", False)]
    assert change(world, {"email": "family@home.example"}, state="absent").changed


def test_an_unchanged_member_costs_two_requests(world: Recorded) -> None:
    change(world, FAMILY)
    world.logs["self_hosted"].clear()
    change(world, FAMILY)
    assert [line.split()[1] for line in world.logs["self_hosted"]] == [
        "/identity/connect/token",
        "/api/accounts/profile",
    ]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{}], "neither friendly_name nor email"),
        ([{"friendly_name": "X"}], "has no email"),
        ([{"email": "nope"}], "no plain e-mail address"),
        ([{"email": "Fam <family@home.example>"}], "no plain e-mail address"),
        ([{"email": "a" * 250 + "@home.example"}], "longer than 256"),
        ([{**FAMILY, "friendly_name": "n" * 257}], "longer than 256"),
        ([{**FAMILY, "friendly_name": "Sl/ash"}], "never be revoked"),
        ([{**FAMILY, "friendly_name": ".."}], "never be revoked"),
        ([ADMIN, {**ADMIN, "friendly_name": "ADMIN ONE"}], "Several entries"),
        ([ADMIN, {**ADMIN, "friendly_name": "Another", "email": "A@home.example"}], "a family can have one"),
        ([FAMILY, {"email": "b@home.example"}], "one sponsorship of its own"),
    ],
)
def test_what_no_server_can_do_is_refused_without_a_login(
    world: Recorded, entries: list[dict[str, Any]], words: str
) -> None:
    result = change(world, *entries, person="owner")
    assert result.failed and result["next_step"] and words in result["msg"], result.data
    assert world.logs["self_hosted"] == []


def test_names_of_256_characters_are_taken(world: Recorded) -> None:
    assert change(world, {**FAMILY, "friendly_name": "n" * 256}).changed


@pytest.mark.parametrize(
    ("person", "entry", "words"),
    [
        ("member", {**FAMILY, "email": "SH-member@acme.example"}, "own address"),
        ("member", ADMIN, "for those who manage"),
        ("accepted", FAMILY, "only confirmed members"),
        ("stranger", FAMILY, "sees no organization"),
    ],
)
def test_who_may_not(world: Recorded, person: str, entry: dict[str, Any], words: str) -> None:
    result = change(world, entry, person=person)
    assert result.failed and words in result["msg"], result.data
    assert changes(world) == 0 and rows(world) == []


def test_only_enterprise_can_sponsor(world: Recorded) -> None:
    result = change(world, FAMILY, organization="7d54503b-b8cb-425e-9264-b50a00ebaae5")
    assert result.failed and "only Enterprise" in result["msg"], result.data
    assert changes(world) == 0


@pytest.mark.parametrize("person", ["owner", "admin", "custom"])
def test_who_manages_the_users_offers_for_others(world: Recorded, person: str) -> None:
    done = change(world, ADMIN, person=person)
    assert done.changed, done.data
    assert rows(world) == [("Admin One", "a@home.example", True)]
    assert done["sponsorships"][0]["email"] == "a@home.example"
    assert not change(world, ADMIN, person=person).changed
    # What one administrator offered is there for all of them.
    assert not change(world, ADMIN, person="owner2").changed


def test_a_license_without_sponsorships_by_administrators(world: Recorded) -> None:
    (row,) = world.rows("self_hosted", "Organization", Id=ACME["self_hosted"].upper())
    world.store("self_hosted").update("Organization", row["Id"], UseAdminSponsoredFamilies=0)
    assert "no sponsorships by administrators" in change(world, ADMIN, person="owner")["msg"]
    assert changes(world) == 0


def test_no_free_seats(world: Recorded) -> None:
    seats(world, 1)
    result = change(world, ADMIN, person="owner")
    assert result["server_said"].startswith("Cannot autoscale") and "seat" in result["cause"]
    assert rows(world) == []


def test_another_name_would_replace_the_first_offer(world: Recorded) -> None:
    change(world, FAMILY)
    other = {"email": "b@home.example", "friendly_name": "Family Two"}
    assert "would replace" in change(world, other)["msg"]
    assert rows(world)[0][0] == "Family One"
    assert "cloud may know it" in change(world, other, replace=True, sponsorship_sync=False)["msg"]
    done = change(world, other, replace=True, diff=True)
    assert done["diff"] == {"before": {"Family One": "requested"}, "after": {"Family Two": "requested"}}
    assert "never saw synced" in done.warnings
    assert rows(world) == [("Family Two", "b@home.example", False)]
    synced(world)
    assert "the cloud ignores" in change(world, FAMILY, replace=True)["msg"]
    assert rows(world)[0][0] == "Family Two"


@pytest.mark.parametrize("name", ["Family One", "New Name"])
def test_an_offer_never_takes_a_pending_revocation_back(world: Recorded, name: str) -> None:
    change(world, FAMILY)
    synced(world, ToDelete=True)
    result = change(world, {**FAMILY, "friendly_name": name}, replace=True)
    assert result.failed and "being removed" in result["msg"] and "Manually Sync" in result["next_step"]
    assert world.rows("self_hosted", TABLE)[0]["ToDelete"]


def test_a_name_that_another_member_has_is_told_after_the_server_did_nothing(world: Recorded) -> None:
    change(world, FAMILY)
    result = change(world, {**FAMILY, "email": "third@home.example"}, person="member2")
    assert result.failed and "made no sponsorship" in result["msg"] and "another member" in result["next_step"]
    assert len(rows(world)) == 1


def test_names_that_are_taken_or_nearly_so_and_other_addresses(world: Recorded) -> None:
    change(world, ADMIN, person="owner")
    twin = change(world, {**ADMIN, "friendly_name": "ADMIN one"}, person="admin")
    assert "upper and lower case" in twin["msg"]
    assert "offered to a@home.example" in change(world, {**ADMIN, "email": "z@home.example"}, person="owner")["msg"]
    assert not change(world, {**ADMIN, "email": "A@HOME.example"}, person="owner").changed
    renamed = change(world, {**ADMIN, "friendly_name": "New Name"}, person="admin")
    assert "has the sponsorship 'Admin One' already" in renamed["msg"]
    own = change(world, {**FAMILY, "friendly_name": "Admin One"}, person="admin")
    assert "of another sponsorship (offered by an administrator, not a member's own)" in own["msg"]
    assert len(rows(world)) == 1
    assert change(world, FAMILY, person="admin", allow_several=True).changed
    admin = change(world, {**FAMILY, "admin_initiated": True}, person="admin")
    assert "of another sponsorship (a member's own, not offered by an administrator)" in admin["msg"]


def test_two_sponsorships_of_one_account_would_end_every_sync(world: Recorded) -> None:
    change(world, ADMIN, person="owner")
    result = change(world, FAMILY, person="owner")
    assert "more than one sponsorship" in result["msg"]
    second = {**ADMIN, "friendly_name": "Admin Two", "email": "b@home.example"}
    third = {**ADMIN, "friendly_name": "Admin Three", "email": "c@home.example"}
    assert "more than one" in change(world, second, person="owner")["msg"]
    assert "more than one" in change(world, second, third, person="admin")["msg"]
    assert len(rows(world)) == 1
    done = change(world, FAMILY, second, person="owner", allow_several=True)
    assert done.changed and len(rows(world)) == 3
    found = info(world)
    assert found["blocked_by"][-1] == "several_of_one_member"
    assert "several sponsorships" in change(world, ADMIN, person="owner").warnings


def test_many_in_one_call_stop_at_the_first_no_and_go_on_later(world: Recorded) -> None:
    entries = [{**ADMIN, "friendly_name": f"Admin {n}", "email": f"{n}@home.example"} for n in range(3)]
    members = world.rows("self_hosted", "OrganizationUser", OrganizationId=ACME["self_hosted"].upper())
    taken = sum(one["Status"] >= 0 for one in members)
    seats(world, taken + 1)
    result = change(world, *entries, person="owner", allow_several=True)
    assert result.failed and "done for 'Admin 0'" in result["msg"], result.data
    seats(world, None)
    assert change(world, *entries, person="owner", allow_several=True).changed
    assert len(rows(world)) == 3
    assert not change(world, *entries, person="owner", allow_several=True).changed


def test_a_never_synced_one_is_gone_at_once_and_a_synced_one_waits(world: Recorded) -> None:
    change(world, FAMILY)
    predicted = change(world, FAMILY, state="absent", check=True, diff=True)
    done = change(world, FAMILY, state="absent", diff=True)
    assert done.changed and rows(world) == [] and done["sponsorships"] == []
    assert predicted["diff"] == done["diff"] == {"before": {"Family One": "requested"}, "after": {}}
    assert "never saw synced" in done.warnings
    assert not change(world, FAMILY, state="absent").changed
    change(world, FAMILY)
    synced(world)
    predicted = change(world, {"friendly_name": "Family One"}, state="absent", check=True)
    done = change(world, {"friendly_name": "Family One"}, state="absent", sponsorship_sync=True)
    assert predicted["sponsorships"] == done["sponsorships"]
    assert done["sponsorships"][0]["status"] == "removed_awaiting_sync" and done["awaiting_sync"] == ["Family One"]
    assert "never saw synced" not in done.warnings
    assert not change(world, FAMILY, state="absent").changed


def test_a_database_that_cannot_note_the_sync(world: Recorded) -> None:
    offered = change(world, FAMILY, sponsorship_sync=False)
    assert "for ever" in offered.warnings
    result = change(world, FAMILY, state="absent", sponsorship_sync=False)
    assert result.failed and "only forget it" in result["msg"] and "at the cloud first" in result["next_step"]
    assert len(rows(world)) == 1
    assert info(world, "member", sponsorship_sync=False)["blocked_by"] == ["database"]
    unseen = change(world, FAMILY, person="owner", state="absent", unseen=True, sponsorship_sync=False)
    assert "only forget it" in unseen["msg"] and len(rows(world)) == 1
    assert change(world, FAMILY, state="absent", sponsorship_sync=False, allow_orphan=True).changed
    assert rows(world) == []


def test_a_manager_revokes_what_it_sees_and_on_request_what_it_does_not(world: Recorded) -> None:
    change(world, ADMIN, person="owner")
    change(world, FAMILY)
    both = ({"friendly_name": "admin one"}, {"friendly_name": "Family One"})
    assert change(world, *both, person="admin", state="absent").changed
    assert [row[0] for row in rows(world)] == ["Family One"]
    assert not change(world, *both, person="admin", state="absent").changed
    assert change(world, *both, person="admin", state="absent", unseen=True).changed
    assert rows(world) == []
    assert not change(world, *both, person="admin", state="absent", unseen=True).changed


def test_a_member_revokes_nobody_elses(world: Recorded) -> None:
    change(world, FAMILY)
    before = changes(world)
    assert "its own sponsorship only" in change(world, FAMILY, person="member2", state="absent", unseen=True)["msg"]
    assert changes(world) == before


def test_names_with_odd_characters_are_found_again(world: Recorded) -> None:
    for name in ("With Space", "Umlaut ä", "Pl+us", "50%", "a?b#c"):
        entry = {**ADMIN, "friendly_name": name}
        assert change(world, entry, person="owner").changed
        assert change(world, entry, person="admin", state="absent").changed, name
        assert rows(world) == []


def test_a_revocation_that_hits_another_one_is_told(world: Recorded) -> None:
    change(world, {**FAMILY, "friendly_name": "ADMIN ONE"})
    change(world, ADMIN, person="owner")
    result = change(world, ADMIN, person="admin", state="absent")
    assert result.failed and "revoked another member's" in result["msg"]


def test_no_slash_for_managers(world: Recorded) -> None:
    result = change(world, {"friendly_name": "Sl/ash"}, person="owner", state="absent", unseen=True)
    assert "cannot find the name" in result["msg"]
    assert changes(world) == 0


def test_a_self_hosted_server_mails_nothing_again(world: Recorded) -> None:
    result = change(world, FAMILY, state="resent")
    assert "cannot mail" in result["msg"] and "region" in result["next_step"]
    assert world.logs["self_hosted"] == []


def test_the_cloud_mails_again_and_revokes(world: Recorded) -> None:
    assert at_cloud(world, "sponsorship", sponsorships=[ADMIN]).changed
    offers = [ADMIN]
    predicted = at_cloud(world, "sponsorship", sponsorships=offers, state="resent", check=True)
    done = at_cloud(world, "sponsorship", sponsorships=offers, state="resent")
    assert predicted.changed and done.changed
    assert predicted["sponsorships"] == done["sponsorships"] and done["sponsorships"][0]["status"] == "sent"
    assert sum("/resend" in line for line in world.logs["cloud"]) == 1
    hidden = [{"friendly_name": "Of a server"}]
    assert "sees no offer" in at_cloud(world, "sponsorship", sponsorships=hidden, state="resent")["msg"]
    assert at_cloud(world, "sponsorship", sponsorships=hidden, state="resent", unseen=True).changed
    refused_one = at_cloud(world, "sponsorship", person="member", sponsorships=hidden, state="resent", unseen=True)
    assert refused_one.failed and "its own sponsorship only" in refused_one["msg"]
    assert at_cloud(world, "sponsorship_info")["sponsorships"][0]["awaiting_sync"] is False
    assert at_cloud(world, "sponsorship", sponsorships=offers, state="absent").changed
    assert rows(world, "cloud") == []


def test_an_accepted_offer_is_not_mailed_again(world: Recorded) -> None:
    at_cloud(world, "sponsorship", sponsorships=[ADMIN])
    synced(world, "cloud", ValidUntil=SYNCED)
    assert "not open" in at_cloud(world, "sponsorship", sponsorships=[ADMIN], state="resent")["msg"]


@pytest.mark.parametrize(
    ("columns", "status", "awaits"),
    [
        ({"LastSyncDate": None}, "requested", True),
        ({}, "sent", False),
        ({"ValidUntil": SYNCED}, "active", False),
        ({"ToDelete": True}, "removed_awaiting_sync", True),
        ({"ToDelete": True, "ValidUntil": SYNCED}, "expiring", False),
    ],
)
def test_statuses_are_those_of_the_web_vault(
    world: Recorded, columns: dict[str, Any], status: str, awaits: bool
) -> None:
    change(world, FAMILY)
    synced(world, **columns)
    (found,) = info(world, "member")["sponsorships"]
    assert (found["status"], found["awaiting_sync"], found["email"]) == (status, awaits, None)


def test_what_keeps_sponsorships_from_being_synced(world: Recorded) -> None:
    for row in world.rows("self_hosted", "OrganizationConnection"):
        world.store("self_hosted").delete("OrganizationConnection", row["Id"])
    found = info(world)
    assert found["blocked_by"] == ["no_connection"]
    assert found["last_sync"] is None
    (row,) = world.rows("self_hosted", "Organization", Id=ACME["self_hosted"].upper())
    world.store("self_hosted").update("Organization", row["Id"], Enabled=0)
    assert info(world)["blocked_by"] == ["organization_disabled", "no_connection"]
    assert "is disabled" in change(world, FAMILY).warnings
    world.stand_ins = {"/connections/enabled": (200, False)}
    assert "cloud_communication_off" in info(world)["blocked_by"]
    stored = {"id": "x", "enabled": False, "config": {"BillingSyncKey": ""}}
    world.stand_ins = {f"/connections/{ACME['self_hosted']}/1": (200, stored)}
    assert info(world)["blocked_by"] == ["organization_disabled", "connection_disabled", "no_token"]


def test_what_each_role_sees_and_what_it_costs(world: Recorded) -> None:
    change(world, ADMIN, person="owner")
    change(world, FAMILY)
    synced(world)
    seen = {}
    for person in ("owner", "admin", "member"):
        world.logs["self_hosted"].clear()
        found = info(world, person)
        seen[person] = ([one["friendly_name"] for one in found["sponsorships"]], len(world.logs["self_hosted"]))
        assert found["organization"]["seats_of_sponsorships"] == (None if person == "member" else 1)
        assert found["organization"]["can_sponsor"] and not found.changed
        assert bool(found["last_sync"]) is (person == "owner")
    assert seen == {"owner": (["Admin One"], 6), "admin": (["Admin One"], 3), "member": (["Family One"], 2)}
    world.logs["self_hosted"].clear()
    assert info(world, sync=False)["last_sync"] is None
    assert len(world.logs["self_hosted"]) == 3


def test_servers_without_a_list_and_other_makers(world: Recorded) -> None:
    world.stand_ins = {"/sponsored": (404, None)}
    assert info(world, "admin")["sponsorships"] == []
    world.stand_ins |= {"/config": (200, {"version": "2025.4.0"})}
    result = change(world, ADMIN, person="owner")
    assert result.failed and "2025.4.3" in result["msg"]
    world.stand_ins |= {"/revoke": (404, None)}
    result = change(world, ADMIN, person="owner", state="absent", unseen=True)
    assert result.failed and "2025.5.2" in result["msg"]
    world.stand_ins = {
        "/config": (200, {"version": "2025.6.0", "server": {"name": "Vaultwarden"}}),
        "/families-for-enterprise": (404, None),
    }
    assert "Vaultwarden" in change(world, FAMILY)["msg"]


def test_addresses_of_the_wrong_kind(world: Recorded) -> None:
    result = world.run("cloud", "sponsorship", organization=NAME, sponsorships=[FAMILY])
    assert result.failed and "Only allowed when self hosted" in result["msg"]
    assert rows(world, "cloud") == []


def test_who_manages_it_for_a_provider_sees_and_revokes_but_does_not_sponsor(world: Recorded) -> None:
    change(world, ADMIN, person="admin")
    row = {"id": ACME["self_hosted"], "name": NAME, "type": 0, "status": 2, "enabled": True, "productTierType": 3}
    profile = {"email": "provider@acme.example", "organizations": [], "providerOrganizations": [row]}
    world.stand_ins = {"/accounts/profile": (200, profile)}
    assert [one["mine"] for one in info(world)["sponsorships"]] == [False]
    assert "for a provider" in change(world, FAMILY, person="owner")["msg"]
    assert change(world, ADMIN, person="owner", state="absent").changed
    assert rows(world) == []


@pytest.mark.parametrize("nonsense", [7, "text", {"a": 1}, [None, 1, "x", []]])
def test_answers_of_wrong_types_are_no_sponsorships(world: Recorded, nonsense: Any) -> None:
    row = {"id": ACME["self_hosted"], "name": NAME, "type": 0, "status": 2, "enabled": True, "productTierType": 3}
    row |= {"permissions": nonsense, "seats": nonsense, "familySponsorshipValidUntil": nonsense}
    others = dict.fromkeys(("email", "organizationsNew", "providerOrganizations"), nonsense)
    profile = {"organizations": [row], **others}
    world.stand_ins = {"/accounts/profile": (200, profile), "/sponsored": (200, {"data": nonsense})}
    found = info(world)
    assert not found.failed and found["sponsorships"] == [], found.data


def test_purge_revokes_what_nobody_wants_and_offers_in_the_same_call(world: Recorded) -> None:
    change(world, ADMIN, person="owner")
    change(world, {**ADMIN, "friendly_name": "Kept", "email": "k@home.example"}, person="admin")
    change(world, FAMILY)
    new = {**ADMIN, "friendly_name": "New", "email": "new@home.example"}
    assert "more than one" in change(world, new, person="owner")["msg"]
    options = {"person": "owner", "purge": "all", "keep": ["KEPT"], "diff": True}
    predicted = change(world, new, check=True, **options)
    done = change(world, new, **options)
    assert predicted["diff"] == done["diff"] == {"before": {"Admin One": "requested"}, "after": {"New": "requested"}}
    # What a member has for itself is nobody else's business.
    assert sorted(row[0] for row in rows(world)) == ["Family One", "Kept", "New"]
    assert done["actions"] == predicted["actions"] == ["revoke Admin One", "offer New"]
    assert not change(world, new, **options).changed
    assert change(world, person="owner", purge="own").changed
    assert sorted(row[0] for row in rows(world)) == ["Family One", "Kept"]
    assert change(world, purge="all").changed
    assert [row[0] for row in rows(world)] == ["Kept"]


def test_an_offer_that_has_to_wait_is_postponed_where_that_is_asked_for(world: Recorded) -> None:
    change(world, FAMILY)
    synced(world)
    new = {"friendly_name": "New", "email": "new@home.example"}
    assert "being removed" in change(world, new, purge="own")["msg"]
    assert not world.rows("self_hosted", TABLE)[0]["ToDelete"]
    predicted = change(world, new, purge="own", postpone=True, check=True, diff=True)
    done = change(world, new, purge="own", postpone=True, diff=True)
    assert predicted["diff"] == done["diff"]
    assert done["diff"] == {"before": {"Family One": "sent"}, "after": {"Family One": "removed_awaiting_sync"}}
    assert done.changed and done["postponed"] == predicted["postponed"] == ["New"]
    assert done["awaiting_sync"] == ["Family One"]
    again = change(world, new, purge="own", postpone=True)
    assert not again.changed and again["postponed"] == ["New"]
    assert change(world, FAMILY, postpone=True)["postponed"] == ["Family One"]
    (row,) = world.rows("self_hosted", TABLE)
    world.store("self_hosted").delete(TABLE, row["Id"])
    assert change(world, new, purge="own", postpone=True)["postponed"] == []
    assert [row[0] for row in rows(world)] == ["New"]


def test_an_administrators_offer_waits_for_the_revocation_of_the_one_before(world: Recorded) -> None:
    change(world, ADMIN, person="owner")
    synced(world)
    new = {**ADMIN, "friendly_name": "New", "email": "new@home.example"}
    done = change(world, new, person="owner", purge="all", postpone=True)
    assert done.changed and done["postponed"] == ["New"] and len(rows(world)) == 1
