#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sync the license of an organization of a self-hosted server from the Bitwarden cloud."""

from __future__ import annotations

DOCUMENTATION = r"""
module: license_sync
short_description: Sync the license of an organization of a self-hosted server from the Bitwarden cloud
version_added: 0.1.0
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
description:
  - Lets a self-hosted server fetch the license of an organization from the cloud, as the button C(Sync license) does.
    The server never does this by itself.
  - Every sync is a change, so it is only done when it is due, by the age of the last sync or the end of the license,
    when the server disabled the organization or cannot read its license, or with O(compare) when the cloud's license
    says something else.
  - Counts as done only when the server says afterwards that it synced, and has a license that is good; with O(compare)
    also only when that is what the cloud gives.
  - A server tells nearly every reason of a failed sync in the same words. So after a failure the reasons are asked for
    in order, as far as the options allow, and the cause is named. O(state=diagnosed) does only that.
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
      - Whether the cloud would give a license cannot be seen without a sync.
      - Where there is no connection yet, a sync is predicted with a warning.
      - With O(compare) the license is downloaded in check mode too. The cloud notes with each download that the
        organization uses this installation.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - With O(max_age=0) every run syncs.
options:
  organization:
    description:
      - The name or the id of the organization at the self-hosted server. The account must be a confirmed owner of it.
    type: str
    required: true
  state:
    description:
      - V(synced) syncs the license where it is due.
      - V(diagnosed) changes nothing and does not sync. It asks for every reason why a sync would fail, in order, and
        returns what it found.
    type: str
    choices: [synced, diagnosed]
    default: synced
  max_age:
    description:
      - After how many days the license is due for a sync. V(0) syncs in every run.
    type: int
    default: 7
  renew_before:
    description:
      - How many days before its end the license is due for a sync in any case.
    type: int
    default: 30
  compare:
    description:
      - Whether to compare the license on the server with the one that the cloud gives, in every run, and after a sync.
      - Needs O(installation_id) and the API key of an owner at the cloud (O(cloud)). Each run costs the cloud a login
        and two requests.
    type: bool
    default: false
  installation_id:
    description:
      - The installation id of the server, C(globalSettings__installation__id) in its environment file.
      - Needed for O(compare). After a failed sync the cloud is asked whether it knows the installation.
    type: str
  billing_sync_token:
    description:
      - The token of the cloud organization, as M(selfhosted.bitwarden.billing_sync_token) returns it, to tell after a
        failed sync whether the server holds it. It is not applied.
    type: str
  endpoints:
    description:
      - What M(selfhosted.bitwarden.egress_probe) found out on the server, its C(endpoints).
        After a failed sync it tells whether the way to the cloud is open.
    type: list
    elements: dict
  log:
    description:
      - Lines of the server's log, of C(bwdata/logs/api/Api/YYYYMMDD.txt) or of C(docker logs), for O(state=diagnosed).
        What they say of a license sync in the last 15 minutes is the cause.
    type: list
    elements: str
seealso:
  - module: selfhosted.bitwarden.billing_sync
  - module: selfhosted.bitwarden.egress_probe
  - module: selfhosted.bitwarden.license
  - module: selfhosted.bitwarden.organization_info
"""

EXAMPLES = r"""
- name: Sync the license once a week
  selfhosted.bitwarden.license_sync:
    url: https://bitwarden.example.com
    client_id: "{{ owner_client_id }}"
    client_secret: "{{ owner_client_secret }}"
    organization: Example Corp
  delegate_to: localhost

- name: Sync it now
  selfhosted.bitwarden.license_sync:
    url: https://bitwarden.example.com
    client_id: "{{ owner_client_id }}"
    client_secret: "{{ owner_client_secret }}"
    organization: Example Corp
    max_age: 0
  delegate_to: localhost

- name: Sync it when the cloud's license is another one, and prove that it arrived
  selfhosted.bitwarden.license_sync:
    url: https://bitwarden.example.com
    client_id: "{{ owner_client_id }}"
    client_secret: "{{ owner_client_secret }}"
    organization: Example Corp
    compare: true
    installation_id: "{{ installation_id }}"
    cloud:
      region: EU
      client_id: "{{ cloud_owner_client_id }}"
      client_secret: "{{ cloud_owner_client_secret }}"
  delegate_to: localhost

- name: Ask the server whether it reaches the cloud
  selfhosted.bitwarden.egress_probe:
    region: EU
  become: true
  register: probe

- name: Find out why syncs fail
  selfhosted.bitwarden.license_sync:
    url: https://bitwarden.example.com
    client_id: "{{ owner_client_id }}"
    client_secret: "{{ owner_client_secret }}"
    organization: Example Corp
    state: diagnosed
    installation_id: "{{ installation_id }}"
    cloud:
      region: EU
      client_id: "{{ cloud_owner_client_id }}"
      client_secret: "{{ cloud_owner_client_secret }}"
    endpoints: "{{ probe.endpoints }}"
  delegate_to: localhost
  register: diagnosis
"""

RETURN = r"""
organization:
  description: The organization at the self-hosted server.
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
due:
  description: Whether a sync was due.
  returned: success
  type: bool
reason:
  description:
    - Why, one of V(never_synced), V(age), V(expiration), V(organization_disabled), V(license_unreadable),
      V(different) and V(fresh).
  returned: success
  type: str
  sample: age
previous_sync:
  description: When the license had been synced before this run, V(null) when it never was.
  returned: success
  type: str
  sample: "2026-08-20T14:16:19.1234567+00:00"
last_sync:
  description: When the license was synced last. In check mode the same as RV(previous_sync).
  returned: success
  type: str
  sample: "2026-08-27T14:16:20.7654321+00:00"
expiration:
  description: When the license on the server ends, in UTC. V(null) when it was not read.
  returned: success
  type: str
  sample: "2027-12-27T14:18:00"
differences:
  description:
    - What the cloud's license says otherwise than the server's had it, by name. V(null) where they were not compared.
  returned: success
  type: list
  elements: str
  sample: [seats]
probes:
  description: What was asked about, in order, with O(state=diagnosed) and after a sync that failed without a reason.
  returned: with O(state=diagnosed), and after such a failure
  type: list
  elements: dict
  contains:
    probe:
      description:
        - V(cloud_communication), V(connection), V(token), V(installation), V(cloud_organization), V(clock), V(way) from
          the server to the cloud, or V(log).
      type: str
      returned: always
      sample: token
    result:
      description: V(ok), V(wrong) or V(unknown).
      type: str
      returned: always
      sample: wrong
    said:
      description: What was found.
      type: str
      returned: always
      sample: the billing sync token was rotated at the cloud after the last sync that succeeded
    next_step:
      description: What to do about it.
      type: str
      returned: always
      sample: Fetch the billing sync token again (billing_sync_token) and apply it (billing_sync).
    remedy:
      description: The key of the entry in C(docs/troubleshooting.md) of the collection.
      type: str
      returned: always
      sample: log-wrong-billing-sync-key
cause:
  description: Why syncs fail, V(null) when nothing was found. What the server's log says counts before all others.
  returned: with O(state=diagnosed), and after a failure
  type: str
  sample: the billing sync token was rotated at the cloud after the last sync that succeeded
next_step:
  description: What to do about it.
  returned: with O(state=diagnosed), and after a failure
  type: str
  sample: Fetch the billing sync token again (billing_sync_token) and apply it (billing_sync).
remedy:
  description: The key of the cause's entry in C(docs/troubleshooting.md) of the collection.
  returned: with O(state=diagnosed), and after a failure
  type: str
  sample: log-wrong-billing-sync-key
link:
  description: Bitwarden's own page about it, V(null) where there is none.
  returned: with O(state=diagnosed), and after a failure
  type: str
  sample: https://bitwarden.com/help/families-for-enterprise-self-hosted/
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    license,
    license_probes,
    license_sync_task,
    remedies,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import (
    SELF_HOSTED,
    cloud_spec,
    connection_spec,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server, execute


def diagnosed(module: AnsibleModule, server: Server) -> dict[str, t.Any]:
    """Every reason why a sync would fail."""
    found = server.owned_organization(module.params["organization"])
    connected = server.billing_sync(found.id)
    answers = license_probes.Probes(module.params, server, connected).answers()
    blamed = license_probes.cause(answers)
    return {
        "changed": False,
        "organization": {"id": found.id, "name": found.name},
        "last_sync": connected.last_license_sync,
        "probes": [one.as_dict() for one in answers],
        "cause": blamed.said if blamed else None,
        "next_step": blamed.next_step if blamed else None,
        "remedy": blamed.remedy if blamed else None,
        "link": (remedies.entry(blamed.remedy).link or None) if blamed else None,
    }


def run(module: AnsibleModule, server: Server) -> dict[str, t.Any]:
    """Sync the license if it is due, or find out why it cannot be."""
    if module.params["state"] == "diagnosed":
        return diagnosed(module, server)
    return license_sync_task.Task(module.params, server, check_mode=module.check_mode, warn=module.warn).run()


def main() -> None:
    """Read the options and run."""
    spec = {
        **connection_spec(SELF_HOSTED),
        **cloud_spec(),
        **license.policy_spec(),
        "organization": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["synced", "diagnosed"], "default": "synced"},
        "compare": {"type": "bool", "default": False},
        "installation_id": {"type": "str"},
        "billing_sync_token": {"type": "str", "no_log": True},
        "endpoints": {"type": "list", "elements": "dict"},
        "log": {"type": "list", "elements": "str"},
    }
    execute(AnsibleModule(argument_spec=spec, supports_check_mode=True), SELF_HOSTED, run)


if __name__ == "__main__":
    main()
