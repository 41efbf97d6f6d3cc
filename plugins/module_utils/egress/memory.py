# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The addresses of each name, with the time when DNS last told of them."""

from __future__ import annotations

import ipaddress
import typing as t

from .resolver import Answer, Key


class Memory:
    """Addresses of a CDN come and go: each stays for a while after it was last seen, and while DNS is silent."""

    def __init__(self, seen: t.Mapping[str, t.Mapping[str, float]] | None = None) -> None:
        self.seen: dict[str, dict[str, float]] = {name: dict(found) for name, found in (seen or {}).items()}

    @classmethod
    def from_json(cls, found: t.Any) -> Memory:
        """What the file holds, as far as it makes sense: DNS gives the rest again."""
        memory = cls()
        for name, addresses in found.items() if isinstance(found, dict) else ():
            for address, when in addresses.items() if isinstance(addresses, dict) else ():
                if _version(address) and isinstance(when, (int, float)):
                    memory.seen.setdefault(name, {})[address] = float(when)
        return memory

    def addresses(self, name: str) -> list[str]:
        """What is known of a name."""
        return sorted(self.seen.get(name, {}))

    def update(self, answers: t.Mapping[Key, Answer], now: float, lifetime: float) -> None:
        """Adds what was answered, and forgets what was not seen for longer than the lifetime.

        Only a name that still has addresses is believed to have lost others: a resolver without an
        uplink, or one that lies, would otherwise close everything.
        """
        alive = {name for (name, _version), answer in answers.items() if answer.addresses}
        for (name, version), answer in answers.items():
            known = self.seen.setdefault(name, {})
            for address, when in list(known.items()):
                # A clock that was put back must not keep an address forever.
                known[address] = min(when, now)
                old = now - when > lifetime
                if old and name in alive and answer.answered and _version(address) == version:
                    del known[address]
            known.update(dict.fromkeys(answer.addresses, now))

    def keep_only(self, names: t.Collection[str]) -> None:
        """Forgets names that nobody wants any more."""
        self.seen = {name: found for name, found in self.seen.items() if name in names and found}


def _version(address: str) -> int | None:
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return None
