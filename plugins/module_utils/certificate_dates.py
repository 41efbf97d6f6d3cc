# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Until when certificates are valid, read from their files without any program or library for it."""

from __future__ import annotations

import binascii
import os
import re
import ssl
import typing as t
from datetime import datetime, timezone

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.der import SEQUENCE, element, inside, moment

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION = 0xA0
_SUFFIXES = (".crt", ".pem", ".cer")


def end_of(der: bytes) -> datetime:
    """The end of the validity; it is the second time of the one sequence that holds two times."""
    _tag, start, _end = element(der, 0)
    _tag, start, end = element(der, start)
    fields = [field for field in inside(der, start, end) if field[0] != _VERSION]
    # Serial number, algorithm, issuer, validity.
    tag, start, end = fields[3]
    if tag != SEQUENCE:
        raise ValueError("the certificate has no validity")
    _beginning, (tag, start, end) = inside(der, start, end)
    return moment(tag, der[start:end])


def in_file(path: str) -> datetime | None:
    """The end of the first certificate in a file, which in a chain is the server's own; None where there is none."""
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            match = _PEM.search(stream.read())
        return end_of(ssl.PEM_cert_to_DER_cert(match.group(0))) if match else None
    except (OSError, ValueError, IndexError, binascii.Error):
        return None


def below(bwdata: str) -> list[dict[str, t.Any]]:
    """All certificates of the server itself and the authorities that its services trust, those that end first first."""
    found = []
    for folder in ("ssl", "letsencrypt/live", "ca-certificates"):
        for place, _folders, names in os.walk(os.path.join(bwdata, folder)):
            for name in names:
                path = os.path.join(place, name)
                end = in_file(path) if name.endswith(_SUFFIXES) else None
                if end is not None:
                    days = (end - datetime.now(timezone.utc)).total_seconds() / 86400
                    found.append(
                        {"path": path, "ends": end.strftime("%Y-%m-%dT%H:%M:%SZ"), "days_left": int(days // 1)}
                    )
    return sorted(found, key=lambda entry: (entry["days_left"], entry["path"]))
