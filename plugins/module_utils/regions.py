# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The regions of the Bitwarden cloud, as data."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError


@dataclass(frozen=True)
class Region:
    """Where one cloud answers; C(vault) and C(push) may be empty in a region of one's own."""

    name: str
    vault: str
    api: str
    identity: str
    push: str

    def as_dict(self) -> dict[str, str]:
        """The region as the filter returns it."""
        return asdict(self)


class RegionError(BitwardenError):
    """A region that is not known or not complete."""


def _official(name: str, domain: str) -> Region:
    return Region(
        name=name,
        vault=f"https://vault.{domain}",
        api=f"https://api.{domain}",
        identity=f"https://identity.{domain}",
        push=f"https://push.{domain}",
    )


REGIONS: dict[str, Region] = {
    "US": _official("US", "bitwarden.com"),
    "EU": _official("EU", "bitwarden.eu"),
    "Gov": _official("Gov", "bitwarden-gov.com"),
}

_URLS = ("vault", "api", "identity", "push")
_REQUIRED = ("name", "api", "identity")
_HOW_TO = (
    "Name one of {known}, or give a region of your own as a dictionary with name, api and identity "
    "(and vault and push where they exist)."
)


def is_loopback(host: str | None) -> bool:
    """True for names and addresses that never leave this machine."""
    if host is None:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_official(url: str) -> bool:
    """Whether an address is the API or the identity service of one of Bitwarden's own regions."""
    host = urlsplit(url).hostname
    return any(host in {urlsplit(one.api).hostname, urlsplit(one.identity).hostname} for one in REGIONS.values())


def resolve(region: str | t.Mapping[str, t.Any]) -> Region:
    """The region of that name (in any case), or the one that a dictionary describes."""
    if isinstance(region, str):
        for name, known in REGIONS.items():
            if name.lower() == region.strip().lower():
                return known
        raise _error(f"The Bitwarden region {region!r} is not known.")
    if isinstance(region, t.Mapping):
        return _own_region(region)
    raise _error(f"A Bitwarden region is a name or a dictionary, not {type(region).__name__}.")


def _own_region(values: t.Mapping[str, t.Any]) -> Region:
    unknown = sorted(str(key) for key in values if key not in (*_URLS, "name"))
    if unknown:
        raise _error(f"The region has keys that no region has: {', '.join(unknown)}.")
    missing = [key for key in _REQUIRED if not values.get(key)]
    if missing:
        raise _error(f"The region lacks {', '.join(missing)}.")
    name = str(values["name"])
    return Region(name=name, **{key: _own_url(name, key, str(values.get(key) or "")) for key in _URLS})


def _own_url(region: str, key: str, url: str) -> str:
    if not url:
        return ""
    parts = urlsplit(url.strip())
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
    if not secure or not parts.hostname:
        raise _error(f"{key} of the region {region!r} must be a URL that begins with https://, not {url!r}.")
    if parts.query or parts.fragment or parts.username is not None:
        raise _error(f"{key} of the region {region!r} must be a plain URL without user, query and fragment.")
    path = parts.path.strip("/")
    # The server joins base URI and path as text, so a base URI with a path has to end in a slash.
    return f"{parts.scheme}://{parts.netloc}" + (f"/{path}/" if path else "")


def _error(message: str) -> RegionError:
    return RegionError(message, next_step=_HOW_TO.format(known=", ".join(REGIONS)))
