# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs programs as the user that owns a Bitwarden installation."""

from __future__ import annotations

import os
import pwd
import subprocess
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

# Exit statuses of timeout(1).
_TIMED_OUT, _CANNOT_RUN, _NOT_FOUND, _KILLED = 124, 126, 127, 137
_GRACE = 5


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
        options: dict[str, t.Any] = {}
        if self.name is not None:
            options = {"user": self.uid, "group": self.gid, "extra_groups": list(self.groups)}
        try:
            result = subprocess.run(
                # A time limit of Python's own ends the program alone, and waits for its children for ever.
                ["timeout", f"--kill-after={_GRACE}", str(timeout), *command],
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if one_output else subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                cwd=cwd,
                env=self.environment(),
                start_new_session=True,
                check=False,
                **options,
            )
        except OSError as error:
            raise BitwardenError(
                f"{command[0]} cannot be run as user {self.label}: {error.strerror}.",
                next_step="Check that the program 'timeout' (coreutils) is on PATH, and that this user may be used.",
            ) from error
        result.stderr = result.stderr or ""
        said = result.stderr + (result.stdout if one_output else "")
        if result.returncode in {_CANNOT_RUN, _NOT_FOUND} and said.startswith("timeout: "):
            raise BitwardenError(
                f"{command[0]} cannot be run as user {self.label}: {said.strip().rpartition(': ')[2]}.",
                next_step="Check that the file exists, is executable (chmod u+x) and can be reached by that user.",
            )
        if result.returncode in {_TIMED_OUT, _KILLED}:
            result.stderr += f"\n{command[0]} did not end within {timeout:g} seconds and was ended.\n"
        return result


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
