# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database of an installation: which one it is, and the backups of the one that comes with Bitwarden."""

from __future__ import annotations

import os
import re
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import deployment
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.deployment import Deployment
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Docker
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

CONTAINER = "bitwarden-mssql"
BUILT_IN, EXTERNAL = "built-in", "external"
SQL_SERVER = "SQL Server"
_PROVIDERS = {
    "sqlserver": SQL_SERVER,
    "mssql": SQL_SERVER,
    "postgres": "PostgreSQL",
    "postgresql": "PostgreSQL",
    "mysql": "MySQL",
    "mariadb": "MySQL",
    "sqlite": "SQLite",
}
_INSIDE = "/etc/bitwarden/mssql/backups"
_IMAGE = re.compile(r"^\s*image:\s*[\"']?\S*/mssql[:@]", re.MULTILINE)
_SWITCHED_OFF = re.compile(r"^enable_built_in_ms_sql:\s*false\b", re.MULTILINE)
_COMPLAINT = re.compile(r"Msg \d+, Level 1[1-9]|Level 2\d|Sqlcmd: Error|terminating abnormally")
# The password is in the container's own environment and goes to no command line; older images have an older folder.
_SQLCMD = (
    'export SQLCMDPASSWORD="${MSSQL_SA_PASSWORD:-$SA_PASSWORD}"; '
    "for tool in /opt/mssql-tools18/bin/sqlcmd /opt/mssql-tools/bin/sqlcmd; do "
    '[ -x "$tool" ] && exec "$tool" -S localhost -U sa -C -b -Q "$1"; done; '
    'echo "The container has no sqlcmd." >&2; exit 1'
)


class DatabaseError(BitwardenError):
    """The database server does not do what is asked of it."""


@dataclass(frozen=True)
class Database:
    """What is known of the database without asking it."""

    kind: str
    provider: str


def of(found: Deployment) -> Database:
    """The database of a deployment, by its files alone: it may be down, or its settings lost."""
    if found.kind == deployment.LITE:
        provider = _PROVIDERS.get(setting(found.env_file, "BW_DB_PROVIDER").lower(), SQL_SERVER)
        return Database(EXTERNAL if provider != "SQLite" else BUILT_IN, provider)
    provider = _PROVIDERS.get(setting(found.env_file, "globalSettings__databaseProvider").lower(), SQL_SERVER)
    off = _SWITCHED_OFF.search(_text(os.path.join(found.directory, "bwdata", "config.yml")))
    built_in = not off and any(_IMAGE.search(_text(path)) for path in found.compose_files)
    return Database(BUILT_IN if built_in else EXTERNAL, provider)


def setting(path: str, key: str) -> str:
    """One value of an env file, empty where it is not there."""
    return setting_in(_text(path), key)


def setting_in(content: str, key: str) -> str:
    """One value in the text of an env file; the last one counts, and the name in any case, as .NET takes it."""
    found = re.findall(rf"(?im)^[ \t]*(?:export[ \t]+)?{re.escape(key)}[ \t]*[=:](.*)$", content)
    text = found[-1].strip() if found else ""
    if text[:1] in {"'", '"'}:
        return text[1:].partition(text[0])[0]
    return re.split(r"\s#", text)[0].strip()


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def is_running(docker: Docker) -> bool:
    """Whether the container of the built-in database runs."""
    answer = docker.docker(["inspect", "--format", "{{.State.Running}}", CONTAINER])
    if answer.status != 0 and "no such" not in answer.said.lower():
        docker.checked(answer, "The database container cannot be asked for.", "Check the Docker engine.")
    return answer.stdout.strip() == "true"


def _backups_folder(directory: str) -> str:
    return os.path.join(directory, "bwdata", "mssql", "backups")


def _listed(folder: str) -> dict[str, float]:
    try:
        return {e.name: e.stat().st_mtime for e in os.scandir(folder) if e.name.upper().endswith(".BAK")}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DatabaseError(
            f"{folder} cannot be read: {error.strerror}.",
            next_step="Become root or the user that owns the installation.",
        ) from error


def dump(docker: Docker, timeout: float) -> str:
    """Lets the database server write a backup into bwdata; the path of that file.

    The program for it ends with 0 even if nothing was written, so only a new file counts.
    """
    folder = _backups_folder(docker.directory)
    before = _listed(folder)
    answer = docker.docker(["exec", "-i", CONTAINER, "/backup-db.sh"], timeout)
    said = docker.redacted((answer.stdout + "\n" + answer.stderr).strip())
    new = [name for name, moment in _listed(folder).items() if before.get(name) != moment]
    complaint = _COMPLAINT.search(said)
    if answer.status != 0 or complaint or len(new) != 1:
        words = said[complaint.start() :] if complaint else said[-500:]
        raise DatabaseError(
            f"/backup-db.sh in the container {CONTAINER} wrote no new backup into {folder}. It said: "
            f"{' '.join(words.split())[:500] or 'nothing'}",
            next_step=f"Free space, and look at bwdata/logs/mssql/errorlog and 'docker logs {CONTAINER}'.",
        )
    return os.path.join(folder, new[0])


def _sqlcmd(docker: Docker, query: str, timeout: float) -> t.Any:
    return docker.docker(["exec", "-i", CONTAINER, "sh", "-c", _SQLCMD, "sh", query], timeout)


def wait(docker: Docker, timeout: float) -> None:
    """Waits until the database server answers its own administrator."""
    end = time.monotonic() + timeout
    while True:
        answer = _sqlcmd(docker, "SELECT 1", 60)
        if answer.status == 0:
            return
        if time.monotonic() >= end:
            raise DatabaseError(
                f"The database server in {CONTAINER} did not answer within {timeout:g} seconds: "
                f"{docker.redacted(answer.said)}.",
                next_step=f"Look at 'docker logs {CONTAINER}' and bwdata/logs/mssql/errorlog.",
            )
        time.sleep(1)


def restore(docker: Docker, name: str, timeout: float) -> None:
    """Puts a backup in bwdata/mssql/backups in the place of the database."""
    database = setting(os.path.join(docker.directory, "bwdata", "env", "mssql.override.env"), "DATABASE") or "vault"
    # Nobody else is connected: of all services only this one runs, on a folder that was empty.
    quoted, path = database.replace("]", "]]"), f"{_INSIDE}/{name}".replace("'", "''")
    query = f"RESTORE DATABASE [{quoted}] FROM DISK = N'{path}' WITH REPLACE"
    answer = _sqlcmd(docker, query, timeout)
    said = docker.redacted((answer.stdout + "\n" + answer.stderr).strip())
    if answer.status != 0 or _COMPLAINT.search(said):
        raise DatabaseError(
            f"The database server refused to restore {name}: {' '.join(said.split())[:500]}",
            next_step="Take another archive; the archive's own database backup is not readable for this version of "
            "SQL Server, or there is no space for it.",
        )
