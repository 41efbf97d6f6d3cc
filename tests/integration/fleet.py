"""Many servers and their clouds in one lab, allowed to talk to each other without a restart of each."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from bwlab.labdb import LabDb
from labkit import Lab, Play

# Only the role: what it costs is the question here, not what a restart costs.
PLAYBOOK = """
- hosts: bitwarden
  gather_facts: false
  strategy: "{{ strategy | default('linear') }}"
  serial: "{{ serial | default('100%') }}"
  tasks:
    - name: Connect the organizations
      ansible.builtin.import_role:
        name: selfhosted.bitwarden.billing_sync
"""
SETTINGS = {
    "globalSettings__enableCloudCommunication": "true",
    "globalSettings__installation__identityUri": "https://identity.bitwarden.com",
    "globalSettings__installation__apiUri": "https://api.bitwarden.com",
}


class Fleet:
    """Servers in the US, each with an organization of its own or all with one."""

    def __init__(self, directory: Path, servers: int, *, one_organization: bool) -> None:
        options = ["--servers", str(servers), "--regions", "US"]
        self.lab = Lab(directory / "lab", *options, *["--one-organization"] * one_organization)
        self.playbook = directory / "play.yml"
        self.playbook.write_text(PLAYBOOK)
        with closing(LabDb(directory / "lab" / "lab.sqlite")) as db:
            for host in self.lab.addresses["servers"]:
                for row in db.containers(host):
                    db.put_container(host, {**row, "env": {**row["env"], **SETTINGS}})

    def run(self, *options: str) -> Play:
        play = Play(self.lab.run("ansible-playbook", str(self.playbook), *options))
        assert play.status == 0, play.output[-5000:]
        return play

    def asked(self, after: int) -> list[tuple[str, dict[str, Any]]]:
        """What personas were asked: method and path without ids."""
        found = []
        for entry in self.lab.log(after):
            path = re.sub("[0-9a-f-]{36}", "ID", entry["path"].lower())
            found.append((f"{entry['method']} {path}", entry))
        return found

    def at_cloud(self, after: int) -> list[str]:
        """What the collection asked the cloud; its servers ask it too when they fetch a license."""
        calls = [(call, entry) for call, entry in self.asked(after) if entry["persona"] == "cloud:US"]
        return [call for call, entry in calls if not entry["actor"].startswith("server:")]

    def at_servers(self, after: int) -> Counter[str]:
        return Counter(entry["persona"] for _call, entry in self.asked(after) if entry["persona"] != "cloud:US")

    def key_rows(self) -> list[int]:
        """How many billing sync keys each organization has."""
        with closing(sqlite3.connect(self.lab.directory / "state" / "cloud-US.sqlite")) as database:
            statement = "SELECT COUNT(*) FROM OrganizationApiKey WHERE Type = 1 GROUP BY OrganizationId"
            return [count for (count,) in database.execute(statement)]

    def connected(self) -> int:
        """Servers whose connection is enabled, holds the cloud's key and was synced."""
        connections = [one["organizations"][0]["connection"] for one in self.lab.state()["servers"].values()]
        good = ("enabled", "key_is_current", "last_license_sync")
        return len([one for one in connections if one and all(one[name] for name in good)])
