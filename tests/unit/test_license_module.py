"""The module license against the recorded people and organizations over HTTP."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bwlab import licenses
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA1
from unit.license_world import (
    NAME,
    cloud_login,
    emitted,
    installation,
    license_secrets,
    license_task,
    on_disk,
    pass_time,
    resigned,
    slurped,
    without_token,
    written,
)
from unit.module_runner import Result
from unit.recorded_world import ACME, Recorded
from unit.web import Answer

UPLOAD = f"POST /api/organizations/licenses/self-hosted/{ACME['self_hosted']} 200"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Recorded]:
    with Recorded(tmp_path).running() as running:
        yield running


def message(result: Result) -> str:
    assert result.failed, result.data
    text = str(result["msg"])
    assert "Next step: " in text
    return text


def uploads(world: Recorded) -> list[str]:
    return [line for line in world.logs["self_hosted"] if "/licenses/self-hosted" in line]


def forget(world: Recorded) -> None:
    for log in world.logs.values():
        log.clear()


def grow(world: Recorded, **changes: Any) -> None:
    """Change the organization at the cloud."""
    world.store("cloud").update("Organization", ACME["cloud"], **changes)


def server_row(world: Recorded) -> dict[str, Any]:
    (row,) = world.rows("self_hosted", "Organization", Id=ACME["self_hosted"])
    return dict(row)


def agree(predicted: Result, done: Result) -> None:
    """A check run says what the run does."""
    for name in ("changed", "reason", "source", "differences", "diff"):
        assert predicted[name] == done[name], name


# What is current stays, and costs the cloud nothing.


def test_a_current_license_costs_four_requests_and_none_at_the_cloud(world: Recorded) -> None:
    for check in (True, False):
        forget(world)
        result = license_task(world, check=check)
        assert not result.changed
        assert (result["reason"], result["source"], result["license"], result["differences"]) == (
            "fresh",
            None,
            None,
            [],
        )
        assert [line.split()[1].split("/")[-1] for line in world.logs["self_hosted"]] == [
            "token",
            "profile",
            "1",
            "subscription",
        ]
        assert world.logs["cloud"] == []
    server = result["server"]
    assert (server["name"], server["seats"], server["plan"]) == (NAME, 10, "Enterprise (Annually)")
    assert (server["expires"], server["readable"], server["enabled"]) == ("2027-12-27T14:18:00Z", True, True)
    assert server["features"]["use_sso"] is True
    assert result["organization"] == {"id": ACME["self_hosted"], "name": NAME}


def test_an_age_of_zero_compares_in_every_run_and_uploads_nothing_that_is_the_same(world: Recorded) -> None:
    before = on_disk(world).read_bytes()
    result = license_task(world, max_age=0)
    assert (result.changed, result["reason"], result["source"]) == (False, "same", "cloud")
    assert result["license"]["cloud_organization_id"] == ACME["cloud"]
    assert result["license"]["token"]["valid_until"]
    assert on_disk(world).read_bytes() == before
    paths = [line.split()[1] for line in world.logs["cloud"]]
    assert [path.split("/")[2] for path in paths] == ["installations", "connect", "accounts", "organizations"]


# What is not current is downloaded and uploaded.


def test_what_changed_at_the_cloud_is_predicted_and_done_once(world: Recorded) -> None:
    grow(world, Seats=25, UseScim=0)
    predicted = license_task(world, max_age=0, check=True, diff=True)
    assert uploads(world) == []
    assert server_row(world)["Seats"] == 10
    done = license_task(world, max_age=0, diff=True)
    agree(predicted, done)
    assert (done.changed, done["reason"], done["differences"]) == (True, "different", ["seats", "use_scim"])
    assert done["diff"] == {"before": {"seats": 10, "use_scim": True}, "after": {"seats": 25, "use_scim": False}}
    assert uploads(world) == [UPLOAD]
    assert server_row(world)["Seats"] == 25
    assert (done["server"]["seats"], done["server"]["features"]["use_scim"]) == (25, False)
    again = license_task(world, max_age=0, diff=True)
    assert (again.changed, again["reason"], again["diff"]) == (False, "same", {"before": {}, "after": {}})


def test_a_license_that_ends_soon_is_renewed_when_the_cloud_has_a_later_one(world: Recorded) -> None:
    pass_time(world, days=395)
    # The token of the file on the server ended long before; a fresh one ends with the subscription.
    license_task(world, max_age=0)
    assert license_task(world)["reason"] == "same"
    assert license_task(world, renew_before=1)["reason"] == "fresh"
    grow(world, ExpirationDate="2028-12-27 14:18:00")
    done = license_task(world)
    assert (done.changed, done["reason"], done["differences"]) == (True, "expiration", ["expires"])
    assert done["server"]["expires"] == "2028-12-27T14:18:00Z"
    assert license_task(world)["reason"] == "fresh"


def test_a_license_file_that_is_gone_or_unreadable_is_written_anew(world: Recorded) -> None:
    good = on_disk(world).read_bytes()
    camel = {name[0].lower() + name[1:]: value for name, value in json.loads(good).items()}
    for content in (None, b"", b"no JSON", json.dumps(camel).encode()):
        if content is None:
            on_disk(world).unlink()
        else:
            on_disk(world).write_bytes(content)
        predicted = license_task(world, check=True)
        assert (predicted.changed, predicted["reason"]) == (True, "license_unreadable")
        assert predicted["server"]["readable"] is False and predicted["server"]["problem"]
        done = license_task(world)
        assert (done.changed, done["reason"]) == (True, "license_unreadable")
        assert done["server"]["readable"] is True
        assert license_task(world)["reason"] == "fresh"


def test_an_organization_that_the_server_disabled_is_enabled_again(world: Recorded) -> None:
    world.store("self_hosted").update("Organization", ACME["self_hosted"], Enabled=0)
    done = license_task(world, diff=True)
    assert (done.changed, done["reason"]) == (True, "organization_disabled")
    assert done["diff"] == {"before": {"enabled": False}, "after": {"enabled": True}}
    assert server_row(world)["Enabled"]
    assert license_task(world)["reason"] == "fresh"


def test_the_installed_file_tells_the_age_and_a_fresh_license_makes_it_young_again(world: Recorded) -> None:
    assert license_task(world, installed=slurped(world))["reason"] == "fresh"
    pass_time(world, days=8)
    assert license_task(world)["reason"] == "fresh"
    first = license_task(world, installed=slurped(world))
    assert (first.changed, first["reason"], first["differences"]) == (True, "age", ["issued"])
    second = license_task(world, installed=slurped(world))
    assert (second.changed, second["reason"]) == (False, "fresh")
    assert second["server"]["issued"] > "2026-11-30"
    assert second["server"]["installation_id"] == installation(world)
    assert second["server"]["version"] == 15
    pass_time(world, days=8)
    assert license_task(world, installed=slurped(world), max_age=30)["reason"] == "fresh"


def test_a_token_that_ends_soon_counts_as_the_license_does(world: Recorded) -> None:
    pass_time(world, days=340)
    assert license_task(world)["reason"] == "fresh"
    done = license_task(world, installed=slurped(world), max_age=1000)
    assert (done.changed, done["reason"]) == (True, "expiration")
    assert license_task(world, installed=slurped(world), max_age=1000)["reason"] == "fresh"


@pytest.mark.parametrize("form", ["text", "base64", "nonsense", "empty"])
def test_the_installed_file_may_come_as_text_or_as_slurp_gives_it(world: Recorded, form: str) -> None:
    raw = on_disk(world).read_bytes()
    given = {"text": raw.decode(), "base64": base64.b64encode(raw).decode(), "nonsense": "%%%", "empty": ""}[form]
    result = license_task(world, installed=given)
    assert result["server"]["version"] == (15 if form in ("text", "base64") else None)
    assert not [secret for secret in license_secrets(world, json.loads(raw)) if secret in result.output]


def test_the_installation_is_that_of_the_installed_file_where_none_is_given(world: Recorded) -> None:
    grow(world, Seats=11)
    assert "installation_id is missing" in message(license_task(world, installation_id=None, max_age=0))
    assert license_task(world, installation_id=None, max_age=0, installed=slurped(world)).changed


# Which organization at the cloud.


def test_the_cloud_organization_by_name_by_id_and_by_the_connection(world: Recorded) -> None:
    grow(world, Name="Renamed &amp; Co")
    assert "sees no organization" in message(license_task(world, max_age=0))
    by_name = license_task(world, max_age=0, cloud_organization="Renamed & Co", check=True)
    by_id = license_task(world, max_age=0, cloud_organization=ACME["cloud"], check=True)
    assert by_name["differences"] == by_id["differences"] == ["name"]
    token = str(world.token()["token"])
    assert world.run("self_hosted", "billing_sync", organization=NAME, billing_sync_token=token).changed
    done = license_task(world, max_age=0)
    assert (done.changed, done["differences"]) == (True, ["name"])
    assert done["organization"]["name"] == "Renamed & Co"
    assert done["server"]["cloud_organization_id"] == ACME["cloud"]


def test_the_license_of_another_cloud_organization_is_refused(world: Recorded, tmp_path: Path) -> None:
    token = str(world.token()["token"])
    world.run("self_hosted", "billing_sync", organization=NAME, billing_sync_token=token)
    (other,) = [row for row in world.rows("cloud", "Organization") if row["Name"] == "Third Enterprise"]
    text = message(license_task(world, src=written(tmp_path, emitted(world, other["Id"]))))
    assert "another cloud organization (Third Enterprise" in text
    assert ACME["cloud"] in text
    assert uploads(world) == []


# Files.


def test_a_file_is_uploaded_once_without_any_cloud(world: Recorded, tmp_path: Path) -> None:
    src = written(tmp_path, emitted(world, changes={"Seats": 12}))
    predicted = license_task(world, src=src, cloud=None, check=True, diff=True)
    assert uploads(world) == []
    done = license_task(world, src=src, cloud=None, diff=True)
    agree(predicted, done)
    assert (done.changed, done["reason"], done["source"]) == (True, "different", "src")
    assert server_row(world)["Seats"] == 12
    again = license_task(world, src=src, cloud=None, diff=True)
    assert (again.changed, again["reason"]) == (False, "same")
    assert len(uploads(world)) == 1
    assert world.logs["cloud"] == []


def test_a_file_without_an_installation_id_is_not_compared_with_one(world: Recorded, tmp_path: Path) -> None:
    src = written(tmp_path, emitted(world, changes={"Seats": 12}))
    assert license_task(world, src=src, cloud=None, installation_id=None).changed


def test_a_file_that_is_older_than_what_the_server_has_is_left_alone(world: Recorded, tmp_path: Path) -> None:
    src = written(tmp_path, emitted(world))
    pass_time(world, days=1)
    grow(world, Seats=30, ExpirationDate="2028-12-27 14:18:00")
    assert license_task(world, max_age=0).changed
    for installed in (None, slurped(world)):
        result = license_task(world, src=src, cloud=None, installed=installed)
        assert (result.changed, result["reason"]) == (False, "older")
        assert "is older than the license" in result.warnings
    assert server_row(world)["Seats"] == 30


def test_a_file_that_is_newer_by_its_date_alone_is_uploaded(world: Recorded, tmp_path: Path) -> None:
    src = written(tmp_path, emitted(world))
    assert license_task(world, src=src)["reason"] == "same"
    done = license_task(world, src=src, installed=slurped(world))
    assert (done.changed, done["reason"], done["differences"]) == (True, "age", ["issued"])
    assert license_task(world, src=src, installed=slurped(world))["reason"] == "same"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is no JSON"),
        (b"<html>", "it is no JSON"),
        (b"[]", "no object"),
        (b"null", "no object"),
        (b"{}", "neither a license key nor a token"),
        (b'{"token": "abc", "licenseKey": "x"}', "its token has 1 parts instead of 3"),
        (b'{"token": "a.b.c", "licenseKey": "x"}', "its token was changed"),
        (b"\xff\xfe\x00", "it is no JSON"),
    ],
)
def test_a_file_that_is_no_license(world: Recorded, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    text = message(license_task(world, src=str(path)))
    assert words in text and str(path) in text
    assert uploads(world) == []


def test_a_file_that_is_not_there_is_named(world: Recorded, tmp_path: Path) -> None:
    assert "cannot be read: No such file" in message(license_task(world, src=str(tmp_path / "nothing.json")))


def test_a_file_with_a_byte_order_mark_and_names_as_on_the_server_is_taken(world: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(emitted(world, changes={"Seats": 12})).encode())
    assert license_task(world, src=str(path)).changed


# What stands against a license is said before anything is uploaded.


def refused(world: Recorded, tmp_path: Path, made: dict[str, Any], **options: Any) -> str:
    src = written(tmp_path, made)
    before = (on_disk(world).read_bytes(), server_row(world))
    for check in (True, False):
        result = license_task(world, src=src, cloud=None, check=check, **options)
        text = message(result)
        assert "cannot be used: " in text and "Nothing was changed." in text
        assert result["cause"] and result["problems"]
        assert not [secret for secret in license_secrets(world, made) if secret in result.output]
    assert uploads(world) == []
    assert (on_disk(world).read_bytes(), server_row(world)) == before
    return text


MORE = {"Seats": 12}


def test_a_license_for_another_installation(world: Recorded, tmp_path: Path) -> None:
    other = world.world.people["cloud"]["installations"]["disabled"]["id"]
    text = refused(world, tmp_path, emitted(world, changes=MORE, **{"for": other}))
    assert f"made for the installation {other.lower()}" in text
    assert installation(world) in text


def test_a_license_that_has_ended(world: Recorded, tmp_path: Path) -> None:
    text = refused(world, tmp_path, emitted(world, changes={"ExpirationDate": "2026-11-22 15:00:00", **MORE}),
                   installed=slurped(world))  # fmt: skip
    assert "it ended on 2026-11-22T15:00:00Z" in text
    assert "disable the organization within 12 hours" in text


def test_a_license_whose_token_has_ended(world: Recorded, tmp_path: Path) -> None:
    made = emitted(world, changes=MORE)
    text = refused(world, tmp_path, resigned(world, made, exp=1795360000))
    assert "its token ended on" in text


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"aud": "organization:somebody"}, "its token is for organization:somebody"),
        ({"iss": "somebody"}, "was issued by somebody, not by Bitwarden"),
        ({"exp": None}, "its token has no end"),
        ({"Enabled": "False"}, "is disabled at the cloud"),
        ({"SelfHost": "False"}, "does not allow self-hosting"),
        ({"LicenseType": "User"}, "a person's premium license"),
        ({"Seats": "2"}, "it has 2 seats, and"),
    ],
)
def test_a_license_with_a_wrong_claim(world: Recorded, tmp_path: Path, claims: dict[str, Any], words: str) -> None:
    assert words in refused(world, tmp_path, resigned(world, emitted(world, changes=MORE), **claims))


def test_a_license_whose_id_was_edited(world: Recorded, tmp_path: Path) -> None:
    text = refused(world, tmp_path, {**emitted(world, changes=MORE), "Id": "4896fe94-f5bd-515c-8474-4e02678c38c4"})
    assert "it was changed after the cloud issued it" in text


def test_an_old_license_that_was_edited_and_one_of_a_newer_format(world: Recorded, tmp_path: Path) -> None:
    good = without_token(world, emitted(world, changes=MORE))
    assert "its hash does not fit" in refused(world, tmp_path, {**good, "Seats": 99})
    text = refused(world, tmp_path, without_token(world, good, Version=17))
    assert "its format (version 17) is newer" in text
    assert "the version is not supported there" in text
    assert "update the server" in text
    assert license_task(world, src=written(tmp_path, good)).changed


def test_properties_beside_the_token_count_for_nothing(world: Recorded, tmp_path: Path) -> None:
    result = license_task(world, src=written(tmp_path, {**emitted(world), "Seats": 5000, "Name": "Forged"}))
    assert (result.changed, result["reason"], result["license"]["seats"]) == (False, "same", 10)


def test_an_old_server_goes_by_the_format_of_a_license_with_a_token_too(world: Recorded, tmp_path: Path) -> None:
    world.stand_ins["/config"] = (200, {"version": "2024.6.0", "server": None, "object": "config"})
    text = refused(world, tmp_path, emitted(world, changes=MORE, Version=16))
    assert "newer than" in text and "Bitwarden 2024.6.0" in text


def test_a_file_that_is_too_large(world: Recorded, tmp_path: Path) -> None:
    made = emitted(world, changes=MORE)
    text = refused(world, tmp_path, {**made, "Plan": "x" * 51200})
    assert "too large" in text and "51200" in text


def test_everything_against_a_license_is_said_at_once(world: Recorded, tmp_path: Path) -> None:
    text = refused(world, tmp_path, resigned(world, emitted(world), Enabled="False", SelfHost="False", iss="x"))
    for words in ("is disabled", "self-hosting", "issued by x"):
        assert words in text


def test_a_server_whose_clock_is_behind_is_told_or_waited_for(world: Recorded) -> None:
    grow(world, Seats=12)
    pass_time(world, "self_hosted", seconds=-60)
    for check in (True, False):
        text = message(license_task(world, max_age=0, check=check))
        assert "seconds behind the cloud's" in text
    assert uploads(world) == []
    pass_time(world, "self_hosted", seconds=57)
    assert license_task(world, max_age=0, check=True).changed
    assert license_task(world, max_age=0).changed


def test_seats_are_counted_only_when_the_license_has_fewer(world: Recorded, tmp_path: Path) -> None:
    members = world.rows("self_hosted", "OrganizationUser", OrganizationId=ACME["self_hosted"])
    taken = sum(row["Status"] >= 0 for row in members)
    text = refused(world, tmp_path, emitted(world, changes={"Seats": taken - 1}))
    assert f"it has {taken - 1} seats, and {taken} are taken" in text

    def asked(seats: int, **more: Any) -> bool:
        forget(world)
        made = emitted(world, changes={"Seats": seats, **more})
        assert license_task(world, src=written(tmp_path, made), installed=slurped(world)).changed
        return any("/users " in line for line in world.logs["self_hosted"])

    assert [asked(taken + 5), asked(taken), asked(taken, UseSso=False)] == [False, True, False]


def test_a_server_that_does_not_tell_its_members_refuses_by_itself(world: Recorded, tmp_path: Path) -> None:
    world.stand_ins["/users"] = (404, None)
    src = written(tmp_path, emitted(world, changes={"Seats": 2}))
    text = message(license_task(world, src=src))
    assert "seats filled. Your new license only has (2) seats" in text
    assert server_row(world)["Seats"] == 10


def test_what_the_server_says_against_a_license_is_told(world: Recorded, tmp_path: Path) -> None:
    forged = emitted(world, changes=MORE)
    forged["Token"] = forged["Token"][:-8] + "AAAAAAAA"
    text = message(license_task(world, src=written(tmp_path, forged)))
    assert "IDX10517" in text
    on_disk(world).unlink()
    on_disk(world).mkdir()
    assert "Unauthorized" in message(license_task(world))


def test_a_proxy_that_takes_no_request_of_this_size_is_named(world: Recorded) -> None:
    """With nginx's own page for it, which is all that comes: Bitwarden has not seen the upload."""
    page = b"<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body></body>\r\n</html>\r\n"
    grow(world, Seats=12)
    world.intercept = lambda method, path, _side: (
        Answer(413, page, {"Content-Type": "text/html"})
        if method == "POST" and path.endswith(f"/self-hosted/{ACME['self_hosted']}")
        else None
    )
    result = license_task(world, max_age=0)
    assert "413" in message(result) and "a proxy before the server takes no request of this size" in message(result)
    assert "client_max_body_size" in result["next_step"]
    assert (result["remedy"], result["status"]) == ("license-refused-by-a-proxy", 413)
    assert server_row(world)["Seats"] == 10


# Proof.


def test_an_upload_that_did_nothing_is_no_success(world: Recorded) -> None:
    grow(world, Seats=12)
    world.stand_ins[f"/self-hosted/{ACME['self_hosted']}"] = (200, None)
    text = message(license_task(world, max_age=0))
    assert "still has another one (seats)" in text


def test_a_license_that_cannot_be_read_after_its_upload_is_no_success(world: Recorded) -> None:
    grow(world, Seats=12)
    world.store("self_hosted").update("Organization", ACME["self_hosted"], Enabled=0)
    world.stand_ins["/subscription"] = (500, None)
    assert "took the license, but cannot read it" in message(license_task(world))


# The cloud's side of things.


def test_the_cloud_must_know_the_installation_before_anybody_logs_in(world: Recorded) -> None:
    for wrong, words in (
        ("11111111-2222-4333-8444-555555555555", "is not known at"),
        (world.world.people["cloud"]["installations"]["disabled"]["id"], "is disabled at"),
    ):
        forget(world)
        assert words in message(license_task(world, max_age=0, installation_id=wrong))
        assert len(world.logs["cloud"]) == 1
    forget(world)
    assert "is no GUID" in message(license_task(world, installation_id="main"))
    assert world.logs["self_hosted"] == []


def test_an_organization_that_is_disabled_at_the_cloud(world: Recorded) -> None:
    grow(world, Enabled=0)
    assert "is disabled at" in message(license_task(world, max_age=0))
    assert not [line for line in world.logs["cloud"] if "/license" in line]


def test_an_organization_without_a_subscription(world: Recorded) -> None:
    grow(world, ExpirationDate="2026-01-01 00:00:00")
    assert "No active subscription found" in message(license_task(world, max_age=0))


def test_who_is_no_owner_at_one_of_both_sides(world: Recorded) -> None:
    assert "only a confirmed owner" in message(license_task(world, max_age=0, cloud=cloud_login(world, "admin")))
    assert "only a confirmed owner" in message(license_task(world, person="admin"))
    assert uploads(world) == []


def test_a_self_hosted_server_in_the_clouds_place(world: Recorded) -> None:
    cloud = {**cloud_login(world), "url": world.urls["self_hosted"]}
    assert "self-hosted" in message(license_task(world, max_age=0, cloud=cloud))


def test_no_api_key_for_the_cloud(world: Recorded) -> None:
    cloud = {"url": world.urls["cloud"], "retries": 0}
    assert "BITWARDEN_CLOUD_CLIENT_ID" in message(license_task(world, max_age=0, cloud=cloud))
    assert "does not say which Bitwarden server" in message(license_task(world, max_age=0, cloud=None))


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("ca_path", "/nowhere/ca.pem", "/nowhere/ca.pem does not exist"),
        ("region", "Mars", "'Mars' is not known"),
        ("client_version", "x", "client version"),
        ("allow_http", False, "is not encrypted"),
    ],
)
def test_the_connection_to_the_cloud_has_its_own_options(world: Recorded, option: str, value: Any, words: str) -> None:
    cloud = {**cloud_login(world), option: value}
    if option == "region":
        del cloud["url"]
    if option == "allow_http":
        cloud["url"] = "http://bitwarden.example.com"
    assert words in message(license_task(world, max_age=0, cloud=cloud))


def test_a_cloud_that_gives_the_license_of_another_organization(world: Recorded) -> None:
    other = licenses.api_form(emitted(world, third(world)))
    world.stand_ins[f"/organizations/{ACME['cloud']}/license"] = (200, other)
    assert "it is the license of another organization (Third" in message(license_task(world, max_age=0))
    assert uploads(world) == []


# Reading.


def test_both_sides_are_read_and_nothing_is_changed(world: Recorded) -> None:
    grow(world, Seats=25)
    result = license_task(world, state="read", installed=slurped(world), diff=True)
    assert not result.changed
    assert (result["reason"], result["differences"], result["problems"]) == ("different", ["issued", "seats"], [])
    assert (result["server"]["seats"], result["license"]["seats"]) == (10, 25)
    assert result["server"]["token"]["valid_until"] == "2027-11-22T14:18:01Z"
    assert result["license"]["self_host"] is True
    assert uploads(world) == []


def test_only_the_server_is_read_where_the_cloud_is_not_at_hand(world: Recorded) -> None:
    for missing in ("cloud", "installation_id"):
        result = license_task(world, state="read", **{missing: None})
        assert (result["license"], result["source"], result["reason"]) == (None, None, "fresh")
    assert world.logs["cloud"] == []


def test_reading_tells_what_stands_against_a_file_and_does_not_fail(world: Recorded, tmp_path: Path) -> None:
    made = resigned(world, emitted(world, changes=MORE), Enabled="False")
    result = license_task(world, state="read", src=written(tmp_path, made), cloud=None)
    assert not result.changed
    assert result["problems"] == ["the organization is disabled at the cloud"]


# An organization made from its license.


def unwrapped(key: bytes, encrypted: str) -> bytes:
    vector, text, seal = (base64.b64decode(part) for part in encrypted.removeprefix("2.").split("|"))
    assert hmac.compare_digest(hmac.digest(key[32:], vector + text, "sha256"), seal)
    decryptor = Cipher(algorithms.AES(key[:32]), modes.CBC(vector)).decryptor()
    padded = decryptor.update(text) + decryptor.finalize()
    return padded[: -padded[-1]]


def third(world: Recorded) -> str:
    (row,) = [row for row in world.rows("cloud", "Organization") if row["Name"] == "Third Enterprise"]
    return str(row["Id"])


def test_an_organization_is_made_with_keys_that_its_owner_can_open(world: Recorded, tmp_path: Path) -> None:
    src = written(tmp_path, emitted(world, third(world)))
    given: dict[str, Any] = {"person": "stranger", "organization": "Third Enterprise", "src": src, "cloud": None}
    text = message(license_task(world, **given))
    assert "sees no organization" in text and "create=true" in text
    predicted = license_task(world, create=True, check=True, diff=True, **given)
    assert (predicted.changed, predicted["reason"]) == (True, "organization_missing")
    assert (predicted["organization"], predicted["server"]) == (None, None)
    assert uploads(world) == []
    made = license_task(world, create=True, diff=True, **given)
    agree(predicted, made)
    assert made["diff"]["after"]["name"] == "Third Enterprise"
    (row,) = [row for row in world.rows("self_hosted", "Organization") if row["Name"] == "Third Enterprise"]
    assert made["organization"] == {"id": row["Id"].lower(), "name": "Third Enterprise"}
    owner = world.world.people["self_hosted"]["users"]["stranger"]
    private = unwrapped(base64.b64decode(owner["userKeyRaw"]), owner["encryptedPrivateKey"])
    rsa = serialization.load_der_private_key(private, None)
    oaep = OAEP(MGF1(SHA1()), SHA1(), None)  # noqa: S303 - the clients' own
    (member,) = world.rows("self_hosted", "OrganizationUser", OrganizationId=row["Id"])
    key = rsa.decrypt(base64.b64decode(member["Key"][2:]), oaep)  # type: ignore[union-attr]  # it is RSA
    (collection,) = world.rows("self_hosted", "Collection", OrganizationId=row["Id"])
    assert unwrapped(key, collection["Name"]) == b"Default collection"
    pair = serialization.load_der_private_key(unwrapped(key, row["PrivateKey"]), None)
    public = pair.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert base64.b64encode(public).decode() == row["PublicKey"]
    again = license_task(world, create=True, **given)
    assert (again.changed, again["reason"], again["server"]["readable"]) == (False, "same", True)
    assert len(uploads(world)) == 1
    assert base64.b64encode(key).decode() not in made.output


def test_an_organization_is_made_from_what_the_cloud_gives(world: Recorded) -> None:
    owner = next(
        person for person in ("owner", "owner2", "other", "third")
        if person in world.world.people["cloud"]["users"]
        and "Third Enterprise" in str(world.run("cloud", "organization_info", person=person).data)
    )  # fmt: skip
    given: dict[str, Any] = {
        "person": "stranger",
        "organization": "Third Enterprise",
        "cloud": cloud_login(world, owner),
        "create": True,
    }
    assert license_task(world, **given).changed
    again = license_task(world, **given)
    assert (again.changed, again["reason"]) == (False, "fresh")


def test_an_organization_of_another_name_or_of_an_id_is_not_made(world: Recorded, tmp_path: Path) -> None:
    src = written(tmp_path, emitted(world, third(world)))
    given: dict[str, Any] = {"person": "stranger", "src": src, "cloud": None, "create": True}
    assert "is of the organization 'Third Enterprise'" in message(license_task(world, organization="Third", **given))
    text = message(license_task(world, organization="11111111-2222-4333-8444-555555555555", **given))
    assert "none can be made with a given id" in text
    assert uploads(world) == []


def test_a_license_that_another_organization_has_makes_none(world: Recorded, tmp_path: Path) -> None:
    src = written(tmp_path, emitted(world))
    given: dict[str, Any] = {"person": "stranger", "src": src, "cloud": None, "create": True}
    assert "already in use" in message(license_task(world, **given))


def test_an_account_without_keys_owns_no_organization(world: Recorded, tmp_path: Path) -> None:
    world.stand_ins["/accounts/keys"] = (200, {"publicKey": None})
    src = written(tmp_path, emitted(world, third(world)))
    given: dict[str, Any] = {"person": "stranger", "src": src, "cloud": None, "create": True}
    assert "has no keys" in message(license_task(world, organization="Third Enterprise", **given))


def test_no_secret_of_a_license_is_ever_shown(world: Recorded, tmp_path: Path) -> None:
    made = emitted(world, changes={"Seats": 12})
    src = written(tmp_path, made)
    installed = slurped(world)
    results = [
        license_task(world, src=src, installed=installed, diff=True, check=True),
        license_task(world, src=src, installed=installed, diff=True),
        license_task(world, state="read", installed=installed),
        license_task(world, max_age=0, diff=True, client_secret="WrongWrongWrongWrongWrongWrong"),
        license_task(world, max_age=0, cloud={**cloud_login(world), "client_secret": "WrongWrongWrongWrongWrongWrong"}),
    ]
    # Whatever a server echoes is no way out for a secret either.
    world.stand_ins[f"/self-hosted/{ACME['self_hosted']}"] = (
        400,
        {"message": f"Bad: {made['LicenseKey']} {made['Token']}", "validationErrors": None},
    )
    newer = emitted(world, changes={"Seats": 13}, later=3600)
    results.append(license_task(world, src=written(tmp_path, {**newer, "LicenseKey": made["LicenseKey"]})))
    known = [*license_secrets(world, made, newer), "WrongWrong", installed]
    assert len(known) > 60
    for result in results:
        # What the module was given stands in its invocation, which Ansible cleans of what is marked.
        shown = json.dumps({name: value for name, value in result.data.items() if name != "invocation"})
        assert not [secret for secret in known if secret in shown or secret in result.output]
