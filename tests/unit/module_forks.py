"""The process that runs modules in forks of itself: each is imported once, and the runs are apart from each other.

It stands alone, so that it also runs with a server's Python: `python -c FORKS`, see `module_runner`.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import signal
import sys
import tempfile
import traceback
from typing import IO, Any


@functools.cache
def _imported(name: str) -> Any:
    module = importlib.import_module(name)
    gc.freeze()
    return module


def main() -> None:
    """The process that forks: a JSON line in, a JSON line out, until nobody writes any more."""
    for line in sys.stdin:
        wanted = json.loads(line)
        try:
            module = _imported(wanted["name"])
        except Exception:
            # Others can be imported all the same.
            print(json.dumps({"rc": 1, "output": traceback.format_exc()}), flush=True)
            continue
        with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+", errors="surrogateescape") as output:
            given.write(wanted["input"])
            given.flush()
            given.seek(0)
            pid = os.fork()
            if not pid:
                _child(module.main, wanted, given, output)
            rc = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            output.seek(0)
            print(json.dumps({"rc": rc, "output": output.read()}), flush=True)


def _child(run: Any, wanted: dict[str, Any], given: IO[str], output: IO[str]) -> None:
    status = 1
    try:
        os.dup2(given.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        os.chdir(wanted["cwd"])
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
        os._exit(status)
