# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests over the real network, with what .NET would log when they fail."""

from __future__ import annotations

import asyncio
import errno
import http.client
import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from bwlab import network
from bwlab.inside.proxies import Proxy, proxy_for
from bwlab.network import HTTP_EXCEPTION, SOCKET_EXCEPTION, Answer, NetworkError
from bwlab.persona import Persona

# X.509 verdicts of OpenSSL, by number, in the words of .NET.
CHAIN_ERRORS = {9: "NotTimeValid", 10: "NotTimeValid", 18: "UntrustedRoot", 19: "UntrustedRoot"}
NAME_ERRORS = (62, 64)
TEXTS = {
    errno.ECONNREFUSED: "Connection refused",
    errno.EHOSTUNREACH: "No route to host",
    errno.ENETUNREACH: "Network is unreachable",
    errno.ETIMEDOUT: "Connection timed out",
}


def trust(environment: Mapping[str, str]) -> ssl.SSLContext:
    """The system's authorities and every file in SSL_CERT_DIR: .NET does not ask for hashed names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bundle = Path(environment.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().openssl_cafile)
    folder = Path(environment.get("SSL_CERT_DIR") or ssl.get_default_verify_paths().openssl_capath)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for file in (bundle, *files):
        try:
            context.load_verify_locations(cafile=file)
        except (OSError, ssl.SSLError):
            # No certificate, or not readable: passed over without a word.
            continue
    return context


def _dial(host: str, port: int) -> socket.socket:
    """A refusal names where it wanted to go, a proxy included."""
    where = f"({host}:{port})"
    try:
        return socket.create_connection((host, port), network.LONGEST_WAIT)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            text = "Resource temporarily unavailable"
            raise NetworkError(f"{HTTP_EXCEPTION}{text} {where}", f"{SOCKET_EXCEPTION}(11): {text}") from None
        text = "Name or service not known"
        raise NetworkError(f"{HTTP_EXCEPTION}{text} {where}", f"{SOCKET_EXCEPTION}(0xFFFDFFFF): {text}") from None
    except TimeoutError:
        raise network.timed_out() from None
    except OSError as error:
        text = TEXTS.get(error.errno or 0, error.strerror or str(error))
        raise NetworkError(f"{HTTP_EXCEPTION}{text} {where}", f"{SOCKET_EXCEPTION}({error.errno}): {text}") from None


def _certificate_error(error: ssl.SSLCertVerificationError) -> NetworkError:
    if error.verify_code in NAME_ERRORS:
        return network.bad_certificate("according to the validation procedure: RemoteCertificateNameMismatch")
    why = CHAIN_ERRORS.get(error.verify_code, "PartialChain")
    return network.bad_certificate(f"because of errors in the certificate chain: {why}")


def _secure(raw: socket.socket, host: str, environment: Mapping[str, str]) -> ssl.SSLSocket:
    try:
        return trust(environment).wrap_socket(raw, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise _certificate_error(error) from None
    except TimeoutError:
        raise network.timed_out() from None
    except (ssl.SSLError, OSError):
        raise NetworkError(
            f"{HTTP_EXCEPTION}The SSL connection could not be established, see inner exception.",
            "---> System.IO.IOException: Received an unexpected EOF or 0 bytes from the transport stream.",
        ) from None


def _tunnel(raw: socket.socket, proxy: Proxy, target: str) -> None:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    raw.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    response = http.client.HTTPResponse(raw, method="CONNECT")
    response.begin()
    if response.status // 100 != 2:
        text = f"The proxy tunnel request to proxy '{proxy.url}' failed with status code '{response.status}'."
        raise NetworkError(f"{HTTP_EXCEPTION}{text}")


def _connected(url: str, proxy: Proxy | None, environment: Mapping[str, str]) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or network.PORTS.get(parts.scheme, 443)
    raw = _dial(proxy.host, proxy.port) if proxy else _dial(host, port)
    try:
        if parts.scheme == "https":
            if proxy:
                _tunnel(raw, proxy, f"{host}:{port}")
            raw = _secure(raw, host, environment)
    except BaseException:
        raw.close()
        raise
    connection = http.client.HTTPConnection(host, port)
    connection.sock = raw
    return connection


def request(method: str, url: str, headers: Mapping[str, str], body: bytes, environment: Mapping[str, str]) -> Answer:
    """One request; anything that goes wrong on the way is a NetworkError."""
    proxy = proxy_for(url, environment)
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = dict(headers)
    if proxy and parts.scheme == "http":
        target = f"{parts.scheme}://{parts.netloc}{target}"
        if proxy.authorization:
            sent["Proxy-Authorization"] = proxy.authorization
    try:
        connection = _connected(url, proxy, environment)
    except (http.client.HTTPException, OSError):
        raise network.reset() from None
    # A JSON body is written while it is made, so its length is not known beforehand.
    chunked = bool(body) and "json" in sent.get("Content-Type", "")
    if chunked:
        sent["Transfer-Encoding"] = "chunked"
    try:
        connection.request(method, target, [body] if chunked else body or None, sent, encode_chunked=chunked)
        response = connection.getresponse()
        data = response.read()
    except TimeoutError:
        raise network.timed_out() from None
    except (http.client.HTTPException, OSError):
        raise network.reset() from None
    finally:
        connection.close()
    received = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, data.decode("utf-8", "replace"), received)


async def send(_persona: Persona, method: str, url: str, headers: dict[str, str], body: bytes) -> Answer:
    """For the persona's calls; the whole of a request may take as long as HttpClient waits."""
    work = asyncio.to_thread(request, method, url, headers, body, os.environ)
    try:
        return await asyncio.wait_for(work, network.LONGEST_WAIT)
    except TimeoutError:
        raise network.timed_out() from None
