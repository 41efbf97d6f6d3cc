"""Servers in threads that end with their test, also where that fails before anybody has connected."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def served(listening: socket.socket, talk: Callable[[], None]) -> Iterator[None]:
    """Runs `talk`, which takes its connections from `listening`, until the block ends."""

    def until_the_end() -> None:
        with contextlib.suppress(OSError):
            talk()

    thread = threading.Thread(target=until_the_end, daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Closing alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)
