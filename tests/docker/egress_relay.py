# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""egress_relay.py serve | dial ADDRESS: how people manage a server that nobody can connect to from outside.

The server keeps a line to a relay; for each person that comes to the relay it dials another one, and joins that to its
own ssh. It runs alone: with the standard library only, on both sides.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time

FRONT, LINE, CALLS = 7000, 7001, 7002
SSH = ("127.0.0.1", 22)
DIAL_SECONDS = 4.0


def join(one: socket.socket, other: socket.socket) -> None:
    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    for ends in ((one, other), (other, one)):
        threading.Thread(target=copy, args=ends, daemon=True).start()


def serve() -> None:
    front, lines, calls = (socket.create_server(("", port)) for port in (FRONT, LINE, CALLS))
    calls.settimeout(DIAL_SECONDS)
    line, _address = lines.accept()
    while True:
        person, _address = front.accept()
        line.sendall(b"!")
        try:
            call, _address = calls.accept()
        except TimeoutError:
            person.close()
            continue
        call.settimeout(None)
        join(person, call)


def dial(address: str) -> None:
    with socket.create_connection((address, LINE)) as line:
        while line.recv(1):
            try:
                call = socket.create_connection((address, CALLS), DIAL_SECONDS - 1.0)
            except OSError:
                time.sleep(0.1)
                continue
            call.settimeout(None)
            join(call, socket.create_connection(SSH))


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else dial(sys.argv[2])
