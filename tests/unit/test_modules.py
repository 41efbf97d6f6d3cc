"""The API modules, each in its own process, against the recorded people and organizations over HTTP."""

from __future__ import annotations

import json
from collections.abc import ItemsView, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.files import locked
from unit.module_runner import ROOT, Result, run_module
from unit.recorded_world import ACME, PROXIES, Recorded, StandIn

NAME = "Acme & Söhne"
LOGIN = "POST identity/connect/token"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Recorded]:
    with Recorded(tmp_path).running() as running:
        yield running


def message(result: Result) -> str:
    assert result.failed, result.data
    text = str(result["msg"])
    assert "Next step: " in text
    assert result["next_step"]
    return text


def calls(world: Recorded, side: str) -> list[str]:
    """Method and end of the path of each request, without the ids."""
    found = []
    for line in world.logs[side]:
        method, path, _status = line.split(" ")
        found.append(f"{method} " + "/".join(part for part in path.split("/")[1:] if len(part) < 36))
    return found


# installation_info


def installation(world: Recorded, name: str) -> dict[str, Any]:
    found = world.world.people["cloud"]["installations"][name]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(("name", "enabled"), [("main", True), ("disabled", False)])
def test_an_installation_that_the_region_knows(world: Recorded, name: str, enabled: bool) -> None:
    given = installation(world, name)["id"].upper()
    region = {"name": "Test", "api": world.urls["cloud"] + "/api", "identity": world.urls["cloud"] + "/identity"}
    result = world.run("cloud", "installation_info", url=None, region=region, installation_id=given, check=True)
    assert result["installation"] == {"id": given.lower(), "known": True, "enabled": enabled, "region": "Test"}
    assert result["known_in"] == ["Test"]
    assert not result.changed
    assert calls(world, "cloud") == ["GET api/installations"]


def test_regions_that_cannot_be_reached_are_only_warned_about(world: Recorded) -> None:
    arguments = {"url": world.urls["cloud"], "retries": 0, "installation_id": ACME["cloud"]}
    # Of two spellings requests takes the lower one first.
    nowhere = {**dict.fromkeys(PROXIES), "NO_PROXY": None, "https_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}
    result = run_module("installation_info", arguments, env=nowhere)
    assert not result.failed
    assert result["installation"]["known"] is False
    assert result["known_in"] == []
    for region in ("US", "EU", "Gov"):
        assert f"The region {region} could not be asked" in result.warnings


def test_an_installation_id_at_a_self_hosted_server(world: Recorded) -> None:
    given = installation(world, "main")["id"]
    result = world.run("self_hosted", "installation_info", installation_id=given)
    assert "is a self-hosted server" in message(result)
    assert "region" in message(result)


def test_an_installation_id_that_is_no_guid_is_not_even_asked_for(world: Recorded) -> None:
    result = world.run("cloud", "installation_info", installation_id="uHfHQflRiPDeCXmxdXiW")
    assert "is no GUID" in message(result)
    assert world.logs["cloud"] == []


# organization_info


def test_all_owned_organizations_of_an_account(world: Recorded) -> None:
    result = world.run("cloud", "organization_info")
    by_name = {item["name"]: item for item in result["organizations"]}
    assert {"Acme & Söhne", "Acme Teams", "Acme Starter", "Acme Free", "Acme Disabled"} <= set(by_name)
    assert by_name[NAME]["id"] == ACME["cloud"]
    plans = {name: item["plan"] for name, item in by_name.items()}
    assert (plans[NAME], plans["Acme Teams"], plans["Acme Starter"], plans["Acme Free"]) == (
        "enterprise",
        "teams",
        "teams_starter",
        "free",
    )
    allowed = {name for name, item in by_name.items() if item["billing_sync_allowed"]}
    assert NAME in allowed and "Acme Teams" in allowed
    assert not {"Acme Starter", "Acme Free", "Smith Family"} & allowed
    assert by_name["Acme Disabled"]["enabled"] is False
    assert {item["billing_sync"] for item in result["organizations"]} == {None}


def test_who_owns_nothing_sees_nothing(world: Recorded) -> None:
    assert world.run("self_hosted", "organization_info", person="member")["organizations"] == []


def test_the_role_of_one_organization(world: Recorded) -> None:
    (found,) = world.run("self_hosted", "organization_info", person="admin", organization=NAME)["organizations"]
    assert (found["role"], found["status"]) == ("admin", "confirmed")


def info(world: Recorded, **options: Any) -> Result:
    given = {"organization": NAME, "connection": True, **options}
    return world.run("self_hosted", "organization_info", **given)


def test_an_organization_without_a_connection_is_due(world: Recorded) -> None:
    (found,) = info(world)["organizations"]
    assert found["billing_sync"] == {
        "exists": False,
        "id": None,
        "enabled": False,
        "key_present": False,
        "cloud_organization_id": None,
        "last_license_sync": None,
    }
    assert (found["license_sync_due"], found["license_sync_reason"]) == (True, "never_synced")


def test_an_organization_that_was_synced_today_costs_exactly_three_requests(world: Recorded) -> None:
    connected(world)
    synced(world)
    world.logs["self_hosted"].clear()
    (found,) = info(world, check=True)["organizations"]
    assert calls(world, "self_hosted") == [
        LOGIN,
        "GET api/accounts/profile",
        "GET api/organizations/connections/1",
    ]
    assert (found["license_sync_due"], found["license_sync_reason"]) == (False, "fresh")
    assert found["license"] is None
    assert found["billing_sync"]["key_present"]
    assert found["billing_sync"]["cloud_organization_id"] == ACME["cloud"]


def test_the_license_is_read_when_the_last_sync_is_older_than_a_day(world: Recorded) -> None:
    connected(world)
    synced(world)
    pass_time(world, days=2.5)
    (found,) = info(world)["organizations"]
    assert (found["license_sync_due"], found["license_sync_reason"]) == (False, "fresh")
    assert found["license"]["expiration"].startswith("2027-12-27")
    (found,) = info(world, license_renew_before=500)["organizations"]
    assert (found["license_sync_due"], found["license_sync_reason"]) == (True, "expiration")
    (found,) = info(world, license_max_age=2)["organizations"]
    assert (found["license_sync_due"], found["license_sync_reason"]) == (True, "age")


def test_the_license_is_read_on_both_sides_where_it_is_asked_for(world: Recorded) -> None:
    connected(world)
    synced(world)
    world.logs["self_hosted"].clear()
    (found,) = info(world, license=True)["organizations"]
    assert calls(world, "self_hosted")[2:] == [
        "GET api/organizations/subscription",
        "GET api/organizations/connections/1",
    ]
    told = found["license"]
    assert (told["readable"], told["plan"], told["problem"]) == (True, "Enterprise (Annually)", None)
    assert told["expiration"].startswith("2027-12-27") and told["features"]["use_sso"] is True
    assert (found["seats"], found["license_sync_reason"]) == (10, "fresh")
    (at_cloud,) = world.run("cloud", "organization_info", organization=NAME, license=True)["organizations"]
    assert (at_cloud["seats"], at_cloud["license"]["expiration"][:10]) == (10, "2027-12-27")
    assert at_cloud["billing_sync"] is None
    free = world.run("cloud", "organization_info", organization="Acme Free", license=True)["organizations"][0]
    assert (free["license"]["readable"], free["license"]["problem"]) == (True, None)
    everything = world.run("self_hosted", "organization_info", license=True)["organizations"]
    assert all(one["license"]["readable"] for one in everything)


def test_a_license_that_the_server_cannot_read_is_told(world: Recorded) -> None:
    connected(world)
    synced(world)
    pass_time(world, days=2)
    (world.world.licenses / "organization" / f"{ACME['self_hosted']}.json").unlink()
    (found,) = info(world, license=True)["organizations"]
    assert (found["license"]["readable"], found["license"]["expiration"]) == (False, None)
    assert "missing" in found["license"]["problem"]
    assert (found["license_sync_due"], found["license_sync_reason"]) == (True, "license_unreadable")
    result = world.run("self_hosted", "organization_info", person="admin", organization=NAME, license=True)
    assert "only a confirmed owner" in message(result)


def test_only_an_owner_sees_the_connection(world: Recorded) -> None:
    assert "confirmed admin" in message(info(world, person="admin"))


def test_a_cloud_has_no_connections(world: Recorded) -> None:
    result = world.run("cloud", "organization_info", organization=NAME, connection=True)
    assert "is the Bitwarden cloud" in message(result)


def test_a_region_and_an_address_contradict_each_other(world: Recorded) -> None:
    assert "at once" in message(world.run("self_hosted", "organization_info", region="US"))
    assert world.logs["self_hosted"] == []


# billing_sync_token


@pytest.mark.parametrize("person", ["owner", "owner2"])
def test_the_first_call_makes_one_key_and_the_second_reads_it(world: Recorded, person: str) -> None:
    kdf = world.world.people["cloud"]["users"][person]["kdf"]["kdfType"]
    assert kdf == {"owner": 0, "owner2": 1}[person]
    first = world.token(person=person)
    assert first.changed
    assert first["token"] == world.cloud_key()
    assert first["organization"] == {"id": ACME["cloud"], "name": NAME}
    second = world.token(person=person, organization=NAME)
    assert not second.changed
    assert (second["token"], second["revision_date"]) == (first["token"], first["revision_date"])
    assert len(world.rows("cloud", "OrganizationApiKey", OrganizationId=ACME["cloud"], Type=1)) == 1


def test_check_mode_makes_no_key_and_says_that_it_would(world: Recorded) -> None:
    before = world.rows("cloud", "OrganizationApiKey")
    result = world.token(check=True, diff=True)
    assert result.changed
    assert (result["token"], result["revision_date"]) == (None, None)
    assert result["diff"] == {"before": {"billing_sync_token": "absent"}, "after": {"billing_sync_token": "present"}}
    assert world.rows("cloud", "OrganizationApiKey") == before
    made = world.token()
    again = world.token(check=True)
    assert not again.changed
    assert again["token"] == made["token"]


def test_the_requests_of_a_first_and_of_a_later_call(world: Recorded) -> None:
    world.token()
    assert calls(world, "cloud") == [
        "GET api/installations",
        LOGIN,
        "GET api/accounts/profile",
        "GET api/organizations/api-key-information/1",
        "POST api/organizations/api-key",
        "GET api/organizations/api-key-information/1",
    ]
    world.logs["cloud"].clear()
    world.token()
    assert calls(world, "cloud")[3:] == [
        "GET api/organizations/api-key-information/1",
        "POST api/organizations/api-key",
    ]


def test_a_wrong_password_makes_no_key(world: Recorded) -> None:
    result = world.token(master_password="not the password")
    text = message(result)
    assert "Invalid password" in text
    assert "master password" in text
    assert world.cloud_key() is None
    assert "POST api/organizations/api-key" not in calls(world, "cloud")
    assert "not the password" not in result.output


def test_the_password_of_another_account(world: Recorded) -> None:
    assert "one account" in message(world.token(master_password=world.password("owner2")))
    assert world.cloud_key() is None


def test_eight_first_calls_at_once_leave_exactly_one_key(world: Recorded) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _number: world.token(rate_limit_wait=60), range(8)))
    assert [result.data for result in results if result.failed] == []
    assert sum(result.changed for result in results) == 1
    assert {result["token"] for result in results} == {world.cloud_key()}
    assert len(world.rows("cloud", "OrganizationApiKey", OrganizationId=ACME["cloud"], Type=1)) == 1


def test_the_lock_holds_no_secret_and_waits_no_longer_than_it_may(world: Recorded) -> None:
    world.token()
    locks = [path for path in (world.folder / "ansible" / "selfhosted.bitwarden").iterdir() if path.is_dir()]
    assert len(locks) == 1
    assert locks[0].stat().st_mode & 0o777 == 0o700
    assert [path for path in locks[0].rglob("*") if path.is_file()] == []
    with locked(str(locks[0]), 1):
        result = world.token(lock_timeout=0)
    assert str(locks[0]) in message(result)


def test_several_keys_at_the_cloud_are_told_and_left_alone(world: Recorded) -> None:
    world.token()
    (row,) = world.rows("cloud", "OrganizationApiKey", OrganizationId=ACME["cloud"], Type=1)
    world.store("cloud").insert("OrganizationApiKey", {**row, "Id": "B1BBAE9D-687B-5A9A-897A-606645AF80E4"})
    text = message(world.token())
    assert "2 billing sync tokens" in text
    assert "never rotate" in text
    assert str(row["ApiKey"]) not in text


def test_a_first_call_of_another_controller_at_the_same_moment_is_told(world: Recorded) -> None:
    class OtherController(dict[str, StandIn]):
        """Makes its key right after this run has made one."""

        def items(self) -> ItemsView[str, StandIn]:
            rows = world.rows("cloud", "OrganizationApiKey", OrganizationId=ACME["cloud"], Type=1)
            if len(rows) == 1:
                other = {**rows[0], "Id": "B1BBAE9D-687B-5A9A-897A-606645AF80E4"}
                world.store("cloud").insert("OrganizationApiKey", other)
            return super().items()

    world.stand_ins = OtherController()
    assert "2 billing sync tokens" in message(world.token())


def test_a_wrong_api_key(world: Recorded) -> None:
    result = world.token(client_secret="WrongWrongWrongWrongWrongWrong")
    text = message(result)
    assert "invalid_client" in text
    assert result["status"] == 400
    assert result["endpoint"] == f"POST {world.urls['cloud']}/identity/connect/token"
    assert "WrongWrong" not in result.output


@pytest.mark.parametrize("person", ["admin", "member", "custom"])
def test_who_is_no_owner_gets_no_token(world: Recorded, person: str) -> None:
    assert "only a confirmed owner" in message(world.token(person=person))
    assert world.cloud_key() is None


def test_who_was_accepted_but_not_confirmed_is_told_so(world: Recorded) -> None:
    assert "accepted" in message(world.token(person="accepted"))


def test_an_owner_without_master_password(world: Recorded) -> None:
    text = message(world.token(person="nopass"))
    assert "has no master password" in text
    assert world.cloud_key() is None


@pytest.mark.parametrize(
    ("name", "plan"), [("Acme Free", "Free"), ("Acme Starter", "Teams Starter"), ("Smith Family", "Families")]
)
def test_plans_without_billing_sync(world: Recorded, name: str, plan: str) -> None:
    person = "family" if name == "Smith Family" else "owner"
    text = message(world.token(person=person, organization=name))
    assert plan in text
    assert "Teams and Enterprise" in text
    assert not [line for line in calls(world, "cloud") if "api-key" in line]


def test_an_organization_disabled_at_the_cloud_is_warned_about(world: Recorded) -> None:
    result = world.token(organization="Acme Disabled")
    assert not result.failed
    assert "is disabled" in str(result.data)
    assert "license" in str(result.data["warnings"])


def test_a_self_hosted_server_is_no_cloud(world: Recorded) -> None:
    given = {"organization": NAME, "master_password": "a long password"}
    result = world.run("self_hosted", "billing_sync_token", **given)
    assert "is a self-hosted server" in message(result)
    assert calls(world, "self_hosted") == ["GET api/installations"]


# billing_sync


def billing_sync(world: Recorded, **options: Any) -> Result:
    return world.run("self_hosted", "billing_sync", **{"organization": NAME, **options})


def connected(world: Recorded) -> str:
    token = str(world.token()["token"])
    assert billing_sync(world, billing_sync_token=token).changed
    return token


def stored(world: Recorded) -> list[dict[str, Any]]:
    rows = world.rows("self_hosted", "OrganizationConnection", OrganizationId=ACME["self_hosted"])
    return [{**json.loads(row["Config"]), "Id": row["Id"], "Enabled": bool(row["Enabled"])} for row in rows]


def pass_time(world: Recorded, **delta: float) -> None:
    for persona in world.world.sides.values():
        persona.clock_offset += timedelta(**delta).total_seconds()


def test_check_mode_connects_nothing_and_predicts_it(world: Recorded) -> None:
    result = billing_sync(world, billing_sync_token="T" * 30, check=True, diff=True)
    assert result.changed
    assert stored(world) == []
    assert result["diff"]["before"] == {"exists": False, "enabled": False, "billing_sync_token": "unset"}
    assert result["diff"]["after"] == {"exists": True, "enabled": True, "billing_sync_token": "set"}
    assert result["billing_sync"]["key_present"]
    assert billing_sync(world, check=True).changed
    assert not [
        line for line in world.logs["self_hosted"] if not line.startswith("GET") and "connect/token" not in line
    ]


def test_connecting_comparing_and_connecting_again(world: Recorded) -> None:
    token = connected(world)
    (row,) = stored(world)
    assert (row["BillingSyncKey"], row["Enabled"], row["CloudOrganizationId"]) == (token, True, ACME["cloud"])
    world.logs["self_hosted"].clear()
    again = billing_sync(world, billing_sync_token=f"{token}\n")
    assert not again.changed
    assert again["billing_sync"]["id"] == row["Id"].lower()
    assert [line for line in calls(world, "self_hosted") if line.startswith(("PUT", "POST api"))] == []
    assert stored(world) == [row]


def test_another_token_is_put_and_the_last_sync_stays(world: Recorded) -> None:
    connected(world)
    before = synced(world)
    result = billing_sync(world, billing_sync_token="N" * 30, diff=True)
    assert result.changed
    (row,) = stored(world)
    assert (row["BillingSyncKey"], row["LastLicenseSync"]) == ("N" * 30, before)
    assert result["diff"]["before"]["billing_sync_token"] == "set"
    assert result["diff"]["after"]["billing_sync_token"] == "changed"
    assert "N" * 30 not in result.output


def test_disabling_and_enabling(world: Recorded) -> None:
    token = connected(world)
    predicted = billing_sync(world, state="disabled", check=True, diff=True)
    assert stored(world)[0]["Enabled"] is True
    disabled = billing_sync(world, state="disabled", diff=True)
    assert disabled.changed and predicted.changed
    assert predicted["diff"] == disabled["diff"]
    assert disabled["diff"]["after"] == {"exists": True, "enabled": False, "billing_sync_token": "set"}
    assert (stored(world)[0]["Enabled"], stored(world)[0]["BillingSyncKey"]) == (False, token)
    assert not billing_sync(world, billing_sync_token=token, state="disabled").changed
    assert not billing_sync(world, state="disabled").changed
    assert billing_sync(world, billing_sync_token=token).changed
    assert stored(world)[0]["Enabled"] is True


def test_taking_the_connection_away(world: Recorded) -> None:
    connected(world)
    predicted = billing_sync(world, state="absent", check=True)
    assert predicted.changed
    assert len(stored(world)) == 1
    assert billing_sync(world, state="absent").changed
    assert stored(world) == []
    assert not billing_sync(world, state="absent").changed


def test_taking_away_what_several_runs_at_once_left(world: Recorded) -> None:
    token = connected(world)
    (row,) = world.rows("self_hosted", "OrganizationConnection", OrganizationId=ACME["self_hosted"])
    world.store("self_hosted").insert("OrganizationConnection", {**row, "Id": "11111111-AAAA-4000-8000-000000000001"})
    assert not billing_sync(world, billing_sync_token=token).changed
    assert billing_sync(world, state="absent").changed
    assert stored(world) == []


def test_a_token_is_needed_outside_of_check_mode(world: Recorded) -> None:
    for given in ({}, {"billing_sync_token": ""}):
        assert "billing_sync_token is missing" in message(billing_sync(world, **given))
    assert stored(world) == []


def test_nothing_is_connected_while_cloud_communication_is_off(world: Recorded) -> None:
    world.world.instance("no-cloud-communication")
    text = message(billing_sync(world, billing_sync_token="T" * 30))
    assert "Cloud communication is off" in text
    assert "restart" in text
    assert stored(world) == []
    predicted = billing_sync(world, billing_sync_token="T" * 30, check=True)
    assert predicted.changed
    assert "Cloud communication is off" in str(predicted.data["warnings"])


def test_a_connected_organization_needs_no_cloud_communication_to_stay_as_it_is(world: Recorded) -> None:
    token = connected(world)
    world.world.instance("no-cloud-communication")
    assert not billing_sync(world, billing_sync_token=token).changed


def test_an_organization_without_a_license_file_cannot_be_connected(world: Recorded) -> None:
    (world.world.licenses / "organization" / f"{ACME['self_hosted']}.json").unlink()
    text = message(billing_sync(world, billing_sync_token="T" * 30))
    assert "Cannot verify license file" in text
    assert "upload the license" in text


@pytest.mark.parametrize("person", ["admin", "member"])
def test_who_is_no_owner_connects_nothing(world: Recorded, person: str) -> None:
    result = billing_sync(world, person=person, billing_sync_token="T" * 30)
    assert "only a confirmed owner" in message(result)
    assert stored(world) == []


@pytest.mark.parametrize("module", ["billing_sync", "license_sync"])
def test_a_cloud_is_no_self_hosted_server(world: Recorded, module: str) -> None:
    token = {"billing_sync_token": "T" * 30} if module == "billing_sync" else {}
    result = world.run("cloud", module, organization=NAME, **token)
    assert "is the Bitwarden cloud" in message(result)
    refused = world.run("cloud", module, organization=NAME, **world.credentials("self_hosted", "owner"), **token)
    assert "is a Bitwarden cloud" in message(refused)


# license_sync


def license_sync(world: Recorded, **options: Any) -> Result:
    return world.run("self_hosted", "license_sync", **{"organization": NAME, **options})


def synced(world: Recorded) -> str:
    result = license_sync(world)
    assert result.changed, result.data
    return str(result["last_sync"])


def test_a_license_is_synced_once_and_then_by_age(world: Recorded) -> None:
    connected(world)
    predicted = license_sync(world, check=True, diff=True)
    assert predicted.changed
    assert predicted["diff"] == {"before": {"last_license_sync": None}, "after": {"last_license_sync": "now"}}
    assert stored(world)[0]["LastLicenseSync"] is None
    first = license_sync(world)
    assert first.changed
    assert (first["reason"], first["previous_sync"]) == ("never_synced", None)
    assert first["last_sync"] == stored(world)[0]["LastLicenseSync"]
    assert first["expiration"].startswith("2027-12-27")
    second = license_sync(world)
    assert not second.changed
    assert (second["due"], second["reason"], second["last_sync"]) == (False, "fresh", first["last_sync"])
    pass_time(world, days=8)
    third = license_sync(world)
    assert third.changed
    assert (third["reason"], third["previous_sync"]) == ("age", first["last_sync"])
    assert third["last_sync"] > first["last_sync"]


def test_an_age_of_zero_syncs_in_every_run(world: Recorded) -> None:
    connected(world)
    first = synced(world)
    again = license_sync(world, max_age=0)
    assert again.changed
    assert again["last_sync"] > first


def test_a_license_that_ends_soon_is_synced(world: Recorded) -> None:
    connected(world)
    synced(world)
    pass_time(world, days=2)
    assert not license_sync(world).changed
    assert license_sync(world, renew_before=500)["reason"] == "expiration"


def test_an_organization_that_the_server_disabled_is_synced_and_enabled_again(world: Recorded) -> None:
    connected(world)
    synced(world)
    world.store("self_hosted").update("Organization", ACME["self_hosted"], Enabled=0)
    result = license_sync(world)
    assert (result.changed, result["reason"]) == (True, "organization_disabled")
    (row,) = world.rows("self_hosted", "Organization", Id=ACME["self_hosted"])
    assert row["Enabled"]


def test_a_license_file_that_is_gone_is_written_anew(world: Recorded) -> None:
    connected(world)
    synced(world)
    pass_time(world, days=2)
    path = world.world.licenses / "organization" / f"{ACME['self_hosted']}.json"
    path.unlink()
    result = license_sync(world)
    assert (result.changed, result["reason"]) == (True, "license_unreadable")
    assert path.exists()


def test_without_a_connection_there_is_nothing_to_sync(world: Recorded) -> None:
    text = message(license_sync(world))
    assert "is missing" in text
    assert "billing_sync" in text
    predicted = license_sync(world, check=True)
    assert predicted.changed
    assert "is missing" in str(predicted.data["warnings"])


def test_a_disabled_connection_is_told_before_the_server_says_it(world: Recorded) -> None:
    token = connected(world)
    billing_sync(world, billing_sync_token=token, state="disabled")
    assert "is disabled" in message(license_sync(world))
    assert not [line for line in calls(world, "self_hosted") if line.endswith("/sync")]


def test_a_sync_while_cloud_communication_is_off(world: Recorded) -> None:
    connected(world)
    world.world.instance("no-cloud-communication")
    text = message(license_sync(world))
    assert "Cloud communication is disabled in global settings" in text
    assert "./bitwarden.sh restart" in text


def test_a_sync_with_a_wrong_token_names_the_log(world: Recorded) -> None:
    connected(world)
    billing_sync(world, billing_sync_token="W" * 30)
    result = license_sync(world)
    text = message(result)
    assert "Check your internet connection" in text
    assert "bwdata/logs/api/Api/" in text
    assert "W" * 30 not in result.output
    assert stored(world)[0]["LastLicenseSync"] is None


def test_a_sync_that_did_nothing_is_no_success(world: Recorded) -> None:
    connected(world)
    world.stand_ins["/sync"] = (200, None)
    text = message(license_sync(world))
    assert "its last sync is still never" in text
    assert "proxy" in text


# For all modules.


def test_a_server_of_another_maker(world: Recorded) -> None:
    config = {"version": "2026.1.0", "server": {"name": "Vaultwarden", "url": "https://github.com"}, "object": "config"}
    world.stand_ins = {"/config": (200, config), "/1": (404, None), "/sync": (404, None)}
    for result in (billing_sync(world, billing_sync_token="T" * 30), license_sync(world), info(world)):
        assert "is Vaultwarden" in message(result)


def test_a_server_that_is_too_old(world: Recorded) -> None:
    connected(world)
    config = {"version": "2022.12.0", "server": None, "object": "config"}
    world.stand_ins = {"/config": (200, config), "/sync": (404, None)}
    text = message(license_sync(world))
    assert "2022.12.0" in text
    assert "2023.8.0 or newer is needed" in text


def test_no_result_holds_a_secret_but_the_token_of_the_one_module_that_returns_it(world: Recorded) -> None:
    connected(world)
    results = [
        billing_sync(world, billing_sync_token="W" * 30, diff=True),
        license_sync(world, diff=True),
        info(world),
        world.token(client_secret="WrongWrongWrongWrongWrongWrong"),
        world.token(master_password="not the password at all"),
    ]
    known = [*world.secrets(), "W" * 30, "WrongWrong", "not the password at all"]
    assert len(known) > 50
    for result in results:
        assert not [secret for secret in known if secret in result.output]
    output = world.token().output
    shown = [secret for secret in world.secrets() if secret in output]
    assert shown == [world.cloud_key()]


def test_a_missing_library_is_named_by_every_module(world: Recorded, tmp_path: Path) -> None:
    hidden = tmp_path / "without" / "requests.py"
    hidden.parent.mkdir()
    hidden.write_text("raise ImportError('hidden by a test')\n")
    environment = {"PYTHONPATH": f"{hidden.parent}:{ROOT / '.cache'}"}
    key = {"url": world.urls["self_hosted"], **world.credentials("self_hosted", "owner")}
    ours = {**key, "organization": NAME}
    given: dict[str, dict[str, Any]] = {
        "organization_info": key,
        "billing_sync": ours,
        "license": ours,
        "license_sync": ours,
        "sponsorship": {**ours, "sponsorships": []},
        "sponsorship_info": ours,
        "billing_sync_token": {**ours, "master_password": "a long password"},
        "installation_info": {"url": key["url"], "installation_id": ACME["cloud"]},
    }
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    assert set(given) == {name for group in groups.values() for name in group}
    for module, arguments in given.items():
        result = run_module(module, arguments, env=environment)
        assert result.failed
        assert "requests" in result["msg"]
