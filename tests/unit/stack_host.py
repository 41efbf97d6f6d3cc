"""A Bitwarden server's host for tests: files, a docker, a bitwarden.sh and a front door, all of it small."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from unit.module_runner import Result, run_module

FLAG = "globalSettings__enableCloudCommunication"
PUSH = "globalSettings__pushRelayBaseUri"
GLOBAL = f"globalSettings__selfHosted=true\n{PUSH}=https://push.bitwarden.com\n"
# The order of calls is that of the real script, with its question to root.
SCRIPT = """#!/bin/bash
set -e
COREVERSION="2026.8.0"
cd "$(dirname "$0")"
echo "$(id -u) $HOME $USER" >>"$FAKE_DOCKER/script_runs"
if [ "$EUID" -eq 0 ]; then
  read -r -p "Do you still want to continue? (y/n): " answer
  [ "$answer" = y ] || exit 1
fi
[ ! -e "$FAKE_DOCKER/script_dies_early" ] || { echo "uid.env: Permission denied" >&2; exit 1; }
[ ! -e "$FAKE_DOCKER/script_hangs" ] || sleep 600
export COMPOSE_FILE="$PWD/bwdata/docker/docker-compose.yml"
[ "$(docker compose ps | wc -l)" -le 2 ] || docker compose down
docker compose pull
docker compose up -d
docker pull ghcr.io/bitwarden/setup:2026.8.0
echo "Bitwarden is up and running! key hunter2hunter2"
"""


class Host:
    """The parts of one host, and what happened on it."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "opt" / "bitwarden"
        self.state = folder / "state"
        self.programs = folder / "bin"
        self.slow = 0.0
        self.wrong_status = 0
        self.wrong_until_restart = False
        for path in ("bwdata/docker", "bwdata/env", "bwdata/scripts"):
            (self.directory / path).mkdir(parents=True)
        self.state.mkdir()
        self.programs.mkdir()
        self._program(self.directory / "bitwarden.sh", SCRIPT)
        (self.directory / "bwdata/scripts/run.sh").write_text("")
        (self.directory / "bwdata/docker/docker-compose.yml").write_text("services: {}\n")
        (self.directory / "bwdata/docker/global.env").write_text(GLOBAL)
        fake = Path(__file__).with_name("fake_docker.py")
        self._program(self.programs / "docker", f'#!/bin/sh\nexec "{sys.executable}" "{fake}" "$@"\n')

    @staticmethod
    def _program(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    @property
    def env_file(self) -> Path:
        return self.directory / "bwdata/env/global.override.env"

    def write_env(self, url: str, *lines: str) -> None:
        own = ["globalSettings__installation__id=1", "globalSettings__installation__key=hunter2hunter2"]
        text = [f"globalSettings__baseServiceUri__vault={url}", *own, *lines]
        self.env_file.write_text("".join(f"{line}\n" for line in text))

    def containers(self) -> dict[str, Any]:
        path = self.state / "containers.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def alter(self, service: str, **columns: Any) -> None:
        found = self.containers()
        found[service].update(columns)
        (self.state / "containers.json").write_text(json.dumps(found))

    def remove(self, service: str) -> None:
        found = self.containers()
        del found[service]
        (self.state / "containers.json").write_text(json.dumps(found))

    def fault(self, name: str) -> None:
        (self.state / name).touch()

    def calls(self) -> list[list[Any]]:
        path = self.state / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def script_runs(self) -> list[str]:
        path = self.state / "script_runs"
        return path.read_text().splitlines() if path.exists() else []

    def environment(self) -> dict[str, str | None]:
        return {
            "FAKE_DOCKER": str(self.state),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "COMPOSE_PROJECT_NAME": "of-the-caller",
            "HTTPS_PROXY": None,
            "HTTP_PROXY": None,
        }

    def run(self, *, check: bool = False, **arguments: Any) -> Result:
        arguments = {"directory": str(self.directory), "timeout": 8, "lock_timeout": 3, **arguments}
        return run_module("stack", arguments, check=check, diff=True, env=self.environment())

    def alive(self) -> bool:
        found = self.containers()
        return all(
            found.get(name, {}).get("state") == "running" and time.time() - found[name]["started"] >= self.slow
            for name in ("api", "identity", "nginx")
        )


@contextmanager
def front_door(host: Host) -> Iterator[str]:
    """Answers as nginx does: 502 while the services behind it do not listen."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path in {"/api/alive", "/identity/alive"}
            wrong = 0 if host.wrong_until_restart and host.script_runs() else host.wrong_status
            self.send_response(wrong or ((200 if host.alive() else 502) if known else 404))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
