# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole probe: all paths at once, each in a process of its own, and one end for all of them."""

from __future__ import annotations

import os
import signal
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe import docker, namespaces, trust, verdicts
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.docker import Container, DockerError, Helper
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.model import API, IDENTITY, Endpoint, Row
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.names import Resolver
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.place import Place
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.questions import Questions
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.timing import Deadline
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.wish import Wish

HOST, CONTAINERS, SETUP = "host", "containers", "setup"
# What is kept back of the time: to end what is still at work, and the container that was made.
_RESERVE, _MOST_RESERVE = 0.1, 1.0


class Probe:
    """One run."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.whole = Deadline.after(wish.timeout)
        reserve = min(_RESERVE * wish.timeout, _MOST_RESERVE)
        self.deadline = Deadline(self.whole.end - reserve, wish.timeout - reserve)
        self.children: dict[str, namespaces.Child] = {}
        self.troubles: dict[str, str] = {}

    def run(self) -> dict[str, t.Any]:
        """Asks everything, and returns what the module returns."""
        # Who is told to end takes the container away first.
        for one in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, _ended)
        end = 0.0
        try:
            self._start()
            # A little after the children's own end, so that they can say how far they came.
            end = (self.deadline.end + self.whole.end) / 2
        finally:
            namespaces.collect(list(self.children.values()), end)
        found = {path: self._of(path) for path in self.wish.paths}
        rows = [row for path in self.wish.paths for row in found[path]["rows"]]
        return {
            "reachable": reachable(rows),
            "elapsed": round(self.wish.timeout - self.whole.left, 2),
            "endpoints": rows,
            "installation": next((one["installation"] for one in found.values() if one["installation"]), None),
        }

    def _start(self) -> None:
        """The host first: it needs nobody's answer."""
        if HOST in self.wish.paths:
            self.children[HOST] = namespaces.start(lambda: self._work(HOST, os.environ))
        wanted = [path for path in (CONTAINERS, SETUP) if path in self.wish.paths]
        if not wanted:
            return
        try:
            containers = docker.running(self.deadline)
        except DockerError as error:
            self.troubles.update(dict.fromkeys(wanted, str(error)))
            return
        starters = {CONTAINERS: self._start_containers, SETUP: self._start_setup}
        for path in wanted:
            try:
                starters[path](containers)
            except (DockerError, namespaces.NamespaceError) as error:
                self.troubles[path] = str(error)

    def _start_containers(self, containers: t.Sequence[Container]) -> None:
        wanted = self.wish.container
        self._enter(CONTAINERS, docker.named(wanted, containers) if wanted else docker.bitwarden(containers))

    def _start_setup(self, containers: t.Sequence[Container]) -> None:
        image = docker.image_for_setup(containers, self.deadline)
        helper = Helper(image, docker.configuration_of(containers))
        try:
            self._enter(SETUP, helper.start(self.deadline))
        except BaseException:
            helper.remove()
            raise
        self.children[SETUP].after = helper.remove
        docker.clear(self.deadline)

    def _enter(self, path: str, container: Container) -> None:
        self.children[path] = namespaces.start(lambda: self._work(path, container.environment), container.pid)

    def _work(self, path: str, environment: t.Mapping[str, str]) -> dict[str, t.Any]:
        """What a child does, wherever it is by now."""
        context = self.wish.trust or trust.of_this_place(environment)
        place = Place(path, self.deadline, Resolver.of_this_place(), context, environment, self.wish.proxy)
        rows = self._rows(path)
        questions = Questions(
            place,
            self.wish.installation,
            makers_of_token=sum(row.endpoint.kind == IDENTITY for row in rows),
            makers_of_state=sum(row.endpoint.kind == API for row in rows),
            proves_bodies=path == (CONTAINERS if CONTAINERS in self.wish.paths else self.wish.paths[0]),
        )
        with ThreadPoolExecutor(max(len(rows), 1)) as pool:
            told = list(pool.map(questions.ask, rows))
        place.close()
        return {"rows": told, "installation": questions.state}

    def _rows(self, path: str) -> list[Row]:
        endpoints: list[Endpoint] = [one for one in self.wish.endpoints if path in one.paths]
        return [Row(one, path, version) for one in endpoints for version in self.wish.versions]

    def _of(self, path: str) -> dict[str, t.Any]:
        """What a path's child found, or why it found nothing."""
        trouble = self.troubles.get(path)
        child = self.children.get(path)
        found = child.result if child else None
        if isinstance(found, dict) and "rows" in found:
            return found
        if trouble is None:
            trouble = "it did not end in time"
            if isinstance(found, dict):
                trouble = str(found["error"])
            elif child and child.killed_by:
                trouble = f"the process that asks was ended by signal {child.killed_by}"
        return {"rows": [row.told("not_asked", trouble) for row in self._rows(path)], "installation": None}


def _ended(number: int, _frame: t.Any) -> t.NoReturn:
    raise SystemExit(128 + number)


def reachable(rows: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
    """Whether every endpoint answers from each of its paths, by every version of IP that is in use there."""
    answered: dict[tuple[t.Any, ...], bool] = {}
    for row in rows:
        key = (row["name"], row["port"], row["kind"], row["path"])
        answered[key] = answered.get(key, False) or row["reachable"] is True
    bad = any(verdicts.TABLE[row["verdict"]].weight == verdicts.BAD for row in rows)
    return not bad and all(answered.values())
