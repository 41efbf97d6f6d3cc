"""One server, its cloud and everything that they keep: broken, looked at, and put back."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bwlab import secret_values
from bwlab.crypto import Kdf, master_key, master_password_hash
from bwlab.labdb import LabDb
from bwlab.layout import Layout
from bwlab.lifecycle import environment
from bwlab.secret_values import Secrets
from bwlab.store import Row, Store
from integration.test_api_modules import allow_cloud
from labkit import ROOT, SITE, Lab, Play
from unit.module_runner import Result, run_module

CLOUD, SERVER, OTHER_CLOUD = "cloud", "server", "other cloud"
FILES = {CLOUD: "cloud-US", SERVER: "server-us1", OTHER_CLOUD: "cloud-EU"}
BILLING_SYNC = 1
# How a run starts: with nothing, with a token at the cloud, with a connection that was never synced.
FRESH, KEYED, CONNECTED = "fresh", "keyed", "connected"
# As the installer has left the server, whose containers may not call the cloud.
UNTOUCHED = "untouched"
# The name of the second organization that a case may bring along, on both sides.
SECOND = "Acme Two"
PLAYBOOK = "site.yml"
# The subscription at the cloud has changed since the license on the server was made.
CHANGED = "changed"
NEW_SEATS = 60
FAMILY = {"email": "family@home.example", "friendly_name": "Family One", "admin_initiated": True}
# Moved by logins and by the lab itself, and nothing that a module is responsible for.
PASSING = {"LabMail", "LabLog", "LabSigningKey", "LabGrant", "Device", "LabJob", "OrganizationInstallation"}
PASSING_COLUMNS = {"LastActivityDate", "AccountRevisionDate", "RevisionDate"}

Tables = dict[str, list[Row]]


@dataclass(frozen=True)
class Kept:
    """Everything that a case may change."""

    tables: dict[str, Tables]
    containers: list[Row]
    licenses: dict[str, bytes]
    env_file: bytes


class Site:
    """The server us1 and the cloud US, and the EU's cloud beside them."""

    def __init__(self, directory: Path) -> None:
        self.lab = Lab(directory, "--servers", "2", "--regions", "US,EU", delay=0.02)
        self.db = LabDb(directory / "lab.sqlite")
        self.layout = Layout.read(directory)
        self.stores = {name: Store(directory / "state" / f"{file}.sqlite") for name, file in FILES.items()}
        self.secrets = Secrets.read(directory).servers
        self.environment = environment(directory, ROOT)
        self.organization = self.stores[SERVER].rows("Organization")[0]
        self.cloud_organization = self.stores[CLOUD].rows("Organization")[0]
        self._starts: dict[str, Kept] = {}

    def close(self) -> None:
        """End everything."""
        for store in self.stores.values():
            store.close()
        self.db.close()
        self.lab.down()

    @property
    def url(self) -> str:
        """The server's front door."""
        return self.layout.url("us1")

    @property
    def license_file(self) -> Path:
        """Of the one organization."""
        return self.layout.licenses("us1") / "organization" / f"{self.organization['Id'].lower()}.json"

    # Modules.

    def run(self, module: str, options: dict[str, Any], env: dict[str, str | None] | None = None, **how: Any) -> Result:
        """A module as the owner would run it; an option that is None is left out."""
        given = {name: value for name, value in {**self._options(module), **options}.items() if value is not None}
        # As with the cloud's own count: what other cases have asked for is not this one's affair.
        for logins in (Path(self.environment["ANSIBLE_HOME"]) / "selfhosted.bitwarden").glob("logins-*"):
            logins.unlink()
        return run_module(module, given, env={**self.environment, **(env or {})}, **how)

    def _options(self, module: str) -> dict[str, Any]:
        entry = self.secrets["us1"]
        impatient = {"retries": 0, "rate_limit_wait": 0}
        if module == "installation_info":
            return {**impatient, "region": "US", "installation_id": self.layout.servers[0].installation_id}
        if module == "billing_sync_token":
            login = {key: entry["cloud_owner"][key] for key in ("client_id", "client_secret", "master_password")}
            return {**impatient, **login, "region": "US", "organization": entry["cloud_organization"]}
        login = {key: entry["owner"][key] for key in ("client_id", "client_secret")}
        options = {**impatient, **login, "url": self.url, "organization": entry["organization"]}
        if module == "billing_sync":
            options["billing_sync_token"] = self.key()
        elif module == "organization_info":
            options["connection"] = True
        elif module == "license_sync":
            options |= self.evidence()
        elif module == "license":
            evidence = self.evidence()
            options |= {"max_age": 0, **{key: evidence[key] for key in ("installation_id", "cloud")}}
        elif module == "sponsorship":
            options |= {"sponsorships": [FAMILY], "sponsorship_sync": True}
        elif module == "sponsorship_info":
            options |= {"sponsorship_sync": True}
        return options

    def play(self, options: dict[str, Any]) -> Result:
        """site.yml for the server and its organizations, as the module above; options are those of the cloud owner."""
        self.forget_limits()
        file = self.lab.directory / "organizations.json"
        file.write_text(json.dumps({"bitwarden_organizations": self._organizations(options)}), encoding="utf-8")
        as_json = ("env", "ANSIBLE_CALLBACK_RESULT_FORMAT=json")
        done = self.lab.run(*as_json, "ansible-playbook", str(SITE), "--limit", "us1", "-e", f"@{file}")
        play = Play(done)
        # The last one is what the role says; what a module says before it may be hidden for the token in it.
        failures = re.findall(r"^(?:fatal|failed): \[.*?=> (?=\{)", play.output, re.MULTILINE | re.DOTALL)
        said = ""
        for start in failures:
            found, _end = json.JSONDecoder().raw_decode(play.output.partition(start)[2])
            said = str(found.get("msg", said))
        return Result(
            {"failed": bool(play.status), "changed": bool(play.changed()), "msg": said}, done.returncode, play.output
        )

    def _organizations(self, cloud_owner: dict[str, Any]) -> list[dict[str, Any]]:
        entry = self.secrets["us1"]
        login = ("client_id", "client_secret")
        owner = {key: entry["owner"][key] for key in login}
        people = {
            "owner": owner,
            "cloud_owner": {key: {**entry["cloud_owner"], **cloud_owner}[key] for key in (*login, "master_password")},
        }
        first = {"name": entry["organization"], "cloud": entry["cloud_organization"], **people}
        there = self.stores[SERVER].rows("Organization", Name=SECOND)
        return [first, *({"name": SECOND, **people} for _row in there)]

    def evidence(self) -> dict[str, Any]:
        """What a person who has it at hand gives license_sync to look for causes with."""
        login = {key: self.secrets["us1"]["cloud_owner"][key] for key in ("client_id", "client_secret")}
        return {
            "installation_id": self.layout.servers[0].installation_id,
            "billing_sync_token": self.key(),
            "cloud": {**login, "region": "US", "retries": 0, "rate_limit_wait": 0},
        }

    def log_lines(self) -> list[str]:
        """What the server's Api has logged in this case."""
        folder = self.layout.logs("us1") / "api" / "Api"
        files = sorted(folder.glob("*.txt")) if folder.is_dir() else []
        return [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]

    # What is there.

    def key_rows(self) -> list[Row]:
        """The billing sync keys of the cloud organization."""
        wanted = {"OrganizationId": self.cloud_organization["Id"], "Type": BILLING_SYNC}
        return self.stores[CLOUD].rows("OrganizationApiKey", **wanted)

    def key(self) -> str | None:
        """The first of them."""
        rows = self.key_rows()
        return str(rows[0]["ApiKey"]) if rows else None

    def connections(self) -> list[Row]:
        """The connections of the server's organization, with the config taken apart."""
        rows = self.stores[SERVER].rows("OrganizationConnection", OrganizationId=self.organization["Id"])
        return [{**row, "Config": json.loads(row["Config"] or "{}")} for row in rows]

    def license(self) -> dict[str, Any]:
        """The license on the server."""
        found: dict[str, Any] = json.loads(self.license_file.read_text(encoding="utf-8"))
        return found

    def known_secrets(self) -> list[str]:
        """Every secret value that is somewhere now."""
        return secret_values.all_values(self.lab.directory)

    def kept(self) -> Kept:
        """Everything, to be compared and to be put back."""
        folder = self.license_file.parent
        return Kept(
            {name: {table: store.rows(table) for table in store.tables()} for name, store in self.stores.items()},
            self.db.containers("us1"),
            {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {},
            self.lab.env_file("us1").read_bytes(),
        )

    # How it starts.

    def prepare(self) -> None:
        """Make the states that cases start from, by the modules themselves."""
        self._hash_quickly()
        self._starts[UNTOUCHED] = self.kept()
        allow_cloud(self.lab, "us1")
        self._starts[FRESH] = self.kept()
        for start, module in ((KEYED, "billing_sync_token"), (CONNECTED, "billing_sync")):
            result = self.run(module, {})
            assert result.changed, result.data
            self._starts[start] = self.kept()
        self._put_back(self._starts[FRESH])
        self.stores[CLOUD].update("Organization", self.cloud_organization["Id"], Seats=NEW_SEATS)
        self._starts[CHANGED] = self.kept()

    def _hash_quickly(self) -> None:
        """The owner's password is hashed with fewer rounds: how many there are is not the question here."""
        login = self.secrets["us1"]["cloud_owner"]
        kdf = Kdf(iterations=5000)
        (row,) = self.stores[CLOUD].rows("User")
        proof = master_password_hash(
            master_key(login["master_password"], login["email"], kdf), login["master_password"]
        )
        self.stores[CLOUD].update("User", row["Id"], MasterPassword=proof, KdfIterations=kdf.iterations)

    def start(self, name: str) -> None:
        """Put everything back to that state."""
        self.db.clear_faults()
        self.forget_limits()
        self._put_back(self._starts[name])

    def forget_limits(self) -> None:
        """Nobody has asked the clouds for anything yet, as they and the controller see it."""
        self.db.forget_limits()
        for path in (Path(self.environment["ANSIBLE_HOME"]) / "selfhosted.bitwarden").glob("logins-*"):
            path.unlink()

    def _put_back(self, kept: Kept) -> None:
        for name, store in self.stores.items():
            store.begin()
            for table in store.tables():
                store.clear(table)
                for row in kept.tables[name].get(table, []):
                    store.insert(table, row)
            store.commit()
        for row in kept.containers:
            self.db.put_container("us1", row)
        folder = self.license_file.parent
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.layout.logs("us1") / "api", ignore_errors=True)
        self.lab.env_file("us1").write_bytes(kept.env_file)
        folder.mkdir(parents=True)
        for file, content in kept.licenses.items():
            (folder / file).write_bytes(content)


def _steady(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name not in PASSING_COLUMNS} for row in rows]


def differences(before: Kept, after: Kept) -> set[str]:
    """The tables that are not as before, and "licenses", "env file" and "containers" where these are not."""
    found = set()
    for side, tables in after.tables.items():
        for table, rows in tables.items():
            if table not in PASSING and _steady(rows) != _steady(before.tables[side].get(table, [])):
                found.add(f"{side}: {table}")
    if after.licenses != before.licenses:
        found.add("licenses")
    if after.env_file != before.env_file:
        found.add("env file")
    if [row["env"] for row in after.containers] != [row["env"] for row in before.containers]:
        found.add("containers")
    return found


@contextmanager
def site(directory: Path) -> Iterator[Site]:
    """A lab that is ready for cases."""
    made = Site(directory)
    try:
        made.prepare()
        yield made
    finally:
        made.close()
