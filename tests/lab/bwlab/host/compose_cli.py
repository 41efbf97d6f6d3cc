"""`docker compose`, as far as Bitwarden's scripts and the collection use it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bwlab.host import options, registry, starting, trouble, views
from bwlab.host.compose_options import FLAGS, GLOBAL_FLAGS, GLOBAL_VALUES, VALUES
from bwlab.host.engine import Engine, EngineError, Row, say
from bwlab.host.inside import run_inside
from bwlab.host.options import Options
from bwlab.host.project import Project, Service, document, find_files

VERSION = "2.40.3"
FRONT = "bitwarden-nginx"
PORT_TAKEN = (
    "Error response from daemon: failed to set up container networking: driver failed programming external "
    "connectivity on endpoint {}: Bind for 0.0.0.0:443 failed: port is already allocated"
)


class Compose:
    def __init__(self, engine: Engine, arguments: list[str]) -> None:
        self.engine = engine
        self.general = options.parse(arguments, GLOBAL_VALUES, flags=GLOBAL_FLAGS, mixed=False)
        self.command, *self.arguments = self.general.rest or ["help"]

    def run(self) -> int:
        commands: dict[str, Callable[[Options], int]] = {
            "version": self.version,
            "config": self.config,
            "ps": self.ps,
            "pull": self.pull,
            "up": self.up,
            "down": self.down,
            "stop": self.stop,
            "start": self.start,
            "restart": self.restart,
            "logs": self.logs,
            "exec": self.exec,
            "ls": self.ls,
        }
        if self.command == "help":
            print("Usage:  docker compose [OPTIONS] COMMAND\n\nCommands:\n  " + "\n  ".join(commands))
            return 0
        if self.command not in commands:
            raise EngineError(f'unknown docker command: "compose {self.command}"')
        values, flags = VALUES.get(self.command, ()), FLAGS.get(self.command, ())
        chosen = options.parse(self.arguments, values, flags=flags, mixed=self.command != "exec")
        return commands[self.command](chosen)

    def project(self, *, resolve: bool = False) -> Project:
        folder = Path(self.general.last("--project-directory") or ".").resolve()
        files = find_files(self.general.all("-f", "--file"), os.environ, folder)
        project = Project(files, self.general.last("-p", "--project-name"))
        if resolve:
            project.resolve()
        return project

    def rows(self, project: Project, names: list[str] | None = None) -> list[Row]:
        if names:
            project.select(names)
        rows = [row for row in self.engine.containers() if row["project"] == project.name]
        return [row for row in rows if not names or row["service"] in names]

    # -- reading ---------------------------------------------------------------------------------------------------

    def version(self, chosen: Options) -> int:
        if chosen.has("--short"):
            print(VERSION)
        elif chosen.last("-f", "--format") == "json":
            print(json.dumps({"version": f"v{VERSION}"}))
        else:
            print(f"Docker Compose version v{VERSION}")
        return 0

    def config(self, chosen: Options) -> int:
        project = self.project(resolve=True)
        if chosen.has("-q", "--quiet"):
            return 0
        if chosen.has("--services"):
            print("\n".join(project.services))
        elif chosen.has("--images"):
            print("\n".join(service.image for service in project.services.values()))
        elif chosen.has("--environment"):
            print("\n".join(f"{key}={value}" for key, value in sorted({**project.dotenv, **project.shell}.items())))
        else:
            print(json.dumps(document(project), indent=2))
        return 0

    def ps(self, chosen: Options) -> int:
        if not chosen.given and self.engine.fault("stop_does_nothing"):
            raise EngineError(trouble.BROKEN)
        rows = self.rows(self.project(), chosen.rest)
        if not chosen.has("-a", "--all"):
            rows = [row for row in rows if self.engine.lives(row)]
        if status := chosen.all("--status"):
            rows = [row for row in rows if row["state"] in status]
        if chosen.has("-q", "--quiet"):
            sys.stdout.writelines(f"{row['id']}\n" for row in rows)
        elif chosen.has("--services"):
            sys.stdout.writelines(f"{row['service']}\n" for row in rows)
        elif chosen.last("--format") == "json":
            sys.stdout.writelines(json.dumps(views.listed(self.engine, row)) + "\n" for row in rows)
        else:
            header = ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]
            sys.stdout.write(views.table([header, *map(self._line, rows)]))
        return 0

    def _line(self, row: Row) -> list[str]:
        shown = views.listed(self.engine, row)
        return [str(shown[key]) for key in ("Name", "Image", "Command", "Service", "RunningFor", "Status", "Ports")]

    def ls(self, chosen: Options) -> int:
        projects: dict[str, list[Row]] = {}
        for row in self.engine.containers():
            if row["project"]:
                projects.setdefault(row["project"], []).append(row)
        entries = [
            {"Name": name, "Status": f"running({len(rows)})", "ConfigFiles": rows[0].get("config_files", "")}
            for name, rows in projects.items()
        ]
        if chosen.last("--format") == "json":
            print(json.dumps(entries))
        else:
            sys.stdout.write(views.table([["NAME", "STATUS", "CONFIG FILES"], *(list(e.values()) for e in entries)]))
        return 0

    def logs(self, chosen: Options) -> int:
        for row in self.rows(self.project(), chosen.rest):
            if row.get("crash"):
                print(f"{row['name']}  | Unhandled exception. {row['crash']}")
        return 0

    def exec(self, chosen: Options) -> int:
        service, *command = chosen.rest or [""]
        rows = [row for row in self.rows(self.project(), [service]) if self.engine.lives(row)]
        if not rows:
            raise EngineError(f'service "{service}" is not running')
        return run_inside(self.engine, rows[0], command)

    # -- changing --------------------------------------------------------------------------------------------------

    def pull(self, chosen: Options) -> int:
        services = self.project().select(chosen.rest)
        images = list(dict.fromkeys(service.image for service in services))
        registry.wait(self.engine, images)
        for image in images:
            try:
                self.engine.pull(image)
            except EngineError as error:
                raise EngineError(f"Error response from daemon: {error}", 18) from None
            say(f" Image {image} Pulled ")
        return 0

    def up(self, chosen: Options) -> int:
        project = self.project(resolve=True)
        services = project.select(chosen.rest)
        for service in services:
            self._need(service)
        existing = {row["service"]: row for row in self.rows(project)}
        self._refuse_start(project, existing)
        fresh = [s for s in services if chosen.has("--force-recreate") or not self._same(s, existing.get(s.name))]
        if any(service.name in existing for service in fresh):
            self.engine.stopped()
        # nginx comes last: it waits for the others.
        for service in sorted(fresh, key=lambda service: service.name == "nginx"):
            self._create(project, service, existing.get(service.name))
        if fresh:
            self.engine.started()
        return self._wait(project) if chosen.has("--wait") else 0

    def _refuse_start(self, project: Project, existing: dict[str, Row]) -> None:
        """What keeps every container from being made."""
        if self.engine.fault("compose_up_fails"):
            raise EngineError(PORT_TAKEN.format(FRONT))
        if not existing and self.engine.fault("network_pool_exhausted"):
            raise EngineError(
                f"failed to create network {project.name}_default: Error response from daemon: "
                "all predefined address pools have been fully subscribed"
            )
        if self.engine.full_disk("docker"):
            raise EngineError(
                "Error response from daemon: mkdir /var/lib/docker/overlay2/51f2: no space left on device"
            )

    def _need(self, service: Service) -> None:
        if service.image not in self.engine.images():
            registry.wait(self.engine, [service.image])
        try:
            self.engine.need(service.image)
        except EngineError as error:
            raise EngineError(f"Error response from daemon: {error}") from None

    def _same(self, service: Service, row: Row | None) -> bool:
        if row is None or not self.engine.lives(row) or row["image"] != service.image:
            return False
        wanted = self.engine.row("x", service.image, service.environment)["env"]
        return bool(row["env"] == wanted and (row.get("labels") or {}) == service.labels)

    def _create(self, project: Project, service: Service, old: Row | None) -> None:
        if old is not None:
            self.engine.remove([old])
        name = service.container or f"{project.name}-{service.name}-1"
        if any(row["name"] == name for row in self.engine.containers()):
            raise EngineError(
                f'Error response from daemon: Conflict. The container name "/{name}" is already in use by another '
                "container. You have to remove (or rename) that container to be able to reuse that name."
            )
        files = ",".join(map(str, project.files))
        more: dict[str, Any] = {"labels": service.labels, "config_files": files}
        row = self.engine.row(
            name, service.image, service.environment, service=service.name, project=project.name, **more
        )
        row["ports"] = [str(port) for port in service.raw.get("ports") or ()]
        row["networks"] = service.raw.get("networks") or ["default"]
        if taken := starting.port_conflict(self.engine, row):
            # The containers before it run, this one was made and is not started.
            self.engine.db.put_container(self.engine.host, {**row, "state": "created"})
            raise EngineError(f"Error response from daemon: {taken}")
        self.engine.start(row)
        say(f" Container {name}  Started ")

    def _wait(self, project: Project) -> int:
        while rows := [row for row in self.rows(project) if self.engine.health(row) == "starting"]:
            if any(row["state"] == "restarting" for row in rows):
                raise EngineError(f"container {rows[0]['name']} exited (139)")
            time.sleep(0.05)
        bad = [row["name"] for row in self.rows(project) if self.engine.health(row) == "unhealthy"]
        if bad:
            raise EngineError(f"container {bad[0]} is unhealthy")
        return 0

    def down(self, chosen: Options) -> int:
        project = self.project()
        rows = self.rows(project)
        running = any(self.engine.lives(row) for row in rows)
        stuck = [row for row in rows if self.engine.lives(row) and self._cannot_stop(row)]
        self.engine.remove(row for row in rows if row not in stuck)
        if running:
            self.engine.stopped()
        if stuck:
            raise EngineError(
                f"Error response from daemon: cannot stop container: {stuck[0]['id']}: tried to kill container, "
                "but did not receive an exit event"
            )
        for row in rows:
            say(f" Container {row['name']}  Removed ")
        for network in ("default", "public") if rows else ():
            say(f" Network {project.name}_{network}  Removed ")
        return 0

    def _cannot_stop(self, row: Row) -> bool:
        services = [f.options.get("service", "nginx") for f in self.engine.db.faults() if f.name == "stop_fails"]
        return row["service"] in services and self.engine.fault("stop_fails") is not None

    def stop(self, chosen: Options) -> int:
        rows = self.rows(self.project(), chosen.rest)
        if any(self.engine.lives(row) for row in rows):
            self.engine.stopped()
        for row in rows:
            row["state"] = "exited"
            self.engine.db.put_container(self.engine.host, row)
        return 0

    def start(self, chosen: Options) -> int:
        rows = [row for row in self.rows(self.project(), chosen.rest) if not self.engine.lives(row)]
        for row in rows:
            self.engine.start(row)
        if rows:
            self.engine.started()
        return 0

    def restart(self, chosen: Options) -> int:
        """The same containers with the environment that they have."""
        rows = self.rows(self.project(), chosen.rest)
        if rows:
            self.engine.stopped()
            for row in rows:
                self.engine.start(row)
            self.engine.started()
        return 0
