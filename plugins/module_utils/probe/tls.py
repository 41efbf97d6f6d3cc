# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A handshake, and why it fails; whose certificate it is."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe import certificate
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.certificate import Certificate
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.layers import Connection, Layer
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.model import Stop
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.timing import Deadline

_SHARE = 0.35
_MOST_NAMES = 10
# Names below these belong to others, so their certificates come from public authorities and are in public logs.
_PUBLIC = (
    "bitwarden.com",
    "bitwarden.eu",
    "bitwarden-gov.com",
    "bitwarden.net",
    "ghcr.io",
    "githubusercontent.com",
)
_EXPIRED, _NOT_YET = 10, 9
_WRONG_NAME, _WRONG_ADDRESS = 62, 64
_UNKNOWN = (2, 18, 19, 20, 21, 22, 24, 26, 27, 28, 33, 79)
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
)


class UntrustedError(Exception):
    """The certificate does not hold; C(word) is the verdict."""

    def __init__(self, word: str, said: str) -> None:
        super().__init__(word, said)
        self.word = word
        self.said = said


@dataclass(frozen=True)
class Secured:
    """An encrypted connection, and the certificate of the other side."""

    connection: Connection
    certificate: Certificate


def is_public(name: str) -> bool:
    """Whether a name is the provider's, whose certificates a company's own authority cannot have issued rightly."""
    return any(name == domain or name.endswith(f".{domain}") for domain in _PUBLIC)


def handshake(connection: Connection, context: ssl.SSLContext, name: str, deadline: Deadline) -> Secured:
    """Encrypts a connection; UntrustedError where only the certificate is in the way, Stop for all else."""
    seconds = deadline.step(_SHARE)
    connection.settimeout(seconds)
    try:
        made = _wrapped(connection, context, name, seconds)
        der = made.getpeercert(binary_form=True) or b""
        return Secured(made, certificate.read(der))
    except ssl.SSLCertVerificationError as error:
        raise UntrustedError(_word(error.verify_code), error.verify_message) from error
    except socket.timeout as error:
        raise Stop("no_answer", "no answer to the beginning of TLS") from error
    except (ssl.SSLEOFError, ConnectionError) as error:
        raise Stop("reset_in_tls", _said(error)) from error
    except ssl.SSLError as error:
        # Not every version of Python has a class of its own for an end in the middle.
        word = "reset_in_tls" if "UNEXPECTED_EOF" in str(error.reason) else "tls_failed"
        raise Stop("not_tls" if error.reason in _NOT_TLS else word, _said(error)) from error
    except OSError as error:
        raise Stop("reset_in_tls", _said(error)) from error
    except (ValueError, IndexError) as error:
        raise Stop("tls_failed", "the certificate cannot be read") from error


def _wrapped(connection: Connection, context: ssl.SSLContext, name: str, seconds: float) -> ssl.SSLSocket | Layer:
    if isinstance(connection, socket.socket) and not isinstance(connection, ssl.SSLSocket):
        return context.wrap_socket(connection, server_hostname=name)
    return Layer(connection, context, name, seconds)


def _word(code: int) -> str:
    if code in (_EXPIRED, _NOT_YET):
        return "tls_expired"
    if code in (_WRONG_NAME, _WRONG_ADDRESS):
        return "tls_wrong_name"
    return "tls_unknown_authority" if code in _UNKNOWN else "tls_failed"


def _said(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    if isinstance(error, ssl.SSLEOFError):
        return "closed without a word"
    return str(reason).replace("_", " ").lower() if reason else (error.strerror or str(error)).lower()


def unverified() -> ssl.SSLContext:
    """To look at a certificate that does not hold. Nothing but a request without secrets goes over it."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def shown(found: Certificate, name: str, *, trusted: bool) -> dict[str, t.Any]:
    """As a result holds it."""
    return {
        "subject": found.subject,
        "issuer": found.issuer,
        "names": list(found.names[:_MOST_NAMES]),
        "ends": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found.ends)),
        "days_left": found.days_left,
        "trusted": trusted,
        "intercepted": not found.logged if is_public(name) else None,
    }


def close(connection: Connection) -> None:
    """Ends a connection without waiting for the other side."""
    with contextlib.suppress(OSError):
        connection.close()
