# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A persona is one Bitwarden deployment (a cloud region or a self-hosted server): its settings, tables, keys, clock."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bwlab import times
from bwlab.keys import SigningKey
from bwlab.labdb import FIRST_RELEASE, Fault, LabDb
from bwlab.ratelimit import Limiter
from bwlab.store import Store

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from bwlab.licenses import LicenseSigner
    from bwlab.network import Answer

VERSION = FIRST_RELEASE
GIT_HASH = "ffc280d2"


# Sends method, address, headers and body for a persona.
Transport = Callable[["Persona", str, str, dict[str, str], bytes], Awaitable["Answer"]]


@dataclass
class Settings:
    """What the running containers were given; `env` has everything, by lower-case key without `globalSettings__`."""

    installation_id: str = ""
    installation_key: str = ""
    enable_cloud_communication: bool = False
    cloud_region: str | None = None
    identity_uri: str = "https://identity.bitwarden.com"
    api_uri: str = "https://api.bitwarden.com"
    license_dir: Path | None = None
    log_dir: Path | None = None
    urls: dict[str, str] = field(default_factory=dict)
    issuer: str = "http://localhost"
    env: dict[str, str] = field(default_factory=dict)


def settings_from_env(env: Mapping[str, str], base: Settings) -> Settings:
    """`base` with what an environment (of the api container) says; names are case-insensitive to the app."""
    given = {key.lower().removeprefix("globalsettings__"): value for key, value in env.items()}
    return Settings(
        installation_id=given.get("installation__id", base.installation_id),
        installation_key=given.get("installation__key", base.installation_key),
        enable_cloud_communication=given.get("enablecloudcommunication", "false").strip().lower() == "true",
        cloud_region=given.get("baseserviceuri__cloudregion", base.cloud_region),
        identity_uri=given.get("installation__identityuri") or "https://identity.bitwarden.com",
        api_uri=given.get("installation__apiuri") or "https://api.bitwarden.com",
        license_dir=base.license_dir,
        log_dir=base.log_dir,
        urls=base.urls,
        issuer=base.issuer,
        env=given,
    )


class Lab:
    """All personas of one lab; `delay` is the length of the server's two seconds.

    In a replay `db` is None and `forced` and `taps` stand for the faults of the recorded instance.
    """

    def __init__(self, directory: Path, *, db: LabDb | None = None, delay: float = 2.0) -> None:
        self.directory = directory
        self.db = db
        self.delay = delay
        self.personas: dict[str, Persona] = {}
        self.hosts: dict[str, str] = {}
        self.license_signer: LicenseSigner | None = None
        self.license_certificates: list[Certificate] = []
        self.delays = 0
        self.forced: list[Fault] = []
        self.taps: list[dict[str, Any]] = []
        # A server in a container of its own asks the clouds over the network.
        self.transport: Transport | None = None

    async def wait(self) -> None:
        self.delays += 1
        await asyncio.sleep(self.delay)

    def take_tap(self, method: str, path: str) -> Any:
        """In a replay: what stood in for the cloud's answer to this outbound call; None lets the cloud answer.

        A dict has status and body (text or JSON); a string says that there was no answer.
        """
        for index, tap in enumerate(self.taps):
            if tap["method"] == method and tap["path"] == path:
                answer = self.taps.pop(index)["answer"]
                genuine = isinstance(answer, dict) and answer.get("made_by") != "tap"
                return None if genuine else answer
        return None

    def cloud_at(self, uri: str) -> tuple[Persona, str] | None:
        """The cloud persona and service behind a base address such as https://api.bitwarden.eu, by host name."""
        address = uri.split("://", 1)[-1].split("/", 1)[0].lower()
        found = self.hosts.get(address) or self.hosts.get(address.rsplit(":", 1)[0])
        if found is None:
            return None
        name, service = found.rsplit("/", 1)
        return self.personas[name], service


class Persona:
    """`name` is "cloud:US" or "server:us1", `kind` "cloud" or "self_hosted"."""

    def __init__(self, name: str, kind: str, store: Store, lab: Lab, base: Settings) -> None:
        self.name = name
        self.kind = kind
        self.store = store
        self.lab = lab
        self.base = base
        self.clock_offset = 0.0
        self.fixed_now: datetime | None = None
        self.limiter = Limiter()
        self._limits_forgotten = 0
        self.vault = ""
        # Whether the Api has Identity's signing keys; None where both are one program.
        self.identity_known: bool | None = None
        self._signing: SigningKey | None = None
        lab.personas[name] = self

    @property
    def short_name(self) -> str:
        return self.name.partition(":")[2]

    @property
    def is_cloud(self) -> bool:
        return self.kind == "cloud"

    def now(self) -> datetime:
        if self.fixed_now is not None:
            return self.fixed_now + timedelta(seconds=self.clock_offset)
        offset = self.clock_offset
        if self.lab.db is not None:
            offset += self.lab.db.clock_offset(self.short_name)
            fault = self.fault("clock_skew", count=False)
            offset += fault.number("seconds", -120.0) if fault else 0.0
        return datetime.now(UTC) + timedelta(seconds=offset)

    def settings(self) -> Settings:
        """A server's follow the environment of its running api container; a container not running keeps the base."""
        if self.is_cloud or self.lab.db is None:
            return self.base
        container = self.lab.db.api_container(self.short_name)
        return settings_from_env(container["env"], self.base) if container else self.base

    def version(self) -> str:
        """The tag of the running api container's image, which a real container knows by itself."""
        if given := os.environ.get("BWLAB_VERSION"):
            return given
        database = self.lab.db
        container = None if self.is_cloud or database is None else database.api_container(self.short_name)
        tag = container["image"].rpartition(":")[2] if container else ""
        return tag if tag[:1].isdigit() else VERSION

    def limits(self) -> Limiter:
        """The counts of this cloud, which go on from nothing after `lab forget`, as after a restart."""
        forgotten = self.lab.db.limits_forgotten() if self.lab.db is not None else 0
        if forgotten != self._limits_forgotten:
            self._limits_forgotten = forgotten
            self.limiter.forget()
        return self.limiter

    def fault(self, name: str, path: str | None = None, *, count: bool = True) -> Fault | None:
        """The fault of that name if it holds for this persona now (`server=us1` or `persona=cloud:US` limit it)."""
        if self.lab.db is None:
            here = path or ""
            return next((f for f in self.lab.forced if f.name == name and f.options.get("path", "") in here), None)
        if not count:
            return next((fault for fault in self.lab.db.faults() if self._holds(fault, name)), None)
        return self.lab.db.take_fault(name, server=self.short_name, persona=self.name, path=path)

    def _holds(self, fault: Fault, name: str) -> bool:
        limit = fault.options.get("server") or fault.options.get("persona")
        return fault.name == name and fault.count_left != 0 and limit in (None, self.name, self.short_name)

    def signing(self) -> SigningKey:
        """Identity's token signing key: made when first needed and kept in the persona's tables."""
        if self._signing is None:
            self._signing = SigningKey.of(self.store)
        return self._signing

    def mail(self, to: str, subject: str, text: str) -> None:
        """Mails are rows of the lab's own table: nobody sends them, tests and the replay read them."""
        row = {"To": to, "Subject": subject, "Text": text, "CreationDate": times.column(self.now())}
        self.store.insert("LabMail", row)

    def log_folder(self) -> Path | None:
        directory = self.settings().log_dir
        return None if directory is None else directory / "api" / "Api"

    def log(self, category: str, level: str, *lines: str) -> None:
        """One entry of the Api's log file, with the real line form, in the directory that the host has for it."""
        folder = self.log_folder()
        moment = self.now()
        entry = {"Category": category, "Level": level, "Text": "\n".join(lines)}
        self.store.insert("LabLog", {**entry, "CreationDate": times.column(moment)})
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0+00:00"
        with (folder / f"{moment:%Y%m%d}.txt").open("a", encoding="utf-8") as file:
            file.write(f"{stamp}  [{level}] {lines[0]} ({category})\n")
            file.writelines(f"{line}\n" for line in lines[1:])


Row = dict[str, Any]
