"""The module license against the lab: real names through its proxy, its TLS, its faults, its clocks, its files."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bwlab.store import Store
from integration.test_api_modules import Servers, allow_cloud, installation_id, message, of
from labkit import started
from unit.module_runner import Result, run_module

UPLOAD = "POST /api/organizations/licenses/self-hosted/ID"
PLAY = """
- hosts: us1
  gather_facts: false
  tasks:
    - selfhosted.bitwarden.license:
        url: "{{ bitwarden_url }}"
        client_id: "{{ bitwarden_organizations[0].owner.client_id }}"
        client_secret: "{{ bitwarden_organizations[0].owner.client_secret }}"
        organization: "{{ bitwarden_organizations[0].name }}"
        installation_id: "{{ installation }}"
        max_age: 0
        cloud:
          region: "{{ bitwarden_region }}"
          client_id: "{{ bitwarden_organizations[0].cloud_owner.client_id }}"
          client_secret: "{{ bitwarden_organizations[0].cloud_owner.client_secret }}"
      delegate_to: localhost
"""


class Licenses:
    """The module for one host's organization, and a hand on both sides."""

    def __init__(self, servers: Servers, host: str = "us1") -> None:
        self.servers, self.lab, self.host = servers, servers.lab, host
        self.installation = installation_id(servers.lab, host)

    def cloud(self, **changes: Any) -> dict[str, Any]:
        owner = self.servers.organization(self.host)["cloud_owner"]
        login = {key: owner[key] for key in ("client_id", "client_secret")}
        return {"region": self.servers.region(self.host), "retries": 0, **login, **changes}

    def run(self, **options: Any) -> Result:
        given = {"cloud": self.cloud(), "installation_id": self.installation, **options}
        return self.servers.server("license", self.host, **given)

    def store(self, persona: str) -> Store:
        return Store(self.lab.directory / "state" / f"{persona}.sqlite")

    def change(self, persona: str, **columns: Any) -> None:
        """Change the organization at one side, as a person there would."""
        store = self.store(persona)
        name = self.servers.organization(self.host)["name"]
        (row,) = [row for row in store.rows("Organization") if row["Name"] == name]
        store.update("Organization", row["Id"], **columns)
        store.close()

    def another(self) -> None:
        """A second organization at the cloud."""
        store = self.store(f"cloud-{self.servers.region(self.host)}")
        row = store.rows("Organization")[0]
        changes = {"Id": "11111111-2222-4333-8444-555555555555", "Name": "Another", "LicenseKey": "A" * 20}
        if store.one("Organization", Id=changes["Id"]) is None:
            store.insert("Organization", {**row, **changes})
        store.close()

    def id(self) -> str:
        (organization,) = self.lab.state()["servers"][self.host]["organizations"]
        return str(organization["id"])

    def file(self) -> Path:
        return self.lab.bwdata(self.host) / "core" / "licenses" / "organization" / f"{self.id()}.json"

    def slurped(self) -> str:
        return base64.b64encode(self.file().read_bytes()).decode()


@pytest.fixture(scope="module")
def licenses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Licenses]:
    with started(tmp_path_factory.mktemp("lab"), "--servers", "2", "--regions", "US,EU") as lab:
        yield Licenses(of(lab))


@pytest.fixture(autouse=True)
def _calm(licenses: Licenses) -> Iterator[None]:
    """The cloud's ten tokens a minute would be spent by the third test."""
    licenses.lab.call("forget")
    yield
    licenses.lab.clear()


def test_a_fresh_server_is_current_and_costs_four_requests_and_none_at_the_cloud(licenses: Licenses) -> None:
    before = licenses.lab.last()
    result = licenses.run()
    assert (result.changed, result["reason"]) == (False, "fresh"), result.data
    assert licenses.servers.asked(before, "server:us1") == [
        "POST /identity/connect/token",
        "GET /api/accounts/profile",
        "GET /api/organizations/connections/ID/1",
        "GET /api/organizations/ID/subscription",
    ]
    assert licenses.servers.asked(before, "cloud:US") == []


def test_a_change_at_the_cloud_is_predicted_done_and_not_done_again(licenses: Licenses) -> None:
    licenses.change("cloud-US", Seats=42)
    file = licenses.file().read_bytes()
    predicted = licenses.run(max_age=0, check=True, diff=True)
    assert licenses.file().read_bytes() == file
    done = licenses.run(max_age=0, diff=True)
    for name in ("changed", "reason", "differences", "diff"):
        assert predicted[name] == done[name]
    assert (done["reason"], done["diff"]["after"]) == ("different", {"seats": 42})
    assert json.loads(licenses.file().read_text())["Seats"] == 42
    before = licenses.lab.last()
    again = licenses.run(max_age=0)
    assert (again.changed, again["reason"], again["source"]) == (False, "same", "cloud")
    assert UPLOAD not in licenses.servers.asked(before, "server:us1")


def test_the_installed_file_tells_age_end_and_installation(licenses: Licenses) -> None:
    installed = licenses.slurped()
    result = licenses.run(installed=installed)
    assert (result["reason"], result["server"]["installation_id"]) == ("fresh", licenses.installation)
    # A license says to the second when it was made, and one of the same second is the same.
    time.sleep(1.1)
    assert licenses.run(installed=installed, renew_before=400)["reason"] == "expiration"
    assert licenses.run(installed=licenses.slurped(), installation_id=None, max_age=0)["reason"] == "same"


def test_both_sides_are_read(licenses: Licenses) -> None:
    result = licenses.run(state="read", installed=licenses.slurped())
    assert not result.changed
    assert result["server"]["seats"] == result["license"]["seats"] == 42
    assert result["license"]["installation_id"] == licenses.installation
    assert result["problems"] == []


def test_a_file_of_a_person_is_uploaded_once(licenses: Licenses, tmp_path: Path) -> None:
    src = tmp_path / "license.json"
    licenses.change("cloud-US", Seats=43)
    assert licenses.run(max_age=0).changed
    src.write_bytes(licenses.file().read_bytes())
    time.sleep(1.1)
    licenses.change("cloud-US", Seats=44)
    assert licenses.run(max_age=0).changed
    old = licenses.run(src=str(src), installed=licenses.slurped(), cloud=None)
    assert (old.changed, old["reason"]) == (False, "older")
    licenses.file().unlink()
    before = licenses.lab.last()
    done = licenses.run(src=str(src), cloud=None)
    assert (done.changed, done["reason"], done["source"]) == (True, "license_unreadable", "src")
    assert licenses.servers.asked(before, "cloud:US") == []
    assert not licenses.run(src=str(src), cloud=None).changed


def test_the_cloud_organization_by_its_name_and_not_by_one_that_is_none(licenses: Licenses) -> None:
    name = licenses.servers.organization("us1")["name"]
    assert not licenses.run(max_age=0, cloud_organization=name, check=True).failed
    text = message(licenses.run(max_age=0, cloud_organization="Nobody"))
    assert "sees no organization 'Nobody' at the cloud US" in text


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("wrong_installation", "was made for the installation"),
        ("organization_disabled", "the organization is disabled at the cloud"),
        ("license_expired", "its token ended on"),
        ("license_too_many_seats", "it has 0 seats"),
        ("version_not_supported", "its format (version 17) is newer"),
        ("license_tampered", "IDX10517"),
        ("not_json", "Bitwarden"),
        ("cloud_unreachable", "no answer"),
    ],
)
def test_what_is_wrong_at_the_cloud_is_said_and_changes_nothing(licenses: Licenses, fault: str, words: str) -> None:
    licenses.change("cloud-US", Seats=60)
    file = licenses.file().read_bytes()
    before = licenses.lab.last()
    licenses.lab.fault(fault)
    assert words in message(licenses.run(max_age=0))
    assert licenses.file().read_bytes() == file
    tried = UPLOAD in licenses.servers.asked(before, "server:us1")
    # Only a server can verify a signature.
    assert tried == (fault == "license_tampered")


def test_a_clock_that_is_behind(licenses: Licenses) -> None:
    licenses.change("cloud-US", Seats=60)
    licenses.lab.call("clock", "us1", "-45")
    try:
        assert "seconds behind the cloud's" in message(licenses.run(max_age=0))
    finally:
        licenses.lab.call("clock", "us1", "0")
    assert licenses.run(max_age=0).changed


def test_the_cloud_is_trusted_by_its_own_certificate_authority(licenses: Licenses) -> None:
    one = licenses.servers.organization("us1")
    bundle = licenses.servers.environment["REQUESTS_CA_BUNDLE"]
    environment = {name: None if value == bundle else value for name, value in licenses.servers.environment.items()}
    given = {
        "url": licenses.servers.variables["us1"]["bitwarden_url"],
        "organization": one["name"],
        "installation_id": licenses.installation,
        "max_age": 0,
        "ca_path": bundle,
        **{key: one["owner"][key] for key in ("client_id", "client_secret")},
    }
    for cloud, good in ((licenses.cloud(), False), (licenses.cloud(ca_path=bundle), True)):
        result = run_module("license", {**given, "cloud": cloud}, env=environment)
        assert result.failed is not good, result.data
        assert good or "CA that is not known" in result["msg"]
    unchecked = licenses.cloud(validate_certs=False)
    result = run_module("license", {**given, "cloud": unchecked}, env=environment)
    assert not result.failed


def test_the_login_at_the_cloud_may_come_from_the_environment(licenses: Licenses) -> None:
    cloud = licenses.cloud()
    names = {"region": "REGION", "client_id": "CLIENT_ID", "client_secret": "CLIENT_SECRET"}
    licenses.servers.environment.update({f"BITWARDEN_CLOUD_{name}": cloud[key] for key, name in names.items()})
    try:
        result = licenses.run(max_age=0, cloud=None)
        assert (result["reason"], result["source"]) == ("same", "cloud")
    finally:
        for name in names.values():
            del licenses.servers.environment[f"BITWARDEN_CLOUD_{name}"]


def test_an_organization_is_made_from_its_license_and_then_stays(licenses: Licenses) -> None:
    (organization,) = licenses.lab.state()["servers"]["us1"]["organizations"]
    store = licenses.store("server-us1")
    for table, column in (("OrganizationUser", "OrganizationId"), ("Organization", "Id")):
        for row in store.rows(table, **{column: organization["id"]}):
            store.delete(table, row["Id"])
    store.close()
    assert "create=true" in message(licenses.run())
    predicted = licenses.run(create=True, check=True)
    assert (predicted.changed, predicted["reason"]) == (True, "organization_missing")
    assert licenses.lab.state()["servers"]["us1"]["organizations"] == []
    made = licenses.run(create=True)
    assert made.changed, made.data
    (after,) = licenses.lab.state()["servers"]["us1"]["organizations"]
    assert (after["id"], after["enabled"]) == (made["organization"]["id"], True)
    again = licenses.run(create=True)
    assert (again.changed, again["reason"]) == (False, "fresh")


def test_a_playbook_shows_no_secret_and_changes_nothing_the_second_time(licenses: Licenses, tmp_path: Path) -> None:
    licenses.change("cloud-US", Seats=77)
    play = tmp_path / "play.yml"
    play.write_text(PLAY)
    output = ""
    for options, changed in ((["--check"], 1), ([], 1), ([], 0), (["--check"], 0)):
        given = ["-e", f"installation={licenses.installation}", "-vvvv", "--diff", *options]
        done = licenses.lab.run("ansible-playbook", str(play), *given)
        assert done.returncode == 0, done.stdout
        assert f"changed={changed}" in done.stdout
        output += done.stdout + done.stderr
    secrets = licenses.lab.secrets()
    file = json.loads(licenses.file().read_text())
    secrets += [file[name] for name in ("LicenseKey", "Hash", "Signature", "Token")]
    assert len(secrets) >= 20
    assert [secret for secret in secrets if secret in output] == []


def test_the_license_on_both_sides_by_the_facts_of_the_organization(licenses: Licenses) -> None:
    (here,) = licenses.servers.server("organization_info", license=True)["organizations"]
    (there,) = licenses.servers.cloud("organization_info", license=True)["organizations"]
    assert here["license"]["readable"] and here["license"]["features"]["use_sso"]
    assert here["license"]["expiration"][:19] == there["license"]["expiration"][:19]
    assert here["seats"] == there["seats"]


# The sync: connected now.


@pytest.fixture(scope="module")
def connected(licenses: Licenses) -> Licenses:
    """The second server, which may call its cloud and has its token."""
    eu = Licenses(licenses.servers, "eu1")
    allow_cloud(eu.lab, "eu1")
    token = eu.servers.cloud("billing_sync_token", "eu1")["token"]
    assert eu.servers.server("billing_sync", "eu1", billing_sync_token=token).changed
    return eu


def sync(on: Licenses, **options: Any) -> Result:
    given = {"cloud": on.cloud(), "installation_id": on.installation, **options}
    return on.servers.server("license_sync", on.host, **given)


def probes(result: Result) -> dict[str, str]:
    return {one["probe"]: one["result"] for one in result["probes"]}


def test_a_sync_by_content(connected: Licenses) -> None:
    assert sync(connected)["reason"] == "never_synced"
    assert sync(connected, compare=True)["differences"] == []
    connected.change("cloud-EU", Seats=31)
    assert not sync(connected).changed
    predicted = sync(connected, compare=True, check=True)
    done = sync(connected, compare=True)
    assert predicted["differences"] == done["differences"] == ["seats"]
    assert (predicted["reason"], done["reason"], done.changed) == ("different", "different", True)
    before = connected.lab.last()
    assert not sync(connected, compare=True).changed
    assert len(connected.servers.asked(before, "server:eu1")) <= 5
    before = connected.lab.last()
    assert not sync(connected).changed
    assert connected.servers.asked(before, "cloud:EU") == []


def test_a_healthy_server_is_diagnosed_as_one(connected: Licenses) -> None:
    token = connected.servers.cloud("billing_sync_token", "eu1")["token"]
    way = [{"kind": kind, "path": "containers", "reachable": True} for kind in ("identity", "api")]
    result = sync(connected, state="diagnosed", billing_sync_token=token, endpoints=way)
    assert (result["cause"], result.changed) == (None, False)
    assert probes(result) == {
        **dict.fromkeys(("cloud_communication", "connection", "token", "installation"), "ok"),
        **dict.fromkeys(("cloud_organization", "clock", "way"), "ok"),
        "log": "unknown",
    }


def test_a_token_that_somebody_rotated_is_found_by_its_date_and_by_itself(connected: Licenses) -> None:
    connected.lab.fault("key_rotated_elsewhere", server="eu1")
    result = sync(connected, max_age=0)
    assert "was rotated at the cloud" in message(result)
    connected.lab.clear()
    new = connected.servers.cloud("billing_sync_token", "eu1")["token"]
    found = sync(connected, state="diagnosed", billing_sync_token=new)
    assert probes(found)["token"] == "wrong"
    assert connected.servers.server("billing_sync", "eu1", billing_sync_token=new).changed
    assert sync(connected, max_age=0).changed


def test_what_the_log_of_the_server_says_is_the_cause(connected: Licenses) -> None:
    folder = connected.lab.bwdata("eu1") / "logs" / "api" / "Api"
    connected.servers.server("billing_sync", "eu1", billing_sync_token="N" * 30)
    assert sync(connected, max_age=0, cloud=None, installation_id=None).failed
    lines = [line for file in sorted(folder.glob("*.txt")) for line in file.read_text().splitlines()]
    found = sync(connected, state="diagnosed", log=lines[-200:], cloud=None)
    assert "Invalid Billing Sync Key" in found["cause"]
    assert "N" * 30 not in found.output
    token = connected.servers.cloud("billing_sync_token", "eu1")["token"]
    assert connected.servers.server("billing_sync", "eu1", billing_sync_token=token).changed


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("license_of_another_organization", "it is that of another organization: Acme eu1 at"),
        ("license_expired", "expired"),
        ("cloud_unreachable", "Check your internet connection"),
    ],
)
def test_a_sync_that_brings_something_else_is_no_success(connected: Licenses, fault: str, words: str) -> None:
    connected.another()
    connected.lab.fault(fault, server="eu1")
    assert words in message(sync(connected, max_age=0))
    if fault == "license_of_another_organization":
        assert "license of another organization" in message(sync(connected, compare=True, organization=connected.id()))
        connected.lab.clear()
        # The connection still names the right one, so that the right license can be told from others.
        assert connected.run(organization=connected.id(), max_age=0).changed
    connected.lab.clear()
    assert not sync(connected, max_age=0).failed


def test_an_installation_of_the_other_region(connected: Licenses, licenses: Licenses) -> None:
    result = sync(connected, state="diagnosed", installation_id=licenses.installation)
    assert probes(result)["installation"] == "wrong"
    assert "is not known at the cloud EU" in result["cause"]
