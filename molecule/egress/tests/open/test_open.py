"""What is listed is open, from each path in both versions of IP, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable

from testinfra.host import Host

LISTED = ("api.bitwarden.com", "identity.bitwarden.com", "push.bitwarden.com")
OTHER = ("other.example.com", "api.bitwarden.eu")


def test_what_is_listed_is_open(becomes: Callable[[str, tuple[str, ...], str], None], path: str) -> None:
    # Setup asks no push service.
    becomes(path, LISTED[:2] if path == "setup" else LISTED, "open")


def test_everything_else_is_closed(reach: Callable[[str, tuple[str, ...]], dict[str, str]], path: str) -> None:
    assert reach(path, OTHER) == dict.fromkeys(OTHER, "closed")


def test_services_keep_it(host: Host) -> None:
    for unit in ("bitwarden-egress.service", "bitwarden-egress-refresh.timer"):
        assert host.service(unit).is_enabled
        assert host.service(unit).is_running


def test_the_backend_is_the_one_that_closes(host: Host, backend: str) -> None:
    told = host.check_output("/usr/bin/python3 /usr/local/lib/bitwarden-egress/bitwarden-egress status")
    assert json.loads(told)["backend"] == backend


def test_a_host_that_nothing_closes_is_told_what_to_open(untouched: str, noted: Callable[[str], str]) -> None:
    assert "api.bitwarden.com" in noted(f"{untouched}.csv")
