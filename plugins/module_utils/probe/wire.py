# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP over a connection that is there already, where every way to fail has a name and nothing takes too long.

http.client waits as long as each read may take, and an answer may come byte by byte.
"""

from __future__ import annotations

import json
import re
import socket
import time
import typing as t
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.layers import Connection
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.timing import Deadline, OutOfTimeError

_SHARE = 0.35
_LARGEST = 1 << 20
_ELSEWHERE = 3
_STATUS, _NUMBER, _HEXADECIMAL = (
    re.compile("[1-9][0-9]{2}"),
    re.compile("[0-9]{1,20}"),
    re.compile(b"[0-9a-fA-F]{1,16}"),
)
_END_OF_HEAD = b"\r\n\r\n"


class SilentError(Exception):
    """No answer in time."""


class CutError(Exception):
    """The answer ends before its end."""


class NotHttpError(Exception):
    """What comes is no HTTP."""


@dataclass(frozen=True)
class Response:
    """An answer, and when it was asked for and came (time of this machine)."""

    status: int
    headers: dict[str, str]
    body: bytes
    asked: float = 0.0
    came: float = 0.0

    @property
    def json(self) -> t.Any:
        """The content, or None where that is no JSON."""
        try:
            return json.loads(self.body.decode("utf-8"))
        except (ValueError, RecursionError):
            return None

    @property
    def is_redirect(self) -> bool:
        """Whether it sends elsewhere."""
        return self.status // 100 == _ELSEWHERE

    @property
    def is_page(self) -> bool:
        """Whether it is meant to be looked at by a person."""
        start = self.body[:200].lstrip().lower()
        return "html" in self.headers.get("content-type", "") or start.startswith((b"<!doctype html", b"<html"))

    @property
    def clock_difference(self) -> tuple[float, float] | None:
        """By how many seconds this machine's clock is ahead, at least and at most; a Date header has whole seconds."""
        try:
            there = parsedate_to_datetime(self.headers["date"]).timestamp()
        except (LookupError, ValueError, TypeError, OverflowError):
            return None
        return self.asked - (there + 1.0), self.came - there


@dataclass
class Conversation:
    """Requests over one connection."""

    connection: Connection
    authority: str
    deadline: Deadline
    _rest: bytes = field(default=b"", init=False)

    def ask(
        self, method: str, target: str, headers: t.Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Response:
        """One request; a body of a GET is sent in chunks, as Bitwarden's server does."""
        seconds = self.deadline.step(_SHARE)
        end = time.monotonic() + seconds
        head = [f"{method} {target} HTTP/1.1", f"Host: {self.authority}", "Accept: */*"]
        head += [f"{name}: {value}" for name, value in (headers or {}).items()]
        data = b""
        if body is not None and method == "GET":
            head.append("Transfer-Encoding: chunked")
            data = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
        elif body is not None:
            head.append(f"Content-Length: {len(body)}")
            data = body
        asked = time.time()
        try:
            self._send("\r\n".join(head).encode() + _END_OF_HEAD + data, end)
            status, found = self._head(end)
            came = time.time()
            content = b"" if method == "CONNECT" else self._body(status, found, end)
        except socket.timeout as error:
            if seconds < _SHARE * self.deadline.whole:
                raise OutOfTimeError("the time of the probe was over before the answer") from error
            raise SilentError("no answer in time") from error
        except OSError as error:
            raise CutError(error.strerror or str(error)) from error
        return Response(status, found, content, asked, came)

    def _send(self, data: bytes, end: float) -> None:
        self.connection.settimeout(_left(end))
        self.connection.sendall(data)

    def _head(self, end: float) -> tuple[int, dict[str, str]]:
        while True:
            text = self._until(_END_OF_HEAD, end, "no answer").decode("latin-1")
            first, *lines = text.split("\r\n")
            version, _blank, rest = first.partition(" ")
            if not version.startswith("HTTP/1.") or not _STATUS.match(rest):
                raise NotHttpError(f"it begins with {first[:40]!r}")
            status = int(rest[:3])
            # Of the answers that announce another one, only 101 would be the last.
            if status // 100 != 1:
                break
        pairs = (line.partition(":") for line in lines)
        return status, {name.strip().lower(): value.strip() for name, _colon, value in pairs}

    def _body(self, status: int, headers: t.Mapping[str, str], end: float) -> bytes:
        if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            return b""
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._chunks(end)
        if "content-length" in headers:
            length = headers["content-length"]
            if not _NUMBER.fullmatch(length) or int(length) > _LARGEST:
                raise NotHttpError(f"an answer of {length[:20]} bytes")
            return self._exactly(int(length), end)
        while self._more(end):
            pass
        found, self._rest = self._rest, b""
        return found

    def _chunks(self, end: float) -> bytes:
        found = b""
        while True:
            size = self._until(b"\r\n", end, "a part of it is missing").partition(b";")[0].strip()
            if not _HEXADECIMAL.fullmatch(size):
                raise NotHttpError("its parts have no length")
            length = int(size, 16)
            if length == 0:
                break
            found += self._exactly(length, end)
            self._exactly(2, end)
        while self._until(b"\r\n", end, "its end is missing"):
            pass
        return found

    def _until(self, mark: bytes, end: float, missing: str) -> bytes:
        while mark not in self._rest:
            if not self._more(end):
                raise CutError(f"{missing}: {len(self._rest)} bytes came" if self._rest else "closed without an answer")
        found, _mark, self._rest = self._rest.partition(mark)
        return found

    def _exactly(self, count: int, end: float) -> bytes:
        if count > _LARGEST:
            raise NotHttpError(f"a part of {count} bytes")
        while len(self._rest) < count:
            if not self._more(end):
                raise CutError(f"{len(self._rest)} of {count} bytes came")
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    def _more(self, end: float) -> bool:
        if len(self._rest) > _LARGEST:
            raise NotHttpError("an answer without end")
        self.connection.settimeout(_left(end))
        data = self.connection.recv(65536)
        self._rest += data
        return bool(data)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise socket.timeout("timed out")
    return left
