# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What small readers say of answers that nobody gives in good times."""

from __future__ import annotations

import base64
import json
import os
import pwd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    accounts,
    certificates,
    compose,
    containers,
    der,
    organization_keys,
    preflight,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Account
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import ComposeError, Service
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

# Accounts.


def nobody(*_given: Any, **_options: Any) -> tuple[int, str, str]:
    return 0, "", ""


def test_an_account_without_a_name_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_uid: int) -> None:
        raise KeyError

    assert Account(nobody).label == pwd.getpwuid(os.geteuid()).pw_name
    assert Account(nobody, "bitwarden").label == "bitwarden"
    monkeypatch.setattr(accounts.pwd, "getpwuid", unknown)
    assert Account(nobody).label == str(os.geteuid())


def test_an_installation_of_a_user_without_a_name_is_driven_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_uid: int) -> None:
        raise KeyError

    status = SimpleNamespace(st_uid=99991, st_gid=99992)
    monkeypatch.setattr(accounts.os, "geteuid", lambda: 0)
    monkeypatch.setattr(accounts.os, "stat", lambda _path: status)
    monkeypatch.setattr(accounts.pwd, "getpwuid", unknown)
    script = str(tmp_path / "bitwarden.sh")
    found = accounts.owner_of(script, nobody)
    assert (found.name, found.uid, found.gid, found.home) == ("99991", 99991, 99992, str(tmp_path))
    entry = pwd.struct_passwd(("bw", "x", 99991, 5, "", "/home/bw", "/bin/sh"))
    monkeypatch.setattr(accounts.pwd, "getpwuid", lambda _uid: entry)
    named = accounts.owner_of(script, nobody)
    assert (named.name, named.uid, named.gid, named.home) == ("bw", 99991, 5, "/home/bw")
    for given, words in ((found, "--clear-groups"), (named, "--init-groups")):
        assert words in given._prefix(5, "", "")
    status.st_uid = 0
    assert accounts.owner_of(script, nobody).name is None
    monkeypatch.setattr(accounts.os, "geteuid", lambda: 4711)
    status.st_uid = 99991
    assert accounts.owner_of(script, nobody).name is None


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (126, "timeout: failed to run command 'x': Permission denied", "cannot be run as user"),
        (127, "setpriv: x: not found", "cannot be run as user"),
    ],
)
def test_a_program_that_cannot_be_run_is_told(status: int, said: str, words: str) -> None:
    with pytest.raises(BitwardenError, match=words) as error:
        Account(lambda *_given, **_options: (status, "", said)).run(["x"], timeout=5)
    assert error.value.next_step and said.split(":", maxsplit=1)[0] in str(error.value)


def test_a_program_may_say_such_a_status_itself() -> None:
    for status, said in ((126, "x: no"), (3, "timeout: mine")):
        found = Account(lambda *_given, s=status, t=said, **_options: (s, "", t)).run(["x"], timeout=5)
        assert (found.status, found.stderr) == (status, said)


def test_without_coreutils_nothing_runs() -> None:
    def missing(*_given: Any, **_options: Any) -> tuple[int, str, str]:
        raise FileNotFoundError(2, "No such file or directory", "env")

    with pytest.raises(BitwardenError, match="x cannot be run") as error:
        Account(missing).run(["x"], timeout=5)
    assert "coreutils" in str(error.value.next_step)


@pytest.mark.parametrize(("status", "ended"), [(124, True), (137, True), (1, False)])
def test_a_program_that_did_not_end_is_told(status: int, ended: bool) -> None:
    found = Account(lambda *_given, **_options: (status, "", "so far")).run(["x"], timeout=5)
    assert ("did not end within 5 seconds" in found.stderr) is ended


# Docker's answers.


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"services": []}', '{"services": {"api": 5}}'])
def test_an_answer_of_compose_that_is_not_understood_is_told(text: str) -> None:
    with pytest.raises(ComposeError, match="docker compose config") as error:
        containers.parse_config(text)
    assert error.value.next_step


@pytest.mark.parametrize("text", ["", "[5]", "[{}]", '[{"State": {}}]', '[{"State": {"Status": "x"}}]'])
def test_an_answer_of_docker_that_is_not_understood_is_told(text: str) -> None:
    with pytest.raises(ComposeError, match="docker inspect"):
        containers.parse_containers(text)


@pytest.mark.parametrize(
    ("started", "began"),
    [
        ("2026-11-22T16:00:00.5Z", 1795363200.5),
        ("2026-11-22T16:00:00Z", 1795363200.0),
        ("2026-11-22T16:00:00.123456789Z", 1795363200.123456),
        ("", None),
        ("yesterday", None),
    ],
)
def test_when_a_container_began(started: str, began: float | None) -> None:
    entry = {"Name": "/api", "State": {"Status": "running", "StartedAt": started}, "Config": {}}
    (found,) = containers.parse_containers(json.dumps([entry]))
    assert found.began == (None if began is None else pytest.approx(began, abs=1e-5))
    assert (found.age == float("inf")) is (began is None)


def test_of_two_containers_of_one_service_the_one_that_runs_counts() -> None:
    def one(name: str, state: str, service: str = "") -> dict[str, Any]:
        labels = {"com.docker.compose.service": service} if service else {}
        return {"Name": name, "State": {"Status": state}, "Config": {"Labels": labels}, "Id": name}

    services = {"api": Service("api", "bitwarden-api", "x", {}), "web": Service("web", "", "x", {})}
    for order in (1, -1):
        rows = [one("a", "exited", "api"), one("b", "running", "api"), one("c", "running", "other"), one("", "exited")]
        found = containers.by_service(services, containers.parse_containers(json.dumps(rows[::order])))
        assert {name: found[name].name for name in found} == {"api": "b"}
    by_name = containers.parse_containers(json.dumps([one("/bitwarden-api", "exited"), one("/x", "running")]))
    assert list(containers.by_service(services, by_name)) == ["api"]


def test_the_address_is_the_first_that_a_service_has() -> None:
    def service(**environment: str) -> Service:
        return Service("x", "x", "x", environment)

    vault = {compose.VAULT_KEY: "https://vault.example"}
    assert compose.address_of([service(), Service("y", "y", "y", vault)]) == "https://vault.example"
    assert compose.address_of([service(BW_DOMAIN="lite.example")]) == "https://lite.example"
    assert compose.address_of([service()]) is None


# Places, times, keys.


def test_a_path_with_a_blank_and_a_full_file_system_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BitwardenError, match="has a blank in it"):
        preflight._check_path("/opt/bit warden")
    preflight._check_path("/opt/bitwarden")
    docker: Any = SimpleNamespace(directory=str(tmp_path))
    preflight.check_free_space(docker, str(tmp_path), 0)
    with pytest.raises(BitwardenError, match=r"The file system of Docker's directory .* has \d+ MiB left"):
        preflight.check_free_space(docker, str(tmp_path / "not" / "yet"), 1 << 40)
    with pytest.raises(BitwardenError, match="The file system of the installation"):
        preflight.check_free_space(docker, None, 1 << 40)

    def fails(_path: str) -> None:
        raise OSError

    monkeypatch.setattr(preflight.os, "statvfs", fails)
    preflight.check_free_space(docker, "/", 1 << 40)


def test_a_certificate_that_cannot_be_read_here_has_no_digest(tmp_path: Path) -> None:
    assert certificates._digest_of_file(str(tmp_path)) is None
    (tmp_path / "ca.crt").write_bytes(b"x")
    assert certificates._digest_of_file(str(tmp_path / "ca.crt")) == certificates._digest(b"x")


@pytest.mark.parametrize(
    ("tag", "text", "year"),
    [
        (der.UTC_TIME, b"491231235959Z", 2049),
        (der.UTC_TIME, b"500101000000Z", 1950),
        (der.GENERALIZED_TIME, b"20501231235959Z", 2050),
    ],
)
def test_times_of_certificates(tag: int, text: bytes, year: int) -> None:
    found = der.moment(tag, text)
    assert found.year == year and found.utcoffset() is not None


@pytest.mark.parametrize(
    ("tag", "text", "words"),
    [
        (4, b"20501231235959Z", "this is no time"),
        (der.GENERALIZED_TIME, b"20501231235959", "not understood"),
        (der.UTC_TIME, b"4912312359Z", "not understood"),
        (der.GENERALIZED_TIME, b"2050123123595Z0", "not understood"),
        (der.UTC_TIME, b"499931235959Z", "month must be in"),
    ],
)
def test_what_is_no_time_of_a_certificate(tag: int, text: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        der.moment(tag, text)


def test_an_owner_s_key_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    other = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for text, words in (
        ("no base64!", "cannot be read"),
        (base64.b64encode(b"no key").decode(), "cannot be read"),
        (base64.b64encode(other).decode(), "is no RSA key"),
    ):
        with pytest.raises(BitwardenError, match=words):
            organization_keys.for_new_organization(text)
    monkeypatch.setattr(organization_keys, "CRYPTOGRAPHY_ERROR", "ImportError: cryptography")
    with pytest.raises(BitwardenError, match="cryptography") as error:
        organization_keys.for_new_organization("x")
    assert "install cryptography" in str(error.value.next_step)
