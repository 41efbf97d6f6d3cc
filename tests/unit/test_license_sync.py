"""The module license_sync where it compares with the cloud, proves what arrived, and finds out why nothing did."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import license_probes, remedies
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog import ways
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe import verdicts
from bwlab.api import licenses_self_hosted
from bwlab.license_fields import License
from unit.license_world import NAME, cloud_login, emitted, installation, license_secrets, on_disk, pass_time
from unit.module_runner import ROOT, Result
from unit.recorded_world import ACME, Recorded

GENERIC = {"message": "An error has occurred. Check your internet connection and ensure the billing token is correct."}
KEY_LINE = (
    "Request to https://api.bitwarden.com/licenses/organization/a42827dc-679c-5946-b772-c1059c9a4ae6 is unsuccessful "
    "with status of BadRequest-Bad Request: Invalid Billing Sync Key"
)
IN_CONSOLE = [
    "fail: Bit.Core.Billing.Organizations.Queries.GetSelfHostedOrganizationLicenseQuery[0]",
    f"      {KEY_LINE}",
]
ORDER = ["cloud_communication", "connection", "token", "installation", "cloud_organization", "clock", "way", "log"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Recorded]:
    with Recorded(tmp_path).running() as running:
        token = str(running.token()["token"])
        assert running.run("self_hosted", "billing_sync", organization=NAME, billing_sync_token=token).changed
        for log in running.logs.values():
            log.clear()
        yield running


def sync(world: Recorded, **options: Any) -> Result:
    return world.run("self_hosted", "license_sync", **{"organization": NAME, **options})


def compared(world: Recorded, **options: Any) -> Result:
    given = {"compare": True, "cloud": cloud_login(world), "installation_id": installation(world)}
    return sync(world, **{**given, **options})


def diagnosed(world: Recorded, **options: Any) -> Result:
    given = {"state": "diagnosed", "cloud": cloud_login(world), "installation_id": installation(world)}
    given |= options
    return sync(world, **{name: value for name, value in given.items() if value is not None})


def probes(result: Result) -> dict[str, str]:
    return {one["probe"]: one["result"] for one in result["probes"]}


def message(result: Result) -> str:
    assert result.failed, result.data
    text = str(result["msg"])
    assert "Next step: " in text
    return text


def grow(world: Recorded, **changes: Any) -> None:
    world.store("cloud").update("Organization", ACME["cloud"], **changes)


def syncs(world: Recorded) -> int:
    return sum(line.split()[1].endswith("/sync") for line in world.logs["self_hosted"])


# By content.


def test_what_changed_at_the_cloud_makes_a_sync_due_and_is_proven_after_it(world: Recorded) -> None:
    assert sync(world)["differences"] is None
    assert compared(world)["differences"] == []
    grow(world, Seats=25, Name="Renamed")
    assert not sync(world).changed
    predicted = compared(world, check=True, diff=True)
    assert (predicted["reason"], predicted["differences"]) == ("different", ["name", "seats"])
    assert syncs(world) == 1
    done = compared(world, diff=True)
    for name in ("changed", "due", "reason", "differences", "previous_sync"):
        assert predicted[name] == done[name]
    assert predicted["diff"]["after"] == {"last_license_sync": "now"}
    assert done["diff"]["after"]["last_license_sync"] == done["last_sync"]
    assert done["organization"]["name"] == "Renamed"
    again = compared(world, organization=ACME["self_hosted"])
    assert (again.changed, again["reason"], again["differences"]) == (False, "fresh", [])


def test_comparing_takes_an_installation_a_login_and_a_cloud(world: Recorded) -> None:
    assert "installation_id is missing" in message(compared(world, installation_id=None))
    assert "is no GUID" in message(compared(world, installation_id="main"))
    assert world.logs["self_hosted"] == []
    assert "does not say which Bitwarden server" in message(compared(world, cloud={}))
    unknown = "11111111-2222-4333-8444-555555555555"
    refused = compared(world, installation_id=unknown)
    assert "is not known at" in message(refused)
    assert refused["remedy"] == "installation-refused"
    assert syncs(world) == 0


def test_a_first_sync_is_compared_too(world: Recorded) -> None:
    grow(world, Seats=25)
    done = compared(world)
    assert (done["reason"], done["differences"]) == ("never_synced", ["seats"])


def test_a_connection_that_is_missing_is_not_compared_in_check_mode(world: Recorded) -> None:
    assert world.run("self_hosted", "billing_sync", organization=NAME, state="absent").changed
    predicted = compared(world, check=True)
    assert (predicted.changed, predicted["differences"]) == (True, None)


# Proof of what arrived.


@pytest.fixture
def arrives(monkeypatch: pytest.MonkeyPatch) -> Callable[[License], None]:
    """Something in the cloud's place gives the server this license."""

    def instead(made: License) -> None:
        async def given(*_args: Any) -> License:
            return made

        monkeypatch.setattr(licenses_self_hosted, "_from_cloud", given)

    return instead


Arrives = Callable[[License], None]


def other(world: Recorded) -> License:
    (row,) = [row for row in world.rows("cloud", "Organization") if row["Name"] == "Third Enterprise"]
    return emitted(world, row["Id"])


def test_the_license_of_another_organization_is_no_success(world: Recorded, arrives: Arrives) -> None:
    arrives(other(world))
    result = sync(world, cloud=cloud_login(world))
    text = message(result)
    assert "it is that of another organization" in text
    assert result["remedy"] == "license-of-another-organization-accepted"
    assert "is called Third Enterprise now" in text
    assert "module license" in text


def test_without_the_cloud_a_new_name_is_warned_about(world: Recorded, arrives: Arrives) -> None:
    arrives(other(world))
    result = sync(world)
    assert result.changed
    assert "has renamed the organization" in result.warnings and "Third Enterprise" in result.warnings


def test_a_comparison_sees_any_license_but_the_clouds_own(world: Recorded, arrives: Arrives) -> None:
    arrives(emitted(world, changes={"Seats": 10 + 1}))
    result = compared(world)
    text = message(result)
    assert "is not what the cloud gives" in text and "seats 10, not 11" in text
    assert result["remedy"] == "license-of-another-organization-accepted"


def test_a_renamed_organization_is_a_success_when_the_cloud_says_so(world: Recorded) -> None:
    grow(world, Name="Renamed")
    result = sync(world, cloud=cloud_login(world))
    assert (result.changed, result["organization"]["name"], result.warnings) == (True, "Renamed", "")


def test_a_license_that_has_ended_or_cannot_be_read_is_no_success(world: Recorded, arrives: Arrives) -> None:
    arrives(emitted(world, changes={"ExpirationDate": "2026-11-22 15:00:00"}))
    ended = sync(world)
    assert "it ended on 2026-11-22" in message(ended)
    assert ended["remedy"] == "expired-license-accepted"
    arrives(emitted(world))
    world.stand_ins["/subscription"] = (500, None)
    unread = sync(world, max_age=0)
    assert "cannot read it" in message(unread)
    assert unread["remedy"] == "license-on-server-missing"


# The cause.


def test_a_token_that_was_rotated_is_found_by_its_date(world: Recorded) -> None:
    assert sync(world).changed
    pass_time(world, hours=1)
    (row,) = world.rows("cloud", "OrganizationApiKey", OrganizationId=ACME["cloud"], Type=1)
    now = world.world.sides["cloud"].now().strftime("%Y-%m-%d %H:%M:%S")
    world.store("cloud").update("OrganizationApiKey", row["Id"], ApiKey="R" * 30, RevisionDate=now)
    result = sync(world, max_age=0, cloud=cloud_login(world))
    assert "was rotated at the cloud" in message(result)
    assert result["remedy"] == "log-wrong-billing-sync-key"
    assert "billing_sync_token" in result["next_step"]
    assert [one["probe"] for one in result["probes"]] == ORDER
    assert probes(result)["cloud_communication"] == probes(result)["connection"] == "ok"


def test_a_token_is_compared_where_it_is_given(world: Recorded) -> None:
    token = str(world.token()["token"])
    assert probes(diagnosed(world, billing_sync_token=token))["token"] == "ok"
    other = diagnosed(world, billing_sync_token="W" * 30, cloud=None)
    assert probes(other)["token"] == "wrong"
    assert "W" * 30 not in other.output and token not in other.output


def test_no_token_and_several_at_the_cloud(world: Recorded) -> None:
    (row,) = world.rows("cloud", "OrganizationApiKey", OrganizationId=ACME["cloud"], Type=1)
    world.store("cloud").insert("OrganizationApiKey", {**row, "Id": "11111111-AAAA-4000-8000-000000000001"})
    assert "several first calls" in str(diagnosed(world)["cause"])
    for one in world.rows("cloud", "OrganizationApiKey", OrganizationId=ACME["cloud"], Type=1):
        world.store("cloud").delete("OrganizationApiKey", one["Id"])
    assert diagnosed(world)["cause"] == "the cloud organization has no billing sync token"


def test_an_installation_of_another_region(world: Recorded) -> None:
    unknown = "11111111-2222-4333-8444-555555555555"
    result = diagnosed(world, installation_id=unknown)
    assert probes(result)["installation"] == "wrong"
    assert "is not known at" in result["cause"]
    disabled = world.world.people["cloud"]["installations"]["disabled"]["id"]
    assert "is disabled at" in diagnosed(world, installation_id=disabled)["cause"]


@pytest.mark.parametrize(
    ("changes", "words", "key"),
    [
        ({"Enabled": 0}, "is disabled at", "organization-disabled-at-cloud"),
        ({"ExpirationDate": "2026-01-01 00:00:00"}, "ended on 2026-01-01", "no-active-subscription"),
    ],
)
def test_an_organization_that_ended_at_the_cloud(world: Recorded, changes: Any, words: str, key: str) -> None:
    grow(world, **changes)
    result = diagnosed(world)
    assert words in result["cause"]
    assert result["remedy"] == key
    (found,) = [one for one in result["probes"] if one["result"] == "wrong"]
    assert (found["probe"], found["remedy"]) == ("cloud_organization", key)
    assert result["next_step"].startswith("Settle")


def test_a_server_that_may_not_call_the_cloud_and_connections_that_are_none(world: Recorded) -> None:
    world.world.instance("no-cloud-communication")
    assert "without cloud communication" in diagnosed(world)["cause"]
    world.world.instance(None)
    token = str(world.token()["token"])
    assert world.run(
        "self_hosted", "billing_sync", organization=NAME, billing_sync_token=token, state="disabled"
    ).changed
    assert probes(diagnosed(world))["connection"] == "wrong"
    world.run("self_hosted", "billing_sync", organization=NAME, state="absent")
    (found,) = [one for one in diagnosed(world)["probes"] if one["probe"] == "connection"]
    assert found["remedy"] == "no-connection"


def test_a_clock_that_is_behind(world: Recorded) -> None:
    pass_time(world, "self_hosted", seconds=-90)
    result = diagnosed(world)
    assert probes(result)["clock"] == "wrong"
    assert "behind the cloud's" in result["cause"]
    pass_time(world, "self_hosted", seconds=180)
    assert probes(diagnosed(world))["clock"] == "ok"


def way(kind: str, path: str, reachable: bool | None, verdict: str = "") -> dict[str, Any]:
    cause = f"{kind} from {path} is {reachable}."
    found = {"kind": kind, "path": path, "reachable": reachable, "verdict": verdict}
    return {**found, "cause": cause, "next_step": f"Open {kind}."}


# A verdict about mail servers, and those that found nothing out.
NO_MATTER = {"no_greeting", *ways.NOTHING_FOUND}


@pytest.mark.parametrize(
    "verdict", [word for word, one in verdicts.TABLE.items() if one.weight == verdicts.BAD and word not in NO_MATTER]
)
def test_every_verdict_about_the_way_has_its_entry(verdict: str) -> None:
    for kind in ("identity", "api"):
        assert remedies.entry(ways.remedy(kind, verdict)).next_step
    assert verdict in ways.REMEDIES


def test_a_way_that_is_closed_has_the_entry_of_what_the_log_would_say(world: Recorded) -> None:
    rows = [way("identity", "containers", False, "captive_portal"), way("api", "containers", False, "timed_out")]
    result = diagnosed(world, endpoints=rows, cloud=None)
    assert (result["remedy"], result["cause"]) == ("log-identity-is-not-bitwarden", "identity from containers is False")
    result = diagnosed(world, endpoints=rows[1:], cloud=None)
    assert result["remedy"] == "log-no-answer"
    assert result["link"] == remedies.entry("log-no-answer").link != ""
    assert diagnosed(world, endpoints=[way("api", "host", False)], cloud=None)["remedy"] == "log-cloud-not-reached"


def test_a_way_that_could_not_be_asked_is_no_cause(world: Recorded) -> None:
    rows = [way("identity", "containers", False, "not_asked"), way("api", "containers", True)]
    result = diagnosed(world, endpoints=rows, cloud=None)
    assert (probes(result)["way"], result["cause"], result["remedy"]) == ("unknown", None, None)
    rows[1] = way("api", "containers", False, "refused")
    assert diagnosed(world, endpoints=rows, cloud=None)["remedy"] == "log-cut-or-refused"


@pytest.mark.parametrize(
    ("rows", "result", "said"),
    [
        ([way("api", "containers", False), way("identity", "containers", False)], "wrong", "identity from containers"),
        ([way("api", "containers", True), way("api", "host", False)], "ok", "are reached"),
        ([way("api", "host", False)], "wrong", "api from host"),
        ([way("push", "containers", False)], "unknown", "not asked"),
        ([way("api", "containers", None), way("identity", "containers", True)], "ok", "are reached"),
        ([], "unknown", "not asked"),
    ],
)
def test_the_way_to_the_cloud_is_what_the_probe_on_the_server_found(
    world: Recorded, rows: list[dict[str, Any]], result: str, said: str
) -> None:
    (found,) = [one for one in diagnosed(world, endpoints=rows, cloud=None)["probes"] if one["probe"] == "way"]
    assert found["result"] == result
    assert said in found["said"]


def test_the_servers_log_knows_best(world: Recorded) -> None:
    rows = [way("api", "containers", False)]
    result = diagnosed(world, log=IN_CONSOLE, endpoints=rows)
    assert "Invalid Billing Sync Key" in result["cause"]
    assert (probes(result)["way"], probes(result)["log"]) == ("wrong", "wrong")
    assert probes(diagnosed(world, log=["info: Nothing[0]", "      of it"]))["log"] == "unknown"


def test_a_line_of_another_day_is_about_another_sync(world: Recorded) -> None:
    now = world.world.sides["self_hosted"].now()
    for days, expected in ((0, "wrong"), (1, "unknown")):
        day = now.replace(day=now.day - days)
        line = f"{day:%Y-%m-%d %H:%M:%S}.123 +00:00 [Error] {KEY_LINE}"
        assert probes(diagnosed(world, log=[line]))["log"] == expected


def test_what_cannot_be_asked_is_unknown_and_says_what_it_takes(world: Recorded) -> None:
    result = diagnosed(world, cloud=None, installation_id=None)
    assert probes(result) == {
        "cloud_communication": "ok",
        "connection": "ok",
        **dict.fromkeys(ORDER[2:], "unknown"),
    }
    assert (result["cause"], result["next_step"]) == (None, None)
    anonymous = {"url": world.urls["cloud"], "retries": 0}
    result = diagnosed(world, cloud=anonymous)
    assert (probes(result)["installation"], probes(result)["clock"]) == ("ok", "ok")
    assert (probes(result)["token"], probes(result)["cloud_organization"]) == ("unknown", "unknown")
    wrong = {**cloud_login(world), "client_secret": "WrongWrongWrongWrongWrongWrong"}
    result = diagnosed(world, cloud=wrong)
    assert probes(result)["token"] == "unknown"
    assert "WrongWrong" not in result.output
    stranger = diagnosed(world, cloud=cloud_login(world, "stranger"))
    assert probes(stranger)["cloud_organization"] == "unknown"


def test_a_failure_that_nothing_explains_keeps_its_text_and_says_what_was_found(world: Recorded) -> None:
    world.stand_ins["/sync"] = (400, GENERIC)
    result = sync(world, cloud=cloud_login(world), installation_id=installation(world))
    text = message(result)
    assert "Check your internet connection" in text
    assert "Found in order: cloud_communication, connection" in text
    assert "Not known: " in text
    assert result["cause"]


def test_a_cause_brings_its_own_entry_and_page_in_place_of_those_of_the_words(world: Recorded) -> None:
    for answer in ((400, GENERIC), (500, {"message": "An unhandled server error has occurred."}), (504, None)):
        world.stand_ins["/sync"] = answer
        result = sync(world, endpoints=[way("api", "containers", False, "tls_unknown_authority")])
        assert "The cause: api from containers is False." in message(result)
        assert (result["remedy"], result.get("link")) == ("log-unknown-authority", None)
        assert (result["cause"], result["status"]) == ("api from containers is False", answer[0])
    result = sync(world, endpoints=[way("identity", "containers", False, "rejected")])
    assert (result["remedy"], result["link"]) == ("log-cut-or-refused", remedies.entry("log-cut-or-refused").link)


def test_the_role_reads_the_log_for_the_same_answers() -> None:
    text = (ROOT / "roles" / "billing_sync" / "vars" / "main.yml").read_text(encoding="utf-8")
    (named,) = re.findall(r"__billing_sync_failure\.remedy .* in \[(.*)\]", text)
    assert set(re.findall(r"'([a-z-]+)'", named)) == license_probes.VAGUE
    assert all(remedies.LICENSE_SYNC in remedies.entry(key).where for key in license_probes.VAGUE)


def test_a_connection_that_cannot_sync_has_its_entry(world: Recorded) -> None:
    token = str(world.token()["token"])
    connection = {"organization": NAME, "billing_sync_token": token, "state": "disabled"}
    assert world.run("self_hosted", "billing_sync", **connection).changed
    assert sync(world)["remedy"] == "connection-disabled"
    (row,) = world.rows("self_hosted", "OrganizationConnection", OrganizationId=ACME["self_hosted"])
    empty = json.dumps({**json.loads(row["Config"]), "BillingSyncKey": None})
    world.store("self_hosted").update("OrganizationConnection", row["Id"], Enabled=1, Config=empty)
    assert sync(world)["remedy"] == "connection-without-token"
    assert world.run("self_hosted", "billing_sync", organization=NAME, state="absent").changed
    missing = sync(world)
    assert (missing["remedy"], missing["link"]) == ("no-connection", remedies.entry("no-connection").link)


def test_a_sync_that_did_not_move_has_its_entry(world: Recorded) -> None:
    world.stand_ins["/sync"] = (200, None)
    result = sync(world)
    assert "its last sync is still" in message(result)
    assert result["remedy"] == "sync-did-not-move"


def test_a_failure_with_a_reason_of_its_own_asks_nobody_else(world: Recorded) -> None:
    grow(world, Enabled=0)
    world.logs["cloud"].clear()
    result = sync(world, cloud=cloud_login(world))
    assert "disabled at the cloud" in message(result)
    assert "probes" not in result.data
    assert not [line for line in world.logs["cloud"] if "profile" in line]


def test_diagnosing_changes_nothing_and_shows_no_secret(world: Recorded) -> None:
    before = (on_disk(world).read_bytes(), world.rows("self_hosted", "OrganizationConnection"))
    token = str(world.token()["token"])
    result = diagnosed(world, billing_sync_token=token, log=IN_CONSOLE, diff=True)
    assert not result.changed
    assert syncs(world) == 0
    assert (on_disk(world).read_bytes(), world.rows("self_hosted", "OrganizationConnection")) == before
    made = json.loads(on_disk(world).read_text())
    assert not [secret for secret in [*license_secrets(world, made), token] if secret in result.output]
