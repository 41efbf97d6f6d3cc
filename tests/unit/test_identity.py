"""Logging in, and the hash of the master password, against what the real server took and said."""

from __future__ import annotations

import dataclasses
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import identity
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import Connection, connection
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import Transport
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.identity import (
    Kdf,
    Login,
    code_proof,
    password_proof,
)
from unit import recordings
from unit.web import Answer, Web, answers, serve

USER = "user.14feaff5-936a-4e05-b8de-b50a00eba283"
SECRET = "a-client-secret-of-thirty-char"

PEOPLE = [(side, name) for side in ("cloud", "self_hosted") for name in recordings.world()[side]["users"]]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of logins lies in the test's own folder, and not in the tester's home."""
    monkeypatch.setenv("ANSIBLE_HOME", str(tmp_path))


def kdf_of(person: dict[str, Any]) -> Kdf:
    given = person["kdf"]
    return Kdf(given["kdfType"], given["iterations"], given["memory"] or 0, given["parallelism"] or 0)


def login_of(kdf: Kdf, wrapped_key: str | None = None) -> Login:
    return Login("a token", kdf, None, True, wrapped_key)


def of_kind(kind: int, iterations: int) -> list[tuple[str, str]]:
    found = []
    for side, name in PEOPLE:
        kdf = kdf_of(recordings.world()[side]["users"][name])
        if (kdf.kind, kdf.iterations) == (kind, iterations):
            found.append((side, name))
    return found


# Of the many accounts with the default derivation two are enough: each takes a quarter of a second.
KNOWN = [*of_kind(0, 600_000)[:2], *of_kind(0, 100_000), *of_kind(1, 3)]


def test_both_derivations_and_an_old_one_are_among_the_known_answers() -> None:
    kinds = {(kdf.kind, kdf.iterations) for kdf in (kdf_of(recordings.world()[s]["users"][n]) for s, n in KNOWN)}
    assert kinds == {(0, 600_000), (0, 100_000), (1, 3)}


@pytest.mark.parametrize(("side", "name"), KNOWN)
def test_the_hash_is_the_one_that_the_real_server_took(side: str, name: str) -> None:
    person = recordings.world()[side]["users"][name]
    proof = password_proof(person["password"], person["email"], login_of(kdf_of(person), person["userSymmetricKey"]))
    assert proof.body == {"masterPasswordHash": person["masterPasswordHash"]}
    assert proof.certain


def test_an_account_whose_salt_is_no_longer_its_address() -> None:
    """As after a change of the address: the salt stays what the password was hashed with."""
    person = recordings.world()["cloud"]["users"]["newsalt"]
    body = recordings.answer(recordings.exchange("b", "cloud-token-user-api-key-first-time")).body
    unlock = {**body["UserDecryptionOptions"]["MasterPasswordUnlock"], "Salt": person["email"]}
    options = {**body["UserDecryptionOptions"], "MasterPasswordUnlock": unlock}
    with serve(answers(Answer(200, {**body, "UserDecryptionOptions": options}))) as web:
        login = log_in(web)
    assert login.salt == person["email"]
    assert (
        password_proof(person["password"], login.salt, login).body["masterPasswordHash"]
        == (person["masterPasswordHash"])
    )


def test_a_wrong_password_and_a_wrong_salt_are_not_certain() -> None:
    person = recordings.world()["cloud"]["users"]["oldkdf"]
    login = login_of(kdf_of(person), person["userSymmetricKey"])
    assert password_proof(person["password"], person["email"], login).certain
    assert not password_proof(person["password"] + "x", person["email"], login).certain
    assert not password_proof(person["password"], "x" + person["email"], login).certain


@pytest.mark.parametrize("change", [("2.", "7."), ("|", ""), ("2.", "2.AA"), ("=", "%")])
def test_a_key_in_another_form_proves_nothing(change: tuple[str, str]) -> None:
    person = recordings.world()["cloud"]["users"]["oldkdf"]
    other = person["userSymmetricKey"].replace(*change)
    assert not password_proof(person["password"], person["email"], login_of(kdf_of(person), other)).certain
    assert not password_proof(person["password"], person["email"], login_of(kdf_of(person))).certain


def test_a_code_is_sent_as_it_was_mailed_however_it_was_typed() -> None:
    proof = code_proof(" 9562 8033\n")
    assert (proof.body, proof.is_code, proof.certain) == ({"otp": "95628033"}, True, False)
    assert "95628033" not in repr(proof)


@pytest.mark.parametrize(
    "kdf",
    [
        Kdf(0, 0),
        Kdf(0, 4_999),
        Kdf(0, 10_000_001),
        Kdf(1, 1, 64, 4),
        Kdf(1, 3, 14, 4),
        Kdf(1, 3, 64, 0),
        Kdf(1, 101, 64, 4),
        Kdf(1, 3, 1_000_000, 4),
        Kdf(1, 3, 64, 65),
    ],
)
def test_a_derivation_that_no_account_has_is_refused(kdf: Kdf) -> None:
    with pytest.raises(BitwardenError, match="no client of Bitwarden's uses"):
        password_proof("password", "salt", login_of(kdf))


@pytest.mark.parametrize("kdf", [Kdf(0, 5_000), Kdf(1, 2, 15, 1)])
def test_the_weakest_derivations_that_old_accounts_have_are_taken(kdf: Kdf) -> None:
    assert len(password_proof("password", "salt", login_of(kdf)).body["masterPasswordHash"]) == 44


def test_odd_values_in_a_login_are_met_where_they_matter() -> None:
    body = {"access_token": "t", "Kdf": "0", "KdfIterations": {}, "UserDecryptionOptions": [], "Key": 5}
    with serve(answers(Answer(200, body))) as web:
        login = log_in(web)
    assert (login.kdf, login.salt, login.wrapped_key) == (Kdf(0, 0), None, None)


def test_an_unknown_derivation_is_refused() -> None:
    with pytest.raises(BitwardenError, match="not known"):
        password_proof("password", "salt", login_of(Kdf(7, 1)))


def test_argon2id_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "ARGON2_ERROR", "Traceback")
    with pytest.raises(BitwardenError, match="install cryptography 44"):
        password_proof("password", "salt", login_of(Kdf(1, 3, 64, 4)))


@pytest.mark.parametrize(
    ("client_id", "said"),
    [
        ("organization.14feaff5-936a-4e05-b8de-b50a00eba283", "of an organization"),
        ("installation.14feaff5-936a-4e05-b8de-b50a00eba283", "of an installation"),
        ("Organization.x", "of an organization"),
        ("User.14feaff5-936a-4e05-b8de-b50a00eba283", "not the API key of a user"),
        ("user.someone@example.com", "not the API key of a user"),
        ("14feaff5-936a-4e05-b8de-b50a00eba283", "not the API key of a user"),
    ],
)
def test_api_keys_that_can_never_work_are_refused_before_any_call(client_id: str, said: str) -> None:
    with serve(answers(Answer(200))) as web, pytest.raises(BitwardenError, match=said) as caught:
        log_in(web, client_id=client_id)
    assert web.asked == []
    assert "Settings, Security, Keys" in str(caught.value)


@pytest.mark.parametrize("missing", ["client_id", "client_secret"])
def test_a_missing_part_of_the_api_key_is_named_with_the_variable_that_may_hold_it(missing: str) -> None:
    with serve(answers(Answer(200))) as web, pytest.raises(BitwardenError) as caught:
        log_in(web, **{missing: " "})
    assert web.asked == []
    assert f"No {missing} is given to log in at" in str(caught.value)
    assert f"BITWARDEN_CLOUD_{missing.upper()}" in str(caught.value.next_step)


def target(web: Web, **options: Any) -> Connection:
    params = {
        "api_url": web.url,
        "identity_url": web.url + "/identity",
        "client_id": USER,
        "client_secret": SECRET,
        "client_version": "2026.7.0",
        "device_name": "Ansible",
        "retries": 0,
        "timeout": 5,
        **options,
    }
    return connection("cloud", params)


def log_in(web: Web, **options: Any) -> Login:
    where = target(web, **options)
    with Transport(where) as transport:
        return identity.login(transport, where)


def recorded_login(name: str) -> tuple[Login, Web]:
    one = recordings.exchange("b", name)
    with serve(answers(recordings.answer(one))) as web:
        return log_in(web), web


def test_a_login_sends_what_the_real_server_wants() -> None:
    _login, web = recorded_login("cloud-token-user-api-key-first-time")
    recorded = recordings.exchange("b", "cloud-token-user-api-key-first-time")["request"]
    (asked,) = web.asked
    form = dict(urllib.parse.parse_qsl(asked.body.decode()))
    assert (asked.method, asked.path) == (recorded["method"], "/identity" + recorded["path"])
    assert set(form) == set(recorded["body"])
    assert {name: form[name] for name in ("grant_type", "scope")} == {
        name: recorded["body"][name] for name in ("grant_type", "scope")
    }
    assert (form["client_id"], form["client_secret"]) == (USER, SECRET)
    # A command line on Linux; the recordings were made with the number of another client.
    assert form["deviceType"] == "25"
    assert asked.headers["Content-Type"] == recorded["headers"]["Content-Type"]
    assert asked.headers["Bitwarden-Client-Version"]


def test_the_device_stays_the_same_from_run_to_run_and_differs_by_account() -> None:
    def device(client_id: str) -> str:
        _login = recordings.exchange("b", "cloud-token-user-api-key-first-time")
        with serve(answers(recordings.answer(_login))) as web:
            log_in(web, client_id=client_id)
        return dict(urllib.parse.parse_qsl(web.asked[0].body.decode()))["deviceIdentifier"]

    other = USER.replace("14feaff5", "24feaff5")
    assert device(USER) == device(USER)
    assert device(USER) != device(other)
    assert len(device(USER)) <= 50


def test_a_login_tells_how_the_password_is_hashed() -> None:
    login, _web = recorded_login("cloud-token-user-api-key-first-time")
    assert (login.kdf, login.salt, login.has_master_password) == (Kdf(0, 600_000), "cloud-owner@acme.example", True)


def test_a_login_with_argon2id() -> None:
    login, _web = recorded_login("cloud-token-user-argon2id")
    assert login.kdf == Kdf(1, 3, 64, 4)


def test_an_account_without_master_password_is_told_apart() -> None:
    login, _web = recorded_login("cloud-token-user-without-master-password")
    assert (login.salt, login.has_master_password) == (None, False)


def test_an_account_of_which_nothing_is_said_has_a_master_password() -> None:
    with serve(answers(Answer(200, {"access_token": "token"}))) as web:
        assert log_in(web).has_master_password


def test_the_token_is_not_shown() -> None:
    login, _web = recorded_login("cloud-token-user-api-key-first-time")
    assert login.token
    assert login.token not in repr(login)
    assert dataclasses.asdict(login)["token"] == login.token


@pytest.mark.parametrize("body", ["<html>Log in to the hotel's network</html>", {}, {"access_token": ""}, "[]"])
def test_an_answer_without_a_token_is_not_bitwardens(body: Any) -> None:
    with serve(answers(Answer(200, body))) as web, pytest.raises(BitwardenError, match="without a token") as caught:
        log_in(web)
    assert "proxy" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cloud-token-wrong-secret", ["invalid_client", "client_id and client_secret", "Settings, Security, Keys"]),
        ("cloud-token-unknown-user", ["invalid_client", "region"]),
        ("cloud-token-secret-300-characters", ["30 characters"]),
        ("cloud-token-no-version-header", ["client_version", "proxy"]),
        ("cloud-token-v2-account-old-client", ["client_version"]),
        ("cloud-token-no-device-fields", ["device_identifier"]),
        ("cloud-token-legacy-account-without-user-key", ["another owner"]),
        ("cloud-token-password-2fa-required", ["API key"]),
        ("cloud-token-password-with-sso-policy", ["API key"]),
    ],
)
def test_a_refused_login_says_why_and_what_to_do(name: str, words: list[str]) -> None:
    one = recordings.exchange("b", name)
    with serve(answers(recordings.answer(one))) as web, pytest.raises(BitwardenError) as caught:
        log_in(web)
    message = str(caught.value)
    assert f"POST {web.url}/identity/connect/token answered 400" in message
    assert all(word in message for word in words), message
    assert SECRET not in message
    assert caught.value.details["status"] == 400
