# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which settings of a Bitwarden server are secrets, and how text is shown without them."""

from __future__ import annotations

import re
import typing as t
from urllib.parse import unquote

REDACTED = "<redacted>"

# The second is how Lite spells it.
INSTALLATION_IDS = frozenset({"globalsettings__installation__id", "bw_installation_id"})

_SECRET_NAME = re.compile(
    r"passw(or)?d|pwd|secret|token|credential|connectionstring|privatekey|passphrase", re.IGNORECASE
)
# A login may hold any character when people write it down.
_SECRET_VALUE = re.compile(r"://[^\s]*@|\b(password|pwd|accountkey|sharedaccesskey)\s*=", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"^[\s#;]*(?:export\s+)?(?P<key>[^\s=:]+)\s*[=:]\s*(?P<value>.*)$", re.DOTALL)

# Compose quotes the offending line of an env file, and that line may be a password.
_QUOTED_BY_COMPOSE = re.compile(
    r"(unterminated quoted value|Invalid template:|in variable name|missing a value:|invalid interpolation format for)"
    r"\s.*",
)
# In the output of programs a setting may stand anywhere in a line, in a log message or in a connection string.
_ASSIGNED = re.compile(
    r"(?P<name>[\w.]*(?:passw(?:or)?d|pwd|passphrase|secret|token|key|connectionstring|credential)\w*[\"']?\s*[=:]\s*)"
    r"(?P<value>\"[^\"]*\"|'[^']*'|[^\s;,]+)",
    re.IGNORECASE,
)
_LOGIN_IN_ADDRESS = re.compile(r"(://)[^\s\"',;]*@")
# The address of a proxy needs no scheme, so anything before the host may be a login.
_PROXY = re.compile(r"(_proxy[\"']?\s*[=:]\s*[\"']?)[^\n]*@", re.IGNORECASE)
# Programs also show a login without the address or the connection string that it came in.
_INNER = re.compile(r"://[^:@\s]*:(?P<login>[^\s]*)@|\b(?:password|pwd)\s*=\s*(?P<password>[^;\"']+)", re.IGNORECASE)
# A value shorter than this would blot out half of every sentence.
_SHORTEST_SECRET = 6


def is_secret_key(key: str) -> bool:
    """Whether the name alone says that the value must not be shown."""
    lowered = key.lower()
    if lowered in INSTALLATION_IDS or _SECRET_NAME.search(lowered):
        return True
    last = lowered.rsplit("__", 1)[-1]
    return last.endswith("key") and not last.endswith("publickey")


def is_secret(key: str, value: str | None) -> bool:
    """Whether a setting must not be shown, by its name or by what it holds (a proxy with a password)."""
    if value is None or is_secret_key(key):
        return is_secret_key(key)
    return _SECRET_VALUE.search(value) is not None or (key.lower().endswith("_proxy") and "@" in value)


def shown(key: str, value: str | None) -> str | None:
    """The value as a result may hold it."""
    return REDACTED if value is not None and is_secret(key, value) else value


def redact_line(line: str) -> str:
    """A line of an env file as a person may see it; a setting that is commented out is still a secret."""
    match = _ASSIGNMENT.match(line)
    if match is None or not is_secret(match.group("key"), match.group("value")):
        return line
    return line[: match.start("value")] + REDACTED


def _forms(secret: str) -> t.Iterator[str]:
    yield secret
    for match in _INNER.finditer(secret):
        inner = match.group("login") or match.group("password") or ""
        yield inner
        yield unquote(inner)


def redact_text(text: str, secrets: t.Iterable[str] = ()) -> str:
    """What a program printed, without the lines that it quotes and without the given values."""
    known = {form for secret in secrets for form in _forms(secret) if len(form) >= _SHORTEST_SECRET}
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    text = _QUOTED_BY_COMPOSE.sub(rf"\1 {REDACTED}", text)
    text = _ASSIGNED.sub(rf"\g<name>{REDACTED}", text)
    text = _PROXY.sub(rf"\1{REDACTED}@", text)
    text = _LOGIN_IN_ADDRESS.sub(rf"\1{REDACTED}@", text)
    return "\n".join(redact_line(line) for line in text.splitlines())
