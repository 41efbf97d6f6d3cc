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
    or when the server disabled the organization or cannot read its license.
  - Counts as done only when the server says afterwards that it synced.
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
      - Whether the cloud would give a license cannot be seen without a sync.
      - Where there is no connection yet, a sync is predicted with a warning.
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
seealso:
  - module: selfhosted.bitwarden.billing_sync
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
    - Why, one of V(never_synced), V(age), V(expiration), V(organization_disabled), V(license_unreadable)
      and V(fresh).
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
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import license
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import SELF_HOSTED, connection_spec
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import BillingSync
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server, execute


def require_connection(module: AnsibleModule, server: Server, connected: BillingSync) -> None:
    """Without a working connection the server has nothing to sync with; a check run may come before it is made."""
    if connected.exists and connected.enabled and connected.key is not None:
        return
    state = "has no token" if connected.exists and connected.enabled else "is disabled"
    problem = (
        f"The organization's billing sync connection at {server.name} {state if connected.exists else 'is missing'}"
    )
    if module.check_mode:
        module.warn(f"{problem} now; a run needs it before this task, as the module billing_sync makes it.")
        return
    raise BitwardenError(
        f"{problem}, so that the license cannot be synced.",
        next_step="Connect it first with selfhosted.bitwarden.billing_sync (enabled=true).",
    )


def sync(server: Server, organization_id: str, before: BillingSync) -> str:
    """Sync and prove it by the date that the server keeps."""
    server.sync_license(organization_id)
    after = server.billing_sync(organization_id)
    if not license.moved(before.last_license_sync, after.last_license_sync):
        raise BitwardenError(
            f"{server.name} answered that the license was synced, but its last sync is still "
            f"{after.last_license_sync or 'never'}.",
            next_step="Something between here and the server may have answered in its place: compare the address with "
            "the server's own, and look for a proxy or cache.",
        )
    return str(after.last_license_sync)


def expiration_after(module: AnsibleModule, server: Server, organization_id: str) -> str | None:
    """The new license's end; the sync is done already, so not being able to read it is only worth a warning."""
    try:
        return server.expiration(organization_id)
    except BitwardenError as error:
        module.warn(f"The license was synced, but cannot be read back: {error}")
        return None


def run(module: AnsibleModule, server: Server) -> dict[str, t.Any]:
    """Sync the license if it is due."""
    params = module.params
    found = server.owned_organization(params["organization"])
    before = server.billing_sync(found.id)
    policy = license.Policy.of_days(params["max_age"], params["renew_before"])
    due, expiration = server.license_due(found, before, policy)
    last_sync = before.last_license_sync
    if due.due:
        require_connection(module, server, before)
        if not module.check_mode:
            last_sync = sync(server, found.id, before)
            expiration = expiration_after(module, server, found.id)
    return {
        "changed": due.due,
        "organization": {"id": found.id, "name": found.name},
        "due": due.due,
        "reason": due.reason,
        "previous_sync": before.last_license_sync,
        "last_sync": last_sync,
        "expiration": expiration,
        "diff": {
            "before": {"last_license_sync": before.last_license_sync},
            "after": {"last_license_sync": "now" if due.due and module.check_mode else last_sync},
        },
    }


def main() -> None:
    """Read the options and run."""
    spec = {
        **connection_spec(SELF_HOSTED),
        **license.policy_spec(),
        "organization": {"type": "str", "required": True},
    }
    execute(AnsibleModule(argument_spec=spec, supports_check_mode=True), SELF_HOSTED, run)


if __name__ == "__main__":
    main()
