"""Regions are rows of one table; a region of one's own has the same shape."""

from __future__ import annotations

import re
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.bitwarden.plugins.filter.region import FilterModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.regions import (
    REGIONS,
    RegionError,
    is_loopback,
    resolve,
)

OWN = {"name": "Example", "api": "https://api.bw.example", "identity": "https://identity.bw.example"}


def region_filter(value: t.Any) -> dict[str, str]:
    return t.cast("dict[str, str]", FilterModule().filters()["region"](value))


@pytest.mark.parametrize("name", ["US", "us", "Eu", "GOV", " gov "])
def test_a_region_is_found_in_any_case_of_letters(name: str) -> None:
    assert resolve(name).name.lower() == name.strip().lower()


def test_every_region_has_four_different_hosts_of_one_domain() -> None:
    for region in REGIONS.values():
        urls = [region.vault, region.api, region.identity, region.push]
        assert len(set(urls)) == 4
        assert all(url.startswith("https://") and not url.endswith("/") for url in urls)
        assert len({url.split(".", 1)[1] for url in urls}) == 1
    assert len({region.api for region in REGIONS.values()}) == len(REGIONS)


@pytest.mark.parametrize("given", ["Mars", "", "U S"])
def test_an_unknown_region_is_refused_with_the_known_names(given: str) -> None:
    with pytest.raises(RegionError, match=re.escape(repr(given))) as caught:
        resolve(given)
    assert "US, EU, Gov" in str(caught.value)
    assert "dictionary" in str(caught.value)


def test_an_own_region_may_leave_out_vault_and_push() -> None:
    region = resolve(OWN)
    assert (region.name, region.vault, region.push) == ("Example", "", "")
    assert region.api == OWN["api"]


def test_an_own_region_is_its_own_resolution() -> None:
    for region in (resolve("EU"), resolve({**OWN, "push": "https://bw.example/push"})):
        assert resolve(region.as_dict()) == region


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://bw.example/", "https://bw.example"),
        ("https://bw.example/api", "https://bw.example/api/"),
        ("https://bw.example:8443/api///", "https://bw.example:8443/api/"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_an_address_ends_in_a_slash_only_when_it_has_a_path(given: str, expected: str) -> None:
    assert resolve({**OWN, "api": given}).api == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"api": ""}, "lacks api"),
        ({"name": None, "identity": None}, "lacks name, identity"),
        ({"api": "http://api.bw.example"}, "https://"),
        ({"identity": "identity.bw.example"}, "https://"),
        ({"api": "https://api.bw.example/?a=b"}, "query"),
        ({"api": "https://user:pw@api.bw.example"}, "user"),
        ({"idendity": "https://x.example"}, "idendity"),
    ],
)
def test_an_own_region_that_cannot_work_is_refused(change: dict[str, str | None], said: str) -> None:
    with pytest.raises(RegionError, match=said):
        resolve({**OWN, **change})


def test_something_that_is_no_region_at_all_is_refused() -> None:
    with pytest.raises(RegionError, match="list"):
        resolve([OWN])  # type: ignore[arg-type]  # what a playbook may hand over


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("bw.example", False),
        ("10.0.0.1", False),
        (None, False),
    ],
)
def test_loopback(host: str | None, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_filter_gives_a_plain_dictionary() -> None:
    assert region_filter("eu") == {
        "name": "EU",
        "vault": "https://vault.bitwarden.eu",
        "api": "https://api.bitwarden.eu",
        "identity": "https://identity.bitwarden.eu",
        "push": "https://push.bitwarden.eu",
    }


def test_the_filter_says_what_is_wrong_as_a_filter_does() -> None:
    with pytest.raises(AnsibleFilterError, match=r"not known.*US, EU, Gov"):
        region_filter("Mars")
