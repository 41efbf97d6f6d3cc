"""Several organizations on one server, and one cloud organization on several servers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from labkit import Lab, Play

DISCONNECT = str(Path(__file__).parents[2] / "playbooks" / "disconnect.yml")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Two US servers, each with an organization of its own."""
    lab = Lab(tmp_path / "lab", "--servers", "2", "--regions", "US")
    yield lab
    lab.down()


class Person:
    """An account at one server, by its API key."""

    def __init__(self, lab: Lab, identity: str, api: str, client_id: str, secret: str) -> None:
        """Log in."""
        self.api = api
        self.session = requests.Session()
        self.session.verify = str(lab.directory / "ca.pem")
        self.session.trust_env = False
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, "scope": "api"}
        form |= {"deviceType": "25", "deviceIdentifier": "test", "deviceName": "test"}
        headers = {"Bitwarden-Client-Version": "2026.7.0"}
        answer = self.session.post(f"{identity}/connect/token", data=form, headers=headers, timeout=30)
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def get(self, path: str) -> Any:
        """A JSON answer."""
        answer = self.session.get(self.api + path, timeout=30)
        assert answer.ok, answer.text
        return answer.json()


def organizations(lab: Lab, host: str) -> list[dict[str, Any]]:
    """The organizations of a host's inventory entry, secrets filled in."""
    shown = lab.run("ansible-inventory", "--host", host).stdout
    listed: list[dict[str, Any]] = json.loads(shown)["bitwarden_organizations"]
    lines = lab.run("env").stdout.splitlines()
    environment = dict(line.split("=", 1) for line in lines if line.startswith("LAB_"))
    for one in listed:
        one["owner"]["client_secret"] = environment[f"LAB_{host.upper()}_OWNER_CLIENT_SECRET"]
        one["cloud_owner"]["client_secret"] = environment[f"LAB_{host.upper()}_CLOUD_OWNER_CLIENT_SECRET"]
        one["cloud_owner"]["master_password"] = environment[f"LAB_{host.upper()}_CLOUD_OWNER_MASTER_PASSWORD"]
    return listed


def rows(lab: Lab, persona: str, statement: str) -> list[Any]:
    """Rows of a persona's tables."""
    with closing(sqlite3.connect(lab.directory / "state" / f"{persona}.sqlite")) as database:
        return database.execute(statement).fetchall()


def create_on_us1(lab: Lab, first: dict[str, Any], second: dict[str, Any]) -> None:
    """As an owner does in the two web vaults: download a cloud organization's license, upload it as a new one."""
    cloud = lab.addresses["clouds"]["US"]
    owner = second["cloud_owner"]
    at_cloud = Person(lab, cloud["identity"], cloud["api"], owner["client_id"], owner["client_secret"])
    settings = dict(line.split("=", 1) for line in lab.env_file("us1").read_text().splitlines())
    installation = settings["globalSettings__installation__id"]
    license_ = at_cloud.get(f"/organizations/{second['cloud']}/license?installationId={installation}")
    server = lab.addresses["servers"]["us1"]["url"]
    owner = first["owner"]
    at_server = Person(lab, f"{server}/identity", f"{server}/api", owner["client_id"], owner["client_secret"])
    ((key,),) = rows(lab, "server-us1", "SELECT Key FROM OrganizationUser")
    made = at_server.session.post(
        f"{server}/api/organizations/licenses/self-hosted",
        files={"license": ("license.json", json.dumps(license_))},
        data={"key": key, "collectionName": key},
        timeout=30,
    )
    assert made.ok, made.text


def test_several_organizations_on_one_server(lab: Lab, tmp_path: Path) -> None:
    (first,), (second,) = organizations(lab, "us1"), organizations(lab, "us2")
    create_on_us1(lab, first, second)
    second["owner"] = first["owner"]
    variables = tmp_path / "two.json"
    variables.write_text(json.dumps({"bitwarden_organizations": [first, second]}))
    play = lab.site("--limit", "us1", "-e", f"@{variables}")
    assert play.changed()["us1"].count("Get the billing sync token") == 2
    server = lab.state()["servers"]["us1"]
    assert server["restarts"] == 1
    assert {one["name"] for one in server["organizations"]} == {"Acme us1", "Acme us2"}
    for one in server["organizations"]:
        assert one["connection"]["key_is_current"] and one["connection"]["last_license_sync"]
    assert lab.site("--limit", "us1", "-e", f"@{variables}").changed() == {}


def test_disconnect_undoes_what_site_did_and_site_connects_again(lab: Lab) -> None:
    lab.site("--limit", "us1")
    done = lab.run("ansible-playbook", DISCONNECT, "--limit", "us1")
    assert done.returncode == 0, done.stdout
    server = lab.state()["servers"]["us1"]
    assert server["organizations"][0]["connection"] is None
    assert server["container_env"]["globalSettings__enableCloudCommunication"] == "false"
    assert server["restarts"] == 2
    again = lab.run("ansible-playbook", DISCONNECT, "--limit", "us1")
    assert again.returncode == 0, again.stdout
    assert Play(again).changed() == {}
    lab.site("--limit", "us1")
    assert lab.state()["servers"]["us1"]["organizations"][0]["connection"]["key_is_current"]
