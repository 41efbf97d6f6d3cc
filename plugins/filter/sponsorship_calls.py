# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter that turns desired sponsorships into tasks."""

from __future__ import annotations

DOCUMENTATION = r"""
name: sponsorship_calls
short_description: One task an account out of a list of desired sponsorships
version_added: 0.4.0
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
description:
  - Groups the sponsorships of organizations by the account that has to log in for them, in the order in which
    M(selfhosted.bitwarden.sponsorship) has to be called.
  - Says what contradicts itself, such as two sponsorships of one account.
  - The result holds the credentials of the list; do not print it.
positional: _input
options:
  _input:
    description:
      - Organizations, as for the role P(selfhosted.bitwarden.families#role), with C(organization), C(owner), C(purge)
        and C(sponsorships).
    type: list
    elements: dict
    required: true
  state:
    description: With V(absent) everything of the list is to be revoked.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description: Whether what is not in the list is revoked, where an organization does not say it.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse a list that contradicts itself
  ansible.builtin.assert:
    that: (families | selfhosted.bitwarden.sponsorship_calls).problems | length == 0
"""

RETURN = r"""
_value:
  description:
    - A dictionary of C(calls), C(owners), who manage the users of each organization, and C(problems), in words.
  type: dict
  sample:
    calls:
      - label: Acme Inc., as its owner (family@home.example)
        organization: Acme Inc.
        client_id: ""
        client_secret: ""
        state: present
        unseen: false
        purge: none
        keep: [family@home.example]
        sponsorships:
          - friendly_name: family@home.example
            email: family@home.example
            admin_initiated: true
    owners:
      - organization: Acme Inc.
        client_id: ""
        client_secret: ""
    problems: []
"""

import typing as t

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.families import plan


def sponsorship_calls(value: t.Any, *, state: str = "present", purge: bool = False) -> dict[str, t.Any]:
    """The calls, the owners and the problems of a list."""
    return plan(value, state=state, purge=purge)


class FilterModule:
    """What Ansible looks for in a file of filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """The filters by name."""
        return {"sponsorship_calls": sponsorship_calls}
