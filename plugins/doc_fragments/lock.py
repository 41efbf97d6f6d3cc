# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options of the lock that tasks for one organization take."""

from __future__ import annotations


class ModuleDocFragment:
    # How tasks for one organization wait for each other.
    DOCUMENTATION = r"""
options:
  lock_path:
    description:
      - The directory on the controller in which tasks for one organization wait for each other. Holds no secrets.
      - The default is C(selfhosted.bitwarden) in E(ANSIBLE_HOME), or in C(~/.ansible).
    type: path
  lock_timeout:
    description:
      - How many seconds to wait for other tasks.
    type: int
    default: 120
"""
