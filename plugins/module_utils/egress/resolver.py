# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names to addresses, all at once and in bounded time, with the difference between an empty answer and none."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
import typing as t
from dataclasses import dataclass

TIMEOUT = 8.0
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_NO_SUCH = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
Key = tuple[str, int]
Lookup = t.Callable[[str, int], list[str]]


@dataclass(frozen=True)
class Answer:
    """What was found of one name in one IP version; C(answered) also where the name has no such address."""

    answered: bool
    addresses: tuple[str, ...] = ()
    said: str = ""


def look_up(name: str, version: int) -> list[str]:
    """Addresses as the server itself finds them, its hosts file included."""
    found = socket.getaddrinfo(name, None, family=_FAMILIES[version], type=socket.SOCK_STREAM)
    return sorted({str(one[4][0]) for one in found})


def resolve(
    names: t.Iterable[str], versions: t.Iterable[int], timeout: float = TIMEOUT, lookup: Lookup = look_up
) -> dict[Key, Answer]:
    """One answer for each name and version; a look-up that takes too long counts as failed."""
    wanted = [(name, version) for name in names for version in versions]
    found: queue.Queue[tuple[Key, Answer]] = queue.Queue()
    for key in wanted:
        # Nobody can end a thread that waits for DNS, so it must not keep the program alive.
        threading.Thread(target=lambda key=key: found.put((key, _ask(key, lookup))), daemon=True).start()
    answers = {key: Answer(False, said=f"no answer within {timeout:g} seconds") for key in wanted}
    end = time.monotonic() + timeout
    for _count in wanted:
        try:
            key, answer = found.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        answers[key] = answer
    return answers


def _ask(key: Key, lookup: Lookup) -> Answer:
    try:
        return Answer(True, tuple(one for one in lookup(*key) if _is_destination(one)))
    except socket.gaierror as error:
        return Answer(error.errno in _NO_SUCH, said=error.strerror or str(error))
    except (OSError, UnicodeError) as error:
        return Answer(False, said=str(error))


def _is_destination(address: str) -> bool:
    """Filters that answer 0.0.0.0 for a name say that they block it."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (found.is_unspecified or found.is_multicast)
