# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks a Bitwarden server through its front door whether it is alive, once or all the time."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
import typing as t
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

# nginx answers /alive by itself, so only these two say that the services behind it are there.
PATHS = ("/api/alive", "/identity/alive")
# How versions of OpenSSL call an answer without TLS.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})
_INTERVAL = 0.25
_PATIENCE = 10.0


@dataclass(frozen=True)
class Problem:
    """Why the front door does not answer; C(fixed) where no restart can change it."""

    text: str
    next_step: str = ""

    @property
    def fixed(self) -> bool:
        """Whether it is the question that is wrong, and not the server."""
        return bool(self.next_step)


class FrontDoor:
    """The address that clients use."""

    def __init__(self, url: str, *, validate_certs: bool = True, ca_path: str | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise BitwardenError(
                f"{url!a} is not the address of a server.", next_step="Give 'url' as https://HOST, as browsers use it."
            )
        self.url = url.rstrip("/")
        context = ssl.create_default_context()
        if ca_path:
            self._trust(context, ca_path)
        if not validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))

    @staticmethod
    def _trust(context: ssl.SSLContext, ca_path: str) -> None:
        try:
            if os.path.isdir(ca_path):
                context.load_verify_locations(capath=ca_path)
            else:
                context.load_verify_locations(cafile=ca_path)
        except (OSError, ssl.SSLError) as error:
            raise BitwardenError(
                f"The certificates in {ca_path} cannot be read: {error}.",
                next_step="Name a file in PEM format that exists on the Bitwarden server.",
            ) from error

    def problem(self, timeout: float = _PATIENCE) -> Problem | None:
        """The first thing that is wrong, or None where everything answers."""
        for path in PATHS:
            found = self._ask(self.url + path, timeout)
            if found is not None:
                return found
        return None

    def _ask(self, address: str, timeout: float) -> Problem | None:
        try:
            with self._opener.open(address, timeout=timeout) as response:
                response.read()
                status = int(response.status)
        except urllib.error.HTTPError as error:
            error.close()
            status = error.code
        except (OSError, ValueError, http.client.HTTPException) as error:
            return _unreachable(address, error)
        if status == HTTPStatus.OK:
            return None
        if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Problem(
                f"{address} answers {status}", "Give 'url' as the address under which clients reach this server."
            )
        return Problem(f"{address} answers {status}")

    def wait(self, seconds: float) -> Problem | None:
        """Asks until everything answers or the time is over."""
        end = time.monotonic() + seconds
        while True:
            found = self.problem()
            if found is None or found.fixed or time.monotonic() >= end:
                return found
            time.sleep(_INTERVAL * 4)


def _unreachable(address: str, error: Exception) -> Problem:
    reason = getattr(error, "reason", None) or error
    text = f"{address} cannot be reached: {reason}"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Problem(
            f"The certificate of {address} is not trusted: {reason.verify_message}",
            "Give the server's own certificate authority as 'ca_path', or renew the certificate.",
        )
    if isinstance(reason, ssl.SSLError) and reason.reason in _NO_TLS:
        return Problem(
            f"{text} (it does not speak TLS)", "Give 'url' as http://, or the address of the proxy before it."
        )
    if isinstance(reason, socket.gaierror):
        return Problem(text, "Give 'url' with a name that the server itself can resolve.")
    return Problem(text)


class Watch(threading.Thread):
    """Asks all the time, to know for how long clients got no answer."""

    def __init__(self, door: FrontDoor) -> None:
        super().__init__(daemon=True)
        self._door = door
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._down_since: float | None = None
        self._total = 0.0
        self._asked = 0.0
        self._problem: Problem | None = None

    def run(self) -> None:
        """Asks until told to end."""
        while not self._over.is_set():
            asked = time.monotonic()
            problem = self._door.problem()
            self._note(asked, problem)
            self._over.wait(_INTERVAL)

    def _note(self, asked: float, problem: Problem | None) -> None:
        with self._lock:
            self._asked, self._problem = asked, problem
            if problem is not None and self._down_since is None:
                self._down_since = asked
            elif problem is None and self._down_since is not None:
                self._total += time.monotonic() - self._down_since
                self._down_since = None

    def seen_since(self, moment: float) -> tuple[bool, Problem | None]:
        """Whether it has asked after that moment, and what was wrong."""
        with self._lock:
            return self._asked >= moment, self._problem

    @property
    def downtime(self) -> float:
        """Seconds without an answer, up to now."""
        with self._lock:
            running = time.monotonic() - self._down_since if self._down_since is not None else 0.0
            return round(self._total + running, 2)

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        self._over.set()
        self.join(_PATIENCE)
