"""An HTTP proxy for tests: ADDRESS PORT to listen at, NAMES (JSON, name to address), and how it behaves."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import sys
import threading

ADDRESS, PORT, NAMES, MANNER = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
LOGIN = base64.b64encode(b"proxy-user:proxy-pass/word").decode()
SAID = {"login": "407 Proxy Authentication Required", "refusing": "403 Forbidden", "failing": "502 Bad Gateway"}
CERTIFICATE = sys.argv[5] if len(sys.argv) > 5 else ""


def read_head(connection: socket.socket) -> list[str]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise OSError("nothing more comes")
        data += more
    return data.decode("latin-1").split("\r\n")


def copy(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    for side in (one, other):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


def serve(connection: socket.socket) -> None:
    first, *headers = read_head(connection)
    target = first.split(" ")[1]
    known = any(line.lower() == f"proxy-authorization: basic {LOGIN}".lower() for line in headers)
    if MANNER == "silent":
        threading.Event().wait(30)
    said = SAID.get(MANNER) if not (MANNER == "login" and known) else None
    if said:
        connection.sendall(f"HTTP/1.1 {said}\r\nContent-Length: 0\r\n\r\n".encode())
        return
    name, _colon, port = target.rpartition(":")
    with socket.create_connection((NAMES[name], int(port)), 5) as onward:
        onward.settimeout(None)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=copy, args=(onward, connection), daemon=True).start()
        copy(connection, onward)


def attend(connection: socket.socket, context: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError), contextlib.closing(connection):
        if MANNER == "closing":
            read_head(connection)
            return
        serve(context.wrap_socket(connection, server_side=True) if context else connection)


def main() -> None:
    context = None
    if CERTIFICATE:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
    with socket.create_server((ADDRESS, PORT)) as server:
        print("ready", flush=True)
        while True:
            connection, _peer = server.accept()
            threading.Thread(target=attend, args=(connection, context), daemon=True).start()


if __name__ == "__main__":
    main()
