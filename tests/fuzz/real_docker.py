"""Asks the real docker client what it reads in an env file: an engine that only listens tells what it was sent."""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

Environment = dict[str, str]
CLIENT = shutil.which("docker", path=os.environ.get("REAL_DOCKER_PATH", "/usr/local/bin:/usr/bin:/bin"))


class Listener(BaseHTTPRequestHandler):
    """Answers as an engine does that refuses to make containers, and remembers the environment of each."""

    protocol_version = "HTTP/1.1"
    asked: list[list[str]]

    def _answer(self, status: int, body: Mapping[str, str]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Api-Version", "1.41")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self._answer(200, {})

    do_GET = do_HEAD

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body["Env"] or [])
        self._answer(409, {"message": "only listening"})

    def address_string(self) -> str:
        return "client"

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A server on a Unix socket."""

    daemon_threads = True


class RealDocker:
    """`docker create --env-file` against a listener."""

    def __init__(self, place: Path, caller: Mapping[str, str], asked: list[list[str]]) -> None:
        """`asked` is what the listener heard."""
        self.place = place
        self.asked = asked
        self.environment = {**caller, "DOCKER_HOST": f"unix://{place}/s", "HOME": str(place), "PATH": os.defpath}

    def read(self, data: bytes) -> Environment | str:
        """The variables, or what the client says against the file."""
        path = self.place / "x.env"
        path.write_bytes(data)
        argv = [str(CLIENT), "create", "--pull", "never", "--env-file", str(path), "x"]
        self.asked.clear()
        ended = subprocess.run(argv, capture_output=True, text=True, env=self.environment, check=False)
        return dict(pair.partition("=")[::2] for pair in self.asked[0]) if self.asked else ended.stderr


@contextmanager
def real_docker(caller: Mapping[str, str]) -> Iterator[RealDocker]:
    """The client with a listener that runs as long as the block."""
    asked: list[list[str]] = []
    handler = type("Handler", (Listener,), {"asked": asked})
    with tempfile.TemporaryDirectory() as place, Engine(f"{place}/s", handler) as engine:
        thread = threading.Thread(target=engine.serve_forever)
        thread.start()
        try:
            yield RealDocker(Path(place), caller, asked)
        finally:
            engine.shutdown()
            thread.join()
