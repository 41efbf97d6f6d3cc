# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one billing sync token of a cloud organization: read, made for the first time, or rotated, never two at once."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from http import HTTPStatus

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

if t.TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.identity import Proof
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server


@dataclass(frozen=True)
class Outcome:
    """The token as it now is, and what was done to it."""

    changed: bool
    rotated: bool = False
    token: str | None = field(default=None, repr=False)
    revision_date: str | None = None


class BillingSyncKey:
    """The token of one organization; C(lock) keeps every other task for it out."""

    def __init__(
        self, server: Server, organization_id: str, lock: t.Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._server = server
        self._id = organization_id
        self._lock = lock

    def dates(self) -> list[str]:
        """When each token was made or rotated last: one entry, none, or more where the organization is broken."""
        return self._server.key_dates(self._id)

    def get(self, proof: Proof, *, check_mode: bool, confirm: bool) -> Outcome:
        """The token there is, or the first one; only the first one is made while others are kept waiting."""
        with self._lock():
            dates = self.dates()
            self._require_one(dates)
            if not dates:
                return self._first(proof, check_mode=check_mode, confirm=confirm)
        return self._outcome(self._read(proof), changed=False)

    def rotate(self, proof: Proof, *, check_mode: bool, confirm: bool) -> Outcome:
        """A new token in the place of the old one, or the first one where there is none to rotate."""
        with self._lock():
            dates = self.dates()
            self._require_one(dates)
            if not dates:
                return self._first(proof, check_mode=check_mode, confirm=confirm)
            self._verify(proof)
            if check_mode:
                return Outcome(changed=True, rotated=True)
            return self._outcome(self._rotate(proof, dates), changed=True, rotated=True)

    def _first(self, proof: Proof, *, check_mode: bool, confirm: bool) -> Outcome:
        # The cloud makes the key before it looks at the password, so a wrong one must be found out earlier.
        self._verify(proof)
        if check_mode:
            return Outcome(changed=True)
        key = self._read(proof)
        if confirm:
            self._require_one(self.dates())
        return self._outcome(key, changed=True)

    def _verify(self, proof: Proof) -> None:
        # A code would be used up by a question, and a password that opens the account's key needs none.
        if not (proof.is_code or proof.certain):
            self._server.verify_password(proof)

    def _read(self, proof: Proof) -> dict[str, t.Any]:
        try:
            return self._server.billing_sync_key(self._id, proof)
        except BitwardenError as error:
            if error.details.get("status") == HTTPStatus.INTERNAL_SERVER_ERROR:
                # That is what the cloud says for ever once there are several.
                self._require_one(self.dates())
            raise

    def _rotate(self, proof: Proof, before: list[str]) -> dict[str, t.Any]:
        try:
            return self._server.rotate_billing_sync_key(self._id, proof)
        except BitwardenError as error:
            status = error.details.get("status")
            if status is not None and status < HTTPStatus.INTERNAL_SERVER_ERROR and status >= HTTPStatus.BAD_REQUEST:
                raise
            after = self.dates()
            self._require_one(after)
            if after == before:
                raise
            return self._read_rotated(proof, error)

    def _read_rotated(self, proof: Proof, error: BitwardenError) -> dict[str, t.Any]:
        """The token that a rotation made whose answer was lost; it is never rotated a second time."""
        if not proof.is_code:
            return self._read(proof)
        raise BitwardenError(
            f"{error.message} The token was rotated all the same, and the one-time code is used up.",
            next_step="Have a new code mailed (request_otp) and fetch the new token with it, without rotate; the "
            "servers that hold the old token cannot sync until they get it.",
            details=error.details,
        ) from error

    def _outcome(self, key: dict[str, t.Any], *, changed: bool, rotated: bool = False) -> Outcome:
        return Outcome(changed, rotated, str(key["apiKey"]), key.get("revisionDate"))

    def _require_one(self, dates: list[str]) -> None:
        if len(dates) > 1:
            raise BitwardenError(several(self._id, dates), next_step=KEEP_THE_ONE_THAT_WORKS)


KEEP_THE_ONE_THAT_WORKS = (
    "Keep the token that the self-hosted server uses, never rotate, and ask Bitwarden's support to delete the others. "
    "First calls at the same moment from several controllers do this."
)


def several(organization_id: str, dates: list[str]) -> str:
    """The damage in words that first calls at the same moment do."""
    return (
        f"The organization {organization_id} has {len(dates)} billing sync tokens at the cloud (made "
        f"{', '.join(dates)}). The cloud answers 500 to every attempt to return or to rotate one of them, for ever; "
        "only Bitwarden's support can delete the rows."
    )
