# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What `lab state` says of a server on a real engine, in the words of the other one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bwlab.docker.hosts import Hosts
from bwlab.docker.watch import STARTED, WATCHED
from bwlab.labdb import LabDb

FRONT = ("bitwarden-nginx", "bitwarden")
NEVER = float("inf")
SERVICE = "com.docker.compose.service"


def containers(directory: Path, database: LabDb, server: str) -> list[dict[str, Any]]:
    """Containers of the host's engine, none when it does not run; a front door that is closed makes its own unready."""
    hosts = Hosts(directory)
    if not hosts.pid(server):
        return []
    try:
        found = hosts.engine(server).containers()
    except OSError:
        return []
    rows = [row(entry) for entry in found]
    closed = not answers(database, server)
    return [{**one, "ready": NEVER} if closed and one["name"] in FRONT else one for one in rows]


def row(entry: dict[str, Any]) -> dict[str, Any]:
    """One container as the process engine's table has it."""
    name = entry["Name"].lstrip("/")
    state = entry["State"]
    status = "running" if state["Running"] and not state.get("Restarting") else state["Status"]
    sick = (state.get("Health") or {}).get("Status") == "unhealthy"
    pairs = [pair.partition("=") for pair in entry["Config"].get("Env") or []]
    return {
        "name": name,
        "service": (entry["Config"].get("Labels") or {}).get(SERVICE) or name.removeprefix("bitwarden-"),
        "image": entry["Config"]["Image"],
        "env": {key: value for key, _unused, value in pairs},
        "state": status,
        "ready": NEVER if sick else 0.0,
    }


def counters(database: LabDb, server: str) -> dict[str, Any]:
    """Starts of the api since the server was first up; the time in which its front door did not answer.

    Where a lab was ended, or crashed, while a door was closed, nobody has seen how long that was.
    """
    downtime, since = 0.0, None
    events = database.events(server)
    for event in events:
        if event["what"] == "down":
            since = event["t"]
        elif event["what"] == "up" and since is not None:
            downtime += event["t"] - since
            since = None
        elif event["what"] == WATCHED:
            since = None
    if since is not None:
        downtime += time.time() - since
    return {"restarts": sum(event["what"] == STARTED for event in events), "downtime_s": round(downtime, 3)}


def answers(database: LabDb, server: str) -> bool:
    """Whether the front door answered when it was looked at last; a lab that is up has seen it answer."""
    told = [event["what"] for event in database.events(server) if event["what"] in ("up", "down", WATCHED)]
    return not told or told[-1] != "down"
