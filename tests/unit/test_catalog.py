"""The catalog covers every failure that is known, and explains every recorded event of the server's log."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import remedies
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog import general, model
from unit import recordings, refusals

DATA = Path(__file__).with_name("data")
ROWS = yaml.safe_load((DATA / "failures.yml").read_text(encoding="utf-8"))
EVENTS = yaml.safe_load((DATA / "log_events.yml").read_text(encoding="utf-8"))
SYMPTOMS = {one.key for one in general.SYMPTOMS}

# What no row shows: answers of gateways, and what is said where nothing fits better.
BEYOND = {
    "not-available-now",
    "gateway-timeout",
    "license-refused-by-a-proxy",
    "request-refused",
    "log-cloud-not-reached",
    "job-cloud-said-no",
    "request-server-clock-behind",
}


def logged(one: dict[str, Any]) -> list[str]:
    """The self-hosted server's lines of an exchange."""
    log = one.get("effect", {}).get("log") or one.get("log") or {}
    if isinstance(log, list):
        return log
    return [line for name, lines in log.items() if name.startswith("self_hosted") for line in lines]


def shown(row: dict[str, Any]) -> list[tuple[str, str | None]]:
    """What a row shows, and the entry that explains it."""
    found: list[tuple[str, str | None]] = []
    for group, patterns in row["shown"].items():
        for pattern in patterns:
            exchanges = refusals.named(group, pattern)
            assert exchanges, f"no exchange of group {group} is named {pattern}"
            for one in exchanges:
                found += [(one["name"], key) for key in explained(one, row.get("operation", remedies.PROFILE))]
    for operation, status, words in row.get("said", []):
        fits = [rule.key for rule in remedies.RULES if rule.matches(operation, status, words)]
        found.append((words, fits[0] if fits else None))
    for line in row.get("lines", []):
        found += [(line, one.entry.key) for one in remedies.of_log([line])] or [(line, None)]
    return found


def explained(one: dict[str, Any], operation: str) -> list[str | None]:
    keys: list[str | None] = [found.entry.key for found in remedies.of_log(logged(one))]
    line = refusals.as_logged(one)
    answer = one.get("response", {}).get("status", 0)
    if line is not None and answer >= refusals.REFUSED:
        return [found.entry.key for found in remedies.of_log([line])] or [None]
    if answer >= refusals.REFUSED:
        found = remedies.explain(refusals.operation(one) or operation, recordings.response(one))
        keys.append(found.key if found else None)
    return keys


def test_every_known_failure_has_its_row() -> None:
    counted = Counter(name[0] for name in ROWS)
    assert counted == {"T": 19, "K": 10, "C": 12, "U": 24, "S": 27, "P": 13, "J": 13, "V": 9, "X": 1}
    assert len(ROWS) == 128


@pytest.mark.parametrize("name", ROWS)
def test_a_failure_is_explained_by_the_entries_of_its_row_and_by_no_other(name: str) -> None:
    found = shown(ROWS[name])
    assert [words for words, key in found if key is None] == []
    assert {key for _words, key in found} | (SYMPTOMS & set(ROWS[name]["keys"])) == set(ROWS[name]["keys"])


def test_every_entry_explains_a_known_failure_or_is_said_where_nothing_fits_better() -> None:
    used = {key for row in ROWS.values() for key in row["keys"]}
    assert {one.key for one in remedies.CATALOG} - used == BEYOND
    assert not used & BEYOND


def test_keys_name_one_entry_each_for_good() -> None:
    keys = [one.key for one in remedies.CATALOG]
    assert [key for key, times in Counter(keys).items() if times > 1] == []
    assert [key for key in keys if not re.fullmatch(r"[a-z]+(-[a-z]+)*", key)] == []
    assert remedies.entry("log-dns") in remedies.LOG_RULES
    with pytest.raises(KeyError):
        remedies.entry("no-such-entry")


@pytest.mark.parametrize("one", remedies.CATALOG, ids=lambda one: one.key)
def test_an_entry_can_be_read(one: model.Entry) -> None:
    assert one.cause[0].islower() and one.cause[-1] not in ".!?:"
    assert one.next_step[0].isupper() and one.next_step[-1] == "."
    assert one.seen or not set(one.said) & set(r"\[](){}|*?^$")
    assert one.link == "" or one.link.startswith("https://")
    assert (one.status is None) == (set(one.where) <= {*model.LOGS, model.SYMPTOM} and one.where != ())


# The server's log.


def as_console(lines: list[str]) -> list[str]:
    """As `docker logs` shows it: what belongs to an event stands further right."""
    return [line if re.match(r"(\w{4}: |Unhandled)", line) else f"      {line}" for line in lines]


VALUES = re.compile(
    r"(https?://[^ ]+?)(?=\.?( |$))|(?<=Reason: ).+|(?<=Bad Request: ).+|(?<=organization )[^/]+(?= Failed)"
)


def as_file(lines: list[str]) -> list[str]:
    """As bwdata/logs has it: date, request and level first, no category, and the values among the words in quotes."""
    found: list[str] = []
    level = ""
    for line in lines:
        if re.match(r"\w{4}: ", line):
            level = {"fail": "ERR", "info": "INF", "warn": "WRN"}[line[:4]]
        elif level:
            words = VALUES.sub(r'"\g<0>"', line)
            found.append(f"2026-11-22T15:32:50.1234567+00:00 0HNABCDEFGH1:00000001 [{level}] {words} (0000302e)")
            level = ""
        else:
            found.append(line)
    return found


def cases() -> list[tuple[str, str, list[str]]]:
    return [(group, name, keys) for group, names in EVENTS.items() for name, keys in names.items()]


def test_all_recorded_logs_are_in_the_table() -> None:
    for group in ("e", "f3", "g3", "g4", "h", "l"):
        assert set(EVENTS[group]) == {one["name"] for one in recordings.exchanges(group) if logged(one)}
    assert sum(len(keys) for _group, _name, keys in cases()) > 70


@pytest.mark.parametrize("form", [list, as_console, as_file])
@pytest.mark.parametrize(("group", "name", "keys"), cases())
def test_a_recorded_log_is_explained_in_each_form(group: str, name: str, keys: list[str], form: Any) -> None:
    lines = form(logged(refusals.named(group, name)[0]))
    assert [found.entry.key for found in remedies.of_log(lines)] == keys


def test_the_newest_event_comes_first_and_old_ones_can_be_left_out() -> None:
    first = as_file(logged(recordings.exchange("f3", "sync-wrong-key")))
    second = [
        line.replace("15:32:50", "15:40:00") for line in as_file(logged(recordings.exchange("f3", "sync-dns-fails")))
    ]
    found = remedies.of_log([*first, *second])
    assert [one.entry.key for one in found] == ["log-dns", "log-wrong-billing-sync-key"]
    assert [one.at.minute for one in found if one.at] == [40, 32]
    since = datetime(2026, 11, 22, 15, 35, tzinfo=timezone.utc)
    assert [one.entry.key for one in remedies.of_log([*first, *second], since=since)] == ["log-dns"]
    undated = logged(recordings.exchange("f3", "sync-wrong-key"))
    assert len(remedies.of_log(undated, since=since)) == 1


@pytest.mark.parametrize("form", [list, as_file])
def test_a_license_sync_and_the_daily_job_say_the_same_but_are_told_apart(form: Any) -> None:
    sync = form(logged(recordings.exchange("f3", "sync-identity-reset")))
    job = form(logged(refusals.named("g3", "job-identity-reset")[0]))
    for lines, own, other in ((sync, remedies.LOG_SYNC, remedies.LOG_JOB), (job, remedies.LOG_JOB, remedies.LOG_SYNC)):
        assert {one.entry.key for one in remedies.of_log(lines, own)} == {"log-cut-or-refused"}
        assert remedies.of_log(lines, other) == []


def test_an_event_names_the_organizations_of_the_job_that_failed() -> None:
    found = remedies.of_log(logged(refusals.named("g3", "job-identity-400-two-organizations")[0]))
    assert ["Other Enterprise" in one.event for one in found] == [True, False]
    assert "Acme & Söhne" in found[1].event


def test_a_log_that_begins_within_an_event_is_no_trouble() -> None:
    lines = logged(refusals.named("g3", "job-wrong-key")[0])
    begin = next(number for number, line in enumerate(lines) if "SelfHostedSponsorshipSyncJob[0]" in line)
    assert [one.entry.key for one in remedies.of_log(lines[begin:])] == ["job-cloud-said-no"]
    assert [one.entry.key for one in remedies.of_log(lines[begin + 1 :])] == ["job-cloud-said-no"]
    assert remedies.of_log([]) == []
    assert remedies.of_log(["", "   at Bit.Api.Startup", "[WRN]"]) == []


def test_the_words_of_an_event_fit_into_an_error() -> None:
    for form in (as_console, as_file):
        (found,) = remedies.of_log(form(logged(recordings.exchange("f3", "sync-api-hangs"))))
        assert found.said.startswith("Failed to send to ")
        assert "HttpClient.Timeout of 100 seconds" in found.said
        assert "GetSelfHosted" not in found.said and "0000302e" not in found.said and "\n" not in found.said
        assert len(found.said) < 310 and found.said.endswith(" …")
    (short,) = remedies.of_log(logged(recordings.exchange("f3", "sync-wrong-key")))
    assert short.said.startswith("Request to http") and short.said.endswith("Invalid Billing Sync Key")
