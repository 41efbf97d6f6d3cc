"""A server's list of sponsorships as calls of the module: grouped by account, in order, contradictions named."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.filter.sponsorship_calls import FilterModule

OWNER = {"client_id": "user.owner", "client_secret": "owner-secret"}
JO = {"client_id": "user.jo", "client_secret": "jo-secret"}
KIM = {"client_id": "user.kim", "client_secret": "kim-secret"}
FAMILY = {"email": "family@home.example", "friendly_name": "Family"}


def plan(*sponsorships: dict[str, Any], **options: Any) -> dict[str, Any]:
    row = {"organization": "Acme", "owner": OWNER, "sponsorships": list(sponsorships)}
    row |= {name: options.pop(name) for name in ("purge_here",) if name in options}
    if "purge_here" in row:
        row["purge"] = row.pop("purge_here")
    found: dict[str, Any] = FilterModule().filters()["sponsorship_calls"]([row], **options)
    return found


def calls(found: dict[str, Any], *keys: str) -> list[tuple[Any, ...]]:
    assert found["problems"] == []
    return [tuple(call[key] for key in keys) for call in found["calls"]]


def test_one_call_an_account_and_the_owner_where_none_is_named() -> None:
    found = plan({**FAMILY, "account": JO}, {"email": " b@home.example ", "admin_initiated": "yes"})
    assert calls(found, "client_id", "client_secret", "state", "sponsorships") == [
        (
            "user.owner",
            "owner-secret",
            "present",
            [{"friendly_name": "b@home.example", "email": "b@home.example", "admin_initiated": True}],
        ),
        ("user.jo", "jo-secret", "present", [{**FAMILY, "admin_initiated": False}]),
    ]
    assert found["owners"] == [{"organization": "Acme", **OWNER}]
    assert [call["label"] for call in found["calls"]] == [
        "Acme, as user.owner (b@home.example)",
        "Acme, as user.jo (Family)",
    ]


def test_an_owner_from_the_environment_has_no_credentials() -> None:
    found = FilterModule().filters()["sponsorship_calls"]([{"organization": "Acme", "sponsorships": [FAMILY]}])
    assert calls(found, "client_id", "label") == [("", "Acme, as its owner (Family)")]
    assert found["owners"] == [{"organization": "Acme", "client_id": "", "client_secret": ""}]


def test_revocations_come_first_and_the_owners_before_others() -> None:
    found = plan(
        {**FAMILY, "account": JO},
        {"email": "a@home.example", "admin_initiated": True},
        {"friendly_name": "Gone", "account": KIM, "state": "absent"},
        {"friendly_name": "Left", "state": "absent", "unseen": True},
        {"friendly_name": "Old", "state": "absent"},
    )
    assert calls(found, "state", "client_id", "unseen") == [
        ("absent", "user.owner", False),
        ("absent", "user.owner", True),
        ("absent", "user.kim", False),
        ("present", "user.owner", False),
        ("present", "user.jo", False),
    ]
    assert found["calls"][0]["sponsorships"] == [{"friendly_name": "Old"}]


def test_state_absent_is_for_all_of_the_list() -> None:
    found = plan({**FAMILY, "account": JO}, {"friendly_name": "Old", "state": "absent"}, state="absent", purge=True)
    assert calls(found, "state", "client_id", "purge") == [
        ("absent", "user.owner", "none"),
        ("absent", "user.jo", "none"),
    ]


def test_purge_is_explicit_and_the_owner_does_most_of_it() -> None:
    assert calls(plan({**FAMILY, "account": JO}), "purge") == [("none",)]
    found = plan({**FAMILY, "account": JO}, {"friendly_name": "Old", "state": "absent"}, purge=True)
    assert calls(found, "client_id", "state", "purge", "keep") == [
        ("user.owner", "absent", "none", ["Family", "Old"]),
        ("user.owner", "present", "all", ["Family", "Old"]),
        ("user.jo", "present", "own", ["Family", "Old"]),
    ]
    assert calls(plan(purge_here=True), "purge", "sponsorships") == [("all", [])]
    assert calls(plan({**FAMILY, "account": JO}, purge_here="false", purge=True), "purge") == [("none",)]


@pytest.mark.parametrize(
    ("sponsorships", "words"),
    [
        ([{}], "neither email nor friendly_name"),
        ([{"friendly_name": "X", "account": JO}], "X has no email"),
        ([{**FAMILY, "state": "gone"}], "neither present nor absent"),
        ([{**FAMILY, "account": {"client_id": "user.jo"}}], "no client_id or no client_secret"),
        ([FAMILY, {**FAMILY, "email": "b@home.example", "account": JO}], "the name family is there more than once"),
        ([FAMILY, {"email": "FAMILY@home.example", "account": JO}], "more than one sponsorship"),
        ([{**FAMILY, "account": JO}, {"email": "b@home.example", "account": JO}], "have the same account (user.jo)"),
        ([FAMILY, {"email": "b@home.example"}], "have the same account (the owner)"),
    ],
)
def test_contradictions_are_named_with_the_organization_and_without_secrets(
    sponsorships: list[dict[str, Any]], words: str
) -> None:
    (problem,) = plan(*sponsorships)["problems"]
    assert problem.startswith("Acme: ") and words in problem
    assert "secret" not in problem.replace("client_secret", "")


def test_organizations_have_a_name_and_are_there_once() -> None:
    rows = [{"organization": "Acme"}, {"organization": "ACME"}, {"sponsorships": [FAMILY]}]
    problems = FilterModule().filters()["sponsorship_calls"](rows)["problems"]
    assert problems == [
        "ACME is there more than once; put all of its sponsorships into one entry",
        "entry number 3 names no organization",
    ]


@pytest.mark.parametrize("nonsense", [None, [], [None, 7, "x"], [{"organization": "Acme", "sponsorships": "x"}]])
def test_an_empty_list_has_no_calls(nonsense: Any) -> None:
    assert FilterModule().filters()["sponsorship_calls"](nonsense)["calls"] == []
