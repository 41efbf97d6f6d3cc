# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One HTTP session per task: TLS, patience with rate limits, and answers that can be quoted without secrets."""

# Linters take any module of this name for the standard library's, and find imports in it that nobody wrote.
# pylint: disable=unused-import

from __future__ import annotations

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
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

if t.TYPE_CHECKING:
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import Connection

try:
    import requests
    from requests.adapters import HTTPAdapter
    from requests.auth import AuthBase
    from urllib3 import disable_warnings
    from urllib3.exceptions import InsecureRequestWarning
    from urllib3.util.retry import Retry
except ImportError:
    REQUESTS_ERROR: str | None = traceback.format_exc()
    AuthBase = object  # type: ignore[assignment,misc]  # only so that this file can be imported
else:
    REQUESTS_ERROR = None

EMPTY = "an empty body"
_QUOTED = 200
_SHORTEST_SECRET = 8
_DEFAULT_RETRY_AFTER = 60.0
_REDIRECTS = range(300, 400)

# OpenSSL's numbers for what is wrong with a certificate.
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_CA = {2, 18, 19, 20, 21}
_WRONG_NAME = {62, 64}


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
        try:
            return json.loads(self.text)
        except ValueError:
            return None


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
        self._connection = connection
        self._verify = (connection.ca_path or True) if connection.validate_certs else False
        if not connection.validate_certs:
            # The task asked for it in so many words; a warning for every request would only bury others.
            disable_warnings(InsecureRequestWarning)
        self._sleep = sleep
        self._patience = float(connection.rate_limit_wait)
        self._secrets: set[str] = set()
        self._session = _session(connection.retries)
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

    def request(
        self,
        method: str,
        url: str,
        *,
        bearer: str | None = None,
        headers: t.Mapping[str, str] | None = None,
        form: t.Mapping[str, str] | None = None,
        body: t.Any = None,
        timeout: int = 0,
    ) -> Response:
        """Send one request; a rate limit is obeyed as long as the task's patience lasts.

        C(timeout) is how long this request needs at least, whatever the task's own is.
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
            )
        except (requests.RequestException, OSError) as error:
            raise self._network_error(method, url, error, seconds) from None
        self._note_time(answer.headers.get("Date"))
        if answer.status_code in _REDIRECTS:
            raise self._redirect_error(method, url, answer.headers.get("Location", ""))
        text = answer.text
        return Response(method, url, answer.status_code, answer.headers, text, self._said(text, answer.headers))

    def _note_time(self, date: str | None) -> None:
        try:
            self.server_time = parsedate_to_datetime(date or "").astimezone(timezone.utc)
        except (TypeError, ValueError, IndexError):
            return

    def _said(self, text: str, headers: t.Mapping[str, str]) -> str:
        said = _explanation(text) or headers.get("WWW-Authenticate", "") or EMPTY
        for secret in self._secrets:
            said = said.replace(secret, "********")
        return said

    def _redirect_error(self, method: str, url: str, location: str) -> BitwardenError:
        target = location.split("?", 1)[0] or "nowhere"
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
        down = not any(isinstance(item, elsewhere) for item in chain)
        return NetworkError(
            f"{method} {url} got no answer: {said}",
            next_step=next_step,
            details={"endpoint": f"{method} {url}", "server_down": down or None},
        )


def _session(retries: int) -> requests.Session:
    session = requests.Session()
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


def _retry_after(response: Response) -> float:
    try:
        return max(0.0, float(response.headers.get("Retry-After", "")))
    except ValueError:
        return _DEFAULT_RETRY_AFTER


def _explanation(text: str) -> str:
    """The words of an error body: Bitwarden's API, its token endpoint, or the beginning of anything else."""
    if not text.strip():
        return ""
    try:
        body = json.loads(text)
    except ValueError:
        return re.sub(r"\s+", " ", text).strip()[:_QUOTED]
    if not isinstance(body, dict):
        return f"JSON ({type(body).__name__})"
    if "error" in body:
        model = body.get("ErrorModel")
        details = [body.get("error_description"), model.get("Message") if isinstance(model, dict) else None]
        # Where both exist one is often for programs, the other for people.
        return ": ".join(map(str, dict.fromkeys(filter(None, [body["error"], *details]))))
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
    if any(isinstance(item, requests.exceptions.ProxyError) for item in chain):
        return (
            f"the proxy did not let it through ({_root(chain)}).",
            "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY where the module runs, and that the proxy allows this host.",
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
    return (
        f"{_root(chain)}.",
        "Check the host name, DNS and the firewall from the host that the task is delegated to.",
    )


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


def _root(chain: t.Sequence[BaseException]) -> str:
    """What the system said, without the URLs and objects that libraries put around it."""
    for item in reversed(chain):
        if isinstance(item, OSError) and item.strerror:
            return str(item.strerror).rstrip(".")
    return type(chain[-1]).__name__
