# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The setup image: its entrypoint and /app/Setup over the folder that is mounted at /bitwarden."""

from __future__ import annotations

import os
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from bwlab.errors import ServerError
from bwlab.host.setup import Setup, Tree, envfile, run
from bwlab.host.setup.tree import Abort
from bwlab.inside import entry, transport
from bwlab.inside.database import SqlLogin
from bwlab.inside.dotnet import connection_string

ROOT = Path("/bitwarden")
PROGRAM = "/app/Setup"
FOLDERS = ("ca-certificates", "docker", "env", "identity", "letsencrypt", "nginx", "ssl")
CONNECTION = f"{envfile.PREFIX}sqlServer__connectionString"
# The program is process 1 of its container, where the same abort gives another status.
ABORTED = {134: 139}


class ContainerSetup(Setup):
    """Setup with a database to migrate."""

    def _update(self) -> None:
        if "db" in self.parameters:
            text = envfile.first_value(self.tree, CONNECTION) or ""
            login = SqlLogin(connection_string(text))
            try:
                login.create_catalog()
                login.check()
            except ServerError as error:
                kind, _unused, message = error.exception.partition(": ")
                raise Abort(kind, message) from None
            finally:
                login.close()
            self._say("Migration successful.")
        super()._update()


def fetch(address: str) -> tuple[int, str]:
    """Over the network, with the authorities of this container: those in bwdata are mounted elsewhere."""
    handler = urllib.request.HTTPSHandler(context=transport.trust(os.environ))
    try:
        with urllib.request.build_opener(handler).open(address, timeout=100) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")


def main(arguments: list[str]) -> int:
    """Folders, owner, stepping down; then the command, which is nearly always /app/Setup."""
    uid, _gid = entry.begin([ROOT, *(ROOT / name for name in FOLDERS)])
    if not arguments:
        return 0
    if arguments[0] != PROGRAM:
        os.execvp(arguments[0], arguments)  # noqa: S606 - no shell is wanted
    with tempfile.TemporaryDirectory(prefix="setup-") as work:
        program = ContainerSetup(Tree(ROOT, uid), fetch=fetch, environment=os.environ, working_directory=Path(work))
        code = run(program, arguments[1:])
    sys.stdout.flush()
    return ABORTED.get(code, code)
