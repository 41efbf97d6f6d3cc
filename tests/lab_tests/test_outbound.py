# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A license sync from the self-hosted server to its cloud, and everything that can go wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bwlab.persona import Persona
from lab_tests.small_world import KEY, NOW, SmallWorld

GENERIC = "An error has occurred. Check your internet connection and ensure the billing token is correct."
TOKEN = ("server:sh", "POST", "/connect/token", 200)
LICENSES = "/licenses/organization/"


@pytest.fixture
def world(recordings: Path, tmp_path: Path, signing_keys: dict[str, str]) -> Iterator[SmallWorld]:
    small = SmallWorld(recordings, tmp_path, signing_keys)
    small.connect()
    yield small
    small.close()


def test_a_sync_takes_the_license_over(world: SmallWorld) -> None:
    world.cloud.store.update("Organization", world.acme("cloud"), Seats=50, Name="Acme &lt;Ltd&gt;")
    world.server.store.update("Organization", world.acme(), Enabled=0)
    before = world.license_file()
    reply = world.sync()
    assert (reply.status, reply.text) == (200, "")
    license_path = LICENSES + world.acme("cloud")
    assert world.requests() == [TOKEN, ("server:sh", "GET", license_path, 200)]
    row = world.organization()
    assert (row["Seats"], row["Name"], row["Enabled"]) == (50, "Acme &lt;Ltd&gt;", 1)
    assert world.license_file()["Seats"] == 50
    assert world.license_file()["Token"] != before["Token"]
    assert world.config()["LastLicenseSync"].startswith(f"{NOW:%Y-%m-%dT%H:%M:%S}")
    assert world.config()["BillingSyncKey"] == KEY
    assert world.log_lines() == []


def test_every_sync_asks_for_a_token_of_its_own_and_the_cloud_counts_them(world: SmallWorld) -> None:
    assert [world.sync().status for _unused in range(5)] == [200] * 5
    assert world.sync().message == GENERIC
    assert any("with status TooManyRequests-Too Many Requests" in line for line in world.log_lines())
    world.pass_time(seconds=61)
    assert world.sync().status == 200


@pytest.mark.parametrize(
    ("fault", "options", "line"),
    [
        ("cloud_unreachable", {}, "HttpRequestException: Connection refused (127.0.0.1:14033)"),
        ("cloud_unreachable", {"how": "dns"}, "HttpRequestException: Name or service not known (127.0.0.1:14033)"),
        ("cloud_unreachable", {"path": LICENSES}, "HttpRequestException: Connection refused (127.0.0.1:14000)"),
        ("connection_reset", {}, "Empty token response from http://127.0.0.1:14033/ for client installation."),
        ("connection_reset", {"path": LICENSES}, "HttpIOException: The response ended prematurely. (ResponseEnded)"),
        ("cloud_timeout", {"seconds": "0"}, "HttpClient.Timeout of 100 seconds elapsing."),
        ("cloud_status", {"status": "503"}, "with status ServiceUnavailable-Service Unavailable"),
        ("cloud_status", {"status": "429", "path": LICENSES}, "TooManyRequests-Too Many Requests: Slow down!"),
        ("cloud_status", {"status": "502", "path": LICENSES}, "'<' is an invalid start of a value. Path: $ |"),
        ("not_json", {"path": LICENSES}, "'<' is an invalid start of a value. Path: $ |"),
        (
            "truncated_body",
            {"path": LICENSES},
            "Expected end of string, but instead reached end of data. Path: $.token",
        ),
        ("proxy_drops_get_bodies", {}, "The input does not contain any JSON tokens."),
        ("key_rotated_elsewhere", {}, "BadRequest-Bad Request: Invalid Billing Sync Key"),
    ],
)
def test_trouble_with_the_cloud_is_one_text_and_its_cause_stands_in_the_log(
    world: SmallWorld, fault: str, options: dict[str, str], line: str
) -> None:
    before = world.license_file()
    world.db.set_fault(fault, options)
    reply = world.sync()
    assert (reply.status, reply.message) == (400, GENERIC)
    assert any(line in each for each in world.log_lines()), world.log_lines()
    assert world.license_file() == before
    assert world.config()["LastLicenseSync"] is None


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("tls_unknown_ca", "errors in the certificate chain: PartialChain"),
        ("tls_expired", "errors in the certificate chain: NotTimeValid"),
        ("tls_wrong_host", "validation procedure: RemoteCertificateNameMismatch"),
    ],
)
def test_bad_certificates(world: SmallWorld, fault: str, line: str) -> None:
    world.settings(identity_uri="https://127.0.0.1:14033", api_uri="https://127.0.0.1:14000")
    assert world.sync().status == 200
    world.db.set_fault(fault, {})
    assert world.sync().message == GENERIC
    assert any(line in each for each in world.log_lines())


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("wrong_installation", "Invalid license. The installation ID does not match the current installation."),
        ("organization_disabled", "Invalid license. Your cloud-hosted organization is currently disabled."),
        ("version_not_supported", "Version 17 is not supported."),
        ("license_expired", "Invalid license. IDX10223: Lifetime validation failed. The token is expired."),
        ("license_tampered", "Invalid license. IDX10517: Signature validation failed."),
        (
            "license_too_many_seats",
            "Your organization currently has 10 seats filled. Your new license only has (0) seats. Remove some users.",
        ),
    ],
)
def test_a_license_that_is_not_right_is_told(world: SmallWorld, fault: str, text: str) -> None:
    world.db.set_fault(fault, {})
    reply = world.sync()
    assert reply.status == 400
    assert reply.message.startswith(text)
    assert world.log_lines() == []
    world.db.clear_faults()
    assert world.sync().status == 200


def test_another_organizations_license_is_taken_without_a_word(world: SmallWorld) -> None:
    world.db.set_fault("license_of_another_organization", {})
    assert world.sync().status == 200
    assert world.organization()["Name"] == "Third Enterprise"
    assert world.config()["CloudOrganizationId"] == world.acme("cloud")
    world.db.clear_faults()
    assert world.sync().message == GENERIC
    assert world.log_lines()[-1].endswith("BadRequest-Bad Request: Invalid license key.")


def test_a_captive_portal_before_identity_is_an_unforeseen_error(world: SmallWorld) -> None:
    world.db.set_fault("not_json", {"path": "/connect/token"})
    assert world.sync().status == 500
    assert any("'<' is an invalid start of a value." in line for line in world.log_lines())


def test_a_sync_that_only_says_so(world: SmallWorld) -> None:
    world.db.set_fault("sync_says_ok_but_did_nothing", {})
    assert world.sync().status == 200
    assert world.config()["LastLicenseSync"] is None
    assert world.requests() == []


def test_faults_hold_for_their_server_and_as_often_as_said(world: SmallWorld) -> None:
    world.db.set_fault("cloud_unreachable", {"server": "us7"})
    world.db.set_fault("connection_reset", {"server": "sh", "count": "1"})
    assert [world.sync().status for _unused in range(3)] == [400, 200, 200]


def test_two_seconds_behind_the_cloud_are_enough(world: SmallWorld) -> None:
    world.server.clock_offset = -2.0
    assert world.sync().message.startswith("Invalid license. IDX10222: Lifetime validation failed.")
    world.server.clock_offset = 60.0
    assert world.sync().status == 200


def test_the_wrong_region_does_not_know_the_installation(world: SmallWorld) -> None:
    cloud: Persona = world.add_empty_cloud("identity.bitwarden.eu")
    world.settings(identity_uri="https://identity.bitwarden.eu")
    assert world.sync().message == GENERIC
    assert cloud.store.rows("Installation") == []
    told = "Unsuccessful token response from https://identity.bitwarden.eu/ for client installation."
    assert any(line.startswith(told) and line.endswith("BadRequest-Bad Request") for line in world.log_lines())


def test_an_address_with_a_path_needs_its_slash(world: SmallWorld) -> None:
    world.settings(api_uri="http://127.0.0.1:14000/api")
    assert world.sync().message == GENERIC
    assert any("http://127.0.0.1:14000/apilicenses/organization/" in line for line in world.log_lines())


def test_an_unknown_name_does_not_resolve(world: SmallWorld) -> None:
    world.settings(identity_uri="https://identity.bitwarden.example")
    assert world.sync().message == GENERIC
    assert any("Name or service not known (identity.bitwarden.example:443)" in line for line in world.log_lines())


def test_refused_before_anything_is_sent(world: SmallWorld) -> None:
    world.settings(enable_cloud_communication=False)
    assert world.sync().message == "Cloud communication is disabled in global settings"
    world.settings(enable_cloud_communication=True)
    connection = world.row("OrganizationConnection")
    world.server.store.update("OrganizationConnection", connection["Id"], Enabled=0)
    assert world.sync().message == f"Connection disabled for organization {world.acme()}"
    world.server.store.delete("OrganizationConnection", connection["Id"])
    assert world.sync().status == 404
    assert world.requests() == []
