"""What the cases of all three files need: a bwdata folder, a run of Setup in it, and comparing with placeholders."""

from __future__ import annotations

import io
import os
import re
import resource
import signal
import stat
from collections.abc import Iterable
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from bwlab.host.setup import Setup, run
from bwlab.host.setup.install import Fetch
from bwlab.host.setup.program import no_network
from bwlab.host.setup.tree import Tree

Case = dict[str, Any]
VERSIONS = ["-os", "lin", "-corev", "2026.7.2", "-webv", "2026.7.1", "-keyconnectorv", "2026.7.0"]
UPDATE = ["-update", "1", *VERSIONS]
# The entrypoint of the container makes these before it calls Setup.
ENTRYPOINT_FOLDERS = ("ca-certificates", "docker", "env", "identity", "letsencrypt", "nginx", "ssl")
GENERATED = re.compile(r"<generated:(\d+)>")


class Endless(Exception):
    """The program asks for ever; a test stops it after a number of questions."""


class Patience(io.StringIO):
    """Standard input that is at its end and counts how often it is asked."""

    def __init__(self, text: str, limit: int = 20) -> None:
        super().__init__(text)
        self.left = limit

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]  # typeshed gives io.StringIO two parents
        line = super().readline(size)
        self.left -= not line
        if self.left < 0:
            raise Endless
        return line


@dataclass
class Result:
    exit_code: int
    stdout: str
    stderr: str


def make_bwdata(root: Path) -> None:
    root.mkdir(parents=True)
    for name in ENTRYPOINT_FOLDERS:
        (root / name).mkdir()


def run_setup(
    root: Path,
    arguments: Iterable[str],
    *,
    stdin: str = "",
    fetch: Fetch = no_network,
    environment: dict[str, str] | None = None,
    working_directory: Path | None = None,
) -> Result:
    out, err = io.StringIO(), io.StringIO()
    setup = Setup(Tree(root), Patience(stdin), out, fetch, environment or {}, working_directory)
    with redirect_stderr(err):
        try:
            code = run(setup, list(arguments))
        except Endless:
            code = 124
    return Result(code, out.getvalue(), err.getvalue())


def run_apart(root: Path, arguments: Iterable[str], *, uid: int | None = None, file_size: int | None = None) -> Result:
    """In a child process, as another user or with a limit on the size of files."""
    scratch = root.parent
    paths = [scratch / "stdout", scratch / "stderr"]
    for path in paths:
        path.write_text("")
        path.chmod(0o666)
    pid = os.fork()
    if pid == 0:
        _child(root, list(arguments), paths, uid, file_size)
    _unused, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return Result(code if code >= 0 else 128 - code, paths[0].read_text(), paths[1].read_text())


def _child(root: Path, arguments: list[str], paths: list[Path], uid: int | None, file_size: int | None) -> None:
    code = 1
    try:
        with paths[0].open("w", 1) as out, paths[1].open("w", 1) as err, redirect_stderr(err):
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            if file_size is not None:
                # Python ignores the signal that ends any other program.
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
            code = run(Setup(Tree(root), _nothing(), out, environment={}), arguments)
    finally:
        os._exit(code)


def _nothing() -> TextIO:
    return io.StringIO("")


def mode(path: Path) -> str | None:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}" if path.exists() else None


def same_text(expected: str, found: str) -> bool:
    """With `<generated:N>` for N random letters and digits."""
    # The pieces between the placeholders alternate with the lengths.
    parts = GENERATED.split(expected)
    pattern = "".join(f"[A-Za-z0-9]{{{part}}}" if number % 2 else re.escape(part) for number, part in enumerate(parts))
    return re.fullmatch(pattern, found) is not None


def hide_path(text: str) -> str:
    return text.replace("/bitwarden/", "<bwdata>/")


def first_line_alike(expected: str, text: str) -> bool:
    """The same exception, and its words unless they tell a place in config.yml: the lab's comments differ."""
    found = hide_path(text).partition("\n")[0]
    if "YamlException" in expected:
        return _without_places(found).partition(": ")[0] == _without_places(expected).partition(": ")[0]
    return found == expected


def _without_places(text: str) -> str:
    return re.sub(r"\(Line: .*?\)", "(place)", text)


def config_values(text: str) -> dict[str, str]:
    """The lines of config.yml as they are written; an empty string and nothing are the same."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"([a-z_]+):\s*(.*?)\s*", line):
            values[match.group(1)] = "" if match.group(2) in ("''", '""') else match.group(2)
    return values


def env_values(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def set_values(text: str, values: dict[str, str]) -> str:
    """config.yml with other values; they are YAML as it stands in the file."""
    kept = dict(values)
    lines = []
    for line in text.splitlines():
        key = line.partition(":")[0]
        lines.append(f"{key}: {kept.pop(key)}" if key in kept else line)
    lines += [f"# an own comment\n{key}: {value}" for key, value in kept.items()]
    return "\n".join(lines) + "\n"


def differ(differences: list[str], what: str, expected: object, found: object) -> None:
    if expected != found:
        differences.append(f"{what}: expected {expected!r}, found {found!r}")
