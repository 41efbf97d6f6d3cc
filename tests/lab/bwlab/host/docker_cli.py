"""`docker`, as far as Bitwarden's scripts and the collection use it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bwlab.host import go_template, options, registry, views
from bwlab.host.compose_cli import Compose
from bwlab.host.container_cli import Containers
from bwlab.host.engine import Engine, EngineError, Row, image_labels, say
from bwlab.host.inside import run_inside
from bwlab.host.lazy import lazy

if TYPE_CHECKING:
    from bwlab.host import container_run
else:
    container_run = lazy("bwlab.host.container_run")

VERSION = "28.5.2"
BUILD = "ecc6942"
OF_CONTAINERS = (
    "inspect", "exec", "create", "run", "rm", "restart", "stop", "kill", "start", "rename", "logs",
)  # fmt: skip


class Docker:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, arguments: list[str]) -> int:
        containers = Containers(self.engine)
        commands: dict[str, Callable[[list[str]], int]] = {
            "compose": lambda rest: Compose(self.engine, rest).run(),
            "inspect": self.inspect,
            "exec": self.exec,
            "ps": self.ps,
            "pull": self.pull,
            "images": self.images,
            "image": self.image,
            "container": self.container,
            "run": lambda rest: container_run.run_container(self.engine, rest),
            "create": lambda rest: container_run.create_container(self.engine, rest),
            "rm": containers.rm,
            "rmi": self.remove_images,
            "restart": containers.restart,
            "stop": containers.stop,
            "kill": containers.stop,
            "start": containers.start,
            "rename": containers.rename,
            "logs": containers.logs,
            "info": self.info,
            "version": self.version,
            "volume": self.nothing,
            "network": self.nothing,
        }
        if arguments[:1] in (["--version"], ["-v"]):
            print(f"Docker version {VERSION}, build {BUILD}")
            return 0
        if not arguments or arguments[0] in ("--help", "help"):
            print("Usage:  docker [OPTIONS] COMMAND\n\nCommands:\n  " + "\n  ".join(commands))
            return 0
        if arguments[0] not in commands:
            raise EngineError(
                f"docker: unknown command: docker {arguments[0]}\n\nRun 'docker --help' for more information"
            )
        return commands[arguments[0]](arguments[1:])

    def info(self, arguments: list[str]) -> int:
        root = self.engine.home / "var" / "lib" / "docker"
        data = {"ServerVersion": VERSION, "Name": self.engine.host, "Driver": "overlay2", "DockerRootDir": str(root)}
        return self._shown(data, arguments)

    def version(self, arguments: list[str]) -> int:
        return self._shown({"Client": {"Version": VERSION}, "Server": {"Version": VERSION}}, arguments)

    def _shown(self, data: dict[str, Any], arguments: list[str]) -> int:
        chosen = options.parse(arguments, ("-f", "--format"), flags=())
        template = chosen.last("-f", "--format")
        if template == "json":
            print(json.dumps(data))
        elif template:
            print(go_template.render(template, data))
        else:
            for key, value in data.items():
                print(f"{key}: {value['Version'] if isinstance(value, dict) else value}")
        return 0

    def nothing(self, arguments: list[str]) -> int:
        """The lab keeps no volumes and networks; `prune` has nothing to do."""
        if arguments[:1] == ["ls"]:
            print("DRIVER    NAME")
        elif arguments[:1] == ["prune"]:
            print("Total reclaimed space: 0B")
        else:
            raise EngineError("Error response from daemon: not found")
        return 0

    # -- containers ------------------------------------------------------------------------------------------------

    def container(self, arguments: list[str]) -> int:
        if arguments[:1] == ["ls"]:
            return self.ps(arguments[1:])
        if arguments[:1] and arguments[0] in OF_CONTAINERS:
            return self.run(arguments)
        raise EngineError("docker container: unknown command")

    def inspect(self, arguments: list[str]) -> int:
        chosen = options.parse(arguments, ("-f", "--format", "--type"), flags=("-s", "--size"))
        if not chosen.rest:
            raise EngineError("docker: 'docker inspect' requires at least 1 argument")
        found: list[dict[str, Any]] = []
        code = 0
        for name in chosen.rest:
            try:
                found.append(self._object(name, chosen.last("--type")))
            except EngineError:
                say(f"Error: No such object: {name}")
                code = 1
        template = chosen.last("-f", "--format")
        if template is None or template == "json":
            print(json.dumps(found, indent=None if template else 4))
        else:
            for entry in found:
                print(go_template.render(template, entry))
            if not found:
                print()
        return code

    def _object(self, name: str, kind: str | None) -> dict[str, Any]:
        if kind != "image":
            try:
                return views.inspect(self.engine, self.engine.find(name))
            except EngineError:
                if kind == "container":
                    raise
        if name in self.engine.images():
            return views.inspect_image(name)
        raise EngineError(f"No such image: {name}")

    def exec(self, arguments: list[str]) -> int:
        values = ("-u", "--user", "-e", "--env", "-w", "--workdir")
        flags = ("-i", "--interactive", "-t", "--tty", "-d", "--detach", "--privileged")
        chosen = options.parse(arguments, values, flags=flags, mixed=False)
        name, *command = chosen.rest or [""]
        self._need_terminal(chosen)
        row = Containers(self.engine).find(name)
        if not self.engine.lives(row):
            raise EngineError(f"Error response from daemon: container {row['id']} is not running")
        return run_inside(self.engine, row, command)

    def _need_terminal(self, chosen: options.Options) -> None:
        if chosen.has("-t", "--tty") and not sys.stdin.isatty():
            raise EngineError("the input device is not a TTY")

    def ps(self, arguments: list[str]) -> int:
        flags = ("-a", "--all", "-q", "--quiet", "--no-trunc", "-l", "--latest")
        chosen = options.parse(arguments, ("-f", "--filter", "--format", "-n", "--last"), flags=flags)
        rows = [row for row in self.engine.containers() if chosen.has("-a", "--all") or self.engine.lives(row)]
        for condition in chosen.all("-f", "--filter"):
            rows = [row for row in rows if self._fits(row, condition)]
        template = chosen.last("--format")
        if chosen.has("-q", "--quiet"):
            sys.stdout.writelines(f"{row['id'] if chosen.has('--no-trunc') else row['id'][:12]}\n" for row in rows)
        elif template == "json":
            sys.stdout.writelines(json.dumps(views.listed(self.engine, row)) + "\n" for row in rows)
        elif template:
            text = template.removeprefix("table ").replace("\\t", "\t")
            sys.stdout.writelines(go_template.render(text, views.listed(self.engine, row)) + "\n" for row in rows)
        else:
            keys = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
            header = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
            shown = [views.listed(self.engine, row) for row in rows]
            sys.stdout.write(views.table([header, *([str(entry[key]) for key in keys] for entry in shown)]))
        return 0

    def _fits(self, row: Row, condition: str) -> bool:
        key, _unused, value = condition.partition("=")
        if key == "name":
            wanted = value.lstrip("^/").rstrip("$")
            return row["name"] == wanted if value.startswith("^") and value.endswith("$") else wanted in row["name"]
        if key == "status":
            return bool(row["state"] == value)
        if key == "label":
            name, equals, wanted = value.partition("=")
            labels = views.labels(self.engine, row)
            return name in labels and (not equals or labels[name] == wanted)
        if key == "id":
            return str(row["id"]).startswith(value)
        raise EngineError(f"Error response from daemon: invalid filter '{key}'")

    # -- images ----------------------------------------------------------------------------------------------------

    def pull(self, arguments: list[str]) -> int:
        chosen = options.parse(arguments, ("--platform",), flags=("-q", "--quiet"))
        registry.wait(self.engine, chosen.rest)
        for image in chosen.rest:
            try:
                self.engine.pull(image)
            except EngineError as error:
                raise EngineError(f"Error response from daemon: {error}") from None
            print(image if chosen.has("-q", "--quiet") else f"Status: Image is up to date for {image}\n{image}")
        return 0

    def images(self, arguments: list[str]) -> int:
        chosen = options.parse(arguments, ("--format", "-f", "--filter"), flags=("-q", "--quiet", "-a", "--all"))
        images = [image for image in self.engine.images() if not chosen.rest or image.startswith(chosen.rest[0])]
        entries = [
            {"Repository": image.rpartition(":")[0], "Tag": image.rpartition(":")[2], "ID": views.image_id(image)[7:19]}
            for image in images
        ]
        template = chosen.last("--format")
        if chosen.has("-q", "--quiet"):
            sys.stdout.writelines(f"{entry['ID']}\n" for entry in entries)
        elif template == "json":
            sys.stdout.writelines(json.dumps(entry) + "\n" for entry in entries)
        elif template:
            sys.stdout.writelines(go_template.render(template, entry) + "\n" for entry in entries)
        else:
            sys.stdout.write(views.table([["REPOSITORY", "TAG", "IMAGE ID"], *(list(e.values()) for e in entries)]))
        return 0

    def image(self, arguments: list[str]) -> int:
        command, *rest = arguments or [""]
        if command == "inspect":
            return self.inspect(["--type", "image", *rest])
        if command == "ls":
            return self.images(rest)
        if command == "pull":
            return self.pull(rest)
        if command == "rm":
            return self.remove_images(rest)
        if command == "prune":
            return self.prune(rest)
        raise EngineError(f"docker image: unknown command: {command}")

    def prune(self, arguments: list[str]) -> int:
        chosen = options.parse(arguments, ("--filter",), flags=("-a", "--all", "-f", "--force"))
        used = {row["image"] for row in self.engine.containers()}
        labels = [condition.removeprefix("label=") for condition in chosen.all("--filter")]
        for image in self.engine.images():
            own = [f"{key}={value}" for key, value in image_labels(image).items()]
            if image not in used and chosen.has("-a", "--all") and all(label in own for label in labels):
                self.engine.db.remove_image(self.engine.host, image)
                print(f"untagged: {image}")
        print("Total reclaimed space: 0B")
        return 0

    def remove_images(self, arguments: list[str]) -> int:
        chosen = options.parse(arguments, (), flags=("-f", "--force", "--no-prune"))
        for image in chosen.rest:
            if image not in self.engine.images():
                raise EngineError(f"Error response from daemon: No such image: {image}")
            self.engine.db.remove_image(self.engine.host, image)
            print(f"Untagged: {image}")
        return 0
