# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One HTTP session per task: TLS, patience with rate limits, and answers that can be quoted without secrets."""

# Linters take any module of this name for the standard library's, and find imports in it that nobody wrote.
# pylint: disable=unused-import

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import time
import traceback
import typing as t
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import pace, secret_words
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

if t.TYPE_CHECKING:
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import Connection

try:
    import requests
    from requests.adapters import HTTPAdapter
    from requests.auth import AuthBase
    from urllib3 import disable_warnings
    from urllib3.exceptions import HTTPError, InsecureRequestWarning
    from urllib3.util.retry import Retry
except ImportError:
    REQUESTS_ERROR: str | None = traceback.format_exc()
    HTTPError = OSError  # type: ignore[assignment,misc]  # only so that this file can be imported
    AuthBase = object  # type: ignore[assignment,misc]  # only so that this file can be imported
else:
    REQUESTS_ERROR = None

EMPTY = "an empty body"
_QUOTED = 200
_SHORTEST_SECRET = 8
_DEFAULT_RETRY_AFTER = 60.0
# Far more than any answer of Bitwarden's; whatever is longer is something else, or wants to fill the memory.
_LONGEST_ANSWER = 16 * 1024 * 1024
_CHUNK = 64 * 1024
# For how many times the task's time limit an answer may go on coming in small parts.
_PARTS = 10
# Explanations may be as long as what a license forbids; no explanation is a book.
_LONGEST_EXPLANATION = 2000
_REDIRECTS = range(300, 400)
# No answer with secrets in it is longer.
_LONGEST_SECRETS = 1024 * 1024
_CUT = (http.client.RemoteDisconnected, http.client.IncompleteRead, ConnectionResetError)

# OpenSSL's numbers for what is wrong with a certificate.
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_CA = {2, 18, 19, 20, 21}
_WRONG_NAME = {62, 64}
# Its words for a missing, a refused and a mismatched certificate of this side.
_CLIENT_CERTIFICATE = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
    "TLSV1_ALERT_UNKNOWN_CA",
    "KEY_VALUES_MISMATCH",
}


class NetworkError(BitwardenError):
    """No usable answer came back."""


@dataclass(frozen=True)
class Response:
    """An answer; C(said) is the server's own explanation, short and free of secrets."""

    method: str
    url: str
    status: int
    headers: t.Mapping[str, str]
    text: str = field(repr=False)
    said: str = EMPTY

    @property
    def ok(self) -> bool:
        """Whether the server did what it was asked for."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def json(self) -> t.Any:
        """The parsed body, or None where the body is no JSON."""
        return _parsed(self.text)


class _Bearer(AuthBase):
    """Sets Authorization itself: without an auth object requests would take a password from ~/.netrc instead."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Transport:
    """Sends requests over one session; every failure is a BitwardenError in words."""

    def __init__(self, connection: Connection, *, sleep: t.Callable[[float], None] = time.sleep) -> None:
        if REQUESTS_ERROR is not None:
            raise BitwardenError(missing_required_lib("requests"), details={"exception": REQUESTS_ERROR})
        if connection.ca_path and not os.path.exists(connection.ca_path):
            raise BitwardenError(
                f"The CA file {connection.ca_path} does not exist where the module runs.",
                next_step="Give ca_path as a path on the host that the task is delegated to.",
            )
        _check_client_certificate(connection.client_cert, connection.client_key)
        self._connection = connection
        self._verify = (connection.ca_path or True) if connection.validate_certs else False
        if not connection.validate_certs:
            # The task asked for it in so many words; a warning for every request would only bury others.
            disable_warnings(InsecureRequestWarning)
        self._sleep = sleep
        self._patience = float(connection.rate_limit_wait)
        self._secrets: set[str] = set()
        self._session = _session(connection.retries)
        self._session.cert = _client_certificate(connection)
        self.server_time: datetime | None = None
        self.hide(connection.client_secret)

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *exc: object) -> None:
        self._session.close()

    def hide(self, secret: str | None) -> None:
        """Never quote this value, whoever echoes it."""
        if secret and len(secret) >= _SHORTEST_SECRET:
            self._secrets.add(secret)

    def wait_for_turn(self) -> None:
        """Let the logins of other tasks on this controller go first, as long as the task's patience lasts."""
        directory = pace.state_directory(self._connection.lock_path)
        self._patience -= pace.wait_for_turn(directory, self._connection.identity, self._patience, sleep=self._sleep)

    def request(
        self,
        method: str,
        url: str,
        *,
        bearer: str | None = None,
        headers: t.Mapping[str, str] | None = None,
        form: t.Mapping[str, str] | bytes | None = None,
        body: t.Any = None,
        timeout: int = 0,
    ) -> Response:
        """Send one request; a rate limit is obeyed as long as the task's patience lasts.

        C(timeout) is how long this request needs at least, whatever the task's own is.
        C(form) may be bytes that go as they are, with their type in C(headers).
        """
        self.hide(bearer)
        seconds = max(timeout, self._connection.timeout)
        while True:
            response = self._send(method, url, bearer=bearer, headers=headers, form=form, body=body, seconds=seconds)
            if response.status != HTTPStatus.TOO_MANY_REQUESTS:
                return response
            pause = _retry_after(response) + 1
            if pause > self._patience:
                return response
            self._patience -= pause
            self._sleep(pause)

    def _send(
        self, method: str, url: str, *, bearer: str | None, form: t.Any, body: t.Any, headers: t.Any, seconds: int
    ) -> Response:
        try:
            answer = self._session.request(
                method,
                url,
                auth=_Bearer(bearer),
                headers=headers,
                data=form,
                json=body,
                timeout=(self._connection.timeout, seconds),
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            )
            with answer:
                content = _read(answer, time.monotonic() + _PARTS * seconds)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise self._network_error(method, url, error, seconds) from None
        self._note_time(answer.headers.get("Date"))
        if answer.status_code in _REDIRECTS:
            raise self._redirect_error(method, url, answer.headers.get("Location", ""))
        if content is None:
            raise _too_long(method, url, answer.status_code)
        text = _text(content, answer.encoding)
        self._learn(text)
        return Response(method, url, answer.status_code, answer.headers, text, self._said(text, answer.headers))

    def _note_time(self, date: str | None) -> None:
        try:
            self.server_time = parsedate_to_datetime(date or "").astimezone(timezone.utc)
        except (TypeError, ValueError, IndexError):
            return

    def _said(self, text: str, headers: t.Mapping[str, str]) -> str:
        # Before anything is cut, so that no part of a secret stays, and after escapes are resolved.
        said = self._hidden(_explanation(self._hidden(text)) or headers.get("WWW-Authenticate", "") or EMPTY)
        said = secret_words.masked(said[: 2 * _LONGEST_EXPLANATION])
        return said if len(said) <= _LONGEST_EXPLANATION else said[:_LONGEST_EXPLANATION] + "…"

    def _learn(self, text: str) -> None:
        """What the server has handed out is not quoted either, should anybody repeat it."""
        if len(text) <= _LONGEST_SECRETS:
            for secret in secret_words.of(_parsed(text)):
                self.hide(secret)

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, secret_words.HIDDEN)
        return text

    def _redirect_error(self, method: str, url: str, location: str) -> BitwardenError:
        target = secret_words.masked(self._hidden(location.split("?", 1)[0]))[:_QUOTED] or "nowhere"
        return NetworkError(
            f"{method} {url} was redirected to {target}; credentials are not sent after a redirect.",
            next_step="Correct the URL if that is where the server lives now; "
            "if it is the login page of a proxy, let this host through without login.",
            details={"endpoint": f"{method} {url}"},
        )

    def _network_error(self, method: str, url: str, error: BaseException, seconds: int) -> BitwardenError:
        chain = list(_causes(error))
        said, next_step = _network_words(chain, seconds)
        # Trouble on the way says nothing about the server itself.
        elsewhere = (ssl.SSLError, socket.gaierror, requests.exceptions.ProxyError, requests.exceptions.SSLError)
        down = any(map(_cut_off, chain)) or not any(isinstance(item, elsewhere) for item in chain)
        return NetworkError(
            f"{method} {url} got no answer: {said}",
            next_step=next_step,
            details={"endpoint": f"{method} {url}", "server_down": down or None},
        )


def _session(retries: int) -> requests.Session:
    session = requests.Session()
    # It is looked at even where redirects are not followed, and a malformed one would be an error of Python's.
    session.get_redirect_target = lambda _answer: None  # type: ignore[method-assign,assignment]  # this session's only
    # Only what is safe to send twice: a connection that was never made, and GET when a gateway was in trouble.
    policy = Retry(
        total=retries,
        other=0,
        redirect=0,
        allowed_methods={"GET"},
        status_forcelist={HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT},
        backoff_factor=0.5,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=policy))
    session.headers.update({"Accept": "application/json", "User-Agent": "selfhosted.bitwarden (Ansible)"})
    return session


def _check_client_certificate(certificate: str | None, key: str | None) -> None:
    """Refuse what the TLS library would only complain about later, or ask a passphrase for on somebody's terminal."""
    for option, path in (("client_cert", certificate), ("client_key", key)):
        if not path:
            continue
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                content = stream.read()
        except OSError as error:
            raise BitwardenError(
                f"The file {path} of {option} cannot be read where the module runs: {error.strerror}.",
                next_step=f"Give {option} as a path on the host that the task is delegated to.",
            ) from error
        if "ENCRYPTED" in content and "PRIVATE KEY-----" in content:
            raise BitwardenError(
                f"The private key in {path} is encrypted, and nobody is there to type its passphrase.",
                next_step="Give a key without a passphrase, in a file that only the user of the module may read.",
            )


def _client_certificate(connection: Connection) -> t.Any:
    if connection.client_cert and connection.client_key:
        return (connection.client_cert, connection.client_key)
    return connection.client_cert


def _read(answer: requests.Response, end: float) -> bytes | None:
    """The whole body, or None where it is longer than any of Bitwarden's."""
    content = bytearray()
    for chunk in _chunks(answer):
        content += chunk
        if len(content) > _LONGEST_ANSWER:
            return None
        if time.monotonic() > end:
            raise requests.Timeout("the answer comes drop by drop")
    return bytes(content)


def _chunks(answer: requests.Response) -> t.Iterator[bytes]:
    """The body as it comes in; older urllib3 waits until a chunk is full."""
    read1 = getattr(answer.raw, "read1", None)
    if read1 is None:
        yield from answer.iter_content(_CHUNK)
        return
    while chunk := read1(_CHUNK, decode_content=True):
        yield chunk


def _text(content: bytes, encoding: str | None) -> str:
    """A body as text; JSON is UTF-8 whatever a guess at so few letters would say."""
    for name in ("utf-8-sig", encoding or "utf-8"):
        try:
            return content.decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
    return content.decode("utf-8", "replace")


def _too_long(method: str, url: str, status: int) -> BitwardenError:
    return NetworkError(
        f"{method} {url} answered {status} with more than {_LONGEST_ANSWER // 1024 // 1024} MiB, "
        "and the rest was not read.",
        next_step="Something else than Bitwarden answers there: correct the URL, or look at the proxy.",
        details={"endpoint": f"{method} {url}", "status": status, "server_down": None},
    )


def _retry_after(response: Response) -> float:
    """Seconds to wait; proxies may name a date instead."""
    given = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(given)
        return max(0.0, then.timestamp() - time.time())
    except (TypeError, ValueError, IndexError, OverflowError):
        return _DEFAULT_RETRY_AFTER


def _parsed(text: str) -> t.Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _explanation(text: str) -> str:
    """The words of an error body: Bitwarden's API, its token endpoint, or the beginning of anything else."""
    if not text.strip():
        return ""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return secret_words.masked(re.sub(r"\s+", " ", text[:_LONGEST_EXPLANATION])).strip()[:_QUOTED]
    if not isinstance(body, dict):
        return f"JSON ({type(body).__name__})"
    if "error" in body:
        model = body.get("ErrorModel")
        details = [body.get("error_description"), model.get("Message") if isinstance(model, dict) else None]
        # Where both exist one is often for programs, the other for people.
        return ": ".join(dict.fromkeys(str(part) for part in [body["error"], *details] if part))
    if "message" in body:
        return " ".join([str(body["message"]), *_validation_errors(body.get("validationErrors"))])
    return f"JSON with the keys {', '.join(sorted(map(str, body)))[:_QUOTED]}"


def _validation_errors(errors: t.Any) -> t.Iterator[str]:
    if not isinstance(errors, dict):
        return
    for field_name, texts in errors.items():
        words = " ".join(map(str, texts)) if isinstance(texts, list) else str(texts)
        yield f"{field_name}: {words}" if field_name else words


def _network_words(chain: t.Sequence[BaseException], timeout: int) -> tuple[str, str]:
    certificate = next((item for item in chain if isinstance(item, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        return _certificate_words(certificate)
    return _way_words(chain, timeout) or (
        f"{_root(chain)}.",
        "Check the host name, DNS and the firewall from the host that the task is delegated to.",
    )


def _way_words(chain: t.Sequence[BaseException], timeout: int) -> tuple[str, str] | None:
    if any(isinstance(item, _CUT) for item in chain):
        return (
            "the connection was closed before the whole answer had come.",
            "See whether the server restarts, or something on the way cuts connections; then run again: "
            "what was done all the same is found done.",
        )
    if any(isinstance(item, requests.exceptions.ProxyError) for item in chain):
        return (
            f"the proxy did not let it through ({_root(chain)}).",
            "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY where the module runs, and that the proxy allows this host.",
        )
    if any(getattr(item, "reason", "") in _CLIENT_CERTIFICATE for item in chain):
        return (
            "the other end wants a client certificate, and got none or not the right one.",
            "Give client_cert and client_key (they must belong together), signed by a CA that the other end knows.",
        )
    if any(isinstance(item, requests.exceptions.SSLError) for item in chain):
        return (
            f"the TLS handshake failed ({_root(chain)}).",
            "Check that the port speaks TLS and that nothing between here and the server breaks it.",
        )
    if any(isinstance(item, (requests.exceptions.Timeout, TimeoutError, socket.timeout)) for item in chain):
        return (
            f"nothing came within {timeout} seconds.",
            "A firewall that drops packets looks like this: open 443 to this host, or raise timeout.",
        )
    return None


def _certificate_words(error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    if error.verify_code in {_EXPIRED, _NOT_YET_VALID}:
        state = "has expired" if error.verify_code == _EXPIRED else "is not valid yet"
        return (
            f"the server's certificate {state}.",
            "Renew the certificate; if it is good, the clock of the host that the task is delegated to is wrong.",
        )
    if error.verify_code in _WRONG_NAME:
        return (
            f"the certificate belongs to another host ({error.verify_message}).",
            "Use the host name that the certificate was made for; if the name is right, something else answers for it.",
        )
    if error.verify_code in _UNKNOWN_CA:
        return (
            f"the certificate was signed by a CA that is not known here ({error.verify_message}).",
            "Give the CA's certificate in ca_path (or REQUESTS_CA_BUNDLE); for the Bitwarden cloud it means that "
            "something on the way inspects TLS.",
        )
    return f"the certificate was refused ({error.verify_message}).", "Check the server's certificate."


def _causes(error: BaseException) -> t.Iterator[BaseException]:
    """The error and everything that it wraps, each once."""
    queue: list[t.Any] = [error]
    seen: set[int] = set()
    while queue:
        item = queue.pop(0)
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        queue += [getattr(item, "reason", None), item.__cause__, item.__context__, *item.args]


def _cut_off(error: BaseException) -> bool:
    """Whether the other end hung up in the handshake: a forwarded port answers for a server that does not run."""
    return isinstance(error, ssl.SSLEOFError) or getattr(error, "reason", "") == "UNEXPECTED_EOF_WHILE_READING"


def _root(chain: t.Sequence[BaseException]) -> str:
    """What the system said, without the URLs and objects that libraries put around it."""
    for item in reversed(chain):
        if isinstance(item, OSError) and item.strerror:
            return str(item.strerror).rstrip(".")
    return type(chain[-1]).__name__
