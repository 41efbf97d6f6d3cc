"""Every recorded refusal that a module can meet has a remedy, and the right one."""

from __future__ import annotations

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import remedies
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import Response
from unit import recordings
from unit.refusals import CALLS, refusals

REFUSALS = [(one.group, one.name, one.operation) for one in refusals()]


def test_there_are_many_recorded_refusals() -> None:
    assert len(REFUSALS) > 250
    assert {name for _letter, _exchange, name in REFUSALS} == {name for name, _method, _path in CALLS}


@pytest.mark.parametrize(("letter", "name", "where"), REFUSALS)
def test_every_recorded_refusal_has_a_cause_and_a_next_step(letter: str, name: str, where: str) -> None:
    one = recordings.exchange(letter, name)
    response = recordings.response(one)
    assert response.status == one["response"]["status"]
    remedy = remedies.explain(where, response)
    assert remedy is not None, response
    error = remedies.error_for(where, "Trying", response)
    assert f"{response.method} {response.url} answered {response.status}" in error.message
    assert response.said.rstrip(".") in error.message
    assert error.next_step == remedy.next_step
    assert error.details["cause"] == remedy.cause


@pytest.mark.parametrize(
    ("letter", "name", "where", "words"),
    [
        ("i", "token-11", remedies.TOKEN, "ten tokens a minute"),
        ("f3", "sync-http-proxy-without-no-proxy", remedies.LICENSE_SYNC, "NO_PROXY"),
        ("m", "bearer-expired-a-day-ago", remedies.PROFILE, "clock"),
        ("b", "sh-bearer-of-the-other-server", remedies.PROFILE, "api_url and identity_url"),
        ("b", "sh-bearer-none", remedies.PROFILE, "Authorization"),
        ("j", "sh-owner-GET-organizations-ORG-license", remedies.PROFILE, "is a self-hosted server"),
        ("e", "cloud-post", remedies.CONNECTION_SAVE, "is the Bitwarden cloud"),
        ("d", "cloud-api-key-hash-of-another-user", remedies.KEY, "one account"),
        ("d", "cloud-api-key-two-rows", remedies.KEY, "never rotate"),
        ("d", "cloud-api-key-plan-families", remedies.KEY, "Teams and Enterprise"),
        ("e", "post-as-admin", remedies.CONNECTION_SAVE, "confirmed owner"),
        ("e", "put-two-rows", remedies.CONNECTION_SAVE, "all but one"),
        ("e", "post-no-licence-file", remedies.CONNECTION_SAVE, "missing, changed, over a year old"),
        ("e", "post-no-licence-file", remedies.CONNECTION_SAVE, "server's clock"),
        ("e", "post-licence-camel-case", remedies.CONNECTION_SAVE, "by hand"),
        ("e", "post-licence-not-json", remedies.CONNECTION_SAVE, "no JSON"),
        ("e", "put-after-delete", remedies.CONNECTION_SAVE, "deleted meanwhile"),
        ("e", "get-stored-config-null", remedies.CONNECTION_READ, "cannot be read"),
        ("f3", "sync-no-connection", remedies.LICENSE_SYNC, "billing_sync"),
        ("h", "sync", remedies.LICENSE_SYNC, "enableCloudCommunication=true"),
        ("f3", "sync-connection-disabled", remedies.LICENSE_SYNC, "state=present"),
        ("f3", "sync-empty-key", remedies.LICENSE_SYNC, "holds no token"),
        ("f3", "sync-wrong-key", remedies.LICENSE_SYNC, "Invalid Billing Sync Key"),
        ("f3", "sync-identity-200-html", remedies.LICENSE_SYNC, "captive portal"),
        ("f3", "sync-api-200-empty-object", remedies.LICENSE_SYNC, "apiUri"),
        ("m", "sync-clock-60s-behind", remedies.LICENSE_SYNC, "clock"),
        ("f3", "sync-cloud-org-disabled", remedies.LICENSE_SYNC, "disabled at the cloud"),
        ("f3", "sync-seats-too-few", remedies.LICENSE_SYNC, "allows less"),
        ("f3", "sync-licence-file-not-writable", remedies.LICENSE_SYNC, "uid.env"),
        ("f3", "sync-api-tampered", remedies.LICENSE_SYNC, "changed on the way"),
        ("c", "sh-subscription-no-licence-file", remedies.SUBSCRIPTION, "missing or unreadable"),
        ("c", "sh-subscription-licence-token-expired", remedies.SUBSCRIPTION, "over a year old"),
        ("c", "sh-subscription-licence-token-not-yet-valid", remedies.SUBSCRIPTION, "clock"),
        ("a", "cloud-api-prefix-is-not-known-to-the-app", remedies.PROFILE, "/api"),
    ],
)
def test_the_remedy_is_the_right_one(letter: str, name: str, where: str, words: str) -> None:
    error = remedies.error_for(where, "Trying", recordings.response(recordings.exchange(letter, name)))
    assert words in str(error), str(error)


def test_every_row_of_the_table_can_be_reached() -> None:
    """A row that an earlier row hides would never be read."""
    for number, rule in enumerate(remedies.RULES):
        earlier = [
            other
            for other in remedies.RULES[:number]
            if other.said == ""
            and other.status == rule.status
            and (not other.where or set(rule.where) <= set(other.where))
            and (rule.where or not other.where)
        ]
        assert not earlier, rule


def test_the_generic_refusal_names_the_log_and_what_to_look_for() -> None:
    response = recordings.response(recordings.exchange("f3", "sync-wrong-key"))
    message = str(remedies.error_for(remedies.LICENSE_SYNC, "Syncing", response))
    assert "bwdata/logs/api/Api/" in message
    assert "GetSelfHostedOrganizationLicenseQuery" in message


LOG_LINES = [
    ("sync-wrong-key", "Invalid Billing Sync Key"),
    ("sync-own-installation-key-wrong", "Unsuccessful token response"),
    ("sync-dns-fails", "Unable to authenticate with identity server"),
    ("sync-api-refuses", "Failed to send to"),
    ("sync-cloud-org-expired", "No active subscription found"),
    ("sync-licence-key-unknown-to-cloud", "Invalid license key"),
    ("sync-connection-names-unknown-cloud-org", "Resource not found"),
    ("sync-rate-limited-by-the-cloud", "TooManyRequests"),
    ("sync-proxy-drops-body", "any JSON tokens"),
    ("sync-api-502-html", "invalid start of a value"),
    ("sync-api-500-json", "InternalServerError"),
]


@pytest.mark.parametrize(("name", "words"), LOG_LINES)
def test_the_words_to_look_for_are_those_that_the_server_logs(name: str, words: str) -> None:
    one = recordings.exchange("f3", name)
    log = str(one["effect"]["log"])
    step = str(remedies.error_for(remedies.LICENSE_SYNC, "Syncing", recordings.response(one)).next_step)
    assert words in log
    assert words in step


def test_an_answer_that_nobody_knows_is_still_told() -> None:
    response = Response("GET", "https://bw.example/api/x", 418, {}, "", "I am a teapot.")
    assert remedies.explain(remedies.PROFILE, response) is None
    error = remedies.error_for(remedies.PROFILE, "Reading", response)
    assert error.message == "Reading failed: GET https://bw.example/api/x answered 418: I am a teapot."
    assert error.next_step


@pytest.mark.parametrize(("status", "down"), [(502, True), (503, True), (504, True), (500, None), (404, None)])
def test_a_gateway_without_a_server_behind_it_is_told_apart(status: int, down: bool | None) -> None:
    response = Response("GET", "https://bw.example/api/x", status, {}, "")
    assert remedies.error_for(remedies.PROFILE, "Reading", response).details["server_down"] is down
