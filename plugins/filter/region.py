# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter that gives the addresses of a region."""

from __future__ import annotations

DOCUMENTATION = r"""
name: region
short_description: The addresses of a region of the Bitwarden cloud
version_added: 0.1.0
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
description:
  - Turns the name of a region of the Bitwarden cloud into the addresses that a self-hosted server needs to reach it.
  - A region of one's own, given as a dictionary, is checked and returned in the same form.
positional: _input
options:
  _input:
    description:
      - V(US), V(EU) or V(Gov), in any case of letters.
      - Or a dictionary with the keys C(name), C(api) and C(identity), and C(vault) and C(push) where they exist.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show where servers of the EU find the cloud
  ansible.builtin.debug:
    msg: "{{ ('EU' | selfhosted.bitwarden.region).api }}"

- name: Check a region of one's own
  ansible.builtin.debug:
    msg: "{{ own | selfhosted.bitwarden.region }}"
  vars:
    own:
      name: Example
      api: https://api.bitwarden.example
      identity: https://identity.bitwarden.example
"""

RETURN = r"""
_value:
  description:
    - The region as a dictionary of C(name), C(vault), C(api), C(identity) and C(push).
    - An address without a path has no final slash, an address with a path has one, as the server's settings need it.
  type: dict
  sample:
    name: EU
    vault: https://vault.bitwarden.eu
    api: https://api.bitwarden.eu
    identity: https://identity.bitwarden.eu
    push: https://push.bitwarden.eu
"""

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.regions import RegionError, resolve


def region(value: str | t.Mapping[str, t.Any]) -> dict[str, str]:
    """The region as a dictionary."""
    try:
        return resolve(value).as_dict()
    except RegionError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for in a file of filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """The filters by name."""
        return {"region": region}
