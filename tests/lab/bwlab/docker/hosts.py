# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Managed hosts: systemd containers with an engine of their own, which a controller reaches by ssh."""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bwlab.docker.engine import Engine
from bwlab.docker.outer import NETWORK, Outer, OuterError

IMAGE = "lab/host:1"
UID = 1500
SSH_PORT = 22
READY_SECONDS = 180.0
FRONT = "bitwarden-nginx"
LITE = "bitwarden"
# The machine's bounding set lacks what --privileged asks for, so every capability is named.
CAPABILITIES = ("SYS_ADMIN", "NET_ADMIN", "MKNOD", "NET_RAW", "SYS_PTRACE")
UNCONFINED = ("seccomp", "apparmor", "systempaths")


class Hosts:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.outer = Outer(directory)
        self._pids: dict[str, int] = {}

    def home(self, name: str) -> Path:
        return self.directory / "hosts" / name

    def ssh(self) -> dict[str, int]:
        """Ports of 127.0.0.1 that lead to the hosts' ssh servers."""
        ports: dict[str, int] = json.loads((self.outer.folder / "ssh.json").read_text(encoding="utf-8"))
        return ports

    def names(self) -> list[str]:
        return sorted(folder.name for folder in (self.directory / "hosts").glob("*"))

    def load_image(self, tar: Path) -> None:
        if self.outer.docker("image", "ls", "--quiet", IMAGE):
            return
        changes = ('CMD ["/sbin/init"]', "ENV container=docker")
        options = [word for change in changes for word in ("--change", change)]
        self.outer.docker("import", *options, str(tar), IMAGE)

    def create(self, name: str, *, front_port: int, ssh_port: int) -> None:
        home = self.home(name)
        (home / "engine").mkdir(mode=0o711)
        mounts = {
            home / "engine": "/var/lib/docker",
            home / "opt" / "bitwarden": "/opt/bitwarden",
            home / "machine": "/var/lib/bwlab/host",
            self.directory / "shared": "/var/lib/bwlab/shared",
        }
        command = ["create", "--pull", "never", "--name", name, "--hostname", name, "--network", NETWORK]
        command += ["--stop-signal", "SIGRTMIN+3", "--cgroupns", "private", "--dns", self.outer.gateway()]
        command += [word for option in UNCONFINED for word in ("--security-opt", f"{option}=unconfined")]
        command += [word for name in CAPABILITIES for word in ("--cap-add", name)]
        command += ["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"]
        command += [word for source, target in mounts.items() for word in ("--volume", f"{source}:{target}")]
        command += [
            "--publish",
            f"127.0.0.1:{front_port}:{front_port}",
            "--publish",
            f"127.0.0.1:{ssh_port}:{SSH_PORT}",
        ]
        self.outer.docker(*command, IMAGE)

    def start(self, names: list[str]) -> None:
        """Machines that are up: engine and ssh server run."""
        self.outer.docker("start", *names)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._wait, names))

    def _wait(self, name: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not (self._active(name) and self.engine(name).answers()):
            if time.monotonic() > deadline:
                raise OuterError(f"the managed host {name} did not start:\n{self._trouble(name)}")
            time.sleep(0.2)

    def _active(self, name: str) -> bool:
        return (
            self.outer.docker("exec", name, "systemctl", "is-active", "docker", "ssh", check=False) == "active\nactive"
        )

    def _trouble(self, name: str) -> str:
        """The last words of a machine."""
        services = "systemctl --no-pager --lines 5 status lab-boot docker ssh; systemctl list-jobs"
        told = self.outer.docker("exec", name, "sh", "-c", services, check=False)
        return told[-3000:] or self.outer.docker("logs", "--tail", "20", name, check=False)

    def run(self, name: str, command: str) -> subprocess.CompletedProcess[str]:
        """As the user that owns the installation."""
        words = ["docker", "--host", f"unix://{self.outer.socket}", "exec", "--user", "bitwarden"]
        words += ["--workdir", "/opt/bitwarden", name, "bash", "-c", command]
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def stop(self, names: list[str]) -> None:
        """In order, as a machine is shut down: what runs inside ends by itself."""
        if names and self.outer.engine.answers():
            self.outer.docker("stop", "--time", "30", *names, check=False)

    def addresses(self) -> dict[str, str]:
        return self.outer.addresses()

    def pid(self, name: str) -> int:
        """Process 1 of the host; 0 when it does not run."""
        pid = self._pids.get(name, 0)
        if not Path(f"/proc/{pid}/root/var/lib/bwlab/host").is_dir() or not pid:
            try:
                state: dict[str, Any] = self.outer.engine.get(f"/containers/{name}/json")["State"]
            except OSError:
                return 0
            self._pids[name] = pid = int(state["Pid"])
        return pid

    def engine(self, name: str) -> Engine:
        """The host's own engine, through the file system that its processes see."""
        return Engine(Path(f"/proc/{self.pid(name)}/root/run/docker.sock"))

    def stack_is_down(self, name: str) -> bool:
        engine = self.engine(name)
        return not any(engine.running(container) for container in (FRONT, LITE))
