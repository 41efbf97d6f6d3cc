"""Every fault of the API's side, injected: a cause or a right result, nothing half-done, a next run that converges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from integration.api_faults import table
from integration.api_faults.cases import CASES
from integration.api_faults.runs import Case, Run
from integration.api_faults.site import Site, site

LEAST = 30


@pytest.fixture(scope="module")
def lab_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("api-faults")) as made:
        yield made


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.identity, marks=[pytest.mark.long] * case.long) for case in CASES]
)
def test_fault(case: Case, lab_site: Site) -> None:
    # Measure anew after a change: python tests/integration/faults_table.py api
    assert Run(lab_site, case).outcome() == table.committed()[case.identity]


def test_the_document_has_every_case_and_true_figures() -> None:
    committed = table.committed()
    assert list(committed) == table.everything()
    assert len(set(committed)) == len(CASES)
    assert len([case for case in CASES if not case.long]) >= LEAST
    assert table.render(committed) in table.FILE.read_text(encoding="utf-8")
