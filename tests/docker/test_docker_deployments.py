# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The other kinds of deployment on a machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from machines import Machines, left

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("deployment", ["manual", "lite", "lite-run"])
def test_it_is_up_and_connected_by_the_playbook(deployment: str) -> None:
    with tempfile.TemporaryDirectory(prefix="bwl-", dir="/tmp") as name:
        machines = Machines(Path(name) / "lab", "--servers", "1", "--regions", "US", "--deployment", deployment)
        try:
            assert machines.server()["stack"] == "up"
            assert machines.ssh("test -e /opt/bitwarden/bitwarden.sh").returncode != 0
            machines.site()
            assert machines.server()["organizations"][0]["connection"]["key_is_current"]
            assert machines.site().recap["us1"]["changed"] == 0
        finally:
            machines.down()
        assert left(machines.directory) == []
