# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The official command line client works with the lab's clouds and servers, as it does with the real ones."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_client import logins
from labkit import ROOT, Lab, started

FOLDER = ROOT / ".cache" / "bw"
CLOUDS = {"US": "https://vault.bitwarden.com", "EU": "https://vault.bitwarden.eu"}
PROGRAM = FOLDER / "node_modules" / ".bin" / "bw"


@pytest.fixture(scope="session")
def client() -> Path:
    """Installed once; it needs node and npm."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.fail("The official client needs node and npm; install Debian's packages nodejs and npm.")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not PROGRAM.exists():
            shutil.copyfile(ROOT / "tests" / "lab" / "bw" / "package.json", FOLDER / "package.json")
            command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel", "error"]
            subprocess.run(command, cwd=FOLDER, check=True, stdout=subprocess.DEVNULL)
    return PROGRAM


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with started(tmp_path_factory.mktemp("bw") / "lab", "--servers", "2", "--regions", "US,EU") as running:
        yield running


class Bw:
    """The client with a data folder of its own, against one address."""

    def __init__(self, lab: Lab, program: Path, folder: Path) -> None:
        self.lab = lab
        self.program = program
        self.folder = folder
        folder.mkdir()

    def __call__(self, *words: str, **environment: str) -> str:
        pairs = [f"{key}={value}" for key, value in environment.items()]
        done = self.lab.run(
            "env", f"BITWARDENCLI_APPDATA_DIR={self.folder}", "BW_NOINTERACTION=true", *pairs, str(self.program), *words
        )
        assert done.returncode == 0, f"bw {words[0]}: {done.stdout} {done.stderr}"
        return done.stdout.strip()


@pytest.mark.parametrize("where", ["cloud US", "cloud EU", "us1", "eu1"])
def test_login_unlock_and_sync(lab: Lab, client: Path, tmp_path: Path, where: str) -> None:
    """PBKDF2 in the US, Argon2id in the EU; with password, then with API key and password."""
    name = where if where in lab.addresses["servers"] else f"{where[-2:].lower()}1"
    is_cloud = where.startswith("cloud")
    login = logins(lab, name)["cloud_owner" if is_cloud else "owner"]
    url = CLOUDS[where[-2:]] if is_cloud else lab.addresses["servers"][name]["url"]
    bw = Bw(lab, client, tmp_path / "data")
    bw("config", "server", url)
    session = bw("login", login["email"], "--passwordenv", "PASSWORD", "--raw", PASSWORD=login["master_password"])
    assert bw("sync", "--session", session) == "Syncing complete."
    (organization,) = json.loads(bw("list", "organizations", "--session", session))
    assert organization["name"] == f"Acme {name}"
    bw("logout")
    bw("login", "--apikey", BW_CLIENTID=login["client_id"], BW_CLIENTSECRET=login["client_secret"])
    session = bw("unlock", "--passwordenv", "PASSWORD", "--raw", PASSWORD=login["master_password"])
    assert bw("sync", "--session", session) == "Syncing complete."
    assert json.loads(bw("status", "--session", session))["status"] == "unlocked"
