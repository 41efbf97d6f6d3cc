# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a certificate says of itself, also one that nobody trusts: Python shows only those that it has verified."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.der import element, inside, moment

_VERSION, _EXTENSIONS, _DNS_NAME, _OCTETS = 0xA0, 0xA3, 0x82, 0x04
_COMMON_NAME, _ORGANIZATION = b"\x55\x04\x03", b"\x55\x04\x0a"
_ALTERNATIVES = b"\x55\x1d\x11"
# Signed certificate timestamps, 1.3.6.1.4.1.11129.2.4.2.
_TIMESTAMPS = bytes.fromhex("2b06010401d679020402")
_DAY = 86400


@dataclass(frozen=True)
class Certificate:
    """One certificate. C(logged) means that it holds proof of its entry in public logs (Certificate Transparency)."""

    subject: str
    issuer: str
    begins: float
    ends: float
    names: tuple[str, ...]
    logged: bool

    @property
    def days_left(self) -> int:
        """Whole days until its end; negative after it."""
        return int((self.ends - time.time()) // _DAY)


def read(der: bytes) -> Certificate:
    """Reads it; ValueError or IndexError where it is no certificate."""
    _tag, start, _end = element(der, 0)
    _tag, start, end = element(der, start)
    fields = [field for field in inside(der, start, end) if field[0] != _VERSION]
    # Serial number, algorithm, issuer, validity, subject, key; then what is optional.
    _number, _algorithm, issuer, validity, subject, _key, *more = fields
    begins, ends = (moment(tag, der[at:to]).timestamp() for tag, at, to in inside(der, *validity[1:]))
    extensions = dict(_extensions(der, more))
    return Certificate(
        subject=_name(der, subject),
        issuer=_name(der, issuer),
        begins=begins,
        ends=ends,
        names=tuple(_alternatives(extensions.get(_ALTERNATIVES, b""))),
        logged=_TIMESTAMPS in extensions,
    )


def _name(der: bytes, place: tuple[int, int, int]) -> str:
    """The name of the thing, and of the organization where that says more."""
    found: dict[bytes, str] = {}
    for _set, at, to in inside(der, *place[1:]):
        for _pair, first, last in inside(der, at, to):
            kind, value = list(inside(der, first, last))[:2]
            found.setdefault(der[kind[1] : kind[2]], der[value[1] : value[2]].decode("utf-8", "replace"))
    common, organization = found.get(_COMMON_NAME, ""), found.get(_ORGANIZATION, "")
    if common and organization and organization not in common:
        return f"{common} ({organization})"
    return common or organization or "a nameless authority"


def _extensions(der: bytes, fields: t.Sequence[tuple[int, int, int]]) -> t.Iterator[tuple[bytes, bytes]]:
    for tag, start, _end in fields:
        if tag != _EXTENSIONS:
            continue
        _tag, first, last = element(der, start)
        for _one, at, to in inside(der, first, last):
            name, *_critical, value = inside(der, at, to)
            if value[0] == _OCTETS:
                yield der[name[1] : name[2]], der[value[1] : value[2]]


def _alternatives(data: bytes) -> t.Iterator[str]:
    if not data:
        return
    _tag, start, end = element(data, 0)
    for tag, at, to in inside(data, start, end):
        if tag == _DNS_NAME:
            yield data[at:to].decode("ascii", "replace")
