#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep a Bitwarden server running with what its files say."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack
short_description: Keep a Bitwarden server running with what its files say
version_added: 0.1.0
description:
  - Compares the settings that the files lead to with those of the running containers, and restarts the server when, and
    only when, they differ, a container is missing or in trouble, or the front door does not answer. So a run that was
    interrupted between writing and restarting is healed by the next one.
  - The restart is that of the deployment itself. A standard installation has C(bitwarden.sh), unchanged and as the user
    that owns it. One without that script has C(docker compose down) and C(up -d), and so has Lite with a compose file.
    Lite from C(docker run) gets a new container with the options of the old one, which is kept until the new one is
    proven.
  - Nothing is stopped before the way back up is known to be open. Docker answers, the compose files resolve, there is
    room on the disk, nobody else is at work, a begun update is finished, and all images of the coming start are there.
    While C(bitwarden.sh) runs, its questions for those images are answered at once, so that no registry stands between
    stop and start.
  - The verdict is the front door's (C(/api/alive) and C(/identity/alive)) and the containers'. The exit status of
    C(bitwarden.sh) is not trusted, for it is not zero after some good restarts and zero after some bad ones.
  - If the server does not come up in time, what is missing is started once more. If that does not help and the env file
    was changed with O(selfhosted.bitwarden.env_file#module:rollback), its earlier content is put back and the server
    started again. The module fails then all the same, and says which state the server is in.
  - Certificates in C(bwdata/ca-certificates) are known to the services from their next start on. One that is newer than
    the containers is a reason to restart, and afterwards it is looked at from inside.
  - A container that runs another image than the files name is reported and no reason to restart.
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
    support: partial
    details: With O(state=restarted) every run restarts the server. All other states change nothing the second time.
options:
  container:
    description:
      - The name of Lite's container where it was made by C(docker run).
    type: str
    default: bitwarden
  state:
    description:
      - V(current) makes sure that the containers run with what the files say.
      - V(started) makes sure that all containers run and the front door answers, whatever settings they have.
      - V(restarted) starts the server anew in any case.
      - V(stopped) makes sure that no container runs. What C(bitwarden.sh stop) leaves is stopped too.
    type: str
    choices: [current, restarted, started, stopped]
    default: current
  environment:
    description:
      - Settings that the containers must have which read the env file. Pass
        RV(selfhosted.bitwarden.env_file#module:settings) here, then check mode predicts the restart for a file that is
        not yet written.
      - A value of null stands for a key that is taken out of the file. It counts in check mode only, for otherwise the
        files themselves say what the key falls back to.
      - If the files lead to another value, for example through C(docker-compose.override.yml), nothing is stopped and
        the module fails.
      - Not looked at with V(started) and V(stopped).
    type: dict
    default: {}
  timeout:
    description:
      - How many seconds a start may take until the front door answers, and each step of the preparation.
    type: int
    default: 600
  pull:
    description:
      - With V(always) all images of the start are asked for before anything stops, as C(bitwarden.sh) does after.
      - With V(missing) images that are there are not asked for. Use it where there is no registry.
    type: str
    choices: [always, missing]
    default: always
  min_free_space:
    description:
      - How many MiB must be free where Docker keeps its images and where the installation lies; 0 for no check.
    type: int
    default: 1024
  rollback:
    description:
      - Whether to go back to the earlier env file, or the earlier container of Lite, if the server does not come up.
    type: bool
    default: true
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
    rollback: true
  register: merged

- name: Restart the server if it does not have them, and go back if it does not come up with them
  selfhosted.bitwarden.stack:
    environment: "{{ merged.settings }}"
    ca_path: /etc/ssl/certs/company.pem

- name: Stop the server for work on its machine
  selfhosted.bitwarden.stack:
    state: stopped

- name: Start it again
  selfhosted.bitwarden.stack:
    state: started

- name: Keep a server up to date that gets its images by hand
  selfhosted.bitwarden.stack:
    directory: /srv/bitwarden
    deployment: manual
    pull: missing
"""

RETURN = r"""
restarted:
  description: Whether containers were started anew.
  returned: success, and when the stack is not as wanted after a restart
  type: bool
drift:
  description:
    - What was different from the wanted state, as the service, the key where it is one, and words. Values are not
      shown.
  returned: success, and when the stack is not as wanted after a restart
  type: list
  elements: dict
  sample:
    - service: api
      key: globalSettings__enableCloudCommunication
      what: is missing
    - service: identity
      key: null
      what: "keeps restarting (restarts so far: 7)"
remaining:
  description: What still differed after a restart that did not help, in the form of RV(drift).
  returned: when the stack is not as wanted after a restart
  type: list
  elements: dict
  sample:
    - service: api
      key: globalSettings__enableCloudCommunication
      what: is missing
rolled_back:
  description: Whether the server was started again with what it had before.
  returned: always
  type: bool
server_state:
  description: Which state the server is in now, in words.
  returned: failure
  type: str
  sample: up with the previous settings
script_output:
  description: The last lines that the start printed, and the second start after going back, without secrets.
  returned: when the stack is not as wanted after a restart
  type: list
  elements: str
  sample:
    - Container bitwarden-nginx Starting
    - "Error response from daemon: driver failed programming external connectivity on endpoint bitwarden-nginx"
logs:
  description: The last lines that the services in trouble logged before anything was taken back, without secrets.
  returned: when the stack is not as wanted after a restart
  type: list
  elements: str
  sample:
    - "api: Unhandled exception. System.UriFormatException: Invalid URI: The hostname could not be parsed."
contradictions:
  description: Settings of O(environment) that the compose files lead to another value of, in the form of RV(drift).
  returned: when O(environment) cannot come true
  type: list
  elements: dict
  sample:
    - service: api
      key: globalSettings__enableCloudCommunication
      what: resolves to another value
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
deployment:
  description: How the server is deployed.
  returned: success
  type: str
  sample: standard
version:
  description: The version of the running api.
  returned: success
  type: str
  sample: 2026.8.0
versions:
  description: The versions of C(bitwarden.sh) (null where there is none), of the compose files and of the running api.
  returned: success
  type: dict
  sample:
    script: 2026.8.0
    files: 2026.8.0
    running: 2026.8.0
url:
  description: The front door that was asked, null where none was.
  returned: success
  type: str
  sample: https://bitwarden.example.com
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    accounts,
    bitwarden_sh,
    containers,
    deployment,
    tools,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.env_wish import canonical_key, value_text
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError, fail
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.front_door import FrontDoor
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.restart import (
    NOTHING_STOPPED,
    STATES,
    Outcome,
    Stack,
)

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "directory": {"type": "path", "default": "/opt/bitwarden"},
    "deployment": {"type": "str", "choices": ["auto", *deployment.KINDS], "default": "auto"},
    "container": {"type": "str", "default": "bitwarden"},
    "state": {"type": "str", "choices": list(STATES), "default": "current"},
    "environment": {"type": "dict", "default": {}},
    "url": {"type": "str"},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 600},
    "lock_timeout": {"type": "int", "default": 300},
    "pull": {"type": "str", "choices": ["always", "missing"], "default": "always"},
    "min_free_space": {"type": "int", "default": 1024},
    "rollback": {"type": "bool", "default": True},
}


def run(params: dict[str, t.Any], check_mode: bool, runner: accounts.Runner) -> tuple[Stack, Outcome]:
    """Looks at the stack and brings it to the wanted state."""

    def _make_door(url: str) -> FrontDoor:
        return FrontDoor(url, validate_certs=params["validate_certs"], ca_path=params["ca_path"])

    found = deployment.detect(params["directory"], params["deployment"])
    stack = Stack(
        tool=tools.tool_for(found, runner, params["container"]),
        environment={
            canonical_key(key): None if value is None else value_text(key, value)
            for key, value in params["environment"].items()
            # Once the files are written they say what a removed key falls back to.
            if value is not None or check_mode
        },
        door=_make_door(params["url"]) if params["url"] else None,
        make_door=_make_door,
        **{name: params[name] for name in ("timeout", "lock_timeout", "state", "pull", "min_free_space", "rollback")},
    )
    return stack, stack.converge(check_mode)


def result_of(stack: Stack, outcome: Outcome) -> dict[str, t.Any]:
    """The outcome as Ansible returns it."""
    view, found = outcome.view, stack.project.deployment
    lines = "".join(f"{one.words}\n" for one in outcome.drift)
    script = bitwarden_sh.core_version(found.directory) if found.script else None
    return {
        "changed": outcome.changed,
        "restarted": outcome.restarted,
        "rolled_back": False,
        "drift": [one.shown() for one in outcome.drift],
        "downtime": outcome.downtime,
        "containers": view.states,
        "images": containers.other_images(view.expected, view.containers),
        "deployment": found.kind,
        "version": view.version(),
        "versions": {"script": script, "files": view.file_version(), "running": view.version()},
        "url": stack.door.url if stack.door else None,
        "diff": {"before": lines, "after": "restarted\n" if outcome.changed and not outcome.drift else ""},
    }


def main() -> None:
    """Hand the arguments over and the result back."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        stack, outcome = run(module.params, module.check_mode, module.run_command)
        result = result_of(stack, outcome)
    except BitwardenError as error:
        # Whoever had stopped something has said what became of it.
        error.details.setdefault("server_state", NOTHING_STOPPED)
        error.details.setdefault("rolled_back", False)
        fail(module, error)
    for text in outcome.warnings:
        module.warn(text)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
