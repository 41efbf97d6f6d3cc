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
    What was saved is read back and compared again.
  - Where several connections stand side by side, and the server therefore refuses to change any, all but one are
    removed.
  - The server takes any token. Whether it is good shows in the first sync (M(selfhosted.bitwarden.license_sync)), but
    with O(cloud_organization_id) a token of another organization than the license's is refused.
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
      - With O(state=disabled) it may be missing, and the token that the connection holds stays.
    type: str
  cloud_organization_id:
    description:
      - The id of the cloud organization that O(billing_sync_token) is of, as
        M(selfhosted.bitwarden.billing_sync_token) returns it.
      - The server takes the id of its connection from the license that it has. Where the two differ, because the
        license or the token is another organization's, the task fails and the connection stays as it was.
    type: str
    version_added: 0.4.0
  state:
    description:
      - V(present) is a connection that is enabled.
      - V(disabled) is a connection that stays and is not used. Where there is none, none is made.
      - V(absent) leaves the license and the token at the cloud alone.
        It also removes what several runs at once may have left.
    type: str
    choices: [present, disabled, absent]
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
    cloud_organization_id: "{{ cloud.organization.id }}"
  delegate_to: localhost

- name: Keep the connection and its token, but do not use it
  selfhosted.bitwarden.billing_sync:
    url: https://bitwarden.example.com
    client_id: "{{ owner_client_id }}"
    client_secret: "{{ owner_client_secret }}"
    organization: Example Corp
    state: disabled
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
removed_duplicates:
  description: How many other connections of the organization were removed, that runs at the same moment had left.
  returned: success
  type: int
  sample: 0
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
from dataclasses import dataclass, replace

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import connections
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import SELF_HOSTED, connection_spec
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.connections import Wish
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import BillingSync, is_guid
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization_lock import lock_spec, organization_lock
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server, execute


@dataclass(frozen=True)
class Work:
    """One task's hands: its module, its server, and the organization there."""

    module: AnsibleModule
    server: Server
    organization_id: str

    def locked(self) -> t.ContextManager[None]:
        """Keep out what other tasks on this controller would do to the organization."""
        return organization_lock(self.module.params, self.server.connection.api, self.organization_id)


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


def wish_of(params: dict[str, t.Any], before: BillingSync) -> Wish | None:
    """The connection that the options ask for; None where its token is not known yet."""
    enabled = params["state"] == "present"
    token = (params["billing_sync_token"] or "").strip() or (None if enabled else before.key or "")
    cloud = (params["cloud_organization_id"] or "").strip().lower() or None
    if cloud is not None and not is_guid(cloud):
        raise BitwardenError(
            f"cloud_organization_id is {cloud!r}, which is no GUID.",
            next_step="Take it from organization.id in the result of selfhosted.bitwarden.billing_sync_token.",
        )
    return None if token is None else Wish(token, enabled, cloud)


def predicted(before: BillingSync, wish: Wish | None, *, enabled: bool) -> BillingSync:
    """The connection as a run would leave it."""
    cloud = (wish and wish.cloud_organization_id) or before.cloud_organization_id
    key = wish.key if wish else ""
    return replace(before, id=before.id or "", key=key, enabled=enabled, cloud_organization_id=cloud)


def saved(work: Work, before: BillingSync) -> tuple[BillingSync, int]:
    """Make or change the connection where it differs."""
    module, server = work.module, work.server
    wish = wish_of(module.params, before)
    if wish is None and not module.check_mode:
        raise BitwardenError(
            "billing_sync_token is missing or empty.",
            next_step="Fetch it with selfhosted.bitwarden.billing_sync_token and pass its token.",
        )
    disabled = module.params["state"] == "disabled"
    if (wish is not None and wish.met_by(before)) or (disabled and not before.exists):
        return before, 0
    server.require("server")
    # A connection that is in use gets another token all the same: the old one may count no more.
    if not disabled and not before.enabled:
        require_cloud_communication(module, server)
    if module.check_mode or wish is None:
        if before.exists and wish is not None and not wish.same_organization(before):
            module.warn(
                f"The connection is of the cloud organization {before.cloud_organization_id}, the token of "
                f"{wish.cloud_organization_id}: a run fails if the license on {server.name} is of the former still."
            )
        return predicted(before, wish, enabled=not disabled), 0
    with work.locked():
        # Whoever was waited for may have made the connection.
        return connections.save(server, work.organization_id, wish)


def absent(work: Work, before: BillingSync) -> tuple[BillingSync, int]:
    """Remove every connection that there is."""
    if before.exists:
        work.server.require("server")
        if not work.module.check_mode:
            with work.locked():
                count = connections.remove(work.server, work.organization_id, before)
            return BillingSync(), max(count - 1, 0)
    return BillingSync(), 0


def shown(connection: BillingSync, key: str) -> dict[str, t.Any]:
    """A connection as the diff shows it."""
    return {"exists": connection.exists, "enabled": connection.enabled, "billing_sync_token": key}


def run(module: AnsibleModule, server: Server) -> dict[str, t.Any]:
    """Bring the connection into the wanted state."""
    found = server.owned_organization(module.params["organization"])
    before = server.billing_sync(found.id)
    change = absent if module.params["state"] == "absent" else saved
    after, removed = change(Work(module, server, found.id), before)
    if removed:
        module.warn(
            f"The organization {found.name} had {removed + 1} billing sync connections at {server.name}, as runs at "
            f"the same moment leave them; {removed} more than wanted had to be removed."
        )
    key_before = "unset" if before.key is None else "set"
    key_after = "unset" if after.key is None else "set" if before.key in (None, after.key) else "changed"
    return {
        "changed": after != before,
        "organization": {"id": found.id, "name": found.name},
        "billing_sync": after.as_dict(),
        "removed_duplicates": removed,
        "diff": {"before": shown(before, key_before), "after": shown(after, key_after)},
    }


def main() -> None:
    """Read the options and run."""
    spec = {
        **connection_spec(SELF_HOSTED),
        **lock_spec(),
        "organization": {"type": "str", "required": True},
        "billing_sync_token": {"type": "str", "no_log": True},
        "cloud_organization_id": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "disabled", "absent"], "default": "present"},
    }
    execute(AnsibleModule(argument_spec=spec, supports_check_mode=True), SELF_HOSTED, run)


if __name__ == "__main__":
    main()
