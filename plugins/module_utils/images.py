# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetches the images of a start beforehand, and keeps C(bitwarden.sh) from asking the registry for them again.

C(bitwarden.sh restart) pulls between stopping and starting. A slow registry makes that the longest part of the down
time, and a dead one leaves the server down.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import typing as t

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Docker, Project
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.private import private_place, write_private

_ADVICE = (
    "Let the server reach the registry (ghcr.io and pkg-containers.githubusercontent.com), or set 'pull' to missing "
    "where images are loaded by hand; then run again."
)
_PROGRAMS = ("docker", "docker-compose")
_SCRIPT = """\
#!/bin/sh
# The images of this start were pulled a moment ago: asking for them again is answered at once, all else is Docker's.
is_pulled() {
    while IFS= read -r image; do
        [ "$image" = "$1" ] && return 0
    done <@IMAGES@
    return 1
}
is_compose_pull() {
    while [ "$#" -gt 0 ]; do
        case "$1" in
            -f | --file | -p | --project-name | --project-directory | --env-file | --profile | --progress | --ansi | \\
                --parallel) shift ;;
            -*) ;;
            *) [ "$1" = pull ] && return 0 || return 1 ;;
        esac
        shift
    done
    return 1
}
last=''
for word in "$@"; do last=$word; done
case "@NAME@ $1" in
    "docker pull") is_pulled "$last" && exit 0 ;;
    "docker compose") (shift && is_compose_pull "$@") && exit 0 ;;
    "docker-compose "*) is_compose_pull "$@" && exit 0 ;;
esac
exec @PROGRAM@ "$@"
"""


def pull(project: Project, services: t.Sequence[str], others: t.Sequence[str], policy: str, timeout: float) -> None:
    """Fetches everything that the start needs, while the server still runs.

    C(others) are images that no service has. With C(policy) missing an image that is there is not asked for.
    """
    if policy == "missing":
        missing = [image for image in dict.fromkeys((*services, *others)) if not project.has_image(image)]
    else:
        project.checked(project.pull(timeout), "The images cannot be pulled; nothing was stopped.", _ADVICE)
        missing = list(dict.fromkeys(others))
    for image in missing:
        pulled = project.docker(["pull", image], timeout)
        project.checked(pulled, f"The image {image} cannot be pulled; nothing was stopped.", _ADVICE)


@contextlib.contextmanager
def answered_at_once(docker: Docker, images: t.Iterable[str]) -> t.Iterator[None]:
    """Puts a program C(docker) before Docker's own that knows which images are there."""
    with private_place(docker) as place:
        listed = os.path.join(place, "images")
        write_private(docker, listed, "".join(f"{image}\n" for image in dict.fromkeys(images)), 0o600)
        for name in _PROGRAMS:
            program = shutil.which(name)
            if program is not None:
                text = _SCRIPT.replace("@NAME@", name).replace("@PROGRAM@", shlex.quote(os.path.abspath(program)))
                write_private(docker, os.path.join(place, name), text.replace("@IMAGES@", shlex.quote(listed)), 0o700)
        docker.first_on_path = place
        try:
            yield
        finally:
            docker.first_on_path = ""
