"""site.yml against the lab, as a user runs it: predicted, done, done again, interrupted, refused."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from labkit import SITE, Lab, Play

CHANGES = [
    "Get the billing sync token",
    "Merge the region's keys into the env file",
    "Restart the stack if the containers do not have what the files say",
    "Apply the billing sync token",
    "Sync the license",
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two servers, US and EU, fresh; the tests of this file run in order on it."""
    lab = Lab(tmp_path_factory.mktemp("site"), "--servers", "2", "--regions", "US,EU")
    yield lab
    lab.down()


def test_check_mode_names_the_changes_and_makes_none(lab: Lab) -> None:
    before, log = lab.state(), lab.last()
    files = {host: lab.env_file(host).read_bytes() for host in before["servers"]}
    play = lab.site("--check", "--diff")
    assert play.changed() == {"us1": CHANGES, "eu1": CHANGES}
    after = lab.state()
    for cloud in (*before["clouds"].values(), *after["clouds"].values()):
        cloud.pop("requests")
        cloud.pop("token_requests")
    assert after == before
    assert {host: lab.env_file(host).read_bytes() for host in after["servers"]} == files
    writes = [entry for entry in lab.log(log) if entry["method"] != "GET" and "/connect/token" not in entry["path"]]
    assert writes == []


def test_first_run_does_all_four_steps_with_one_restart_each(lab: Lab) -> None:
    play = lab.site()
    assert play.changed() == {"us1": CHANGES, "eu1": CHANGES}
    for name, server in lab.state()["servers"].items():
        assert (server["stack"], server["restarts"]) == ("up", 1), name
        connection = server["organizations"][0]["connection"]
        assert connection["enabled"] and connection["key_is_current"] and connection["last_license_sync"], name
        assert server["container_env"]["globalSettings__enableCloudCommunication"] == "true"
        assert server["container_env"]["globalSettings__baseServiceUri__cloudRegion"] == server["region"]
    environment = lab.state()["servers"]["eu1"]["container_env"]
    assert environment["globalSettings__installation__identityUri"] == "https://identity.bitwarden.eu"
    assert environment["globalSettings__installation__apiUri"] == "https://api.bitwarden.eu"
    assert environment["globalSettings__pushRelayBaseUri"] == "https://push.bitwarden.eu"


def test_second_run_changes_nothing_and_asks_the_cloud_nothing(lab: Lab) -> None:
    before, log = lab.state(), lab.last()
    play = lab.site()
    assert play.changed() == {}
    assert {host: recap["changed"] for host, recap in play.recap.items()} == {"us1": 0, "eu1": 0}
    after = lab.state()
    assert after == before
    asked = [entry["persona"] for entry in lab.log(log)]
    assert not [persona for persona in asked if persona.startswith("cloud:")]
    for host in ("us1", "eu1"):
        assert asked.count(f"server:{host}") <= 5


def test_the_cloud_is_asked_on_demand(lab: Lab) -> None:
    log = lab.last()
    assert lab.site("-e", "billing_sync_verify=true").changed() == {}
    asked = {entry["persona"] for entry in lab.log(log)}
    assert {"cloud:US", "cloud:EU"} <= asked


def test_a_server_is_also_found_by_the_addresses_of_api_and_identity(lab: Lab) -> None:
    url = lab.addresses["servers"]["us1"]["url"]
    apart = (f"billing_sync_api_url={url}/api", f"billing_sync_identity_url={url}/identity")
    nowhere = "billing_sync_url=https://localhost:1"
    log = lab.last()
    play = lab.site("--limit", "us1", "-e", apart[0], "-e", apart[1], "-e", nowhere)
    assert play.changed() == {}
    assert "GET" in {entry["method"] for entry in lab.log(log) if entry["path"] == "/api/accounts/profile"}


def test_a_file_that_setup_rewrote_is_left_alone(lab: Lab) -> None:
    script = lab.bwdata("us1").parent / "bitwarden.sh"
    for command in ("rebuild", "start"):
        python = lab.directory / "hosts" / "us1" / "bin" / "python"
        code = f"import subprocess; subprocess.run(['{script}', '{command}'], input='y\\n', text=True, check=True)"
        subprocess.run([python, "-c", code], check=True, capture_output=True)
    text = lab.env_file("us1").read_bytes()
    assert lab.site().changed() == {}
    assert lab.env_file("us1").read_bytes() == text


def test_a_stack_that_is_down_is_brought_up(lab: Lab) -> None:
    python = lab.directory / "hosts" / "eu1" / "bin" / "python"
    script = lab.bwdata("eu1").parent / "bitwarden.sh"
    code = f"import subprocess; subprocess.run(['{script}', 'stop'], input='y\\n', text=True, check=True)"
    subprocess.run([python, "-c", code], check=True, capture_output=True)
    assert lab.state()["servers"]["eu1"]["stack"] == "down"
    lab.site("--limit", "eu1")
    assert lab.state()["servers"]["eu1"]["stack"] == "up"


def change_connection(lab: Lab, host: str, statement: str) -> None:
    """Change the stored connection behind the server's back."""
    with closing(sqlite3.connect(lab.directory / "state" / f"server-{host}.sqlite", timeout=10)) as database:
        database.execute(statement)
        database.commit()


def test_what_was_undone_by_hand_is_done_again(lab: Lab) -> None:
    change_connection(lab, "us1", "UPDATE OrganizationConnection SET Enabled = 0")
    without_key = "UPDATE OrganizationConnection SET Config = json_set(Config, '$.BillingSyncKey', '')"
    change_connection(lab, "eu1", without_key)
    restarts = {name: server["restarts"] for name, server in lab.state()["servers"].items()}
    subprocess.run([lab.directory / "hosts" / "us1" / "bin" / "docker", "stop", "bitwarden-icons"], check=True)
    play = lab.site()
    assert play.changed() == {"us1": CHANGES[2:], "eu1": CHANGES[3:]}
    state = lab.state()["servers"]
    for host, more in (("us1", 1), ("eu1", 0)):
        connection = state[host]["organizations"][0]["connection"]
        assert connection["enabled"] and connection["key_is_current"]
        assert (state[host]["stack"], state[host]["restarts"]) == ("up", restarts[host] + more)
    assert lab.site().changed() == {}


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Lab]:
    """A lab of its own."""
    lab = Lab(tmp_path / "lab", "--servers", "2", "--regions", "US,EU")
    yield lab
    lab.down()


def test_killed_between_write_and_restart_is_healed_by_the_next_run(fresh: Lab) -> None:
    untouched = fresh.env_file("us1").read_text()
    fresh.fault("killed_between_write_and_restart", server="us1", count=1)
    killed = fresh.site("--limit", "us1", ok=False)
    server = fresh.state()["servers"]["us1"]
    assert (killed.status, killed.recap) == (137, {})
    assert (server["restarts"], server["stack"]) == (0, "up")
    assert server["container_env"].get("globalSettings__enableCloudCommunication") is None
    assert fresh.env_file("us1").read_text() == untouched + "globalSettings__enableCloudCommunication=true\n"

    healed = fresh.site("--limit", "us1")
    assert CHANGES[1] not in healed.changed()["us1"]
    server = fresh.state()["servers"]["us1"]
    assert server["restarts"] == 1
    assert server["organizations"][0]["connection"]["key_is_current"]
    assert fresh.site("--limit", "us1").changed() == {}


def test_no_secret_in_output_files_or_process_list(fresh: Lab) -> None:
    stop = threading.Event()
    seen: set[bytes] = set()

    def watch() -> None:
        while not stop.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue

    known = set(fresh.secrets())
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        check = fresh.site("--check", "-vvvv", "--diff")
        first = fresh.site("-vvvv", "--diff")
        second = fresh.site("-vvvv", "--diff")
    finally:
        stop.set()
        watcher.join()
    secrets = known | set(fresh.secrets())
    assert len(secrets) >= 20
    for play in (check, first, second):
        assert not [secret for secret in secrets if secret in play.output]
    assert any(b"ansible-playbook" in line for line in seen)
    assert not [secret for secret in secrets for line in seen if secret.encode() in line]
    # What the run leaves behind on the controller: Ansible's own folder and the lock files.
    left = [path for path in (fresh.directory / "ansible").rglob("*") if path.is_file()]
    assert left
    assert not [path for path in left for secret in secrets if secret.encode() in path.read_bytes()]


def test_one_cloud_organization_on_several_servers_is_asked_once(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab", "--servers", "4", "--regions", "US", "--one-organization")
    try:
        lab.site("--forks", "4")
        posts = [entry for entry in lab.log() if entry["method"] == "POST" and entry["path"].endswith("/api-key")]
        assert len(posts) == 1
        (organization,) = [o for o in lab.state()["clouds"]["US"]["organizations"] if o["billing_sync_key_created"]]
        assert organization["rotations"] == 0
        for server in lab.state()["servers"].values():
            assert server["organizations"][0]["connection"]["key_is_current"]
        assert lab.site().changed() == {}
    finally:
        lab.down()


def test_hosts_that_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """The first of the inventory is restarted first, also where it is the last that the checks are done with."""
    lab = Lab(tmp_path / "lab", "--servers", "3", "--regions", "US", "--one-organization")
    try:
        lab.fault("docker_hangs", server="us1", seconds=4, count=1)
        play = Play(lab.run("env", "ANSIBLE_STRATEGY=free", "ansible-playbook", str(SITE), "--forks", "2"))
        assert play.status == 0, play.output
        assert {host: recap["rescued"] for host, recap in play.recap.items()} == {"us1": 0, "us2": 0, "us3": 0}
        batches = play.output.split("PLAY [Let the servers talk to the cloud]")[1:]
        assert set(re.findall(r"^\w+: \[(us\d)", batches[0], re.MULTILINE)) == {"us1"}
        for server in lab.state()["servers"].values():
            assert (server["restarts"], server["organizations"][0]["connection"]["key_is_current"]) == (1, True)
    finally:
        lab.down()
