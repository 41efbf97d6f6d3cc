"""Containers as docker and compose show them."""

from __future__ import annotations

import datetime
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from bwlab.host import detached
from bwlab.host.engine import Engine, Row, ago, image_environment, image_labels, stamp

COMMAND = "/entrypoint.sh"


def labels(engine: Engine, row: Row) -> dict[str, str]:
    found = {**image_labels(row["image"]), **(row.get("labels") or {})}
    if row["project"]:
        file = row.get("config_files") or f"{engine.bwdata / 'docker'}/docker-compose.yml"
        folder = Path(file.partition(",")[0]).parent
        digest = hashlib.sha256(json.dumps([row["image"], row["env"]], sort_keys=True).encode()).hexdigest()
        found.update(
            {
                "com.docker.compose.config-hash": digest,
                "com.docker.compose.container-number": "1",
                "com.docker.compose.oneoff": "False",
                "com.docker.compose.project": row["project"],
                "com.docker.compose.project.config_files": file,
                "com.docker.compose.project.working_dir": str(folder),
                "com.docker.compose.service": row["service"],
            }
        )
    return found


def inspect(engine: Engine, row: Row) -> dict[str, Any]:
    """One entry of `docker inspect`."""
    state: dict[str, Any] = {
        "Status": row["state"],
        "Running": engine.lives(row),
        "Paused": False,
        "Restarting": row["state"] == "restarting",
        "OOMKilled": False,
        "Dead": False,
        "Pid": 4321 if engine.lives(row) else 0,
        "ExitCode": 139 if row["state"] == "restarting" else 0,
        "Error": "",
        "StartedAt": stamp(row["started"]),
        "FinishedAt": "0001-01-01T00:00:00Z" if row["state"] == "running" else stamp(time.time()),
    }
    health = engine.health(row)
    if health is not None:
        state["Health"] = {"Status": health, "FailingStreak": 3 if health == "unhealthy" else 0, "Log": []}
    return {
        "Id": row["id"],
        "Created": stamp(row["started"]),
        "Path": COMMAND,
        "Args": [],
        "State": state,
        "Image": image_id(row["image"]),
        "Name": f"/{row['name']}",
        "RestartCount": engine.restarts(row),
        "Driver": "overlay2",
        "Platform": "linux",
        "HostConfig": _host_config(row),
        "Mounts": detached.mounts(row),
        "NetworkSettings": {"Networks": {name: {"Aliases": None} for name in _networks(row)}},
        "Config": {
            "Hostname": _given(row, "-h", "--hostname") or row["id"][:12],
            "User": _given(row, "-u", "--user"),
            "Env": [f"{key}={value}" for key, value in row["env"].items()],
            "Cmd": row.get("command") or None,
            "Image": row["image"],
            "Entrypoint": [COMMAND],
            "Labels": labels(engine, row),
        },
    }


def _given(row: Row, *names: str) -> str:
    given = row.get("run") or {}
    return str(next((given[name][-1] for name in names if name in given), ""))


def _networks(row: Row) -> list[str]:
    if row["project"]:
        return [f"{row['project']}_{name}" for name in row.get("networks") or ["default"]]
    return [_given(row, "--network", "--net") or "bridge"]


def _host_config(row: Row) -> dict[str, Any]:
    found = detached.host_config(row)
    if row["project"]:
        found.update(NetworkMode=_networks(row)[0], RestartPolicy={"Name": "always", "MaximumRetryCount": 0})
    return found


def image_id(image: str) -> str:
    return "sha256:" + hashlib.sha256(image.encode()).hexdigest()


def inspect_image(image: str) -> dict[str, Any]:
    """One entry of `docker image inspect`."""
    env = [f"{key}={value}" for key, value in image_environment(image).items()]
    return {
        "Id": image_id(image),
        "RepoTags": [image],
        "RepoDigests": [f"{image.rpartition(':')[0]}@{image_id(image)}"],
        "Architecture": "amd64",
        "Os": "linux",
        "Config": {"Env": env, "Cmd": None, "Entrypoint": [COMMAND], "Labels": image_labels(image) or None},
    }


def created(row: Row) -> str:
    when = datetime.datetime.fromtimestamp(row["started"], datetime.timezone.utc)
    return when.strftime("%Y-%m-%d %H:%M:%S +0000 UTC")


def ports(row: Row) -> str:
    if row["state"] != "running" or not row.get("ports"):
        return ""
    return ", ".join(f"0.0.0.0:{port.rpartition(':')[0]}->{port.rpartition(':')[2]}/tcp" for port in row["ports"])


def listed(engine: Engine, row: Row) -> dict[str, Any]:
    """One line of `docker compose ps --format json`; `docker ps` has a part of it."""
    return {
        "Command": f'"{COMMAND}"',
        "CreatedAt": created(row),
        "ExitCode": 139 if row["state"] == "restarting" else 0,
        "Health": engine.health(row) or "",
        "ID": row["id"][:12],
        "Image": row["image"],
        "Labels": ",".join(f"{key}={value}" for key, value in labels(engine, row).items()),
        "LocalVolumes": "0",
        "Mounts": "",
        "Name": row["name"],
        "Names": row["name"],
        "Networks": f"{row['project']}_default" if row["project"] else "bridge",
        "Ports": ports(row),
        "Project": row["project"],
        "Publishers": [],
        "RunningFor": f"{ago(time.time() - row['started'])} ago",
        "Service": row["service"],
        "Size": "0B",
        "State": row["state"],
        "Status": engine.status(row),
    }


def table(rows: list[list[str]]) -> str:
    """Columns as wide as their widest cell and three blanks."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join("   ".join(cell.ljust(widths[n]) for n, cell in enumerate(row)).rstrip() + "\n" for row in rows)
