"""A real HTTP server on loopback that gives scripted answers and keeps what it was asked; certificates for it."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What to send; `cut` promises more bytes than come, `delay` keeps the client waiting, `drops` for every byte."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    delay: float = 0
    drops: float = 0

    def content(self) -> bytes:
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


Script = Callable[[Asked], Answer]


@dataclass
class Web:
    url: str
    asked: list[Asked]

    @property
    def calls(self) -> list[str]:
        return [f"{one.method} {one.path}" for one in self.asked]


def answers(*given: Answer) -> Script:
    """One answer after the other; the last one for ever."""
    left = list(given)
    return lambda _asked: left.pop(0) if len(left) > 1 else left[0]


def routes(table: dict[str, Answer | Script], default: Answer | None = None) -> Script:
    """Answers by "METHOD /path"; anything else is an unknown route."""

    def script(asked: Asked) -> Answer:
        found = table.get(f"{asked.method} {asked.path}", default or Answer(404))
        return found(asked) if callable(found) else found

    return script


@contextmanager
def serve(script: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Web]:
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            one = Asked(self.command, self.path, dict(self.headers.items()), self._body())
            asked.append(one)
            answer = script(one)
            time.sleep(answer.delay)
            content = answer.content()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content) + answer.cut))
            self.end_headers()
            for part in [content[at : at + 1] for at in range(len(content))] if answer.drops else [content]:
                time.sleep(answer.drops)
                self.wfile.write(part)
            self.close_connection = bool(answer.cut)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = b""
            while length := int(self.rfile.readline(), 16):
                found += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
            return found

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, format: str, *args: Any) -> None:
            return

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            return

    server = Quiet((host, 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield Web(f"{'https' if tls else 'http'}://{host}:{server.server_port}", asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


_SIGNS = x509.KeyUsage(True, False, False, False, False, True, True, False, False)


class Authority:
    """A CA that signs certificates for tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Test CA")
        self.path = folder / "ca.pem"
        certificate = self._sign(self._name, self._key, days=30, extension=x509.BasicConstraints(True, 0))
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, *, days: int = 30, address: str = "127.0.0.1", clients: bool = False) -> ssl.SSLContext:
        """A server's TLS settings with a certificate for an address that ends in that many days.

        With `clients` it wants a certificate of this authority from whoever calls.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        certificate = self._sign(_name("Test server"), key, days=days, extension=names)
        path = self._folder / f"server-{days}-{address}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.path)
        return context

    def client(self, passphrase: bytes | None = None) -> tuple[Path, Path]:
        """A client's certificate and its key, in two files."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.SubjectAlternativeName([x509.DNSName("client.example")])
        certificate = self._sign(_name("Test client"), key, days=30, extension=name)
        paths = (self._folder / "client.pem", self._folder / f"client-{'locked' if passphrase else 'open'}.key")
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
        return paths

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        )
        # Since Python 3.13 a certificate without these is refused.
        if key is self._key:
            builder = builder.add_extension(_SIGNS, critical=True)
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(own, critical=False).add_extension(issuer, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
