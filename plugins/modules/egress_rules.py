#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Open a server's firewall for what a self-hosted Bitwarden has to reach."""

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_rules
short_description: Open a server's firewall for what a self-hosted Bitwarden has to reach
version_added: 0.3.0
description:
  - Adds accept rules of its own ahead of those of other people that drop outgoing packets. It closes nothing, and
    flushes, reloads or edits no objects but its own.
  - What the host sends, what containers on Docker's user-defined networks send, and what containers on Docker's default
    bridge send, such as Bitwarden's Setup, are separate switches.
  - Names are looked up on the server. Their addresses change, so the role P(selfhosted.bitwarden.egress#role) installs
    a timer that does this again every few minutes with the settings that this module recorded in
    C(/var/lib/bitwarden-egress). An address stays for O(lifetime) after DNS last told of it, and for as long as DNS
    does not answer.
  - With O(undo_after) a change is taken back unless it is confirmed in time, by O(confirm) or O(state=confirmed), so
    that a change that cuts the connection heals itself. A server that starts anew in between goes back too.
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
extends_documentation_fragment:
  - selfhosted.bitwarden.attributes
  - selfhosted.bitwarden.attributes.posix
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details: A name with new addresses since the last run is a change.
options:
  state:
    description:
      - V(present) opens what O(endpoints) says and takes earlier openings away that it does not say any more.
      - V(absent) takes away everything that was ever added, whichever backend holds it.
      - V(confirmed) makes the last change permanent. It fails when that was taken back already.
    type: str
    choices: [present, absent, confirmed]
    default: present
  backend:
    description:
      - The firewall that closes this server. V(auto) takes the first that is active, in the order of the choices.
      - V(none) changes nothing and returns what is to be opened elsewhere.
    type: str
    choices: [auto, firewalld, ufw, nftables, iptables, none]
    default: auto
  endpoints:
    description: What to open. Required with O(state=present).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: A host name or an address.
        type: str
        required: true
      port:
        description: The port.
        type: int
        default: 443
      protocol:
        description: The protocol.
        type: str
        choices: [tcp, udp]
        default: tcp
      paths:
        description: From where it has to be reached; from everywhere that is switched on if not given.
        type: list
        elements: str
        choices: [host, containers, setup]
  match:
    description:
      - V(addresses) opens the way to the addresses of the names. Other sites at these addresses are open too, which
        matters with a CDN.
      - V(ports) opens the ports of the names for any address. Endpoints that are addresses keep their address.
    type: str
    choices: [addresses, ports]
    default: addresses
  host:
    description: Whether to open for the server itself, which is also the one that pulls images and asks DNS.
    type: bool
    default: true
  containers:
    description: Whether to open for containers on user-defined Docker networks, whose bridges are named C(br-…).
    type: bool
    default: true
  setup:
    description: Whether to open for containers on Docker's default bridge C(docker0), where Bitwarden's Setup runs.
    type: bool
    default: true
  sources:
    description:
      - Subnets of containers, to open for these instead of for every bridge C(br-…). Necessary where bridges have names
        of their own.
    type: list
    elements: str
    default: []
  ip_versions:
    description: The versions of IP to open. Subnets and addresses of another version have no effect.
    type: list
    elements: int
    choices: [4, 6]
    default: [4, 6]
  lifetime:
    description: For how many seconds an address stays open after DNS last told of it.
    type: int
    default: 86400
  undo_after:
    description:
      - How many seconds after the change to take it back unless it is confirmed. V(0) makes it permanent at once.
      - Needs systemd, and the program that the role P(selfhosted.bitwarden.egress#role) installs.
    type: int
    default: 0
  confirm:
    description:
      - Whether the change is confirmed in the same task, over a new connection that the controller makes for that. A
        server that cannot be reached anew takes the change back, and the task fails.
      - Without it O(state=confirmed) has to follow, and a play brings every server that far before the first one goes
        on.
    type: bool
    default: false
  lock_timeout:
    description: For how many seconds to wait for the timer or another run to end.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Open the region's endpoints, and take that back unless it is confirmed
  selfhosted.bitwarden.egress_rules:
    endpoints:
      - name: api.bitwarden.eu
      - name: identity.bitwarden.eu
      - name: push.bitwarden.eu
      - name: smtp.example.com
        port: 587
        paths: [containers]
    undo_after: 60
    confirm: true

- name: Open a relay, and leave it to a later task to confirm that
  selfhosted.bitwarden.egress_rules:
    endpoints:
      - name: relay.example.com
        paths: [host]
    undo_after: 60

- name: Come back by a new connection
  ansible.builtin.meta: reset_connection

- name: Make it permanent
  selfhosted.bitwarden.egress_rules:
    state: confirmed

- name: Take it all away
  selfhosted.bitwarden.egress_rules:
    state: absent
"""

RETURN = r"""
backend:
  description: The firewall that holds the openings.
  returned: success
  type: str
  sample: nftables
rules:
  description: Our objects in the firewall, one a line. With the backend V(none) what is to be opened, in words.
  returned: success
  type: list
  elements: str
  sample: ["inet filter output: jump bitwarden-egress-output"]
addresses:
  description: The addresses that are known of each name.
  returned: success
  type: dict
  sample: {"api.bitwarden.eu": ["192.0.2.10", "2001:db8::10"]}
unresolved:
  description: Names of which no address is known. They are not opened.
  returned: success
  type: list
  elements: str
  sample: []
refused:
  description: What the backend cannot do or would do harm, each with its reason and next step. Nothing was changed.
  returned: always
  type: list
  elements: str
  sample: []
pending:
  description: Whether a change waits to be confirmed.
  returned: success
  type: bool
  sample: true
undo_at:
  description: When the change is taken back, as seconds since 1970.
  returned: when a change waits to be confirmed
  type: float
  sample: 1790000000.5
"""

import os
import shutil
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress import config, resolver, state, undo
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.change import Change
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.keeper import Keeper, Outcome, Refused
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import NOT_FOUND, EgressError, Run
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError, fail

ENDPOINT_SPEC: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str", "required": True},
    "port": {"type": "int", "default": 443},
    "protocol": {"type": "str", "choices": ["tcp", "udp"], "default": "tcp"},
    "paths": {"type": "list", "elements": "str", "choices": ["host", "containers", "setup"]},
}
ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "state": {"type": "str", "choices": ["present", "absent", "confirmed"], "default": "present"},
    "backend": {
        "type": "str",
        "choices": ["auto", "firewalld", "ufw", "nftables", "iptables", "none"],
        "default": "auto",
    },
    "endpoints": {"type": "list", "elements": "dict", "options": ENDPOINT_SPEC, "default": []},
    "match": {"type": "str", "choices": ["addresses", "ports"], "default": "addresses"},
    "host": {"type": "bool", "default": True},
    "containers": {"type": "bool", "default": True},
    "setup": {"type": "bool", "default": True},
    "sources": {"type": "list", "elements": "str", "default": []},
    "ip_versions": {"type": "list", "elements": "int", "choices": [4, 6], "default": [4, 6]},
    "lifetime": {"type": "int", "default": 86400},
    "undo_after": {"type": "int", "default": 0},
    # The controller's part does this, see plugins/action.
    "confirm": {"type": "bool", "default": False},
    "lock_timeout": {"type": "int", "default": 60},
}
# The account of a task may not have these on its PATH.
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_SHORTEST_UNDO = 5


def runner_of(module: AnsibleModule) -> Run:
    """Runs programs as the package expects it."""

    def _run(argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        path = shutil.which(argv[0], path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")
        if path is None:
            return NOT_FOUND, "", f"{argv[0]} is not there"
        status, output, error = module.run_command(
            [path, *argv[1:]], data=stdin, binary_data=True, environ_update={"LC_ALL": "C"}
        )
        return int(status), str(output), str(error)

    return _run


def run(params: t.Mapping[str, t.Any], check_mode: bool, keeper: Keeper) -> Outcome:
    """Does what the parameters say, or predicts it."""
    undo_after = params["undo_after"]
    if undo_after and undo_after < _SHORTEST_UNDO:
        raise EgressError(
            f"undo_after is {undo_after} seconds, in which nobody can confirm anything.",
            next_step=f"Give {_SHORTEST_UNDO} or more, or 0 for a change that is permanent at once.",
        )
    change = Change(keeper, check=check_mode, undo_after=undo_after, lock_timeout=params["lock_timeout"])
    if params["state"] == "absent":
        return change.absent()
    if params["state"] == "confirmed":
        return change.confirmed()
    return change.present(config.wanted_of(params))


def result_of(outcome: Outcome) -> dict[str, t.Any]:
    """The outcome as Ansible returns it."""
    result: dict[str, t.Any] = {
        "changed": outcome.changed,
        "backend": outcome.backend,
        "rules": outcome.rules,
        "addresses": outcome.addresses,
        "unresolved": outcome.unresolved,
        "refused": [],
        "pending": outcome.pending,
        "diff": {"before": outcome.before, "after": outcome.after},
    }
    if outcome.undo_at is not None:
        result["undo_at"] = outcome.undo_at
    return result


def main() -> None:
    """Hand the arguments over and the result back."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    run_program, directory = runner_of(module), state.State()
    keeper = Keeper(run_program, directory, undo.Undo(run_program, directory), resolver.look_up)
    try:
        outcome = run(module.params, module.check_mode, keeper)
    except EgressError as error:
        refused = error.reasons if isinstance(error, Refused) else []
        fail(module, BitwardenError(error.message, next_step=error.next_step, details={"refused": refused}))
    for text in outcome.warnings:
        module.warn(text)
    module.exit_json(**result_of(outcome))


if __name__ == "__main__":
    main()
