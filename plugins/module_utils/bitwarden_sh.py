# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Knows C(bitwarden.sh), the supported tool, and keeps out of the way of others who run it."""

from __future__ import annotations

import os
import re
import time

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Answer
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.deployment import STANDARD
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Docker
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.private import private_place, write_private

_SETUP_IMAGE = "ghcr.io/bitwarden/setup"
_CERTBOT_IMAGE = "certbot/certbot"
_VERSION = re.compile(r"^(CORE|WEB|KEYCONNECTOR)VERSION=[\"']?([^\"'\s]+)", re.MULTILINE)
_PULLED_SETUP = re.compile(r"([\w.:/-]*bitwarden/setup):\$")
_SCRIPTS = frozenset({"bitwarden.sh", "run.sh"})


class ScriptError(BitwardenError):
    """C(bitwarden.sh) is not there, or may not be run now."""


def script_path(directory: str) -> str:
    """The script of an installation; its absence is told before anything else is tried."""
    path = os.path.join(directory, "bitwarden.sh")
    for needed in (path, worker_path(directory)):
        if not os.path.isfile(needed):
            raise ScriptError(
                f"{needed} does not exist.",
                next_step="Name the directory that holds bitwarden.sh and bwdata, usually /opt/bitwarden.",
            )
    return path


def worker_path(directory: str) -> str:
    """The script that does the work of C(bitwarden.sh)."""
    return os.path.join(directory, "bwdata", "scripts", "run.sh")


def pinned_versions(directory: str) -> dict[str, str]:
    """What the script installs (C(core), C(web)); after C(updateself) it may be newer than what runs."""
    found = _VERSION.findall(_text(script_path(directory)))
    return {name.lower(): version for name, version in reversed(found)}


def core_version(directory: str) -> str | None:
    """The version of Bitwarden that the script installs."""
    return pinned_versions(directory).get("core")


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def other_images(directory: str) -> list[str]:
    """What a restart by the script fetches besides the images of the services."""
    images = []
    version = core_version(directory)
    if version:
        named = _PULLED_SETUP.search(_text(worker_path(directory)))
        images.append(f"{named.group(1) if named else _SETUP_IMAGE}:{version}")
    if uses_certbot(directory):
        images.append(_CERTBOT_IMAGE)
    return images


def uses_certbot(directory: str) -> bool:
    """Whether each start renews a certificate of Let's Encrypt first."""
    return os.path.isdir(os.path.join(directory, "bwdata", "letsencrypt", "live"))


def running_script(directory: str) -> str | None:
    """Another run of this installation's scripts, by hand or from cron."""
    base = os.path.realpath(directory)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as stream:
                words = stream.read().decode("utf-8", "replace").split("\0")
            folder = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        for position, word in enumerate(words[:3]):
            path = os.path.realpath(os.path.join(folder, word))
            if os.path.basename(word) in _SCRIPTS and path.startswith(base + os.sep):
                command = " ".join([os.path.basename(word), *words[position + 1 : position + 2]]).strip()
                return f"{command} (pid {pid})"
    return None


def wait_for_others(docker: Docker, timeout: float) -> None:
    """Lets an update or a restart that somebody else has started come to its end."""
    end = time.monotonic() + timeout
    while True:
        found = running_script(docker.directory) or _one_off_container(docker)
        if found is None:
            return
        if time.monotonic() >= end:
            raise ScriptError(
                f"{found} has been at work on {docker.directory} for {timeout:g} seconds; nothing was stopped.",
                next_step="Wait until it has ended. A container 'setup' or 'certbot' that was left behind is removed "
                "by 'docker rm -f NAME'.",
            )
        time.sleep(1)


def _one_off_container(docker: Docker) -> str | None:
    """A container whose name the script needs itself."""
    if docker.deployment.kind != STANDARD:
        return None
    names = docker.docker(["ps", "-a", "--format", "{{.Names}}"]).stdout.split()
    if "setup" in names:
        return "A container named setup"
    if "certbot" in names and uses_certbot(docker.directory):
        return "A container named certbot"
    return None


def run(docker: Docker, command: str, timeout: float) -> Answer:
    """Runs the script; its exit status says little, so the caller looks for himself.

    If the caller dies the script goes on to its end, and the server comes up.
    """
    # Without an answer to its question whether root is meant, the script ends before it does anything.
    as_root = os.geteuid() == 0 and docker.account.name is None
    script = script_path(docker.directory)
    with private_place(docker) as place:
        output = os.path.join(place, "output")
        write_private(docker, output, "", 0o600)
        return docker.account.run(
            [script, command],
            timeout=timeout,
            cwd=docker.directory,
            answer="y" if as_root else "",
            one_output=True,
            output=output,
            first_on_path=docker.first_on_path,
        )
