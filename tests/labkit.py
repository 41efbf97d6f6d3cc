"""The lab as tests use it: a thin hand on its command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / "tests" / "lab" / "lab"
SITE = ROOT / "playbooks" / "site.yml"

Recap = dict[str, dict[str, int]]


class Lab:
    """A running lab in one folder."""

    def __init__(self, directory: Path, *options: str, delay: float | None = None) -> None:
        """Start it; `options` are those of `lab up`, `delay` is how long a server thinks about a wrong secret."""
        self.directory = directory
        self._delay = {} if delay is None else {"BWLAB_DELAY": str(delay)}
        self.addresses: dict[str, Any] = json.loads(self.call("up", *options).stdout)

    def call(self, command: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of the lab's commands."""
        argv = [str(LAB), command, "--dir", str(self.directory), *arguments]
        environment = {**os.environ, **self._delay}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{argv} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command with the lab's PATH, certificates, secrets and Ansible settings."""
        return self.call("run", "--", *command, check=False)

    def site(self, *options: str, ok: bool = True) -> Play:
        """Run site.yml; with `ok` a failure of any host fails the test."""
        play = Play(self.run("ansible-playbook", str(SITE), *options))
        if ok and play.status:
            raise AssertionError(play.output)
        return play

    def state(self) -> dict[str, Any]:
        """What `lab state` says."""
        state: dict[str, Any] = json.loads(self.call("state").stdout)
        return state

    def log(self, after: int = 0) -> list[dict[str, Any]]:
        """The requests that personas got, from number `after` on."""
        return [json.loads(line) for line in self.call("log", "--after", str(after)).stdout.splitlines()]

    def last(self) -> int:
        """Number of the newest request."""
        return max((entry["n"] for entry in self.log()), default=0)

    def secrets(self) -> list[str]:
        """Every secret value in the lab."""
        return [line for line in self.call("secrets").stdout.splitlines() if line]

    def fault(self, name: str, **options: object) -> None:
        """Set a fault."""
        self.call("fault", "set", name, *(f"{key}={value}" for key, value in options.items()))

    def clear(self) -> None:
        """Clear all faults."""
        self.call("fault", "clear")

    def bwdata(self, host: str) -> Path:
        """Folder bwdata of a managed host."""
        return self.directory / "hosts" / host / "opt" / "bitwarden" / "bwdata"

    def env_file(self, host: str) -> Path:
        """The env file of a managed host."""
        return self.bwdata(host) / "env" / "global.override.env"

    def down(self) -> None:
        """End everything that was started."""
        self.call("down")


@contextmanager
def started(directory: Path, *options: str) -> Iterator[Lab]:
    """A lab that is ended whatever happens."""
    lab = Lab(directory, *options)
    try:
        yield lab
    finally:
        lab.down()


class Play:
    """A finished ansible-playbook."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        """Read its recap."""
        self.status = done.returncode
        self.output = done.stdout + done.stderr
        self.recap: Recap = {
            line.split(":")[0].strip(): {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}
            for line in done.stdout.partition("PLAY RECAP")[2].splitlines()
            if "ok=" in line
        }

    @property
    def said(self) -> str:
        """The output without the ends of lines, which stand where a screen has its own."""
        return " ".join(self.output.split())

    def changed(self) -> dict[str, list[str]]:
        """Names of the changed tasks, by host."""
        found: dict[str, list[str]] = {}
        task = ""
        for line in self.output.splitlines():
            if match := re.match(r"TASK \[(?:\S+ : )?(.*?)\] \*", line):
                task = match[1]
            elif match := re.match(r"changed: \[([^\] ]+)", line):
                found.setdefault(match[1], []).append(task)
        return found
