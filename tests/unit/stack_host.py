"""A managed host of the lab with a front door of its own, for tests of the module stack."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from bwlab import tls
from bwlab.host.engine import YEARS
from bwlab.host.install import install_host
from bwlab.host.managed import path_without_compose
from bwlab.labdb import LabDb
from unit.module_runner import Result, run_module, start_module

NAME = "us1"
FLAG = "globalSettings__enableCloudCommunication"
PUSH = "globalSettings__pushRelayBaseUri"
BEHIND_THE_DOOR = ("nginx", "api", "identity")


class Host:
    """A fresh installation whose stack runs, and what happens on it."""

    def __init__(self, lab_dir: Path, url: str, deployment: str = "standard") -> None:
        self.url = url
        self.deployment = deployment
        (lab_dir / "lab.sqlite").touch()
        installed = install_host(
            lab_dir,
            NAME,
            url=url,
            region_name="US",
            installation_id="11111111-2222-3333-4444-555555555555",
            installation_key="StackHostInstallationKey",
            fetch=lambda _address: (200, '{"enabled": true}'),
            deployment=deployment,
        )
        self.db = LabDb(lab_dir / "lab.sqlite")
        self.directory = installed.directory
        self.bwdata = installed.bwdata
        self.programs = installed.bin
        self.script = installed.directory / "bitwarden.sh"
        lite = deployment.startswith("lite")
        self.env_file = self.directory / "settings.env" if lite else self.bwdata / "env/global.override.env"
        self.certificates = installed.bwdata / "ca-certificates"

    def set(self, key: str, value: str | None) -> None:
        """Sets or removes a key in the env file, as somebody does by hand."""
        kept = [line for line in self.env_file.read_text().splitlines() if not line.startswith(f"{key}=")]
        new = [] if value is None else [f"{key}={value}"]
        self.env_file.write_text("".join(f"{line}\n" for line in kept + new))

    def container(self, service: str) -> dict[str, Any]:
        row = self.db.container(NAME, service)
        assert row is not None
        return row

    def environment_of(self, service: str) -> dict[str, str]:
        environment: dict[str, str] = self.container(service)["env"]
        return environment

    def alter(self, service: str, **columns: Any) -> None:
        self.db.put_container(NAME, {**self.container(service), **columns})

    def sicken(self, service: str) -> None:
        """Makes a container fail its health check for good."""
        now = time.time()
        self.alter(service, started=now - 20, ready=now + YEARS)

    def age(self) -> None:
        """Makes all containers an hour old, so that nobody waits for them to get ready."""
        hour_ago = time.time() - 3600
        for row in self.db.containers(NAME):
            self.db.put_container(NAME, {**row, "started": hour_ago, "ready": hour_ago})
        if self.certificates.is_dir():
            os.utime(self.certificates, (hour_ago - 60, hour_ago - 60))

    def remove(self, service: str) -> None:
        self.db.remove_container(NAME, self.container(service)["name"])

    @property
    def restarts(self) -> int:
        return int(self.db.counters(NAME)["restarts"])

    def snapshot(self) -> list[tuple[str, str]]:
        """What changes when a container is touched."""
        return sorted((row["id"], row["state"]) for row in self.db.containers(NAME) if row["project"])

    def secrets(self) -> list[str]:
        """The secret values in the env file, found by the list in the lab's own documents and not by the collection."""
        names = r"(?:[kK]ey|KEY|[pP]assword|installation__id)"
        text = self.env_file.read_text()
        values = re.findall(rf"^\w*{names}=(\w[\w-]+)$", text, re.MULTILINE) + re.findall(r"Password=(\w+);", text)
        return [value for value in values if value != "REPLACE"]

    def replace_script(self, text: str) -> None:
        """Another bitwarden.sh; the real one lies beside it as real.sh."""
        self.script.rename(self.directory / "real.sh")
        self.script.write_text(f'#!/bin/bash\ncd "$(dirname "$0")"\n{text}\n')
        self.script.chmod(0o700)

    def environment(self) -> dict[str, str | None]:
        return {
            "PATH": f"{self.programs}:{path_without_compose()}",
            "COMPOSE_PROJECT_NAME": "of-the-caller",
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")),
        }

    def arguments(self, **arguments: Any) -> dict[str, Any]:
        # Lite believes to be reached by https.
        url = {"url": self.url} if self.deployment.startswith("lite") else {}
        return {"directory": str(self.directory), "timeout": 30, "lock_timeout": 2, **url, **arguments}

    def write(self, key: str, value: str, **arguments: Any) -> Result:
        """Sets a key as a playbook does, with a way back."""
        wanted = {"path": str(self.env_file), "keys": {key: value}, "rollback": True, **arguments}
        return run_module("env_file", wanted, env=self.environment())

    def begin(self, **arguments: Any) -> subprocess.Popen[str]:
        """Starts the module and does not wait."""
        return start_module("stack", self.arguments(**arguments), env=self.environment(), start_new_session=True)

    def run(self, *, check: bool = False, **arguments: Any) -> Result:
        result = run_module("stack", self.arguments(**arguments), check=check, diff=True, env=self.environment())
        for secret in self.secrets():
            assert secret not in result.output
        return result


class Door:
    """What answers at the address of the host, as its nginx would."""

    def __init__(self) -> None:
        self.host: Host | None = None
        self.status: int | None = None
        self.until_restart = False

    def answer(self, path: str) -> int:
        if self.host is None or path not in {"/api/alive", "/identity/alive"}:
            return 404
        if self.status is not None and not (self.until_restart and self.host.restarts):
            return self.status
        rows = {row["service"] or row["name"]: row for row in self.host.db.containers(NAME)}
        names = BEHIND_THE_DOOR if self.host.deployment in {"standard", "manual"} else ("bitwarden",)
        ready = [rows.get(name, {"state": "none", "ready": 0}) for name in names]
        return 200 if all(row["state"] == "running" and row["ready"] <= time.time() for row in ready) else 502


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], secure: Path | None = None) -> Iterator[str]:
    """A web server on a port of its own (with TLS, the certificates in a folder); its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if secure is not None:
        tls.write_certificates(secure)
        server.socket = tls.context(secure).wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if secure else ''}://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def front_door(door: Door, secure: Path | None = None) -> Iterator[str]:
    """Serves the door; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(door.answer(self.path))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            return

    with listening(Handler, secure) as url:
        yield url


@contextmanager
def running_host(lab_dir: Path, door: Door, deployment: str = "standard") -> Iterator[Host]:
    """A host behind that door whose stack has run for an hour."""
    with front_door(door) as url:
        host = door.host = Host(lab_dir, url, deployment)
        try:
            host.age()
            yield host
        finally:
            host.db.close()
