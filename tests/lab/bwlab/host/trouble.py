"""What can go wrong between the docker program and its daemon, before a command does anything."""

from __future__ import annotations

import time

from bwlab.host import ambush
from bwlab.host.compose_options import GLOBAL_VALUES
from bwlab.host.engine import Engine, EngineError

SOCKET = "unix:///var/run/docker.sock"
UNREACHABLE = f"Cannot connect to the Docker daemon at {SOCKET}. Is the docker daemon running?"
NOT_PERMITTED = (
    f"permission denied while trying to connect to the Docker daemon socket at {SOCKET}: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/containers/json": '
    "dial unix /var/run/docker.sock: connect: permission denied"
)
BROKEN = 'error during connect: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/containers/json": EOF'
NO_PLUGIN = "docker: unknown command: docker compose\n\nRun 'docker --help' for more information"
# What the program answers by itself.
WITHOUT_DAEMON = ("compose version", "compose config", "compose help", "--version", "help")
REFUSED = 125
HANGING_SECONDS = 600.0
BACK_SECONDS = 2.0


def command_of(arguments: list[str]) -> str:
    """`compose up` or `pull`: the command without its options."""
    words = list(arguments)
    if words[:1] != ["compose"]:
        return words[0] if words else "help"
    rest = words[1:]
    while rest and rest[0].startswith("-"):
        rest = rest[2:] if rest[0] in GLOBAL_VALUES else rest[1:]
    return f"compose {rest[0]}" if rest else "compose help"


def meet(engine: Engine, arguments: list[str]) -> None:
    """Faults that strike whatever the command would have done."""
    command = command_of(arguments)
    if command.startswith("compose ") and engine.fault("compose_missing", command=command):
        raise EngineError(NO_PLUGIN)
    if command in WITHOUT_DAEMON:
        return
    ambush.spring(engine, command)
    if hanging := engine.fault("docker_hangs", command=command):
        time.sleep(hanging.number("seconds", HANGING_SECONDS))
    if engine.fault("docker_not_permitted", command=command):
        raise _refused(command, NOT_PERMITTED)
    if engine.fault("docker_daemon_down", command=command):
        raise _refused(command, UNREACHABLE)
    if restarting := engine.fault("docker_restarts", command=command):
        _restart_daemon(engine, restarting.number("seconds", BACK_SECONDS))
        raise _refused(command, BROKEN)
    if engine.fault("docker_fails", command=command):
        raise _refused(command, "Error response from daemon: context deadline exceeded")
    if engine.fault_is_set("images_pruned") and engine.fault("images_pruned", command=command):
        prune(engine)


def _refused(command: str, text: str) -> EngineError:
    """`docker run` has an exit status of its own for what is not the container's doing."""
    if command == "run":
        return EngineError(f"docker: {text}\n\nRun 'docker run --help' for more information", REFUSED)
    return EngineError(text)


def _restart_daemon(engine: Engine, seconds: float) -> None:
    back = time.time() + seconds
    engine.boot(ready=back)
    engine.db.set_fault("docker_daemon_down", {"server": engine.host, "until": str(back)})


def prune(engine: Engine) -> None:
    used = {row["image"] for row in engine.containers()}
    for image in engine.images():
        if image not in used:
            engine.db.remove_image(engine.host, image)
