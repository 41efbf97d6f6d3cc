"""Errors are one family, and one place ends a module with them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError, fail


class Ended(Exception):
    pass


class Module:
    """What `fail` may use of a module, and nothing else."""

    def __init__(self) -> None:
        self.result: dict[str, Any] = {}

    def fail_json(self, **result: Any) -> None:
        self.result = result
        raise Ended


def ended_with(error: BitwardenError) -> dict[str, Any]:
    module = Module()
    with pytest.raises(Ended):
        fail(module, error)
    return module.result


def test_a_failed_module_says_what_happened_and_what_to_do() -> None:
    error = BitwardenError(
        "It broke.", next_step="Mend it.", details={"status": 500, "endpoint": "GET /x", "cause": None}
    )
    assert ended_with(error) == {
        "msg": "It broke. Next step: Mend it.",
        "next_step": "Mend it.",
        "status": 500,
        "endpoint": "GET /x",
    }


def test_an_error_without_a_next_step_invents_none() -> None:
    assert ended_with(BitwardenError("It broke.")) == {"msg": "It broke."}
