"""The lab's container engine: containers are rows with the environment that they were created with."""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bwlab.labdb import Fault, LabDb

Row = dict[str, Any]
YEARS = 10 * 365 * 86400.0
# What no host of the lab has to wait for, but what a poll can still see.
START_SECONDS = 0.3
FLAG = "globalSettings__enableCloudCommunication"
REGISTRY = "ghcr.io/bitwarden/"
IMAGE_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
SERVICE_ENV = {
    "ASPNETCORE_ENVIRONMENT": "Production",
    "ASPNETCORE_URLS": "http://+:5000",
    "SSL_CERT_DIR": "/etc/bitwarden/ca-certificates",
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


class Engine:
    def __init__(self, lab_dir: Path, host: str) -> None:
        self.lab_dir = lab_dir
        self.host = host
        self.home = lab_dir / "hosts" / host
        self.bwdata = self.home / "opt" / "bitwarden" / "bwdata"
        self.db = LabDb(lab_dir / "lab.sqlite")

    def fault(self, name: str) -> Fault | None:
        return self.db.take_fault(name, server=self.host)

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

    def start(self, row: Row) -> None:
        """Gives a row its times and the state that a container with this environment gets into."""
        now = time.time()
        row.update(started=now, ready=now + START_SECONDS, state="running", restart_count=0)
        if self.fault_is_set("start_never_ready"):
            row["ready"] = now + YEARS
        slow = next((f for f in self.db.faults() if f.name == "slow_start" and self.fault_is_set(f.name)), None)
        if slow is not None:
            row["ready"] = now + slow.number("seconds", 5)
        if not self.readable_flag(row["env"]):
            row.update(state="restarting", ready=now + YEARS, restart_count=1)
        self.db.put_container(self.host, row)

    def readable_flag(self, env: dict[str, str]) -> bool:
        """A service ends at once when its switch is neither true nor false, whatever the letters' case."""
        values = [value for key, value in env.items() if key.lower() == FLAG.lower()]
        return all(value.strip().lower() in ("true", "false", "") for value in values)

    def started(self) -> None:
        """Counts down the faults of a start once for the whole stack, and notes when the api answers."""
        for name in ("start_never_ready", "slow_start"):
            self.fault(name)
        now = time.time()
        ready = max((row["ready"] for row in self.containers() if row["service"] == "api"), default=now)
        if ready - now < YEARS / 2:
            self.db.event(self.host, "up", ready)
            return
        # It was started and will never answer: the down time goes on until somebody starts it again.
        self.db.event(self.host, "up", now)
        self.db.event(self.host, "down", now)

    def stopped(self) -> None:
        self.db.event(self.host, "down")

    def remove(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.db.remove_container(self.host, row["name"])

    def health(self, row: Row) -> str | None:
        if row["state"] != "running" or not row["service"]:
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
        registry = image.partition("/")[0] if "." in image.partition("/")[0] else "registry-1.docker.io"
        down = self.fault("registry_down") is not None
        if not down and not any(row["project"] and row["state"] != "exited" for row in self.containers()):
            down = self.fault("registry_down_after_stop") is not None
        if down:
            raise EngineError(
                f'Get "https://{registry}/v2/": dial tcp: lookup {registry}: Temporary failure in name resolution'
            )
        if image.startswith(f"{REGISTRY}setup:") and self.fault("setup_image_missing"):
            raise EngineError("manifest unknown")
        self.db.add_image(self.host, image)

    def need(self, image: str) -> None:
        """Pulls an image when the host does not have it."""
        if image not in self.images():
            self.pull(image)
