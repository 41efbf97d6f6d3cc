"""The fault that ends ansible-playbook between writing the env file and the restart."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from bwlab.host.engine import Engine

NAME = "killed_between_write_and_restart"
COMMANDS = frozenset({"start", "restart", "update", "updateconf", "rebuild"})


def ancestors() -> list[tuple[int, list[str]]]:
    """Process ids and command lines, the parent first."""
    found = []
    pid = os.getppid()
    while pid > 1:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        found.append((pid, words))
        # The name of the program, in parentheses, may hold anything.
        pid = int(status.rpartition(")")[2].split()[1])
    return found


def _runs(words: list[str], program: str) -> bool:
    """As the program itself, or as the script that an interpreter runs."""
    return any(word.rpartition("/")[2] == program for word in words[:2])


def spring(engine: Engine) -> None:
    """Only a restart is ambushed: what a module reads before it goes through."""
    if not engine.fault_is_set(NAME):
        return
    line = ancestors()
    script = next(
        (n for n, (_unused, words) in enumerate(line) if _runs(words, "bitwarden.sh") and COMMANDS & set(words)), None
    )
    if script is None or engine.fault(NAME) is None:
        return
    last = max((n for n, (_unused, words) in enumerate(line) if _runs(words, "ansible-playbook")), default=script)
    for pid, _unused in reversed(line[: last + 1]):
        os.kill(pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
