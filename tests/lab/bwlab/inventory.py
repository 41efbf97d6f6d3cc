# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""DIR/inventory.yml: the servers as a user would write them down, secrets looked up in the environment."""

from __future__ import annotations

import json
from typing import Any

import yaml

from bwlab.layout import Layout, ServerEntry
from bwlab.secret_values import Secrets


def _from_environment(server: str, name: str) -> str:
    return f"{{{{ lookup('ansible.builtin.env', 'LAB_{server.upper()}_{name}') }}}}"


def _local(layout: Layout, server: ServerEntry) -> dict[str, Any]:
    home = layout.directory / "hosts" / server.name
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": str(home / "bin" / "python"),
        "bitwarden_dir": str(home / "opt" / "bitwarden"),
    }


def _by_ssh(layout: Layout, server: ServerEntry) -> dict[str, Any]:
    """A machine of its own, which knows the lab's key and is known by its own."""
    keys = layout.directory / "ssh"
    ports = json.loads((layout.directory / "docker" / "ssh.json").read_text(encoding="utf-8"))
    return {
        "ansible_host": "127.0.0.1",
        "ansible_port": ports[server.name],
        "ansible_user": "bitwarden",
        "ansible_ssh_private_key_file": str(keys / "id_ed25519"),
        "ansible_ssh_common_args": (
            f"-o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={keys / 'known_hosts'}"
        ),
        "ansible_python_interpreter": "/usr/bin/python3",
        "bitwarden_dir": "/opt/bitwarden",
    }


def _host(layout: Layout, server: ServerEntry, entry: dict[str, Any]) -> dict[str, Any]:
    return {
        **(_by_ssh(layout, server) if layout.options.get("engine") == "docker" else _local(layout, server)),
        "bitwarden_region": server.region,
        "bitwarden_url": layout.url(server.name),
        "bitwarden_organizations": [
            {
                "name": entry["organization"],
                "cloud": entry["cloud_organization"],
                "owner": {
                    "client_id": entry["owner"]["client_id"],
                    "client_secret": _from_environment(server.name, "OWNER_CLIENT_SECRET"),
                },
                "cloud_owner": {
                    "client_id": entry["cloud_owner"]["client_id"],
                    "client_secret": _from_environment(server.name, "CLOUD_OWNER_CLIENT_SECRET"),
                    "master_password": _from_environment(server.name, "CLOUD_OWNER_MASTER_PASSWORD"),
                },
            }
        ],
    }


def write(layout: Layout, secrets: Secrets) -> None:
    hosts = {server.name: _host(layout, server, secrets.servers[server.name]) for server in layout.servers}
    text = yaml.safe_dump({"bitwarden": {"hosts": hosts}}, sort_keys=False, width=200)
    (layout.directory / "inventory.yml").write_text(f"---\n{text}", encoding="utf-8")
