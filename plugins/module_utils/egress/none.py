# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No firewall of this server's own, or none that may be touched: tells what a network team has to open."""

from __future__ import annotations

import typing as t

from .model import Backend, Opening, Wanted


class NoBackend(Backend):
    """Changes nothing."""

    name = "none"
    durable = True

    def active(self) -> bool:
        """It serves where no other does."""
        return True

    def refusals(self, wanted: Wanted) -> list[str]:
        """It can always tell."""
        del wanted
        return []

    def plan(self, openings: t.Sequence[Opening]) -> str:
        """It has no objects."""
        del openings
        return ""

    def current(self) -> str:
        """It has no objects."""
        return ""

    def apply(self, openings: t.Sequence[Opening]) -> None:
        """Nothing to do."""

    def remove(self) -> None:
        """Nothing to do."""
