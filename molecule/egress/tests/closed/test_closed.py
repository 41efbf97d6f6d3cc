"""Nothing comes out of a closed host, on no path and in no version of IP."""

from __future__ import annotations

from collections.abc import Callable

CLOSED = ("api.bitwarden.com", "identity.bitwarden.com", "other.example.com", "198.51.100.16", "2001:db8:100::10")


def test_nothing_is_open(becomes: Callable[[str, tuple[str, ...], str], None], path: str) -> None:
    becomes(path, CLOSED, "closed")
