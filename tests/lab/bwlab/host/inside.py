"""Programs inside the lab's containers."""

from __future__ import annotations

import sys
import time

from bwlab.host.engine import Engine, EngineError, Row


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
    if program == "/backup-db.sh" and row["service"] == "mssql":
        folder = engine.bwdata / "mssql" / "backups"
        folder.mkdir(parents=True, exist_ok=True)
        name = time.strftime("vault_FULL_%Y%m%d_%H%M%S.BAK", time.gmtime())
        (folder / name).write_bytes(b"TAPE")
        return 0
    raise EngineError(
        "OCI runtime exec failed: exec failed: unable to start container process: "
        f'exec: "{program}": executable file not found in $PATH',
        127,
    )
