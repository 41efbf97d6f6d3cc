# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one row of the catalog holds, and the words that its rows share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

# What a module was about to do; the same status means different things in different places.
TOKEN = "token"  # noqa: S105 - the name of an operation
PROFILE = "profile"
INSTALLATION = "installation"
KEY_INFORMATION = "key information"
KEY = "billing sync key"
KEY_ROTATE = "rotate billing sync key"
REQUEST_OTP = "one-time code"
VERIFY_PASSWORD = "verify password"  # noqa: S105 - the name of an operation
CONNECTION_READ = "read connection"
CONNECTION_SAVE = "save connection"
CONNECTION_DELETE = "delete connection"
SUBSCRIPTION = "subscription"
LICENSE_SYNC = "license sync"
LICENSE_DOWNLOAD = "download license"
LICENSE_UPLOAD = "upload license"
LICENSE_CREATE = "create organization"
OFFER = "offer sponsorship"
REVOKE = "revoke sponsorship"
SPONSORSHIPS = "list sponsorships"
SYNC_STATUS = "sponsorship sync status"
RESEND = "resend sponsorship"
# What stands in the server's log, and what is seen without any words.
LOG_SYNC = "license sync in the log"
LOG_JOB = "sponsorship job in the log"
LOG_CHECK = "license check in the log"
LOG_API = "requests in the log"
LOG_START = "start in the log"
SYMPTOM = "symptom"

KEYS = (KEY_INFORMATION, KEY, KEY_ROTATE)
CONNECTIONS = (CONNECTION_READ, CONNECTION_SAVE, CONNECTION_DELETE)
LICENSES = (LICENSE_UPLOAD, LICENSE_CREATE, LICENSE_SYNC)
SPONSORSHIP = (OFFER, REVOKE, SPONSORSHIPS, SYNC_STATUS, RESEND)
ORGANIZATION = (*KEYS, *CONNECTIONS, SUBSCRIPTION, *LICENSES, LICENSE_DOWNLOAD, *SPONSORSHIP)
LOGS = (LOG_SYNC, LOG_JOB, LOG_CHECK, LOG_API, LOG_START)
TO_CLOUD = (LOG_SYNC, LOG_JOB)
ANYWHERE: tuple[str, ...] = ()

LOG = "bwdata/logs/api/Api/YYYYMMDD.txt on the server"

HELP = "https://bitwarden.com/help/"
HELP_SYNC = f"{HELP}families-for-enterprise-self-hosted/"
HELP_LICENSE = f"{HELP}licensing-on-premise/"
HELP_ADDRESSES = f"{HELP}bitwarden-addresses/"
HELP_API_KEY = f"{HELP}personal-api-key/"
HELP_SETTINGS = f"{HELP}environment-variables/"
HELP_UPDATE = f"{HELP}updating-on-premise/"
HELP_INSTALLATION = "https://bitwarden.com/host/"
HELP_SUPPORT = "https://bitwarden.com/contact/"
HELP_STATUS = "https://status.bitwarden.com/"

NEW_API_KEY = (
    "Take client_id and client_secret of the API key anew from Settings, Security, Keys of that account, "
    "in the same region or on the same server that the task calls."
)
OWNER = (
    "Use the API key of a confirmed owner of this organization, and the id that the organization has on this very "
    "server (its id at the cloud and its id at the self-hosted server differ)."
)
LICENSE_FILE = (
    "Put a fresh license in place: sync the license if the organization has a connection already (license_sync), "
    "else upload the license (module license)."
)
CLOCK = "Set the server's clock (two seconds behind the cloud are enough for this), then try again."
REPORT = "This is a mistake of the caller; please report it with the text above."
CONNECTION_ANEW = "Delete the connection in the server's admin portal or database, then apply the token again."
KEY_AGAIN = "Fetch the billing sync token again (billing_sync_token) and apply it (billing_sync)."
REGION = (
    "Ask each region for the installation id (installation_info), set id, key and all addresses of that one region "
    "in bwdata/env/global.override.env (role cloud_communication), and restart."
)
OPEN = (
    "Let the containers reach the api and identity hosts of the region on port 443 (role egress), and look from where "
    "they stand with egress_probe: a check from the server itself proves nothing for its containers."
)


@dataclass(frozen=True)
class Entry:
    """One row.

    C(key) names it for ever; C(where) are the operations it is met in, none for all; C(status) is the number of the
    answer, C(said) a regular expression over the words of the server or of one event of its log; C(seen) shows these
    words to people where the expression does not.
    """

    key: str
    where: tuple[str, ...]
    status: int | None
    said: str
    cause: str
    next_step: str
    seen: str = ""
    link: str = ""

    def matches(self, operation: str, status: int | None, said: str) -> bool:
        """Whether the row fits an answer, or an event of a log (which has no status)."""
        return (not self.where or operation in self.where) and status == self.status and self.fits(said)

    def fits(self, said: str) -> bool:
        """Whether the words are those of the row."""
        return self._words.search(said) is not None

    @cached_property
    def _words(self) -> re.Pattern[str]:
        # An event of a log has several lines.
        return re.compile(self.said, re.DOTALL if self.status is None else 0)
