# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which version of Bitwarden each feature needs, and what is no Bitwarden at all."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError


@dataclass(frozen=True)
class Feature:
    """What can be done from a version on."""

    version: str
    what: str


FEATURES: dict[str, Feature] = {
    # Regions came with it; nothing older is worked with.
    "server": Feature("2023.8.0", "work with a region of the cloud"),
    "license_token": Feature("2025.1.0", "check a license by its token"),
    "admin_sponsorships": Feature("2025.4.3", "let administrators offer sponsorships"),
    "list_sponsorships": Feature("2025.5.0", "list the sponsorships that administrators offered"),
    "revoke_sponsorship_by_name": Feature("2025.5.2", "revoke a sponsorship by its name"),
}


def is_new_enough(feature: str, version: str) -> bool:
    """Whether a server of that version has the feature; one that names no version has none."""
    needed = max(_numbers(FEATURES[feature].version), _numbers(FEATURES["server"].version))
    return _numbers(version) >= needed


def at_least(version: str, needed: str) -> bool:
    """Whether a version is as new as another."""
    return _numbers(version) >= _numbers(needed)


def require(feature: str, version: str, server: str) -> None:
    """Refuse a server that is too old, and name the version that it takes."""
    if is_new_enough(feature, version):
        return
    needed = FEATURES[feature]
    raise BitwardenError(
        f"{server} runs Bitwarden {version or 'of an unknown version'}, which cannot {needed.what}: "
        f"{needed.version} or newer is needed.",
        next_step="Back up bwdata, update the server (./bitwarden.sh updateself, then update), and try again.",
        details={"version": version, "needed": needed.version},
    )


def require_bitwarden(config: dict[str, t.Any] | None, server: str, api: str) -> None:
    """Refuse whatever does not describe itself as Bitwarden's own server does."""
    if config is None or not isinstance(config.get("version"), str):
        raise BitwardenError(
            f"There is no Bitwarden at this address: GET {api}/config does not answer as {server} should.",
            next_step="Correct the URL, or let the proxy or firewall on the way pass requests to the API.",
            details={"endpoint": f"GET {api}/config"},
        )
    refuse_other_makers(config, api)


def refuse_other_makers(config: dict[str, t.Any] | None, api: str) -> None:
    """Refuse servers of other makers, such as Vaultwarden, which say so in their configuration."""
    other = (config or {}).get("server")
    if other is None:
        return
    name = other.get("name") if isinstance(other, dict) else other
    raise BitwardenError(
        f"{api} is {str(name)[:80]}, not a server of Bitwarden's own.",
        next_step="This collection works with Bitwarden's own servers only; correct the URL.",
        details={"endpoint": f"GET {api}/config"},
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,9}", version)[:3])
