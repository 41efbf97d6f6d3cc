"""Faults that end what runs a docker command: the play, the module or the whole host, at a chosen moment.

`killed_between_write_and_restart` strikes when bitwarden.sh begins; the others at `command=`, which is `compose up` by
default: after the stack was stopped and before it is started.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from bwlab.host.engine import Engine

BEFORE = "killed_between_write_and_restart"
KILLED, HANGUP, REBOOT = "run_killed", "connection_lost", "reboot"
MOMENT = "compose up"
COMMANDS = frozenset({"start", "restart", "update", "updateconf", "rebuild"})
PLAYBOOK = "ansible-playbook"
Ancestors = list[tuple[int, list[str]]]


def ancestors() -> Ancestors:
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


def _kill(line: Ancestors, how: signal.Signals = signal.SIGKILL) -> None:
    """The oldest first, so that nobody notices the death of a child."""
    for pid, _unused in reversed(line):
        os.kill(pid, how)


def _split(line: Ancestors) -> tuple[Ancestors, Ancestors]:
    """What runs on the host, and what runs on the controller; without a play all that a script of Bitwarden needs."""
    plays = [n for n, (_unused, words) in enumerate(line) if _runs(words, PLAYBOOK)]
    if plays:
        return line[: plays[0]], line[plays[0] : plays[-1] + 1]
    scripts = [n for n, (_unused, words) in enumerate(line) if _runs(words, "bitwarden.sh")]
    return line[: max(scripts, default=-1) + 1], []


def spring(engine: Engine, command: str) -> None:
    if engine.fault_is_set(BEFORE):
        _before(engine)
    for name in (KILLED, HANGUP, REBOOT):
        if engine.fault_is_set(name):
            _strike(engine, name, command)


def _before(engine: Engine) -> None:
    """Only a restart is ambushed: what a module reads before it goes through."""
    line = ancestors()
    script = next((words for _pid, words in line if _runs(words, "bitwarden.sh") and COMMANDS & set(words)), None)
    if script is None or engine.fault(BEFORE) is None:
        return
    host, controller = _split(line)
    _kill(host + controller)
    os.kill(os.getpid(), signal.SIGKILL)


def _strike(engine: Engine, name: str, command: str) -> None:
    waiting = [fault for fault in engine.db.faults() if fault.name == name and fault.count_left != 0]
    moments = [fault.options.get("command", MOMENT) for fault in waiting]
    if not any(command.split()[: len(moment.split())] == moment.split() for moment in moments):
        return
    fault = engine.fault(name, command=command)
    if fault is None:
        return
    host, controller = _split(ancestors())
    if name == HANGUP:
        _kill(controller)
        _kill(host, signal.SIGHUP)
        # Whoever does not mind the signal goes on, this program among them.
        os.kill(os.getpid(), signal.SIGHUP)
        return
    if name == KILLED and fault.options.get("how") == "module":
        scripts = [n for n, (_unused, words) in enumerate(host) if _runs(words, "bitwarden.sh")]
        _kill(host[max(scripts, default=-1) + 1 :])
        return
    _kill(host if name == REBOOT else host + controller)
    if name == REBOOT:
        engine.boot()
    os.kill(os.getpid(), signal.SIGKILL)
