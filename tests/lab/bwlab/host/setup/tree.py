"""The bwdata folder as the real program sees it: mounted at /bitwarden, with .NET's rules for opening files."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

UTF8_BOM = b"\xef\xbb\xbf"
BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (UTF8_BOM, "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


class Abort(Exception):
    """An exception that nobody catches: the real program is ended with SIGABRT."""

    exit_code = 134

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"Unhandled exception. {kind}: {message}")


def decode(raw: bytes) -> str:
    """Text of a file: a byte order mark at the start decides, bytes that fit nothing become U+FFFD."""
    for mark, encoding in BOMS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(encoding, "replace")
    return raw.decode("utf-8", "replace")


class Tree:
    """Reads and writes below one bwdata folder.

    `acting_uid` is the user that the container's entrypoint steps down to; when the lab runs as root the kernel would
    not refuse what that user may not do, so the mode bits are looked at here.
    """

    def __init__(self, root: Path, acting_uid: int | None = None) -> None:
        self.root = root
        self.acting_uid = acting_uid

    def path(self, name: str) -> Path:
        return self.root / name

    def is_file(self, name: str) -> bool:
        """A symbolic link that leads nowhere counts as a file, a folder does not."""
        path = self.path(name)
        return os.path.lexists(path) and not path.is_dir()

    def make_directory(self, name: str) -> None:
        self.path(name).mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> str:
        fd = self._open(name, os.O_RDONLY, 4)
        with os.fdopen(fd, "rb") as stream:
            return decode(stream.read())

    def write(self, name: str, content: str | bytes, mode: int | None = None) -> None:
        """In place: the same inode, owner and links; no temporary file and no copy."""
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        new = not self.path(name).exists()
        fd = self._open(name, os.O_WRONLY | os.O_CREAT, 2)
        try:
            if new and self.acting_uid and os.geteuid() == 0:
                os.fchown(fd, self.acting_uid, -1)
            os.ftruncate(fd, 0)
            while data:
                data = data[os.write(fd, data) :]
        finally:
            os.close(fd)
        if mode is not None:
            self._chmod(name, mode)

    def _chmod(self, name: str, mode: int) -> None:
        """A child process does it in the real program, so a failure is only a line on standard error."""
        try:
            self.path(name).chmod(mode)
        except PermissionError:
            print(f"chmod: changing permissions of '/bitwarden/{name}': Operation not permitted", file=sys.stderr)

    def _open(self, name: str, flags: int, bit: int) -> int:
        path = self.path(name)
        try:
            self._judge(path, bit)
            if path.is_dir():
                raise PermissionError
            fd = os.open(path, flags | os.O_CLOEXEC, 0o666)
        except PermissionError:
            raise Abort(
                "System.UnauthorizedAccessException", f"Access to the path '/bitwarden/{name}' is denied."
            ) from None
        except FileNotFoundError:
            raise Abort("System.IO.FileNotFoundException", f"Could not find file '/bitwarden/{name}'.") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise Abort(
                "System.IO.IOException",
                f"The process cannot access the file '/bitwarden/{name}' because it is being used by another process.",
            ) from None
        return fd

    def _judge(self, path: Path, bit: int) -> None:
        if not self.acting_uid or os.geteuid() != 0 or not path.exists():
            return
        status = path.stat()
        shift = 6 if status.st_uid == self.acting_uid else 0
        if not status.st_mode & (bit << shift):
            raise PermissionError
