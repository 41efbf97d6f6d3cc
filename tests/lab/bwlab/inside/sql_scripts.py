# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The programs of the database container: /backup-db.sh, by hand and every night, and sqlcmd."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SQLCMD = Path("/opt/mssql-tools18/bin/sqlcmd")
BACKUP = Path("/backup-db.sh")
SQLCMD_TEXT = '#!/bin/sh\nexec python3 -m bwlab.inside sqlcmd "$@"\n'
# As the real one it ends with 0 whatever becomes of the backup, and a good one removes what is older than 32 days.
BACKUP_TEXT = """#!/bin/sh
[ -z "${BACKUP_TIMEZONE:-}" ] || export TZ="$BACKUP_TIMEZONE"
name=${DATABASE:-vault}
folder=/etc/bitwarden/mssql/backups
while true; do
  [ "${1:-}" != loop ] || sleep $(($(date -d 'tomorrow 0:00' +%s) - $(date +%s)))
  device=$folder/${name}_FULL_$(date +%Y%m%d_%H%M%S).BAK
  @SQLCMD@ -C -S localhost -U sa -P "$SA_PASSWORD" -Q "BACKUP DATABASE [$name] TO DISK = N'$device' WITH STATS = 10"
  [ ! -f "$device" ] || find "$folder" -mindepth 1 -type f -name '*.BAK' -mtime +32 -delete
  [ "${1:-}" = loop ] || exit 0
done
"""


def install() -> None:
    for path, text in ((SQLCMD, SQLCMD_TEXT), (BACKUP, BACKUP_TEXT.replace("@SQLCMD@", str(SQLCMD)))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)


def start_nightly() -> None:
    if os.environ.get("BACKUP_DB", "1") != "0":
        subprocess.Popen([str(BACKUP), "loop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
