# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The root file system of hosts and of the internet: the lab's managed host, and every firewall that Debian has."""

from __future__ import annotations

import shutil
from pathlib import Path

from bwlab.docker import rootfs

FILES = Path(__file__).resolve().parent / "files"
TREES = (rootfs.FILES / "host", FILES)
RECIPE = rootfs.Recipe(
    "egress",
    "bookworm",
    (*rootfs.HOST.packages, "nftables", "firewalld", "ufw", "busybox-static", "dnsmasq-base"),
    (
        *rootfs.HOST.inside,
        # Debian has them all running; here one is chosen later.
        "systemctl disable nftables.service firewalld.service ufw.service",
        "systemctl mask e2scrub_reap.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer",
        "systemctl enable world-boot.service",
    ),
)


def tar() -> Path:
    files = {path.relative_to(tree): path for tree in TREES for path in sorted(tree.rglob("*")) if path.is_file()}
    extra = b"".join(bytes(name) + path.read_bytes() for name, path in files.items())

    def copy(root: Path) -> None:
        for name, path in files.items():
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            target.chmod(0o755 if path.read_bytes().startswith(b"#!") else 0o644)

    return rootfs.cached(RECIPE, extra, copy)
