#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the free Families sponsorships of an organization, and what keeps them from being synced."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sponsorship_info
short_description: Read the free Families sponsorships of an organization, and what keeps them from being synced
version_added: 0.4.0
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
description:
  - Lists the sponsorships that an account sees. Everybody sees the own one, those who manage the users also what was
    offered by administrators. Nobody sees what other members have for themselves.
  - For an owner at a self-hosted server it also tells what keeps the daily sponsorship sync from working.
  - Costs a login and one request, one more for those who manage the users, and three more with O(sync=true).
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
      - The name or the id of the organization, of which the account must be a member.
    type: str
    required: true
  sync:
    description:
      - Whether to read when sponsorships were synced last and, at a self-hosted server, what keeps them from it.
        Owners only; others get what they may see.
    type: bool
    default: true
  sponsorship_sync:
    description:
      - What M(selfhosted.bitwarden.host_info) says in C(database.sponsorship_sync), to be counted among
        RV(blocked_by).
    type: bool
seealso:
  - module: selfhosted.bitwarden.sponsorship
  - module: selfhosted.bitwarden.billing_sync
"""

EXAMPLES = r"""
- name: See the sponsorships of an organization
  selfhosted.bitwarden.sponsorship_info:
    url: https://bitwarden.example.com
    client_id: "{{ owner_client_id }}"
    client_secret: "{{ owner_client_secret }}"
    organization: Example Corp
  delegate_to: localhost
  register: families

- name: Complain when something keeps them from being synced
  ansible.builtin.assert:
    that: families.blocked_by | length == 0
    fail_msg: "Not synced: {{ families.awaiting_sync | join(', ') }}, because of {{ families.blocked_by | join(', ') }}"

- name: See what administrators offered at the cloud
  selfhosted.bitwarden.sponsorship_info:
    region: US
    client_id: "{{ cloud_owner_client_id }}"
    client_secret: "{{ cloud_owner_client_secret }}"
    organization: Example Corp
  delegate_to: localhost
"""

RETURN = r"""
organization:
  description: The organization, and what it allows.
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
    role:
      description: What the account is in it.
      type: str
      returned: success
      sample: owner
    can_sponsor:
      description: Whether it can sponsor at all, which takes the plan Enterprise and a confirmed member.
      type: bool
      returned: success
    admin_initiated_allowed:
      description: Whether its license lets administrators offer sponsorships.
      type: bool
      returned: success
    seats:
      description: The seats of the license, V(null) where it has no limit. Each offer of an administrator takes one.
      type: int
      returned: success
      sample: 50
    seats_of_sponsorships:
      description:
        - How many seats the offers of administrators take, V(null) where the account may not see them.
          The API does not tell how many the members take.
      type: int
      returned: success
      sample: 2
sponsorships:
  description: The sponsorships that the account sees.
  returned: success
  type: list
  elements: dict
  contains:
    friendly_name:
      description: The name, by which it is revoked.
      type: str
      returned: success
      sample: family@home.example
    email:
      description: The address that it was offered to. Servers do not tell that of a member's own one, so V(null) there.
      type: str
      returned: success
      sample: family@home.example
    admin_initiated:
      description: Whether an administrator offered it.
      type: bool
      returned: success
    mine:
      description: Whether the server files it under this account.
      type: bool
      returned: success
    status:
      description:
        - V(requested) waits for the first sync, V(sent) is mailed, V(active) is accepted,
          V(removed_awaiting_sync) is revoked and waits for the sync, V(expiring) is revoked and paid until
          RV(sponsorships[].valid_until).
      type: str
      returned: success
      sample: requested
    awaiting_sync:
      description: Whether the cloud has yet to hear of it, or of its end.
      type: bool
      returned: success
    last_sync:
      description: When it was synced last.
      type: str
      returned: success
      sample: "2026-11-22T15:32:08.5022327Z"
    valid_until:
      description: Until when the family's organization is paid.
      type: str
      returned: success
      sample: "2026-12-22T15:31:43.025396Z"
awaiting_sync:
  description: The names of those that wait for a sync.
  returned: success
  type: list
  elements: str
  sample: [family@home.example]
last_sync:
  description:
    - When any sponsorship of the organization was synced last.
      V(null) when none was, with O(sync=false), and when no owner asks.
  returned: success
  type: str
  sample: "2026-11-22T15:32:08.5022327Z"
blocked_by:
  description:
    - What keeps sponsorships from being synced, of V(organization_disabled), V(cloud_communication_off),
      V(no_connection), V(connection_disabled), V(no_token), V(several_of_one_member) and V(database).
    - The last one means that the cloud takes offers, but that this server never notes it.
  returned: success
  type: list
  elements: str
  sample: [no_connection]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import ANY, connection_spec
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server, execute
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.sponsorships import Sponsor, Sponsorships


def blocked_by_settings(server: Server, organization_id: str) -> t.Iterator[str]:
    """What only an owner sees, in the order in which one has to set it right."""
    if not server.cloud_communication():
        yield "cloud_communication_off"
    connection = server.billing_sync(organization_id)
    if not connection.exists:
        yield "no_connection"
        return
    if not connection.enabled:
        yield "connection_disabled"
    if connection.key is None:
        yield "no_token"


def run(module: AnsibleModule, server: Server) -> dict[str, t.Any]:
    """Read what was asked for."""
    params = module.params
    api = Sponsorships(server, cloud=bool(params["region"]))
    sponsor = api.sponsor(params["organization"])
    found = sponsor.organization
    asks = params["sync"] and found.owned
    blocked = ["organization_disabled"] if not found.enabled else []
    if asks and not api.cloud:
        blocked += blocked_by_settings(server, found.id)
    blocked += ["several_of_one_member"] if sponsor.overloaded else []
    blocked += ["database"] if params["sponsorship_sync"] is False and not api.cloud else []
    return {
        "changed": False,
        "organization": facts(sponsor),
        "sponsorships": [one.as_dict() for one in sponsor.sponsorships],
        "awaiting_sync": [one.friendly_name for one in sponsor.sponsorships if one.awaiting_sync],
        "last_sync": api.last_sync(found.id) if asks else None,
        "blocked_by": blocked,
    }


def facts(sponsor: Sponsor) -> dict[str, t.Any]:
    """The organization as far as sponsorships go."""
    found = sponsor.organization
    return {
        "id": found.id,
        "name": found.name,
        "role": found.role,
        "can_sponsor": found.plan == "enterprise" and found.status == "confirmed",
        "admin_initiated_allowed": sponsor.admin_allowed,
        "seats": sponsor.seats,
        "seats_of_sponsorships": sum(one.admin_initiated for one in sponsor.sponsorships) if sponsor.manager else None,
    }


def main() -> None:
    """Read the options and run."""
    spec = {
        **connection_spec(ANY),
        "organization": {"type": "str", "required": True},
        "sync": {"type": "bool", "default": True},
        "sponsorship_sync": {"type": "bool"},
    }
    execute(AnsibleModule(argument_spec=spec, supports_check_mode=True), ANY, run)


if __name__ == "__main__":
    main()
