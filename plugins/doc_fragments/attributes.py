# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What modules say about check mode, diff mode and the rest, told once."""

from __future__ import annotations


class ModuleDocFragment:
    # What each attribute means; the module itself says how far it supports it.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the changed status prediction without modifying the target.
  diff_mode:
    description: Returns in diff mode what was or would be changed. Secrets never appear in it.
  idempotent:
    description: When run twice in a row with the same arguments, the second run does not change anything.
"""

    # For modules that run on the Bitwarden server.
    POSIX = r"""
options: {}
attributes:
  platform:
    description: The operating systems that the module runs on.
    platforms: posix
    support: full
"""

    ACTIONGROUP_CLOUD = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/selfhosted.bitwarden.cloud) in C(module_defaults) to set the connection options once.
    support: full
    membership:
      - selfhosted.bitwarden.cloud
"""

    ACTIONGROUP_SELF_HOSTED = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/selfhosted.bitwarden.self_hosted) in C(module_defaults) to set the connection options once.
    support: full
    membership:
      - selfhosted.bitwarden.self_hosted
"""
