"""Runs a module of the collection as Ansible does: its own process, JSON arguments in, one JSON object out."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
PACKAGE = "ansible_collections.selfhosted.bitwarden.plugins.modules"

# Servers have other versions of Python than controllers: name one that has ansible-core, and modules run with it.
MODULE_PYTHON = os.environ.get("MODULE_PYTHON", sys.executable)

FORKS = "import sys; sys.path.insert(0, sys.argv.pop(1)); from unit import module_forks; module_forks.main()"

# Everything is imported before the rights are given up, since the interpreter may lie where only root can read.
AS_USER = """
import importlib, os, sys
import ansible.module_utils.basic, ansible.module_utils.common.arg_spec, ansible.module_utils.common.validation
module = importlib.import_module(sys.argv[1])
uid = int(sys.argv[2])
del sys.argv[1:]
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
os.environ["HOME"] = "/"
module.main()
"""


@dataclass(frozen=True)
class Result:
    """What one run of a module gave back; `output` is everything it wrote, for searches for secrets."""

    data: dict[str, Any]
    rc: int
    output: str

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self.data.get(key, default)

    @property
    def failed(self) -> bool:
        return bool(self.data.get("failed", False))

    @property
    def warnings(self) -> str:
        """All warnings as one text: their form differs between versions of ansible-core."""
        return "\n".join(
            str(warning["event"]["msg"] if isinstance(warning, dict) else warning)
            for warning in self.data.get("warnings", [])
        )

    @property
    def changed(self) -> bool:
        return bool(self.data.get("changed", False))


def module_environment(extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """The caller's environment with the collection importable; a value of None takes a variable away.

    Without the variables that stand in for options: a test tells a module everything that it is to know.
    """
    environment: dict[str, str | None] = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BITWARDEN_")},
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / ".cache"), os.environ.get("PYTHONPATH", "")])),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.update(extra or {})
    return {key: value for key, value in environment.items() if value is not None}


def module_input(arguments: Mapping[str, Any], *, check: bool = False, diff: bool = False) -> str:
    """The text that Ansible hands to a module on its standard input."""
    internal = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_no_log": False}
    return json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, **internal}})


def start_module(
    name: str,
    arguments: Mapping[str, Any],
    *,
    check: bool = False,
    diff: bool = False,
    env: Mapping[str, str | None] | None = None,
    python: str = MODULE_PYTHON,
    uid: int | None = None,
    **popen: Any,
) -> subprocess.Popen[str]:
    """Starts a module (as another user, where `uid` is given) and returns at once; see `finish_module`."""
    target = f"{PACKAGE}.{name}"
    process = subprocess.Popen(
        [python, "-m", target] if uid is None else [python, "-c", AS_USER, target, str(uid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        env=module_environment(env),
        **popen,
    )
    if process.stdin is None:
        raise RuntimeError("the module was started without standard input")
    process.stdin.write(module_input(arguments, check=check, diff=diff))
    process.stdin.close()
    process.stdin = None
    return process


def finish_module(process: subprocess.Popen[str], timeout: float = 120) -> Result:
    """Waits for a started module and parses its answer."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    lines = [line for line in stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise AssertionError(f"the module gave no JSON (rc {process.returncode}):\n{stdout}\n{stderr}")
    return Result(json.loads(lines[-1]), process.returncode, stdout + stderr)


class Forks:
    """A process that runs modules in forks of itself, one at a time: quick, since it has imported them already."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [MODULE_PYTHON, "-c", FORKS, str(TESTS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=module_environment(),
        )
        atexit.register(self._process.communicate)

    def run(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        check: bool = False,
        diff: bool = False,
        env: Mapping[str, str | None] | None = None,
        timeout: float = 120,
    ) -> Result:
        """Runs a module to its end."""
        wanted = {
            "name": f"{PACKAGE}.{name}",
            "input": module_input(arguments, check=check, diff=diff),
            "env": module_environment(env),
            "cwd": os.getcwd(),
            "timeout": timeout,
        }
        if not self._lock.acquire(blocking=False):
            return finish_module(start_module(name, arguments, check=check, diff=diff, env=env), timeout)
        try:
            answer = self._ask(wanted)
        finally:
            self._lock.release()
        lines = [line for line in answer["output"].splitlines() if line.startswith("{")]
        if not lines:
            raise AssertionError(f"the module gave no JSON (rc {answer['rc']}):\n{answer['output']}")
        return Result(json.loads(lines[-1]), answer["rc"], answer["output"])

    def _ask(self, wanted: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@functools.cache
def forks() -> Forks:
    """The one of this process."""
    return Forks()


def run_module(name: str, arguments: Mapping[str, Any], *, timeout: float = 120, **options: Any) -> Result:
    """Runs a module to its end. Options: those of `start_module`, some of which need a process of its own."""
    # What was imported once is not imported from elsewhere in a fork.
    elsewhere = "PYTHONPATH" in (options.get("env") or {})
    if options.keys() <= {"check", "diff", "env"} and not elsewhere:
        return forks().run(name, arguments, timeout=timeout, **options)
    return finish_module(start_module(name, arguments, **options), timeout)
