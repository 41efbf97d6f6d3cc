#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetch the billing sync token of an organization from the Bitwarden cloud."""

from __future__ import annotations

DOCUMENTATION = r"""
module: billing_sync_token
short_description: Fetch or rotate the billing sync token of an organization at the Bitwarden cloud
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
  - Rotates a token only with O(rotate=true), and tells without any password whether there is one with
    O(information_only=true).
requirements:
  - cryptography >= 44 (for accounts with Argon2id only; ansible-core brings it)
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
      - Where a token would be made or rotated, a change is predicted, and RV(token) is V(null).
        A master password is proved all the same. A one-time code is not, because it would be used up.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - With O(rotate=true) every run makes another token, and with O(request_otp=true) every run has a mail sent.
options:
  organization:
    description:
      - The name or the id of the organization at the cloud. The account must be a confirmed owner of it, or a user of
        the provider that manages it. Its plan must be Teams or Enterprise.
    type: str
    required: true
  master_password:
    description:
      - The master password of the account that O(client_id) belongs to. Only a hash of it is sent.
      - When it is not set, the value of E(BITWARDEN_CLOUD_MASTER_PASSWORD) is used. It or O(otp) is needed, but for
        O(information_only) and O(request_otp).
    type: str
  otp:
    description:
      - A one-time code that the cloud mailed to the account, see O(request_otp), instead of O(master_password).
        For owners without a master password (trusted devices, Key Connector) there is no other way.
      - It counts once and for five minutes. Where both are given, the code is used.
    type: str
    version_added: 0.4.0
  request_otp:
    description:
      - Has the cloud mail a one-time code to the account, and does nothing else. Each mail makes the one before void.
    type: bool
    default: false
    version_added: 0.4.0
  rotate:
    description:
      - Whether to make a new token in the place of the old one, which counts no more from that moment on.
      - Every server in O(servers) has to get the new one (M(selfhosted.bitwarden.billing_sync)); until then its syncs
        fail. The playbook C(selfhosted.bitwarden.rotate_token) does both.
      - Where there is no token yet, the first one is made and nothing is rotated.
    type: bool
    default: false
    version_added: 0.4.0
  servers:
    description:
      - With O(rotate=true), the servers that hold the old token, by whatever name they shall have in the result.
        The cloud does not know them. It may be an empty list, but has to be given.
    type: list
    elements: str
    version_added: 0.4.0
  information_only:
    description:
      - Whether to tell only that a token exists and when it was made. No password is needed, and none is made.
    type: bool
    default: false
    version_added: 0.4.0
  confirm:
    description:
      - Whether to ask the cloud again, after a first token was made, that it is the only one.
      - V(false) saves that request where a license sync follows, which proves the token.
    type: bool
    default: true
    version_added: 0.4.0
notes:
  - Use C(no_log=true) on the task and on those that pass RV(token) on. The token is a secret.
  - At Bitwarden's own regions a task costs four requests of which one is a login, and with O(confirm) a fifth for a
    first token. The cloud gives an address ten logins a minute, so tasks on one controller wait for their turn.
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
    cloud_organization_id: "{{ cloud.organization.id }}"
  delegate_to: localhost

- name: See whether an organization has a token, and how old it is
  selfhosted.bitwarden.billing_sync_token:
    region: US
    organization: Example Corp
    information_only: true
  delegate_to: localhost
  register: known

- name: Have a one-time code mailed to an owner without a master password
  selfhosted.bitwarden.billing_sync_token:
    region: US
    organization: Example Corp
    request_otp: true
  delegate_to: localhost

- name: Fetch the token with the code that the owner reads out of the mail
  selfhosted.bitwarden.billing_sync_token:
    region: US
    organization: Example Corp
    otp: "{{ code }}"
  delegate_to: localhost
  register: cloud
  no_log: true

- name: Rotate a token that somebody may have seen
  selfhosted.bitwarden.billing_sync_token:
    region: US
    organization: Example Corp
    rotate: true
    servers:
      - bitwarden-berlin
      - bitwarden-paris
  delegate_to: localhost
  register: cloud
  no_log: true
"""

RETURN = r"""
token:
  description:
    - The billing sync token, a secret.
    - V(null) with O(information_only) and O(request_otp), and in check mode where it would be made or rotated.
  returned: success
  type: str
  sample: 9bXw0Q3vE1kTzLr7Yc2uHs5dNa8fGj
exists:
  description: Whether the organization has a token, after the task; in check mode as it would be.
  returned: success
  type: bool
revision_date:
  description: When the token was made or rotated last. V(null) in check mode when there is none yet.
  returned: success
  type: str
  sample: "2026-11-22T15:27:52.3782451Z"
rotated:
  description: Whether the token was rotated.
  returned: success
  type: bool
servers_with_old_token:
  description: The servers that hold a token which counts no more, as given in O(servers). Empty if nothing was rotated.
  returned: success
  type: list
  elements: str
  sample: [bitwarden-berlin, bitwarden-paris]
otp_requested:
  description: Whether the cloud was asked to mail a one-time code.
  returned: success
  type: bool
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
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.billing_sync_key import (
    KEEP_THE_ONE_THAT_WORKS,
    BillingSyncKey,
    Outcome,
    several,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import require_billing_sync_plan
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization_lock import lock_spec, organization_lock
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server, execute

HOW_BY_CODE = (
    "Have a one-time code mailed to the owner (request_otp=true), and give it in otp. Or use the API key and master "
    "password of an owner who has one."
)


def refuse_contradictions(params: dict[str, t.Any]) -> None:
    """Refuse to do two things in one task, before the first of them is done."""
    given = [name for name in ("rotate", "information_only", "request_otp") if params[name]]
    if params["otp"] and not params["rotate"]:
        given.append("otp")
    if len(given) > 1:
        raise BitwardenError(
            f"{' and '.join(given)} are given at once, and each is another task.",
            next_step="Give one of them. A code is requested first, and then given to a task that fetches or rotates.",
        )


def proof_of(server: Server, params: dict[str, t.Any]) -> identity.Proof:
    """What proves the owner: the code that a person gave, or the password of the account that logged in."""
    if params["otp"]:
        return identity.code_proof(params["otp"])
    password = params["master_password"]
    if not password:
        raise BitwardenError(
            f"No master_password is given, and {server.name} hands out no billing sync token without one.",
            next_step="Give the master password of the account whose API key is used, as the option or in "
            "BITWARDEN_CLOUD_MASTER_PASSWORD in the environment of the host that the task is delegated to. "
            f"For an account that has none: {HOW_BY_CODE}",
        )
    login = server.login
    if not login.has_master_password:
        raise BitwardenError(
            f"The account {server.email()} at {server.name} has no master password (it logs in by single sign-on).",
            next_step=HOW_BY_CODE,
        )
    return identity.password_proof(password, login.salt or server.email().strip().lower(), login)


def information(module: AnsibleModule, key: BillingSyncKey, organization_id: str) -> dict[str, t.Any]:
    """What can be known of the token without a password."""
    dates = key.dates()
    if len(dates) > 1:
        module.warn(f"{several(organization_id, dates)} {KEEP_THE_ONE_THAT_WORKS}")
    return {"exists": bool(dates), "revision_date": max(dates, default=None)}


def mailed(module: AnsibleModule, server: Server, key: BillingSyncKey, organization_id: str) -> dict[str, t.Any]:
    """Have a code mailed, for an organization whose token it can fetch."""
    found = information(module, key, organization_id)
    if not module.check_mode:
        server.mail_code()
    return {**found, "changed": True, "otp_requested": True}


def told(outcome: Outcome, servers: list[str]) -> dict[str, t.Any]:
    """What was done as the result tells it, with a diff that holds no secret."""
    before = "absent" if outcome.changed and not outcome.rotated else "present"
    return {
        "changed": outcome.changed,
        "token": outcome.token,
        "exists": True,
        "revision_date": outcome.revision_date,
        "rotated": outcome.rotated,
        "servers_with_old_token": servers if outcome.rotated else [],
        "diff": {
            "before": {"billing_sync_token": before},
            "after": {"billing_sync_token": "rotated" if outcome.rotated else "present"},
        },
    }


def fetched(module: AnsibleModule, server: Server, key: BillingSyncKey) -> dict[str, t.Any]:
    """Read, make or rotate the token."""
    params = module.params
    proof = proof_of(server, params)
    work = key.rotate if params["rotate"] else key.get
    outcome = work(proof, check_mode=module.check_mode, confirm=params["confirm"])
    servers = params["servers"] or []
    if outcome.rotated and servers:
        module.warn(
            "The old billing sync token counts no more. Hand the new one to the servers that hold the old one, or "
            f"their syncs fail: {', '.join(servers)}."
        )
    return told(outcome, servers)


def run(module: AnsibleModule, server: Server) -> dict[str, t.Any]:
    """Check that the token may be had, and do what is asked for."""
    params = module.params
    refuse_contradictions(params)
    server.require_cloud()
    found = require_billing_sync_plan(server.owned_organization(params["organization"]), server.name)
    if not found.enabled:
        module.warn(
            f"The organization {found.name} is disabled at {server.name}. Its token works, but the self-hosted server "
            "will refuse its license until the subscription is settled."
        )
    key = BillingSyncKey(server, found.id, lambda: organization_lock(params, server.connection.api, found.id))
    if params["information_only"]:
        result = information(module, key, found.id)
    elif params["request_otp"]:
        result = mailed(module, server, key, found.id)
    else:
        result = fetched(module, server, key)
    nothing: dict[str, t.Any] = {
        "changed": False,
        "token": None,
        "rotated": False,
        "servers_with_old_token": [],
        "otp_requested": False,
    }
    return {**nothing, **result, "organization": {"id": found.id, "name": found.name}}


def main() -> None:
    """Read the options and run."""
    secret = {"type": "str", "no_log": True}
    switch = {"type": "bool", "default": False}
    spec = {
        **connection_spec(CLOUD),
        **lock_spec(),
        "organization": {"type": "str", "required": True},
        "master_password": {**secret, "fallback": (env_fallback, ["BITWARDEN_CLOUD_MASTER_PASSWORD"])},
        "otp": secret,
        "request_otp": switch,
        "rotate": switch,
        "servers": {"type": "list", "elements": "str"},
        "information_only": switch,
        "confirm": {"type": "bool", "default": True},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, required_if=[("rotate", True, ("servers",))])
    execute(module, CLOUD, run)


if __name__ == "__main__":
    main()
