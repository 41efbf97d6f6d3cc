# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that the module, the timer, the boot and the undo share, and the lock between them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import typing as t

from .model import EgressError

DIRECTORY = "/var/lib/bitwarden-egress"
CONFIG, MEMORY, PREVIOUS, UNDONE = "config.json", "addresses.json", "previous.json", "undone.json"
LOCK_TIMEOUT = 60.0


class State:
    """A directory for root alone; a file is replaced at once or not at all."""

    def __init__(self, directory: str = DIRECTORY) -> None:
        self.directory = directory

    @contextlib.contextmanager
    def locked(self, timeout: float = LOCK_TIMEOUT) -> t.Iterator[None]:
        """Keeps the others out."""
        self._make()
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._wait(descriptor, timeout)
            yield
        finally:
            os.close(descriptor)

    def _make(self) -> None:
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            os.chmod(self.directory, 0o700)
        except OSError as error:
            raise EgressError(
                f"The directory {self.directory} cannot be made: {error.strerror}.",
                next_step="Become root, and check that the file system is not read-only.",
            ) from error

    def _wait(self, descriptor: int, timeout: float) -> None:
        end = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise EgressError(
                        f"Another run has held the lock on {self.directory} for {timeout:g} seconds.",
                        next_step=f"Wait for it to end; fuser -v {self.directory} shows it.",
                    ) from error
                time.sleep(0.05)

    def read(self, name: str) -> t.Any:
        """What the file holds, None where it is not there."""
        path = os.path.join(self.directory, name)
        try:
            with open(path, encoding="utf-8") as stream:
                return json.load(stream)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise EgressError(
                f"{path} cannot be read: {error}.", next_step="Become root; or remove the file and run the role again."
            ) from error

    def write(self, name: str, content: t.Any) -> None:
        """Puts the content in the place of the old one."""
        self._make()
        path = os.path.join(self.directory, name)
        temporary = f"{path}.tmp"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(content, stream, indent=1, sort_keys=True)
                stream.write("\n")
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except OSError as error:
            raise EgressError(
                f"{path} cannot be written: {error.strerror}. It is as it was.",
                next_step=f"Free space on the file system of {self.directory} (df -h), or check that it is writable.",
            ) from error

    def delete(self, *names: str) -> None:
        """Removes files that may be gone already."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.directory, name))

    def tidy(self) -> None:
        """Removes the directory where nothing is left in it."""
        with contextlib.suppress(OSError):
            os.rmdir(self.directory)

    def exists(self) -> bool:
        """Whether anything was ever recorded."""
        return os.path.isdir(self.directory)
