# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Beginning and end of a lab on a real engine."""

from __future__ import annotations

import json
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bwlab import lifecycle
from bwlab.docker import deploy, install, layers, needs, rootfs
from bwlab.docker.gateway import PORT
from bwlab.docker.hosts import Hosts
from bwlab.docker.outer import Outer, OuterError
from bwlab.docker.watch import WATCHED
from bwlab.host.install import host_of
from bwlab.labdb import LabDb
from bwlab.layout import Layout

STACK_SECONDS = 240.0


def up(directory: Path, options: dict[str, Any]) -> None:
    again = (directory / "lab.json").is_file()
    try:
        needs.check()
        (_resume if again else _make)(directory, options)
    except (needs.NotReady, OuterError) as error:
        _give_up(directory, again=again)
        raise lifecycle.LabError(str(error)) from None
    except BaseException:
        _give_up(directory, again=again)
        raise


def _give_up(directory: Path, *, again: bool) -> None:
    """Nothing is left running; a lab that was being made is made anew by the next attempt."""
    if (directory / "docker").is_dir():
        down(directory)
    lifecycle.end_daemon(directory)
    if not again:
        (directory / "lab.json").unlink(missing_ok=True)


def _make(directory: Path, options: dict[str, Any]) -> None:
    layout, servers, sockets = lifecycle.begin(directory, options)
    host_tar, service_tar = rootfs.host_tar(), rootfs.service_tar()
    outer = Outer(directory)
    outer.start()
    outer.make_network()
    _lab_files(directory, service_tar)
    fronts = {layout.door(f"server:{name}", "front").port for name, _region in servers}
    ports = [lifecycle.listen() for _unused in servers]
    ssh = {name: sock.getsockname()[1] for (name, _region), sock in zip(servers, ports, strict=True)}
    (outer.folder / "ssh.json").write_text(json.dumps(ssh), encoding="utf-8")
    lifecycle.finish(layout, servers, install=install.install)
    authorized = install.new_key(directory / "ssh" / "id_ed25519")
    known = [_machine(layout, name, authorized) for name, _region in servers]
    (directory / "ssh" / "known_hosts").write_text("".join(known), encoding="utf-8")
    install.ssh_config(directory / "ssh", ssh)
    install.share(directory)
    for sock in [*ports, *(sock for sock in sockets if sock.getsockname()[1] in fronts)]:
        sock.close()
    _serve(directory, [sock for sock in sockets if sock.fileno() >= 0])
    hosts = Hosts(directory)
    hosts.load_image(host_tar)
    for name, _region in servers:
        hosts.create(name, front_port=layout.door(f"server:{name}", "front").port, ssh_port=ssh[name])
    names = [name for name, _region in servers]
    hosts.start(names)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: deploy.first_start(hosts, name, layout.url(name), layout.deployment), names))
    _wait(directory, names)


def _lab_files(directory: Path, service_tar: Path) -> None:
    """The layers as they are now: the registry gives the same ones as long as the lab lives."""
    (directory / "shared").mkdir(mode=0o770)
    (directory / "ssh").mkdir(mode=0o700)
    (directory / "lab.sqlite").symlink_to("shared/lab.sqlite")
    folder = directory / "docker" / "layers"
    folder.mkdir()
    base = folder / "base.tar"
    try:
        base.hardlink_to(service_tar)
    except OSError:
        shutil.copyfile(service_tar, base)
    layers.write_code(folder / "code.tar")


def _machine(layout: Layout, name: str, authorized: str) -> str:
    """Its line in known_hosts."""
    directory = layout.directory
    host = host_of(directory, name)
    install.move_database(directory, host, layout.deployment)
    install.own(host)
    outer = Outer(directory)
    public = install.machine(directory, host, url=layout.url(name), gateway=outer.gateway(), authorized=authorized)
    return f"[127.0.0.1]:{Hosts(directory).ssh()[name]} {public}\n"


def _serve(directory: Path, sockets: list[socket.socket]) -> None:
    outer = Outer(directory)
    outer.start_names()
    try:
        sockets.append(lifecycle.listen(PORT, outer.gateway()))
    except OSError as error:
        raise OuterError(f"port {PORT} of {outer.gateway()} cannot be had: {error.strerror}") from None
    lifecycle.start(directory, sockets)


def _wait(directory: Path, names: list[str]) -> None:
    """Every front door answers; from now on the daemon watches them."""
    deadline = time.monotonic() + STACK_SECONDS
    while not lifecycle.answers(directory, clouds=False):
        if time.monotonic() > deadline:
            raise OuterError(f"not every server answered within {STACK_SECONDS:.0f} seconds after its start")
        time.sleep(0.3)
    database = LabDb(directory / "lab.sqlite")
    for name in names:
        database.event(name, WATCHED)
    database.close()


def _resume(directory: Path, options: dict[str, Any]) -> None:
    layout = Layout.read(directory)
    sockets = lifecycle.resume(directory, options)
    outer = Outer(directory)
    outer.check_network()
    outer.start()
    fronts = {layout.door(f"server:{server.name}", "front").port for server in layout.servers}
    for sock in [sock for sock in sockets if sock.getsockname()[1] in fronts]:
        sock.close()
    _serve(directory, [sock for sock in sockets if sock.fileno() >= 0])
    hosts = Hosts(directory)
    names = [server.name for server in layout.servers]
    hosts.start(names)
    _wait(directory, names)


def down(directory: Path) -> None:
    """The hosts first, so that nobody watches them go; then whatever else runs or is mounted."""
    lifecycle.end_daemon(directory)
    hosts = Hosts(directory)
    if hosts.outer.engine.answers():
        hosts.stop(hosts.names())
    hosts.outer.stop()
