# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A lab whose managed hosts are machines: what tests do on them, and what is left of them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from bwlab.docker.outer import Outer
from labkit import Lab

Done = subprocess.CompletedProcess[str]


class Machines(Lab):
    """A lab with --engine docker."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.options = ("--engine", "docker", *options)
        try:
            super().__init__(directory, *self.options)
        except AssertionError:
            self.directory = directory
            self.down()
            raise

    def up_again(self) -> None:
        self.call("up", *self.options)

    @property
    def url(self) -> str:
        return str(self.addresses["servers"]["us1"]["url"])

    def outer(self, *words: str) -> Done:
        """The client of this machine, at the lab's own engine."""
        command = ["docker", "--host", f"unix://{Outer(self.directory).socket}", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def ssh(self, command: str, host: str = "us1") -> Done:
        """As a person who operates the server."""
        config = self.directory / "ssh" / "config"
        words = ["ssh", "-F", str(config), "-o", "BatchMode=yes", host, command]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)

    def on(self, command: str) -> str:
        """Output of a command on us1 that must not fail."""
        done = self.ssh(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def server(self, name: str = "us1") -> dict[str, Any]:
        found: dict[str, Any] = self.state()["servers"][name]
        return found

    def wait_until_up(self, seconds: float = 240.0) -> None:
        deadline = time.monotonic() + seconds
        while self.server()["stack"] != "up":
            assert time.monotonic() < deadline, self.server()
            time.sleep(0.5)


def left(directory: Path) -> list[str]:
    """Processes, mounts, network devices and sockets of a lab; the caller's own commands name its folder too."""
    run = Outer(directory).run
    needles = (f"{directory}/docker/", f"{run}/")
    found = [str(run)] if run.exists() else []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if any(needle in line for needle in needles) or f"bwlab.daemon {directory} " in line:
                found.append(line)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [line for line in mounts if any(f" {needle}" in line for needle in needles)]
    network = directory / "docker" / "network.json"
    if network.is_file():
        bridge = json.loads(network.read_text())["bridge"]
        found += [str(path) for path in Path("/sys/class/net").glob(bridge)]
    return found
