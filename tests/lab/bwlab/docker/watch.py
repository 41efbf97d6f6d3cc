# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at every server's front door all the time, and at its engine: down time and restarts as a user meets them."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bwlab.docker.engine import Engine
from bwlab.door import PROBE
from bwlab.labdb import LabDb
from bwlab.layout import Layout

EVERY = 0.2
TIMEOUT = 2.0
EVENTS_EVERY = 1.0
API = ("bitwarden-api", "bitwarden")
STARTED, WATCHED = "start", "watch"


class Watch(threading.Thread):
    """Of one server; begins when the server is known to be up."""

    def __init__(self, directory: Path, layout: Layout, name: str, engine: Callable[[], Engine]) -> None:
        super().__init__(name=f"watch {name}", daemon=True)
        self.server = name
        self.port = layout.door(f"server:{name}", "front").port
        self.context = ssl.create_default_context(cafile=directory / "ca.pem")
        self.database = LabDb(directory / "lab.sqlite")
        self.engine = engine
        self.connection: http.client.HTTPSConnection | None = None
        self.seen = 0.0
        self.up = True

    def run(self) -> None:
        begun = len(self.database.events(self.server))
        while not any(event["what"] == WATCHED for event in self.database.events(self.server)[begun:]):
            time.sleep(EVERY)
        self.seen = asked = time.time()
        while True:
            self._look()
            if time.time() - asked > EVENTS_EVERY:
                asked = time.time()
                self._starts()
            time.sleep(EVERY)

    def _look(self) -> None:
        moment = time.time()
        answers = self._answers()
        if answers != self.up:
            self.up = answers
            # A door that opened was found open now; one that closed was found closed when it was asked.
            self.database.event(self.server, "up" if answers else "down", time.time() if answers else moment)

    def _answers(self) -> bool:
        """The connection stays open as long as the door does: a hundred handshakes a second are work."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPSConnection(
                    "localhost", self.port, timeout=TIMEOUT, context=self.context
                )
            self.connection.request("GET", "/api/config", headers={"X-Connecting-IP": PROBE})
            response = self.connection.getresponse()
            response.read()
            if response.status == http.HTTPStatus.OK:
                return True
        except (OSError, http.client.HTTPException):
            pass
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        return False

    def _starts(self) -> None:
        """Starts of the api container since the last look, as the host's engine tells them."""
        now = time.time()
        try:
            events = list(self.engine().events(self.seen, now))
        except OSError:
            return
        for event in events:
            if event["Actor"]["Attributes"].get("name") in API:
                self.database.event(self.server, STARTED, event["timeNano"] / 1e9)
        self.seen = now
