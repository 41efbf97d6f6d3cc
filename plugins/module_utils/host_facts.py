# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator wants to know about the host of a server, part by part; one that cannot be had stops no other."""

from __future__ import annotations

import contextlib
import os
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    backup,
    backups,
    bitwarden_sh,
    certificate_dates,
    database,
    deployment,
    dotenv,
    tools,
    view,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Runner
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.deployment import Deployment
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Project
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.redact import REDACTED

PARTS = (
    "deployment",
    "versions",
    "docker",
    "containers",
    "images",
    "disk",
    "proxies",
    "certificates",
    "backups",
    "database",
)
_PROXY_KEYS = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy"})
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@|^[^/@\s:]+:[^/@\s]*@")
_IMAGE = re.compile(r"(?:^|/)bitwarden/[\w-]+:")
_DAEMON = ("HTTPProxy", "HTTPSProxy", "NoProxy")
_MEBIBYTE = 1 << 20


def without_login(address: str) -> str:
    """A proxy's address as it may be shown."""
    return _LOGIN.sub(f"{REDACTED}@", address)


@dataclass
class Facts:
    """Looks at one installation and changes nothing."""

    found: Deployment
    project: Project
    folder: str
    problems: dict[str, str] = field(default_factory=dict)

    def gather(self, parts: t.Iterable[str]) -> dict[str, t.Any]:
        """The wanted parts; null where one cannot be had, and then the reason in C(problems)."""
        result: dict[str, t.Any] = {}
        for part in PARTS:
            if part in parts:
                result[part] = None
                try:
                    result[part] = getattr(self, f"_{part}")()
                except BitwardenError as error:
                    self.problems[part] = self.project.redacted(error.message)
        return result

    def _deployment(self) -> dict[str, t.Any]:
        return self.found.shown()

    def _versions(self) -> dict[str, t.Any]:
        running = None
        with contextlib.suppress(BitwardenError):
            running = view.look_at_containers(self.project).version()
        return {
            "script": bitwarden_sh.core_version(self.found.directory) if self.found.script else None,
            "files": backup.version_in(self.found.compose_files),
            "running": running,
            "compose": self._said("compose", "version", "--short"),
            "docker": self._said("version", "--format", "{{.Server.Version}}"),
        }

    def _said(self, *arguments: str) -> str | None:
        with contextlib.suppress(BitwardenError):
            answer = self.project.docker(arguments)
            return answer.stdout.strip().lstrip("v") or None if answer.status == 0 else None
        return None

    def _docker(self) -> dict[str, t.Any]:
        # What cannot be asked is told as a problem of this part.
        root = self.project.root_directory()
        return {
            "user": self.project.account.label,
            "root_directory": root,
            "version": self._said("version", "--format", "{{.Server.Version}}"),
        }

    def _containers(self) -> dict[str, t.Any]:
        return {
            name: {
                "name": container.name,
                "state": container.state,
                "health": container.health or None,
                "image": container.image,
                "started": container.started or None,
                "restarts": container.restarts,
            }
            for name, container in view.look_at_containers(self.project).containers.items()
        }

    def _images(self) -> list[dict[str, t.Any]]:
        output = self.project.checked(
            self.project.docker(["images", "--format", "{{.Repository}}:{{.Tag}}"]),
            "The images cannot be listed.",
            "Check the Docker engine.",
        )
        used = {container.image for container in view.look_at_containers(self.project).containers.values()}
        listed = sorted(line for line in set(output.split()) if _IMAGE.search(line))
        return [{"image": image, "used": image in used} for image in listed]

    def _disk(self) -> dict[str, t.Any]:
        places = {"installation": self.found.directory, "backups": self.folder}
        with contextlib.suppress(BitwardenError):
            places["docker"] = self.project.root_directory() or ""
        return {name: _space(path) for name, path in places.items() if path}

    def _proxies(self) -> dict[str, t.Any]:
        return {
            "env_file": self._in_env_file(),
            "docker_client": {key: without_login(text) for key, text in self.project.injected().items()},
            "docker_daemon": self._of_daemon(),
        }

    def _in_env_file(self) -> dict[str, str]:
        try:
            with open(self.found.env_file, encoding="utf-8", errors="surrogateescape", newline="") as stream:
                statements = dotenv.parse(stream.read(), self.found.env_file).statements
        except OSError:
            return {}
        return {s.key: without_login(s.value) for s in statements if s.key.lower() in _PROXY_KEYS}

    def _of_daemon(self) -> dict[str, str]:
        template = "|".join(f"{{{{.{name}}}}}" for name in _DAEMON)
        answer = self.project.docker(["info", "--format", template])
        words = answer.stdout.strip().split("|") if answer.status == 0 else []
        names = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
        return {name: without_login(word) for name, word in zip(names, words) if word not in {"", "<no value>"}}

    def _certificates(self) -> list[dict[str, t.Any]]:
        return certificate_dates.below(os.path.join(self.found.directory, "bwdata"))

    def _backups(self) -> dict[str, t.Any]:
        kept = backups.kept(self.folder)
        last = kept[0] if kept else None
        return {
            "folder": self.folder,
            "count": len(kept),
            "last": None
            if last is None
            else {
                "archive": last.path,
                "age": round(last.age, 2),
                "size": os.path.getsize(last.path),
                "version": last.version,
                "checksum_known": backups.expected_checksum(last) is not None,
            },
        }

    def _database(self) -> dict[str, t.Any]:
        known = database.of(self.found)
        running: bool | None = None
        if known.kind == database.BUILT_IN and self.found.kind != deployment.LITE:
            with contextlib.suppress(BitwardenError):
                running = database.is_running(self.project)
        return {
            "kind": known.kind,
            "provider": known.provider,
            "running": running,
            # The statement that reads what a sponsorship sync needs exists for SQL Server only.
            "sponsorship_sync": known.provider == database.SQL_SERVER,
        }


def _space(path: str) -> dict[str, t.Any]:
    place = path
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    status = os.statvfs(place)
    return {
        "path": path,
        "free_mib": status.f_bavail * status.f_frsize // _MEBIBYTE,
        "total_mib": status.f_blocks * status.f_frsize // _MEBIBYTE,
    }


def of(directory: str, wanted: str, folder: str | None, container: str, runner: Runner) -> Facts:
    """What can be told about the installation in a directory."""
    found = deployment.detect(directory, wanted)
    project = tools.tool_for(found, runner, container).project
    return Facts(found, project, os.path.abspath(folder or backups.default_folder(found.directory)))
