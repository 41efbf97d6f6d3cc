"""docs/egress.md has every fault that is injected, with the verdict that it gets and what is to be done."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe import verdicts

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def faults() -> ModuleType:
    """The list of faults is beside the tests that inject them, which need root."""
    spec = importlib.util.spec_from_file_location("egress_faults", ROOT / "tests" / "docker" / "egress_faults.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where its classes look for the names of their types.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_docs_have_every_fault_with_its_verdict_and_next_step(faults: ModuleType) -> None:
    rows = [(text, verdict, next_step) for text, verdict, _cause, next_step in faults.committed()]
    wanted = []
    for fault in faults.FAULTS:
        values = {"name": fault.about, "port": fault.endpoint.get("port", 443), "detail": "EU", "version": 6}
        next_step = verdicts.tell(fault.verdict, **values)["next_step"]
        wanted.append((fault.text, f"`{fault.verdict}`", next_step or ""))
    assert rows == wanted


def test_every_verdict_there_is_has_been_provoked(faults: ModuleType) -> None:
    assert {fault.verdict for fault in faults.FAULTS} == set(verdicts.TABLE)
