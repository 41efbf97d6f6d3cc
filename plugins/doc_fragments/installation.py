# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of the modules that work on an installation as a whole."""

from __future__ import annotations


class ModuleDocFragment:
    """Which installation it is, and how its front door is asked."""

    DOCUMENTATION = r"""
options:
  directory:
    description:
      - The directory that holds C(bitwarden.sh) and C(bwdata), or for Lite C(settings.env).
    type: path
    default: /opt/bitwarden
  deployment:
    description:
      - How the server is deployed. V(auto) tells it by what lies in O(directory).
      - V(standard) is C(bitwarden.sh) with C(bwdata), V(manual) is C(bwdata) with compose files and no C(bitwarden.sh),
        V(lite) is C(settings.env) with or without a compose file.
      - Any other than V(auto) is a check; the module fails when it finds another kind.
    type: str
    choices: [auto, standard, manual, lite]
    default: auto
"""

    WAITING = r"""
options:
  lock_timeout:
    description:
      - How many seconds to wait for another run of this collection, of C(bitwarden.sh) or of its setup container.
    type: int
    default: 300
"""

    DOOR = r"""
options:
  url:
    description:
      - The front door as clients reach it. The default is the address that stands in the server's settings, in
        C(globalSettings__baseServiceUri__vault) or C(BW_DOMAIN).
    type: str
  ca_path:
    description:
      - Certificates in PEM format, a file or a directory on the server, to trust at the front door besides the
        system's.
    type: path
  validate_certs:
    description:
      - Whether to check the certificate of the front door.
    type: bool
    default: true
"""
