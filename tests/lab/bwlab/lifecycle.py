# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Beginning and end of a lab, and the environment in which commands meet it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bwlab.door import PROBE

if TYPE_CHECKING:
    from bwlab.layout import Layout

PROCESS, DOCKER = "process", "docker"
READY_SECONDS = 60.0
END_SECONDS = 15.0
PACKAGE = Path(__file__).resolve().parent
BUNDLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")


class LabError(Exception):
    """Says what is wrong and what to do."""


def made(directory: Path) -> Path:
    if not (directory / "lab.json").is_file():
        raise LabError(f"{directory} holds no lab; make one with: lab up --dir {directory}")
    return directory


def _is_daemon(pid: int) -> bool:
    try:
        return b"bwlab.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def running_pid(directory: Path) -> int | None:
    """The daemon's process id, if it is one and lives."""
    try:
        pid = int((directory / "lab.pid").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return pid if _is_daemon(pid) else None


def up(directory: Path, options: dict[str, Any]) -> dict[str, Any]:
    if (pid := running_pid(directory)) is not None:
        raise LabError(
            f"the lab in {directory} is running already (process {pid}); end it with: lab down --dir {directory}"
        )
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "lab.json").is_file() and engine_of(directory) == DOCKER:
        # An attempt that was killed has left an engine behind, whose files are removed with what it had begun.
        down(directory)
    if options["engine"] == DOCKER:
        from bwlab.docker import lifecycle as docker  # noqa: PLC0415 - the other engine starts faster without it

        docker.up(directory, options)
    else:
        sockets = resume(directory, options) if (directory / "lab.json").is_file() else _make(directory, options)
        start(directory, sockets)
    answer: dict[str, Any] = json.loads((directory / "lab.json").read_text(encoding="utf-8"))
    return answer


def engine_of(directory: Path) -> str:
    """The kind of engine that a lab has, also one that is only half made."""
    return DOCKER if (directory / "docker").is_dir() else PROCESS


def listen(port: int = 0, address: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen(256)
    return sock


def _make(directory: Path, options: dict[str, Any]) -> list[socket.socket]:
    layout, servers, sockets = begin(directory, options)
    finish(layout, servers)
    return sockets


def begin(directory: Path, options: dict[str, Any]) -> tuple[Layout, list[tuple[str, str]], list[socket.socket]]:
    """Everybody's address, and the certificates."""
    from bwlab import tls, world  # noqa: PLC0415 - needed here only, and slow to load
    from bwlab.layout import Layout  # noqa: PLC0415 - as above

    if (directory / "state").exists():
        world.remove_half_made(directory)
    if any(directory.iterdir()):
        raise LabError(f"{directory} is not empty and holds no lab; name another directory")
    try:
        regions = world.check_regions(options["regions"])
    except ValueError as error:
        raise LabError(str(error)) from None
    (directory / "state").mkdir(mode=0o700)
    servers = world.server_names(options["servers"], regions)
    layout = Layout(directory, {**options, "regions": regions}, regions=regions)
    sockets = [listen() for _unused in range(world.count_doors(regions, len(servers)))]
    world.make_doors(layout, servers, [sock.getsockname()[1] for sock in sockets])
    tls.write_certificates(directory)
    return layout, servers, sockets


def finish(layout: Layout, servers: list[tuple[str, str]], **how: Callable[..., object]) -> None:
    """The inhabitants, and what is written down about them."""
    from bwlab import inventory, world  # noqa: PLC0415 - needed here only, and slow to load
    from bwlab.secret_values import Secrets  # noqa: PLC0415 - as above

    world.World(layout, servers, one_organization=layout.options["one_organization"]).create(**how)
    order = [name for name, _region in servers]
    layout.servers.sort(key=lambda server: order.index(server.name))
    layout.write()
    inventory.write(layout, Secrets.read(layout.directory))
    (layout.directory / "lab.json").write_text(json.dumps(layout.public(), indent=1), encoding="utf-8")


def resume(directory: Path, options: dict[str, Any]) -> list[socket.socket]:
    """The same lab again, on the same ports."""
    from bwlab.layout import Layout  # noqa: PLC0415 - needed here only

    layout = Layout.read(directory)
    if {**options, "regions": [name.lower() for name in options["regions"]]} != {
        **layout.options,
        "regions": [name.lower() for name in layout.options["regions"]],
    }:
        raise LabError(f"{directory} holds a lab made with other options ({layout.options}); name another directory")
    try:
        return [listen(port) for port in (layout.proxy_port, *(door.port for door in layout.doors))]
    except OSError as error:
        raise LabError(f"a port of the lab in {directory} is taken by another program: {error}") from None


def start(directory: Path, sockets: list[socket.socket]) -> None:
    numbers = [sock.fileno() for sock in sockets]
    environment = {**os.environ, "BWLAB_SOCKETS": json.dumps(numbers), "PYTHONPATH": str(PACKAGE.parent)}
    with (directory / "daemon.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bwlab.daemon", str(directory)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, pass_fds=numbers,
            start_new_session=True, cwd="/",
        )  # fmt: skip
    for sock in sockets:
        sock.close()
    deadline = time.monotonic() + READY_SECONDS
    while not answers(directory, servers=engine_of(directory) == PROCESS):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise LabError(f"the lab's process did not start; see {directory / 'daemon.log'}")
        time.sleep(0.05)


def answers(directory: Path, *, clouds: bool = True, servers: bool = True) -> bool:
    """Every cloud and every server's api answers."""
    if running_pid(directory) is None:
        return False
    layout = json.loads((directory / "lab.json").read_text(encoding="utf-8"))
    context = ssl.create_default_context(cafile=directory / "ca.pem")
    paths = [(cloud["api"], "/config") for cloud in layout["clouds"].values() if clouds]
    paths += [(server["url"], "/api/config") for server in layout["servers"].values() if servers]
    return all(_get(url, path, context) for url, path in paths)


def _get(url: str, path: str, context: ssl.SSLContext) -> bool:
    host, _unused, port = url.removeprefix("https://").partition(":")
    connection = http.client.HTTPSConnection(host, int(port), timeout=10, context=context)
    try:
        # Not under the caller's address, and not in the log: limits and counts are his.
        connection.request("GET", path, headers={"X-Connecting-IP": PROBE})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def down(directory: Path) -> None:
    if engine_of(directory) == DOCKER:
        from bwlab.docker import lifecycle as docker  # noqa: PLC0415 - the other engine ends faster without it

        docker.down(directory)
    end_daemon(directory)


def end_daemon(directory: Path) -> None:
    pid = running_pid(directory)
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while _is_daemon(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    (directory / "lab.pid").unlink(missing_ok=True)


def environment(directory: Path, project: Path) -> dict[str, str]:
    """What a command needs to meet the lab as it would meet the real thing."""
    from bwlab.secret_values import Secrets  # noqa: PLC0415 - needed here only

    layout = json.loads((made(directory) / "lab.json").read_text(encoding="utf-8"))
    proxy = layout["proxy"]
    found = {
        "ANSIBLE_CONFIG": str(project / "ansible.cfg"),
        "ANSIBLE_INVENTORY": str(directory / "inventory.yml"),
        "ANSIBLE_COLLECTIONS_PATH": str(project / ".cache"),
        "ANSIBLE_HOME": str(directory / "ansible"),
        "PATH": f"{project / '.venv' / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "NO_PROXY": "localhost,127.0.0.1",
        "no_proxy": "localhost,127.0.0.1",
    }
    found |= dict.fromkeys(BUNDLES, str(directory / "ca.pem"))
    return found | Secrets.read(directory).environment()
