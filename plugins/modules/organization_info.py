#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the organizations of an account, and how they stand with the cloud."""

from __future__ import annotations

DOCUMENTATION = r"""
module: organization_info
short_description: Read the organizations of an account, and how they stand with the cloud
version_added: 0.1.0
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
description:
  - Lists the organizations that an account owns, at a self-hosted server or at the Bitwarden cloud.
  - At a self-hosted server it also tells whether billing sync is set up, and whether the license is due for a sync.
  - Costs a login and one request, and with O(connection=true) and O(license=true) one more each for each organization.
    Without O(license) the license is only read where O(connection=true) and the last sync is older than a day, since
    one that was synced today is as new as the cloud's.
extends_documentation_fragment:
  - selfhosted.bitwarden.self_hosted
  - selfhosted.bitwarden.connection
  - selfhosted.bitwarden.connection.login
  - selfhosted.bitwarden.attributes
  - selfhosted.bitwarden.attributes.actiongroup_self_hosted
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
  region:
    description:
      - Ask this region of the Bitwarden cloud instead of a self-hosted server, V(US), V(EU) or V(Gov),
        or a dictionary with C(name), C(api) and C(identity). The API key must be one of the cloud then.
      - Cannot be used together with O(url), nor while E(BITWARDEN_URL) is set.
    type: raw
  organization:
    description:
      - The name or the id of the one organization to read.
      - When it is not set, all organizations that the account owns are read.
    type: str
  connection:
    description:
      - Whether to read the billing sync connection too, which only self-hosted servers have and only owners may see.
    type: bool
    default: false
  license:
    description:
      - Whether to read what the license of each organization says, or at the cloud the subscription.
        Only owners may see it.
    type: bool
    default: false
  license_max_age:
    description:
      - After how many days the license is due for a sync. V(0) makes it always due.
    type: int
    default: 7
  license_renew_before:
    description:
      - How many days before its end the license is due for a sync in any case.
    type: int
    default: 30
seealso:
  - module: selfhosted.bitwarden.billing_sync
  - module: selfhosted.bitwarden.billing_sync_token
  - module: selfhosted.bitwarden.license_sync
"""

EXAMPLES = r"""
- name: See how an organization of a self-hosted server stands
  selfhosted.bitwarden.organization_info:
    url: https://bitwarden.example.com
    client_id: "{{ owner_client_id }}"
    client_secret: "{{ owner_client_secret }}"
    organization: Example Corp
    connection: true
    license: true
  delegate_to: localhost
  register: info

- name: Say when the license was synced
  ansible.builtin.debug:
    msg: "{{ info.organizations[0].billing_sync.last_license_sync | default('never', true) }}"

- name: List what an account owns at the cloud, and until when
  selfhosted.bitwarden.organization_info:
    region: EU
    client_id: "{{ cloud_owner_client_id }}"
    client_secret: "{{ cloud_owner_client_secret }}"
    license: true
  delegate_to: localhost
"""

RETURN = r"""
organizations:
  description: The organization that was asked for, or all that the account owns.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The id that the organization has at this server.
      type: str
      returned: success
      sample: 3583610f-bb6a-4bac-9521-b50a00eba9fa
    name:
      description: The organization's name.
      type: str
      returned: success
      sample: Example Corp
    role:
      description: What the account is in it, such as V(owner), V(admin), V(user) or V(custom).
      type: str
      returned: success
      sample: owner
    status:
      description: Whether the membership is V(confirmed), V(accepted), V(invited) or V(revoked).
      type: str
      returned: success
      sample: confirmed
    plan:
      description: One of V(free), V(families), V(teams), V(enterprise) and V(teams_starter).
      type: str
      returned: success
      sample: enterprise
    enabled:
      description: Whether the organization is enabled at this server.
      type: bool
      returned: success
    seats:
      description: How many members it may have, V(null) for any number.
      type: int
      returned: success
      sample: 10
    billing_sync_allowed:
      description: Whether the plan has billing sync.
      type: bool
      returned: success
    billing_sync:
      description: The billing sync connection as the server holds it, without the token.
      returned: success, V(null) unless O(connection=true)
      type: dict
      contains:
        exists:
          description: Whether there is a connection.
          type: bool
          returned: success
        id:
          description: The connection's id, V(null) when there is none.
          type: str
          returned: success
          sample: 4b8c2f55-0f0c-4c6e-8f30-b50a00ebaa5d
        enabled:
          description: Whether it is enabled.
          type: bool
          returned: success
        key_present:
          description: Whether it holds a billing sync token.
          type: bool
          returned: success
        cloud_organization_id:
          description: The id of the organization at the cloud, as the server took it from the license.
          type: str
          returned: success
          sample: a42827dc-679c-5946-b772-c1059c9a4ae6
        last_license_sync:
          description: When the license was synced last, V(null) when it never was.
          type: str
          returned: success
          sample: "2026-08-20T14:16:19.1234567+00:00"
    license:
      description:
        - What the license on the server says, at the cloud what the subscription says. V(null) when it was not read.
        - Where it was read without O(license), only C(expiration) is known, and C(readable).
      returned: success
      type: dict
      contains:
        readable:
          description: Whether the server can read its license file and takes it for a good one.
          type: bool
          returned: success
        problem:
          description: Why it cannot.
          type: str
          returned: success
          sample: the license file on the server is read as one without content
        expiration:
          description: When the license ends, in UTC, days of grace included.
          type: str
          returned: success
          sample: "2027-12-27T14:18:00"
        expiration_without_grace_period:
          description: When the subscription behind it ends, V(null) where that is not told.
          type: str
          returned: success
          sample: "2027-10-28T14:18:00"
        plan:
          description: The name of the plan.
          type: str
          returned: success
          sample: Enterprise (Annually)
        features:
          description: What the organization may use.
          type: dict
          returned: success
          sample: {use_sso: true, use_scim: true}
    license_sync_due:
      description: Whether the license should be synced now. V(null) unless O(connection=true).
      type: bool
      returned: success
    license_sync_reason:
      description:
        - Why, one of V(never_synced), V(age), V(expiration), V(organization_disabled), V(license_unreadable)
          and V(fresh).
        - V(null) unless O(connection=true).
      type: str
      returned: success
      sample: fresh
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    license,
    license_api,
    license_file,
    organization,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import ANY, connection_spec
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import Organization
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server, execute


def wanted(module: AnsibleModule, server: Server) -> list[Organization]:
    """The organization that was asked for, or all that the account owns."""
    name = module.params["organization"]
    if name is None:
        return [item for item in server.organizations() if item.owned]
    found = organization.find(server.organizations(), name, server.name)
    only_owners = module.params["connection"] or module.params["license"]
    return [organization.require_owner(found, server.name) if only_owners else found]


def license_facts(read: dict[str, t.Any] | None, problem: BitwardenError | None) -> dict[str, t.Any]:
    """What the server told of its license, or why it cannot."""
    given = read or {}
    plan = given.get("plan")
    features = {license_file.snake(name): given.get(license_file.camel(name)) for name in license_file.FEATURES}
    return {
        "readable": read is not None,
        "problem": problem.message if problem else None,
        "expiration": given.get("expiration"),
        "expiration_without_grace_period": given.get("expirationWithoutGracePeriod"),
        "plan": plan.get("name") if isinstance(plan, dict) else None,
        "features": {name: value for name, value in features.items() if isinstance(value, bool)},
    }


def due_facts(
    module: AnsibleModule, server: Server, found: Organization, told: dict[str, t.Any] | None
) -> dict[str, t.Any]:
    """The connection, and whether the license is due for a sync; C(told) is the license where it was read."""
    params = module.params
    connected = server.billing_sync(found.id)
    policy = license.Policy.of_days(params["license_max_age"], params["license_renew_before"])
    if told is None:
        due, expiration = server.license_due(found, connected, policy)
        if expiration:
            told = license_facts({"expiration": expiration}, None)
    else:
        now, last_sync = server.now, connected.last_license_sync
        by_age = license.due_without_license(policy, enabled=found.enabled, last_sync=last_sync, now=now)
        due = by_age or license.due_by_license(policy, expiration=told["expiration"], now=now)
    return {
        "billing_sync": connected.as_dict(),
        "license": told,
        "license_sync_due": due.due,
        "license_sync_reason": due.reason,
    }


def facts(module: AnsibleModule, server: Server, found: Organization) -> dict[str, t.Any]:
    """One organization, with its license and its connection where that was asked for."""
    told = license_facts(*license_api.subscription(server, found.id)) if module.params["license"] else None
    nothing = {"billing_sync": None, "license": told, "license_sync_due": None, "license_sync_reason": None}
    asked = due_facts(module, server, found, told) if module.params["connection"] else nothing
    return {**found.as_dict(), **asked}


def run(module: AnsibleModule, server: Server) -> dict[str, t.Any]:
    """Read what was asked for."""
    return {"changed": False, "organizations": [facts(module, server, found) for found in wanted(module, server)]}


def main() -> None:
    """Read the options and run."""
    spec = {
        **connection_spec(ANY),
        **license.policy_spec("license_"),
        "organization": {"type": "str"},
        "connection": {"type": "bool", "default": False},
        "license": {"type": "bool", "default": False},
    }
    execute(AnsibleModule(argument_spec=spec, supports_check_mode=True), ANY, run)


if __name__ == "__main__":
    main()
