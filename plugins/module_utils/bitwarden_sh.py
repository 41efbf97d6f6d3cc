# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drives C(bitwarden.sh), the supported tool, and keeps out of the way of others who do."""

from __future__ import annotations

import os
import re
import time

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Answer
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.compose import Compose
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

SETUP_IMAGE = "ghcr.io/bitwarden/setup"
_CERTBOT_IMAGE = "certbot/certbot"
_VERSION = re.compile(r"^COREVERSION=[\"']?([^\"'\s]+)", re.MULTILINE)
_SCRIPTS = frozenset({"bitwarden.sh", "run.sh"})


class ScriptError(BitwardenError):
    """C(bitwarden.sh) is not there, or may not be run now."""


def script_path(directory: str) -> str:
    """The script of an installation; its absence is told before anything else is tried."""
    path = os.path.join(directory, "bitwarden.sh")
    for needed in (path, os.path.join(directory, "bwdata", "scripts", "run.sh")):
        if not os.path.isfile(needed):
            raise ScriptError(
                f"{needed} does not exist.",
                next_step="Name the directory that holds bitwarden.sh and bwdata, usually /opt/bitwarden.",
            )
    return path


def core_version(directory: str) -> str | None:
    """The version that the script installs; after C(updateself) it may be newer than what runs."""
    with open(script_path(directory), encoding="utf-8", errors="replace") as stream:
        match = _VERSION.search(stream.read())
    return match.group(1) if match else None


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
                return f"{os.path.basename(word)} {' '.join(words[position + 1 : position + 2])}".strip() + f" ({pid=})"
    return None


def wait_for_others(compose: Compose, timeout: float) -> None:
    """Lets an update or a restart that somebody else has started come to its end."""
    end = time.monotonic() + timeout
    while True:
        found = running_script(compose.directory) or _setup_container(compose)
        if found is None:
            return
        if time.monotonic() >= end:
            raise ScriptError(
                f"{found} has been at work on {compose.directory} for {timeout:g} seconds; nothing was stopped.",
                next_step="Wait until it has ended. A container 'setup' that was left behind is removed by "
                "'docker rm -f setup'.",
            )
        time.sleep(1)


def _setup_container(compose: Compose) -> str | None:
    result = compose.docker(["ps", "-a", "--format", "{{.Names}}"])
    return "A container named setup" if "setup" in result.stdout.split() else None


def pull(compose: Compose, timeout: float) -> None:
    """Fetches everything that the restart fetches, while the server still runs: a dead registry stops it half-way."""
    advice = (
        "Let the server reach the registry (ghcr.io and pkg-containers.githubusercontent.com), then run again; "
        "nothing was stopped."
    )
    compose.checked(compose.compose("pull", timeout=timeout), "The images cannot be pulled.", advice)
    images = []
    version = core_version(compose.directory)
    if version:
        images.append(f"{SETUP_IMAGE}:{version}")
    if os.path.isdir(os.path.join(compose.directory, "bwdata", "letsencrypt", "live")):
        images.append(_CERTBOT_IMAGE)
    for image in images:
        compose.checked(compose.docker(["pull", image], timeout), f"The image {image} cannot be pulled.", advice)


def restart(compose: Compose, timeout: float) -> Answer:
    """Runs C(bitwarden.sh restart); its exit status says little, so the caller looks for himself."""
    # Without an answer to its question whether root is meant, the script ends before it does anything.
    as_root = os.geteuid() == 0 and compose.account.name is None
    script = script_path(compose.directory)
    return compose.account.run(
        [script, "restart"],
        timeout=timeout,
        cwd=compose.directory,
        answer="y" if as_root else "",
        one_output=True,
    )
