#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connect an organization of a self-hosted server to its organization at the Bitwarden cloud."""

from __future__ import annotations

DOCUMENTATION = r"""
module: billing_sync
short_description: Connect an organization of a self-hosted server to its organization at the Bitwarden cloud
version_added: 0.1.0
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
description:
  - Puts the billing sync token of the cloud into an organization of a self-hosted server, or takes it away.
  - Tasks for one organization take turns on one controller, because connections made at the same moment stand side by
    side, and the server then refuses to change either.
  - Compares first and changes only what differs. The date of the last license sync survives, unlike in the web vault.
  - The server takes any token. Whether it is good shows in the first sync (M(selfhosted.bitwarden.license_sync)).
extends_documentation_fragment:
  - selfhosted.bitwarden.self_hosted
  - selfhosted.bitwarden.connection
  - selfhosted.bitwarden.connection.login
  - selfhosted.bitwarden.lock
  - selfhosted.bitwarden.attributes
  - selfhosted.bitwarden.attributes.actiongroup_self_hosted
attributes:
  check_mode:
    support: full
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
  billing_sync_token:
    description:
      - The token, as M(selfhosted.bitwarden.billing_sync_token) returns it.
      - Needed for O(state=present). Only in check mode it may be missing, as when the token itself is yet to be made,
        and the result is a change then.
    type: str
  enabled:
    description:
      - Whether the connection is enabled.
    type: bool
    default: true
  state:
    description:
      - Whether the connection should exist.
      - V(absent) leaves the license and the token at the cloud alone.
        It also removes what several runs at once may have left.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: selfhosted.bitwarden.billing_sync_token
  - module: selfhosted.bitwarden.license_sync
  - module: selfhosted.bitwarden.organization_info
"""

EXAMPLES = r"""
- name: Connect an organization
  selfhosted.bitwarden.billing_sync:
    url: https://bitwarden.example.com
    client_id: "{{ owner_client_id }}"
    client_secret: "{{ owner_client_secret }}"
    organization: Example Corp
    billing_sync_token: "{{ cloud.token }}"
  delegate_to: localhost

- name: Take the connection away
  selfhosted.bitwarden.billing_sync:
    url: https://bitwarden.example.com
    client_id: "{{ owner_client_id }}"
    client_secret: "{{ owner_client_secret }}"
    organization: Example Corp
    state: absent
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
billing_sync:
  description: The billing sync connection as the server holds it, without the token.
  returned: success
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
"""

import typing as t
from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import SELF_HOSTED, connection_spec
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import BillingSync
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization_lock import lock_spec, organization_lock
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server, execute

# More connections than several runs at once can have left behind.
MOST_CONNECTIONS = 20


def require_cloud_communication(module: AnsibleModule, server: Server) -> None:
    """A connection is useless while the server may not call the cloud; a check run may come before it is allowed."""
    if server.cloud_communication():
        return
    problem = f"Cloud communication is off in the running server {server.name}"
    if module.check_mode:
        module.warn(f"{problem} now; a run needs it on before this task, as the role cloud_communication turns it on.")
        return
    raise BitwardenError(
        f"{problem}, so that a billing sync connection would do nothing. Nothing was changed.",
        next_step="Set globalSettings__enableCloudCommunication=true and restart (role cloud_communication does both); "
        "if the environment file says so already, only the restart is missing.",
    )


def present(module: AnsibleModule, server: Server, organization_id: str, before: BillingSync) -> BillingSync:
    """Make or replace the connection where it differs."""
    token = (module.params["billing_sync_token"] or "").strip() or None
    enabled = module.params["enabled"]
    if token is None and not module.check_mode:
        raise BitwardenError(
            "billing_sync_token is missing or empty.",
            next_step="Fetch it with selfhosted.bitwarden.billing_sync_token and pass its token.",
        )
    if token is not None and (before.key, before.enabled) == (token, enabled):
        return before
    require_cloud_communication(module, server)
    if module.check_mode:
        return replace(before, id=before.id or "", key=token or "", enabled=enabled)
    with organization_lock(module.params, server.connection.api, organization_id):
        # Whoever was waited for may have made the connection.
        return server.connect(organization_id, server.billing_sync(organization_id), str(token), enabled=enabled)


def absent(module: AnsibleModule, server: Server, organization_id: str, before: BillingSync) -> BillingSync:
    """Remove every connection that there is."""
    current = before
    for _attempt in range(MOST_CONNECTIONS):
        if not current.exists or module.check_mode:
            return BillingSync()
        server.delete_billing_sync(current)
        current = server.billing_sync(organization_id)
    raise BitwardenError(
        f"The organization still has a billing sync connection at {server.name} after {MOST_CONNECTIONS} were removed.",
        next_step="See whether another run connects it at the same time.",
    )


def shown(connection: BillingSync, key: str) -> dict[str, t.Any]:
    """A connection as the diff shows it."""
    return {"exists": connection.exists, "enabled": connection.enabled, "billing_sync_token": key}


def run(module: AnsibleModule, server: Server) -> dict[str, t.Any]:
    """Bring the connection into the wanted state."""
    found = server.owned_organization(module.params["organization"])
    before = server.billing_sync(found.id)
    change = present if module.params["state"] == "present" else absent
    after = change(module, server, found.id, before)
    key_before = "unset" if before.key is None else "set"
    key_after = "unset" if after.key is None else "set" if before.key in (None, after.key) else "changed"
    return {
        "changed": after != before,
        "organization": {"id": found.id, "name": found.name},
        "billing_sync": after.as_dict(),
        "diff": {"before": shown(before, key_before), "after": shown(after, key_after)},
    }


def main() -> None:
    """Read the options and run."""
    spec = {
        **connection_spec(SELF_HOSTED),
        **lock_spec(),
        "organization": {"type": "str", "required": True},
        "billing_sync_token": {"type": "str", "no_log": True},
        "enabled": {"type": "bool", "default": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    execute(AnsibleModule(argument_spec=spec, supports_check_mode=True), SELF_HOSTED, run)


if __name__ == "__main__":
    main()
