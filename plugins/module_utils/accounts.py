# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs programs as the user that owns a Bitwarden installation."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

_TIMED_OUT = 124


@dataclass(frozen=True)
class Account:
    """A user to run programs as; without a name the one that this process runs as."""

    name: str | None = None
    uid: int = -1
    gid: int = -1
    groups: tuple[int, ...] = ()
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

    def environment(self) -> dict[str, str]:
        """The caller's environment, without what would turn compose to other files or another project."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("COMPOSE_")}
        if self.name is not None:
            environment.update({"HOME": self.home, "USER": self.name, "LOGNAME": self.name})
        return environment

    def run(
        self,
        command: t.Sequence[str],
        *,
        timeout: float,
        cwd: str | None = None,
        stdin: str = "",
        one_output: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end; one that does not end in time is ended with all its children.

        With C(one_output) its complaints stand among the rest of the output, as a person would see them.
        """
        options: dict[str, t.Any] = {"stderr": subprocess.STDOUT if one_output else subprocess.PIPE}
        if self.name is not None:
            options.update(user=self.uid, group=self.gid, extra_groups=list(self.groups))
        try:
            process = self._start(list(command), cwd, options)
        except OSError as error:
            raise BitwardenError(
                f"{command[0]} cannot be run as user {self.label}: {error.strerror}.",
                next_step="Check that the file exists, is executable (chmod u+x) and can be reached by that user.",
            ) from error
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            ended = f"\n{command[0]} did not end within {timeout:g} seconds and was ended.\n"
            return subprocess.CompletedProcess(list(command), _TIMED_OUT, stdout, (stderr or "") + ended)
        return subprocess.CompletedProcess(list(command), process.returncode, stdout, stderr or "")

    def _start(self, command: list[str], cwd: str | None, options: dict[str, t.Any]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=cwd,
            env=self.environment(),
            start_new_session=True,
            **options,
        )


def owner_of(path: str) -> Account:
    """The account to drive an installation with: its owner, where this process is root and the owner is not."""
    uid = os.stat(path).st_uid
    if os.geteuid() != 0 or uid == 0:
        return Account()
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return Account(str(uid), uid, os.stat(path).st_gid, (), os.path.dirname(path))
    groups = tuple(os.getgrouplist(user.pw_name, user.pw_gid))
    return Account(user.pw_name, uid, user.pw_gid, groups, user.pw_dir)
