"""site.yml on servers without bitwarden.sh: plain compose, Lite by compose, Lite by docker run."""

from __future__ import annotations

from pathlib import Path

import pytest
from labkit import Lab


@pytest.mark.parametrize("deployment", ["manual", "lite", "lite-run"])
def test_predicted_done_and_done_again(deployment: str, tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab", "--servers", "1", "--regions", "EU", "--deployment", deployment)
    try:
        check = lab.site("--check")
        assert lab.state()["servers"]["eu1"]["restarts"] == 0
        first = lab.site("--diff", "-vvvv")
        assert check.changed() == first.changed()
        assert len(first.changed()["eu1"]) == 5
        server = lab.state()["servers"]["eu1"]
        assert (server["stack"], server["restarts"]) == ("up", 1)
        assert server["container_env"]["globalSettings__installation__apiUri"] == "https://api.bitwarden.eu"
        assert server["organizations"][0]["connection"]["key_is_current"]
        assert not [secret for secret in lab.secrets() if secret in first.output]
        assert lab.site().changed() == {}
        assert lab.state()["servers"]["eu1"]["restarts"] == 1
    finally:
        lab.down()
