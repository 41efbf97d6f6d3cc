"""The hosts of the world over real ssh, which their firewalls let in, and what was noted on the way."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
WORLD, SEEN = EPHEMERAL / "world", EPHEMERAL / "seen"
BACKENDS = sorted(json.loads((WORLD / "world.json").read_text())["hosts"])
PATHS = ("host", "containers", "setup")
SETTLE_SECONDS = 20.0
REACH = "python3 /usr/local/sbin/world-reach"
Targets = tuple[str, ...]
Reach = Callable[[str, Targets], dict[str, str]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test is about one host; of the host without a firewall, those that ask for `anybody` or `untouched`."""
    if "anybody" in metafunc.fixturenames:
        metafunc.parametrize("anybody", BACKENDS)
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", [name for name in BACKENDS if name != "none"])
    if "untouched" in metafunc.fixturenames:
        metafunc.parametrize("untouched", [name for name in BACKENDS if name == "none"])
    if "path" in metafunc.fixturenames:
        metafunc.parametrize("path", PATHS)


@pytest.fixture
def host(backend: str) -> Host:
    return testinfra.get_host(f"ssh://{backend}", ssh_config=str(WORLD / "ssh" / "config"), sudo=True)


@pytest.fixture
def reach(host: Host) -> Reach:
    """What real TCP connects to port 443 from a path meet at each target: one word where both versions of IP agree."""

    def ask(path: str, targets: Targets) -> dict[str, str]:
        versions = {name: [6] if ":" in name else [4] if name[-1].isdigit() else [4, 6] for name in targets}
        checks = [[name, 443, version] for name in targets for version in versions[name]]
        words = json.loads(host.check_output(f"echo %s | {REACH} %s", json.dumps(checks), path))
        told = [(name, word) for (name, _port, _version), word in zip(checks, words, strict=True)]
        return {name: "/".join(sorted({word for other, word in told if other == name})) for name in targets}

    return ask


@pytest.fixture
def becomes(reach: Reach) -> Callable[[str, Targets, str], None]:
    """After a boot the addresses of containers take a moment; Docker, after a reload of the firewall, too."""

    def wait(path: str, targets: Targets, word: str) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while (found := reach(path, targets)) != dict.fromkeys(targets, word):
            assert time.monotonic() < deadline, found

    return wait


@pytest.fixture
def noted() -> Callable[[str], str]:
    """What was noted under a name."""
    return lambda name: (SEEN / name).read_text()
