# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The recorded world: two personas with the baseline's rows, and the changes that exchanges prepare or leave behind."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from bwlab.identity.claims import user_claims
from bwlab.labdb import Fault
from bwlab.licenses import LicenseSigner, load_certificate
from bwlab.persona import Lab, Persona, Settings
from bwlab.store import Row, Store
from bwlab.tokens import issue

CLOUD = "http://127.0.0.1:14000", "http://127.0.0.1:14033"
TAPPED = "http://127.0.0.1:16000", "http://127.0.0.1:16033"
LOCALHOST = "https://localhost:16000", "https://localhost:16033"
NO_HOST = "https://api.does-not-exist.invalid", "https://identity.does-not-exist.invalid"
NOT_KEPT = {"Event", "Cache", "Grant", "CollectionUsers"}
SIDES = ("cloud", "self_hosted")
TROUBLE = {
    "cut in the middle": ("truncated_body", "/licenses/"),
    "drops the body": ("proxy_drops_get_bodies", "/licenses/"),
    "changed on the way": ("license_tampered", ""),
    "answers with another organization's licence": ("license_of_another_organization", ""),
    "nothing listens at the cloud's api": ("cloud_unreachable", "/licenses/"),
    "nothing listens at the cloud's identity": ("cloud_unreachable", "/connect/token"),
}
Rows = dict[str, dict[str, Row]]


def _urls(base: int, *, self_hosted: bool) -> dict[str, str]:
    ports = {"vault": 80, "api": 0, "identity": 33, "notifications": 61, "sso": 51}
    urls = {name: f"http://127.0.0.1:{base + port}" for name, port in ports.items()}
    if self_hosted:
        urls["identity"] += "/identity"
    return urls


@cache
def _signer() -> LicenseSigner:
    return LicenseSigner.create()


class World:
    """Fresh for every group."""

    def __init__(self, recordings: Path, directory: Path, keys: dict[str, str]) -> None:
        self.people: dict[str, Any] = json.loads((recordings / "world.json").read_text(encoding="utf-8"))
        baseline = json.loads((recordings / "baseline.json").read_text(encoding="utf-8"))
        self.lab = Lab(directory, delay=0.0)
        for address in ("127.0.0.1:14000", "127.0.0.1:16000", "localhost:16000"):
            self.lab.hosts[address] = "cloud:US/api"
        for address in ("127.0.0.1:14033", "127.0.0.1:16033", "localhost:16033"):
            self.lab.hosts[address] = "cloud:US/identity"
        self.lab.license_signer = _signer()
        recorded = load_certificate(recordings / "licensing.pem")
        self.lab.license_certificates = [recorded, self.lab.license_signer.certificate]
        self.licenses = directory / "licenses"
        self.baseline_licenses = recordings / "baseline-licenses"
        self.baseline_organizations = baseline["self_hosted"]["Organization"]
        shutil.copytree(self.baseline_licenses, self.licenses)
        self.sides = {
            "cloud": self._persona("cloud:US", "cloud"),
            "self_hosted": self._persona("server:sh", "self_hosted"),
        }
        for side, persona in self.sides.items():
            persona.store.begin()
            persona.store.insert("LabSigningKey", {"Pem": keys[side]})
            for person in self.people[side]["users"].values():
                self.know_device(side, person["id"], person["device"])
            for table, rows in baseline[side].items():
                for row in rows:
                    persona.store.insert(table, self.readable(side, table, row))
            persona.store.commit()
        self._collections(recordings / "00-seed.json")
        self.instance(None)

    def _collections(self, seed: Path) -> None:
        """The baseline leaves out the default collections that organizations were made with; licenses count them."""
        if not seed.exists():
            return
        for exchange in json.loads(seed.read_text(encoding="utf-8"))["exchanges"]:
            for side in SIDES:
                made = exchange.get("effect", {}).get(f"{side}_rows", {}).get("Collection", {})
                for row in made.get("added", []):
                    self.sides[side].store.insert("Collection", row)

    def trouble(self, given: str) -> None:
        """What the recorder's tap did on the way without making up an answer, by the words that describe it."""
        self.sides["cloud"].clock_offset = 60.0 if "cloud's clock is a minute ahead" in given else 0.0
        found = [Fault(name, {"path": path}) for words, (name, path) in TROUBLE.items() if words in given]
        self.lab.forced = [*self.lab.forced, *found]

    def _persona(self, name: str, kind: str) -> Persona:
        return Persona(name, kind, Store(None), self.lab, Settings(issuer="http://127.0.0.1"))

    def know_device(self, side: str, user_id: str, identifier: str) -> None:
        store = self.sides[side].store
        if store.one("Device", UserId=user_id, Identifier=identifier) is None:
            row = {"Identifier": identifier, "UserId": user_id, "Name": "recrd", "Type": 8, "Active": 1}
            store.insert("Device", row)

    def readable(self, side: str, table: str, row: Row) -> Row:
        """Columns that the real server encrypts, as what they hold."""
        if table != "User":
            return row
        people = {person["id"].upper(): person for person in self.people[side]["users"].values()}
        person = people.get(row.get("Id", ""))
        row = dict(row)
        for column, key in (("Key", "userSymmetricKey"), ("MasterPassword", "masterPasswordHash")):
            if person is not None and str(row.get(column) or "").startswith("P|"):
                row[column] = person[key]
        return row

    def instance(self, name: str | None) -> None:
        """The settings of the standard instances, or of the clone that an exchange was sent to."""
        name = (name or "").removeprefix("clone-")
        installation = self.people["cloud"]["installations"]["main"]
        uris = CLOUD
        env: dict[str, str] = {}
        faults: list[Fault] = []
        if name in {"tapped", "job", "job-upstream-ef", "installation-key-wrong", "api-uri-with-path-no-slash"} or (
            name.startswith("clock-minus") or name.startswith("clock-plus") or name.startswith("http-proxy")
        ):
            uris = TAPPED
        if name == "api-uri-with-path-no-slash":
            uris = TAPPED[0] + "/api", TAPPED[1]
        elif name == "dns":
            uris = NO_HOST
        elif name.startswith("tls-"):
            uris = LOCALHOST
            known = {"tls-private-ca-unknown": "tls_unknown_ca", "tls-wrong-name": "tls_wrong_host"}
            faults = [Fault(known[name])] if name in known else []
        elif name.startswith("http-proxy"):
            env = {"http_proxy": "http://127.0.0.1:16090"}
            env |= {"no_proxy": "localhost,identity"} if name.endswith("no-proxy") else {}
        elif name == "job-upstream-ef":
            env = {"databaseprovider": "sqlite"}
        self.lab.forced = faults
        server = self.sides["self_hosted"]
        server.base = Settings(
            installation_id=installation["id"],
            installation_key="wrong" if name == "installation-key-wrong" else installation["key"],
            enable_cloud_communication=name != "no-cloud-communication",
            identity_uri=uris[1] + "/",
            api_uri=uris[0] + ("" if "/api" in uris[0] else "/"),
            license_dir=self.licenses,
            urls=_urls(15000, self_hosted=True),
            issuer="http://127.0.0.1",
            env=env,
        )
        self.sides["cloud"].base = Settings(
            cloud_region="US", urls=_urls(14000, self_hosted=False), issuer="http://127.0.0.1"
        )
        server.clock_offset = 0.0
        if name.startswith("clock-"):
            _word, sign, seconds = name.split("-")
            server.clock_offset = float(seconds) * (-1 if sign == "minus" else 1)
        for persona in self.sides.values():
            persona.base.env["enablenewdeviceverification"] = "true" if name.startswith("mail") else "false"

    def set_time(self, moment: datetime) -> None:
        for persona in self.sides.values():
            persona.fixed_now = moment

    def snapshot(self, side: str) -> Rows:
        store = self.sides[side].store
        found: Rows = {}
        for table in store.tables():
            if not table.startswith("Lab") and table not in NOT_KEPT:
                found[table] = {row["Id"]: row for row in store.rows(table)}
        return found

    def apply(self, changes: dict[str, Any]) -> None:
        """`prepared` or `effect` of an exchange, onto the tables and license files."""
        for side in SIDES:
            store = self.sides[side].store
            for table, change in changes.get(f"{side}_rows", {}).items():
                if table in NOT_KEPT:
                    continue
                for row in change.get("removed", []):
                    store.delete(table, str(row["Id"]))
                for row in change.get("added", []):
                    store.delete(table, str(row["Id"]))
                    store.insert(table, {**self.readable(side, table, row), "Id": str(row["Id"])})
                for row in change.get("changed", []):
                    columns = {name: after for name, (_before, after) in row["columns"].items()}
                    store.update(table, row["key"], **self.readable(side, table, {"Id": row["key"], **columns}))
        self._apply_files(changes.get("license_files", {}), changes.get("license_file_texts", {}))

    def _apply_files(self, files: dict[str, str], texts: dict[str, str]) -> None:
        """Removals first: what was a folder of files may come back as a file, and the other way round."""
        for name in sorted(files, key=lambda name: files[name] != "removed"):
            path = self.licenses / name.partition(":")[2]
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists() and files[name] == "removed":
                path.unlink()
            if files[name] != "removed" and name in texts:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(texts[name], encoding="utf-8")

    def block_file(self, files: dict[str, str]) -> None:
        """Stands in for missing rights, which root does not know: a directory in the file's place."""
        for name, what in files.items():
            if what == "removed":
                (self.licenses / name.partition(":")[2]).mkdir()

    def renew_organizations(self) -> None:
        """The self-hosted organizations and their license files as the baseline has them."""
        for row in self.baseline_organizations:
            self.sides["self_hosted"].store.update("Organization", row["Id"], **row)
        self.write_licenses(license_texts(self.baseline_licenses))

    def write_licenses(self, texts: dict[str, bytes]) -> None:
        for name in license_texts(self.licenses).keys() - texts.keys():
            (self.licenses / name.partition(":")[2]).unlink()
        for name, data in texts.items():
            (self.licenses / name.partition(":")[2]).write_bytes(data)

    def restore(self, side: str, before: Rows, after: Rows) -> None:
        """Undoes what the lab's own answer changed."""
        store = self.sides[side].store
        for table, rows in after.items():
            old = before.get(table, {})
            for key, row in rows.items():
                if key not in old:
                    store.delete(table, key)
                elif row != old[key]:
                    columns = {name: old[key].get(name) for name in row if name != "Id"}
                    store.update(table, key, **columns)
            for key, row in old.items():
                if key not in rows:
                    store.insert(table, row)

    def token(self, side: str, person: str) -> str:
        """A token as that person's (or organization's, or installation's) client would have got it."""
        persona = self.sides[side]
        if person.startswith("installation "):
            name, _unused, scopes = person.removeprefix("installation ").partition(", scope ")
            found = self.people["cloud"]["installations"][name]
            claims: Row = {
                "scope": scopes.split(),
                "client_id": f"installation.{found['id']}",
                "client_sub": found["id"],
                "client_type": "Installation",
            }
            return issue(persona, claims, 86400)
        if person.startswith("organization api key of "):
            found = self.people[side]["orgs"][person.rsplit(" ", 1)[-1]]
            guid = found["id"]
            claims = {"scope": ["api.organization"], "client_id": f"organization.{guid}", "client_sub": guid}
            return issue(persona, claims, 3600)
        row = persona.store.one("User", Id=self.people[side]["users"][person]["id"])
        if row is None:
            raise LookupError(f"nobody is called {person}")
        claims = {"scope": ["api"], "amr": ["Application"], "client_id": f"user.{row['Id'].lower()}"}
        return issue(persona, {**claims, **user_claims(persona.store, row)}, 3600)


def license_texts(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {f"self_hosted:{path.relative_to(folder)}": path.read_bytes() for path in files}
