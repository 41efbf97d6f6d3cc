# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Under which entry a verdict of egress_probe stands: the one that the server's log would be explained by."""

from __future__ import annotations

# Nothing was found out: neither the way is open nor is it closed.
NOTHING_FOUND = frozenset({"not_asked", "out_of_time"})

REMEDIES = {
    "dns_failed": "log-dns",
    "dns_no_such_name": "log-dns",
    "dns_unusable": "log-dns",
    "timed_out": "log-no-answer",
    "no_answer": "log-no-answer",
    "some_addresses_dead": "log-no-answer",
    "refused": "log-cut-or-refused",
    "rejected": "log-cut-or-refused",
    "no_route": "log-cut-or-refused",
    "reset": "log-cut-or-refused",
    "reset_in_tls": "log-cut-or-refused",
    "proxy_refused": "log-cut-or-refused",
    "proxy_failed": "log-cut-or-refused",
    "proxy_unreachable": "log-other-host",
    "proxy_needs_login": "log-other-host",
    "tls_unknown_authority": "log-unknown-authority",
    "tls_authority_missing": "log-unknown-authority",
    "tls_wrong_name": "log-certificate-name",
    "tls_expired": "log-certificate-date",
    "captive_portal": "log-answer-is-no-json",
    "filtered": "log-answer-is-no-json",
    "not_bitwarden": "log-answer-is-no-json",
    "answer_cut": "log-answer-is-no-json",
    "server_error": "log-no-token-at-cloud",
    "body_dropped": "log-body-dropped",
    # The log names no more than the exception.
    "tls_failed": "log-cloud-not-reached",
    "not_tls": "log-cloud-not-reached",
    "clock_off": "server-clock-behind",
    "unknown_installation": "log-installation-refused",
    "wrong_region": "log-installation-refused",
    "installation_disabled": "log-installation-refused",
    "wrong_installation_key": "log-installation-refused",
}
# The server asks the identity service first, and says other things about it.
_AT_IDENTITY = {
    "captive_portal": "log-identity-is-not-bitwarden",
    "filtered": "log-identity-in-trouble",
    "not_bitwarden": "log-identity-is-not-bitwarden",
    "server_error": "log-identity-in-trouble",
}
# For rows that egress_probe has not made.
_ANY = "log-cloud-not-reached"


def remedy(kind: str, verdict: str) -> str:
    """The key of the entry for a verdict about an endpoint of that kind."""
    special = _AT_IDENTITY.get(verdict) if kind == "identity" else None
    return special or REMEDIES.get(verdict, _ANY)
