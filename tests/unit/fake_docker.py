"""A docker that keeps its containers in a folder: just what the module stack asks for, with faults to switch on.

Run as `python fake_docker.py ARGUMENTS`; the folder is FAKE_DOCKER. A file of a fault's name in it makes the fault.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

STATE = Path(os.environ["FAKE_DOCKER"])
SERVICES = {"api": True, "identity": True, "icons": False, "nginx": None}
IMAGE_ENVIRONMENT = {"PATH": "/usr/bin", "globalSettings__ofTheImage": "1"}


def fault(name: str) -> bool:
    return (STATE / name).exists()


def containers() -> dict[str, Any]:
    path = STATE / "containers.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def save(found: dict[str, Any]) -> None:
    (STATE / "new.json").write_text(json.dumps(found))
    (STATE / "new.json").replace(STATE / "containers.json")


def environment_of(bwdata: Path, reads_override: bool | None) -> dict[str, str]:
    if reads_override is None:
        return {}
    names = ["docker/global.env", "env/global.override.env"][: 2 if reads_override else 1]
    lines = [line for name in names for line in (bwdata / name).read_text().splitlines() if "=" in line]
    environment = {key: value.strip("'") for key, _, value in (line.partition("=") for line in lines)}
    if reads_override and (STATE / "override.json").exists():
        environment.update(json.loads((STATE / "override.json").read_text()))
    return environment


def config(bwdata: Path) -> dict[str, Any]:
    return {
        "services": {
            name: {
                "container_name": f"bitwarden-{name}",
                "image": f"ghcr.io/bitwarden/{name}:2026.8.0",
                "environment": {key: value.replace("$", "$$") for key, value in environment_of(bwdata, reads).items()},
            }
            for name, reads in SERVICES.items()
        }
    }


def up(bwdata: Path) -> int:
    if fault("up_fails"):
        (STATE / "up_fails").unlink()
        return complain("Error response from daemon: no space left on device")
    found = containers()
    for name, reads in SERVICES.items():
        if name not in found and not (name == "identity" and fault("identity_never_comes")):
            found[name] = {
                "id": f"{name}-{time.time_ns()}",
                "environment": {**IMAGE_ENVIRONMENT, **environment_of(bwdata, reads)},
                "started": time.time(),
                "state": "running",
                "health": "",
            }
    save(found)
    return 0


def complain(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


def inspected(name: str, row: dict[str, Any]) -> dict[str, Any]:
    started = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(row["started"]))
    return {
        "Id": row["id"],
        "Name": f"/bitwarden-{name}",
        "State": {
            "Status": row["state"],
            "Restarting": row["state"] == "restarting",
            "StartedAt": started,
            **({"Health": {"Status": row["health"]}} if row["health"] else {}),
        },
        "Config": {
            "Image": row.get("image", f"ghcr.io/bitwarden/{name}:2026.8.0"),
            "Env": [f"{key}={value}" for key, value in row["environment"].items()],
            "Labels": {"com.docker.compose.service": name},
        },
    }


def compose(arguments: list[str]) -> int:
    bwdata = Path.cwd()
    while arguments and arguments[0] == "-f":
        bwdata = Path(arguments[1]).parent.parent
        del arguments[:2]
    if "COMPOSE_FILE" in os.environ:
        bwdata = Path(os.environ["COMPOSE_FILE"].split(":")[0]).parent.parent
    command, *rest = arguments
    if command == "config":
        if fault("config_fails"):
            return complain('failed to read x.env: line 3: unexpected character "," in variable name "A,hunter2=1"')
        print(json.dumps(config(bwdata)))
    elif command == "ps":
        rows = [row for row in containers().values() if "-a" in rest or row["state"] == "running"]
        lines = [str(row["id"]) for row in rows]
        print("\n".join(lines if "-q" in rest else ["NAME", *lines]))
    elif command == "pull":
        (STATE / "pulls").open("a").write("pull\n")
        pulls = (STATE / "pulls").read_text().count("\n")
        if fault("registry_down") or (fault("registry_down_after_stop") and pulls > 1):
            return complain("Error: Get https://ghcr.io/v2/: dial tcp: i/o timeout")
    elif command == "up":
        return up(bwdata)
    elif command == "down":
        save({})
    elif command == "logs":
        print("bitwarden-identity | Password=hunter2\nbitwarden-identity | Unhandled exception.")
    return 0


def main(arguments: list[str]) -> int:
    (STATE / "calls").open("a").write(json.dumps([os.geteuid(), os.environ.get("HOME"), *arguments]) + "\n")
    if fault("not_permitted"):
        return complain(
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"
        )
    if arguments[0] == "compose":
        return compose(arguments[1:])
    if arguments[0] == "inspect":
        rows = {row["id"]: inspected(name, row) for name, row in containers().items()}
        print(json.dumps([rows[name] for name in arguments[1:] if name in rows]))
        return 0 if all(name in rows for name in arguments[1:]) else 1
    if arguments[:2] == ["image", "inspect"]:
        print(json.dumps([{"Config": {"Env": [f"{key}={value}" for key, value in IMAGE_ENVIRONMENT.items()]}}]))
    elif arguments[0] == "ps" and fault("setup_runs"):
        print("setup")
    elif arguments[0] == "pull" and fault("setup_image_missing") and not containers():
        return complain("Error response from daemon: manifest unknown")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
