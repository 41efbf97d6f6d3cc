#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look whether a server's Bitwarden reaches what it needs, from where it needs it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_probe
short_description: Look whether a server's Bitwarden reaches what it needs, from where it needs it
version_added: 0.3.0
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
description:
  - Asks every endpoint at once, from each path and in each version of IP, for its name, a connection to all of its
    addresses, its certificate, an answer that only Bitwarden's cloud gives, and whether the body of a GET arrives, as
    the sync of a license needs it. Each comes to one verdict with its cause and the next step.
  - The path V(containers) is asked from inside the network of a running container, with its name servers, its
    certificate authorities and its proxy. Nothing is put into the container and nothing of it is run.
  - The path V(setup) is asked from Docker's default network, where Bitwarden's installer works. A container that only
    waits is made for that moment from an image that is on the server already, and removed. No image is fetched.
  - What is closed is told and is no failure of this module; see RV(reachable). It changes nothing.
extends_documentation_fragment:
  - selfhosted.bitwarden.attributes
  - selfhosted.bitwarden.attributes.posix
attributes:
  check_mode:
    support: full
    details: It only asks.
  diff_mode:
    support: N/A
    details: It only asks.
  idempotent:
    support: full
    details: It only asks.
options:
  endpoints:
    description:
      - What to ask, as the filter P(selfhosted.bitwarden.egress_endpoints#filter) returns it in C(probe).
        The api, identity and push of O(region) if not given.
    type: list
    elements: dict
    suboptions:
      name:
        description: A host name or an address.
        type: str
        required: true
      port:
        description: The port.
        type: int
        default: 443
      kind:
        description:
          - What is there. C(api), C(identity) and C(push) are Bitwarden's cloud, and are asked for what only that says.
          - C(https), C(web), C(registry) and C(icons) are websites, C(smtp) is a mail server. Any other is asked as a
            website on port 443, and by a connection alone on other ports.
        type: str
        default: https
      paths:
        description: From where it is asked; from all of O(paths) if not given.
        type: list
        elements: str
        choices: [host, containers, setup]
  region:
    description:
      - The region of the server, V(US), V(EU) or V(Gov), or a dictionary with C(name), C(api), C(identity), and where
        they exist C(push) and C(vault).
    type: raw
  paths:
    description: From where to ask.
    type: list
    elements: str
    choices: [host, containers, setup]
    default: [host, containers, setup]
  container:
    description:
      - The name of the running container whose network is V(containers). Bitwarden's api, or Lite, if not given.
    type: str
  ip_versions:
    description: The versions of IP. One that a path or a name does not have is told, and is no fault.
    type: list
    elements: int
    choices: [4, 6]
    default: [4, 6]
  timeout:
    description: Seconds that everything together may take, from 1 to 60.
    type: float
    default: 10
  proxy:
    description:
      - The address of an HTTP proxy for all paths, as V(http://proxy.example.com:3128). If not given, a path's own
        environment counts, as Bitwarden's server reads it (C(https_proxy), C(all_proxy), C(no_proxy)).
      - Mail servers and what is asked by a connection alone are always asked directly.
    type: str
  ca_path:
    description:
      - A file with certificate authorities, or a folder of such files, on the server. If not given, what the host or
        the container itself trusts counts.
    type: path
  installation_id:
    description:
      - The installation id. If it is given, its region is asked for it, and the other regions where that does not know
        it. This takes no login.
    type: str
  installation_key:
    description:
      - The installation key. If it is given, it is used for one login with the scope of license syncs, which is the
        only certain proof that the body of a GET arrives where somebody on the way opens the encryption.
    type: str
  api_url:
    description: The address of the API that is asked for O(installation_id), if that is not the one of O(region).
    type: str
seealso:
  - module: selfhosted.bitwarden.egress_rules
  - module: selfhosted.bitwarden.installation_info
    description: Asks for an installation id too, from the controller.
"""

EXAMPLES = r"""
- name: Look whether the server reaches its region
  selfhosted.bitwarden.egress_probe:
    region: EU
    installation_id: "{{ installation_id }}"
  become: true
  register: probe

- name: Show what is in the way
  ansible.builtin.debug:
    msg: "{{ item.name }} from {{ item.path }}: {{ item.cause }} {{ item.next_step }}"
  loop: "{{ probe.endpoints | rejectattr('verdict', 'equalto', 'open') }}"
  loop_control:
    label: "{{ item.verdict }}"

- name: Look at a mail server from the containers only
  selfhosted.bitwarden.egress_probe:
    endpoints:
      - {name: smtp.example.com, port: 587, kind: smtp}
    paths: [containers]
    ip_versions: [4]
  become: true
"""

RETURN = r"""
reachable:
  description:
    - Whether every endpoint answers as it should from each of its paths, in at least one version of IP, and no version
      that is in use there is in trouble.
  returned: success
  type: bool
  sample: true
elapsed:
  description: Seconds that everything took.
  returned: success
  type: float
  sample: 0.7
endpoints:
  description: One for each endpoint, path and version of IP.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The host name or address.
      type: str
      returned: success
      sample: api.bitwarden.eu
    port:
      description: The port.
      type: int
      returned: success
      sample: 443
    kind:
      description: The kind.
      type: str
      returned: success
      sample: api
    path:
      description: From where it was asked.
      type: str
      returned: success
      sample: containers
    ip_version:
      description: The version of IP.
      type: int
      returned: success
      sample: 4
    verdict:
      description: The verdict in one word. The words are in C(docs/egress.md) of the collection.
      type: str
      returned: success
      sample: open
    cause:
      description: The verdict in a sentence.
      type: str
      returned: success
      sample: api.bitwarden.eu answers as it should.
    next_step:
      description: What to do; null where there is nothing to do.
      type: str
      returned: success
      sample:
    reachable:
      description: Whether the verdict is a good one; null where the version of IP is not in use.
      type: bool
      returned: success
      sample: true
    addresses:
      description: The addresses of the name; none where a proxy looks it up.
      type: list
      elements: str
      returned: success
      sample: [192.0.2.10]
    dead_addresses:
      description: Those of them that cannot be connected to.
      type: list
      elements: str
      returned: success
      sample: []
    tls:
      description:
        - The certificate, null where there was none. C(intercepted) means that it is not in the public logs of
          certificates, as all of the provider's are, so that somebody on the way issued it; null for names that are not
          the provider's.
      type: dict
      returned: success
      sample:
        subject: "*.bitwarden.eu"
        issuer: Example Public CA
        names: ["*.bitwarden.eu"]
        ends: "2027-01-31T00:00:00Z"
        days_left: 160
        trusted: true
        intercepted: false
    http:
      description: The first answer; null where there was none.
      type: dict
      returned: success
      sample:
        status: 200
        path: /config
    body_arrives:
      description: Whether the body of a GET arrives at the cloud; null where that was not asked or is not known.
      type: bool
      returned: success
      sample: true
    proxy:
      description: The proxy that was used or that showed itself, without its login; null where there is none.
      type: dict
      returned: success
      sample:
    latency_ms:
      description: Milliseconds until the first answer; until the connection where nothing else was asked.
      type: float
      returned: success
      sample: 31.4
    clock_difference:
      description: By how many seconds the server's clock is ahead of the other's; negative where it is behind.
      type: float
      returned: success
      sample: 0.1
installation:
  description: What the region says about O(installation_id); null where it was not asked or did not answer.
  returned: success
  type: dict
  contains:
    id:
      description: The installation id.
      type: str
      returned: success
      sample: 8318521f-7d7d-4692-8de0-b50a00eabedc
    known:
      description: Whether the region knows it.
      type: bool
      returned: success
      sample: true
    enabled:
      description: Whether it is enabled.
      type: bool
      returned: success
      sample: true
    region:
      description: The region that was asked, or its host where it has no name.
      type: str
      returned: success
      sample: EU
    known_in:
      description: The regions that know it. Others are only asked where the region itself does not.
      type: list
      elements: str
      returned: success
      sample: [EU]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError, fail
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe import wish
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.probe import Probe

_PATHS = {"type": "list", "elements": "str", "choices": ["host", "containers", "setup"]}
ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "endpoints": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "port": {"type": "int", "default": 443},
            "kind": {"type": "str", "default": "https"},
            "paths": _PATHS,
        },
    },
    "region": {"type": "raw"},
    "paths": {**_PATHS, "default": ["host", "containers", "setup"]},
    "container": {"type": "str"},
    "ip_versions": {"type": "list", "elements": "int", "choices": [4, 6], "default": [4, 6]},
    "timeout": {"type": "float", "default": 10},
    # An address of a proxy may hold a login.
    "proxy": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "installation_id": {"type": "str"},
    "installation_key": {"type": "str", "no_log": True},
    "api_url": {"type": "str"},
}


def run(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Asks what the parameters say."""
    return {"changed": False, **Probe(wish.read(params)).run()}


def main() -> None:
    """Hand the arguments over and the result back."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params)
    except BitwardenError as error:
        fail(module, error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
