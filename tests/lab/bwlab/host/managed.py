"""A managed host in the hand of a test: runs its programs and looks at its state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bwlab.host.engine import Engine
from bwlab.host.install import Host, host_of, install_host
from bwlab.labdb import LabDb

SETUP_IMAGE = "ghcr.io/bitwarden/setup:2026.7.2"
IDENTITY = "11111111-2222-3333-4444-555555555555"
Done = subprocess.CompletedProcess[str]


def path_without_compose() -> str:
    """The controller's programs are not the host's: the virtual environment may have a real docker-compose."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not Path(folder, "docker-compose").exists())


@dataclass
class Managed:
    lab_dir: Path
    name: str = "us1"
    user: int | None = None
    python: str = sys.executable
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> Host:
        return host_of(self.lab_dir, self.name)

    @property
    def db(self) -> LabDb:
        return LabDb(self.lab_dir / "lab.sqlite")

    @property
    def env_file(self) -> Path:
        return self.host.bwdata / "env" / "global.override.env"

    def install(self, region: str = "US", *, start: bool = True) -> Managed:
        install_host(
            self.lab_dir,
            self.name,
            url="https://localhost:8443",
            region_name=region,
            installation_id=IDENTITY,
            installation_key="Key1",
            fetch=lambda _: (200, '{"enabled": true}'),
            start=start,
            python=self.python,
        )
        if self.user is not None:
            for path in (self.lab_dir, *self.lab_dir.rglob("*")):
                os.chown(path, self.user, self.user, follow_symlinks=False)
        return self

    def run(
        self, *command: str, stdin: str = "", cwd: Path | None = None, variables: dict[str, str] | None = None
    ) -> Done:
        env = {
            "PATH": f"{self.host.bin}:{path_without_compose()}",
            "HOME": str(self.lab_dir),
            **self.environment,
            **(variables or {}),
        }
        who: dict[str, Any] = {}
        if self.user is not None:
            who = {"user": self.user, "group": self.user, "extra_groups": []}
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=env, check=False, cwd=cwd or self.lab_dir, **who
        )

    def docker(self, *arguments: str, variables: dict[str, str] | None = None) -> Done:
        return self.run("docker", *arguments, cwd=self.host.bwdata / "docker", variables=variables)

    def setup(self, *arguments: str, mount: str | None = None) -> Done:
        """A setup container, as run.sh starts it."""
        return self.docker(
            *("run", "-i", "--rm", "--name", "setup", "-v", f"{mount or self.host.bwdata}:/bitwarden"),
            *("--env-file", f"{self.host.bwdata}/env/uid.env", SETUP_IMAGE, "/app/Setup", *arguments),
        )

    def script(self, *arguments: str, stdin: str | None = None, variables: dict[str, str] | None = None) -> Done:
        """bitwarden.sh; root answers its question with yes unless told otherwise."""
        answer = "y\n" if stdin is None and os.geteuid() == 0 and self.user is None else stdin or ""
        return self.run(str(self.host.directory / "bitwarden.sh"), *arguments, stdin=answer, variables=variables)

    def states(self) -> dict[str, str]:
        return {row["name"]: row["state"] for row in Engine(self.lab_dir, self.name).containers()}

    def container(self, name: str = "bitwarden-api") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.docker("inspect", name).stdout)[0]
        return found

    def restarts(self) -> int:
        return int(self.db.counters(self.name)["restarts"])

    def set_line(self, key: str, value: str) -> None:
        """One key of the env file, in place or at the end."""
        kept = [line for line in self.env_file.read_text().splitlines() if not line.startswith(f"{key}=")]
        self.env_file.write_text("\n".join([*kept, f"{key}={value}"]) + "\n")
