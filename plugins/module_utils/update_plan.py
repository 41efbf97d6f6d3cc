# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which version a server has, which one is offered, and what lies between the two."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import versions
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import Service
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.front_door import FrontDoor
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.versions import Release
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.view import View

_OURS = re.compile(r"(?:^|/)bitwarden/[\w-]+$")
_NOT_GENERATED = re.compile(r"^generate_compose_config:\s*false\b", re.MULTILINE)
_COMMUNICATION = "globalsettings__enablecloudcommunication"
# What bitwarden.sh looks at as well: they stand for the server's own version and the web vault's.
_CORE, _WEB = "admin", "web"


class UpdateError(BitwardenError):
    """An update that cannot be made, or was not made well."""


class VersionDoor(FrontDoor):
    """A front door that also tells the version behind it."""

    def version(self, timeout: float = 10.0) -> str | None:
        """What the api says of itself; None where it does not answer."""
        try:
            with self._opener.open(f"{self.url}/api/config", timeout=timeout) as response:
                return str(json.loads(response.read())["version"])
        except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException):
            return None


@dataclass(frozen=True)
class Plan:
    """The two versions and whether anything is to be done."""

    offered: Release
    script: Release | None
    view: View
    served: str | None
    due: bool
    ahead: bool
    begun_from: str | None = None

    @property
    def previous(self) -> str | None:
        """The version that the server has now, or had before an update that was not finished."""
        return self.begun_from or self.served or self.view.version()

    @property
    def cloud_communication(self) -> bool:
        """Whether what runs may talk to the cloud."""
        values = [
            value
            for container in self.view.containers.values()
            for key, value in container.environment.items()
            if key.lower() == _COMMUNICATION
        ]
        return any(value.strip().lower() == "true" for value in values)

    def new_image(self, image: str) -> str:
        """What an image becomes; one that is not Bitwarden's, or pinned to another version by hand, stays."""
        repository, tag = versions.split_image(image)
        if repository.endswith("/lite"):
            return f"{repository}:{self.offered.core}" if versions.numbers(tag) else image
        part = _WEB if repository.endswith("/web") else _CORE
        known = {_tag(self.view.files, part), self.script.tag_of(repository) if self.script else None}
        if not _OURS.search(repository) or tag not in known:
            return image
        return f"{repository}:{self.offered.tag_of(repository)}"

    def new_images(self) -> list[str]:
        """What the services run after the update."""
        return [self.new_image(service.image) for service in self.view.files.values()]

    def is_new(self, image: str) -> bool:
        """Whether an image is of the offered version, and did not run before."""
        repository, tag = versions.split_image(image)
        ran = {container.image for container in self.view.containers.values()}
        return bool(_OURS.search(repository)) and tag == self.offered.tag_of(repository) and image not in ran


def _tag(services: t.Mapping[str, Service], name: str) -> str | None:
    service = services.get(name) or (services.get("api") if name == _CORE else None)
    return versions.split_image(service.image)[1] if service is not None else None


def make(offered: Release, script: Release | None, view: View, served: str | None, begun_from: str | None) -> Plan:
    """Compares; a server that is newer in any part than what is offered is left alone."""
    wanted = {_CORE: offered.core, _WEB: offered.web}
    files = {part: _tag(view.files, part) for part in wanted}
    running = {
        part: versions.split_image(view.containers[part].image)[1]
        for part in wanted
        if part in view.containers and not view.containers[part].at_rest
    }
    for part, tag in files.items():
        if tag is not None and versions.numbers(tag) is None:
            raise UpdateError(
                f"The compose files name the version {tag!r} for the service {part}, which cannot be compared with "
                f"{wanted[part]}. Nothing was changed.",
                next_step="Let bitwarden.sh write the compose file (bitwarden.sh rebuild), or update by hand.",
            )
    current = [
        *(tags.get(_CORE) for tags in (files, running)),
        script.core if script else None,
        served,
    ]
    ahead = any(tag is not None and versions.is_newer(tag, offered.core) for tag in current)
    older_script = script is not None and script != offered
    behind = any(tags.get(part) not in {None, wanted[part]} for tags in (files, running) for part in wanted)
    due = not ahead and (behind or older_script or begun_from is not None)
    return Plan(offered, script, view, served, due, ahead, begun_from)


def make_single(offered: Release, view: View, served: str | None, begun_from: str | None) -> Plan:
    """The same for Lite, which is one image with the server's own version."""
    tag = versions.split_image(next(iter(view.files.values())).image)[1]
    current = [tag, served, *(versions.split_image(c.image)[1] for c in view.containers.values() if not c.at_rest)]
    ahead = any(one is not None and versions.is_newer(one, offered.core) for one in current)
    behind = any(one is not None and versions.is_newer(offered.core, one) for one in current)
    return Plan(offered, None, view, served, not ahead and (behind or begun_from is not None), ahead, begun_from)


def refuse_own_compose_file(directory: str) -> None:
    """With a compose file of the administrator's own C(bitwarden.sh update) would restart the old version."""
    path = os.path.join(directory, "bwdata", "config.yml")
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        if _NOT_GENERATED.search(stream.read()):
            raise UpdateError(
                f"{path} says generate_compose_config: false, so an update would not change the versions in "
                "docker-compose.yml. Nothing was changed.",
                next_step="Change the versions there and restart, or let Setup write that file again.",
            )
