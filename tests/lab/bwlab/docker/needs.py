# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What this machine must have; the lab installs nothing by itself."""

from __future__ import annotations

import os
import shutil

# Program and Debian package.
PROGRAMS = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "dnsmasq": "dnsmasq-base",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class NotReady(Exception):
    """Says what is missing and how to get it."""


def path() -> str:
    """PATH with the folders of system programs, which a plain user's lacks."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_PATH])


def check() -> None:
    if os.geteuid() != 0:
        raise NotReady("--engine docker needs root: run it with sudo, or leave the option out for the process engine")
    missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program, path=path())})
    if missing:
        raise NotReady(
            f"--engine docker misses programs; install them with: apt-get install --no-install-recommends "
            f"{' '.join(missing)}"
        )
