# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How each kind of deployment is laid out on a managed host, and started there for the first time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from bwlab import tls
from bwlab.docker.hosts import Hosts
from bwlab.docker.outer import OuterError
from bwlab.host import deployments
from bwlab.host.install import Host, cloud_lookup, host_of, make_folders, run_setup

COMPOSE = "docker compose --file bwdata/docker/docker-compose.yml"
BEGIN = "-----BEGIN CERTIFICATE-----"
# Compose puts the project's name before a volume's, the folder's by default.
PROJECT = "bitwarden"
ENGINE_VOLUMES = Path("engine") / "volumes"


def lay_out(
    lab_dir: Path,
    host: Host,
    *,
    url: str,
    region: str,
    installation: tuple[str, str],
    deployment: str,
    owner: tuple[int, int],
) -> None:
    if deployment.startswith("lite"):
        deployments.lay_out_lite(host, url, installation, compose=deployment == "lite")
        _lite_certificates(lab_dir, host.home / "volumes" / "bitwarden")
        return
    make_folders(host, owner)
    run_setup(host, url, region, installation, cloud_lookup(lab_dir))
    _certificates(lab_dir, host)
    if deployment == "manual":
        deployments.make_manual(host)


def _pair(lab_dir: Path) -> tuple[str, str]:
    """Key and certificates of the lab's authority."""
    key, _unused, certificates = (lab_dir / "tls" / f"{tls.GOOD}.pem").read_text(encoding="utf-8").partition(BEGIN)
    return key, BEGIN + certificates


def _certificates(lab_dir: Path, host: Host) -> None:
    """In the place of those that Setup made; the authority where Bitwarden looks for private ones."""
    key, certificates = _pair(lab_dir)
    for folder in (host.bwdata / "ssl" / "self").iterdir():
        (folder / "private.key").write_text(key, encoding="utf-8")
        (folder / "certificate.crt").write_text(certificates, encoding="utf-8")
    shutil.copyfile(lab_dir / "ca.pem", host.bwdata / "ca-certificates" / "lab.crt")


def _lite_certificates(lab_dir: Path, volume: Path) -> None:
    key, certificates = _pair(lab_dir)
    file = volume / "ssl.key"
    file.touch(mode=0o600)
    file.write_text(key, encoding="utf-8")
    (volume / "ssl.crt").write_text(certificates, encoding="utf-8")
    (volume / "ca-certificates").mkdir()
    shutil.copyfile(lab_dir / "ca.pem", volume / "ca-certificates" / "lab.crt")


def database(host: Host, deployment: str) -> Path:
    """The server's tables: beside the database container's files, or where Lite has its SQLite file."""
    if deployment.startswith("lite"):
        return host.home / "volumes" / "bitwarden" / "vault.db"
    return host.bwdata / "mssql" / "data" / "vault.sqlite"


def first_start(hosts: Hosts, name: str, url: str, deployment: str) -> None:
    if deployment.startswith("lite"):
        _volumes(hosts, name, deployment)
    run = f"docker run -d --name bitwarden --restart always -v bitwarden:/etc/bitwarden -p {urlsplit(url).port}:8443"
    commands = {
        "standard": "./bitwarden.sh start",
        "manual": f"{COMPOSE} pull --quiet && {COMPOSE} up -d",
        "lite": "docker compose pull --quiet && docker compose up -d",
        "lite-run": f"{run} --env-file settings.env {deployments.IMAGE}",
    }
    _do(hosts, name, commands[deployment])


def _volumes(hosts: Hosts, name: str, deployment: str) -> None:
    """Lite's data goes into volumes of the host's engine, and is seen from outside where it was."""
    home = host_of(hosts.directory, name).home
    for volume in deployments.VOLUMES:
        full = f"{PROJECT}_{volume}" if deployment == "lite" else volume
        labels = f"--label com.docker.compose.project={PROJECT} --label com.docker.compose.volume={volume}"
        _do(hosts, name, f"docker volume create {labels if deployment == 'lite' else ''} {full}")
        outside, inside = home / "volumes" / volume, home / ENGINE_VOLUMES / full / "_data"
        shutil.copytree(outside, inside, dirs_exist_ok=True)
        shutil.rmtree(outside)
        outside.symlink_to(os.path.relpath(inside, outside.parent))


def _do(hosts: Hosts, name: str, command: str) -> None:
    done = hosts.run(name, command)
    if done.returncode:
        text = (done.stdout + done.stderr).strip()[-1500:]
        raise OuterError(f"{command.partition(' -')[0]} failed on {name} with status {done.returncode}:\n{text}")
