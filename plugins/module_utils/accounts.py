# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs programs as the user that owns a Bitwarden installation, within a limit of time."""

from __future__ import annotations

import os
import pwd
import shlex
import typing as t
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

# Exit statuses of timeout(1).
_TIMED_OUT, _CANNOT_RUN, _NOT_FOUND, _KILLED = 124, 126, 127, 137
_GRACE = 5


class Runner(t.Protocol):
    """What C(AnsibleModule.run_command) is."""

    def __call__(
        self,
        args: list[str],
        *,
        cwd: str | None,
        environ_update: dict[str, str],
        errors: str,
        expand_user_and_vars: bool,
        handle_exceptions: bool,
    ) -> tuple[int, str, str]:
        """Run the program; its exit status and what it printed."""


@dataclass(frozen=True)
class Answer:
    """What came of a program."""

    status: int
    stdout: str
    stderr: str
    # What it printed, byte for byte: a file need not be text.
    raw: bytes = field(default=b"", compare=False, repr=False)

    @property
    def said(self) -> str:
        """Its complaints, or else whatever it printed."""
        return self.stderr.strip() or self.stdout.strip() or f"exit status {self.status}"


@dataclass(frozen=True)
class Account:
    """A user to run programs as; without a name the one that this process runs as."""

    runner: Runner
    name: str | None = None
    uid: int = -1
    gid: int = -1
    home: str = ""

    @property
    def label(self) -> str:
        """The name to show."""
        if self.name is not None:
            return self.name
        try:
            return pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            return str(os.geteuid())

    def _prefix(self, timeout: float, redirections: str, first_on_path: str) -> list[str]:
        """What goes before the program.

        Compose must not be turned to other files or another project by the caller's environment. And timeout(1) ends
        the children of a program with it, which a time limit of Python's own does not. The shell gives the input: a
        program that ends without reading it would break the pipe of whoever writes it.
        """
        unwanted = [name for name in sorted(os.environ) if name.startswith("COMPOSE_")]
        words = ["env", *(part for name in unwanted for part in ("-u", name))]
        if first_on_path:
            words.append(f"PATH={first_on_path}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
        if self.name is not None:
            words += [f"HOME={self.home}", f"USER={self.name}", f"LOGNAME={self.name}"]
            groups = "--init-groups" if self.name != str(self.uid) else "--clear-groups"
            words += ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", groups, "--"]
        words += ["timeout", f"--kill-after={_GRACE}", f"{timeout:g}"]
        return [*words, "sh", "-c", f'exec "$@" {redirections}', "sh"]

    def run(
        self,
        command: t.Sequence[str],
        *,
        timeout: float,
        cwd: str | None = None,
        answer: str = "",
        one_output: bool = False,
        output: str = "",
        first_on_path: str = "",
    ) -> Answer:
        """Runs a program to its end, or ends it with all its children when its time is over (seconds).

        C(answer) is a line for it to read; without one it reads nothing.
        With C(one_output) its complaints stand among the rest of the output, as a person would see them. Where that
        goes to a file, C(output), the program also goes on when its caller has died: nobody would read its pipe.
        """
        redirections = f">{shlex.quote(output)} " if output else ""
        redirections += "2>&1 " if one_output else ""
        redirections += f"<<END\n{answer}\nEND\n" if answer else "</dev/null"
        try:
            status, stdout, stderr = self.runner(
                [*self._prefix(timeout, redirections, first_on_path), *command],
                cwd=cwd,
                environ_update={},
                errors="surrogateescape",
                expand_user_and_vars=False,
                handle_exceptions=False,
            )
        except OSError as error:
            raise BitwardenError(
                f"{command[0]} cannot be run: {error}.", next_step="Check that coreutils (env, timeout) are on PATH."
            ) from error
        if output:
            stdout += _content(output)
        said = stdout if one_output else stderr
        if status in {_CANNOT_RUN, _NOT_FOUND} and said.startswith(("timeout: ", "setpriv: ", "env: ", "sh: ")):
            raise BitwardenError(
                f"{command[0]} cannot be run as user {self.label}: {said.strip()}.",
                next_step="Check that the file exists, is executable (chmod u+x) and can be reached by that user.",
            )
        if status in {_TIMED_OUT, _KILLED}:
            stderr += f"\n{command[0]} did not end within {timeout:g} seconds and was ended.\n"
        raw = stdout.encode("utf-8", "surrogateescape")
        return Answer(status, raw.decode("utf-8", "replace"), _readable(stderr), raw)


def _content(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read()


def _readable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def owner_of(path: str, runner: Runner) -> Account:
    """The account to drive an installation with: its owner, where this process is root and the owner is not."""
    status = os.stat(path)
    if os.geteuid() != 0 or status.st_uid == 0:
        return Account(runner)
    try:
        user = pwd.getpwuid(status.st_uid)
    except KeyError:
        return Account(runner, str(status.st_uid), status.st_uid, status.st_gid, os.path.dirname(path))
    return Account(runner, user.pw_name, status.st_uid, user.pw_gid, user.pw_dir)
