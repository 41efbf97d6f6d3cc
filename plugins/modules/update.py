#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Update a Bitwarden server to the newest version that is offered."""

from __future__ import annotations

DOCUMENTATION = r"""
module: update
short_description: Update a Bitwarden server to the newest version that is offered
version_added: 0.2.0
description:
  - Runs C(bitwarden.sh updateself) and C(bitwarden.sh update) where a newer version is offered, which is what a sync
    needs that fails because the C(version is not supported).
  - Which version is offered is read from the newest C(bitwarden.sh), downloaded to memory, so check mode knows it too.
    A server that is newer is left alone.
  - All images of the new version are pulled before anything stops. The old ones, which C(bitwarden.sh update) would
    remove at once, stay until the new version is proven at the front door, by its own word in C(/api/config), and the
    database was updated.
  - Where the update fails before any program of the new version ran, the files of before are put back and the server
    is started with them. After that the database may have changed; then the module says in which state the server is
    and how to return to the backup, and does no more. Make a backup first, with M(selfhosted.bitwarden.backup).
  - The mode of C(bitwarden.sh), which C(updateself) changes, is kept.
  - A run that was killed is taken up by the next one.
  - For Lite with a compose file the new tag is written where the old one stands, and compose replaces the container.
    Deployments of kind V(manual), and Lite without a compose file, are refused with the steps to take by hand.
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
extends_documentation_fragment:
  - selfhosted.bitwarden.installation
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
    support: full
options:
  timeout:
    description:
      - How many seconds each of the longer steps may take. C(bitwarden.sh update) alone waits a minute for the
        database.
    type: int
    default: 1800
  min_free_space:
    description:
      - How many MiB must be free for images and in O(directory) before anything is pulled. V(0) checks nothing.
    type: int
    default: 5120
  prune:
    description:
      - Whether the images of older versions are removed once the new one is proven.
    type: bool
    default: true
  restore_command:
    description:
      - What to tell the operator to run, after a failed update, to return to the backup.
    type: str
    default: run the module selfhosted.bitwarden.restore with the newest archive
seealso:
  - module: selfhosted.bitwarden.backup
  - module: selfhosted.bitwarden.restore
"""

EXAMPLES = r"""
- name: Update the server
  selfhosted.bitwarden.update:
    directory: /opt/bitwarden
"""

RETURN = r"""
due:
  description: Whether an update was due.
  returned: success
  type: bool
  sample: true
previous_version:
  description: The version before.
  returned: success, and when an update failed
  type: str
  sample: 2026.7.2
version:
  description: The version now, in check mode the one that it would be.
  returned: success
  type: str
  sample: 2026.8.0
available_version:
  description: The newest version that is offered.
  returned: success, and when an update failed
  type: str
  sample: 2026.8.0
cloud_communication:
  description: Whether the running server may talk to the cloud, so that its licenses can be synced afterwards.
  returned: success
  type: bool
  sample: true
downtime:
  description: For how many seconds the front door did not answer.
  returned: success
  type: float
  sample: 35.5
removed_images:
  description: Images of older versions that were removed.
  returned: success
  type: list
  elements: str
  sample: ["ghcr.io/bitwarden/api:2026.7.2"]
server_state:
  description: In which state the server was left, in words.
  returned: when an update failed
  type: str
  sample: The server runs version 2026.7.1.
put_back:
  description: Files that were put back, below O(directory).
  returned: when an update failed
  type: list
  elements: str
  sample:
    - bitwarden.sh
    - bwdata/docker/docker-compose.yml
restore_command:
  description: How to return to the backup.
  returned: when an update failed
  type: str
  sample: run the module selfhosted.bitwarden.restore with the newest archive
images_kept:
  description: Images of the version before that are still there.
  returned: when an update failed
  type: list
  elements: str
  sample:
    - ghcr.io/bitwarden/api:2026.7.1
script_output:
  description: The last lines that C(bitwarden.sh) printed, without secrets.
  returned: when an update failed
  type: list
  elements: str
  sample:
    - "Error response from daemon: manifest unknown"
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import accounts, bitwarden_sh, deployment
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.compose import Compose
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError, fail
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.update import Outcome, Update, refuse_by_hand
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.update_plan import VersionDoor
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.update_steps import LiteSteps, ScriptSteps

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "directory": {"type": "path", "default": "/opt/bitwarden"},
    "deployment": {"type": "str", "choices": ["auto", *deployment.KINDS], "default": "auto"},
    "url": {"type": "str"},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 1800},
    "lock_timeout": {"type": "int", "default": 300},
    "min_free_space": {"type": "int", "default": 5120},
    "prune": {"type": "bool", "default": True},
    "restore_command": {
        "type": "str",
        "default": "run the module selfhosted.bitwarden.restore with the newest archive",
    },
}


def run(params: dict[str, t.Any], check_mode: bool, runner: accounts.Runner) -> Outcome:
    """Updates the server where a newer version is offered."""
    found = deployment.detect(params["directory"], params["deployment"])
    if found.kind == deployment.MANUAL or not found.by_compose:
        refuse_by_hand(found)
    standard = found.kind == deployment.STANDARD
    owned = bitwarden_sh.script_path(found.directory) if standard else found.directory
    project = Compose(found, accounts.owner_of(owned, runner))
    steps = (ScriptSteps if standard else LiteSteps)(project, params["timeout"])

    def _make_door(url: str) -> VersionDoor:
        return VersionDoor(url, validate_certs=params["validate_certs"], ca_path=params["ca_path"])

    return Update(
        steps=steps,
        make_door=_make_door,
        url=params["url"],
        timeout=params["timeout"],
        lock_timeout=params["lock_timeout"],
        min_free_space=params["min_free_space"],
        prune=params["prune"],
        restore_command=params["restore_command"],
    ).run(check_mode)


def result_of(outcome: Outcome) -> dict[str, t.Any]:
    """The outcome as Ansible returns it."""
    previous, offered = outcome.plan.previous, outcome.plan.offered.core
    return {
        "changed": outcome.changed,
        "due": outcome.changed,
        "previous_version": previous,
        "version": outcome.version,
        "available_version": offered,
        "cloud_communication": outcome.plan.cloud_communication,
        "downtime": outcome.downtime,
        "removed_images": outcome.removed_images,
        "diff": {"before": f"{previous}\n", "after": f"{offered if outcome.changed else previous}\n"},
    }


def main() -> None:
    """Hand the arguments over and the result back."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        outcome = run(module.params, module.check_mode, module.run_command)
    except BitwardenError as error:
        fail(module, error)
    for text in outcome.warnings:
        module.warn(text)
    module.exit_json(**result_of(outcome))


if __name__ == "__main__":
    main()
