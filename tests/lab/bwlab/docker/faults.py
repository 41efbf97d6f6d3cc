# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which faults a real engine can have; what has to be done to a program of the other engine cannot be done here."""

from __future__ import annotations

HOST = (
    "registry_down", "registry_down_after_stop", "registry_slow", "image_missing", "setup_image_missing",
    "release_download_fails", "compose_up_fails", "script_fails_after_up", "container_crashes",
    "container_crashes_with", "release_does_not_start", "slow_start", "start_never_ready", "database_backup_fails",
    "database_restore_fails",
)  # fmt: skip
CLOUD = (
    "cloud_unreachable", "cloud_status", "cloud_timeout", "truncated_body", "not_json", "connection_reset",
    "tls_unknown_ca", "tls_wrong_host", "tls_expired", "wrong_installation", "license_expired",
    "license_too_many_seats", "license_tampered", "license_of_another_organization", "version_not_supported",
    "clock_skew", "proxy_drops_get_bodies", "key_rotated_elsewhere", "organization_disabled",
    "sync_says_ok_but_did_nothing",
)  # fmt: skip
KNOWN = frozenset((*HOST, *CLOUD))


# What a door can do; the other ways of failing are a network's or a name server's.
REGISTRY_HOW = ("denied", "limit", "timeout")


def refusal(name: str, options: dict[str, str]) -> str | None:
    """Why a fault cannot be set; None: it can."""
    if name not in KNOWN:
        return (
            f"A lab on a real Docker engine cannot have the fault '{name}': on a managed host do the thing itself, "
            f"or use --engine process. It can have: {', '.join(sorted(KNOWN))}"
        )
    how = options.get("how")
    if name.startswith("registry_down") and how is not None and how not in REGISTRY_HOW:
        return f"On a real Docker engine {name} knows how={', how='.join(REGISTRY_HOW)}, or hangs up without how="
    if name == "release_download_fails" and how is not None:
        return "On a real Docker engine release_download_fails knows status=, not how="
    if name.startswith("tls_") and options.get("persona", "").startswith("server:"):
        return "On a real Docker engine the front door of a server is its own nginx: change bwdata/ssl on the host"
    if "command" in options:
        return "On a real Docker engine nobody stands between a host's docker program and its daemon: no command="
    return None
