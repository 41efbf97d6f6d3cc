"""A name that moved is followed by the timer, with no moment in which neither its old nor its new address was open."""

from __future__ import annotations

import json
from collections.abc import Callable

NEW = ("198.51.100.81", "2001:db8:100::51")


def test_the_new_addresses_are_open(reach: Callable[[str, tuple[str, ...]], dict[str, str]]) -> None:
    for path in ("host", "containers"):
        assert reach(path, NEW) == dict.fromkeys(NEW, "open")


def test_no_moment_was_closed(backend: str, noted: Callable[[str], str]) -> None:
    tried, shut, _longest = json.loads(noted(f"moved-{backend}.json"))[0]
    assert tried > 50
    assert shut == 0
