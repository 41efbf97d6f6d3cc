#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep the license of an organization of a self-hosted server current, from the cloud or from a file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: license
short_description: Keep the license of an organization of a self-hosted server current
version_added: 0.4.0
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
description:
  - Gives an organization of a self-hosted server its license, from the Bitwarden cloud or from a file, as the button
    C(Update license) does. It needs no billing sync connection and no cloud communication of the server, so it is the
    way for servers that are offline, and for a server that has to have its license before it can be connected.
  - Reads first, and asks the cloud only when the license on the server is missing, cannot be read, ends soon or is old.
    A license is uploaded when it says something else than what the server has.
  - Finds out before the upload what stands against the license, and changes nothing then. The signature is what nobody
    but the server can check.
  - Can make the organization from the license where there is none (O(create)).
extends_documentation_fragment:
  - selfhosted.bitwarden.self_hosted
  - selfhosted.bitwarden.connection
  - selfhosted.bitwarden.connection.login
  - selfhosted.bitwarden.cloud_side
  - selfhosted.bitwarden.attributes
  - selfhosted.bitwarden.attributes.actiongroup_self_hosted
attributes:
  check_mode:
    support: full
    details:
      - Where the cloud is asked, the license is downloaded in check mode too, since only that tells what would happen.
        The cloud notes with each download that the organization uses this installation.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  organization:
    description:
      - The name or the id of the organization at the self-hosted server. The account must be a confirmed owner of it.
    type: str
    required: true
  state:
    description:
      - V(current) uploads the license where the server's is missing, older, different or near its end.
      - V(read) changes nothing and returns what is known of the license on both sides. The cloud is asked when
        O(installation_id) and an API key for it are given, and the file is read when O(src) is given.
    type: str
    choices: [current, read]
    default: current
  src:
    description:
      - The path of a license file, where the module runs. Without it, the license is downloaded from the cloud.
      - A file that is older than what the server has is never uploaded.
    type: path
  installation_id:
    description:
      - The installation id of the server, C(globalSettings__installation__id) in its environment file.
      - Needed to download a license. With O(src) it is compared with the file's, where it is given.
    type: str
  cloud_organization:
    description:
      - The name or the id of the organization at the cloud.
      - The default is what the server's connection names, else the name of the organization.
    type: str
  installed:
    description:
      - The content of the license file that the server has for the organization, as M(ansible.builtin.slurp)
        returns it, C(bwdata/core/licenses/organization/ID.json) with the id that the organization has at the server.
      - The server's API does not tell how old its license is, whom it was issued for and when its token ends. With this
        the module knows.
    type: str
  max_age:
    description:
      - After how many days the license on the server is compared with the cloud's. V(0) compares in every run.
      - The age is that of O(installed), or of the last license sync. Where neither is known, only V(0) compares.
    type: int
    default: 7
  renew_before:
    description:
      - How many days before its end, or the end of its token, the license is renewed.
    type: int
    default: 30
  create:
    description:
      - Whether to make the organization from the license where the account sees none of that name.
        The account becomes its owner.
      - Takes the Python library C(cryptography), for the organization gets keys of its own.
    type: bool
    default: false
seealso:
  - module: selfhosted.bitwarden.license_sync
  - module: selfhosted.bitwarden.billing_sync
  - module: selfhosted.bitwarden.organization_info
"""

EXAMPLES = r"""
- name: Keep the license current without any connection of the server to the cloud
  selfhosted.bitwarden.license:
    url: https://bitwarden.example.com
    client_id: "{{ owner_client_id }}"
    client_secret: "{{ owner_client_secret }}"
    organization: Example Corp
    installation_id: "{{ installation_id }}"
    cloud:
      region: EU
      client_id: "{{ cloud_owner_client_id }}"
      client_secret: "{{ cloud_owner_client_secret }}"
  delegate_to: localhost

- name: Upload a file that a person downloaded, and make the organization if it does not exist yet
  selfhosted.bitwarden.license:
    url: https://bitwarden.example.com
    client_id: "{{ owner_client_id }}"
    client_secret: "{{ owner_client_secret }}"
    organization: Example Corp
    src: files/bitwarden_organization_license.json
    create: true
  delegate_to: localhost

- name: Read the license file on the server
  ansible.builtin.slurp:
    src: /opt/bitwarden/bwdata/core/licenses/organization/3583610f-bb6a-4bac-9521-b50a00eba9fa.json
  register: installed
  no_log: true

- name: Compare both sides, and change nothing
  selfhosted.bitwarden.license:
    url: https://bitwarden.example.com
    client_id: "{{ owner_client_id }}"
    client_secret: "{{ owner_client_secret }}"
    organization: Example Corp
    state: read
    installed: "{{ installed.content }}"
    installation_id: "{{ installation_id }}"
    cloud:
      region: US
      client_id: "{{ cloud_owner_client_id }}"
      client_secret: "{{ cloud_owner_client_secret }}"
  delegate_to: localhost
"""

RETURN = r"""
organization:
  description: The organization at the self-hosted server. V(null) where there is none, as in check mode with O(create).
  returned: success
  type: dict
  contains:
    id:
      description: Its id at this server.
      type: str
      returned: success
      sample: 3583610f-bb6a-4bac-9521-b50a00eba9fa
    name:
      description: Its name.
      type: str
      returned: success
      sample: Example Corp
reason:
  description:
    - Why the license was uploaded, or would be in check mode, one of V(organization_missing), V(organization_disabled),
      V(license_unreadable), V(expiration), V(age) and V(different).
    - Or why not, V(fresh) when the cloud was not asked, V(same) when its license or the file says nothing else, and
      V(older) when the file is older than what the server has.
  returned: success
  type: str
  sample: different
source:
  description: Where the license came from, V(cloud) or V(src). V(null) when none was looked at.
  returned: success
  type: str
  sample: cloud
differences:
  description: The names of what the license would change at the server, or has changed.
  returned: success
  type: list
  elements: str
  sample: [seats, expires]
problems:
  description: What stands against the license that was looked at. Only O(state=read) returns with some.
  returned: success
  type: list
  elements: str
  sample: []
server:
  description: What is known of the license on the server, without its secrets. V(null) where there is no organization.
  returned: success
  type: dict
  contains:
    enabled:
      description: Whether the organization is enabled at the server.
      type: bool
      returned: success
    readable:
      description: Whether the server can read its license file and takes it for a good one.
      type: bool
      returned: success
    problem:
      description: Why it cannot.
      type: str
      returned: success
      sample: the license file on the server is read as one without content
    name:
      description: The organization's name.
      type: str
      returned: success
      sample: Example Corp
    plan:
      description: The name of its plan.
      type: str
      returned: success
      sample: Enterprise (Annually)
    plan_type:
      description: The number of its plan.
      type: int
      returned: success
      sample: 20
    seats:
      description: How many members it allows, V(null) for any number.
      type: int
      returned: success
      sample: 10
    expires:
      description: When the license ends, in UTC, days of grace included.
      type: str
      returned: success
      sample: "2027-12-27T14:18:00Z"
    expires_without_grace_period:
      description: When the subscription behind it ends. V(null) where there is none.
      type: str
      returned: success
      sample: "2027-10-28T14:18:00Z"
    cloud_organization_id:
      description: The organization at the cloud, as the connection or O(installed) tells it.
      type: str
      returned: success
      sample: a42827dc-679c-5946-b772-c1059c9a4ae6
    last_license_sync:
      description: When the server synced its license last, V(null) when it never did.
      type: str
      returned: success
      sample: "2026-08-20T14:16:19.1234567+00:00"
    issued:
      description: When the cloud made the license. V(null) without O(installed).
      type: str
      returned: success
      sample: "2026-11-22T14:18:02Z"
    installation_id:
      description: The installation that it was made for. V(null) without O(installed).
      type: str
      returned: success
      sample: 8318521f-7d7d-4692-8de0-b50a00eabedc
    version:
      description: The version of its format. V(null) without O(installed).
      type: int
      returned: success
      sample: 15
    token:
      description: From when until when its token is good. V(null) without O(installed), and where it has no token.
      type: dict
      returned: success
      sample: {valid_from: "2026-11-22T14:18:02Z", valid_until: "2027-11-22T14:18:02Z"}
    features:
      description: What the organization may use.
      type: dict
      returned: success
      sample: {use_sso: true, use_scim: true}
license:
  description:
    - The license of the cloud or of the file, as its token's claims say it, without its secrets.
      V(null) when none was looked at.
    - Has the keys of RV(server) but for those about the server, and C(type), C(self_host) and C(trial).
  returned: success
  type: dict
  sample:
    cloud_organization_id: a42827dc-679c-5946-b772-c1059c9a4ae6
    name: Example Corp
    plan: Enterprise (Annually)
    plan_type: 20
    seats: 10
    expires: "2027-12-27T14:18:00Z"
    expires_without_grace_period:
    issued: "2026-11-22T14:18:02Z"
    installation_id: 8318521f-7d7d-4692-8de0-b50a00eabedc
    version: 15
    type: organization
    enabled: true
    self_host: true
    trial: false
    token: {valid_from: "2026-11-22T14:18:02Z", valid_until: "2027-11-22T14:18:02Z"}
    features: {use_sso: true, use_scim: true}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import license_task
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import (
    SELF_HOSTED,
    cloud_spec,
    connection_spec,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.license import policy_spec
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server, execute


def run(module: AnsibleModule, server: Server) -> dict[str, t.Any]:
    """Read both sides, and upload the license where the server's is not current."""
    task = license_task.Task(module.params, server, check_mode=module.check_mode, warn=module.warn)
    return task.read() if module.params["state"] == "read" else task.current()


def main() -> None:
    """Read the options and run."""
    spec = {
        **connection_spec(SELF_HOSTED),
        **cloud_spec(),
        **policy_spec(),
        "organization": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["current", "read"], "default": "current"},
        "src": {"type": "path"},
        "installation_id": {"type": "str"},
        "cloud_organization": {"type": "str"},
        "installed": {"type": "str", "no_log": True},
        "create": {"type": "bool", "default": False},
    }
    execute(AnsibleModule(argument_spec=spec, supports_check_mode=True), SELF_HOSTED, run)


if __name__ == "__main__":
    main()
