# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lays a managed host out on disk: the installation as Setup makes it, and what the machine around it needs."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bwlab.docker import deploy
from bwlab.docker.hosts import UID
from bwlab.host.container_run import own_everything
from bwlab.host.install import Host, host_of

SERVER_KEY = "ssh_host_ed25519_key"
RUNTIME = {"default-runtime": "lab", "runtimes": {"lab": {"path": "/usr/local/sbin/lab-runc"}}}


def install(
    lab_dir: Path,
    name: str,
    *,
    url: str,
    region_name: str,
    installation_id: str,
    installation_key: str,
    deployment: str,
) -> Host:
    """Nothing runs yet."""
    host = host_of(lab_dir, name)
    deploy.lay_out(
        lab_dir, host, url=url, region=region_name, installation=(installation_id, installation_key),
        deployment=deployment, owner=(UID, UID),
    )  # fmt: skip
    return host


def move_database(lab_dir: Path, host: Host, deployment: str) -> None:
    """The server's tables lie where its deployment keeps them, and are seen from outside as ever."""
    state = lab_dir / "state" / f"server-{host.name}.sqlite"
    target = deploy.database(host, deployment)
    state.rename(target)
    state.symlink_to(os.path.relpath(target, state.parent))


def own(host: Host) -> None:
    own_everything(host.directory, UID, UID)
    os.chown(host.directory, UID, UID)


def share(lab_dir: Path) -> None:
    """The lab-wide state, which programs in containers use too."""
    shared = lab_dir / "shared"
    (shared / "licensing.pem").write_bytes((lab_dir / "state" / "licensing.pem").read_bytes())
    for path in (shared, *shared.iterdir()):
        os.chown(path, UID, UID)


def new_key(path: Path) -> str:
    """An ssh key of its own for this lab; the public half is returned and lies beside it."""
    key = Ed25519PrivateKey.generate()
    openssh = serialization.PrivateFormat.OpenSSH
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, openssh, serialization.NoEncryption()))
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    path.with_suffix(".pub").write_text(f"{public}\n", encoding="utf-8")
    return public


def machine(lab_dir: Path, host: Host, *, url: str, gateway: str, authorized: str) -> str:
    """What the machine reads when it boots; the public key of its ssh server is returned."""
    folder = host.home / "machine"
    folder.mkdir(mode=0o700)
    (folder / "ca.crt").write_bytes((lab_dir / "ca.pem").read_bytes())
    (folder / "authorized_keys").write_text(f"{authorized}\n", encoding="utf-8")
    (folder / "daemon.json").write_text(json.dumps({**RUNTIME, "dns": [gateway]}), encoding="utf-8")
    (folder / "info.json").write_text(json.dumps({"BWLAB_SERVER": host.name, "BWLAB_URL": url}), encoding="utf-8")
    return new_key(folder / SERVER_KEY)


def ssh_config(keys: Path, ports: dict[str, int]) -> None:
    """For people: `ssh -F DIR/ssh/config us1`."""
    lines = ["Host *", "    HostName 127.0.0.1", "    User bitwarden", f"    IdentityFile {keys / 'id_ed25519'}"]
    lines += ["    IdentitiesOnly yes", f"    UserKnownHostsFile {keys / 'known_hosts'}"]
    for name, port in ports.items():
        lines += [f"Host {name}", f"    Port {port}"]
    (keys / "config").write_text("\n".join([*lines, ""]), encoding="utf-8")
