# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the cloud as an option of modules that work on a self-hosted server."""

from __future__ import annotations


class ModuleDocFragment:
    # Where the cloud is and who logs in there, beside the self-hosted server of the module.
    DOCUMENTATION = r"""
options:
  cloud:
    description:
      - Where the Bitwarden cloud is and who logs in there, for what only the cloud can tell.
      - What is not given here is taken from the environment, from E(BITWARDEN_CLOUD_REGION),
        E(BITWARDEN_CLOUD_CLIENT_ID) and the other variables of the modules for the cloud.
    type: dict
    suboptions:
      region:
        description:
          - The region of the Bitwarden cloud, V(US), V(EU) or V(Gov) in any case of letters.
          - Or a dictionary with C(name), C(api) and C(identity) for a cloud that is not listed.
          - When it is not set, the value of E(BITWARDEN_CLOUD_REGION) is used.
        type: raw
      url:
        description:
          - The address of the cloud's web vault, in place of O(cloud.region).
          - When it is not set, the value of E(BITWARDEN_CLOUD_URL) is used.
        type: str
      api_url:
        description:
          - The address of the API, in place of O(cloud.region). Needs O(cloud.identity_url) beside it.
          - When it is not set, the value of E(BITWARDEN_CLOUD_API_URL) is used.
        type: str
      identity_url:
        description:
          - The address of the identity service. Needs O(cloud.api_url) beside it.
          - When it is not set, the value of E(BITWARDEN_CLOUD_IDENTITY_URL) is used.
        type: str
      client_id:
        description:
          - The C(client_id) of the API key of an owner of the organization at the cloud, C(user.) and a GUID.
          - When it is not set, the value of E(BITWARDEN_CLOUD_CLIENT_ID) is used.
        type: str
      client_secret:
        description:
          - The C(client_secret) of that API key.
          - When it is not set, the value of E(BITWARDEN_CLOUD_CLIENT_SECRET) is used.
        type: str
      client_version:
        description: The version of a Bitwarden client that the module stands for at the cloud.
        type: str
        default: 2026.7.0
      device_identifier:
        description: Under which identifier the cloud keeps this client among the account's devices.
        type: str
      device_name:
        description: How the client is called in the account's list of devices.
        type: str
        default: Ansible
      ca_path:
        description: Path of a CA certificate, or of a bundle, that the cloud's certificate is checked against.
        type: path
      client_cert:
        description: Path of a client certificate in PEM format, for a proxy before the cloud that asks for one.
        type: path
      client_key:
        description: Path of the private key of O(cloud.client_cert), where it is a file of its own.
        type: path
      validate_certs:
        description: Whether to check the cloud's certificate. V(false) sends credentials to whoever answers.
        type: bool
        default: true
      allow_http:
        description: Whether to send credentials without encryption to another host than this one.
        type: bool
        default: false
      timeout:
        description: How many seconds to wait for the cloud, for a connection and for the next part of an answer.
        type: int
        default: 30
      retries:
        description: How often to try again when a connection to the cloud was not made.
        type: int
        default: 3
      rate_limit_wait:
        description: How many seconds a task may spend on waiting when the cloud says that it gets too many requests.
        type: int
        default: 300
"""
