#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restart a Bitwarden server when its containers do not have what its files say."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack
short_description: Restart a Bitwarden server when its containers do not have what its files say
version_added: 0.1.0
description:
  - Compares the environment that C(docker compose) resolves from the files with that of the running containers, and
    restarts the server by C(bitwarden.sh restart) when, and only when, they differ, a container is missing or does not
    run, or the front door does not answer. So a run that was interrupted between writing and restarting heals itself.
  - Before anything is stopped, the compose files are resolved, other runs of C(bitwarden.sh) are waited for, and all
    images of the coming start are pulled. C(bitwarden.sh) itself pulls between stop and start, so with a dead registry
    it would leave the server down.
  - The module is done when the front door answers and the new containers have what the files say. The exit status of
    C(bitwarden.sh) is not trusted, for it is not zero after some good restarts and zero after some bad ones.
  - If the server is not up after the restart, C(docker compose up -d) is tried once.
  - C(bitwarden.sh) runs as the user that owns it.
  - A container that runs another image than the files name is reported and no reason to restart.
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
extends_documentation_fragment:
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
  directory:
    description:
      - The directory that holds C(bitwarden.sh) and C(bwdata).
    type: path
    default: /opt/bitwarden
  state:
    description:
      - V(current) makes sure that the containers run with what the files say.
    type: str
    choices: [current]
    default: current
  environment:
    description:
      - Settings that the containers must have which read C(global.override.env). Pass
        RV(selfhosted.bitwarden.env_file#module:settings) here, then check mode predicts the restart for a file that is
        not yet written.
      - A value of null stands for a key that is taken out of the file. It counts in check mode only, for otherwise the
        files themselves say what the key falls back to.
      - If the files lead to another value, for example through C(docker-compose.override.yml), nothing is stopped and
        the module fails.
    type: dict
    default: {}
  url:
    description:
      - The front door as clients reach it. The default is the address in C(globalSettings__baseServiceUri__vault).
    type: str
  ca_path:
    description:
      - Certificates in PEM format, a file or a directory on the server, to trust at the front door besides the
        system's.
    type: path
  validate_certs:
    description:
      - Whether to check the certificate of the front door.
    type: bool
    default: true
  timeout:
    description:
      - How many seconds the restart may take until the front door answers.
    type: int
    default: 600
  lock_timeout:
    description:
      - How many seconds to wait for another run of this module, of C(bitwarden.sh) or of its setup container.
    type: int
    default: 300
seealso:
  - module: selfhosted.bitwarden.env_file
"""

EXAMPLES = r"""
- name: Restart the server if its settings have changed
  selfhosted.bitwarden.stack:
    directory: /opt/bitwarden

- name: Write the settings
  selfhosted.bitwarden.env_file:
    path: /opt/bitwarden/bwdata/env/global.override.env
    keys:
      globalSettings__enableCloudCommunication: true
  register: merged

- name: Restart the server if it does not have them
  selfhosted.bitwarden.stack:
    environment: "{{ merged.settings }}"
    ca_path: /etc/ssl/certs/company.pem
"""

RETURN = r"""
restarted:
  description: Whether C(bitwarden.sh restart) was run.
  returned: success, and when the stack is not as wanted after a restart
  type: bool
drift:
  description: What was different, as the service, the key where it is one, and words. Values are not shown.
  returned: success, and when the stack is not as wanted after a restart
  type: list
  elements: dict
  sample:
    - service: api
      key: globalSettings__enableCloudCommunication
      what: is missing
remaining:
  description: What still differs after a restart that did not help, in the form of RV(drift).
  returned: when the stack is not as wanted after a restart
  type: list
  elements: dict
script_output:
  description: The last lines that C(bitwarden.sh) printed, without secrets.
  returned: when the stack is not as wanted after a restart
  type: list
  elements: str
logs:
  description: The last lines that the services logged which do not run, without secrets.
  returned: when the stack is not as wanted after a restart
  type: list
  elements: str
contradictions:
  description: Settings of O(environment) that the compose files lead to another value of, in the form of RV(drift).
  returned: when O(environment) cannot come true
  type: list
  elements: dict
downtime:
  description: For how many seconds the front door did not answer during the restart.
  returned: success, and when the stack is not as wanted after a restart
  type: float
  sample: 21.5
containers:
  description: The state of the container of each service.
  returned: success, and when the stack is not as wanted after a restart
  type: dict
  sample:
    api: running
    icons: running (unhealthy)
images:
  description: Services that run another image than the files name. An update was not finished.
  returned: success
  type: list
  elements: dict
  sample: []
version:
  description: The version of the running api.
  returned: success
  type: str
  sample: 2026.8.0
url:
  description: The front door that was asked.
  returned: success
  type: str
  sample: https://bitwarden.example.com
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import accounts, bitwarden_sh, compose
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.env_wish import canonical_key, value_text
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError, fail
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.front_door import FrontDoor
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.restart import Outcome, Stack

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "directory": {"type": "path", "default": "/opt/bitwarden"},
    "state": {"type": "str", "choices": ["current"], "default": "current"},
    "environment": {"type": "dict", "default": {}},
    "url": {"type": "str"},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 600},
    "lock_timeout": {"type": "int", "default": 300},
}


def run(params: dict[str, t.Any], check_mode: bool, runner: accounts.Runner) -> tuple[Stack, Outcome]:
    """Looks at the stack and brings it up to date."""
    directory = params["directory"].rstrip("/") or "/"
    script = bitwarden_sh.script_path(directory)

    def _make_door(url: str) -> FrontDoor:
        return FrontDoor(url, validate_certs=params["validate_certs"], ca_path=params["ca_path"])

    stack = Stack(
        project=compose.Compose(directory, accounts.owner_of(script, runner)),
        environment={
            canonical_key(key): None if value is None else value_text(key, value)
            for key, value in params["environment"].items()
            # Once the files are written they say what a removed key falls back to.
            if value is not None or check_mode
        },
        door=_make_door(params["url"]) if params["url"] else None,
        make_door=_make_door,
        timeout=params["timeout"],
        lock_timeout=params["lock_timeout"],
    )
    return stack, stack.bring_up_to_date(check_mode)


def result_of(stack: Stack, outcome: Outcome) -> dict[str, t.Any]:
    """The outcome as Ansible returns it."""
    view = outcome.view
    drift = [item.shown() for item in outcome.drift]
    lines = "".join(" ".join(filter(None, (item["service"], item["key"], item["what"]))) + "\n" for item in drift)
    return {
        "changed": bool(drift),
        "restarted": outcome.restarted,
        "drift": drift,
        "downtime": outcome.downtime,
        "containers": view.states,
        "images": compose.other_images(view.expected, view.containers),
        "version": view.version(),
        "url": stack.front_door(view).url,
        "diff": {"before": lines, "after": ""},
    }


def main() -> None:
    """Hand the arguments over and the result back."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        stack, outcome = run(module.params, module.check_mode, module.run_command)
        result = result_of(stack, outcome)
    except BitwardenError as error:
        fail(module, error)
    for text in outcome.warnings:
        module.warn(text)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
