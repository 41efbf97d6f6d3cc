"""The lab's container engine: containers are rows with the environment that they were created with."""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bwlab.host.lazy import lazy
from bwlab.labdb import Fault, LabDb

if TYPE_CHECKING:
    from bwlab.host import mssql, registry, releases, starting
else:
    mssql, registry, releases, starting = (
        lazy(f"bwlab.host.{name}") for name in ("mssql", "registry", "releases", "starting")
    )

Row = dict[str, Any]
YEARS = 10 * 365 * 86400.0
# What no host of the lab has to wait for, but what a poll can still see.
START_SECONDS = 0.3
REGISTRY = "ghcr.io/bitwarden/"
IMAGE_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
SERVICE_ENV = {
    "ASPNETCORE_ENVIRONMENT": "Production",
    "ASPNETCORE_URLS": "http://+:5000",
    "SSL_CERT_DIR": "/etc/bitwarden/ca-certificates",
}
# Without one of these the front door does not answer for the api.
FRONT_SERVICES = ("nginx", "api", "identity", "bitwarden")
# All of Lite is one container, whose image has no health check.
LITE = "bitwarden"
LITE_IMAGES = (f"{REGISTRY}lite", f"{REGISTRY}self-host")
LITE_ENV = {
    "ASPNETCORE_ENVIRONMENT": "Production",
    "BW_PORT_HTTP": "8080",
    "BW_PORT_HTTPS": "8443",
    "globalSettings__selfHosted": "true",
    "globalSettings__pushRelayBaseUri": "https://push.bitwarden.com",
}
NOT_DOTNET = frozenset({"mssql", "nginx", "web", "setup"})


class EngineError(Exception):
    """What the daemon answers, with the exit status of the command."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def stamp(moment: float) -> str:
    when = datetime.datetime.fromtimestamp(min(moment, 32e9), datetime.timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond:06d}000Z"


def ago(seconds: float) -> str:
    for name, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {name}"
    return "About a minute" if seconds >= 60 else f"{int(seconds)} seconds" if seconds >= 1 else "Less than a second"


def image_environment(image: str) -> dict[str, str]:
    """What an image sets by itself."""
    name = image.removeprefix(REGISTRY).partition(":")[0]
    if image.rpartition(":")[0] in LITE_IMAGES:
        return {**IMAGE_ENV, **LITE_ENV}
    if not image.startswith(REGISTRY) or name in NOT_DOTNET:
        return dict(IMAGE_ENV)
    return {**IMAGE_ENV, **SERVICE_ENV}


def image_labels(image: str) -> dict[str, str]:
    if not image.startswith(REGISTRY):
        return {}
    return {"com.bitwarden.product": "bitwarden", "com.bitwarden.project": image[len(REGISTRY) :].partition(":")[0]}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return True


def _is_over(fault: Fault) -> bool:
    return "until" in fault.options and fault.number("until", 0) <= time.time()


class Engine:
    def __init__(self, lab_dir: Path, host: str) -> None:
        self.lab_dir = lab_dir
        self.host = host
        self.home = lab_dir / "hosts" / host
        self.bwdata = self.home / "opt" / "bitwarden" / "bwdata"
        self.db = LabDb(lab_dir / "lab.sqlite")

    def fault(self, name: str, **limits: str) -> Fault | None:
        if any(fault.name == name and _is_over(fault) for fault in self.db.faults()):
            self.db.clear_faults(name, self.host)
        return self.db.take_fault(name, server=self.host, **limits)

    def fault_is_set(self, name: str) -> bool:
        """Without counting it down."""
        return any(
            fault.name == name and fault.count_left != 0 and fault.options.get("server", self.host) == self.host
            for fault in self.db.faults()
        )

    # -- containers ------------------------------------------------------------------------------------------------

    def containers(self) -> list[Row]:
        rows = []
        for row in self.db.containers(self.host):
            # A client that was killed takes its one-off container with it.
            if row.get("pid") and not alive(int(row["pid"])):
                self.db.remove_container(self.host, row["name"])
            else:
                rows.append(row)
        if self.fault_is_set("concurrent_update") and not any(row["name"] == "setup" for row in rows):
            now = time.time()
            rows.append(self.row("setup", f"{REGISTRY}setup:other", {}, started=now - 5, ready=now - 5))
        return rows

    def row(self, name: str, image: str, env: dict[str, str], **more: Any) -> Row:
        now = time.time()
        given = {"service": "", "project": "", "state": "running", "started": now, "ready": now, "labels": {}, **more}
        return {
            "name": name,
            "image": image,
            "env": {**image_environment(image), **env},
            "id": os.urandom(32).hex(),
            "restart_count": 0,
            **given,
        }

    def find(self, name: str) -> Row:
        for row in self.containers():
            if row["name"] == name.lstrip("/") or (len(name) >= 3 and row["id"].startswith(name)):
                return row
        raise EngineError(f"No such container: {name}")

    @staticmethod
    def lives(row: Row) -> bool:
        """Not one that was stopped, or was made and never started."""
        return row["state"] in ("running", "restarting")

    def start(self, row: Row) -> None:
        """Gives a row its times and the state that a container with this environment gets into."""
        now = time.time()
        row.update(started=now, ready=now + START_SECONDS, state="running", restart_count=0, crash="")
        if row["service"] == "nginx":
            # It asks for the addresses of the others when it starts, and keeps them.
            row["upstreams"] = {other["service"]: other["id"] for other in self.containers() if other["service"]}
        if self.fault_is_set("start_never_ready") or self.is_broken_release(row["image"]):
            row["ready"] = now + YEARS
        slow = next((f for f in self.db.faults() if f.name == "slow_start" and self.fault_is_set(f.name)), None)
        if slow is not None:
            row["ready"] = now + slow.number("seconds", 5)
        if crash := starting.crash(self, row):
            row.update(state="restarting", ready=now + YEARS, restart_count=1, crash=crash)
        if row["service"] == "mssql":
            mssql.started(self)
        self.db.put_container(self.host, row)

    def is_broken_release(self, image: str) -> bool:
        """The database server's own program comes with every release and is not what breaks."""
        if not self.fault_is_set("release_does_not_start") or image.startswith(f"{REGISTRY}mssql:"):
            return False
        return image.startswith(REGISTRY) and image.rpartition(":")[2] == self.db.release()

    def started(self) -> None:
        """Counts down the faults of a start once for the whole stack, and notes when the front door answers."""
        rows = [row for row in self.containers() if row["service"] in FRONT_SERVICES]
        for name in ("start_never_ready", "slow_start", "container_crashes"):
            self.fault(name)
        if any(row.get("crash") for row in rows):
            self.fault("container_crashes_with")
        now = time.time()
        ready = max((row["ready"] for row in rows if row["state"] != "created"), default=now)
        if ready - now < YEARS / 2:
            self.db.event(self.host, "up", ready)
            return
        # It was started and will never answer: the down time goes on until somebody starts it again.
        self.db.event(self.host, "up", now)
        self.db.event(self.host, "down", now)

    def stopped(self) -> None:
        self.db.event(self.host, "down")
        mssql.stopped(self)

    def boot(self, *, ready: float = 0.0) -> None:
        """The daemon comes up: whatever was ever started is started again, one-off containers are gone."""
        rows = self.containers()
        if any(self.lives(row) for row in rows if row["service"]):
            self.stopped()
        for row in rows:
            if not row["service"]:
                self.remove([row])
            elif row["state"] != "created" and (row["project"] or row.get("run", {}).get("--restart")):
                self.start(row)
                self.db.put_container(self.host, {**row, "ready": max(row["ready"], ready)})
        if any(row["service"] for row in rows):
            self.started()

    def full_disk(self, where: str) -> Fault | None:
        """The fault of a full disk, if it holds for that place."""
        faults = [fault for fault in self.db.faults() if fault.name == "disk_full"]
        if any(fault.options.get("where", "env") in (where, "all") for fault in faults):
            return self.fault("disk_full")
        return None

    def remove(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.db.remove_container(self.host, row["name"])

    def health(self, row: Row) -> str | None:
        if row["state"] != "running" or row["service"] in ("", LITE):
            return "starting" if row["state"] == "restarting" else None
        now = time.time()
        if now >= row["ready"]:
            return "healthy"
        # Three failed probes; the lab's probes are closer together than the real ones.
        return "unhealthy" if row["ready"] - row["started"] >= YEARS / 2 and now - row["started"] > 10 else "starting"

    def restarts(self, row: Row) -> int:
        if row["state"] != "restarting":
            return int(row["restart_count"] or 0)
        return 1 + int((time.time() - row["started"]) / 2)

    def status(self, row: Row) -> str:
        elapsed = ago(time.time() - row["started"])
        if row["state"] == "created":
            return "Created"
        if row["state"] == "exited":
            return f"Exited (0) {elapsed} ago"
        if row["state"] == "restarting":
            return f"Restarting (139) {elapsed} ago"
        health = self.health(row)
        mark = f" (health: {health})" if health == "starting" else f" ({health})" if health else ""
        return f"Up {elapsed}{mark}"

    # -- images ----------------------------------------------------------------------------------------------------

    def images(self) -> list[str]:
        return self.db.images(self.host)

    def pull(self, image: str) -> None:
        if refusal := registry.refusal(self, image):
            raise EngineError(refusal)
        if image.startswith(f"{REGISTRY}setup:") and self.fault("setup_image_missing"):
            raise EngineError("manifest unknown")
        if image.startswith(REGISTRY) and not releases.is_published(image.rpartition(":")[2], self.db.release()):
            raise EngineError("manifest unknown")
        self.db.add_image(self.host, image)

    def need(self, image: str) -> None:
        """Pulls an image when the host does not have it."""
        if image not in self.images():
            self.pull(image)
