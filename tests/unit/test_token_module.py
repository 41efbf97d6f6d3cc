"""billing_sync_token and billing_sync against the recorded people over HTTP: every option, run and check."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from unit.module_runner import Result
from unit.recorded_world import ACME, Front, Recorded

NAME = "Acme & Söhne"
SHOWN = {"token", "exists", "revision_date", "rotated", "servers_with_old_token", "otp_requested", "organization"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Recorded]:
    with Recorded(tmp_path).running() as running:
        yield running


def message(result: Result) -> str:
    assert result.failed, result.data
    assert result["next_step"]
    return str(result["msg"])


def done(result: Result) -> Result:
    assert not result.failed, result.data
    assert set(result.data) >= SHOWN
    return result


def asked(world: Recorded) -> list[str]:
    found = []
    for line in world.logs["cloud"]:
        method, path, _status = line.split(" ")
        found.append(f"{method} " + "/".join(part for part in path.split("/")[2:] if len(part) < 36))
    return found


def keys(world: Recorded, organization: str = ACME["cloud"]) -> list[dict[str, Any]]:
    return world.rows("cloud", "OrganizationApiKey", OrganizationId=organization, Type=1)


def code(world: Recorded) -> str:
    (row,) = world.rows("cloud", "LabCode")
    return str(row["Code"])


# Information only.


def test_information_needs_no_password_and_makes_nothing(world: Recorded) -> None:
    for check in (True, False):
        found = done(world.token(information_only=True, master_password=None, check=check))
        assert (found.changed, found["exists"], found["token"], found["revision_date"]) == (False, False, None, None)
    assert keys(world) == []
    made = world.token()
    world.logs["cloud"].clear()
    found = done(world.token(information_only=True, master_password=None))
    assert (found["exists"], found["revision_date"], found["token"]) == (True, made["revision_date"], None)
    assert made["token"] not in found.output
    assert asked(world)[-1] == "GET organizations/api-key-information/1"
    assert not [line for line in asked(world) if line.endswith("/api-key")]


def test_information_about_a_broken_organization_warns_and_does_not_fail(world: Recorded) -> None:
    world.token()
    (row,) = keys(world)
    world.store("cloud").insert("OrganizationApiKey", {**row, "Id": "B1BBAE9D-687B-5A9A-897A-606645AF80E4"})
    found = done(world.token(information_only=True))
    assert "2 billing sync tokens" in found.warnings
    assert "for ever" in found.warnings and "support" in found.warnings
    assert found["exists"] is True


# Rotating.


def test_rotating_names_the_servers_that_hold_the_old_token(world: Recorded) -> None:
    old = world.token()
    servers = ["bitwarden-berlin", "bitwarden-paris"]
    predicted = done(world.token(rotate=True, servers=servers, check=True, diff=True))
    assert keys(world)[0]["ApiKey"] == old["token"]
    made = done(world.token(rotate=True, servers=servers, diff=True))
    (row,) = keys(world)
    assert made["token"] == row["ApiKey"] != old["token"]
    assert made["revision_date"] > old["revision_date"]
    for result in (predicted, made):
        assert result.changed and result["rotated"]
        assert result["servers_with_old_token"] == servers
        assert "bitwarden-berlin, bitwarden-paris" in result.warnings
    assert predicted["token"] is None
    assert predicted["diff"] == made["diff"]
    assert made["diff"]["after"] == {"billing_sync_token": "rotated"}
    again = world.token()
    assert (again.changed, again["token"], again["rotated"]) == (False, made["token"], False)


def test_a_rotation_has_to_say_who_holds_the_old_token(world: Recorded) -> None:
    old = world.token()
    refused = world.token(rotate=True)
    assert refused.failed and "servers" in refused["msg"]
    assert keys(world)[0]["ApiKey"] == old["token"]
    made = done(world.token(rotate=True, servers=[]))
    assert made["servers_with_old_token"] == []
    assert "counts no more" not in made.warnings


def test_rotating_where_there_is_no_token_makes_the_first_one(world: Recorded) -> None:
    made = done(world.token(rotate=True, servers=["a"], diff=True))
    assert (made.changed, made["rotated"], made["servers_with_old_token"]) == (True, False, [])
    assert made["diff"]["before"] == {"billing_sync_token": "absent"}


def test_a_rotation_with_a_wrong_password_changes_nothing_also_in_check_mode(world: Recorded) -> None:
    old = world.token()
    for check in (True, False):
        text = message(world.token(rotate=True, servers=[], master_password="not the password", check=check))
        assert "Invalid password" in text
    assert keys(world)[0]["ApiKey"] == old["token"]


def test_servers_without_rotation_mean_nothing(world: Recorded) -> None:
    assert done(world.token(servers=["a"]))["servers_with_old_token"] == []


# One-time codes.


def test_an_owner_without_a_password_is_told_of_codes_has_one_mailed_and_uses_it(world: Recorded) -> None:
    person = {"person": "nopass"}
    text = message(world.token(**person))
    assert "has no master password" in text and "request_otp" in text
    given = {**person, "master_password": None}
    predicted = done(world.token(request_otp=True, check=True, **given))
    assert predicted.changed and predicted["otp_requested"]
    assert world.rows("cloud", "LabCode") == []
    requested = done(world.token(request_otp=True, **given))
    assert (requested.changed, requested["otp_requested"], requested["token"]) == (True, True, None)
    assert requested["exists"] is False and keys(world) == []
    assert done(world.token(otp=code(world), check=True, **given)).changed
    made = done(world.token(otp=f" {code(world)[:4]} {code(world)[4:]}", **given))
    assert made.changed and made["token"] == keys(world)[0]["ApiKey"]
    assert world.rows("cloud", "LabCode") == []


def test_a_code_is_good_once_and_a_wrong_one_is_told(world: Recorded) -> None:
    world.token(request_otp=True)
    given = {"otp": code(world), "master_password": None}
    first = done(world.token(**given))
    text = message(world.token(**given))
    assert "one-time code" in text and given["otp"] not in world.token(**given).output
    assert keys(world)[0]["ApiKey"] == first["token"]


def test_a_code_counts_more_than_a_password(world: Recorded) -> None:
    assert "Invalid password" in message(world.token(otp="00000000"))


def test_rotating_by_code(world: Recorded) -> None:
    old = world.token()
    world.token(request_otp=True)
    made = done(world.token(rotate=True, servers=["a"], otp=code(world), master_password=None))
    assert made["rotated"] and made["token"] != old["token"]


@pytest.mark.parametrize(
    "options",
    [
        {"rotate": True, "servers": [], "information_only": True},
        {"request_otp": True, "information_only": True},
        {"request_otp": True, "otp": "12345678"},
        {"information_only": True, "otp": "12345678"},
        {"rotate": True, "servers": [], "request_otp": True},
    ],
)
def test_two_tasks_in_one_are_refused_before_anything_is_sent(world: Recorded, options: dict[str, Any]) -> None:
    assert "at once" in message(world.token(**options))
    assert world.logs["cloud"] == []


def test_switches_that_are_off_contradict_nothing(world: Recorded) -> None:
    off = {"rotate": False, "request_otp": False}
    assert done(world.token(information_only=True, **off))["exists"] is False


# Who may, and which plan.


def test_a_user_of_the_provider_that_manages_an_organization_owns_it(world: Recorded) -> None:
    row = {"id": ACME["cloud"], "name": NAME, "type": 0, "status": 2, "productTierType": 3, "enabled": True}
    provider = {"email": "cloud-owner@acme.example", "organizations": [], "providerOrganizations": [row]}
    world.stand_ins = {"/accounts/profile": (200, provider)}
    made = done(world.token(organization=NAME))
    assert made.changed and made["organization"] == {"id": ACME["cloud"], "name": NAME}


def test_teams_have_billing_sync_too(world: Recorded) -> None:
    made = done(world.token(organization="Acme Teams"))
    assert made.changed
    assert made["token"] == keys(world, made["organization"]["id"])[0]["ApiKey"]


def test_a_plan_without_billing_sync_is_refused_for_rotation_too(world: Recorded) -> None:
    """The cloud itself would rotate, and make, a token that is good for nothing."""
    before = world.rows("cloud", "OrganizationApiKey")
    text = message(world.token(organization="Acme Free", rotate=True, servers=[]))
    assert "has the plan Free" in text and "Teams and Enterprise" in text
    assert world.rows("cloud", "OrganizationApiKey") == before


# How often the cloud is asked.


def test_a_first_token_costs_as_many_requests_as_are_needed(world: Recorded) -> None:
    done(world.token(confirm=False))
    # The first one proves an address that is none of Bitwarden's own regions to be a cloud.
    assert asked(world) == [
        "GET installations",
        "POST connect/token",
        "GET accounts/profile",
        "GET organizations/api-key-information/1",
        "POST organizations/api-key",
    ]
    world.logs["cloud"].clear()
    done(world.token())
    assert len(asked(world)) == 5


class LateOnce(Front):
    """Tells the first one who asks so late that there is no token yet that all others have asked meanwhile."""

    told = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        pause = 3 if scope["path"].endswith("/api-key-information/1") and not self.told else 0
        self.told = self.told or bool(pause)

        async def late(message: Any) -> None:
            await asyncio.sleep(pause)
            await send(message)

        await super().__call__(scope, receive, late)


def test_runs_of_other_users_of_the_machine_are_waited_for_too(tmp_path: Path) -> None:
    """Each of them has a folder of locks of its own, which keeps none of the others out."""
    recorded = Recorded(tmp_path)
    recorded.front = LateOnce
    with recorded.running() as world:

        def run(number: int) -> Result:
            return world.token(lock_path=str(tmp_path / f"locks-{number}"), rate_limit_wait=60)

        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(run, range(4)))
        assert [result.data for result in results if result.failed] == []
        assert sum(result.changed for result in results) == 1
        assert len(keys(world)) == 1


def test_a_lock_that_another_user_holds_is_waited_for_no_longer_than_may_be(world: Recorded) -> None:
    name = hashlib.sha256(f"{world.urls['cloud']}/api\n{ACME['cloud']}".encode()).hexdigest()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as holder:
        holder.bind(f"\0selfhosted.bitwarden/{name}")
        assert "another user" in message(world.token(lock_timeout=1))
    assert done(world.token(lock_timeout=1)).changed


def test_the_lock_may_lie_elsewhere(world: Recorded, tmp_path: Path) -> None:
    done(world.token(lock_path=str(tmp_path / "locks")))
    assert any(path.is_dir() for path in (tmp_path / "locks").iterdir())
    assert not (world.folder / "ansible" / "selfhosted.bitwarden").exists()


def test_a_lock_where_nothing_can_be_made_is_told(world: Recorded, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "lock_path" in message(world.token(lock_path=str(tmp_path / "file" / "below")))
    assert keys(world) == []


def test_logins_at_a_cloud_take_their_turns_and_those_at_a_server_do_not(world: Recorded) -> None:
    world.token(confirm=False)
    kept = list((world.folder / "ansible" / "selfhosted.bitwarden").glob("logins-*"))
    assert len(kept) == 1
    world.run("self_hosted", "billing_sync", organization=NAME, state="absent")
    assert list((world.folder / "ansible" / "selfhosted.bitwarden").glob("logins-*")) == []


# billing_sync.


def sync(world: Recorded, **options: Any) -> Result:
    result = world.run("self_hosted", "billing_sync", **{"organization": NAME, **options})
    assert not result.failed, result.data
    return result


def stored(world: Recorded) -> list[dict[str, Any]]:
    return world.rows("self_hosted", "OrganizationConnection", OrganizationId=ACME["self_hosted"])


@pytest.mark.parametrize("organization", [NAME, ACME["self_hosted"], ACME["self_hosted"].upper()])
def test_an_organization_by_name_and_by_id(world: Recorded, organization: str) -> None:
    assert sync(world, organization=organization, billing_sync_token="T" * 30).changed
    assert not sync(world, organization=organization, billing_sync_token="T" * 30).changed


def test_a_token_of_another_organization_is_refused_and_nothing_stays(world: Recorded) -> None:
    given = {"organization": NAME, "billing_sync_token": "T" * 30}
    other = "9b1d9a55-0000-4000-8000-000000000001"
    text = message(world.run("self_hosted", "billing_sync", **given, cloud_organization_id=other))
    assert other in text and ACME["cloud"] in text
    assert stored(world) == []
    assert sync(world, billing_sync_token="T" * 30, cloud_organization_id=ACME["cloud"].upper()).changed
    before = stored(world)
    predicted = sync(world, billing_sync_token="T" * 30, cloud_organization_id=other, check=True)
    assert predicted.changed and other in predicted.warnings
    assert message(world.run("self_hosted", "billing_sync", **given, cloud_organization_id=other))
    assert stored(world) == before
    assert "no GUID" in message(world.run("self_hosted", "billing_sync", **given, cloud_organization_id="acme"))


def test_several_connections_become_one(world: Recorded) -> None:
    sync(world, billing_sync_token="T" * 30)
    (row,) = stored(world)
    world.store("self_hosted").insert("OrganizationConnection", {**row, "Id": "11111111-AAAA-4000-8000-000000000001"})
    repaired = sync(world, billing_sync_token="N" * 30)
    assert repaired.changed and repaired["removed_duplicates"] == 1
    assert "2 billing sync connections" in repaired.warnings
    assert len(stored(world)) == 1
    again = sync(world, billing_sync_token="N" * 30)
    assert (again.changed, again["removed_duplicates"], again.warnings) == (False, 0, "")


def test_removing_several_connections_is_told(world: Recorded) -> None:
    sync(world, billing_sync_token="T" * 30)
    (row,) = stored(world)
    world.store("self_hosted").insert("OrganizationConnection", {**row, "Id": "11111111-AAAA-4000-8000-000000000001"})
    predicted = sync(world, state="absent", check=True, diff=True)
    removed = sync(world, state="absent", diff=True)
    assert predicted["diff"] == removed["diff"]
    assert removed["removed_duplicates"] == 1 and stored(world) == []


def test_nothing_is_made_to_be_disabled(world: Recorded) -> None:
    for check in (True, False):
        assert not sync(world, state="disabled", check=check).changed
        assert not sync(world, state="disabled", billing_sync_token="T" * 30, check=check).changed
    assert stored(world) == []


def test_a_disabled_connection_may_get_another_token(world: Recorded) -> None:
    sync(world, billing_sync_token="T" * 30)
    changed = sync(world, billing_sync_token="N" * 30, state="disabled", diff=True)
    assert changed["diff"]["after"] == {"exists": True, "enabled": False, "billing_sync_token": "changed"}
    assert not changed["billing_sync"]["enabled"]
    world.world.instance("no-cloud-communication")
    assert not sync(world, billing_sync_token="N" * 30, state="disabled").changed


def test_disabling_works_while_cloud_communication_is_off(world: Recorded) -> None:
    sync(world, billing_sync_token="T" * 30)
    world.world.instance("no-cloud-communication")
    assert sync(world, state="disabled").changed


def test_a_connection_in_use_gets_another_token_also_while_cloud_communication_is_off(world: Recorded) -> None:
    sync(world, billing_sync_token="T" * 30)
    world.world.instance("no-cloud-communication")
    assert sync(world, billing_sync_token="N" * 30).changed
    sync(world, state="disabled")
    refused = world.run("self_hosted", "billing_sync", organization=NAME, billing_sync_token="N" * 30)
    assert "Cloud communication is off" in message(refused)


@pytest.mark.parametrize("state", ["present", "absent", "disabled"])
def test_a_server_that_is_too_old_is_refused_before_it_is_changed(world: Recorded, state: str) -> None:
    sync(world, billing_sync_token="T" * 30)
    before = stored(world)
    world.stand_ins = {"/config": (200, {"version": "2023.7.2", "server": None, "object": "config"})}
    given = {"organization": NAME, "billing_sync_token": "N" * 30, "state": state}
    for check in (True, False):
        text = message(world.run("self_hosted", "billing_sync", **given, check=check))
        assert "2023.7.2" in text and "2023.8.0 or newer is needed" in text
    assert stored(world) == before


def test_a_client_certificate_that_is_missing_is_told_by_both(world: Recorded) -> None:
    for result in (
        world.token(client_cert="/no/such.pem"),
        world.run("self_hosted", "billing_sync", organization=NAME, state="absent", client_cert="/no/such.pem"),
    ):
        assert "/no/such.pem of client_cert" in message(result)
    assert world.logs == {"cloud": [], "self_hosted": []}


def test_modules_run_from_any_environment(world: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITWARDEN_CLOUD_MASTER_PASSWORD", "the tester's own")
    # An option of null would keep a variable out as well.
    refused = world.run("cloud", "billing_sync_token", organization=ACME["cloud"])
    assert "No master_password is given" in message(refused)
