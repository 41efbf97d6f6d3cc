"""A server of a lab with members besides its owner, its sponsorships, and the daily job that syncs them."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bwlab.crypto import KeyPair
from bwlab.world import CONFIRMED, Deployment, Person
from integration.test_api_modules import environment
from labkit import ROOT, Lab, Play
from unit.module_runner import Result, run_module

FAMILIES = ROOT / "playbooks" / "families.yml"
USER = 2


@dataclass
class Server:
    """The server us1 of a lab, with members besides its owner."""

    lab: Lab
    organization: str
    owner: dict[str, str]
    accounts: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, lab: Lab) -> Server:
        """The server of that lab."""
        us1 = json.loads((lab.directory / "secrets.json").read_text())["us1"]
        return cls(lab, us1["organization"], {key: us1["owner"][key] for key in ("client_id", "client_secret")})

    @property
    def store(self) -> Path:
        return self.lab.directory / "state" / "server-us1.sqlite"

    def join(self, *names: str, member: bool = True) -> None:
        """Make accounts, members of the organization or not."""
        made = Deployment(self.store, datetime.now(timezone.utc))
        store = made.store
        (organization,) = store.rows("Organization")
        (owner,) = [row for row in store.rows("OrganizationUser") if row["Type"] == 0]
        for name in names:
            row = made.user(Person.create(name, f"{name}@acme.example", "US", KeyPair()))
            self.accounts[name] = {"client_id": f"user.{row['Id'].lower()}", "client_secret": row["ApiKey"]}
            if member:
                columns = {key: owner[key] for key in ("AccessSecretsManager", "CreationDate", "RevisionDate", "Key")}
                columns |= {"OrganizationId": organization["Id"], "UserId": row["Id"]}
                store.insert("OrganizationUser", {**columns, "Status": CONFIRMED, "Type": USER})
        made.close()

    def families(self, *sponsorships: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
        given = {"organization": self.organization, "owner": self.owner, "sponsorships": list(sponsorships)}
        return [{**given, **options}]

    def play(self, families: list[dict[str, Any]], *arguments: str, **variables: Any) -> Play:
        path = self.lab.directory / "families.json"
        path.write_text(json.dumps({"bitwarden_families": families, **variables}))
        return Play(self.lab.run("ansible-playbook", str(FAMILIES), "--limit", "us1", "-e", f"@{path}", *arguments))

    def rows(self, statement: str = "SELECT FriendlyName FROM OrganizationSponsorship ORDER BY 1") -> list[Any]:
        with closing(sqlite3.connect(self.store, timeout=30)) as database:
            try:
                return [row[0] for row in database.execute(statement)]
            except sqlite3.OperationalError as error:
                # A table comes with its first row.
                if "no such table" in str(error):
                    return []
                raise

    def change(self, statement: str, *values: str) -> None:
        with closing(sqlite3.connect(self.store, timeout=30)) as database:
            database.execute(statement, values)
            database.commit()

    def sync(self) -> None:
        """What the server does once a day, now; it has to have rolled the hour before."""
        deadline = time.monotonic() + 60
        due = "SELECT Next FROM LabJob WHERE Name = 'SelfHostedSponsorshipSyncJob'"
        while not self.rows(due):
            assert time.monotonic() < deadline, "the server has no sponsorship job"
            time.sleep(0.2)
        # A moment ago and no earlier: what is a day late runs twice.
        now = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S}"
        self.change("UPDATE LabJob SET Next = ? WHERE Name = 'SelfHostedSponsorshipSyncJob'", now)
        while self.rows(due)[0] == now:
            assert time.monotonic() < deadline, "the server's sponsorship job did not run"
            time.sleep(0.2)

    def module(self, name: str, *, person: str = "owner", **options: Any) -> Result:
        """Run a module at the server as the owner or another account, or at the cloud where a region is given."""
        account = self.accounts.get(person, self.owner)
        runner = {key: options.pop(key) for key in ("check", "diff") if key in options}
        address = {} if "region" in options else {"url": self.lab.addresses["servers"]["us1"]["url"]}
        given = {**address, **account, "organization": self.organization, "retries": 0, **options}
        return run_module(name, given, env=environment(self.lab), **runner)
