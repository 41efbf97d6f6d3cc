#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put an archive of the module backup in the place of a Bitwarden server's data."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore
short_description: Put an archive of the module backup in the place of a Bitwarden server's data
version_added: 0.2.0
description:
  - Replaces C(bwdata), C(bitwarden.sh) and the database of a server by those of an archive, starts it, and proves at
    the front door that it runs.
  - Everything that can be checked is checked before anything changes. The checksum, the whole archive, whether it is
    of this installation, and free space. The images of its version are fetched while the server still runs.
  - What was there before is kept aside. Where the server does not come up with the archive it is put back, the server
    is started with it, and the module fails.
  - The database server starts with an empty folder and restores the backup in the archive, so its password is the
    one in the archive too.
  - Everything that was entered after the backup is gone. There is nothing to restore twice, so every run restores.
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
extends_documentation_fragment:
  - selfhosted.bitwarden.installation.waiting
  - selfhosted.bitwarden.installation.door
  - selfhosted.bitwarden.attributes
  - selfhosted.bitwarden.attributes.posix
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: none
    details:
      - Every run restores.
options:
  directory:
    description:
      - The directory that holds, or held, C(bitwarden.sh) and C(bwdata). What is missing there is made.
    type: path
    default: /opt/bitwarden
  archive:
    description:
      - The archive on the server. Its checksum file must lie beside it.
    type: path
    required: true
  force:
    description:
      - Whether to restore an archive of another installation too.
    type: bool
    default: false
  keep_replaced:
    description:
      - Whether what was there before stays in O(directory) under another name after a good restore. It holds secrets
        and takes space, and everything that was entered after the backup.
    type: bool
    default: true
  timeout:
    description:
      - How many seconds each of the longer steps may take, as the start of the database and of the server.
    type: int
    default: 900
seealso:
  - module: selfhosted.bitwarden.backup
"""

EXAMPLES = r"""
- name: Go back to an archive
  selfhosted.bitwarden.restore:
    directory: /opt/bitwarden
    archive: /opt/bitwarden/bwdata-backups/bitwarden-20260824T183000Z-2026.8.0.tar.gz
"""

RETURN = r"""
archive:
  description: The archive.
  returned: success
  type: str
  sample: /opt/bitwarden/bwdata-backups/bitwarden-20260824T183000Z-2026.8.0.tar.gz
checksum:
  description: Its SHA-256.
  returned: success
  type: str
  sample: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
version:
  description: The version of Bitwarden in it.
  returned: success
  type: str
  sample: 2026.8.0
previous_version:
  description: The version that was there before; null where there was none.
  returned: success
  type: str
  sample: 2026.8.1
database:
  description: How the database is in it, as the module backup says it.
  returned: success
  type: str
  sample: dumped by the database server
replaced:
  description: Where the data of before lies now; null in check mode, or with O(keep_replaced=false).
  returned: success
  type: str
  sample: /opt/bitwarden/bwdata.before-restore-20260825T080000Z
downtime:
  description: For how many seconds the front door did not answer.
  returned: success
  type: float
  sample: 48.2
rolled_back:
  description: Whether the data of before was put back.
  returned: when the server did not come up with the archive
  type: bool
server_state:
  description: In which state the server was left, in words.
  returned: when the server did not come up with the archive
  type: str
  sample: The files of before are in their places, and the server runs as before.
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import accounts, restore
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError, fail
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.front_door import FrontDoor

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "directory": {"type": "path", "default": "/opt/bitwarden"},
    "archive": {"type": "path", "required": True},
    "force": {"type": "bool", "default": False},
    "keep_replaced": {"type": "bool", "default": True},
    "url": {"type": "str"},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 900},
    "lock_timeout": {"type": "int", "default": 300},
}


def run(params: dict[str, t.Any], check_mode: bool, runner: accounts.Runner) -> dict[str, t.Any]:
    """Restores the archive; the result as Ansible returns it."""
    directory = params["directory"].rstrip("/") or "/"
    if not os.path.isdir(directory):
        raise BitwardenError(f"{directory} is no directory.", next_step="Make it, owned by the user of Bitwarden.")
    script = os.path.join(directory, "bitwarden.sh")

    def _make_door(url: str) -> FrontDoor:
        return FrontDoor(url, validate_certs=params["validate_certs"], ca_path=params["ca_path"])

    before = restore.version_now(directory)
    outcome = restore.Restore(
        directory=directory,
        account=accounts.owner_of(script if os.path.exists(script) else directory, runner),
        path=params["archive"],
        force=params["force"],
        make_door=_make_door,
        url=params["url"],
        timeout=params["timeout"],
        lock_timeout=params["lock_timeout"],
        keep_replaced=params["keep_replaced"],
    ).run(check_mode)
    return {
        "changed": True,
        "archive": outcome.plan.entry.path,
        "checksum": outcome.plan.checksum,
        "version": outcome.plan.version,
        "previous_version": before,
        "database": outcome.plan.manifest.get("database"),
        "replaced": outcome.replaced,
        "downtime": outcome.downtime,
        "warnings": outcome.plan.warnings,
        "diff": {
            "before": f"version {before or 'none'}, present data\n",
            "after": f"version {outcome.plan.version}, data of {os.path.basename(outcome.plan.entry.path)}\n",
        },
    }


def main() -> None:
    """Hand the arguments over and the result back."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode, module.run_command)
    except BitwardenError as error:
        fail(module, error)
    for text in result.pop("warnings"):
        module.warn(text)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
