"""What people, cron jobs and other programs do to a server, and how it is undone."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from integration.faults.hosts import Host

Undo = Callable[[], None]


def _nothing() -> None:
    """The next run is what undoes it."""


def _replaced(path: Path, content: bytes) -> Undo:
    """Another content in place, owner and mode kept; the undoing brings the old one back."""
    old = path.read_bytes()
    path.write_bytes(content)
    return lambda: void(path.write_bytes(old))


def void(_value: object) -> None:
    """For callables that have to return nothing."""


def malformed_line(host: Host) -> Undo:
    """Somebody's quotation mark was never closed."""
    return _replaced(host.env_file, (host.content() or b"") + b'own="open\n')


def file_lost(host: Host) -> Undo:
    """The env file was moved away."""
    away = host.directory / "moved.env"
    host.env_file.rename(away)
    return lambda: void(away.rename(host.env_file))


def file_cut(host: Host) -> Undo:
    """Half of the env file, as an editor on a full disk leaves it."""
    content = host.content() or b""
    return _replaced(host.env_file, content[: len(content) // 2].rpartition(b"=")[0] + b'="')


def compose_file_broken(host: Host) -> Undo:
    """A tabulator where YAML forbids it."""
    path = host.directory / "bwdata" / "docker" / "docker-compose.yml"
    return _replaced(path, path.read_bytes() + b"\tservices: [\n")


def worker_lost(host: Host) -> Undo:
    """bwdata/scripts/run.sh is gone: a backup was restored in part."""
    path = host.directory / "bwdata" / "scripts" / "run.sh"
    away = path.with_name("run.sh.away")
    path.rename(away)
    return lambda: void(away.rename(path))


def script_not_executable(host: Host) -> Undo:
    """Copied without its mode."""
    path = host.directory / "bitwarden.sh"
    path.chmod(0o600)
    return lambda: path.chmod(0o700)


def script_newer(host: Host) -> Undo:
    """`bitwarden.sh updateself` was run, and nothing after it."""
    path = host.directory / "bitwarden.sh"
    text = path.read_text(encoding="utf-8")
    return _replaced(path, text.replace('COREVERSION="2026.7.2"', 'COREVERSION="2026.8.0"').encode())


def another_script(host: Host) -> Undo:
    """Somebody else's bitwarden.sh update, which takes its time."""
    path = host.directory / "bwdata" / "scripts" / "away" / "bitwarden.sh"
    path.parent.mkdir()
    path.write_text("#!/bin/bash\nread -r\n", encoding="utf-8")
    process = subprocess.Popen(["/bin/bash", path, "update"], stdin=subprocess.PIPE)

    def undo() -> None:
        process.communicate(b"\n")
        path.unlink()
        path.parent.rmdir()

    return undo


def another_run(host: Host) -> Undo:
    """Another run of the collection holds the lock on the installation."""
    descriptor = os.open(host.directory, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    host.settle = _nothing  # type: ignore[method-assign]  # it is this process that holds the lock

    def undo() -> None:
        del host.settle
        os.close(descriptor)

    return undo


def setup_left_behind(host: Host) -> Undo:
    """An update was killed, and its container `setup` is still there."""
    host.db.put_container(host.name, {
        "name": "setup", "service": "", "project": "", "image": "ghcr.io/bitwarden/setup:2026.7.2", "state": "exited",
        "started": 0.0, "ready": 0.0, "id": "5e" * 32, "restart_count": 0, "env": {},
    })  # fmt: skip
    return lambda: host.db.remove_container(host.name, "setup")


def override_contradicts(host: Host) -> Undo:
    """docker-compose.override.yml sets the same key to another value, which wins."""
    path = host.directory / "bwdata" / "docker" / "docker-compose.override.yml"
    path.write_text("services:\n  api:\n    environment:\n      globalSettings__faultMatrix: own\n", encoding="utf-8")
    return path.unlink


def service_stopped(host: Host) -> Undo:
    """Somebody has stopped one container and forgotten it."""
    host.docker("stop", "bitwarden-identity")
    return _nothing


def service_removed(host: Host) -> Undo:
    """Somebody has removed one container."""
    host.docker("rm", "-f", "bitwarden-notifications")
    return _nothing


def all_stopped(host: Host) -> Undo:
    """The whole server is down before the run begins."""
    host.docker("compose", "down")
    return _nothing


def put_aside(host: Host) -> Undo:
    """An earlier run was killed after it had put the old container aside."""
    host.docker("stop", "bitwarden")
    host.docker("rename", "bitwarden", "bitwarden-previous")
    return _nothing
