# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one family of errors, and the one place where an error ends a module."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


class BitwardenError(Exception):
    """Says what failed and where; C(next_step) says what to do about it. Neither may hold a secret."""

    def __init__(
        self, message: str, *, next_step: str | None = None, details: t.Mapping[str, t.Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.details: dict[str, t.Any] = dict(details or {})

    def __str__(self) -> str:
        return f"{self.message} Next step: {self.next_step}" if self.next_step else self.message


def fail(module: AnsibleModule, error: BitwardenError) -> t.NoReturn:
    """End the module with the error, in words and as keys that a playbook can test."""
    facts: dict[str, t.Any] = {key: value for key, value in error.details.items() if value is not None}
    if error.next_step:
        facts["next_step"] = error.next_step
    module.fail_json(msg=str(error), **facts)
    raise AssertionError("fail_json does not return")
