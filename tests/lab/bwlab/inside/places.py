# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a container finds what its managed host and the lab have put there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bwlab.labdb import LabDb

BITWARDEN = Path("/etc/bitwarden")
CORE = BITWARDEN / "core"
LITE_DATABASE = BITWARDEN / "vault.db"


@dataclass(frozen=True)
class Places:
    """`lab` holds lab.sqlite and licensing.pem, `database` is the file that the database server keeps."""

    server: str
    lab: Path
    database: Path
    licenses: Path
    logs: Path

    def lab_db(self) -> LabDb | None:
        """None where a container runs without a lab around it, or is not shown its folder."""
        path = self.lab / "lab.sqlite"
        return LabDb(path) if path.is_file() else None


def server_name() -> str:
    return os.environ.get("BWLAB_SERVER") or os.uname().nodename


def standard(catalog: str = "vault") -> Places:
    lab = CORE / ".lab"
    return Places(server_name(), lab / "lab", lab / "data" / f"{catalog}.sqlite", CORE / "licenses", BITWARDEN / "logs")


def in_lite() -> bool:
    """Set by Lite for its services."""
    return bool(os.environ.get("BWLAB_LITE"))


def lite(database_file: str | None = None) -> Places:
    """Lite keeps all in one folder; a database file of its own, unless the lab shows it one."""
    lab = BITWARDEN / ".lab"
    given = lab / "data" / "vault.sqlite"
    file = given if given.is_file() else Path(database_file or LITE_DATABASE)
    return Places(server_name(), lab / "lab", file, BITWARDEN / "licenses", Path("/var/log/bitwarden"))
