#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Back a Bitwarden server up into one archive, its database included."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Back a Bitwarden server up into one archive, its database included
version_added: 0.2.0
description:
  - Writes C(bwdata), C(bitwarden.sh) and a consistent backup of the database into one archive, while the server runs.
  - The database server that comes with Bitwarden writes its own backup first. A copy of the files that it works on
    would be worthless, so these are left out. Only where it does not run are they taken as they are.
  - The archive is written under another name, read back to its end, given a checksum file that C(sha256sum -c) reads,
    and only then gets its name. It has mode 0600, in a folder of mode 0700.
  - Owners (as numbers), modes and times are kept. SELinux labels and access control lists are not.
  - Free space is checked before anything is written.
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
extends_documentation_fragment:
  - selfhosted.bitwarden.installation
  - selfhosted.bitwarden.installation.waiting
  - selfhosted.bitwarden.attributes
  - selfhosted.bitwarden.attributes.posix
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - With O(max_age=0) every run makes an archive.
options:
  path:
    description:
      - The folder on the server for the archives. It must not lie in C(bwdata), which changes owner at each restart.
      - The default is C(bwdata-backups) in O(directory).
    type: path
  max_age:
    description:
      - With an undamaged archive that is at most so many hours old nothing is done. V(0) makes one in every run.
    type: float
    default: 0
  keep:
    description:
      - How many archives stay. Older ones are removed once the new one is proven. V(0) keeps all.
    type: int
    default: 5
  database:
    description:
      - With V(required) the module fails, before anything is written, where the database would not be in the archive,
        because it is on another server or in a volume.
      - With V(optional) the rest is backed up, and RV(missing) names what is not.
    type: str
    choices: [required, optional]
    default: required
  include_logs:
    description:
      - Whether log files are in the archive.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds the database server may take for its backup.
    type: int
    default: 3600
seealso:
  - module: selfhosted.bitwarden.restore
"""

EXAMPLES = r"""
- name: Back the server up unless there is an archive of today
  selfhosted.bitwarden.backup:
    directory: /opt/bitwarden
    max_age: 24
    keep: 7

- name: Back up a server whose database is backed up elsewhere
  selfhosted.bitwarden.backup:
    path: /srv/backups/bitwarden
    database: optional
"""

RETURN = r"""
archive:
  description: The archive, a new one or the one that is young enough. Null when check mode predicts a new one.
  returned: success
  type: str
  sample: /opt/bitwarden/bwdata-backups/bitwarden-20260824T183000Z-2026.8.0.tar.gz
checksum:
  description: Its SHA-256, as in the file beside it.
  returned: success
  type: str
  sample: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
size:
  description: Its size in bytes.
  returned: success
  type: int
  sample: 18034211
age:
  description: How many hours ago it was made.
  returned: success
  type: float
  sample: 0.0
database:
  description:
    - How the database got into it, C(dumped by the database server), C(files of the stopped database server) or
      C(not included).
  returned: success
  type: str
  sample: dumped by the database server
missing:
  description: What is not in the archive, in words; also when the module refuses for that reason.
  returned: success
  type: list
  elements: str
  sample: []
removed:
  description: Older archives that were removed.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import accounts, backups, deployment
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.backup import Backup, Outcome, Wishes
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.docker_cli import Docker
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError, fail

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "directory": {"type": "path", "default": "/opt/bitwarden"},
    "deployment": {"type": "str", "choices": ["auto", *deployment.KINDS], "default": "auto"},
    "path": {"type": "path"},
    "max_age": {"type": "float", "default": 0},
    "keep": {"type": "int", "default": 5},
    "database": {"type": "str", "choices": ["required", "optional"], "default": "required"},
    "include_logs": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 3600},
    "lock_timeout": {"type": "int", "default": 300},
}


def run(params: dict[str, t.Any], check_mode: bool, runner: accounts.Runner) -> Outcome:
    """Makes the archive unless there is one."""
    found = deployment.detect(params["directory"], params["deployment"])
    folder = os.path.abspath(params["path"] or backups.default_folder(found.directory))
    backups.check_folder(folder, found.directory)
    if params["keep"] < 0:
        raise BitwardenError(f"'keep' is {params['keep']}.", next_step="Give a number of archives, or 0 for all.")
    wishes = Wishes(
        folder=folder,
        max_age=params["max_age"],
        keep=params["keep"],
        database_required=params["database"] == "required",
        include_logs=params["include_logs"],
        timeout=params["timeout"],
        lock_timeout=params["lock_timeout"],
    )
    account = accounts.owner_of(found.script or found.directory, runner)
    return Backup(found, Docker(found, account), wishes).run(check_mode)


def result_of(outcome: Outcome, folder: str) -> dict[str, t.Any]:
    """The outcome as Ansible returns it."""
    after = outcome.archive or os.path.join(folder, "(a new archive)")
    return {
        "changed": outcome.changed,
        "archive": outcome.archive,
        "checksum": outcome.checksum,
        "size": outcome.size,
        "age": outcome.age,
        "database": outcome.database,
        "missing": outcome.missing,
        "removed": outcome.removed,
        "diff": {
            "before": "".join(f"{path}\n" for path in outcome.removed),
            "after": f"{after}\n" if outcome.changed else "",
        },
    }


def main() -> None:
    """Hand the arguments over and the result back."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        outcome = run(module.params, module.check_mode, module.run_command)
    except BitwardenError as error:
        fail(module, error)
    folder = module.params["path"] or backups.default_folder(module.params["directory"])
    module.exit_json(**result_of(outcome, folder))


if __name__ == "__main__":
    main()
