# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A managed host is what a server of a company is: systemd, sshd, an engine of its own, the real compose."""

from __future__ import annotations

import json
import re

import pytest
from machines import Machines, left

pytestmark = pytest.mark.docker


def test_programs_are_real(machines: Machines) -> None:
    """Python 3.9 for the modules, an old engine, a new compose."""
    assert machines.on("/usr/bin/python3 -V").startswith("Python 3.9.")
    assert re.match(r"Docker version 20\.10\.", machines.on("docker --version"))
    assert re.search(r"v5\.\d+", machines.on("docker compose version"))
    assert machines.on("systemctl is-system-running") == "running"
    assert machines.on("id -un; sudo -n id -un") == "bitwarden\nroot"


def test_installation_is_laid_out_as_documented(machines: Machines) -> None:
    assert machines.on("stat -c '%U %a' /opt/bitwarden /opt/bitwarden/bitwarden.sh") == "bitwarden 700\nbitwarden 700"
    assert machines.on("stat -c '%U %a' /opt/bitwarden/bwdata/env/global.override.env") == "bitwarden 600"
    assert machines.on("cat /opt/bitwarden/bwdata/env/uid.env") == "LOCAL_UID=1500\nLOCAL_GID=1500"


def test_every_container_runs_an_image_of_the_labs_registry(machines: Machines) -> None:
    rows = [json.loads(line) for line in machines.on("docker ps --format '{{json .}}'").splitlines()]
    assert {row["Names"] for row in rows} >= {f"bitwarden-{name}" for name in ("api", "identity", "nginx", "mssql")}
    assert all(row["Image"].startswith("ghcr.io/bitwarden/") for row in rows)


def test_front_door_is_the_same_from_both_sides(machines: Machines) -> None:
    seen = machines.on(f"curl --silent --fail {machines.url}/api/config")
    assert json.loads(seen)["environment"]["vault"] == machines.url
    done = machines.run("curl", "--silent", "--fail", f"{machines.url}/api/config")
    assert json.loads(done.stdout)["version"] == json.loads(seen)["version"]


def test_only_the_labs_names_exist(machines: Machines) -> None:
    assert machines.ssh("getent hosts api.bitwarden.com").returncode == 0
    assert machines.ssh("getent hosts example.com").returncode != 0
    assert machines.on("curl --silent --fail https://selfhost.bitwarden.com/version.json").startswith("{")


def test_scripts_come_from_where_the_real_ones_do(machines: Machines) -> None:
    """updateself is bitwarden.sh's own download."""
    machines.call("release", "2026.8.0")
    try:
        assert "Updated self." in machines.on(
            "cp -a /opt/bitwarden/bitwarden.sh /tmp/ && cd /tmp && ./bitwarden.sh updateself"
        )
        assert 'COREVERSION="2026.8.0"' in machines.on("cat /tmp/bitwarden.sh")
    finally:
        machines.call("release", "2026.7.2")


def test_an_image_can_be_asked_for_without_being_pulled(machines: Machines) -> None:
    shown = json.loads(machines.on("docker manifest inspect ghcr.io/bitwarden/api:2026.7.2"))
    assert shown["schemaVersion"] == 2
    assert machines.ssh("docker manifest inspect ghcr.io/bitwarden/api:nonsense").returncode != 0


def test_unknown_faults_are_refused(machines: Machines) -> None:
    done = machines.call("fault", "set", "disk_full", check=False)
    assert done.returncode == 2
    assert "real Docker engine" in done.stderr


def test_a_reboot_brings_the_stack_back(machines: Machines) -> None:
    """Power off and on: systemd, engine and containers come up by themselves, and count as a restart."""
    before = machines.server()["restarts"]
    assert machines.outer("restart", "--time", "30", "us1").returncode == 0
    machines.wait_until_up()
    assert machines.server()["restarts"] > before
    assert machines.server()["downtime_s"] > 0


def test_down_leaves_nothing_and_up_goes_on(machines: Machines) -> None:
    before = machines.server()
    machines.down()
    assert left(machines.directory) == []
    machines.up_again()
    after = machines.server()
    assert (after["stack"], after["restarts"]) == ("up", before["restarts"])
    assert after["organizations"] == before["organizations"]


def test_down_cleans_up_after_a_killed_engine(machines: Machines) -> None:
    """As after a crash of everything that the lab had started."""
    for name in ("docker/dockerd.pid", "docker/dnsmasq.pid", "lab.pid"):
        pid = (machines.directory / name).read_text().strip()
        assert machines.run("kill", "-9", pid).returncode == 0
    machines.down()
    assert left(machines.directory) == []
    machines.up_again()
    assert machines.server()["stack"] == "up"
