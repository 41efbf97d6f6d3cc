"""`docker run` of the two images that Bitwarden's scripts run by hand: setup and certbot."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bwlab.host import detached, options
from bwlab.host.engine import REGISTRY, Engine, EngineError, say
from bwlab.host.lazy import lazy

if TYPE_CHECKING:
    from bwlab.host import setup
else:
    setup = lazy("bwlab.host.setup")

NOBODY = 65534
FOLDERS = ("ca-certificates", "docker", "env", "identity", "letsencrypt", "nginx", "ssl")
# The program is process 1 of its container, where the same abort gives another status.
ABORTED = {134: 139}


def _parse(arguments: list[str], word: str) -> options.Options:
    chosen = options.parse(arguments, detached.VALUES, flags=detached.FLAGS, mixed=False)
    if not chosen.rest:
        raise EngineError(f"docker: 'docker {word}' requires at least 1 argument")
    return chosen


def create_container(engine: Engine, arguments: list[str]) -> int:
    return detached.create(engine, _parse(arguments, "create"), start=False)


def run_container(engine: Engine, arguments: list[str]) -> int:
    chosen = _parse(arguments, "run")
    if chosen.has("-d", "--detach"):
        return detached.create(engine, chosen, start=True)
    image, *command = chosen.rest
    if chosen.has("-t", "--tty", "-it") and not sys.stdin.isatty():
        raise EngineError("the input device is not a TTY")
    env = detached.environment(chosen)
    name = chosen.last("--name") or f"lab_{os.getpid()}"
    detached.refuse_second(engine, name)
    detached.need(engine, image)
    row = engine.row(name, image, env, pid=os.getpid())
    engine.db.put_container(engine.host, row)
    try:
        if image.startswith(f"{REGISTRY}setup:"):
            if "-printenv" in command and engine.fault("script_fails_after_up"):
                raise EngineError(
                    "docker: Error response from daemon: failed to create task for container: failed to create shim "
                    "task: OCI runtime create failed: runc create failed: unable to start container process",
                    125,
                )
            return _run_setup(engine, _mount(engine, chosen), env, command)
        if "certbot" in image:
            print("Saving debug log to /var/log/letsencrypt/letsencrypt.log")
            return 0
        raise EngineError(f"docker: Error response from daemon: the lab has nothing that could run in {image}", 125)
    finally:
        engine.remove([row])


def _mount(engine: Engine, chosen: options.Options) -> Path:
    """What is mounted at /bitwarden; a relative name is a volume, not a folder."""
    for text in chosen.all("-v", "--volume"):
        source, _unused, target = text.partition(":")
        if target.partition(":")[0] == "/bitwarden":
            return Path(source) if source.startswith("/") else engine.home / "volumes" / source
    return Path(tempfile.mkdtemp(prefix="bwlab-unmounted-"))


def _run_setup(engine: Engine, root: Path, env: dict[str, str], command: list[str]) -> int:
    uid, gid = (_number(env.get(key)) for key in ("LOCAL_UID", "LOCAL_GID"))
    root.mkdir(parents=True, exist_ok=True)
    for name in FOLDERS:
        (root / name).mkdir(exist_ok=True)
    own_everything(root, uid, gid)
    work = Path(tempfile.mkdtemp(prefix="bwlab-setup-"))
    try:
        program = setup.Setup(
            setup.Tree(root, uid),
            fetch=lambda address: fetch(engine.lab_dir, address),
            environment=env,
            working_directory=work,
        )
        code = setup.run(program, command[1:])
    finally:
        shutil.rmtree(work)
    own_everything(root, uid, gid)
    return ABORTED.get(code, code)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() and int(text) else NOBODY


def own_everything(root: Path, uid: int, gid: int) -> None:
    """The entrypoint gives the whole tree to the user of uid.env; without root it is theirs already."""
    if os.geteuid() != 0:
        return
    for folder, _unused, names in os.walk(root):
        os.chown(folder, uid, gid)
        for name in names:
            os.chown(os.path.join(folder, name), uid, gid, follow_symlinks=False)


def fetch(lab_dir: Path, address: str) -> tuple[int, str]:
    """Asks the lab's cloud through the lab's proxy, whatever the caller's environment says."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(_proxies(lab_dir)), _tls(lab_dir))
    try:
        with opener.open(address, timeout=10) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")
    except urllib.error.URLError as error:
        say(f"{address}: {error.reason}")
        raise OSError(str(error.reason)) from None


def _proxies(lab_dir: Path) -> dict[str, str]:
    try:
        known: Mapping[str, object] = json.loads((lab_dir / "lab.json").read_text())
    except (OSError, ValueError):
        known = {}
    proxy = known.get("proxy") or os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    return {"https": str(proxy)} if proxy else {}


def _tls(lab_dir: Path) -> urllib.request.HTTPSHandler:
    authority = lab_dir / "ca.pem"
    return urllib.request.HTTPSHandler(
        context=ssl.create_default_context(cafile=str(authority) if authority.is_file() else None)
    )
