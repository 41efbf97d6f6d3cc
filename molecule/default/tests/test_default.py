"""Two servers, US and EU, after site.yml: what lies on the hosts, what runs, and what the front doors say."""

from __future__ import annotations

import json
import os
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

testinfra_hosts = ["local://"]

LAB = Path(__file__).resolve().parents[3] / "tests" / "lab" / "lab"
DIRECTORY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "lab"
PREFIX = "globalSettings__"
WANTED = {
    "us1": {f"{PREFIX}enableCloudCommunication": "true", f"{PREFIX}baseServiceUri__cloudRegion": "US"},
    "eu1": {
        f"{PREFIX}enableCloudCommunication": "true",
        f"{PREFIX}baseServiceUri__cloudRegion": "EU",
        f"{PREFIX}installation__identityUri": "https://identity.bitwarden.eu",
        f"{PREFIX}installation__apiUri": "https://api.bitwarden.eu",
        f"{PREFIX}pushRelayBaseUri": "https://push.bitwarden.eu",
    },
}


@pytest.fixture(scope="module")
def servers(host: Host) -> dict[str, Any]:
    """What the lab says of its servers."""
    state: dict[str, Any] = json.loads(host.check_output("%s state --dir %s", str(LAB), str(DIRECTORY)))
    return {name: state["servers"][name] for name in WANTED}


def bwdata(name: str) -> Path:
    """The installation's folder on a managed host."""
    return DIRECTORY / "hosts" / name / "opt" / "bitwarden" / "bwdata"


@pytest.mark.parametrize("name", WANTED)
def test_the_env_file_is_private_and_holds_each_key_once(host: Host, name: str) -> None:
    file = host.file(str(bwdata(name) / "env" / "global.override.env"))
    assert file.mode == 0o600
    lines = file.content_string.splitlines()
    for key, value in WANTED[name].items():
        assert [line for line in lines if line.lower().startswith(key.lower())] == [f"{key}={value}"]


@pytest.mark.parametrize("name", WANTED)
def test_the_containers_have_what_the_file_says(host: Host, servers: dict[str, Any], name: str) -> None:
    docker = DIRECTORY / "hosts" / name / "bin" / "docker"
    shown = json.loads(host.check_output("%s inspect bitwarden-api", str(docker)))
    environment = dict(pair.partition("=")[::2] for pair in shown[0]["Config"]["Env"])
    assert WANTED[name].items() <= environment.items()
    assert WANTED[name].items() <= servers[name]["container_env"].items()


@pytest.mark.parametrize("name", WANTED)
def test_the_server_was_restarted_once_and_is_up(servers: dict[str, Any], name: str) -> None:
    assert servers[name]["stack"] == "up"
    assert servers[name]["restarts"] == 1


@pytest.mark.parametrize("name", WANTED)
def test_the_front_door_answers(name: str) -> None:
    url = json.loads((DIRECTORY / "lab.json").read_text())["servers"][name]["url"]
    context = ssl.create_default_context(cafile=DIRECTORY / "ca.pem")
    with urllib.request.urlopen(f"{url}/api/config", context=context, timeout=30) as answer:  # noqa: S310 - https, the lab's
        config = json.load(answer)
    assert config["environment"]["cloudRegion"] == WANTED[name][f"{PREFIX}baseServiceUri__cloudRegion"]


@pytest.mark.parametrize("name", WANTED)
def test_the_organization_is_connected_and_licensed(servers: dict[str, Any], name: str) -> None:
    connection = servers[name]["organizations"][0]["connection"]
    assert connection["enabled"]
    assert connection["key_is_current"]
    assert connection["last_license_sync"] is not None
