# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One end for everything: no step may take what the others still need."""

from __future__ import annotations

import time
from dataclasses import dataclass

_LEAST = 0.25


class OutOfTimeError(Exception):
    """There is no time left."""


@dataclass(frozen=True)
class Deadline:
    """When the whole probe ends, and how long a step of it may take."""

    end: float
    whole: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """From now on."""
        return cls(time.monotonic() + seconds, seconds)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.end - time.monotonic()

    def step(self, share: float) -> float:
        """Seconds for a step that may take this share of the whole; raises where too little is left to say anything."""
        wanted, left = share * self.whole, self.left
        if left < _LEAST * wanted:
            raise OutOfTimeError("the time of the probe was over")
        return min(left, wanted)
