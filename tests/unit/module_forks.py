"""Runs modules in forks of one process that has imported them already: apart from each other, and quick."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from unit.module_runner import PACKAGE, Result, module_environment, module_input

TESTS = Path(__file__).resolve().parents[1]
FIRST = "import sys; sys.path.insert(0, sys.argv.pop(1)); from unit import module_forks; module_forks.main()"


class Forks:
    """The process that forks; one module at a time."""

    def __init__(self, modules: Iterable[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", FIRST, str(TESTS), *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=module_environment(),
        )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.communicate()

    def run(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        check: bool = False,
        diff: bool = False,
        env: Mapping[str, str | None] | None = None,
        timeout: float = 120,
        killed: bool = False,
    ) -> Result:
        """As `run_module`; one that is to be `killed` by its time limit need not leave an answer behind."""
        wanted = {
            "name": name,
            "input": module_input(arguments, check=check, diff=diff),
            "env": module_environment(env),
            "timeout": timeout,
        }
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        lines = [line for line in answer["output"].splitlines() if line.startswith("{")]
        if not lines and not killed:
            raise AssertionError(f"the module gave no JSON (rc {answer['rc']}):\n{answer['output']}")
        return Result(json.loads(lines[-1]) if lines else {}, answer["rc"], answer["output"])


def main() -> None:
    """The process that forks: a JSON line in, a JSON line out, until nobody writes any more."""
    modules = {name: importlib.import_module(f"{PACKAGE}.{name}") for name in sys.argv[1:]}
    del sys.argv[1:]
    gc.freeze()
    for line in sys.stdin:
        wanted = json.loads(line)
        with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+", errors="surrogateescape") as output:
            given.write(wanted["input"])
            given.flush()
            given.seek(0)
            pid = os.fork()
            if not pid:
                _child(modules[wanted["name"]].main, wanted, given, output)
            rc = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            output.seek(0)
            print(json.dumps({"rc": rc, "output": output.read()}), flush=True)


def _child(run: Any, wanted: dict[str, Any], given: IO[str], output: IO[str]) -> None:
    status = 1
    try:
        os.dup2(given.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        os.environ.clear()
        os.environ.update(wanted["env"])
        # Nobody handles this signal, so that it ends the fork at once.
        signal.setitimer(signal.ITIMER_REAL, wanted["timeout"])
        run()
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        _save_coverage()
        os._exit(status)


def _save_coverage() -> None:
    """Where coverage is measured, it would only be saved at the end of a process, which a fork does not reach."""
    coverage = sys.modules.get("coverage")
    current = coverage.Coverage.current() if coverage else None
    if current is not None:
        current.stop()
        current.save()
