# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole playbook over ssh on a machine, and what goes wrong with the registry in between."""

from __future__ import annotations

import pytest
from labkit import SITE, Play
from machines import Machines

pytestmark = pytest.mark.docker
KEY = "globalSettings__enableCloudCommunication"
ENV_FILE = "/opt/bitwarden/bwdata/env/global.override.env"
RESTART = "/opt/bitwarden/bitwarden.sh restart"


def test_check_first_and_second_run(machines: Machines) -> None:
    before = machines.env_file("us1").read_bytes()
    assert machines.site("--check").changed()
    assert machines.env_file("us1").read_bytes() == before
    assert machines.server()["restarts"] == 0

    machines.site()
    server = machines.server()
    assert (server["stack"], server["restarts"]) == ("up", 1)
    assert server["container_env"][KEY] == "true"
    connection = server["organizations"][0]["connection"]
    assert connection["key_is_current"]
    assert connection["last_license_sync"]

    assert machines.site().recap["us1"]["changed"] == 0
    assert machines.server()["restarts"] == 1


@pytest.mark.parametrize("become", [True, False], ids=["become", "owner"])
@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "files"])
def test_nothing_to_do_is_nothing_done(machines: Machines, become: bool, pipelining: bool) -> None:
    """As root and as the owner, with modules on the wire and in files."""
    options = ["--become"] if become else []
    setting = f"ANSIBLE_SSH_PIPELINING={pipelining}"
    play = Play(machines.run("env", setting, "ansible-playbook", str(SITE), *options))
    assert play.status == 0, play.output
    assert play.recap["us1"]["changed"] == 0
    assert machines.server()["restarts"] == 1


def test_no_secret_is_shown(machines: Machines) -> None:
    """Also where the play changes a file and restarts."""
    machines.on(f"sed -i 's/^{KEY}=.*/{KEY}=false/' {ENV_FILE}")
    play = machines.site("-vvvv", "--diff")
    assert play.recap["us1"]["changed"] > 0
    assert [secret for secret in machines.secrets() if secret in play.output] == []


def test_requests_are_logged_once_and_with_their_persona(machines: Machines) -> None:
    after = machines.last()
    machines.run("curl", "--silent", f"{machines.url}/api/alive")
    seen = [(entry["persona"], entry["service"], entry["path"]) for entry in machines.log(after)]
    assert seen == [("server:us1", "api", "/api/alive")]


def test_a_registry_that_is_down_stops_a_pull(machines: Machines) -> None:
    machines.fault("registry_down", server="us1")
    assert machines.ssh("docker pull ghcr.io/bitwarden/api:2026.7.2").returncode != 0
    machines.clear()
    assert machines.ssh("docker pull ghcr.io/bitwarden/api:2026.7.2").returncode == 0


def test_a_registry_that_fails_after_the_stop_leaves_a_plain_restart_down(machines: Machines) -> None:
    """The trap that the collection is for: the script stops, then cannot pull."""
    machines.fault("registry_down_after_stop", server="us1")
    assert machines.ssh("docker pull ghcr.io/bitwarden/api:2026.7.2").returncode == 0
    done = machines.ssh(RESTART)
    assert done.returncode != 0
    assert machines.server()["stack"] == "down"
    machines.clear()
    machines.on(RESTART)
    machines.wait_until_up()


def test_a_missing_setup_image_fails_after_the_start(machines: Machines) -> None:
    machines.fault("setup_image_missing")
    assert machines.ssh(RESTART).returncode != 0
    machines.wait_until_up()


def test_a_slow_registry_takes_its_seconds_once_for_an_image(machines: Machines) -> None:
    machines.fault("registry_slow", seconds=3)
    took = float(machines.on("s=$(date +%s.%N); docker pull -q ghcr.io/bitwarden/api:2026.7.1 >/dev/null; "
                             "python3 -c \"import time; print(time.time() - $s)\""))  # fmt: skip
    assert 3 <= took < 20


def test_up_fails_where_the_front_door_cannot_start(machines: Machines) -> None:
    machines.fault("compose_up_fails", count=1)
    done = machines.ssh(RESTART)
    assert done.returncode != 0
    assert machines.server()["stack"] == "partial"
    machines.on(RESTART)
    machines.wait_until_up()


def test_the_clock_of_a_server_can_be_set(machines: Machines) -> None:
    machines.call("clock", "us1", "86400")
    try:
        before = machines.on("date -u -d tomorrow +%F").strip()
        told = machines.run("curl", "--silent", "--fail", f"{machines.url}/api/alive").stdout
        after = machines.on("date -u -d tomorrow +%F").strip()
        assert before in told or after in told
    finally:
        machines.call("clock", "us1", "0")
