# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options of a connection to the Bitwarden cloud."""

from __future__ import annotations


class ModuleDocFragment:
    # Where the Bitwarden cloud is.
    DOCUMENTATION = r"""
options:
  region:
    description:
      - The region of the Bitwarden cloud, V(US), V(EU) or V(Gov) in any case of letters.
      - Or a dictionary with C(name), C(api) and C(identity) for a cloud that is not listed.
      - Exactly one of O(region), O(url), and O(api_url) with O(identity_url) must be given.
      - When it is not set, the value of E(BITWARDEN_CLOUD_REGION) is used.
    type: raw
  url:
    description:
      - The address of the cloud's web vault, under which C(/api) and C(/identity) answer too.
      - When it is not set, the value of E(BITWARDEN_CLOUD_URL) is used.
    type: str
  api_url:
    description:
      - The address of the API. Needs O(identity_url) beside it.
      - When it is not set, the value of E(BITWARDEN_CLOUD_API_URL) is used.
    type: str
  identity_url:
    description:
      - The address of the identity service. Needs O(api_url) beside it.
      - When it is not set, the value of E(BITWARDEN_CLOUD_IDENTITY_URL) is used.
    type: str
"""

    # Who logs in there.
    LOGIN = r"""
options:
  client_id:
    description:
      - The C(client_id) of the API key of an owner of the organization at the cloud, C(user.) and a GUID.
      - When it is not set, the value of E(BITWARDEN_CLOUD_CLIENT_ID) is used. One of both is needed.
    type: str
  client_secret:
    description:
      - The C(client_secret) of that API key.
      - When it is not set, the value of E(BITWARDEN_CLOUD_CLIENT_SECRET) is used. One of both is needed.
    type: str
"""

    # For modules that need no login, but share a group of module_defaults with those that do.
    NO_LOGIN = r"""
options:
  client_id:
    description:
      - Ignored, as the module needs no login. It is accepted for C(module_defaults) of the action group.
    type: str
  client_secret:
    description:
      - Ignored, as the module needs no login. It is accepted for C(module_defaults) of the action group.
    type: str
  client_version:
    description:
      - Ignored, as the module needs no login. It is accepted for C(module_defaults) of the action group.
    type: str
  device_identifier:
    description:
      - Ignored, as the module needs no login. It is accepted for C(module_defaults) of the action group.
    type: str
  device_name:
    description:
      - Ignored, as the module needs no login. It is accepted for C(module_defaults) of the action group.
    type: str
"""
