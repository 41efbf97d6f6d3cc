"""Every fault of the server's side, injected: the server is up or was never stopped, and the next run converges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from integration.faults import table
from integration.faults.cases import CASES
from integration.faults.pool import Results, results
from integration.faults.runs import Case

LEAST = 25


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """The chosen cases, under way at the same time."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = [call.params["case"] for call in calls if call and "case" in call.params]
    cases = [case for case in CASES if case in chosen]
    with results(tmp_path_factory.mktemp("faults"), cases) as found:
        yield found


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.identity, marks=[pytest.mark.long] * case.long) for case in CASES]
)
def test_fault(case: Case, outcomes: Results) -> None:
    outcome = outcomes[case.identity].result()
    # Measure anew after a change: python tests/integration/faults_table.py
    assert outcome == table.committed()[case.identity]


def test_the_document_has_every_case_and_true_figures() -> None:
    committed = table.committed()
    assert list(committed) == table.everything()
    assert len([case for case in CASES if not case.long]) >= LEAST
    assert table.render(committed) in table.FILE.read_text(encoding="utf-8")
