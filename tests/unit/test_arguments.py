"""Connection options: one table, checked before anything is sent, documented as they are."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.bitwarden.plugins.doc_fragments import cloud as cloud_docs
from ansible_collections.selfhosted.bitwarden.plugins.doc_fragments import connection as connection_docs
from ansible_collections.selfhosted.bitwarden.plugins.doc_fragments import self_hosted as self_hosted_docs
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import (
    ANY,
    CLOUD,
    SELF_HOSTED,
    Connection,
    connection,
    connection_spec,
    environment_variable,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

KEY = {"client_id": "user.14feaff5-936a-4e05-b8de-b50a00eba283", "client_secret": "a-client-secret-of-thirty-char"}


def documented(*fragments: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for text in fragments:
        options.update(yaml.safe_load(text)["options"])
    return options


COMMON = (connection_docs.ModuleDocFragment.DOCUMENTATION, connection_docs.ModuleDocFragment.LOGIN)
DOCUMENTED = {
    CLOUD: documented(*COMMON, cloud_docs.ModuleDocFragment.DOCUMENTATION, cloud_docs.ModuleDocFragment.LOGIN),
    SELF_HOSTED: documented(*COMMON, self_hosted_docs.ModuleDocFragment.DOCUMENTATION),
}


@pytest.mark.parametrize("kind", [CLOUD, SELF_HOSTED])
def test_the_documentation_fragments_say_what_the_table_says(kind: str) -> None:
    spec = connection_spec(kind)
    assert set(DOCUMENTED[kind]) == set(spec)
    for name, option in spec.items():
        text = DOCUMENTED[kind][name]
        for key in ("type", "default", "required"):
            assert text.get(key) == option.get(key), (name, key)
        variable = environment_variable(kind, name)
        mentioned = f"E({variable})" in str(text["description"])
        assert mentioned == (variable is not None), name


def test_a_module_for_both_kinds_takes_a_region_but_not_from_the_environment() -> None:
    assert set(connection_spec(ANY)) == set(connection_spec(CLOUD))
    assert "fallback" not in connection_spec(ANY)["region"]
    assert connection_spec(ANY)["client_id"]["fallback"][1] == ["BITWARDEN_CLIENT_ID"]


def test_without_a_login_credentials_are_accepted_but_neither_needed_nor_looked_for() -> None:
    spec = connection_spec(CLOUD, login=False)
    assert set(spec) == set(connection_spec(CLOUD))
    unused = documented(cloud_docs.ModuleDocFragment.NO_LOGIN)
    assert set(unused) == {"client_id", "client_secret", "client_version", "device_identifier", "device_name"}
    assert spec["client_secret"] == {"type": "str", "no_log": True}
    for name, text in unused.items():
        assert set(spec[name]) <= {"type", "no_log"}
        assert text["type"] == spec[name]["type"]


def test_only_the_secret_is_kept_out_of_logs_and_it_is() -> None:
    assert [name for name, option in connection_spec(CLOUD).items() if option.get("no_log")] == ["client_secret"]


def test_a_spec_can_be_changed_without_changing_the_next_one() -> None:
    connection_spec(CLOUD)["timeout"]["default"] = 1
    assert connection_spec(CLOUD)["timeout"]["default"] == 30


def connect(kind: str, **params: Any) -> Connection:
    return connection(kind, {**KEY, **params})


@pytest.mark.parametrize(
    ("kind", "params", "name", "api", "identity"),
    [
        (CLOUD, {"region": "eu"}, "EU", "https://api.bitwarden.eu", "https://identity.bitwarden.eu"),
        (
            CLOUD,
            {"region": {"name": "X", "api": "https://x.example/api", "identity": "https://x.example/identity"}},
            "X",
            "https://x.example/api",
            "https://x.example/identity",
        ),
        (
            CLOUD,
            {"url": "https://vault.bitwarden.com/"},
            "https://vault.bitwarden.com",
            "https://vault.bitwarden.com/api",
            "https://vault.bitwarden.com/identity",
        ),
        (
            SELF_HOSTED,
            {"url": "https://bw.example/vault/"},
            "https://bw.example/vault",
            "https://bw.example/vault/api",
            "https://bw.example/vault/identity",
        ),
        (
            SELF_HOSTED,
            {"api_url": "http://localhost:4000/", "identity_url": "http://127.0.0.1:33656/"},
            "http://localhost:4000",
            "http://localhost:4000",
            "http://127.0.0.1:33656",
        ),
        (ANY, {"region": "US"}, "US", "https://api.bitwarden.com", "https://identity.bitwarden.com"),
    ],
)
def test_addresses(kind: str, params: dict[str, Any], name: str, api: str, identity: str) -> None:
    found = connect(kind, **params)
    assert (found.name, found.api, found.identity) == (name, api, identity)


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        (CLOUD, {}, "BITWARDEN_CLOUD_REGION"),
        (SELF_HOSTED, {}, "BITWARDEN_URL"),
        (CLOUD, {"region": "EU", "url": "https://vault.bitwarden.com"}, "region and url are given at once"),
        (SELF_HOSTED, {"api_url": "https://bw.example/api"}, "does not say which"),
        (CLOUD, {"region": "Mars"}, "US, EU, Gov"),
        (SELF_HOSTED, {"url": "https://bw.example/api"}, "ends in /api"),
        (SELF_HOSTED, {"url": "https://bw.example/identity/"}, "ends in /identity"),
        (SELF_HOSTED, {"url": "bw.example"}, "not a web address"),
        (SELF_HOSTED, {"url": "http://bw.example"}, "allow_http"),
        (SELF_HOSTED, {"url": "https://user:pass@bw.example"}, "has a user"),
        (SELF_HOSTED, {"url": "https://vault.bitwarden.com"}, "is the Bitwarden cloud"),
        (
            SELF_HOSTED,
            {"api_url": "https://bw.example/api", "identity_url": "https://identity.bitwarden.eu"},
            "region EU",
        ),
    ],
)
def test_addresses_that_cannot_be_right_are_refused(kind: str, params: dict[str, Any], said: str) -> None:
    with pytest.raises(BitwardenError) as caught:
        connect(kind, **params)
    assert said in str(caught.value)
    assert "pass@" not in str(caught.value)
    assert caught.value.next_step


def test_a_self_hosted_server_has_no_region_to_offer() -> None:
    with pytest.raises(BitwardenError) as caught:
        connect(SELF_HOSTED)
    assert "region" not in str(caught.value).lower()


def test_http_may_be_allowed() -> None:
    assert connect(SELF_HOSTED, url="http://bw.example", allow_http=True).api == "http://bw.example/api"


def test_blanks_around_pasted_credentials_do_not_matter() -> None:
    found = connect(CLOUD, region="US", client_id=f" {KEY['client_id']}\n", client_secret=f"{KEY['client_secret']}\n")
    assert (found.client_id, found.client_secret) == (KEY["client_id"], KEY["client_secret"])


def test_the_secret_is_not_shown() -> None:
    assert KEY["client_secret"] not in repr(connect(CLOUD, region="US"))


def test_a_given_device_is_kept() -> None:
    assert connect(CLOUD, region="US", device_identifier="mine").device_identifier == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": -1}, "timeout is -1"),
        ({"retries": -1}, "retries is -1"),
        ({"rate_limit_wait": -5}, "rate_limit_wait is -5"),
        ({"device_identifier": "d" * 51}, "device_identifier has more than 50"),
        ({"device_name": "d" * 51}, "device_name has more than 50"),
        ({"client_key": "/key.pem"}, "client_key is given without client_cert"),
    ],
)
def test_what_no_library_or_server_takes_is_refused_before_anything_is_sent(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BitwardenError, match=said) as caught:
        connection(CLOUD, {"region": "US", **KEY, **options})
    assert caught.value.next_step


def test_the_limits_themselves_are_taken() -> None:
    given = {"timeout": 1, "retries": 0, "rate_limit_wait": 0, "device_identifier": "d" * 50, "client_cert": "/c.pem"}
    found = connection(CLOUD, {"region": "US", **KEY, **given})
    assert (found.timeout, found.retries, found.rate_limit_wait, found.client_cert) == (1, 0, 0, "/c.pem")
