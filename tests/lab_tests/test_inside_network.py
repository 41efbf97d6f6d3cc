# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A container's own requests: proxies as .NET chooses them, trust, and the log lines of every failure."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bwlab import tls
from bwlab.inside import transport
from bwlab.inside.proxies import bypassed, proxy_for
from bwlab.network import NetworkError

JSON = {"Content-Type": "application/json; charset=utf-8"}


class Handler(BaseHTTPRequestHandler):
    """Answers with what it got; as a proxy it notes what it was asked for."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str, str]] = []
    connect_status = 200

    def do_GET(self) -> None:
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.seen.append(("GET", self.path, self.headers.get("Proxy-Authorization", "")))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.seen.append(("CONNECT", self.path, self.headers.get("Proxy-Authorization", "")))
        if self.connect_status != 200:
            self.send_error(self.connect_status)
            return
        host, _unused, port = self.path.partition(":")
        self.send_response_only(200)
        self.end_headers()
        self.wfile.flush()
        with socket.create_connection((host, int(port))) as there:
            done = threading.Thread(target=_copy, args=(there, self.connection))
            done.start()
            _copy(self.connection, there)
            done.join()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the test's output."""


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


class Quiet(ThreadingHTTPServer):
    """A handshake that the client breaks off is no news."""

    def handle_error(self, request: object, client_address: object) -> None:
        """The client's side of it is what the tests look at."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    tls.write_certificates(folder)
    (folder / "trusted").mkdir()
    (folder / "trusted" / "company.crt").write_bytes((folder / "ca.pem").read_bytes())
    (folder / "trusted" / "readme.txt").write_text("no certificate")
    return folder


def _start(context: ssl.SSLContext | None = None) -> Quiet:
    server = Quiet(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def web() -> Iterator[Quiet]:
    Handler.seen, Handler.connect_status = [], 200
    server = _start()
    yield server
    server.shutdown()
    server.server_close()


def _ask(url: str, environment: dict[str, str] | None = None, body: bytes = b"") -> str:
    return transport.request("GET", url, JSON if body else {}, body, environment or {}).text


def _failure(url: str, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(NetworkError) as caught:
        _ask(url, environment)
    return "\n".join(caught.value.lines)


def _secure(certificates: Path, kind: str) -> Quiet:
    return _start(tls.context(certificates, kind))


# -- the way -------------------------------------------------------------------------------------------------------


def test_a_get_with_a_json_body_is_sent_in_chunks(web: Quiet) -> None:
    assert _ask(f"http://127.0.0.1:{web.server_port}/licenses", body=b'{"a":1}') == '{"a":1}'


def test_the_transport_of_a_persona_answers_with_status_and_lower_case_headers(web: Quiet) -> None:
    url = f"http://127.0.0.1:{web.server_port}/x"
    answer = asyncio.run(transport.send(None, "GET", url, {}, b""))  # type: ignore[arg-type]  # no persona is asked
    assert (answer.status, answer.headers["content-length"]) == (200, "0")


@pytest.mark.parametrize(
    ("no_proxy", "host", "left_out"),
    [
        ("identity,api", "identity", True),
        (" Identity ", "IDENTITY", True),
        ("example.com", "www.example.com", False),
        (".example.com", "www.example.com", True),
        (".example.com", "example.com", True),
        ("*", "identity", False),
        ("10.0.0.0/8", "10.0.0.1", False),
        ("", "identity", False),
    ],
)
def test_no_proxy_is_a_list_of_names(no_proxy: str, host: str, left_out: bool) -> None:
    assert bypassed(host, no_proxy) is left_out


def test_the_proxy_of_an_address_comes_from_the_variable_of_its_scheme() -> None:
    both = {"http_proxy": "http://one:3128", "HTTPS_PROXY": "two:8080", "no_proxy": "identity"}
    plain, secure = proxy_for("http://api:5000/x", both), proxy_for("https://api.bitwarden.com/x", both)
    assert plain is not None
    assert secure is not None
    assert (plain.host, plain.port, secure.host, secure.port) == ("one", 3128, "two", 8080)
    assert proxy_for("http://identity:5000/", both) is None
    assert proxy_for("https://api.bitwarden.com/", {"http_proxy": "http://one:3128"}) is None
    everything = proxy_for("https://api.bitwarden.com/", {"ALL_PROXY": "http://three"})
    assert everything is not None
    assert everything.url == "http://three:80/"


def test_a_plain_request_names_its_whole_address_to_the_proxy(web: Quiet) -> None:
    _ask("http://identity:5000/alive", {"http_proxy": f"http://user:p%40ss@127.0.0.1:{web.server_port}"})
    assert Handler.seen == [("GET", "http://identity:5000/alive", "Basic dXNlcjpwQHNz")]


def test_a_secure_request_goes_through_a_tunnel(web: Quiet, certificates: Path) -> None:
    cloud = _secure(certificates, tls.GOOD)
    environment = {
        "https_proxy": f"http://127.0.0.1:{web.server_port}",
        "SSL_CERT_DIR": str(certificates / "trusted"),
    }
    try:
        assert _ask(f"https://localhost:{cloud.server_port}/x", environment, b"{}") == "{}"
    finally:
        cloud.shutdown()
        cloud.server_close()
    assert Handler.seen[0] == ("CONNECT", f"localhost:{cloud.server_port}", "")


def test_a_tunnel_that_the_proxy_refuses(web: Quiet) -> None:
    Handler.connect_status = 403
    proxy = f"http://127.0.0.1:{web.server_port}"
    text = _failure("https://api.bitwarden.com/", {"https_proxy": proxy})
    assert f"The proxy tunnel request to proxy '{proxy}/' failed with status code '403'." in text


# -- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (tls.UNKNOWN_CA, "because of errors in the certificate chain: UntrustedRoot"),
        (tls.EXPIRED, "because of errors in the certificate chain: NotTimeValid"),
        (tls.WRONG_HOST, "according to the validation procedure: RemoteCertificateNameMismatch"),
    ],
)
def test_certificates_that_are_not_accepted(certificates: Path, kind: str, text: str) -> None:
    cloud = _secure(certificates, kind)
    environment = {"SSL_CERT_DIR": str(certificates / "trusted")}
    try:
        found = _failure(f"https://localhost:{cloud.server_port}/", environment)
    finally:
        cloud.shutdown()
        cloud.server_close()
    assert "The SSL connection could not be established, see inner exception." in found
    assert f"The remote certificate is invalid {text}" in found


def test_an_authority_is_known_by_its_file_in_the_folder_only(certificates: Path, tmp_path: Path) -> None:
    cloud = _secure(certificates, tls.GOOD)
    url = f"https://localhost:{cloud.server_port}/"
    try:
        assert "UntrustedRoot" in _failure(url, {"SSL_CERT_DIR": str(tmp_path), "SSL_CERT_FILE": "/nonexistent"})
        assert _ask(url, {"SSL_CERT_DIR": str(certificates / "trusted"), "SSL_CERT_FILE": "/nonexistent"}) == ""
    finally:
        cloud.shutdown()
        cloud.server_close()


@contextmanager
def _refusing_port() -> Iterator[int]:
    """Bound and not listening: nobody else can take it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_nobody_listens() -> None:
    with _refusing_port() as port:
        text = _failure(f"http://127.0.0.1:{port}/")
    assert f"System.Net.Http.HttpRequestException: Connection refused (127.0.0.1:{port})" in text
    assert "---> System.Net.Sockets.SocketException (111): Connection refused" in text


def test_a_refusal_names_the_proxy() -> None:
    with _refusing_port() as port:
        text = _failure("https://api.bitwarden.com/", {"https_proxy": f"http://u:secret@127.0.0.1:{port}"})
    assert f"Connection refused (127.0.0.1:{port})" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("number", "text"), [(socket.EAI_NONAME, "Name or service not known"), (socket.EAI_AGAIN, "Resource temporarily")]
)
def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch, number: int, text: str) -> None:
    def unknown(*_unused: object) -> None:
        raise socket.gaierror(number, "x")

    monkeypatch.setattr(socket, "create_connection", unknown)
    assert f"HttpRequestException: {text}" in _failure("https://api.bitwarden.com/")


def test_a_connection_that_ends_without_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _unused = listener.accept()
            connection.recv(1000)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        text = _failure(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()
    assert "The response ended prematurely. (ResponseEnded)" in text


def test_a_cloud_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bwlab.network.LONGEST_WAIT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = _failure(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    assert "HttpClient.Timeout of 100 seconds elapsing." in text
