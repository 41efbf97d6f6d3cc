"""Licenses as files, without any server: what the recorded ones say, and what no license says."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import license, license_checks, license_file
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.license_checks import Place
from unit import recordings

NOW = datetime(2026, 11, 22, 16, 0, tzinfo=timezone.utc)


def recorded() -> list[dict[str, Any]]:
    """Every license that the recorded cloud gave."""
    found = [one["response"].get("body") for one in recordings.group("f1")]
    return [body for body in found if isinstance(body, dict) and "licenseKey" in body]


def parsed(**changes: Any) -> license_file.License:
    return license_file.parse(json.dumps({**recorded()[0], **changes}).encode(), "a test")


def with_claims(**claims: Any) -> license_file.License:
    segments = recorded()[0]["token"].split(".")
    payload = json.loads(base64.urlsafe_b64decode(segments[1] + "=="))
    payload.update(claims)
    segments[1] = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return parsed(token=".".join(segments))


def test_the_hash_of_every_recorded_license_is_good_and_of_a_changed_one_is_not() -> None:
    assert len(recorded()) >= 8
    for body in recorded():
        made = license_file.parse(json.dumps(body).encode(), "a test")
        assert made.hash_is_good() is True
        assert made.kind == "organization"
    assert parsed(seats=11).hash_is_good() is False
    assert parsed(expires="soon").hash_is_good() is False
    assert parsed(version=16).hash_is_good() is None
    assert parsed(hash=None).hash_is_good() is None


@pytest.mark.parametrize(
    "odd", [None, 5, -1.5, True, [], ["x"], {}, {"a": 1}, "x" * 5000, "9" * 5000, "2026-99-99T00:00:00"]
)
def test_odd_values_make_no_traceback(odd: Any) -> None:
    names = ("Name", "Seats", "Expires", "Issued", "LicenseType", "Enabled", "InstallationId", "Plan", "aud", "iss",
             "nbf", "exp", "Id", "PlanType")  # fmt: skip
    place = Place("here", "2026.7.2", NOW, "8318521f-7d7d-4692-8de0-b50a00eabedc", "x", 3, 10)
    for name in names:
        for made in (with_claims(**{name: odd}), parsed(token=None, **{name[:1].lower() + name[1:]: odd})):
            assert json.dumps(made.facts())
            license_checks.problems(made, place)
            license_checks.differences(made, {"expiration": odd, "seats": odd, "name": odd, "useSso": odd})


def test_a_number_that_is_no_moment_and_dates_beyond_all_calendars() -> None:
    for odd in (1e300, -1e300, float("nan"), True, "x"):
        assert with_claims(exp=odd).moment("exp") is None
    for text in ("0001-01-01T00:00:00+14:00", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00+99:99", 7, None, ""):
        assert license.parse_date(text) is None


def test_the_versions_that_a_server_knows() -> None:
    assert license_checks.newest_format("2024.12.1") == 15
    assert license_checks.newest_format("2025.1.0") == license_checks.newest_format("2026.7.2") == 16
    assert license_checks.newest_format("2026.9.0") is license_checks.newest_format("") is None


def test_nothing_of_a_license_that_is_secret_is_shown() -> None:
    made = parsed()
    shown = repr(made) + str(made.facts())
    assert not [name for name in ("licenseKey", "hash", "signature", "token") if recorded()[0][name] in shown]
