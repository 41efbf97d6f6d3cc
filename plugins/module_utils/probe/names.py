# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks names up as the path itself would: its hosts file, its name servers; in bounded time.

The C library is of no use here: it would load plugins of a container that may be made for another library,
does not say whether a name does not exist or nobody answered, and takes as long as it likes.
"""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import select
import socket
import struct
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.timing import Deadline, OutOfTimeError

_A, _AAAA = 1, 28
TYPES = {4: _A, 6: _AAAA}
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_TRUNCATED, _CODE = 0x0200, 0x000F
_POINTER = 0xC0
_LENGTH = struct.Struct("!H")
_NO_ERROR, _NO_SUCH_NAME = 0, 3
_CODES = {1: "format error", 2: "server failure", 4: "not implemented", 5: "refused"}
_SHARE = 0.4
_AGAIN = 1.0
_SERVERS = 3
_PORT = 53


class NoSuchNameError(Exception):
    """A name server says that the name does not exist."""


class LookupFailedError(Exception):
    """Nobody gave an answer that can be used."""


@dataclass
class Resolver:
    """What a path knows about names."""

    hosts: str
    configuration: str

    @classmethod
    def of_this_place(cls) -> Resolver:
        """From the files as they are here."""
        return cls(_read("/etc/hosts"), _read("/etc/resolv.conf"))

    @property
    def servers(self) -> list[str]:
        """The name servers; without any the C library asks this machine."""
        found = [parts[1] for parts in _lines(self.configuration) if parts[0] == "nameserver" and len(parts) > 1]
        return found[:_SERVERS] or ["127.0.0.1"]

    def in_hosts(self, name: str, version: int) -> list[str]:
        """Addresses from the hosts file."""
        return [
            parts[0]
            for parts in _lines(self.hosts)
            if name.lower() in (alias.lower() for alias in parts[1:]) and _version(parts[0]) == version
        ]

    def look_up(self, name: str, version: int, deadline: Deadline) -> list[str]:
        """All addresses of one version; none where the name has only others."""
        if literal(name):
            return [name] if _version(name) == version else []
        # An entry for the name ends the look-up for both versions.
        if self.in_hosts(name, 4) or self.in_hosts(name, 6):
            return self.in_hosts(name, version)
        *shorter, last = self.candidates(name)
        try:
            for candidate in shorter:
                with contextlib.suppress(NoSuchNameError):
                    return _ask(candidate, TYPES[version], self.servers, deadline)
            return _ask(last, TYPES[version], self.servers, deadline)
        except UnicodeError as error:
            raise LookupFailedError("it is not written as a name can be") from error

    def candidates(self, name: str) -> list[str]:
        """A name of one part may be meant within the domains of this place."""
        if "." in name.rstrip("."):
            return [name]
        found: list[str] = []
        for parts in _lines(self.configuration):
            if parts[0] in ("search", "domain"):
                found = parts[1:]
        return [*(f"{name}.{domain.strip('.')}" for domain in found if domain.strip(".")), name]


def unusable(address: str, public: bool) -> bool:
    """Whether no service can be there; a public name that leads to this machine is a filter's work as well."""
    found = ipaddress.ip_address(address)
    return found.is_unspecified or found.is_multicast or (public and (found.is_loopback or found.is_link_local))


def literal(name: str) -> bool:
    """Whether a name is an address already."""
    return _version(name) != 0


def _version(text: str) -> int:
    try:
        return ipaddress.ip_address(text.partition("%")[0]).version
    except ValueError:
        return 0


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _lines(text: str) -> t.Iterator[list[str]]:
    for line in text.splitlines():
        parts = line.partition("#")[0].split()
        if parts and not parts[0].startswith(";"):
            yield parts


@dataclass(frozen=True)
class _Question:
    """What is asked, and until when an answer is of use."""

    query: bytes
    kind: int
    end: float


def query(name: str, kind: int, number: int) -> bytes:
    """The question as it is sent."""
    labels = b"".join(bytes([len(label)]) + label for label in name.rstrip(".").encode("idna").split(b"."))
    return _HEADER.pack(number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def _skip_name(data: bytes, at: int) -> int:
    while True:
        length = data[at]
        if length & _POINTER == _POINTER:
            return at + 2
        at += length + 1
        if length == 0:
            return at


def addresses_in(data: bytes, kind: int) -> tuple[int, bool, list[str]]:
    """Code, whether it is cut short, and the addresses of an answer. Servers follow names that lead to names."""
    _number, flags, questions, answers, _authorities, _more = _HEADER.unpack_from(data)
    at = _HEADER.size
    for _question in range(questions):
        at = _skip_name(data, at) + 4
    found = []
    for _answer in range(answers):
        at = _skip_name(data, at)
        record, _class, _ttl, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if record == kind:
            found.append(str(ipaddress.ip_address(data[at : at + length])))
        at += length
    return flags & _CODE, bool(flags & _TRUNCATED), found


def _ask(name: str, kind: int, servers: t.Sequence[str], deadline: Deadline) -> list[str]:
    end = time.monotonic() + deadline.step(_SHARE)
    problems: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        sockets: dict[socket.socket, str] = {}
        for server in servers:
            try:
                sockets[stack.enter_context(_socket(server))] = server
            except OSError as error:
                problems[server] = f"cannot be asked ({error.strerror or error})"
        question = _Question(query(name, kind, secrets.randbelow(1 << 16)), kind, end)
        # Whoever has given a reason to ask no more is not waited for.
        while time.monotonic() < end and not problems.keys() >= set(servers):
            _send(sockets, question.query, problems)
            again = min(end, time.monotonic() + _AGAIN)
            while (left := again - time.monotonic()) > 0 and not problems.keys() >= set(servers):
                ready, _write, _error = select.select(list(sockets), [], [], left)
                for one in ready:
                    answer = _answer(one, sockets[one], question, problems)
                    if answer is not None:
                        return answer
    silent = ", ".join(f"{server} {problems.get(server, 'does not answer')}" for server in servers)
    raise LookupFailedError(silent)


def _socket(server: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    found = socket.socket(family, socket.SOCK_DGRAM)
    try:
        found.connect((server.partition("%")[0], _PORT))
    except OSError:
        found.close()
        raise
    found.setblocking(False)
    return found


def _send(sockets: t.Mapping[socket.socket, str], data: bytes, problems: dict[str, str]) -> None:
    for one, server in sockets.items():
        try:
            one.send(data)
        except PermissionError:
            problems[server] = "is closed by this machine's own firewall"
        except OSError as error:
            problems[server] = f"cannot be asked ({error.strerror})"


def _answer(one: socket.socket, server: str, asked: _Question, problems: dict[str, str]) -> list[str] | None:
    try:
        data = one.recv(65536)
        if data[: _LENGTH.size] != asked.query[: _LENGTH.size]:
            return None
        code, cut, found = addresses_in(data, asked.kind)
        if cut:
            code, cut, found = addresses_in(_by_tcp(server, asked), asked.kind)
    except OSError as error:
        problems[server] = f"cannot be asked ({error.strerror or error})"
        return None
    except (struct.error, IndexError, ValueError):
        problems[server] = "gives an answer that is not understood"
        return None
    if code == _NO_SUCH_NAME:
        raise NoSuchNameError(server)
    if code != _NO_ERROR:
        problems[server] = f"answers {_CODES.get(code, code)}"
        return None
    return found


def _by_tcp(server: str, asked: _Question) -> bytes:
    left = asked.end - time.monotonic()
    if left <= 0:
        raise OutOfTimeError("no time for a look-up by TCP")
    with socket.create_connection((server.partition("%")[0], _PORT), timeout=left) as connection:
        connection.sendall(_LENGTH.pack(len(asked.query)) + asked.query)
        data = b""
        while len(data) < _LENGTH.size or len(data) < _LENGTH.size + _LENGTH.unpack_from(data)[0]:
            more = connection.recv(65536)
            if not more:
                raise OSError("the answer by TCP ends too early")
            data += more
        return data[_LENGTH.size :]
