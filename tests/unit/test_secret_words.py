"""What is a secret by its name or its looks, and that answers which are quoted show none of it."""

from __future__ import annotations

import json
import random
import re
import string
from pathlib import Path

import ansible
import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import secret_words
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import SELF_HOSTED, Connection
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import NetworkError, Response, Transport
from unit.web import Answer, answers, serve

JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjM5ODEwMDRGQUY0RjQ2.eyJpc3MiOiJodHRwOi8vMTI3LjAuMC4xIiwibmJm.c2lnbmVkLWFuZC1zZWFs"
KEY = "Zb3kV9qLr27TnX4cWm8YpD5sHj6FgA"
WRAPPED = "2.bi2JwTD/csGX1MWFcn29IA==|uJ0p6o7PUvgMwNx4fWP9QZigz5qnLfdXgWNpw9dMU1g1o2RDn1mt8m1gl4vK0OZH=|9eecMoimiAfe"
STAMP = "7EQCB5XHTTJAVQ2EEFPQWYW6D4PTIQVP"
GUID = "3583610f-bb6a-4bac-9521-b50a00eba9fa"


@pytest.mark.parametrize("secret", [JWT, KEY, WRAPPED, STAMP, "a1" * 10, "+/" + KEY, "x" * 150 + KEY])
def test_what_looks_like_a_secret_is_masked_in_any_text(secret: str) -> None:
    for text in (secret, f'{{"key":"{secret}', f"<p>{secret}</p>", f"at {GUID}: {secret}!"):
        shown = secret_words.masked(text)
        assert secret_words.HIDDEN in shown
        assert not any(secret[start : start + 16] in shown for start in range(len(secret) - 15))


@pytest.mark.parametrize(
    "part",
    [
        "Wo-MMxZcz_-FShX-h",
        "mSFzbzJNOwbNHKaM",
        "x" * 150 + "tLKPL8eyu/A40nS10R/4pHB0k9p/DLQbFZlPqtb",
        "/api/organizations/licenses/self-hosted/" + "tLKPL8eyu/A40nS10R/4pHB0k9p",
    ],
)
def test_what_is_left_of_a_secret_is_masked_whatever_stands_around_it(part: str) -> None:
    """As the long test of spoiled answers has found them: few letters, no digit, or long words before."""
    assert secret_words.masked(f'"********.{part}\ufffd********"') == '"********.********\ufffd********"'


@pytest.mark.parametrize(("length", "most"), [(16, 1.5), (20, 0.6), (30, 0.1)])
def test_random_letters_are_masked_also_without_a_digit(length: int, most: float) -> None:
    """Parts of 16 letters are what an answer that ends early leaves of a token; `most` is in percent of them."""
    pick = random.Random(length)  # noqa: S311 - no secrets: the same ones in each run
    parts = ["".join(pick.choice(string.ascii_letters) for _letter in range(length)) for _part in range(5000)]
    assert sum(secret_words.masked(part) == part for part in parts) <= len(parts) * most / 100


def test_names_in_programs_are_hardly_ever_taken_for_secrets() -> None:
    files = [path for path in Path(ansible.__file__).parent.rglob("*.py") if "galaxy" not in path.parts]
    words = {word for path in files for word in re.findall(r"\b[A-Za-z_]{16,}\b", path.read_text(encoding="utf-8"))}
    assert len(words) > 3000
    assert sum(secret_words.masked(word) != word for word in words) <= len(words) * 0.1 / 100


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f'{{"message": "x", "apiKey": "{KEY[:12]}', '{"message": "x", "apiKey": "********'),
        ('{"Access_Token" : "abcdefgh", "a', '{"Access_Token" : "********", "a'),
        (r'{"message": "{\"refresh_token\":\"abcdefgh\"}"', r'{"message": "{\"refresh_token\":\"********\"}"'),
        ("grant_type=x&token=abcdefgh&a=b", "grant_type=x&token=********&a=b"),
        ('{"name": "abcdefgh", "key": "short", "errors": {"key": "The key is wrong."', None),
        ("The token: abcdefgh", None),
    ],
)
def test_what_is_named_a_secret_is_masked_also_where_no_parser_gets_at_it(text: str, shown: str | None) -> None:
    assert secret_words.masked(text) == (shown or text)


@pytest.mark.parametrize(
    "text",
    [
        "An error has occurred. Check your internet connection and ensure the billing token is correct.",
        "The requested organization already has a connection of type CloudBillingSync.",
        "Bit.Core.Billing.Organizations.Queries.GetSelfHostedOrganizationLicenseQuery",
        "IDX10222: Lifetime validation failed. ValidFrom (UTC): '11/28/2026 7:10:02 AM'",
        f"/organizations/licenses/self-hosted/{GUID}/sync",
        f"The value '{GUID.upper()}' is not valid.",
        "2026-11-28T07:08:02.1234567Z",
        "MasterPasswordHash: Invalid password.",
        "12345678901234567890",
        "https://identity.bitwarden.com/connect/token",
        "/identity/connect/token/v2/organizations/self-hosted",
        "GetSelfHostedOrganizationLicenseQuery",
        "OrganizationSponsorshipIdByOrgId",
        "globalSettings__installation__identityUri",
        "HTTPSProxyURLsForTheOrganization",
        "LastApiKeyRotationDate",
        "UseDisableSmAdsForUsers",
        "FileNotFoundError",
        "2026-11-28-07-08-02",
        "self-hosted-organization-connections",
    ],
)
def test_words_ids_dates_and_addresses_stay(text: str) -> None:
    assert secret_words.masked(text) == text


def test_secrets_are_known_by_their_names_at_any_depth() -> None:
    answer = {"access_token": JWT, "a": [{"config": {"BillingSyncKey": KEY}}, "x" * 20], "key": "short", "apiKey": 1}
    assert list(secret_words.of(answer)) == [JWT, KEY]
    deep: object = {"token": KEY}
    for _level in range(50):
        deep = [deep]
    assert list(secret_words.of(deep)) == []


def asked(*script: Answer, times: int = 1) -> Response:
    with serve(answers(*script)) as web:
        connection = Connection(SELF_HOSTED, web.url, web.url, web.url, retries=0, rate_limit_wait=0)
        with Transport(connection) as transport:
            for _time in range(times):
                response = transport.request("GET", f"{web.url}/x")
    return response


@pytest.mark.parametrize("error", [["x"], {"a": ["x"]}, 1, True])
def test_an_error_of_any_type_is_told(error: object) -> None:
    said = asked(Answer(400, {"error": error, "error_description": [error], "ErrorModel": [error]})).said
    assert str(error) in said


@pytest.mark.parametrize("length", [30, 60, 120])
def test_an_answer_that_ends_in_a_token_shows_no_part_of_it(length: int) -> None:
    said = asked(Answer(200, json.dumps({"access_token": JWT})[:length])).said
    assert said == '{"access_token": "********'


def test_what_the_server_gave_is_not_quoted_when_it_comes_back() -> None:
    word = "abcdefghijklmnopqrst"
    assert asked(Answer(200, {"apiKey": word}), Answer(400, {"message": f"bad {word}"}), times=2).said == "bad ********"
    assert word in asked(Answer(200, {"name": word}), Answer(400, {"message": f"bad {word}"}), times=2).said


@pytest.mark.parametrize("place", ["http://[::1", "\u00e9", "javascript:x", f"https://login.example.com/{KEY}?t={KEY}"])
def test_a_redirect_to_anywhere_is_told_in_words_and_without_secrets(place: str) -> None:
    with pytest.raises(NetworkError, match="was redirected to") as caught:
        asked(Answer(302, "", {"Location": place}))
    assert KEY not in str(caught.value)


def test_an_answer_that_ends_too_early_is_told_in_words() -> None:
    with pytest.raises(NetworkError, match="closed before the whole answer") as caught:
        asked(Answer(200, "{}", cut=10))
    assert "run again" in str(caught.value)
