# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps C(bitwarden.sh update) from removing the old images before the new version is proven."""

from __future__ import annotations

import contextlib
import os
import shlex
import typing as t

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Docker

_SCRIPT = """\
#!/bin/sh
# The old images are the way back: they are removed later, when the new version has been proven.
[ "$1 $2" = "image prune" ] && { echo "Total reclaimed space: 0B"; exit 0; }
exec @PROGRAM@ "$@"
"""


@contextlib.contextmanager
def all_kept(docker: Docker) -> t.Iterator[None]:
    """One more program before C(docker), in the private directory that C(images.answered_at_once) has made."""
    place = docker.first_on_path
    folder = os.path.join(place, "kept")
    os.mkdir(folder, 0o700)
    path = os.path.join(folder, "docker")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(_SCRIPT.replace("@PROGRAM@", shlex.quote(os.path.join(place, "docker"))))
    os.chmod(path, 0o700)
    if docker.account.name is not None:
        for made in (folder, path):
            os.chown(made, docker.account.uid, docker.account.gid)
    docker.first_on_path = f"{folder}{os.pathsep}{place}"
    try:
        yield
    finally:
        docker.first_on_path = place
