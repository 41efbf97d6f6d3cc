"""Lays out a managed host of the lab: a fresh installation made by the lab's own Setup, its stack running."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import sqlite3
import sys
import time
from contextlib import closing, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from bwlab.host import deployments
from bwlab.host.container_run import FOLDERS, NOBODY, own_everything
from bwlab.host.docker_cli import BUILD, VERSION
from bwlab.host.engine import REGISTRY, Engine
from bwlab.host.project import Project
from bwlab.host.releases import FIRST_VERSIONS as VERSIONS
from bwlab.host.setup import Setup, Tree, run
from bwlab.host.setup.install import Fetch, valid_domain

PACKAGE = Path(__file__).resolve().parent
SCRIPTS = PACKAGE / "scripts"
PROGRAMS = ("docker", "curl", "python", "sleep", "sqlcmd")
SERVICE_FOLDERS = (
    "core/attachments",
    "core/licenses/organization",
    "core/licenses/user",
    "core/aspnet-dataprotection",
    "mssql/data",
    "mssql/backups",
    "scripts",
    *(
        f"logs/{name}"
        for name in ("admin", "api/Api", "events", "icons", "identity", "mssql", "nginx", "notifications", "sso")
    ),
)


@dataclass(frozen=True)
class Host:
    """Where a managed host lies."""

    name: str
    home: Path

    @property
    def directory(self) -> Path:
        return self.home / "opt" / "bitwarden"

    @property
    def bwdata(self) -> Path:
        return self.directory / "bwdata"

    @property
    def bin(self) -> Path:
        return self.home / "bin"

    @property
    def python(self) -> Path:
        """For ansible_python_interpreter."""
        return self.bin / "python"


def host_of(lab_dir: Path, name: str) -> Host:
    return Host(name, lab_dir.resolve() / "hosts" / name)


def cloud_lookup(lab_dir: Path) -> Fetch:
    """Answers as the clouds do, from their tables: the lab makes its hosts before the clouds listen."""
    regions = {"api.bitwarden.com": "US", "api.bitwarden.eu": "EU"}

    def ask(address: str) -> tuple[int, str]:
        server, _unused, installation = address.removeprefix("https://").partition("/installations/")
        path = lab_dir / "state" / f"cloud-{regions.get(server, server)}.sqlite"
        if not path.is_file():
            raise ConnectionRefusedError(address)
        with closing(sqlite3.connect(path, timeout=30)) as database:
            sql = "SELECT Enabled FROM Installation WHERE upper(Id) = ?"
            row = database.execute(sql, (installation.upper(),)).fetchone()
        if row is None:
            return 404, ""
        return 200, '{"enabled": %s}' % ("true" if row[0] else "false")

    return ask


def install_host(
    lab_dir: Path,
    name: str,
    *,
    url: str,
    region_name: str,
    installation_id: str,
    installation_key: str,
    fetch: Fetch | None = None,
    start: bool = True,
    python: str = sys.executable,
    deployment: str = "standard",
) -> Host:
    """A complete host; `fetch` answers for the cloud (its tables do by default), `start` runs the stack."""
    host = host_of(lab_dir, name)
    if host.directory.exists():
        raise FileExistsError(f"{host.directory} exists: the host is installed already")
    _programs(lab_dir.resolve(), host, python)
    (host.home / "var" / "lib" / "docker").mkdir(parents=True)
    installation = (installation_id, installation_key)
    if deployment.startswith("lite"):
        files = deployments.lay_out_lite(host, url, installation, compose=deployment == "lite")
    else:
        make_folders(host, uid_gid())
        run_setup(host, url, region_name, installation, fetch or cloud_lookup(lab_dir))
        files = [host.bwdata / "docker/docker-compose.yml"]
    if deployment == "manual":
        deployments.make_manual(host)
    engine = Engine(lab_dir.resolve(), name)
    try:
        _images(engine, files, deployment)
        if start:
            _start(engine, files)
            if not files:
                deployments.run_lite(engine, host, url)
            engine.db.event(engine.host, "up")
    finally:
        engine.db.close()
    if host.bwdata.exists():
        own_everything(host.bwdata, *uid_gid())
    return host


def uid_gid() -> tuple[int, int]:
    """What run.sh writes into uid.env."""
    return os.getuid() or NOBODY, os.getgid() or NOBODY


def _programs(lab_dir: Path, host: Host, python: str) -> None:
    host.bin.mkdir(parents=True)
    values = {
        "HOST": shlex.quote(host.name),
        "DIR": shlex.quote(str(lab_dir)),
        "HOME": shlex.quote(str(host.home)),
        "HOME_PLAIN": str(host.home),
        "PYTHON": shlex.quote(python),
        "SCRIPTS": shlex.quote(str(SCRIPTS)),
        "SITE": shlex.quote(str(PACKAGE / "site")),
        # Inside the quotes of the shell.
        "LAB": f'"{PACKAGE.parent.parent}"',
        "SITE_PACKAGES": f'"{Path(yaml.__file__).parent.parent}"',
        "DOCKER_VERSION": f"{VERSION}, build {BUILD}",
    }
    for name in PROGRAMS:
        text = (PACKAGE / "bin" / f"{name}.in").read_text()
        path = host.bin / name
        path.write_text(re.sub(r"@([A-Z_]+)@", lambda match: values[match.group(1)], text))
        path.chmod(0o755)


def make_folders(host: Host, owner: tuple[int, int]) -> None:
    host.bwdata.mkdir(parents=True)
    host.directory.chmod(0o700)
    for folder in (*FOLDERS, *SERVICE_FOLDERS):
        (host.bwdata / folder).mkdir(parents=True, exist_ok=True)
    for source, target in (
        ("bitwarden.sh", host.directory / "bitwarden.sh"),
        ("run.sh", host.bwdata / "scripts/run.sh"),
    ):
        shutil.copyfile(SCRIPTS / source, target)
        target.chmod(0o700)
    (host.bwdata / "env/uid.env").write_text(f"LOCAL_UID={owner[0]}\nLOCAL_GID={owner[1]}\n")


def run_setup(host: Host, url: str, region: str, installation: tuple[str, str], fetch: Fetch) -> None:
    """Install asks for a domain without a port, so the address is set as an operator would: config.yml, then update."""
    versions = [
        "-os", "lin", "-corev", VERSIONS["core"], "-webv", VERSIONS["web"], "-keyconnectorv", VERSIONS["key_connector"],
    ]  # fmt: skip
    parts = urlsplit(url)
    domain = parts.hostname or "localhost"
    if not valid_domain(domain):
        domain = "localhost"
    _run(
        host,
        ["-install", "1", "-domain", domain, "-letsencrypt", "n", "-dbname", "vault", *versions,
         "-install-id", installation[0], "-install-key", installation[1], "-cloud-region", region],
        stdin="n\ny\n",
        fetch=fetch,
    )  # fmt: skip
    config = host.bwdata / "config.yml"
    text = re.sub(r"(?m)^url: .*$", f"url: {url}", config.read_text())
    if parts.port is not None:
        text = re.sub(r"(?m)^https_port: .*$", f"https_port: {parts.port}", text)
    config.write_text(text)
    _run(host, ["-update", "1", *versions])


def _run(host: Host, arguments: list[str], stdin: str = "", fetch: Fetch | None = None) -> None:
    out, err = io.StringIO(), io.StringIO()
    setup = Setup(Tree(host.bwdata), io.StringIO(stdin), out, environment={})
    if fetch is not None:
        setup.fetch = fetch
    with redirect_stderr(err):
        code = run(setup, arguments)
    if code or not (host.bwdata / "docker/docker-compose.yml").is_file():
        raise RuntimeError(f"Setup did not install {host.name}: {out.getvalue()}{err.getvalue()}")


def _images(engine: Engine, files: list[Path], deployment: str) -> None:
    services = Project(files, None, {}).services.values() if files else []
    for image in [service.image for service in services] or [deployments.IMAGE]:
        engine.db.add_image(engine.host, image)
    if deployment == "standard":
        engine.db.add_image(engine.host, f"{REGISTRY}setup:{VERSIONS['core']}")


def _start(engine: Engine, files: list[Path]) -> None:
    if not files:
        return
    project = Project(files, None, {})
    project.resolve()
    now = time.time()
    rows = [
        engine.row(
            service.container or f"{project.name}-{service.name}-1",
            service.image,
            service.environment,
            service=service.name,
            project=project.name,
            config_files=str(project.files[0]),
            ports=[str(port) for port in service.raw.get("ports") or ()],
            networks=service.raw.get("networks") or ["default"],
            started=now,
            ready=now,
        )
        for service in project.services.values()
    ]
    upstreams = {row["service"]: row["id"] for row in rows}
    for row in rows:
        more = {"upstreams": upstreams} if row["service"] == "nginx" else {}
        engine.db.put_container(engine.host, {**row, **more})
