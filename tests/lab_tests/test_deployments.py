"""Servers that are deployed by hand or as Lite: their files, their containers, and what answers at their front door."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from bwlab.labdb import LabDb
from lab_client import server
from labkit import Lab, started

LITE = "ghcr.io/bitwarden/lite:2026.7.2"
KINDS = ("manual", "lite", "lite-run")


@pytest.fixture(scope="module", params=KINDS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One server of each kind; the tests leave it up."""
    kind: str = request.param
    with started(
        tmp_path_factory.mktemp(kind) / "lab", "--servers", "1", "--regions", "US", "--deployment", kind
    ) as lab:
        yield lab


def kind_of(lab: Lab) -> str:
    options: dict[str, Any] = json.loads((lab.directory / "state" / "layout.json").read_text())["options"]
    return str(options["deployment"])


def docker(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    home = lab.directory / "hosts" / "us1"
    folder = home / "opt" / "bitwarden"
    if kind_of(lab) == "manual":
        folder = folder / "bwdata" / "docker"
    return subprocess.run(
        [home / "bin" / "docker", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def directory(lab: Lab) -> Path:
    return lab.directory / "hosts" / "us1" / "opt" / "bitwarden"


def test_files(lab: Lab) -> None:
    names = {path.name for path in directory(lab).iterdir()}
    expected = {"manual": {"bwdata"}, "lite": {"settings.env", "docker-compose.yml"}, "lite-run": {"settings.env"}}
    assert names == expected[kind_of(lab)]
    if kind_of(lab) == "manual":
        assert not (directory(lab) / "bwdata" / "scripts").exists()
        assert (directory(lab) / "bwdata" / "env" / "uid.env").read_text() == ""
    else:
        assert (directory(lab) / "settings.env").stat().st_mode & 0o777 == 0o600


def test_state_has_the_same_form_and_the_server_is_up(lab: Lab) -> None:
    state = lab.state()["servers"]["us1"]
    assert (state["stack"], state["restarts"]) == ("up", 0)
    (organization,) = state["organizations"]
    assert organization["cloud_id"] and organization["enabled"]
    assert state["env_file"]


def test_api_and_identity_answer_at_the_front_door(lab: Lab) -> None:
    assert server(lab, "us1").get("/api/alive").status_code == 200
    assert server(lab, "us1").get("/identity/.well-known/openid-configuration").status_code == 200
    alive = server(lab, "us1").get("/alive").text
    assert (alive == "alive") is (kind_of(lab) == "manual")


def test_secrets_of_the_env_file_are_known(lab: Lab) -> None:
    name = "settings.env" if kind_of(lab) != "manual" else "bwdata/env/global.override.env"
    (key,) = re.findall(
        r"(?im)^(?:BW_INSTALLATION_KEY|\w*installation__key)=(.+)$", (directory(lab) / name).read_text()
    )
    assert key in lab.secrets()


def test_the_inventory_is_that_of_a_standard_server(lab: Lab) -> None:
    shown = json.loads(lab.run("ansible-inventory", "--host", "us1").stdout)
    assert shown["bitwarden_dir"] == str(directory(lab))
    assert shown["bitwarden_url"] == lab.addresses["servers"]["us1"]["url"]


def test_containers(lab: Lab) -> None:
    names = docker(lab, "ps", "--format", "{{.Names}}").stdout.split()
    if kind_of(lab) == "manual":
        assert len(names) == 11 and "bitwarden-nginx" in names
    else:
        assert names == [{"lite": "bitwarden-bitwarden-1", "lite-run": "bitwarden"}[kind_of(lab)]]
        health = docker(lab, "inspect", "-f", "{{json .State}}", names[0]).stdout
        # The image has no health check.
        assert "Health" not in json.loads(health)


@pytest.mark.parametrize("lab", ["manual", "lite"], indirect=True)
def test_a_restart_by_compose_takes_the_new_settings(lab: Lab) -> None:
    file = directory(lab) / ("settings.env" if kind_of(lab) == "lite" else "bwdata/env/global.override.env")
    with file.open("a") as stream:
        stream.write("globalSettings__enableCloudCommunication=true\n")
    assert docker(lab, "compose", "down").returncode == 0
    with pytest.raises(requests.ConnectionError):
        server(lab, "us1").get("/api/alive")
    assert docker(lab, "compose", "up", "-d").returncode == 0
    assert lab.state()["servers"]["us1"]["container_env"]["globalSettings__enableCloudCommunication"] == "true"
    assert lab.state()["servers"]["us1"]["restarts"] == 1


# -- docker run ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Lite by docker run."""
    folder = tmp_path_factory.mktemp("single") / "lab"
    with started(folder, "--servers", "1", "--regions", "US", "--deployment", "lite-run") as lab:
        yield lab


def port_of(lab: Lab) -> str:
    return str(lab.addresses["servers"]["us1"]["url"].rpartition(":")[2])


def test_inspect_has_what_the_container_was_made_with(single: Lab) -> None:
    (entry,) = json.loads(docker(single, "inspect", "bitwarden").stdout)
    assert entry["HostConfig"]["PortBindings"] == {"8443/tcp": [{"HostIp": "", "HostPort": port_of(single)}]}
    assert entry["HostConfig"]["Binds"] == ["bitwarden:/etc/bitwarden"]
    assert entry["HostConfig"]["RestartPolicy"] == {"Name": "always", "MaximumRetryCount": 0}
    assert entry["HostConfig"]["NetworkMode"] == "bridge"
    (mount,) = entry["Mounts"]
    assert (mount["Type"], mount["Name"], mount["Destination"]) == ("volume", "bitwarden", "/etc/bitwarden")
    assert entry["Config"]["Image"] == LITE and "BW_DB_PROVIDER=sqlite" in entry["Config"]["Env"]
    assert list(entry["NetworkSettings"]["Networks"]) == ["bridge"]
    assert "Mounts" not in entry["HostConfig"]


def test_options_of_run_come_back_from_inspect(single: Lab) -> None:
    words = (
        "--name", "other", "--restart", "on-failure:3", "--network", "host", "--hostname", "vault", "-l", "own=label",
        "--add-host", "db:192.0.2.1", "-m", "512m", "--log-driver", "journald", "--log-opt", "tag=x", "-u", "1500",
        "--mount", "type=bind,source=/srv,target=/data,readonly", "-v", "/srv/a:/b:ro", "-p", "127.0.0.1:81:8080",
        "-e", "OWN=a=b", LITE,
    )  # fmt: skip
    assert docker(single, "create", *words).returncode == 0
    (entry,) = json.loads(docker(single, "inspect", "other").stdout)
    assert docker(single, "rm", "other").returncode == 0
    host = entry["HostConfig"]
    assert entry["State"]["Status"] == "created"
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert (host["NetworkMode"], host["ExtraHosts"], host["Memory"]) == ("host", ["db:192.0.2.1"], 512 * 1024**2)
    assert host["LogConfig"] == {"Type": "journald", "Config": {"tag": "x"}}
    assert host["Mounts"] == [{"Type": "bind", "Source": "/srv", "Target": "/data", "ReadOnly": True}]
    assert host["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "81"}]}
    assert {(mount["Source"], mount["RW"]) for mount in entry["Mounts"]} == {("/srv/a", False), ("/srv", False)}
    assert (entry["Config"]["Hostname"], entry["Config"]["User"]) == ("vault", "1500")
    assert entry["Config"]["Labels"]["own"] == "label" and "OWN=a=b" in entry["Config"]["Env"]


def test_the_env_file_of_run_is_literal(single: Lab, tmp_path: Path) -> None:
    file = tmp_path / "own.env"
    file.write_text('# comment\nA="quoted"\nB=a$b # no comment\nFROM_SHELL\n')
    assert docker(single, "create", "--name", "literal", "--env-file", str(file), LITE).returncode == 0
    environment = json.loads(docker(single, "inspect", "literal").stdout)[0]["Config"]["Env"]
    docker(single, "rm", "literal")
    assert {'A="quoted"', "B=a$b # no comment"} <= set(environment)
    missing = docker(single, "run", "-d", "--env-file", "/nowhere.env", LITE)
    assert (missing.returncode, "no such file" in missing.stderr) == (125, True)


def test_names_and_ports_are_taken_once(single: Lab) -> None:
    second = docker(single, "run", "-d", "--name", "bitwarden", LITE)
    assert (second.returncode, "is already in use by container" in second.stderr) == (125, True)
    taken = docker(single, "run", "-d", "--name", "second", "-p", f"{port_of(single)}:8443", LITE)
    assert (taken.returncode, "port is already allocated" in taken.stderr) == (125, True)
    # What could not be started is there all the same.
    assert docker(single, "inspect", "-f", "{{.State.Status}}", "second").stdout == "created\n"
    renamed = docker(single, "rename", "second", "bitwarden")
    assert (renamed.returncode, "Error when allocating new name" in renamed.stderr) == (1, True)
    assert docker(single, "rm", "second").returncode == 0


def test_another_container_takes_the_place_and_gives_it_back(single: Lab) -> None:
    for command in (("stop", "bitwarden"), ("rename", "bitwarden", "old")):
        assert docker(single, *command).returncode == 0
    assert single.state()["servers"]["us1"]["stack"] == "down"
    run = ("run", "-d", "--name", "bitwarden", "-p", "1:8443", "--env-file", "settings.env")
    assert docker(single, *run, LITE).returncode == 0
    # On another port nobody finds it.
    with pytest.raises(requests.ConnectionError):
        server(single, "us1").get("/api/alive")
    docker(single, "rm", "-f", "bitwarden")
    docker(single, "rename", "old", "bitwarden")
    assert docker(single, "start", "bitwarden").returncode == 0
    assert single.state()["servers"]["us1"]["restarts"] >= 1


def test_a_crash_is_in_the_log(single: Lab) -> None:
    database = LabDb(single.directory / "lab.sqlite")
    database.set_fault("container_crashes_with", {"key": "OWN", "value": "bad"})
    assert docker(single, "run", "-d", "--name", "crash", "-e", "OWN=bad", LITE).returncode == 0
    assert "The value of OWN is not valid" in docker(single, "logs", "--tail", "5", "crash").stdout
    assert docker(single, "inspect", "-f", "{{.State.Restarting}}", "crash").stdout == "true\n"
    docker(single, "rm", "-f", "crash")
    database.clear_faults()
    database.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's hosts have another owner")
def test_lite_s_files_stay_their_owner_s(single: Lab) -> None:
    assert (directory(single) / "settings.env").stat().st_uid == 0
