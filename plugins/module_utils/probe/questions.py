# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of an endpoint once it is connected, and the one verdict that comes of it."""

from __future__ import annotations

import json
import socket
import threading
import typing as t
import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlencode

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe import answers, place
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.layers import Connection
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.model import (
    API,
    CLOUD,
    IDENTITY,
    Endpoint,
    Row,
    Stop,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.place import Place
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.promise import Promise
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.timing import OutOfTimeError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.wire import (
    Conversation,
    CutError,
    NotHttpError,
    Response,
    SilentError,
)

SLOW = 3.0
_WAIT = 0.5
_TOKEN_GRANT = {"grant_type": "client_credentials", "scope": "api.licensing"}
_GREETING_SHARE = 0.3
_TLS_FROM_THE_START = 465


@dataclass(frozen=True)
class Installation:
    """What is known of the server itself; the key never leaves for anywhere but the region's identity."""

    id: str = ""
    key: str = field(default="", repr=False)
    region: str = ""
    # Where that region's API is asked.
    api: Endpoint | None = None
    # Other regions' APIs by the name of the region.
    others: tuple[tuple[str, Endpoint], ...] = ()


@dataclass
class Questions:
    """All questions of one path; what one endpoint answers another one may need."""

    place: Place
    installation: Installation
    makers_of_token: int = 0
    makers_of_state: int = 0
    # Whether this path is the one that proves with a login that bodies arrive.
    proves_bodies: bool = False

    def __post_init__(self) -> None:
        self._token: Promise[str] = Promise(self.makers_of_token)
        self._state: Promise[dict[str, t.Any]] = Promise(self.makers_of_state)
        self._one_at_a_time = threading.Lock()
        self._asked_for_token = False
        self._elsewhere: list[str] | None = None

    @property
    def state(self) -> dict[str, t.Any] | None:
        """What the region says about the installation."""
        return self._state.wait(0)

    def ask(self, row: Row) -> dict[str, t.Any]:
        """Everything about one endpoint in one version of IP."""
        try:
            self._ask(row)
            word, detail = _worst_of_good(row)
        except Stop as stop:
            word, detail = stop.word, stop.detail
        except SilentError as error:
            word, detail = "no_answer", str(error)
        except CutError as error:
            word, detail = "answer_cut", str(error)
        except NotHttpError as error:
            word, detail = "not_bitwarden" if row.endpoint.kind in CLOUD else "server_error", f"no HTTP: {error}"
        except OutOfTimeError:
            word, detail = "out_of_time", ""
        finally:
            if row.endpoint.kind == IDENTITY:
                self._token.leave(row)
            if row.endpoint.kind == API:
                self._state.leave(row)
        return row.told(word, detail)

    def _ask(self, row: Row) -> None:
        connection = self.place.connect(row)
        manner = row.endpoint.manner
        if manner == "tcp":
            return
        if manner == "smtp":
            self._mail(row, connection)
            return
        if row.endpoint.secure:
            connection = self.place.secure(row, connection)
        self._http(row, Conversation(connection, row.endpoint.authority, self.place.deadline))

    def _http(self, row: Row, conversation: Conversation) -> None:
        kind = row.endpoint.kind
        target = row.endpoint.base + answers.FIRST.get(kind, "/")
        answer = conversation.ask("GET", target)
        row.latency = answer.came - answer.asked
        row.http = {"status": answer.status, "path": target}
        if row.proxy is not None:
            row.proxy["via"] = answer.headers.get("via")
        elif "via" in answer.headers and _intercepted(row) is not False:
            row.proxy = {"address": None, "source": "on the way", "via": answer.headers["via"]}
        if kind not in CLOUD:
            answers.judge_website(answer)
            return
        answers.judge(kind, answer)
        wrong_clock = place.clock(row, answer)
        if kind == API:
            self._of_api(row, conversation)
        if kind == IDENTITY:
            self._of_identity(row, conversation)
        if wrong_clock:
            raise Stop("clock_off", wrong_clock)

    def _of_api(self, row: Row, conversation: Conversation) -> None:
        asked = self.installation.id and row.endpoint == self.installation.api
        word = self._look_for_installation(row, conversation) if asked else None
        self._state.leave(row)
        self._send_body(row, conversation)
        if word is not None:
            raise word

    def _look_for_installation(self, row: Row, conversation: Conversation) -> Stop | None:
        answer = conversation.ask("GET", f"{row.endpoint.base}/installations/{self.installation.id}")
        enabled = answers.installation(answer)
        known = [self.installation.region] if enabled is not None else self._known_elsewhere(row.version)
        self._state.keep(
            {
                "id": self.installation.id,
                "known": enabled is not None,
                "enabled": enabled is True,
                "region": self.installation.region,
                "known_in": known,
            }
        )
        if enabled is None:
            return Stop("wrong_region", ", ".join(known)) if known else Stop("unknown_installation")
        return None if enabled else Stop("installation_disabled")

    def _known_elsewhere(self, version: int) -> list[str]:
        """The other regions that know the id; one that cannot be asked from here says nothing."""
        with self._one_at_a_time:
            if self._elsewhere is None:
                others = self.installation.others
                self._elsewhere = [name for name, endpoint in others if self._knows(endpoint, version)]
            return self._elsewhere

    def _knows(self, endpoint: Endpoint, version: int) -> bool:
        row = Row(endpoint, self.place.path, version)
        try:
            connection = self.place.secure(row, self.place.connect(row))
            conversation = Conversation(connection, endpoint.authority, self.place.deadline)
            return answers.installation(conversation.ask("GET", f"/installations/{self.installation.id}")) is not None
        except (Stop, SilentError, CutError, NotHttpError, OutOfTimeError):
            return False

    def _send_body(self, row: Row, conversation: Conversation) -> None:
        """The license sync's own request, for an organization that nobody has."""
        token = self._token.wait(max(self.place.deadline.left - _WAIT, 0)) if self.proves_bodies else None
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        body = json.dumps({"licenseKey": "probe", "billingSyncKey": "probe"}).encode()
        target = f"{row.endpoint.base}/licenses/organization/{uuid.uuid4()}"
        try:
            answer = conversation.ask("GET", target, headers, body)
        except (SilentError, CutError) as error:
            row.body_arrives = False
            raise Stop("body_dropped", f"no answer to it: {error}") from error
        row.body_arrives = answers.body_came(answer, login=bool(token))
        if row.body_arrives is False:
            raise Stop("body_dropped", f"status {answer.status}")
        self._next_request(row, conversation)
        if row.body_arrives is None and _intercepted(row) is False and answer.status == HTTPStatus.UNAUTHORIZED:
            # Nobody but the other side can read what is encrypted for it, so nobody took the body away.
            row.body_arrives = True

    def _next_request(self, row: Row, conversation: Conversation) -> None:
        """A body that was left lying on the connection is taken for the next request."""
        try:
            answers.judge(API, conversation.ask("GET", row.endpoint.base + answers.FIRST[API]))
        except (SilentError, NotHttpError) as error:
            row.body_arrives = False
            raise Stop("body_dropped", f"the request after it gets no answer: {error}") from error
        except Stop as stop:
            if stop.word == "rate_limited":
                raise
            row.body_arrives = False
            raise Stop("body_dropped", f"the request after it is answered with {stop.detail}") from stop
        except CutError:
            # An end of the connection is everybody's right; then there is no next request on it.
            return

    def _of_identity(self, row: Row, conversation: Conversation) -> None:
        """One token for the whole path: the cloud gives ten a minute to an address."""
        if not (self.proves_bodies and self.installation.key):
            return
        state = self._state.wait(max(self.place.deadline.left / 2, 0))
        with self._one_at_a_time:
            if self._asked_for_token or (state is not None and not state["enabled"]):
                return
            self._asked_for_token = True
            answer = self._ask_for_token(row, conversation)
        found = answer.json
        token = found.get("access_token") if isinstance(found, dict) else None
        if answer.status == HTTPStatus.OK and isinstance(token, str):
            self._token.keep(token)
            return
        if isinstance(found, dict) and found.get("error") == "invalid_client":
            raise Stop("wrong_installation_key")
        answers.judge(IDENTITY, answer)

    def _ask_for_token(self, row: Row, conversation: Conversation) -> Response:
        one = self.installation
        form = {**_TOKEN_GRANT, "client_id": f"installation.{one.id}", "client_secret": one.key}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return conversation.ask("POST", f"{row.endpoint.base}/connect/token", headers, urlencode(form).encode())

    def _mail(self, row: Row, connection: Connection) -> None:
        if row.endpoint.port == _TLS_FROM_THE_START:
            connection = self.place.secure(row, connection)
        connection.settimeout(self.place.deadline.step(_GREETING_SHARE))
        try:
            said = connection.recv(512)
        except socket.timeout as error:
            raise Stop("no_greeting", "nothing in time") from error
        except OSError as error:
            raise Stop("no_greeting", error.strerror or str(error)) from error
        if not said.startswith(b"220"):
            raise Stop("no_greeting", f"it begins with {said[:30]!r}" if said else "closed without a word")


def _intercepted(row: Row) -> bool | None:
    return row.tls["intercepted"] if row.tls else None


def _worst_of_good(row: Row) -> tuple[str, str]:
    if row.dead:
        return "some_addresses_dead", ", ".join(f"{address} ({said})" for address, said in row.dead.items())
    if _intercepted(row):
        return "tls_intercepted", str((row.tls or {}).get("issuer"))
    if row.latency is not None and row.latency > SLOW:
        return "slow", f"{row.latency:.1f}"
    return "open", ""
