# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options of a connection to a self-hosted server."""

from __future__ import annotations


class ModuleDocFragment:
    # Where the self-hosted server is, and who logs in there.
    DOCUMENTATION = r"""
options:
  url:
    description:
      - The address of the self-hosted server as people open it in the browser.
      - Either O(url), or O(api_url) with O(identity_url) must be given.
      - When it is not set, the value of E(BITWARDEN_URL) is used.
    type: str
  api_url:
    description:
      - The address of the API where it is not O(url) with C(/api) behind it. Needs O(identity_url) beside it.
      - When it is not set, the value of E(BITWARDEN_API_URL) is used.
    type: str
  identity_url:
    description:
      - The address of the identity service where it is not O(url) with C(/identity) behind it.
        Needs O(api_url) beside it.
      - When it is not set, the value of E(BITWARDEN_IDENTITY_URL) is used.
    type: str
  client_id:
    description:
      - The C(client_id) of the API key of an owner of the organization at this server, C(user.) and a GUID.
      - When it is not set, the value of E(BITWARDEN_CLIENT_ID) is used. One of both is needed.
    type: str
  client_secret:
    description:
      - The C(client_secret) of that API key.
      - When it is not set, the value of E(BITWARDEN_CLIENT_SECRET) is used. One of both is needed.
    type: str
"""
