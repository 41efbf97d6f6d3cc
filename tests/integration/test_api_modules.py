"""The API modules against the lab: real names through its proxy, its TLS, its limits, its faults."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from labkit import Lab, started
from unit.module_runner import Result, run_module

HOSTS = ("us1", "eu1")


@dataclass
class Servers:
    """Runs modules as the owner of a host's organization would, with the environment of `lab run`."""

    lab: Lab
    environment: dict[str, str]
    variables: dict[str, dict[str, Any]]

    def organization(self, host: str) -> dict[str, Any]:
        found = self.variables[host]["bitwarden_organizations"][0]
        assert isinstance(found, dict)
        return found

    def region(self, host: str) -> str:
        return str(self.variables[host]["bitwarden_region"])

    def cloud(self, module: str, host: str = "us1", **options: Any) -> Result:
        one = self.organization(host)
        given = {"region": self.region(host), "retries": 0}
        if module != "installation_info":
            given |= {key: one["cloud_owner"][key] for key in ("client_id", "client_secret")}
            given["organization"] = one.get("cloud", one["name"])
        if module == "billing_sync_token":
            given["master_password"] = one["cloud_owner"]["master_password"]
        return self._run(module, {**given, **options})

    def server(self, module: str, host: str = "us1", **options: Any) -> Result:
        one = self.organization(host)
        given = {key: one["owner"][key] for key in ("client_id", "client_secret")}
        given |= {"url": self.variables[host]["bitwarden_url"], "retries": 0, "organization": one["name"]}
        return self._run(module, {**given, **options})

    def _run(self, module: str, options: dict[str, Any]) -> Result:
        runner = {name: options.pop(name) for name in ("check", "diff") if name in options}
        given = {name: value for name, value in options.items() if value is not None}
        return run_module(module, given, env=self.environment, **runner)

    def asked(self, after: int, persona: str) -> list[str]:
        """Method and path of what a persona was asked, without ids."""
        found = [entry for entry in self.lab.log(after) if entry["persona"] == persona]
        return [f"{entry['method']} {re.sub('[0-9a-f-]{36}', 'ID', entry['path'].lower())}" for entry in found]

    def connection(self, host: str = "us1") -> dict[str, Any] | None:
        state = self.lab.state()["servers"][host]["organizations"][0]["connection"]
        assert state is None or isinstance(state, dict)
        return state

    def keys(self, region: str) -> list[bool]:
        return [one["billing_sync_key_created"] for one in self.lab.state()["clouds"][region]["organizations"]]


def environment(lab: Lab) -> dict[str, str]:
    """What `lab run` gives a command; where Python finds the collection is the runner's business."""
    found = dict(line.split("=", 1) for line in lab.run("env", "-0").stdout.split("\0") if "=" in line)
    return {name: value for name, value in found.items() if name != "PYTHONPATH"}


def variables(lab: Lab, host: str) -> dict[str, Any]:
    """The host's variables as Ansible templates them."""
    names = ("bitwarden_organizations", "bitwarden_region", "bitwarden_url")
    wanted = "{{ {" + ", ".join(f"'{name}': {name}" for name in names) + "} }}"
    as_json = ("env", "ANSIBLE_CALLBACK_RESULT_FORMAT=json")
    done = lab.run(*as_json, "ansible", host, "-m", "ansible.builtin.debug", "-a", json.dumps({"msg": wanted}))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.partition("=>")[2])["msg"]
    assert isinstance(found, dict)
    return found


def allow_cloud(lab: Lab, host: str) -> None:
    """Set the keys of the region and restart, by hand as the help page says."""
    path = lab.env_file(host)
    domain = {"us1": "com", "eu1": "eu"}[host]
    path.write_text(
        path.read_text()
        + "globalSettings__enableCloudCommunication=true\n"
        + f"globalSettings__installation__identityUri=https://identity.bitwarden.{domain}\n"
        + f"globalSettings__installation__apiUri=https://api.bitwarden.{domain}\n"
    )
    bitwarden_sh(lab, host, "restart")


def bitwarden_sh(lab: Lab, host: str, command: str) -> None:
    script = lab.bwdata(host).parent / "bitwarden.sh"
    code = f"import subprocess; subprocess.run(['{script}', '{command}'], input='y\\n', text=True, check=True)"
    subprocess.run([lab.directory / "hosts" / host / "bin" / "python", "-c", code], check=True, capture_output=True)


def of(lab: Lab) -> Servers:
    return Servers(lab, environment(lab), {host: variables(lab, host) for host in HOSTS})


@pytest.fixture(scope="module")
def servers(lab: Lab) -> Servers:
    return of(lab)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Servers]:
    """A lab of its own, whose clouds have given none of their ten tokens a minute yet."""
    with started(tmp_path / "lab", "--servers", "2", "--regions", "US,EU") as lab:
        yield of(lab)


@pytest.fixture(autouse=True)
def _no_faults(lab: Lab) -> Iterator[None]:
    yield
    lab.clear()


def message(result: Result) -> str:
    assert result.failed, result.data
    assert "Next step: " in result["msg"]
    return str(result["msg"])


# Before anything is connected; the tests of this file run in order on one lab.


def installation_id(lab: Lab, host: str) -> str:
    found = re.search(r"installation__id=(\S+)", lab.env_file(host).read_text())
    assert found
    return found[1]


def test_an_installation_belongs_to_the_region_that_knows_it(servers: Servers) -> None:
    for host, other in (("us1", "EU"), ("eu1", "US")):
        given = installation_id(servers.lab, host)
        right = servers.cloud("installation_info", host, installation_id=given)
        assert right["installation"] == {
            "id": given,
            "known": True,
            "enabled": True,
            "region": servers.region(host),
        }
        log = servers.lab.last()
        wrong = servers.cloud("installation_info", host, region=other, installation_id=given)
        asked = [entry["persona"] for entry in servers.lab.log(log)]
        assert asked.count(f"cloud:{other}") == asked.count(f"cloud:{servers.region(host)}") == 1
        assert wrong["installation"]["known"] is False
        assert wrong["known_in"] == [servers.region(host)]


def test_a_connection_is_refused_while_cloud_communication_is_off(servers: Servers) -> None:
    result = servers.server("billing_sync", billing_sync_token="T" * 30)
    assert "Cloud communication is off" in message(result)
    assert servers.connection() is None
    predicted = servers.server("billing_sync", check=True)
    assert predicted.changed
    assert servers.connection() is None


def test_check_mode_makes_no_key(servers: Servers) -> None:
    result = servers.cloud("billing_sync_token", check=True)
    assert result.changed
    assert result["token"] is None
    assert not any(servers.keys("US"))


def test_a_wrong_password_makes_no_key(servers: Servers) -> None:
    assert "master password" in message(servers.cloud("billing_sync_token", master_password="not the password"))
    assert not any(servers.keys("US"))


def test_eight_first_calls_at_once_leave_exactly_one_key(fresh: Servers) -> None:
    before = fresh.lab.last()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _number: fresh.cloud("billing_sync_token"), range(8)))
    assert [result.data for result in results if result.failed] == []
    assert sum(result.changed for result in results) == 1
    assert len({result["token"] for result in results}) == 1
    (organization,) = fresh.lab.state()["clouds"]["US"]["organizations"]
    assert (organization["billing_sync_key_created"], organization["rotations"]) == (True, 0)
    assert fresh.asked(before, "cloud:US").count("POST /accounts/verify-password") == 0
    later = fresh.cloud("billing_sync_token")
    assert not later.changed
    assert (later["token"], later["revision_date"]) == (results[0]["token"], results[0]["revision_date"])


def test_six_first_connections_at_once_leave_exactly_one(fresh: Servers) -> None:
    allow_cloud(fresh.lab, "us1")
    before = fresh.lab.last()
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _number: fresh.server("billing_sync", billing_sync_token="T" * 30), range(6)))
    assert [result.data for result in results if result.failed] == []
    assert fresh.asked(before, "server:us1").count("POST /api/organizations/connections") == 1
    assert len({result["billing_sync"]["id"] for result in results}) == 1
    assert not fresh.server("billing_sync", billing_sync_token="T" * 30).changed


@pytest.mark.parametrize("host", HOSTS)
def test_the_first_call_makes_one_key(servers: Servers, host: str) -> None:
    assert servers.cloud("billing_sync_token", host).changed
    assert servers.keys(servers.region(host)) == [True]


def test_the_clouds_limit_is_obeyed_or_told(servers: Servers) -> None:
    servers.lab.fault("cloud_status", status=429, retry_after=600, count=1)
    assert "too many requests" in message(servers.cloud("billing_sync_token", rate_limit_wait=0))
    servers.lab.clear()
    servers.lab.fault("cloud_status", status=429, retry_after=1, count=1)
    assert not servers.cloud("billing_sync_token", rate_limit_wait=5).failed


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("tls_unknown_ca", "CA that is not known"),
        ("tls_wrong_host", "belongs to another host"),
        ("tls_expired", "has expired"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_told_apart(servers: Servers, fault: str, words: str) -> None:
    servers.lab.fault(fault, persona="cloud:US")
    assert words in message(servers.cloud("billing_sync_token"))


def test_a_cloud_and_a_server_in_each_others_place(servers: Servers) -> None:
    url = servers.variables["us1"]["bitwarden_url"]
    assert "is a self-hosted server" in message(servers.cloud("billing_sync_token", region=None, url=url))
    vault = servers.lab.addresses["clouds"]["US"]["vault"]
    assert "is a Bitwarden cloud" in message(servers.server("billing_sync", url=vault, billing_sync_token="T" * 30))


# Connected.


def test_connecting_and_syncing(servers: Servers) -> None:
    for host in HOSTS:
        allow_cloud(servers.lab, host)
        token = servers.cloud("billing_sync_token", host)["token"]
        connected = servers.server("billing_sync", host, billing_sync_token=token)
        assert connected.changed, connected.data
        assert not servers.server("billing_sync", host, billing_sync_token=token).changed
        state = servers.connection(host)
        assert state and state["enabled"] and state["key_is_current"] and state["last_license_sync"] is None
        assert servers.server("license_sync", host, check=True).changed
        synced = servers.server("license_sync", host)
        assert synced.changed, synced.data
        state = servers.connection(host)
        assert state and state["last_license_sync"] == synced["last_sync"]
        assert not servers.server("license_sync", host).changed


def test_a_converged_organization_costs_three_requests_and_none_at_the_cloud(servers: Servers) -> None:
    before = servers.lab.last()
    result = servers.server("organization_info", connection=True)
    assert servers.asked(before, "server:us1") == [
        "POST /identity/connect/token",
        "GET /api/accounts/profile",
        "GET /api/organizations/connections/ID/1",
    ]
    assert servers.asked(before, "cloud:US") == []
    (found,) = result["organizations"]
    assert found["license_sync_due"] is False


def test_another_token_is_put_and_the_last_sync_stays(servers: Servers) -> None:
    before = servers.connection()
    assert servers.server("billing_sync", billing_sync_token="N" * 30).changed
    after = servers.connection()
    assert before and after
    assert after["key_is_current"] is False
    assert after["last_license_sync"] == before["last_license_sync"]
    assert "GetSelfHostedOrganizationLicenseQuery" in message(servers.server("license_sync", max_age=0))
    token = servers.cloud("billing_sync_token")["token"]
    assert servers.server("billing_sync", billing_sync_token=token).changed
    assert servers.server("license_sync", max_age=0).changed


def test_a_sync_that_did_nothing_is_no_success(servers: Servers) -> None:
    servers.lab.fault("sync_says_ok_but_did_nothing", server="us1")
    assert "its last sync is still" in message(servers.server("license_sync", max_age=0))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("cloud_unreachable", "Check your internet connection"),
        ("tls_unknown_ca", "Check your internet connection"),
        ("organization_disabled", "disabled at the cloud"),
        ("wrong_installation", "another installation"),
        ("license_tampered", "changed on the way"),
        ("proxy_drops_get_bodies", "drops the body of GET"),
        ("clock_skew", "clock"),
        ("version_not_supported", "update the server"),
    ],
)
def test_why_a_sync_failed(servers: Servers, fault: str, words: str) -> None:
    # The other server has its own ten tokens a minute at its cloud.
    before = servers.connection("eu1")
    servers.lab.fault(fault, server="eu1")
    assert words in message(servers.server("license_sync", "eu1", max_age=0))
    servers.lab.clear()
    assert servers.connection("eu1") == before


def test_a_token_that_was_rotated_elsewhere_is_fetched_again(servers: Servers) -> None:
    old = servers.cloud("billing_sync_token")
    servers.lab.fault("key_rotated_elsewhere", server="us1")
    servers.server("license_sync", max_age=0)
    servers.lab.clear()
    new = servers.cloud("billing_sync_token")
    assert not new.changed
    assert new["token"] != old["token"]
    assert servers.server("billing_sync", billing_sync_token=new["token"]).changed
    assert servers.server("license_sync", max_age=0).changed


def test_a_token_is_looked_at_rotated_and_handed_on(servers: Servers) -> None:
    known = servers.cloud("billing_sync_token", information_only=True, master_password=None)
    assert (known.changed, known["exists"], known["token"]) == (False, True, None)
    predicted = servers.cloud("billing_sync_token", rotate=True, servers=["us1"], check=True, diff=True)
    before = servers.connection()
    assert before and before["key_is_current"]
    rotated = servers.cloud("billing_sync_token", rotate=True, servers=["us1"], diff=True)
    assert rotated["diff"] == predicted["diff"]
    assert rotated["servers_with_old_token"] == predicted["servers_with_old_token"] == ["us1"]
    assert rotated["revision_date"] > known["revision_date"]
    stale = servers.connection()
    assert stale and not stale["key_is_current"]
    mine = {"billing_sync_token": rotated["token"], "cloud_organization_id": rotated["organization"]["id"]}
    assert servers.server("billing_sync", **mine).changed
    assert not servers.server("billing_sync", **mine).changed
    after = servers.connection()
    assert after and after["key_is_current"] and after["last_license_sync"] == before["last_license_sync"]


def test_a_code_out_of_a_mail_stands_in_for_the_password(servers: Servers) -> None:
    requested = servers.cloud("billing_sync_token", request_otp=True, master_password=None)
    assert requested["otp_requested"], requested.data
    with closing(sqlite3.connect(servers.lab.directory / "state" / "cloud-US.sqlite")) as database:
        ((code,),) = database.execute("SELECT Code FROM LabCode").fetchall()
    fetched = servers.cloud("billing_sync_token", otp=code, master_password=None, confirm=False)
    assert fetched["token"] == servers.cloud("billing_sync_token")["token"]
    again = servers.cloud("billing_sync_token", otp=code, master_password=None)
    assert "one-time code" in message(again)
    assert code not in again.output


def test_a_connection_is_disabled_and_enabled_again(servers: Servers) -> None:
    before = servers.connection()
    assert before and before["enabled"]
    predicted = servers.server("billing_sync", state="disabled", check=True, diff=True)
    disabled = servers.server("billing_sync", state="disabled", diff=True)
    assert disabled.changed and disabled["diff"] == predicted["diff"]
    assert servers.connection() == {**before, "enabled": False}
    assert not servers.server("billing_sync", state="disabled").changed
    token = servers.cloud("billing_sync_token")["token"]
    assert servers.server("billing_sync", billing_sync_token=token).changed
    assert servers.connection() == before


def test_the_token_of_another_cloud_organization_is_refused(servers: Servers) -> None:
    before = servers.connection()
    other = servers.cloud("billing_sync_token", "eu1")
    mine = {"billing_sync_token": other["token"], "cloud_organization_id": other["organization"]["id"]}
    assert "no sync could succeed" in message(servers.server("billing_sync", **mine))
    assert servers.connection() == before


PLAYBOOK = """
- hosts: us1
  gather_facts: false
  module_defaults:
    group/selfhosted.bitwarden.cloud:
      region: "{{ bitwarden_region }}"
      client_id: "{{ bitwarden_organizations[0].cloud_owner.client_id }}"
      client_secret: "{{ bitwarden_organizations[0].cloud_owner.client_secret }}"
    group/selfhosted.bitwarden.self_hosted:
      url: "{{ bitwarden_url }}"
      client_id: "{{ bitwarden_organizations[0].owner.client_id }}"
      client_secret: "{{ bitwarden_organizations[0].owner.client_secret }}"
  tasks:
    - selfhosted.bitwarden.installation_info:
        installation_id: 8318521f-7d7d-4692-8de0-b50a00eabedc
      delegate_to: localhost
    - selfhosted.bitwarden.organization_info:
        connection: true
      delegate_to: localhost
      register: info
    - selfhosted.bitwarden.billing_sync_token:
        organization: "{{ bitwarden_organizations[0].cloud | default(bitwarden_organizations[0].name) }}"
        master_password: "{{ bitwarden_organizations[0].cloud_owner.master_password }}"
      delegate_to: localhost
      no_log: true
      register: cloud
    - selfhosted.bitwarden.billing_sync:
        organization: "{{ info.organizations[0].name }}"
        billing_sync_token: "{{ cloud.token | default(omit, true) }}"
        cloud_organization_id: "{{ cloud.organization.id }}"
        state: "{{ state | default('present') }}"
      delegate_to: localhost
    - selfhosted.bitwarden.license_sync:
        organization: "{{ info.organizations[0].id }}"
        max_age: 0
      delegate_to: localhost
      ignore_errors: true  # its connection is disabled: what a failure prints is searched for secrets as well
    - selfhosted.bitwarden.billing_sync:
        organization: "{{ info.organizations[0].name }}"
        state: absent
      delegate_to: localhost
      when: absent | default(false)
"""


def test_ansible_at_its_most_talkative_shows_no_secret(fresh: Servers, tmp_path: Path) -> None:
    allow_cloud(fresh.lab, "us1")
    play = tmp_path / "play.yml"
    play.write_text(PLAYBOOK)
    assert yaml.safe_load(PLAYBOOK)
    output = ""
    for options in (
        ["--check"],
        [],
        ["-e", "{state: disabled}"],
        ["-e", "{absent: true}", "--check"],
        ["-e", "{absent: true}"],
        ["--check"],
        [],
    ):
        done = fresh.lab.run("ansible-playbook", str(play), "-vvvv", "--diff", *options)
        assert done.returncode == 0, done.stdout
        output += done.stdout + done.stderr
    assert output.count("selfhosted.bitwarden.billing_sync") > 7
    secrets = fresh.lab.secrets()
    assert len(secrets) >= 20
    assert [secret for secret in secrets if secret in output] == []


def test_a_server_that_is_down_is_told_apart(servers: Servers) -> None:
    bitwarden_sh(servers.lab, "eu1", "stop")
    try:
        result = servers.server("organization_info", "eu1")
        message(result)
        assert result["server_down"] is True
    finally:
        bitwarden_sh(servers.lab, "eu1", "start")
    end = time.monotonic() + 60
    result = servers.server("organization_info", "eu1")
    while result.failed and time.monotonic() < end:
        # The script returns before the services answer: nginx says 502 meanwhile.
        assert result["server_down"] is True
        result = servers.server("organization_info", "eu1")
    assert not result.failed
