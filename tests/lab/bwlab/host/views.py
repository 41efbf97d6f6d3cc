"""Containers as docker and compose show them."""

from __future__ import annotations

import datetime
import hashlib
import json
import time
from typing import Any

from bwlab.host.engine import Engine, Row, ago, image_environment, image_labels, stamp

COMMAND = "/entrypoint.sh"


def labels(engine: Engine, row: Row) -> dict[str, str]:
    found = {**image_labels(row["image"]), **(row.get("labels") or {})}
    if row["project"]:
        folder = engine.bwdata / "docker"
        digest = hashlib.sha256(json.dumps([row["image"], row["env"]], sort_keys=True).encode()).hexdigest()
        found.update(
            {
                "com.docker.compose.config-hash": digest,
                "com.docker.compose.container-number": "1",
                "com.docker.compose.oneoff": "False",
                "com.docker.compose.project": row["project"],
                "com.docker.compose.project.config_files": row.get("config_files") or f"{folder}/docker-compose.yml",
                "com.docker.compose.project.working_dir": str(folder),
                "com.docker.compose.service": row["service"],
            }
        )
    return found


def inspect(engine: Engine, row: Row) -> dict[str, Any]:
    """One entry of `docker inspect`."""
    state: dict[str, Any] = {
        "Status": row["state"],
        "Running": row["state"] != "exited",
        "Paused": False,
        "Restarting": row["state"] == "restarting",
        "OOMKilled": False,
        "Dead": False,
        "Pid": 0 if row["state"] == "exited" else 4321,
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
        "HostConfig": {"NetworkMode": f"{row['project'] or 'bridge'}_default", "RestartPolicy": {"Name": "always"}},
        "Config": {
            "Hostname": row["id"][:12],
            "User": "",
            "Env": [f"{key}={value}" for key, value in row["env"].items()],
            "Cmd": None,
            "Image": row["image"],
            "Entrypoint": [COMMAND],
            "Labels": labels(engine, row),
        },
    }


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
    if row["service"] != "nginx" or row["state"] != "running":
        return ""
    return "0.0.0.0:80->8080/tcp, 0.0.0.0:443->8443/tcp"


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
