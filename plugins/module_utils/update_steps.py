# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of an update for each kind of deployment: how the new version comes, and how the old one comes back."""

from __future__ import annotations

import abc
import contextlib
import os
import re
import stat
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    bitwarden_sh,
    images,
    unfinished,
    update_plan,
    versions,
    view,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Answer
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.compose import Compose
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import Service
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.kept_images import all_kept
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.snapshot import Snapshot
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.update_plan import Plan, UpdateError, VersionDoor
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.versions import Release

_DATABASE_DONE = "Database update complete"
_NOT_NEEDED = "Update not needed"
_OUTPUT_LINES = 20


@dataclass
class Attempt:
    """What has to be known to go back."""

    plan: Plan
    door: VersionDoor
    needed: list[str]
    kept: Snapshot
    # Whether an earlier one was not brought to its end: its programs have run.
    resumed: bool = False
    said: Answer = field(default_factory=lambda: Answer(0, "", ""))


class Steps(abc.ABC):
    """What every kind of deployment has in common."""

    def __init__(self, project: Compose, timeout: float) -> None:
        self.project = project
        self.timeout = timeout

    @property
    def directory(self) -> str:
        """The directory of the installation."""
        return self.project.directory

    def address(self) -> str:
        """Where the newest version is to be read."""
        return versions.SCRIPT_URL

    def refuse(self) -> None:  # noqa: B027 - no duty: most kinds refuse nothing
        """Ends what cannot be updated in this way."""

    @abc.abstractmethod
    def plan(self, offered: Release, now: view.View, served: str | None) -> Plan:
        """Compares what is there with what is offered."""

    def other_images(self, plan: Plan) -> list[str]:
        """What the update needs besides the images of the services."""
        return []

    @abc.abstractmethod
    def apply(self, attempt: Attempt) -> None:
        """Brings the new version and proves it."""

    @abc.abstractmethod
    def start_old(self, services: t.Mapping[str, Service]) -> None:
        """Starts the server with the files of before."""

    def settle(self, attempt: Attempt) -> None:
        """Waits for the front door, the version behind it and all containers."""
        door, rescued, end = attempt.door, False, time.monotonic() + self.timeout
        while True:
            problem, served = door.problem(), door.version()
            if problem is None and served == attempt.plan.offered.core and not self._lacking():
                return
            if attempt.said.status != 0 and not rescued and self._lacking():
                rescued = True
                answer = self.project.up(self.project.wanted(), self.timeout)
                if answer.status != 0:
                    raise UpdateError(f"The containers cannot be started: {self.last(answer)}.")
            if time.monotonic() >= end:
                raise UpdateError(
                    problem.text if problem else f"{door.url} answers with version {served} after the update."
                )
            time.sleep(1)

    def _lacking(self) -> list[str]:
        """Services without a running container; while these come and go it cannot be told."""
        with contextlib.suppress(BitwardenError):
            return [one.service for one in view.look(self.project, {}).stopped]
        return ["unknown"]

    def last(self, answer: Answer) -> str:
        """The last thing that a program said."""
        return (self.tail(answer) or ["nothing was said"])[-1].strip().rstrip(".")

    def tail(self, answer: Answer) -> list[str]:
        """The last lines that a program printed, without secrets."""
        text = self.project.redacted(answer.stdout + answer.stderr)
        return [line.rstrip() for line in text.splitlines() if line.strip()][-_OUTPUT_LINES:]


class ScriptSteps(Steps):
    """C(bitwarden.sh updateself) and C(update), unchanged."""

    def address(self) -> str:
        """Where the script would get the newest one from."""
        return versions.script_url(_text(bitwarden_sh.script_path(self.directory)))

    def refuse(self) -> None:
        """Ends where Setup does not write the compose file."""
        update_plan.refuse_own_compose_file(self.directory)

    def plan(self, offered: Release, now: view.View, served: str | None) -> Plan:
        """Compares script, files and containers with what is offered."""
        script = versions.parse_script(_text(bitwarden_sh.script_path(self.directory)))
        return update_plan.make(offered, script, now, served, unfinished.begun_from(self.directory))

    def other_images(self, plan: Plan) -> list[str]:
        """The setup program of the new version, under the name that the script has for it."""
        return [plan.new_image(image) for image in bitwarden_sh.other_images(self.directory)]

    def apply(self, attempt: Attempt) -> None:
        """Brings the new version and proves it, the database included."""
        self._update_script(attempt)
        with images.answered_at_once(self.project, attempt.needed), all_kept(self.project):
            attempt.said = bitwarden_sh.run(self.project, "update", self.timeout)
            if _NOT_NEEDED in attempt.said.stdout and attempt.door.problem() is not None:
                # An earlier attempt has brought the version, and its containers do not answer.
                attempt.said = bitwarden_sh.run(self.project, "restart", self.timeout)
            self.settle(attempt)
            if _DATABASE_DONE not in attempt.said.stdout:
                self._update_database()

    def _update_script(self, attempt: Attempt) -> None:
        if attempt.plan.script == attempt.plan.offered:
            return
        answer = bitwarden_sh.run(self.project, "updateself", self.timeout)
        path = bitwarden_sh.script_path(self.directory)
        if versions.parse_script(_text(path)) != attempt.plan.offered:
            raise UpdateError(
                f"'bitwarden.sh updateself' did not bring version {attempt.plan.offered.core}: {self.last(answer)}.",
                next_step="Let the server reach func.bitwarden.com and run again.",
            )
        # updateself leaves 0744, whatever it was before.
        with contextlib.suppress(OSError):
            os.chmod(path, stat.S_IMODE(attempt.kept.status(path).st_mode) | stat.S_IXUSR)

    def _update_database(self) -> None:
        answer = bitwarden_sh.run(self.project, "updatedb", self.timeout)
        if _DATABASE_DONE not in answer.stdout:
            raise UpdateError(f"'bitwarden.sh updatedb' failed: {self.last(answer)}.")

    def start_old(self, services: t.Mapping[str, Service]) -> None:
        """Starts the server with the files of before."""
        known = [*(service.image for service in services.values()), *bitwarden_sh.other_images(self.directory)]
        with images.answered_at_once(self.project, known):
            bitwarden_sh.run(self.project, "start", self.timeout)


class LiteSteps(Steps):
    """Another tag in the compose file, or in the file C(.env) where the compose file takes it from there."""

    def plan(self, offered: Release, now: view.View, served: str | None) -> Plan:
        """Compares the one image with what is offered."""
        return update_plan.make_single(offered, now, served, unfinished.begun_from(self.directory))

    def apply(self, attempt: Attempt) -> None:
        """Writes the new tag, and lets compose replace the container."""
        old = next(iter(attempt.plan.view.files.values())).image
        self._write_tag(attempt, *(versions.split_image(image)[1] for image in (old, attempt.plan.new_image(old))))
        attempt.said = self.project.up(self.project.wanted(), self.timeout)
        if attempt.said.status != 0:
            raise UpdateError(f"The new container cannot be started: {self.last(attempt.said)}.")
        self.settle(attempt)

    def _write_tag(self, attempt: Attempt, old: str, new: str) -> None:
        if old == new:
            return
        in_env = re.compile(rf"(?m)^(\s*(?:export\s+)?TAG\s*=\s*[\"']?){re.escape(old)}(?=[\"'\s]|$)")
        in_compose = re.compile(rf"(?m)^(\s*image:.*/lite:(?:\$\{{TAG:?-)?){re.escape(old)}(?=[\"'}}\s]|$)")
        env_file = os.path.join(self.directory, ".env")
        for path, pattern in [(env_file, in_env), *((path, in_compose) for path in self.project.files)]:
            if path in attempt.kept.kept:
                text = attempt.kept.text(path)
                changed = pattern.sub(lambda match: match.group(1) + new, text)
                if changed != text:
                    attempt.kept.replace(path, changed)
        found = next(iter(self.project.wanted().values())).image
        if versions.split_image(found)[1] != new:
            raise UpdateError(
                f"The version of {found} stands neither in {env_file} as TAG nor in {self.project.files[0]} as the "
                "tag of the image.",
                next_step="Set the new version where it comes from, then run the module stack.",
            )

    def start_old(self, services: t.Mapping[str, Service]) -> None:
        """Starts the server with the files of before."""
        self.project.up(self.project.wanted(), self.timeout)


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()
