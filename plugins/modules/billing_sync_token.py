#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetch the billing sync token of an organization from the Bitwarden cloud."""

from __future__ import annotations

DOCUMENTATION = r"""
module: billing_sync_token
short_description: Fetch the billing sync token of an organization from the Bitwarden cloud
version_added: 0.1.0
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
description:
  - Returns the billing sync token of an organization at the Bitwarden cloud, and makes one only where there is none.
  - Asks first, without the password, whether a token exists. The password is proved before the first token is made,
    since the cloud makes it even for a call with a wrong password.
  - Tasks for one organization take turns on one controller, because first calls at the same moment leave the
    organization with several tokens that nobody can read or rotate ever after.
    Let only one controller fetch a first token.
  - Never rotates a token.
extends_documentation_fragment:
  - selfhosted.bitwarden.cloud
  - selfhosted.bitwarden.cloud.login
  - selfhosted.bitwarden.connection
  - selfhosted.bitwarden.connection.login
  - selfhosted.bitwarden.lock
  - selfhosted.bitwarden.attributes
  - selfhosted.bitwarden.attributes.actiongroup_cloud
attributes:
  check_mode:
    support: full
    details:
      - Where there is no token yet, a change is predicted, RV(token) is V(null), and the password is not proved.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  organization:
    description:
      - The name or the id of the organization at the cloud. The account must be a confirmed owner of it.
    type: str
    required: true
  master_password:
    description:
      - The master password of the account that O(client_id) belongs to. Only a hash of it is sent.
      - When it is not set, the value of E(BITWARDEN_CLOUD_MASTER_PASSWORD) is used. One of both is needed.
    type: str
notes:
  - Use C(no_log=true) on the task and on those that pass RV(token) on. The token is a secret.
  - Argon2id accounts need the Python library C(cryptography) 44 or newer, which ansible-core brings.
seealso:
  - module: selfhosted.bitwarden.billing_sync
  - module: selfhosted.bitwarden.organization_info
"""

EXAMPLES = r"""
- name: Fetch the token of an organization, with credentials from the environment
  selfhosted.bitwarden.billing_sync_token:
    region: EU
    organization: Example Corp
  delegate_to: localhost
  register: cloud
  no_log: true

- name: Hand it to the self-hosted server
  selfhosted.bitwarden.billing_sync:
    url: https://bitwarden.example.com
    organization: Example Corp
    billing_sync_token: "{{ cloud.token }}"
  delegate_to: localhost
"""

RETURN = r"""
token:
  description: The billing sync token, a secret. V(null) in check mode when there is none yet.
  returned: success
  type: str
revision_date:
  description: When the token was made or rotated last. V(null) in check mode when there is none yet.
  returned: success
  type: str
  sample: "2026-11-22T15:27:52.3782451Z"
organization:
  description: The organization at the cloud.
  returned: success
  type: dict
  contains:
    id:
      description: Its id at the cloud.
      type: str
      returned: success
      sample: a42827dc-679c-5946-b772-c1059c9a4ae6
    name:
      description: Its name.
      type: str
      returned: success
      sample: Example Corp
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule, env_fallback
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import identity
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import CLOUD, connection_spec
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import require_billing_sync_plan
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization_lock import lock_spec, organization_lock
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server, execute


def password_hash(server: Server, password: str | None) -> str:
    """What proves the password of the account that logged in."""
    if not password:
        raise BitwardenError(
            f"No master_password is given, and {server.name} hands out no billing sync token without one.",
            next_step="Give the master password of the account whose API key is used, as the option or in "
            "BITWARDEN_CLOUD_MASTER_PASSWORD in the environment of the host that the task is delegated to.",
        )
    login = server.login
    if not login.has_master_password:
        raise BitwardenError(
            f"The account {server.email()} at {server.name} has no master password (it logs in by single sign-on).",
            next_step="Use the API key and master password of an owner who has one.",
        )
    return identity.master_password_hash(password, login.salt or server.email().strip().lower(), login.kdf)


def fetch(module: AnsibleModule, server: Server, organization_id: str, proof: str) -> dict[str, t.Any]:
    """Read the one key there is, or make the first one; the caller holds the organization's lock."""
    dates = server.key_dates(organization_id)
    require_one(dates, organization_id)
    if not dates:
        if module.check_mode:
            return {"changed": True, "token": None, "revision_date": None}
        # The cloud makes the key before it looks at the password, so a wrong one must be found out earlier.
        server.verify_password(proof)
    key = server.billing_sync_key(organization_id, proof)
    if not dates:
        require_one(server.key_dates(organization_id), organization_id)
    return {"changed": not dates, "token": key["apiKey"], "revision_date": key.get("revisionDate")}


def require_one(dates: list[str], organization_id: str) -> None:
    """Refuse organizations that first calls at the same moment have broken."""
    if len(dates) > 1:
        raise BitwardenError(
            f"The organization {organization_id} has {len(dates)} billing sync tokens at the cloud "
            f"(made {', '.join(dates)}), and the cloud can neither return nor rotate any of them.",
            next_step="Keep the token that the self-hosted server uses, never rotate, and ask Bitwarden's support to "
            "remove the others. Calls at the same moment from several controllers do this.",
        )


def run(module: AnsibleModule, server: Server) -> dict[str, t.Any]:
    """Check that the token may be had, and fetch it under the lock."""
    params = module.params
    server.require_cloud()
    found = require_billing_sync_plan(server.owned_organization(params["organization"]), server.name)
    if not found.enabled:
        module.warn(
            f"The organization {found.name} is disabled at {server.name}. Its token works, but the self-hosted server "
            "will refuse its license until the subscription is settled."
        )
    proof = password_hash(server, params["master_password"])
    with organization_lock(params, server.connection.api, found.id):
        result = fetch(module, server, found.id, proof)
    before = "absent" if result["changed"] else "present"
    return {
        **result,
        "organization": {"id": found.id, "name": found.name},
        "diff": {"before": {"billing_sync_token": before}, "after": {"billing_sync_token": "present"}},
    }


def main() -> None:
    """Read the options and run."""
    password = {"type": "str", "no_log": True}
    spec = {
        **connection_spec(CLOUD),
        **lock_spec(),
        "organization": {"type": "str", "required": True},
        "master_password": {**password, "fallback": (env_fallback, ["BITWARDEN_CLOUD_MASTER_PASSWORD"])},
    }
    execute(AnsibleModule(argument_spec=spec, supports_check_mode=True), CLOUD, run)


if __name__ == "__main__":
    main()
