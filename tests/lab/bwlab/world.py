# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes a lab's inhabitants: clouds with installations, organizations and owners, and servers beside them.

Every server is a fresh installation whose organization came from a license: no connection, cloud communication off.
"""

from __future__ import annotations

import itertools
import secrets
import shutil
import string
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bwlab import times
from bwlab.crypto import ARGON2_DEFAULT, Kdf, KeyPair, account_columns, organization_keys
from bwlab.host.install import install_host
from bwlab.layout import CLOUD_SERVICES, DOMAINS, DoorEntry, Layout, ServerEntry
from bwlab.licenses import LicenseSigner, make_license, write_license_file
from bwlab.secret_values import Secrets
from bwlab.store import Row, Store, new_id

LETTERS = string.ascii_letters + string.digits
ENTERPRISE = 20
DEFAULT_KEY, OWNER, CONFIRMED = 0, 0, 2
ON = (
    "Enabled", "SelfHost", "Use2fa", "UseApi", "UseCustomPermissions", "UseDirectory", "UseEvents", "UseGroups",
    "UseKeyConnector", "UsePasswordManager", "UsePolicies", "UseResetPassword", "UseRiskInsights", "UseScim", "UseSso",
    "UseTotp", "UsersGetPremium", "UseAdminSponsoredFamilies", "UseOrganizationDomains", "UseMyItems",
)  # fmt: skip
OFF = (
    "AllowAdminAccessToAllCollectionItems", "LimitCollectionCreation", "LimitCollectionDeletion", "LimitItemDeletion",
    "UseSecretsManager", "SyncSeats", "UseAutomaticUserConfirmation", "UsePhishingBlocker", "UseDisableSmAdsForUsers",
    "ExemptFromBillingAutomation", "UseInviteLinks", "UsePam",
)  # fmt: skip


def random_key(length: int = 30) -> str:
    return "".join(secrets.choice(LETTERS) for _unused in range(length))


def kdf_of(region: str) -> Kdf:
    """The two ways in which clients hash passwords are both in use."""
    return ARGON2_DEFAULT if region == "EU" else Kdf()


@dataclass
class Person:
    name: str
    email: str
    password: str
    columns: Row

    @classmethod
    def create(cls, name: str, email: str, region: str, pair: KeyPair) -> Person:
        password = f"{secrets.token_urlsafe(12)} {name}"
        return cls(name, email, password, account_columns(email, password, kdf_of(region), pair))

    def row(self, created: str) -> Row:
        """A row of User for one deployment: its own id and API key."""
        return {
            "Id": new_id(),
            "Name": self.name,
            "AccountRevisionDate": created,
            "ApiKey": random_key(),
            "CreationDate": created,
            "Culture": "en-US",
            "EmailVerified": 1,
            "FailedLoginCount": 0,
            "ForcePasswordReset": 0,
            "Premium": 0,
            "RevisionDate": created,
            "SecurityStamp": random_key(32).upper(),
            "UsesKeyConnector": 0,
            "VerifyDevices": 1,
            **self.columns,
        }


def organization_row(name: str, created: str, expires: str, keys: Row) -> Row:
    return {
        "Id": new_id(),
        "Name": name,
        "BillingEmail": "billing@example.com",
        "CreationDate": created,
        "RevisionDate": created,
        "ExpirationDate": expires,
        "LicenseKey": random_key(20),
        "MaxStorageGb": 1,
        "Plan": "Enterprise (Annually)",
        "PlanType": ENTERPRISE,
        "Seats": 50,
        "Status": 1,
        **dict.fromkeys(ON, 1),
        **dict.fromkeys(OFF, 0),
        **keys,
    }


class Deployment:
    """Fills the tables of one cloud or server."""

    def __init__(self, path: Path, now: datetime) -> None:
        self.store = Store(path)
        self.created = times.column(now - timedelta(days=60))

    def user(self, person: Person) -> Row:
        return self.store.insert("User", person.row(self.created))

    def organization(self, row: Row, owner: Row, key: str) -> Row:
        """An organization with its public-API key and one owner, who holds `key`."""
        stored = self.store.insert("Organization", row)
        member = {
            "AccessSecretsManager": 0,
            "CreationDate": self.created,
            "RevisionDate": self.created,
            "Key": key,
            "OrganizationId": stored["Id"],
            "Status": CONFIRMED,
            "Type": OWNER,
            "UserId": owner["Id"],
        }
        self.store.insert("OrganizationUser", member)
        api_key = {"ApiKey": random_key(), "OrganizationId": stored["Id"], "Type": DEFAULT_KEY}
        self.store.insert("OrganizationApiKey", {**api_key, "RevisionDate": self.created})
        return stored

    def installation(self) -> Row:
        row = {"CreationDate": self.created, "Email": "installation@example.com", "Enabled": 1, "Key": random_key(20)}
        return self.store.insert("Installation", row)

    def close(self) -> None:
        self.store.close()


def server_names(count: int, regions: list[str]) -> list[tuple[str, str]]:
    """us1, eu1, us2, …: the regions take turns as given."""
    numbers = dict.fromkeys(regions, 0)
    found = []
    for region in itertools.islice(itertools.cycle(regions), count):
        numbers[region] += 1
        found.append((f"{region.lower()}{numbers[region]}", region))
    return found


class World:
    def __init__(self, layout: Layout, servers: list[tuple[str, str]], *, one_organization: bool) -> None:
        self.layout = layout
        self.servers = servers
        self.one_organization = one_organization
        self.now = datetime.now(UTC)
        self.pair = KeyPair()
        self.signer = LicenseSigner.load(layout.directory / "state")
        self.secrets = Secrets()
        self.people: dict[str, Person] = {}

    def _owners(self) -> dict[str, tuple[str, str, str]]:
        """Who is needed: the admin of all servers of a region, and the owner of each cloud organization."""
        wanted = {}
        for name, region in self.servers:
            wanted[f"admin {region}"] = (f"Admin {region}", f"admin@{region.lower()}.example.com", region)
            organization = self._organization_of(name, region)
            wanted[organization] = (f"Owner {organization}", f"owner@{organization.lower()}.example.com", region)
        return wanted

    def _organization_of(self, server: str, region: str) -> str:
        return region if self.one_organization else server

    def create(self, install: Callable[..., object] = install_host) -> None:
        """Password hashing takes the most of it and lets other threads work meanwhile."""
        wanted = self._owners()
        with ThreadPoolExecutor(4) as pool:
            made = pool.map(lambda who: Person.create(who[0], who[1], who[2], self.pair), wanted.values())
            self.people = dict(zip(wanted, made, strict=True))
        state = self.layout.directory / "state"
        clouds = {region: Deployment(state / f"cloud-{region}.sqlite", self.now) for region in self.layout.regions}
        for region, cloud in clouds.items():
            cloud.store.begin()
            self._cloud(region, cloud)
            cloud.store.commit()
            cloud.close()
        for server in self.layout.servers:
            install(
                self.layout.directory,
                server.name,
                url=self.layout.url(server.name),
                region_name=server.region,
                installation_id=server.installation_id,
                installation_key=server.installation_key,
                deployment=self.layout.deployment,
            )
            self._write_license(server)
        self.secrets.write(self.layout.directory)

    def _cloud(self, region: str, cloud: Deployment) -> None:
        """The region's organizations, and an installation for each of its servers."""
        expires = times.column(self.now + timedelta(days=400))
        organizations: dict[str, tuple[Row, Row, str]] = {}
        for name, _region in (pair for pair in self.servers if pair[1] == region):
            organization = self._organization_of(name, region)
            if organization not in organizations:
                owner = cloud.user(self.people[organization])
                keys, wrapped = organization_keys(self.pair)
                row = cloud.organization(
                    organization_row(f"Acme {organization}", cloud.created, expires, keys), owner, wrapped
                )
                organizations[organization] = row, owner, wrapped
            row, owner, wrapped = organizations[organization]
            installation = cloud.installation()
            entry = ServerEntry(name, region, installation["Id"].lower(), installation["Key"])
            self.layout.servers.append(entry)
            self._server(entry, row, wrapped)
            self.secrets.cloud_owner(name, owner, self.people[organization].password, row)

    def _server(self, entry: ServerEntry, cloud_row: Row, wrapped: str) -> None:
        """The organization as a server makes it from the cloud's license."""
        server = Deployment(self.layout.directory / "state" / f"server-{entry.name}.sqlite", self.now)
        server.store.begin()
        admin = server.user(self.people[f"admin {entry.region}"])
        row = {**cloud_row, "Id": new_id(), "MaxStorageGb": 10240}
        stored = server.organization(row, admin, wrapped)
        server.store.commit()
        server.close()
        self.secrets.owner(entry.name, admin, self.people[f"admin {entry.region}"].password, stored)

    def _write_license(self, server: ServerEntry) -> None:
        directory = self.layout.directory
        cloud = Store(directory / "state" / f"cloud-{server.region}.sqlite")
        own = Store(directory / "state" / f"server-{server.name}.sqlite")
        row = own.rows("Organization")[0]
        cloud_row = cloud.one("Organization", LicenseKey=row["LicenseKey"]) or {}
        license_ = make_license(cloud_row, server.installation_id, self.now, self.signer)
        folder = self.layout.licenses(server.name) / "organization"
        folder.mkdir(parents=True, exist_ok=True)
        write_license_file(folder / f"{row['Id'].lower()}.json", license_)
        cloud.close()
        own.close()


def make_doors(layout: Layout, servers: list[tuple[str, str]], ports: list[int]) -> None:
    """Gives every listening address one of the ports."""
    free = iter(ports)
    layout.proxy_port = next(free)
    for region in layout.regions:
        layout.doors += [DoorEntry(f"cloud:{region}", service, next(free)) for service in CLOUD_SERVICES]
    layout.doors += [DoorEntry(f"server:{name}", "front", next(free)) for name, _region in servers]


def count_doors(regions: list[str], servers: int) -> int:
    return 1 + len(CLOUD_SERVICES) * len(regions) + servers


def check_regions(names: list[str]) -> list[str]:
    known = {name.lower(): name for name in DOMAINS}
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        raise ValueError(f"There is no region '{unknown[0]}'. There are: {', '.join(DOMAINS)}")
    return list(dict.fromkeys(known[name.lower()] for name in names))


def remove_half_made(directory: Path) -> None:
    """What an `up` that failed had begun."""
    for name in ("state", "hosts", "tls", "shared", "ssh", "docker"):
        shutil.rmtree(directory / name, ignore_errors=True)
    for name in ("lab.sqlite", "lab.sqlite-wal", "lab.sqlite-shm", "ca.pem", "lab.json", "inventory.yml",
                 "secrets.json"):  # fmt: skip
        (directory / name).unlink(missing_ok=True)
