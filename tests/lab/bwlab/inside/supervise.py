# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps the programs of a container with several of them running, and ends them with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType

PAUSE = 1.0
PATIENCE = 5.0


@dataclass
class Program:
    name: str
    command: list[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    not_before: float = 0.0

    def start_if_due(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None:
            print(f"exited: {self.name} (exit status {self.process.returncode}; not expected)", file=sys.stderr)
            self.process = None
            self.not_before = time.monotonic() + PAUSE
        if time.monotonic() >= self.not_before:
            self.process = subprocess.Popen(self.command, env={**os.environ, **self.environment})


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def run(programs: list[Program], poll: float = 0.2) -> None:
    """Until a signal comes."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        while True:
            for program in programs:
                program.start_if_due()
            time.sleep(poll)
    finally:
        end(programs)


def end(programs: list[Program]) -> None:
    running = [program.process for program in programs if program.process is not None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + PATIENCE
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
