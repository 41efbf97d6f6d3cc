# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Something that one of several threads finds out and others wait for."""

from __future__ import annotations

import threading
import typing as t

T = t.TypeVar("T")


class Promise(t.Generic[T]):
    """Kept once; given up when all who could keep it have left."""

    def __init__(self, makers: int) -> None:
        self._changed = threading.Condition()
        self._makers = makers
        self._left: set[int] = set()
        self._value: T | None = None

    def keep(self, value: T) -> None:
        """The first value stays."""
        with self._changed:
            if self._value is None:
                self._value = value
            self._changed.notify_all()

    def leave(self, maker: object) -> None:
        """One of the makers is done; it may say so more than once."""
        with self._changed:
            self._left.add(id(maker))
            self._changed.notify_all()

    def wait(self, seconds: float) -> T | None:
        """The value, or None where nobody found it."""
        with self._changed:
            self._changed.wait_for(lambda: self._value is not None or len(self._left) >= self._makers, seconds)
            return self._value
