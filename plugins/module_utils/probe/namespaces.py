# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work done elsewhere: a child of this process steps into a container's network and files, and hands its result back.

Nothing is run there: the program is this one, all of it loaded before, and no file of the container is executed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import ssl
import time
import traceback
import typing as t
from dataclasses import dataclass, field

_KINDS = ("net", "mnt")
_PR_SET_PDEATHSIG = 1


class NamespaceError(Exception):
    """The container's namespaces cannot be entered."""


@dataclass
class Child:
    """A child at work, and what it has written so far."""

    pid: int
    pipe: int
    text: bytes = b""
    done: bool = False
    # The signal that ended it, but for the one that ends it when its time is over.
    killed_by: int | None = None
    # What has to be done when it has ended.
    after: t.Callable[[], None] | None = field(default=None, repr=False)

    @property
    def result(self) -> t.Any:
        """What it found, None where it was ended before."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None


def start(work: t.Callable[[], t.Any], pid: int | None = None) -> Child:
    """Begins the work, inside the container whose first process is C(pid) if that is given."""
    places = _open(pid) if pid else []
    _prepare()
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        for place in places:
            os.close(place)
        return Child(child, reading)
    status = 1
    try:
        os.close(reading)
        for one in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_DFL)
        _die_with_parent()
        _enter(places)
        _write(writing, json.dumps(work()).encode())
        status = 0
    except NamespaceError as error:
        _write(writing, json.dumps({"error": str(error)}).encode())
    except Exception as error:
        # Its words may be anything that was read; where it happened is enough to mend it.
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = f"the probe itself failed, {type(error).__name__} in {os.path.basename(last.filename)}:{last.lineno}"
        _write(writing, json.dumps({"error": said}).encode())
    finally:
        # Nothing of the parent's may be finished twice.
        os._exit(status)
    raise AssertionError("a child has ended")


def _open(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for kind in _KINDS:
            found.append(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        for place in found:
            os.close(place)
        raise NamespaceError(f"{error.strerror} for /proc/{pid}/ns; this takes root on the server") from error
    return found


def _enter(places: t.Sequence[int]) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    for place in places:
        if library.setns(place, 0) != 0:
            raise NamespaceError(f"{os.strerror(ctypes.get_errno())} for setns; this takes root on the server")
        os.close(place)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _prepare() -> None:
    """Has everything loaded that would be looked for in files, which are others inside."""
    "example.com".encode("idna")
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctypes.CDLL(None, use_errno=True)
    # The C library looks for it at the end of a thread, finds one of another age inside, and aborts. musl has none.
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1")


def _write(pipe: int, data: bytes) -> None:
    while data:
        data = data[os.write(pipe, data) :]


def collect(children: t.Sequence[Child], end: float) -> None:
    """Waits for all of them until the time is over, and ends those that are still at work."""
    try:
        _read(children, end)
    finally:
        for child in children:
            _finish(child)


def _read(children: t.Sequence[Child], end: float) -> None:
    with selectors.DefaultSelector() as selector:
        for child in children:
            if not child.done:
                selector.register(child.pipe, selectors.EVENT_READ, child)
        while selector.get_map() and (left := end - time.monotonic()) > 0:
            for key, _events in selector.select(left):
                child = key.data
                data = os.read(child.pipe, 65536)
                child.text += data
                if not data:
                    selector.unregister(child.pipe)
                    _finish(child)


def _finish(child: Child) -> None:
    if child.done:
        return
    child.done = True
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGKILL)
    status = os.waitpid(child.pid, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        child.killed_by = os.WTERMSIG(status)
    os.close(child.pipe)
    if child.after is not None:
        child.after()
