"""The API calls: organizations, wrong kinds of server, and what to do about races."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import license, organization
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import CLOUD, SELF_HOSTED, connection
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import Transport
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.license import Due, Policy
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import BillingSync, Organization
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server
from unit import recordings
from unit.web import Answer, Script, Web, routes, serve

ACME = "3583610f-bb6a-4bac-9521-b50a00eba9fa"
OTHER = "9b1d9a55-0000-4000-8000-000000000001"
CONNECTION = "4b8c2f55-0f0c-4c6e-8f30-b50a00ebaa5d"
NOT_FOUND = Answer(404, {"object": "error", "message": "Resource not found.", "validationErrors": None})
CONFIG = recordings.answer(recordings.exchange("a", "sh-config-anonymous"))
PROBE = "GET /api/installations/00000000-0000-0000-0000-000000000000"
LOGIN = recordings.answer(recordings.exchange("b", "cloud-token-user-api-key-first-time"))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of logins lies in the test's own folder, and not in the tester's home."""
    monkeypatch.setenv("ANSIBLE_HOME", str(tmp_path))


@contextmanager
def server(table: dict[str, Answer | Script], kind: str = SELF_HOSTED, **options: Any) -> Iterator[tuple[Server, Web]]:
    full: dict[str, Answer | Script] = {"POST /identity/connect/token": LOGIN, "GET /api/config": CONFIG, **table}
    with serve(routes(full)) as web:
        target = connection(
            kind,
            {
                "url": web.url,
                "client_id": "user.14feaff5-936a-4e05-b8de-b50a00eba283",
                "client_secret": "a-client-secret-of-thirty-char",
                "retries": 0,
                **options,
            },
        )
        with Transport(target) as transport:
            yield Server(target, transport), web


def config(**changes: Any) -> Answer:
    return Answer(200, {**CONFIG.body, **changes})


def row(**changes: Any) -> dict[str, Any]:
    given = {"id": ACME, "name": "Acme", "type": 0, "status": 2, "productTierType": 3, "enabled": True}
    return {**given, **changes}


def profile(*rows: dict[str, Any], new: tuple[dict[str, Any], ...] = ()) -> dict[str, Answer | Script]:
    body = {"email": "owner@acme.example", "organizations": list(rows), "organizationsNew": [*rows, *new]}
    return {"GET /api/accounts/profile": Answer(200, body)}


# Organizations.


def test_the_recorded_profile_is_told_in_words() -> None:
    answer = recordings.answer(recordings.exchange("c", "sh-profile-owner"))
    with server({"GET /api/accounts/profile": answer}) as (api, _web):
        found = api.owned_organization("Acme & Söhne")
        assert found.as_dict() == {
            "id": ACME,
            "name": "Acme & Söhne",
            "role": "owner",
            "status": "confirmed",
            "plan": "enterprise",
            "enabled": True,
            "seats": 10,
            "billing_sync_allowed": True,
        }


def test_a_name_that_the_server_encodes_for_html_is_the_one_that_people_see() -> None:
    found = Organization.of_profile({"id": ACME, "name": "Acme &amp; S&#246;hne"})
    assert found.name == "Acme & Söhne"
    assert organization.find([found], "Acme &amp; Söhne", "here") == found


def test_an_organization_is_listed_once_however_many_sponsorships_its_owner_has() -> None:
    answer = recordings.answer(recordings.exchange("g1", "profile-owner-with-three"))
    ids = [item["id"] for item in answer.body["organizations"]]
    assert len(ids) > len(set(ids))
    with server({"GET /api/accounts/profile": answer}) as (api, _web):
        assert [item.id for item in api.organizations()] == list(dict.fromkeys(ids))


@pytest.mark.parametrize("wanted", ["A & B", "A &amp; B", ACME, ACME.upper(), f" {ACME} "])
def test_an_organization_is_found_by_name_and_by_id(wanted: str) -> None:
    with server(profile(row(name="A & B"), row(id=OTHER, name="C"))) as (api, web):
        assert api.owned_organization(wanted).id == ACME
        api.owned_organization(wanted)
    assert web.calls.count("GET /api/accounts/profile") == 1


def test_several_organizations_of_one_name_are_listed_by_id() -> None:
    with server(profile(row(), row(id=OTHER))) as (api, _web), pytest.raises(BitwardenError) as caught:
        api.owned_organization("Acme")
    assert ACME in str(caught.value)
    assert OTHER in str(caught.value)


@pytest.mark.parametrize("wanted", ["acme", "Nobody", OTHER])
def test_an_organization_that_is_not_there_is_answered_with_those_that_are(wanted: str) -> None:
    with server(profile(row())) as (api, _web), pytest.raises(BitwardenError, match="Acme") as caught:
        api.owned_organization(wanted)
    assert wanted in str(caught.value)


def test_the_account_s_address_is_that_of_its_profile() -> None:
    with server(profile()) as (one, web):
        assert one.email() == one.email() == "owner@acme.example"
        assert web.calls.count("GET /api/accounts/profile") == 1
    with server({"GET /api/accounts/profile": Answer(200, {"email": None})}) as (one, _web):
        assert one.email() == ""


def test_an_account_without_organizations_is_told_so() -> None:
    with server(profile()) as (api, _web), pytest.raises(BitwardenError, match="it sees: none"):
        api.owned_organization("Acme")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": 1}, "confirmed admin"),
        ({"type": 4}, "confirmed custom"),
        ({"status": -1}, "revoked owner"),
        ({"type": 99}, "confirmed 99"),
    ],
)
def test_who_is_no_confirmed_owner_is_told_the_role(change: dict[str, Any], said: str) -> None:
    with server(profile(row(**change))) as (api, _web), pytest.raises(BitwardenError, match=said):
        api.owned_organization("Acme")


def test_an_accepted_owner_is_told_so() -> None:
    with server(profile(new=(row(status=1),))) as (api, _web), pytest.raises(BitwardenError, match="accepted owner"):
        api.owned_organization("Acme")


@pytest.mark.parametrize(("tier", "allowed"), [(0, False), (1, False), (2, True), (3, True), (4, False)])
def test_plans_with_billing_sync(tier: int, allowed: bool) -> None:
    found = Organization.of_profile(row(productTierType=tier))
    assert found.billing_sync_allowed is allowed
    if not allowed:
        with pytest.raises(BitwardenError, match=found.plan.replace("_", " ").title()):
            organization.require_billing_sync_plan(found, "US")


def test_the_plan_of_an_older_server_is_read_too() -> None:
    older = row(planProductType=2)
    del older["productTierType"]
    assert Organization.of_profile(older).plan == "teams"


# The wrong kind of server.


@pytest.mark.parametrize("name", ["cloud-installation-unknown", "cloud-installation-known"])
def test_a_cloud_proves_itself_without_credentials(name: str) -> None:
    answer = recordings.answer(recordings.exchange("a", name))
    with server({PROBE: answer}, CLOUD) as (api, web):
        api.require_cloud()
    assert "POST /identity/connect/token" not in web.calls


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({PROBE: recordings.answer(recordings.exchange("a", "sh-installation-malformed"))}, "is a self-hosted server"),
        ({"GET /api/config": config(server={"name": "Vaultwarden", "url": "x"})}, "is Vaultwarden"),
        ({"GET /api/config": config()}, "no Bitwarden at this address"),
        ({"GET /api/config": Answer(404)}, "no Bitwarden at this address"),
        ({PROBE: Answer(404, "<html>Not here</html>"), "GET /api/config": Answer(200, "<html>")}, "no Bitwarden at"),
        ({PROBE: Answer(200, "<html>Log in</html>")}, "no JSON object"),
    ],
)
def test_what_is_no_cloud_is_refused(table: dict[str, Answer | Script], said: str) -> None:
    with server(table, CLOUD) as (api, web), pytest.raises(BitwardenError, match=said):
        api.require_cloud()
    assert "POST /identity/connect/token" not in web.calls


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (config(server={"name": "Vaultwarden"}), "Vaultwarden"),
        (config(version="2022.12.0"), "2022.12.0.*2023.8.0 or newer"),
        (Answer(404), "no Bitwarden at this address"),
        (CONFIG, "no Bitwarden at this address"),
    ],
)
def test_a_route_that_does_not_exist_tells_what_server_this_is(answer: Answer, said: str) -> None:
    with server({"GET /api/config": answer}) as (api, _web):
        for call in (lambda: api.billing_sync(ACME), lambda: api.sync_license(ACME), api.cloud_communication):
            with pytest.raises(BitwardenError, match=said):
                call()


def test_the_credentials_of_a_cloud_at_a_self_hosted_server_and_the_reverse() -> None:
    refused = {"POST /identity/connect/token": Answer(400, {"error": "invalid_client"})}
    with server({**refused, PROBE: NOT_FOUND}) as (api, _web), pytest.raises(BitwardenError) as caught:
        api.organizations()
    assert "is a Bitwarden cloud" in str(caught.value)
    self_hosted = recordings.answer(recordings.exchange("a", "sh-installation-malformed"))
    with server({**refused, PROBE: self_hosted}, CLOUD) as (api, _web), pytest.raises(BitwardenError) as caught:
        api.organizations()
    assert "is a self-hosted server" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "probe"), [(CLOUD, "cloud-installation-unknown"), (SELF_HOSTED, "sh-installation-malformed")]
)
def test_wrong_credentials_at_the_right_server_stay_wrong_credentials(kind: str, probe: str) -> None:
    table: dict[str, Answer | Script] = {
        "POST /identity/connect/token": Answer(400, {"error": "invalid_client"}),
        PROBE: recordings.answer(recordings.exchange("a", probe)),
    }
    with server(table, kind) as (api, _web), pytest.raises(BitwardenError, match="invalid_client"):
        api.organizations()


# The connection.


def of_connection(**changes: Any) -> Answer:
    stored = {
        "BillingSyncKey": "old-key",
        "CloudOrganizationId": OTHER,
        "LastLicenseSync": "2026-08-20T14:16:19.1234567+00:00",
    }
    config_ = {**stored, **changes.pop("config", {})}
    given = {"id": CONNECTION, "type": 1, "organizationId": ACME, "enabled": True, "config": config_}
    return Answer(200, {**given, **changes})


def test_the_connection_is_read_in_both_cases_of_letters() -> None:
    with server({f"GET /api/organizations/connections/{ACME}/1": of_connection()}) as (api, _web):
        found = api.billing_sync(ACME)
    assert (found.key, found.cloud_organization_id) == ("old-key", OTHER)
    assert "old-key" not in repr(found)
    assert "old-key" not in json.dumps(found.as_dict())


def test_no_connection_is_not_an_error() -> None:
    nothing = recordings.answer(recordings.matching("e", "get-.*(missing|none|before).*")[0])
    with server({f"GET /api/organizations/connections/{ACME}/1": nothing}) as (api, _web):
        found = api.billing_sync(ACME)
    assert found == BillingSync()
    assert not found.exists


def test_a_sync_may_take_as_long_as_the_server_waits_for_the_cloud() -> None:
    slow: dict[str, Answer | Script] = {f"POST /api/organizations/licenses/self-hosted/{ACME}/sync": Answer(delay=1.5)}
    with server(slow, timeout=1) as (api, web):
        api.sync_license(ACME)
    assert len(web.asked) == 2


# When a license is due.

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=timezone.utc)
POLICY = Policy.of_days(7, 30)


def ago(**delta: float) -> str:
    return (NOW - timedelta(**delta)).isoformat()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T14:32:13.5972481+00:00", datetime(2026, 11, 22, 14, 32, 13, 597248, timezone.utc)),
        ("2026-11-22T16:32:13.5+02:00", datetime(2026, 11, 22, 14, 32, 13, 500000, timezone.utc)),
        ("2027-12-27T14:18:00", datetime(2027, 12, 27, 14, 18, tzinfo=timezone.utc)),
        ("2027-10-28T14:18:00.57281Z", datetime(2027, 10, 28, 14, 18, 0, 572810, timezone.utc)),
    ],
)
def test_bitwardens_dates(text: str, expected: datetime) -> None:
    assert license.parse_date(text) == expected


@pytest.mark.parametrize("text", [None, "", "never", "2026-11-22"])
def test_what_is_no_date(text: str | None) -> None:
    assert license.parse_date(text) is None


@pytest.mark.parametrize(
    ("enabled", "last_sync", "expected"),
    [
        (True, None, Due(True, "never_synced")),
        (False, ago(hours=1), Due(True, "organization_disabled")),
        (True, ago(days=7), Due(True, "age")),
        (True, ago(days=400), Due(True, "age")),
        (True, ago(hours=23), Due(False, "fresh")),
        (True, ago(seconds=-0.9), Due(False, "fresh")),
        (True, ago(days=2), None),
        (True, ago(hours=-1), None),
    ],
)
def test_the_last_sync_decides_what_it_can(enabled: bool, last_sync: str | None, expected: Due | None) -> None:
    assert license.due_without_license(POLICY, enabled=enabled, last_sync=last_sync, now=NOW) == expected


@pytest.mark.parametrize("seconds", [1, 0, -0.5])
def test_an_age_of_zero_is_always_due(seconds: float) -> None:
    policy = Policy.of_days(0, 30)
    last_sync = ago(seconds=seconds)
    assert license.due_without_license(policy, enabled=True, last_sync=last_sync, now=NOW) == Due(True, "age")


@pytest.mark.parametrize(
    ("expiration", "expected"),
    [
        ("2026-12-24T11:59:59", Due(True, "expiration")),
        ("2026-12-24T12:00:00", Due(True, "expiration")),
        ("2026-01-01T00:00:00", Due(True, "expiration")),
        ("2026-12-24T12:00:01", Due(False, "fresh")),
        (None, Due(True, "license_unreadable")),
    ],
)
def test_the_license_decides_the_rest(expiration: str | None, expected: Due) -> None:
    assert license.due_by_license(POLICY, expiration=expiration, now=NOW) == expected


@pytest.mark.parametrize(
    "name",
    [
        "sh-subscription-no-licence-file",
        "sh-subscription-licence-token-expired",
        "sh-subscription-licence-file-camel-case",
    ],
)
def test_a_license_that_the_server_cannot_read_is_due(name: str) -> None:
    answer = recordings.answer(recordings.exchange("c", name))
    stale = BillingSync(id=CONNECTION, last_license_sync=(license.utc_now() - timedelta(days=2)).isoformat())
    with server({f"GET /api/organizations/{ACME}/subscription": answer}) as (api, _web):
        due, expiration = api.license_due(Organization.of_profile(row()), stale, POLICY)
    assert (due, expiration) == (Due(True, "license_unreadable"), None)


def test_a_license_that_nobody_may_see_is_an_error_and_not_due() -> None:
    stale = BillingSync(id=CONNECTION, last_license_sync=(license.utc_now() - timedelta(days=2)).isoformat())
    table: dict[str, Answer | Script] = {f"GET /api/organizations/{ACME}/subscription": NOT_FOUND}
    with server(table) as (api, _web), pytest.raises(BitwardenError, match="confirmed owner"):
        api.license_due(Organization.of_profile(row()), stale, POLICY)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, "2026-11-22T14:32:13.5972481+00:00", True),
        ("2026-11-22T14:32:13.5972481+00:00", "2026-11-22T14:32:13.5972482+00:00", True),
        ("2026-11-22T14:32:13.5972481+00:00", "2026-11-22T14:32:13.5972481+00:00", False),
        (None, None, False),
        ("2026-11-22T14:32:13.5972481+00:00", None, False),
    ],
)
def test_whether_a_sync_happened(before: str | None, after: str | None, expected: bool) -> None:
    assert license.moved(before, after) is expected
