# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""DIR/lab.json: which personas a lab has and where they listen."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bwlab.labdb import LabDb
from bwlab.licenses import LicenseSigner
from bwlab.persona import Lab, Persona, Settings
from bwlab.store import Store

DOMAINS = {"US": "bitwarden.com", "EU": "bitwarden.eu", "Gov": "bitwarden-gov.com"}
CLOUD_SERVICES = ("vault", "api", "identity")


@dataclass
class DoorEntry:
    persona: str
    service: str
    port: int

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


@dataclass
class ServerEntry:
    name: str
    region: str
    installation_id: str
    installation_key: str


@dataclass
class Layout:
    directory: Path
    options: dict[str, Any]
    proxy_port: int = 0
    doors: list[DoorEntry] = field(default_factory=list)
    servers: list[ServerEntry] = field(default_factory=list)
    regions: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, directory: Path) -> Layout:
        data = json.loads((directory / "state" / "layout.json").read_text(encoding="utf-8"))
        data["doors"] = [DoorEntry(**entry) for entry in data["doors"]]
        data["servers"] = [ServerEntry(**entry) for entry in data["servers"]]
        return cls(directory, **data)

    def write(self) -> None:
        data = asdict(self)
        del data["directory"]
        file = self.directory / "state" / "layout.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(data, indent=1), encoding="utf-8")

    def door(self, persona: str, service: str) -> DoorEntry:
        return next(door for door in self.doors if (door.persona, door.service) == (persona, service))

    def url(self, server: str) -> str:
        return self.door(f"server:{server}", "front").url

    @property
    def deployment(self) -> str:
        """standard, manual, lite or lite-run, for all servers."""
        return str(self.options.get("deployment", "standard"))

    def home(self, server: str) -> Path:
        return self.directory / "hosts" / server

    def env_file(self, server: str) -> Path:
        directory = self.home(server) / "opt" / "bitwarden"
        if self.deployment.startswith("lite"):
            return directory / "settings.env"
        return directory / "bwdata" / "env" / "global.override.env"

    def licenses(self, server: str) -> Path:
        """What the container knows as its folder of licenses; of Lite a part of the volume `bitwarden`."""
        if self.deployment.startswith("lite"):
            return self.home(server) / "volumes" / "bitwarden" / "licenses"
        return self.home(server) / "opt" / "bitwarden" / "bwdata" / "core" / "licenses"

    def logs(self, server: str) -> Path:
        if self.deployment.startswith("lite"):
            return self.home(server) / "volumes" / "logs"
        return self.home(server) / "opt" / "bitwarden" / "bwdata" / "logs"

    def routes(self) -> dict[str, int]:
        """Host names of the clouds, for the proxy; push has no persona of its own and answers as the api does."""
        found = {}
        for region in self.regions:
            for service in (*CLOUD_SERVICES, "push"):
                door = self.door(f"cloud:{region}", "api" if service == "push" else service)
                found[f"{service}.{DOMAINS[region]}"] = door.port
        return found

    def public(self) -> dict[str, Any]:
        """What `lab up` prints and DIR/lab.json holds: addresses, no secrets."""
        return {
            "directory": str(self.directory),
            "inventory": str(self.directory / "inventory.yml"),
            "ca": str(self.directory / "ca.pem"),
            "proxy": f"http://127.0.0.1:{self.proxy_port}",
            "clouds": {
                region: {service: self.door(f"cloud:{region}", service).url for service in CLOUD_SERVICES}
                for region in self.regions
            },
            "servers": {
                server.name: {
                    "region": server.region,
                    "url": self.url(server.name),
                    "directory": str(self.directory / "hosts" / server.name / "opt" / "bitwarden"),
                }
                for server in self.servers
            },
        }


def _cloud_settings(region: str) -> Settings:
    domain = DOMAINS[region]
    urls = {name: f"https://{name}.{domain}" for name in ("vault", "api", "identity", "notifications", "sso")}
    return Settings(cloud_region=region, urls=urls, issuer=urls["identity"])


def _server_settings(layout: Layout, server: ServerEntry) -> Settings:
    url = layout.url(server.name)
    parts = ("api", "identity", "notifications", "sso")
    return Settings(
        installation_id=server.installation_id,
        installation_key=server.installation_key,
        license_dir=layout.licenses(server.name),
        log_dir=layout.logs(server.name),
        urls={"vault": url, **{name: f"{url}/{name}" for name in parts}},
        issuer="https://localhost",
    )


def load_lab(layout: Layout, database: LabDb) -> Lab:
    """The personas over their files; a delay of other than two seconds comes from BWLAB_DELAY."""
    lab = Lab(layout.directory, db=database, delay=float(os.environ.get("BWLAB_DELAY", "2")))
    lab.license_signer = LicenseSigner.load(layout.directory / "state")
    lab.license_certificates = [lab.license_signer.certificate]
    state = layout.directory / "state"
    for region in layout.regions:
        store = Store(state / f"cloud-{region}.sqlite")
        Persona(f"cloud:{region}", "cloud", store, lab, _cloud_settings(region))
        for service in CLOUD_SERVICES:
            lab.hosts[f"{service}.{DOMAINS[region]}"] = f"cloud:{region}/{service}"
            lab.hosts[f"localhost:{layout.door(f'cloud:{region}', service).port}"] = f"cloud:{region}/{service}"
    for server in layout.servers:
        store = Store(state / f"server-{server.name}.sqlite")
        Persona(f"server:{server.name}", "self_hosted", store, lab, _server_settings(layout, server))
    return lab
