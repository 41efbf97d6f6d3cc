# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way from a self-hosted persona to a cloud: addresses, and everything that can go wrong between them."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit

from bwlab.in_process import call_in_process
from bwlab.labdb import Fault
from bwlab.persona import Persona

HTTP_EXCEPTION = "System.Net.Http.HttpRequestException: "
SOCKET_EXCEPTION = "---> System.Net.Sockets.SocketException "
LONGEST_WAIT = 100.0
TLS_FAULTS = {
    "tls_unknown_ca": "because of errors in the certificate chain: PartialChain",
    "tls_expired": "because of errors in the certificate chain: NotTimeValid",
    "tls_wrong_host": "according to the validation procedure: RemoteCertificateNameMismatch",
}
PORTS = {"https": 443, "http": 80}
REDIRECTS = range(300, 400)
IP_ADDRESS = re.compile(r"^[\d.]+$|:")


class NetworkError(Exception):
    """No answer; the lines are those of the exception as the server logs it."""

    def __init__(self, *lines: str) -> None:
        super().__init__(lines[0])
        self.lines = lines


@dataclass
class Answer:
    status: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.status // 100 == 2

    @property
    def code(self) -> str:
        """BadRequest-Bad Request, as .NET names a status in its two ways."""
        phrase = HTTPStatus(self.status).phrase
        return f"{phrase.replace(' ', '')}-{phrase}"


def _host_and_port(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.hostname}:{parts.port or PORTS.get(parts.scheme, 443)}"


def _refused(uri: str) -> NetworkError:
    return NetworkError(
        f"{HTTP_EXCEPTION}Connection refused ({_host_and_port(uri)})", f"{SOCKET_EXCEPTION}(111): Connection refused"
    )


def _unresolved(uri: str) -> NetworkError:
    return NetworkError(
        f"{HTTP_EXCEPTION}Name or service not known ({_host_and_port(uri)})",
        f"{SOCKET_EXCEPTION}(0xFFFDFFFF): Name or service not known",
    )


def reset() -> NetworkError:
    return NetworkError(
        f"{HTTP_EXCEPTION}An error occurred while sending the request.",
        "---> System.Net.Http.HttpIOException: The response ended prematurely. (ResponseEnded)",
    )


def timed_out() -> NetworkError:
    cancelled = "System.Threading.Tasks.TaskCanceledException: The"
    return NetworkError(
        f"{cancelled} request was canceled due to the configured HttpClient.Timeout of 100 seconds elapsing.",
        "---> System.TimeoutException: The operation was canceled.",
        f"---> {cancelled} operation was canceled.",
        "---> System.IO.IOException: Unable to read data from the transport connection: Operation canceled.",
        f"{SOCKET_EXCEPTION}(125): Operation canceled",
    )


def bad_certificate(why: str) -> NetworkError:
    return NetworkError(
        f"{HTTP_EXCEPTION}The SSL connection could not be established, see inner exception.",
        f"---> System.Security.Authentication.AuthenticationException: The remote certificate is invalid {why}",
    )


def _made_up(status: int) -> Answer:
    """What the cloud, or the proxy before it, answers in trouble."""
    if status in (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE):
        return Answer(status, f"<html><body>{HTTPStatus(status).phrase}</body></html>")
    texts = {429: "Slow down! Too many requests. Try again in 1m.", 500: "An unhandled server error has occurred."}
    body = {"message": texts.get(status, HTTPStatus(status).phrase), "validationErrors": None, "object": "error"}
    return Answer(status, json.dumps(body))


async def _before_sending(persona: Persona, uri: str, path: str) -> Answer | None:
    """The faults that keep the request from the cloud; an answer is one that something else gave."""
    for name, why in TLS_FAULTS.items():
        if urlsplit(uri).scheme == "https" and persona.fault(name, path):
            raise bad_certificate(why)
    if fault := persona.fault("cloud_unreachable", path):
        raise _unresolved(uri) if fault.options.get("how") == "dns" else _refused(uri)
    if persona.fault("connection_reset", path):
        raise reset()
    if fault := persona.fault("cloud_timeout", path):
        await asyncio.sleep(min(fault.number("seconds", 0.0), LONGEST_WAIT))
        raise timed_out()
    if fault := persona.fault("cloud_status", path):
        return _made_up(int(fault.number("status", 503)))
    if persona.fault("not_json", path):
        return Answer(200, "<html><body>Welcome, please log in</body></html>")
    return None


def _tap(persona: Persona, method: str, path: str) -> Answer | None:
    """In a replay: what the recorder's tap answered in the cloud's place."""
    tap: Any = persona.lab.take_tap(method, path)
    if tap is None:
        return None
    if isinstance(tap, str):
        raise reset() if "closed" in tap else timed_out()
    body = tap.get("body")
    text = body if isinstance(body, str) else json.dumps(body)
    return Answer(tap["status"], text, {str(key).lower(): value for key, value in tap.get("headers", {}).items()})


def _without_type(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Content-Type"}


async def _ask(persona: Persona, method: str, uri: str, headers: dict[str, str], body: bytes) -> Answer:
    if persona.lab.transport is not None:
        if method == "GET" and persona.fault("proxy_drops_get_bodies", urlsplit(uri).path):
            body, headers = b"", _without_type(headers)
        return await persona.lab.transport(persona, method, uri, headers, body)
    found = persona.lab.cloud_at(uri)
    if found is None:
        raise _refused(uri) if IP_ADDRESS.search(urlsplit(uri).hostname or "") else _unresolved(uri)
    cloud, service = found
    path = urlsplit(uri).path
    if service == "vault":
        service, _unused, rest = path.strip("/").partition("/")
        path = f"/{rest}"
    if method == "GET" and persona.fault("proxy_drops_get_bodies", path):
        body, headers = b"", _without_type(headers)
    response = await call_in_process(cloud, service, method, path, headers=headers, body=body, client=persona.name)
    data = bytes(response.body)
    if persona.fault("truncated_body", path):
        data = data[: len(data) // 2]
    return Answer(response.status_code, data.decode("utf-8", "replace"), dict(response.headers.items()))


async def send(persona: Persona, method: str, uri: str, headers: dict[str, str], body: bytes) -> Answer:
    """The answer to a request of the self-hosted persona's own; redirects are followed."""
    path = urlsplit(uri).path
    answer = _tap(persona, method, path) or await _before_sending(persona, uri, path)
    if answer is None:
        answer = await _ask(persona, method, uri, headers, body)
    if answer.status in REDIRECTS:
        # A login page that the recorder's tap sent the server to; nobody listens there.
        elsewhere = urljoin(uri, answer.headers.get("location", "http://127.0.0.1:1/"))
        return await _ask(persona, "GET", elsewhere, headers, b"")
    return answer


def fault_of_server(persona: Persona, name: str, installation_id: str) -> Fault | None:
    """A fault at the cloud, limited to the cloud or to the server that has this installation."""
    for each in persona.lab.personas.values():
        if not each.is_cloud and each.settings().installation_id.lower() == installation_id.lower():
            return each.fault(name)
    return persona.fault(name)
