# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real nginx with the default.conf of bwdata; what that includes belongs to the image."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bwlab.inside import entry, places

CONF = Path(__file__).parent / "conf"
TARGET = Path("/etc/nginx")
OWN = ("nginx.conf", "proxy.conf", "security-headers.conf", "security-headers-ssl.conf")
FOLDERS = (places.BITWARDEN / "nginx", Path("/var/log/nginx"), Path("/etc/ssl"), Path("/etc/letsencrypt"))
PROGRAM = "/usr/sbin/nginx"


def install(sources: list[Path], target: Path = TARGET) -> None:
    """The image's own files, and the configuration as it is now in bwdata."""
    for name in OWN:
        shutil.copyfile(CONF / name, target / name)
    folder = target / "conf.d"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.conf"):
        old.unlink()
    for source in sources:
        shutil.copyfile(source, folder / source.name)


def main() -> int:
    """Becomes nginx: one that does not find an upstream by name ends, and the engine starts it again."""
    uid, gid = entry.begin(FOLDERS, stay_root=True)
    install(sorted((places.BITWARDEN / "nginx").glob("*.conf")))
    if os.geteuid() == 0:
        entry.step_down(uid, gid)
    os.execv(PROGRAM, [PROGRAM, "-c", str(TARGET / "nginx.conf")])  # noqa: S606 - no shell is wanted
