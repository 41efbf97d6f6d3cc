#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Offer and revoke free Families sponsorships of an Enterprise organization."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sponsorship
short_description: Offer and revoke free Families sponsorships of an Enterprise organization
version_added: 0.4.0
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
description:
  - Offers sponsorships as the account that logs in, and revokes them, at a self-hosted server or at the cloud.
  - A self-hosted server only notes an offer or a revocation. The cloud hears of it, and the family gets its mail, at
    the next sponsorship sync, which the server does once a day by itself. The API cannot start it.
    RV(awaiting_sync) names what waits for it.
  - A member has one sponsorship. A server takes a second one of the same account, and then syncs none of the whole
    organization any more, so it is refused. Use one account for each sponsorship.
  - Whatever the server would do silently and wrongly is refused before anything changes, such as an offer that replaces
    another, takes a revocation back that waits for its sync, or does nothing because its name is taken.
extends_documentation_fragment:
  - selfhosted.bitwarden.self_hosted
  - selfhosted.bitwarden.connection
  - selfhosted.bitwarden.connection.login
  - selfhosted.bitwarden.lock
  - selfhosted.bitwarden.attributes
  - selfhosted.bitwarden.attributes.actiongroup_self_hosted
attributes:
  check_mode:
    support: partial
    details:
      - Neither the name of another member's own sponsorship nor the free seats can be seen beforehand.
        A run says then that the name is taken, or that there is no seat.
      - With O(unseen=true) the server tells only by doing it whether there is such a sponsorship.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - O(state=resent) sends a mail each time.
      - With O(unseen=true) a revocation that still waits for its sync is a change each time.
options:
  region:
    description:
      - Work at this region of the Bitwarden cloud instead of a self-hosted server, V(US), V(EU) or V(Gov),
        or a dictionary with C(name), C(api) and C(identity). The API key must be one of the cloud then.
      - Cannot be used together with O(url), nor while E(BITWARDEN_URL) is set.
    type: raw
  organization:
    description:
      - The name or the id of the organization, of which the account must be a member.
    type: str
    required: true
  sponsorships:
    description:
      - The sponsorships that the task is about.
    type: list
    elements: dict
    required: true
    suboptions:
      email:
        description:
          - The address that gets the offer, which must be that of an owner of the Families organization.
          - Needed for O(state=present). The server never tells it of a member's own sponsorship, so there only the
            name is compared.
        type: str
      friendly_name:
        description:
          - The name of the sponsorship, by which it is found again. Names must differ within the organization.
          - The default is the address.
        type: str
      admin_initiated:
        description:
          - Whether to offer it as an administrator for somebody else, which takes a seat of the organization. Only
            those who manage the users may, and the license must have it.
          - With V(false) the account sponsors its own family.
        type: bool
        default: false
  state:
    description:
      - V(present) offers what is not offered yet.
      - V(absent) revokes. One that the server has not synced yet is gone at once, of others the cloud must hear first.
      - V(resent) mails open offers again, which only the cloud does (O(region)).
    type: str
    choices: [present, absent, resent]
    default: present
  replace:
    description:
      - Whether an offer may replace one of the same account that was never synced. One that was synced is never
        replaced, since the cloud ignores another name or address.
    type: bool
    default: false
  unseen:
    description:
      - Whether to revoke or mail by name what the account cannot see, which are the sponsorships that other members
        have for themselves. At the cloud these include all that came from self-hosted servers.
      - Only for those who manage the users.
    type: bool
    default: false
  purge:
    description:
      - What O(state=present) revokes besides, before it offers. Nothing with V(none); with V(own) what the server files
        under this account and O(sponsorships) does not name; with V(all) everything that the account sees.
      - Nobody sees what other members have for themselves, so V(all) never revokes that.
    type: str
    choices: [none, own, all]
    default: none
  keep:
    description:
      - Names that O(purge) leaves alone besides those of O(sponsorships).
    type: list
    elements: str
    default: []
  postpone:
    description:
      - Whether an offer that has to wait for the sync of a revocation is left to a later run, and named in
        RV(postponed), instead of an error.
    type: bool
    default: false
  allow_several:
    description:
      - Whether the account may get more than one sponsorship in the organization.
        The server's sync fails for the whole organization then.
    type: bool
    default: false
  sponsorship_sync:
    description:
      - Whether the server's database lets it note what the cloud answers, as M(selfhosted.bitwarden.host_info) says in
        C(database.sponsorship_sync). That is so with SQL Server, and not with PostgreSQL, MySQL or SQLite.
      - With V(false) a sponsorship is never seen as sent. The offer is mailed all the same, so revoking it is refused
        as long as the cloud may hold it.
    type: bool
  allow_orphan:
    description:
      - Whether to revoke at a server with O(sponsorship_sync=false). Set it when the cloud's sponsorship is revoked.
    type: bool
    default: false
seealso:
  - module: selfhosted.bitwarden.sponsorship_info
  - module: selfhosted.bitwarden.host_info
"""

EXAMPLES = r"""
- name: Sponsor the family of a member
  selfhosted.bitwarden.sponsorship:
    url: https://bitwarden.example.com
    client_id: "{{ member_client_id }}"
    client_secret: "{{ member_client_secret }}"
    organization: Example Corp
    sponsorships:
      - email: family@home.example
  delegate_to: localhost
  register: sponsored

- name: Say what waits for the daily sync
  ansible.builtin.debug:
    var: sponsored.awaiting_sync

- name: Offer one as an administrator
  selfhosted.bitwarden.sponsorship:
    url: https://bitwarden.example.com
    client_id: "{{ admin_client_id }}"
    client_secret: "{{ admin_client_secret }}"
    organization: Example Corp
    sponsorships:
      - email: family@home.example
        friendly_name: The family of Jo
        admin_initiated: true
  delegate_to: localhost

- name: Keep exactly these of what administrators offer, and revoke the others
  selfhosted.bitwarden.sponsorship:
    url: https://bitwarden.example.com
    client_id: "{{ admin_client_id }}"
    client_secret: "{{ admin_client_secret }}"
    organization: Example Corp
    purge: all
    postpone: true
    sponsorships:
      - email: family@home.example
        friendly_name: The family of Jo
        admin_initiated: true
  delegate_to: localhost

- name: Revoke what members who have left had
  selfhosted.bitwarden.sponsorship:
    url: https://bitwarden.example.com
    client_id: "{{ owner_client_id }}"
    client_secret: "{{ owner_client_secret }}"
    organization: Example Corp
    state: absent
    unseen: true
    sponsorships:
      - friendly_name: family@home.example
      - friendly_name: others@home.example
  delegate_to: localhost

- name: Mail an offer of a self-hosted server again
  selfhosted.bitwarden.sponsorship:
    region: EU
    client_id: "{{ cloud_owner_client_id }}"
    client_secret: "{{ cloud_owner_client_secret }}"
    organization: Example Corp
    state: resent
    unseen: true
    sponsorships:
      - friendly_name: family@home.example
  delegate_to: localhost
"""

RETURN = r"""
organization:
  description: The organization at this server.
  returned: success
  type: dict
  contains:
    id:
      description: Its id.
      type: str
      returned: success
      sample: 3583610f-bb6a-4bac-9521-b50a00eba9fa
    name:
      description: Its name.
      type: str
      returned: success
      sample: Example Corp
sponsorships:
  description:
    - Those of the asked ones that exist now, as M(selfhosted.bitwarden.sponsorship_info) tells them, and those that
      the task revoked and that wait for the sync.
  returned: success
  type: list
  elements: dict
  sample:
    - friendly_name: family@home.example
      email: null
      admin_initiated: false
      mine: true
      status: requested
      awaiting_sync: true
      last_sync: null
      valid_until: null
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: [offer family@home.example]
awaiting_sync:
  description: The names of those that the cloud has yet to hear of, or whose end it has yet to hear of.
  returned: success
  type: list
  elements: str
  sample: [family@home.example]
postponed:
  description: The names that a later run has to offer, after the sync of a revocation, with O(postpone=true).
  returned: success
  type: list
  elements: str
  sample: []
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import sponsorship_plan as plan
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import ANY, connection_spec
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization_lock import lock_spec, organization_lock
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server, execute
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.sponsorships import (
    Sponsor,
    Sponsorship,
    Sponsorships,
)

PLANS = {"present": plan.present, "absent": plan.absent, "resent": plan.resent}
WORDS = {
    plan.OFFER: "offer",
    plan.REVOKE: "revoke",
    plan.REVOKE_OWN: "revoke",
    plan.REVOKE_UNSEEN: "revoke",
    plan.RESEND: "resend",
}
NAME_TAKEN = "Choose another name: it is that of a sponsorship which another member has, and which cannot be seen here."


def perform(api: Sponsorships, organization_id: str, action: plan.Action) -> bool:
    """Send the one request of an action; whether it found anything to do."""
    name = action.wanted.friendly_name
    if action.kind == plan.OFFER:
        email, as_admin = str(action.wanted.email), action.wanted.admin_initiated
        api.offer(organization_id, name=name, email=email, admin_initiated=as_admin)
    elif action.kind == plan.REVOKE_OWN:
        api.revoke_own(organization_id, name)
    elif action.kind == plan.RESEND:
        api.resend(organization_id, name)
    else:
        held = action.before
        return api.revoke_named(organization_id, held.friendly_name if held else name)
    return True


def perform_all(api: Sponsorships, sponsor: Sponsor, actions: t.Sequence[plan.Action]) -> list[plan.Action]:
    """Send all requests; those that found something to do."""
    done: list[plan.Action] = []
    for action in actions:
        try:
            if perform(api, sponsor.organization.id, action):
                done.append(action)
        except BitwardenError as error:
            if done:
                names = ", ".join(repr(one.wanted.friendly_name) for one in done)
                error.message += f" Before that it was done for {names}; the next run goes on from there."
            raise
    return done


def prove(api: Sponsorships, after: Sponsor, action: plan.Action) -> None:
    """Fail where the server said yes and did something else."""
    name = action.wanted.friendly_name
    if action.kind == plan.OFFER and not any(one.friendly_name == name for one in after.sponsorships):
        raise BitwardenError(
            f"{api.server.name} took the offer {name!r} without complaint and made no sponsorship of it.",
            next_step=NAME_TAKEN,
        )
    held = action.before
    if action.kind in {plan.REVOKE, plan.REVOKE_OWN} and held is not None:
        left = [one for one in after.sponsorships if one.friendly_name == held.friendly_name and not one.to_delete]
        if left:
            raise BitwardenError(
                f"{api.server.name} took the revocation of {held.friendly_name!r}, but the sponsorship is as before: "
                "it revoked another member's, whose name differs in upper and lower case only.",
                next_step="Revoke this one in the web vault, and offer the other member's again.",
            )


def warn(module: AnsibleModule, after: Sponsor, actions: t.Sequence[plan.Action], rules: plan.Rules) -> None:
    """Say what the result does not show."""
    found = after.organization
    if rules.cloud or module.params["state"] == "resent":
        return
    if not found.enabled:
        module.warn(
            f"{found.name} is disabled at this server, so that its sponsorships are not synced. Sync its license."
        )
    if after.overloaded:
        module.warn(
            f"A member of {found.name} has several sponsorships, so that none of the organization's can be synced. "
            "Revoke all but one of them; one that was synced before can only be removed in the server's database."
        )
    if rules.sponsorship_sync is False and any(action.kind == plan.OFFER for action in actions):
        module.warn(
            "This server's database cannot note what the cloud answers: the offer will be mailed, but stay 'requested' "
            "for ever, and has to be revoked at the cloud."
        )
    lost = [one for one in actions if one.before and one.before.last_sync is None and one.kind != plan.RESEND]
    if rules.sponsorship_sync is None and lost:
        module.warn(
            "A sponsorship was revoked or replaced that this server never saw synced. If the server does not use SQL "
            "Server, the cloud may still have it: set sponsorship_sync (from host_info) to be told before."
        )


def named(sponsor: Sponsor, names: t.Collection[str]) -> list[Sponsorship]:
    """The sponsorships of those names, as the server compares them."""
    return [one for one in sponsor.sponsorships if any(one.is_named(name) for name in names)]


def shown(sponsorships: t.Iterable[Sponsorship]) -> dict[str, str]:
    """Sponsorships as the diff shows them."""
    return {one.friendly_name: one.status for one in sponsorships}


def run(module: AnsibleModule, server: Server) -> dict[str, t.Any]:
    """Bring the sponsorships into the wanted state."""
    params = module.params
    state = params["state"]
    allowed = ("replace", "unseen", "purge", "postpone", "allow_several", "allow_orphan", "sponsorship_sync")
    given = {name: params[name] for name in allowed}
    rules = plan.Rules(cloud=bool(params["region"]), keep=tuple(params["keep"]), **given)
    if state == "resent" and not rules.cloud:
        raise BitwardenError(
            "A self-hosted server cannot mail an offer again. Nothing was changed.",
            next_step="Give region and the API key of an owner of the cloud organization, with unseen=true; "
            "or revoke the sponsorship, wait for its sync, and offer anew.",
        )
    entries = [plan.Wanted.of(entry) for entry in params["sponsorships"]]
    plan.check_entries(entries, present=state == "present")
    api = Sponsorships(server, cloud=rules.cloud)
    sponsor = api.sponsor(params["organization"])
    actions = PLANS[state](sponsor, entries, rules)
    after = plan.expected(sponsor, actions)
    if actions and not module.check_mode:
        with organization_lock(params, server.connection.api, sponsor.organization.id):
            # Whoever was waited for may have done it.
            sponsor = api.sponsor(sponsor.organization.id, fresh=True)
            actions = perform_all(api, sponsor, PLANS[state](sponsor, entries, rules))
            after = api.sponsor(sponsor.organization.id, fresh=True)
        for action in actions:
            prove(api, after, action)
    warn(module, after, actions, rules)
    postponed = plan.postponed(after, entries) if state == "present" else []
    return {**result(sponsor, after, entries, actions), "postponed": postponed}


def result(
    sponsor: Sponsor, after: Sponsor, entries: t.Sequence[plan.Wanted], actions: t.Sequence[plan.Action]
) -> dict[str, t.Any]:
    """What the task returns."""
    names = {entry.friendly_name for entry in entries} | {one.before.friendly_name for one in actions if one.before}
    found = named(after, names)
    return {
        "changed": bool(actions),
        "actions": [f"{WORDS[one.kind]} {one.wanted.friendly_name}" for one in actions],
        "organization": {"id": sponsor.organization.id, "name": sponsor.organization.name},
        "sponsorships": [one.as_dict() for one in found],
        "awaiting_sync": [one.friendly_name for one in found if one.awaiting_sync],
        "diff": {"before": shown(named(sponsor, names)), "after": shown(found)},
    }


def main() -> None:
    """Read the options and run."""
    entry = {
        "email": {"type": "str"},
        "friendly_name": {"type": "str"},
        "admin_initiated": {"type": "bool", "default": False},
    }
    spec = {
        **connection_spec(ANY),
        **lock_spec(),
        "organization": {"type": "str", "required": True},
        "sponsorships": {"type": "list", "elements": "dict", "required": True, "options": entry},
        "state": {"type": "str", "choices": ["present", "absent", "resent"], "default": "present"},
        "replace": {"type": "bool", "default": False},
        "unseen": {"type": "bool", "default": False},
        "purge": {"type": "str", "choices": ["none", "own", "all"], "default": "none"},
        "keep": {"type": "list", "elements": "str", "default": []},
        "postpone": {"type": "bool", "default": False},
        "allow_several": {"type": "bool", "default": False},
        "sponsorship_sync": {"type": "bool"},
        "allow_orphan": {"type": "bool", "default": False},
    }
    execute(AnsibleModule(argument_spec=spec, supports_check_mode=True), ANY, run)


if __name__ == "__main__":
    main()
