# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host of a world, closed by its real firewall, and a backend that acts on it."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import PATHS
from bwlab.egress import closing, names
from bwlab.egress.world import World

PORT = 443
LISTED, MOVED, KEPT, OTHER = (names.addresses(last) for last in (0x51, 0x52, 0x53, 0x40))
SETTLE_SECONDS = 15.0
Seen = TypeVar("Seen")


class Host:
    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.calls: list[list[str]] = []

    def run(self, argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        self.calls.append(argv)
        command = ["docker", "--host", f"unix://{self.world.outer.socket}", "exec", "--interactive", self.name]
        done = subprocess.run([*command, *argv], input=stdin, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def sh(self, script: str) -> str:
        return self.world.sh(self.name, script)

    def reach(self, addresses: Sequence[str], paths: Sequence[str] = PATHS) -> dict[tuple[str, int], str]:
        """By path and version of IP."""
        found = {}
        for path in paths:
            told = self.world.reach(self.name, path, [(address, PORT, None) for address in addresses])
            found.update(
                {(path, 6 if ":" in address else 4): word for address, word in zip(addresses, told, strict=True)}
            )
        return found

    def becomes(self, addresses: Sequence[str], wanted: str, paths: Sequence[str] = PATHS) -> None:
        """Docker needs a moment after a reload or a boot to put its own rules back."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while set((found := self.reach(addresses, paths)).values()) != {wanted}:
            assert time.monotonic() < deadline, found
            time.sleep(0.3)

    @contextmanager
    def never_closed(self, *watched: tuple[str, str], seconds: float = 10.0) -> Iterator[None]:
        """From each path its address answers at every moment."""
        told: list[tuple[int, int]] = []

        def watch(path: str, address: str) -> None:
            told.append(self.world.watch(self.name, path, [address], PORT, seconds))

        watches = [threading.Thread(target=watch, args=one) for one in watched]
        for one in watches:
            one.start()
        time.sleep(0.7)
        yield
        in_time = all(one.is_alive() for one in watches)
        for one in watches:
            one.join()
        assert in_time, "the watch ended before the change did"
        assert [shut for _tried, shut in told] == [0] * len(watched), told
        assert min(tried for tried, _shut in told) > 20, told


def settles(look: Callable[[], Seen]) -> Seen:
    """What is there when nothing changes any more: after a reload Docker puts its own rules back in its own time."""
    deadline = time.monotonic() + 3 * SETTLE_SECONDS
    seen = look()
    while True:
        time.sleep(1.5)
        last, seen = seen, look()
        if seen == last:
            return seen
        assert time.monotonic() < deadline, seen


@contextmanager
def closed_host(name: str, extra: str = ":") -> Iterator[Host]:
    with tempfile.TemporaryDirectory(prefix="bwf-") as folder:
        world = World(Path(folder) / "world")
        try:
            world.up([name])
            closing.close(world, name)
            host = Host(world, name)
            host.sh(extra)
            host.becomes([*LISTED, *MOVED, *OTHER], "closed")
            yield host
        finally:
            world.down()
