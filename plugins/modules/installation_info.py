#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask the Bitwarden cloud for an installation id."""

from __future__ import annotations

DOCUMENTATION = r"""
module: installation_info
short_description: Ask the Bitwarden cloud for an installation id
version_added: 0.1.0
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
description:
  - Asks a region of the Bitwarden cloud whether it knows the installation id of a self-hosted server,
    and whether that is enabled.
  - An installation id belongs to one region. When the given region does not know it, the other regions are asked too.
  - Takes no login.
extends_documentation_fragment:
  - selfhosted.bitwarden.cloud
  - selfhosted.bitwarden.cloud.no_login
  - selfhosted.bitwarden.connection
  - selfhosted.bitwarden.attributes
  - selfhosted.bitwarden.attributes.actiongroup_cloud
attributes:
  check_mode:
    support: full
    details:
      - Only reads.
  diff_mode:
    support: N/A
    details:
      - Only reads.
  idempotent:
    support: full
    details:
      - Only reads.
options:
  installation_id:
    description:
      - The installation id, as in C(globalSettings__installation__id) of the server's environment file.
    type: str
    required: true
seealso:
  - module: selfhosted.bitwarden.env_file
  - name: Installation id and key
    description: Where an installation gets its id and key for a region.
    link: https://bitwarden.com/host/
"""

EXAMPLES = r"""
- name: Look for the region of an installation
  selfhosted.bitwarden.installation_info:
    region: US
    installation_id: "{{ installation_id }}"
  delegate_to: localhost
  register: asked

- name: Refuse an installation of another region
  ansible.builtin.assert:
    that: asked.installation.known and asked.installation.enabled
    fail_msg: "The installation is known in {{ asked.known_in | join(', ') }}"
"""

RETURN = r"""
installation:
  description: The installation as the given region knows it.
  returned: success
  type: dict
  contains:
    id:
      description: The installation id that was asked for.
      type: str
      returned: success
      sample: 8318521f-7d7d-4692-8de0-b50a00eabedc
    known:
      description: Whether the region knows the id.
      type: bool
      returned: success
    enabled:
      description: Whether the installation is enabled. V(false) for an unknown one.
      type: bool
      returned: success
    region:
      description: The region that was asked, or its address when it was given by address.
      type: str
      returned: success
      sample: US
known_in:
  description: The names of the regions that know the id. The others are only asked when the given one does not know it.
  returned: success
  type: list
  elements: str
  sample: [US]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import regions
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import CLOUD, connection_spec
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import NetworkError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import is_guid
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server, execute


def known_elsewhere(module: AnsibleModule, server: Server, installation_id: str) -> list[str]:
    """The other regions that know the id; one that cannot be reached from here is only worth a warning."""
    names = []
    for region in regions.REGIONS.values():
        if region.api == server.connection.api:
            continue
        try:
            if server.elsewhere(region).installation(installation_id) is not None:
                names.append(region.name)
        except NetworkError as error:
            module.warn(f"The region {region.name} could not be asked for the installation: {error.message}")
    return names


def run(module: AnsibleModule, server: Server) -> dict[str, t.Any]:
    """Ask the given region, and the others where it does not know the id."""
    installation_id = module.params["installation_id"].strip().lower()
    if not is_guid(installation_id):
        raise BitwardenError(
            f"The installation id {installation_id!r} is no GUID.",
            next_step="Take it from globalSettings__installation__id in bwdata/env/global.override.env.",
        )
    found = server.installation(installation_id)
    return {
        "changed": False,
        "installation": {
            "id": installation_id,
            "known": found is not None,
            "enabled": found is not None and found.get("enabled") is True,
            "region": server.connection.name,
        },
        "known_in": [server.connection.name] if found is not None else known_elsewhere(module, server, installation_id),
    }


def main() -> None:
    """Read the options and run."""
    spec = {**connection_spec(CLOUD, login=False), "installation_id": {"type": "str", "required": True}}
    execute(AnsibleModule(argument_spec=spec, supports_check_mode=True), CLOUD, run)


if __name__ == "__main__":
    main()
