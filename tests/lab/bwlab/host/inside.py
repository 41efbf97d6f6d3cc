"""Programs inside the lab's containers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bwlab.host.engine import Engine, EngineError, Row
from bwlab.host.lazy import lazy

if TYPE_CHECKING:
    from bwlab.host import mssql
else:
    mssql = lazy("bwlab.host.mssql")


CERTIFICATES = "/etc/bitwarden/ca-certificates/"


def _show(path: Path) -> int:
    """A file of a folder that containers mount."""
    try:
        sys.stdout.buffer.write(path.read_bytes())
    except OSError:
        print(f"cat: {path.name}: No such file or directory", file=sys.stderr)
        return 1
    return 0


def run_inside(engine: Engine, row: Row, command: list[str]) -> int:
    """The few programs that the lab's containers have."""
    if row["state"] == "restarting":
        raise EngineError(f"Container {row['id']} is restarting, wait until the container is running")
    program, *arguments = command or [""]
    if program in ("printenv", "env"):
        if not arguments:
            sys.stdout.writelines(f"{key}={value}\n" for key, value in row["env"].items())
            return 0
        found = [row["env"][name] for name in arguments if name in row["env"]]
        sys.stdout.writelines(f"{value}\n" for value in found)
        return 0 if len(found) == len(arguments) else 1
    if program == "true":
        return 0
    if program == "cat" and len(arguments) == 1 and arguments[0].startswith(CERTIFICATES):
        return _show(engine.bwdata / "ca-certificates" / arguments[0][len(CERTIFICATES) :])
    if row["service"] == mssql.SERVICE and (status := mssql.run_inside(engine, row, command)) is not None:
        return status
    raise EngineError(
        "OCI runtime exec failed: exec failed: unable to start container process: "
        f'exec: "{program}": executable file not found in $PATH',
        127,
    )
