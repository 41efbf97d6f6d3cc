#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell what an operator wants to know about the host of a Bitwarden server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Tell what an operator wants to know about the host of a Bitwarden server
version_added: 0.2.0
description:
  - Looks at the installation, its versions, containers, images, free space, proxies, certificates, backups and
    database. It changes nothing, asks no registry and no cloud, and returns no secrets.
  - A part that cannot be had is null, and RV(problems) says why; the others are there all the same.
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
extends_documentation_fragment:
  - selfhosted.bitwarden.installation
  - selfhosted.bitwarden.attributes
  - selfhosted.bitwarden.attributes.posix
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - It changes nothing.
  idempotent:
    support: full
options:
  gather:
    description:
      - The parts that are wanted.
    type: list
    elements: str
    choices: [deployment, versions, docker, containers, images, disk, proxies, certificates, backups, database]
    default: [deployment, versions, docker, containers, images, disk, proxies, certificates, backups, database]
  container:
    description:
      - The name of the container, for Lite without a compose file.
    type: str
    default: bitwarden
  backups_path:
    description:
      - The folder of the archives, where the module backup was given another one than its default.
    type: path
seealso:
  - module: selfhosted.bitwarden.backup
  - module: selfhosted.bitwarden.update
"""

EXAMPLES = r"""
- name: Look at the server's host
  selfhosted.bitwarden.host_info:
    directory: /opt/bitwarden
  register: host

- name: Warn of certificates that end soon
  ansible.builtin.debug:
    msg: "{{ item.path }} ends on {{ item.ends }}"
  loop: "{{ host.certificates | selectattr('days_left', 'lt', 30) }}"
"""

RETURN = r"""
deployment:
  description: The kind of deployment and where its parts lie.
  returned: when asked for
  type: dict
  sample:
    kind: standard
    directory: /opt/bitwarden
    env_file: /opt/bitwarden/bwdata/env/global.override.env
    compose_files: [/opt/bitwarden/bwdata/docker/docker-compose.yml]
    script: /opt/bitwarden/bitwarden.sh
versions:
  description: The versions of C(bitwarden.sh), in the compose files, of what runs, of compose and of Docker.
  returned: when asked for
  type: dict
  sample:
    script: 2026.8.0
    files: 2026.8.0
    running: 2026.8.0
    compose: 2.40.3
    docker: 28.5.2
docker:
  description: As which user Docker is asked, where it keeps its data, and its version.
  returned: when asked for
  type: dict
  sample:
    user: bitwarden
    root_directory: /var/lib/docker
    version: 28.5.2
containers:
  description: The containers by service.
  returned: when asked for
  type: dict
  sample:
    api:
      name: bitwarden-api
      state: running
      health: healthy
      image: ghcr.io/bitwarden/api:2026.8.0
      started: "2026-08-24T18:30:00.000000000Z"
      restarts: 0
images:
  description: Bitwarden's images on this host, and whether a container uses them.
  returned: when asked for
  type: list
  elements: dict
  sample:
    - image: ghcr.io/bitwarden/api:2026.8.0
      used: true
disk:
  description: Free space for the installation, the archives, and Docker, in MiB.
  returned: when asked for
  type: dict
  sample:
    installation:
      path: /opt/bitwarden
      free_mib: 20480
      total_mib: 40960
proxies:
  description: Proxies in the env file, in the configuration of Docker's client, and of its daemon, without logins.
  returned: when asked for
  type: dict
  sample:
    env_file:
      https_proxy: http://proxy.example.com:3128
    docker_client: {}
    docker_daemon: {}
certificates:
  description: Certificates in C(bwdata), those that end first first.
  returned: when asked for
  type: list
  elements: dict
  sample:
    - path: /opt/bitwarden/bwdata/ssl/bitwarden.example.com/certificate.crt
      ends: "2026-12-01T00:00:00Z"
      days_left: 98
backups:
  description: How many archives there are, and the newest with its age in hours.
  returned: when asked for
  type: dict
  sample:
    folder: /opt/bitwarden/bwdata-backups
    count: 1
    last:
      archive: /opt/bitwarden/bwdata-backups/bitwarden-20260824T183000Z-2026.8.0.tar.gz
      age: 12.5
      size: 18034211
      version: 2026.8.0
      checksum_known: true
database:
  description:
    - Whether the database is the one that comes with Bitwarden, which kind it is, whether it runs (null where that is
      not this host's to know), and whether sponsorships can be synced with it.
  returned: when asked for
  type: dict
  sample:
    kind: built-in
    provider: SQL Server
    running: true
    sponsorship_sync: true
problems:
  description: Why a part is null, by its name.
  returned: always
  type: dict
  sample: {}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import deployment, host_facts
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError, fail

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "directory": {"type": "path", "default": "/opt/bitwarden"},
    "deployment": {"type": "str", "choices": ["auto", *deployment.KINDS], "default": "auto"},
    "gather": {
        "type": "list",
        "elements": "str",
        "choices": list(host_facts.PARTS),
        "default": list(host_facts.PARTS),
    },
    "container": {"type": "str", "default": "bitwarden"},
    "backups_path": {"type": "path"},
}


def main() -> None:
    """Hand the arguments over and the result back."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    try:
        facts = host_facts.of(
            params["directory"],
            params["deployment"],
            params["backups_path"],
            params["container"],
            module.run_command,
        )
        result = facts.gather(params["gather"])
    except BitwardenError as error:
        fail(module, error)
    module.exit_json(changed=False, problems=facts.problems, **result)


if __name__ == "__main__":
    main()
