# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An organization's API keys, as several endpoints look at them."""

from __future__ import annotations

import secrets
import string

from bwlab.errors import ServerError
from bwlab.net_text import NULL_REFERENCE
from bwlab.store import Row, Store

TABLE = "OrganizationApiKey"
DEFAULT, BILLING_SYNC, SCIM = range(3)
KEY_LENGTH = 30


def new_key() -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _unused in range(KEY_LENGTH))


def single_key(store: Store, organization_id: str, kind: int) -> Row | None:
    """The only key of its type. Two of them, as a race leaves them, are an error that stays for ever."""
    found = store.rows(TABLE, OrganizationId=organization_id, Type=kind)
    if len(found) > 1:
        raise ServerError("System.InvalidOperationException: Sequence contains more than one element")
    return found[0] if found else None


def billing_sync_key_fits(store: Store, organization_id: str, given: str | None) -> bool:
    """Compared with the first row; an organization that never had a key makes the server stumble."""
    if given is None or not given.strip():
        return False
    row = store.one(TABLE, OrganizationId=organization_id, Type=BILLING_SYNC)
    if row is None:
        raise ServerError(NULL_REFERENCE)
    return bool(row["ApiKey"] == given)
