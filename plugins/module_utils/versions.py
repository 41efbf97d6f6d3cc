# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions of Bitwarden's server, and the newest one that its publisher offers."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Account
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

SCRIPT_URL = "https://func.bitwarden.com/api/dl/?app=self-host&platform=linux"
REGISTRY = "ghcr.io/bitwarden/"
SETUP = f"{REGISTRY}setup"
_URL = re.compile(r"""["'](https://[^"'\s]+/dl/\?app=self-host[^"'\s]*)["']""")
_ASSIGNED = r"^{name}=[\"']?([^\"'\s]+)"
_STATUS = "\nhttp_code "
_PATIENCE = 120.0


class ReleaseError(BitwardenError):
    """What the publisher offers cannot be found out."""


@dataclass(frozen=True)
class Release:
    """The versions that a C(bitwarden.sh) installs."""

    core: str
    web: str
    key_connector: str

    def tag_of(self, repository: str) -> str:
        """The tag under which the image of this release lies."""
        name = repository.rpartition("/")[2]
        return {"web": self.web, "key-connector": self.key_connector}.get(name, self.core)


def numbers(version: str | None) -> tuple[int, ...] | None:
    """A version to compare by; None for C(latest), C(beta) and the like."""
    if version is None or not re.fullmatch(r"\d+(\.\d+)*", version):
        return None
    return tuple(int(part) for part in version.split("."))


def is_newer(candidate: str, current: str | None) -> bool:
    """Whether a version is newer than another; against one that is no number it is not."""
    new, old = numbers(candidate), numbers(current)
    return new is not None and old is not None and new > old


def newest(versions: t.Iterable[str | None]) -> str | None:
    """The highest of some versions."""
    return max((v for v in versions if v is not None and numbers(v)), key=lambda v: numbers(v) or (), default=None)


def parse_script(text: str) -> Release | None:
    """The versions that stand in a C(bitwarden.sh); None for anything else."""
    found = []
    for name in ("COREVERSION", "WEBVERSION", "KEYCONNECTORVERSION"):
        match = re.search(_ASSIGNED.format(name=name), text, re.MULTILINE)
        if match is None:
            return None
        found.append(match.group(1))
    return Release(*found)


def script_url(text: str) -> str:
    """The address that a script replaces itself from."""
    return next((url for url in _URL.findall(text) if "variant=" not in url), SCRIPT_URL)


def offered(account: Account, url: str = SCRIPT_URL, timeout: float = _PATIENCE) -> Release:
    """Downloads the newest C(bitwarden.sh) as it would itself, but to memory only."""
    answer = account.run(["curl", "-L", "-s", "-S", "-w", f"{_STATUS}%{{http_code}}", url], timeout=timeout)
    text, _mark, status = answer.stdout.rpartition(_STATUS)
    advice = (
        "Let the server reach func.bitwarden.com (and the address that it leads to) by HTTPS, with the proxy "
        "that curl uses for this user; nothing was changed."
    )
    if answer.status != 0:
        raise ReleaseError(f"{url} cannot be downloaded by curl: {answer.stderr.strip()}.", next_step=advice)
    if not status.startswith("20"):
        raise ReleaseError(f"{url} answered {status} instead of the newest bitwarden.sh.", next_step=advice)
    release = parse_script(text)
    if release is None or numbers(release.core) is None:
        raise ReleaseError(f"What {url} answered is no bitwarden.sh: it names no version.", next_step=advice)
    return release


def split_image(image: str) -> tuple[str, str]:
    """The repository and the tag of an image."""
    repository, colon, tag = image.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (image, "latest")
