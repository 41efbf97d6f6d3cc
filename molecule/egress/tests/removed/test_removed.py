"""Rules and files of each firewall are as they were, and nothing of the role is left."""

from __future__ import annotations

from collections.abc import Callable

from testinfra.host import Host


def test_every_rule_and_file_is_as_before(anybody: str, noted: Callable[[str], str]) -> None:
    assert noted(f"after-{anybody}.txt").splitlines() == noted(f"before-{anybody}.txt").splitlines()


def test_nothing_is_left(host: Host) -> None:
    for path in ("/usr/local/lib/bitwarden-egress", "/var/lib/bitwarden-egress"):
        assert not host.file(path).exists
    assert host.run("systemctl list-unit-files --no-legend 'bitwarden-egress*'").stdout == ""
