# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter that tells what a server connects to."""

from __future__ import annotations

DOCUMENTATION = r"""
name: egress_endpoints
short_description: What a self-hosted Bitwarden server connects to
version_added: 0.3.0
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
description:
  - Turns a region and what else a server uses into hosts, ports and the paths that need them.
  - What is written in a way that no firewall can be told is refused.
positional: _input
options:
  _input:
    description: The region, as for the filter P(selfhosted.bitwarden.region#filter).
    type: raw
    required: true
  push:
    description: Whether the push relay of the region belongs to it.
    type: bool
    default: true
  features:
    description: What else the server uses.
    type: list
    elements: str
    choices: [registry, scripts, update_check, icons]
    default: []
  smtp:
    description: Mail servers, as dictionaries of C(host) and C(port).
    type: list
    elements: dict
    default: []
  own:
    description: Other places, as dictionaries of C(host), C(port), and where needed C(protocol), C(paths) and C(kind).
    type: list
    elements: dict
    default: []
  resolv_conf:
    description:
      - Texts of files C(resolv.conf). The name servers of the first one that names some on other machines are added.
    type: list
    elements: str
    default: []
  proxy:
    description: Address of an HTTP proxy. Then that is what is opened, for all that goes through it.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what a server of the EU connects to
  ansible.builtin.debug:
    msg: "{{ ('EU' | selfhosted.bitwarden.egress_endpoints).list }}"

- name: Show what its proxy has to allow
  ansible.builtin.debug:
    msg: "{{ ('EU' | selfhosted.bitwarden.egress_endpoints(proxy='http://proxy.example.com:3128')).proxy_allow_list }}"
"""

RETURN = r"""
_value:
  description:
    - A dictionary. C(list) has everything with its purpose, C(proxy_allow_list) what the proxy is to let through.
    - C(rules) and C(probe) are the endpoints of M(selfhosted.bitwarden.egress_rules) and
      M(selfhosted.bitwarden.egress_probe).
  type: dict
  sample:
    list:
      - host: api.bitwarden.eu
        port: 443
        protocol: tcp
        kind: api
        purpose: licenses, billing sync, check of the installation id
        paths: [host, containers, setup]
        via: direct
    rules:
      - {name: api.bitwarden.eu, port: 443, protocol: tcp, paths: [host, containers, setup]}
    probe:
      - {name: api.bitwarden.eu, port: 443, kind: api, paths: [host, containers, setup]}
    proxy_allow_list: []
"""

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress_endpoints import Wish, collect, nameservers
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError


def egress_endpoints(
    value: str | t.Mapping[str, t.Any], *, resolv_conf: t.Sequence[str] = (), proxy: str | None = "", **wish: t.Any
) -> dict[str, t.Any]:
    """What is to be reached, as a dictionary."""
    try:
        servers = nameservers(*resolv_conf) if resolv_conf else []
        return collect(value, Wish(nameservers=servers, proxy=proxy or "", **wish)).as_dict()
    except BitwardenError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for in a file of filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """The filters by name."""
        return {"egress_endpoints": egress_endpoints}
