# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`python3 -m bwlab.inside SERVICE`: the entry point of every stand-in image."""

from __future__ import annotations

import importlib
import sys

PLAIN = ("admin", "sso", "notifications", "events", "icons", "attachments", "scim", "web", "key-connector")
# Loaded when wanted only: a container starts faster without what the others need.
MODULES = {
    "api": "server",
    "identity": "server",
    "nginx": "nginx",
    "mssql": "mssql",
    "sqlcmd": "sqlcmd",
    "setup": "setup",
    "lite": "lite",
    **dict.fromkeys(PLAIN, "plain"),
}


def main() -> int:
    service, *arguments = sys.argv[1:] or [""]
    if service not in MODULES:
        print(f"There is no service '{service}'. There are: {', '.join(sorted(MODULES))}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"bwlab.inside.{MODULES[service]}")
    if service in ("api", "identity", *PLAIN):
        return int(module.main(service))
    return int(module.main(arguments) if service in ("sqlcmd", "setup") else module.main())


if __name__ == "__main__":
    sys.exit(main())
