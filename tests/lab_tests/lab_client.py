# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A running lab, and a plain client for its addresses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from bwlab.crypto import Kdf, master_key, master_password_hash
from bwlab.labdb import LabDb
from labkit import Lab

VERSION = {"Bitwarden-Client-Version": "2026.7.0"}
DEVICE = {"deviceType": "8", "deviceIdentifier": "0f1e2d3c-0000-4000-8000-000000000001", "deviceName": "test"}


class Client:
    """One address, the lab's certificate authority, nothing of the caller's environment."""

    def __init__(self, lab: Lab, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(lab.directory / "ca.pem")

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=20, **more)

    def post(self, path: str, **more: Any) -> requests.Response:
        return self.session.post(self.url + path, timeout=20, **more)

    def token(self, path: str, **form: str) -> requests.Response:
        return self.post(path, data={**DEVICE, **form}, headers=VERSION)

    def api_key_token(self, path: str, login: dict[str, str]) -> requests.Response:
        return self.token(
            path,
            grant_type="client_credentials",
            scope="api",
            client_id=login["client_id"],
            client_secret=login["client_secret"],
        )


def cloud(lab: Lab, region: str, service: str) -> Client:
    return Client(lab, lab.addresses["clouds"][region][service])


def server(lab: Lab, name: str) -> Client:
    return Client(lab, lab.addresses["servers"][name]["url"])


def logins(lab: Lab, name: str) -> dict[str, dict[str, str]]:
    """owner (of the server) and cloud_owner."""
    found: dict[str, dict[str, str]] = json.loads((lab.directory / "secrets.json").read_text(encoding="utf-8"))[name]
    return found


def bearer(answer: requests.Response) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@contextmanager
def database(lab: Lab) -> Iterator[LabDb]:
    found = LabDb(lab.directory / "lab.sqlite")
    try:
        yield found
    finally:
        found.close()


def hash_from_prelogin(answer: dict[str, Any], email: str, password: str) -> str:
    """What a client computes from the server's prelogin answer."""
    kdf = Kdf(answer["kdf"], answer["kdfIterations"], answer["kdfMemory"], answer["kdfParallelism"])
    return master_password_hash(master_key(password, answer["salt"] or email, kdf), password)
