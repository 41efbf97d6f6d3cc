# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which firewall closes this server."""

from __future__ import annotations

from .firewalld import Firewalld
from .iptables import Iptables
from .model import Backend, EgressError, Run
from .nftables import Nftables
from .none import NoBackend
from .ufw import Ufw

# Those that manage the rules of others come before those.
ORDER: tuple[type[Backend], ...] = (Firewalld, Ufw, Nftables, Iptables, NoBackend)
AUTO = "auto"


def detect(run: Run) -> Backend:
    """The first that is active."""
    return next(backend for backend in every(run) if backend.active())


def every(run: Run) -> list[Backend]:
    """One of each."""
    return [kind(run) for kind in ORDER]


def make(name: str, run: Run) -> Backend:
    """The one of this name, or the one that is active."""
    if name == AUTO:
        return detect(run)
    for backend in every(run):
        if backend.name == name:
            return backend
    raise EgressError(
        f"There is no backend {name!r}.", next_step=f"Give one of {', '.join(kind.name for kind in ORDER)}."
    )
