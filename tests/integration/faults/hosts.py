"""Servers of the lab as the matrix needs them: broken, watched, looked at, and mended again."""

from __future__ import annotations

import fcntl
import http.client
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bwlab import lifecycle
from bwlab.labdb import LabDb
from labkit import ROOT, Lab

KEY = "globalSettings__faultMatrix"
PROBE_SECONDS = 0.1
READY_SECONDS = 5.0
SETTLE_SECONDS = 120.0
# How the lab's own probes are kept out of logs and limits.
PROBE = {"X-Connecting-IP": "lab-probe"}


class Host:
    """One server of a lab."""

    def __init__(self, lab: Lab, name: str, deployment: str) -> None:
        self.lab = lab
        self.name = name
        self.deployment = deployment
        self.url: str = lab.addresses["servers"][name]["url"]
        self.directory = lab.directory / "hosts" / name / "opt" / "bitwarden"
        self.programs = lab.directory / "hosts" / name / "bin"
        self.db = LabDb(lab.directory / "lab.sqlite")
        self.environment = lifecycle.environment(lab.directory, ROOT)
        self.known = self.files()
        self.first = self.content() or b""

    @property
    def env_file(self) -> Path:
        """The file that the matrix changes."""
        if self.deployment.startswith("lite"):
            return self.directory / "settings.env"
        return self.directory / "bwdata" / "env" / "global.override.env"

    def content(self) -> bytes | None:
        """What the env file holds."""
        return self.env_file.read_bytes() if self.env_file.is_file() else None

    def files(self) -> set[str]:
        """Names where a run may leave something behind: in the installation, in the env folder, among the backups."""
        folders = (
            self.directory,
            self.env_file.parent,
            self.directory / "bwdata-backups",
            self.directory / "env-backups",
        )
        return {str(path) for folder in folders if folder.is_dir() for path in folder.iterdir()}

    def fault(self, name: str, options: dict[str, Any]) -> None:
        """Set a fault for this server alone."""
        limit = {"persona": f"server:{self.name}"} if name.startswith(("tls_", "cloud_")) else {"server": self.name}
        self.db.set_fault(name, {**{key: str(value) for key, value in options.items()}, **limit})

    def clear(self) -> None:
        """End all faults of this server."""
        self.db.clear_faults(server=self.name)

    def docker(self, *arguments: str, check: bool = True) -> None:
        """The host's own docker, in the folder of its compose files."""
        folder = self.directory / "bwdata" / "docker"
        command = [str(self.programs / "docker"), *arguments]
        where = folder if folder.is_dir() else self.directory
        subprocess.run(command, cwd=where, check=check, capture_output=True)

    def reset(self) -> None:
        """Start everything anew with the first settings, whatever has become of it."""
        self.clear()
        if self.content() != self.first:
            self.env_file.write_bytes(self.first)
        if self.deployment == "lite-run":
            self.docker("rename", "bitwarden-previous", "bitwarden", check=False)
            self.docker("restart", "bitwarden", check=False)
        else:
            for command in (("down",), ("up", "-d")):
                self.docker("compose", *command, check=False)
        self.answers()

    def api(self) -> dict[str, Any]:
        """The container that has the api; empty where there is none."""
        return self.db.api_container(self.name) or {}

    def marker(self) -> str | None:
        """The value that the running api has for the key that the matrix changes."""
        row = self.api()
        value: str | None = row["env"].get(KEY) if row.get("state") == "running" else None
        return value

    def restarts(self) -> int:
        """How often the server was started after it was down."""
        return int(self.db.counters(self.name)["restarts"])

    def answers(self) -> bool:
        """Whether the front door answers for the api, now or as soon as containers that were started are ready."""
        watch, end = Watch(self), time.monotonic() + READY_SECONDS
        while not watch.ask():
            if time.monotonic() > end:
                return False
            time.sleep(PROBE_SECONDS)
        return True

    def settle(self) -> None:
        """Wait until nobody holds the lock of the installation: a run may outlive its play."""
        descriptor = os.open(self.directory, os.O_RDONLY)
        end = time.monotonic() + SETTLE_SECONDS
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    assert time.monotonic() < end, f"somebody still works on {self.directory}"
                    time.sleep(0.1)
        finally:
            os.close(descriptor)


class Watch(threading.Thread):
    """Asks the front door all the time, as a client would, and keeps the times without an answer."""

    def __init__(self, host: Host) -> None:
        super().__init__(daemon=True)
        self.host = host
        self.failed = 0
        self.asked = 0
        # Seconds from the first question without an answer to the next answer, summed up.
        self.downtime = 0.0
        self._over = threading.Event()
        self._context = ssl.create_default_context()
        # Whether anybody answers is the question, not with which certificate.
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._connection: http.client.HTTPSConnection | None = None

    def ask(self) -> bool:
        """One question."""
        name, _unused, port = self.host.url.removeprefix("https://").partition(":")
        try:
            if self._connection is None:
                self._connection = http.client.HTTPSConnection(name, int(port), timeout=5, context=self._context)
            self._connection.request("GET", "/api/alive", headers=PROBE)
            response = self._connection.getresponse()
            response.read()
            return response.status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            self._connection = None
            return False

    def run(self) -> None:
        """Ask until told to end."""
        since: float | None = None
        while not self._over.is_set():
            began = time.monotonic()
            self.asked += 1
            if not self.ask():
                self.failed += 1
                since = began if since is None else since
            elif since is not None:
                self.downtime += time.monotonic() - since
                since = None
            self._over.wait(PROBE_SECONDS)

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self.join()


@contextmanager
def fleet(directory: Path, kinds: dict[str, int]) -> Iterator[list[Host]]:
    """Labs with so many servers of each kind of deployment."""
    labs: list[Lab] = []
    try:
        hosts = []
        for kind, count in kinds.items():
            options = ("--servers", str(count), "--regions", "US", "--deployment", kind)
            lab = Lab(directory / kind, *options)
            labs.append(lab)
            hosts += [Host(lab, name, kind) for name in lab.addresses["servers"]]
        yield hosts
    finally:
        for lab in labs:
            lab.down()
