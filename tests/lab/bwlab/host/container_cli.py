"""The docker commands that start, end, rename and remove containers."""

from __future__ import annotations

from bwlab.host import options, starting
from bwlab.host.engine import Engine, EngineError, Row, say
from bwlab.labdb import API_SERVICES

FROM_DAEMON = "Error response from daemon: "


class Containers:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def find(self, name: str) -> Row:
        try:
            return self.engine.find(name)
        except EngineError as error:
            raise EngineError(f"{FROM_DAEMON}{error}") from None

    def _named(self, arguments: list[str]) -> list[str]:
        return options.parse(arguments, ("-t", "--time", "--timeout", "-s", "--signal"), flags=("-a", "-i")).rest

    def rm(self, arguments: list[str]) -> int:
        chosen = options.parse(arguments, (), flags=("-f", "--force", "-v", "--volumes"))
        for name in chosen.rest:
            row = self.find(name)
            if self.engine.lives(row) and not chosen.has("-f", "--force"):
                raise EngineError(
                    f'{FROM_DAEMON}cannot remove container "{name}": container is running: '
                    "stop the container before removing or force remove"
                )
            self._note_stop([row])
            self.engine.remove([row])
            print(name)
        return 0

    def restart(self, arguments: list[str]) -> int:
        """The environment stays that of the creation."""
        return self._ended(arguments, show=False) or self.start(self._named(arguments))

    def stop(self, arguments: list[str]) -> int:
        return self._ended(arguments, show=True)

    def start(self, arguments: list[str]) -> int:
        rows = [self.find(name) for name in self._named(arguments)]
        for row in rows:
            if taken := starting.port_conflict(self.engine, row):
                say(f"{FROM_DAEMON}{taken}")
                raise EngineError(f"Error: failed to start containers: {row['name']}")
            self.engine.start(row)
            print(row["name"])
        if any(row["service"] in API_SERVICES for row in rows):
            self.engine.started()
        return 0

    def _ended(self, arguments: list[str], *, show: bool) -> int:
        rows = [self.find(name) for name in self._named(arguments)]
        self._note_stop(rows)
        for row in rows:
            row["state"] = "exited"
            self.engine.db.put_container(self.engine.host, row)
            if show:
                print(row["name"])
        return 0

    def _note_stop(self, rows: list[Row]) -> None:
        if any(row["service"] in API_SERVICES and self.engine.lives(row) for row in rows):
            self.engine.stopped()

    def rename(self, arguments: list[str]) -> int:
        old, new = arguments
        row = self.find(old)
        taken = [other for other in self.engine.containers() if other["name"] == new]
        if taken:
            say(
                f'{FROM_DAEMON}Error when allocating new name: Conflict. The container name "/{new}" is already in use '
                f'by container "{taken[0]["id"]}". You have to remove (or rename) that container to be able to reuse '
                "that name."
            )
            raise EngineError(f"Error: failed to rename container named {old}")
        self.engine.remove([row])
        self.engine.db.put_container(self.engine.host, {**row, "name": new})
        return 0

    def logs(self, arguments: list[str]) -> int:
        chosen = options.parse(arguments, ("-n", "--tail", "--since", "--until"), flags=("-f", "--follow", "-t"))
        row = self.find(chosen.rest[0])
        if row.get("crash"):
            print(f"Unhandled exception. {row['crash']}")
        return 0
