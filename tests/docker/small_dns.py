"""A name server for tests: NAMES (JSON, name to addresses), ADDRESS to listen at, and how it behaves."""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import sys
import threading

NAMES, ADDRESS, MANNER = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
A, AAAA = 1, 28
NO_SUCH_NAME, TRUNCATED = 3, 0x0200
CODES = {"refusing": 5}


def asked(query: bytes) -> tuple[str, int, int]:
    """The name, the kind, and where the question ends."""
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += query[at] + 1
    return ".".join(labels).lower(), struct.unpack_from("!H", query, at + 1)[0], at + 5


def records(name: str, kind: int) -> list[bytes]:
    size = {A: 4, AAAA: 16}.get(kind)
    packed = [ipaddress.ip_address(one).packed for one in NAMES.get(name, [])]
    return [struct.pack("!HHHIH", 0xC00C, kind, 1, 1, size) + one for one in packed if len(one) == size]


def answer(query: bytes, *, by_tcp: bool) -> bytes:
    name, kind, end = asked(query)
    found = records(name, kind)
    code = CODES.get(MANNER, 0 if name in NAMES else NO_SUCH_NAME)
    cut = TRUNCATED if MANNER == "long" and not by_tcp else 0
    shown = [] if cut or code else found
    return query[:2] + struct.pack("!5H", 0x8180 | cut | code, 1, len(shown), 0, 0) + query[12:end] + b"".join(shown)


def by_tcp() -> None:
    with socket.create_server((ADDRESS, 53)) as server:
        while True:
            connection, _peer = server.accept()
            with connection:
                data = connection.recv(65536)
                said = answer(data[2:], by_tcp=True)
                connection.sendall(struct.pack("!H", len(said)) + said)


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((ADDRESS, 53))
        threading.Thread(target=by_tcp, daemon=True).start()
        print("ready", flush=True)
        while True:
            data, peer = server.recvfrom(65536)
            if MANNER != "silent":
                server.sendto(answer(data, by_tcp=False), peer)


if __name__ == "__main__":
    main()
