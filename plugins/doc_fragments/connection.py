# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the connection options that are the same for every server."""

from __future__ import annotations


class ModuleDocFragment:
    # Options that are the same for every server and need no login.
    DOCUMENTATION = r"""
options:
  ca_path:
    description:
      - Path of a CA certificate, or of a bundle of them, that the server's certificate is checked against.
      - When it is not set, E(REQUESTS_CA_BUNDLE) and then the CAs of the Python library C(requests) count.
    type: path
  client_cert:
    description:
      - Path of a client certificate in PEM format, for a proxy in front of the server that asks for one.
        The file may hold the key too.
    type: path
  client_key:
    description:
      - Path of the private key of O(client_cert), where it is a file of its own. It must not be encrypted.
    type: path
  validate_certs:
    description:
      - Whether to check the server's certificate. V(false) sends credentials to whoever answers.
    type: bool
    default: true
  allow_http:
    description:
      - Whether to send credentials without encryption to another host than this one.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds to wait for a connection, and for the next part of an answer.
        An answer that is not complete after ten times as long is given up.
    type: int
    default: 30
  retries:
    description:
      - How often to try again when a connection was not made, and when a gateway answered a C(GET) with 502, 503
        or 504.
      - Requests that change something are never sent twice.
    type: int
    default: 3
  rate_limit_wait:
    description:
      - How many seconds a task may spend on waiting, all in all, when the server says that it gets too many requests.
      - The module waits as long as the server asks for, and gives up when that is longer than what is left.
      - Logins at a cloud wait for their turn before that, so that all tasks on one controller together stay under its
        ten a minute.
    type: int
    default: 300
requirements:
  - requests >= 2.31
notes:
  - The module runs where the task runs. Delegate it to the controller, as the roles of this collection do,
    and the servers need no Python libraries and never see an owner's credentials.
  - A failed task says in C(msg) what failed, where, what the server said and the next step. Where they are known it has
    C(endpoint), C(status) (the number of the answer), C(server_said), C(cause), C(next_step), C(link) and C(remedy)
    (the entry of C(docs/troubleshooting.md)) as keys too, and C(server_down=true) where nobody answered at all, or only
    a gateway.
  - The proxy variables E(HTTPS_PROXY), E(HTTP_PROXY) and E(NO_PROXY) are honored.
"""

    # Options of the login with a user's API key, beside the key itself.
    LOGIN = r"""
options:
  device_identifier:
    description:
      - Under which identifier the server keeps this client among the account's devices, up to 50 characters.
      - Bitwarden mails the owner about each identifier that it has not seen before, so keep it stable.
      - The default is derived from O(client_id) and always the same.
    type: str
  device_name:
    description:
      - How the client is called in the account's list of devices.
    type: str
    default: Ansible
  client_version:
    description:
      - The version of a Bitwarden client that the module stands for. Servers since 2026.3.0 refuse logins without one.
      - Raise it when the server says that the app must be updated.
    type: str
    default: 2026.7.0
"""
