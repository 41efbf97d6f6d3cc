# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's command from outside."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_client import bearer, cloud, logins, server
from labkit import LAB, Lab, started


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with started(tmp_path_factory.mktemp("cli") / "lab", "--servers", "3", "--regions", "US,EU") as running:
        yield running


def _pid(lab: Lab) -> int:
    return int((lab.directory / "lab.pid").read_text(encoding="utf-8"))


def _commands(pid: int) -> bytes:
    """Empty for a process that has ended, even one that nobody has asked about yet."""
    file = Path(f"/proc/{pid}/cmdline")
    return file.read_bytes() if file.exists() else b""


def test_up_prints_where_everybody_is(lab: Lab) -> None:
    assert list(lab.addresses["servers"]) == ["us1", "eu1", "us2"]
    assert {name: entry["region"] for name, entry in lab.addresses["servers"].items()} == {
        "us1": "US",
        "eu1": "EU",
        "us2": "US",
    }
    assert lab.addresses == json.loads((lab.directory / "lab.json").read_text(encoding="utf-8"))
    for name in lab.addresses["servers"]:
        assert server(lab, name).get("/api/alive").status_code == 200
    for region in ("US", "EU"):
        assert cloud(lab, region, "api").get("/config").json()["environment"]["cloudRegion"] == region


def test_a_second_up_is_refused(lab: Lab) -> None:
    again = lab.call("up", check=False)
    assert again.returncode == 2
    assert "running already" in again.stderr and "lab down" in again.stderr


def test_unknown_region_and_foreign_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for directory, words, text in (
        (tmp_path / "y", ["--regions", "Mars"], "no region 'Mars'"),
        (tmp_path / "mine", [], "not empty"),
    ):
        done = subprocess.run([LAB, "up", "--dir", directory, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and text in done.stderr
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_commands_say_that_there_is_no_lab(tmp_path: Path) -> None:
    for words in (["state"], ["log"], ["secrets"], ["fault", "list"], ["run", "--", "true"]):
        done = subprocess.run(
            [LAB, words[0], "--dir", tmp_path, *words[1:]], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2 and "holds no lab" in done.stderr, words


def test_state_of_a_fresh_lab(lab: Lab) -> None:
    state = lab.state()
    for name, entry in state["servers"].items():
        assert entry["stack"] == "up" and entry["restarts"] == 0 and entry["downtime_s"] == 0
        assert len(entry["env_file"]) == 64
        assert not any("enableCloudCommunication" in key for key in entry["container_env"])
        (organization,) = entry["organizations"]
        assert organization["name"] == f"Acme {name}" and organization["enabled"]
        assert organization["connection"] is None and organization["sponsorships"] == []
        known = state["clouds"][entry["region"]]["organizations"]
        assert organization["cloud_id"] in [each["id"] for each in known]
    for entry in state["clouds"].values():
        assert all(not each["billing_sync_key_created"] and each["rotations"] == 0 for each in entry["organizations"])


def test_state_sees_a_key_and_its_rotation(lab: Lab) -> None:
    login = logins(lab, "us2")["cloud_owner"]
    api = cloud(lab, "US", "api")
    headers = bearer(cloud(lab, "US", "identity").api_key_token("/connect/token", login))
    (found,) = api.get("/accounts/profile", headers=headers).json()["organizations"]
    body = {"type": 1, "masterPasswordHash": "wrong"}
    assert api.post(f"/organizations/{found['id']}/api-key", json=body, headers=headers).status_code == 400
    entry = next(each for each in lab.state()["clouds"]["US"]["organizations"] if each["id"] == found["id"])
    assert entry["billing_sync_key_created"] and entry["rotations"] == 0


def test_log_is_json_lines_with_the_actor(lab: Lab) -> None:
    last = lab.last()
    login = logins(lab, "us1")["owner"]
    answer = server(lab, "us1").api_key_token("/identity/connect/token", login)
    server(lab, "us1").get("/api/accounts/profile", headers=bearer(answer))
    server(lab, "us1").get("/api/accounts/profile")
    entries = lab.log(last)
    assert [entry["n"] for entry in entries] == [last + 1, last + 2, last + 3]
    assert [
        (entry["persona"], entry["service"], entry["method"], entry["path"], entry["status"]) for entry in entries
    ] == [
        ("server:us1", "identity", "POST", "/identity/connect/token", 200),
        ("server:us1", "api", "GET", "/api/accounts/profile", 200),
        ("server:us1", "api", "GET", "/api/accounts/profile", 401),
    ]
    assert [entry["actor"] for entry in entries] == [login["client_id"], login["email"], ""]


def test_requests_are_counted(lab: Lab) -> None:
    before = lab.state()["clouds"]["EU"]
    cloud(lab, "EU", "api").get("/config")
    cloud(lab, "EU", "identity").token("/connect/token", grant_type="nonsense")
    after = lab.state()["clouds"]["EU"]
    assert after["requests"] == before["requests"] + 2
    assert after["token_requests"] == before["token_requests"] + 1


def test_secrets_are_all_there_and_nowhere_public(lab: Lab) -> None:
    values = lab.secrets()
    public = (lab.directory / "inventory.yml").read_text() + (lab.directory / "lab.json").read_text()
    for name in ("us1", "eu1", "us2"):
        for login in logins(lab, name).values():
            if isinstance(login, dict):
                assert {login["client_secret"], login["master_password"]} <= set(values)
        text = lab.env_file(name).read_text()
        password = next(part for part in text.split(";") if part.startswith("Password=")).removeprefix("Password=")
        key = next(line for line in text.splitlines() if "installation__key=" in line).partition("=")[2]
        assert {password, key} <= set(values)
    assert not [value for value in values if value in public]


def test_run_gives_environment_and_status(lab: Lab) -> None:
    shown = lab.run("env").stdout
    assert f"ANSIBLE_INVENTORY={lab.directory}/inventory.yml" in shown
    assert f"HTTPS_PROXY={lab.addresses['proxy']}" in shown and "NO_PROXY=localhost,127.0.0.1" in shown
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        assert f"{name}={lab.directory}/ca.pem" in shown
    assert f"LAB_US1_OWNER_CLIENT_SECRET={logins(lab, 'us1')['owner']['client_secret']}" in shown
    assert lab.run("sh", "-c", "exit 7").returncode == 7
    assert lab.run("no-such-program").returncode == 127
    assert lab.run("pwd").stdout.strip() == os.getcwd()


def test_inventory_resolves_the_secrets(lab: Lab) -> None:
    shown = lab.run("ansible", "us1", "-m", "ansible.builtin.debug", "-a", "var=bitwarden_organizations")
    login = logins(lab, "us1")
    assert shown.returncode == 0, shown.stderr
    for value in (login["owner"]["client_secret"], login["cloud_owner"]["master_password"]):
        assert value in shown.stdout


def test_faults_are_set_listed_and_cleared(lab: Lab) -> None:
    lab.fault("cloud_status", status=502, count=1, server="us1")
    (entry,) = [json.loads(line) for line in lab.call("fault", "list").stdout.splitlines()]
    assert entry == {"name": "cloud_status", "options": {"status": "502", "server": "us1"}, "count_left": 1}
    lab.clear()
    assert lab.call("fault", "list").stdout == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["set", "no_such"], "There are: "),
        (["set", "cloud_status", "speed=3"], "no option"),
        (["set"], "which fault"),
    ],
)
def test_nonsense_faults_are_refused(lab: Lab, words: list[str], text: str) -> None:
    done = lab.call("fault", *words, check=False)
    assert done.returncode == 2 and text in done.stderr
    assert lab.call("fault", "list").stdout == ""


def test_down_ends_everything_and_up_goes_on(tmp_path: Path) -> None:
    with started(tmp_path / "lab", "--servers", "1") as lab:
        pid, answer = _pid(lab), lab.addresses
        login = logins(lab, "us1")["owner"]
        lab.down()
        assert not _commands(pid)
        assert not (lab.directory / "lab.pid").exists()
        lab.down()
        assert lab.call("up", "--servers", "2", check=False).returncode == 2
        assert json.loads(lab.call("up", "--servers", "1").stdout) == answer
        assert _pid(lab) != pid
        assert server(lab, "us1").api_key_token("/identity/connect/token", login).status_code == 200
