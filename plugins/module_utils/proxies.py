# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps a proxy from an env file that would stand between the server's own services."""

from __future__ import annotations

import typing as t

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.dotenv import Document, EnvFileError

_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})
# The server reads exactly these, and the second only where the first is not set.
_EXEMPTIONS = ("no_proxy", "NO_PROXY")
# The services that fetch something from each other; and the one name that all programs in a container use.
SERVICES = ("identity", "api", "admin", "notifications", "localhost")


def check(document: Document, needs: t.Sequence[str], name: str) -> None:
    """Refuses a proxy without an exemption for the names that the services call each other by."""
    values = {statement.key: statement.value for statement in document.statements if not statement.inherited}
    given = sorted(key for key, value in values.items() if key.lower() in _PROXIES and value.strip())
    exempt = next((values[key] for key in _EXEMPTIONS if key in values), "")
    names = {part.strip().lower() for part in exempt.split(",")}
    missing = [need for need in needs if need.lower() not in names]
    if given and missing:
        raise EnvFileError(
            f"{name} would hold a proxy ({', '.join(given)}) without no_proxy for {', '.join(missing)}. The services "
            "would ask each other through that proxy, and every request to the API would be answered with 401. "
            "Nothing was changed.",
            next_step=f"Set no_proxy to a list that names at least {','.join(needs)}.",
        )
