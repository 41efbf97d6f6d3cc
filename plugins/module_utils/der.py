# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the binary form of certificates, element by element."""

from __future__ import annotations

import typing as t
from datetime import datetime, timezone

SEQUENCE, UTC_TIME, GENERALIZED_TIME = 0x30, 0x17, 0x18
_LONG = 0x80
# From this year on two digits mean the last century (RFC 5280).
_CENTURY = 50


def element(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start of the content and end of the element that begins there."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length & _LONG:
        size = length & ~_LONG
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    if start + length > len(data):
        raise ValueError("the certificate is cut off")
    return tag, start, start + length


def inside(data: bytes, start: int, end: int) -> t.Iterator[tuple[int, int, int]]:
    """The elements that stand between two places."""
    while start < end:
        found = element(data, start)
        yield found
        start = found[2]


def moment(tag: int, content: bytes) -> datetime:
    """A time; both forms that certificates have."""
    text = content.decode("ascii")
    if tag == UTC_TIME:
        text = ("19" if int(text[:2]) >= _CENTURY else "20") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError("this is no time")
    if len(text) != len("20260101000000Z") or not text.endswith("Z"):
        raise ValueError("this time is not understood")
    # strptime would load a module, which cannot be had any more inside a container.
    month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
    return datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=timezone.utc)
