"""Measures the fault matrices and writes docs/faults.md: python faults_table.py [host|api] [WORDS OF A NAME]."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT / ".cache", ROOT / "tests" / "lab", ROOT / "tests"):
    sys.path.insert(0, str(folder))

from integration.api_faults import table as api_table
from integration.api_faults.cases import CASES as API_CASES
from integration.api_faults.runs import Run
from integration.api_faults.site import site
from integration.faults import table as host_table
from integration.faults.cases import CASES as HOST_CASES
from integration.faults.pool import results

Measured = Iterator[tuple[str, Callable[[], Any]]]


def _host(folder: Path, words: str) -> Measured:
    cases = [case for case in HOST_CASES if words in case.identity]
    with results(folder, cases) as found:
        names = {future: name for name, future in found.items()}
        for future in as_completed(names):
            yield names[future], future.result


def _api(folder: Path, words: str) -> Measured:
    with site(folder) as made:
        for case in API_CASES:
            if words in case.identity:
                yield case.identity, Run(made, case).outcome


SIDES: dict[str, tuple[Callable[[Path, str], Measured], Any]] = {"host": (_host, host_table), "api": (_api, api_table)}


def _measure(side: str, words: str) -> bool:
    """Run the cases, all or those whose name has the given words; whether all came to an outcome."""
    run, table = SIDES[side]
    measured = table.committed()
    start, count, failed = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory(prefix="bwfaults-") as folder:
        for name, outcome in run(Path(folder), words):
            count += 1
            try:
                measured[name] = outcome()
                print(f"{name}: {' | '.join(measured[name].cells())}", flush=True)
            except Exception:
                failed += 1
                measured.pop(name, None)
                print(f"FAILED {name}", flush=True)
                traceback.print_exc()
    missing = [name for name in table.everything() if name not in measured]
    rows = {name: measured[name] for name in table.everything() if name in measured}
    table.write(rows)
    print("\n".join(table.figures(rows)))
    print(f"{count - failed} of {count} cases in {time.monotonic() - start:.0f} s")
    return not failed and not missing


def main() -> int:
    """The sides that were named, or both; the status says whether all cases came to an outcome."""
    words = sys.argv[1:]
    sides = [words.pop(0)] if words and words[0] in SIDES else list(SIDES)
    # Every side is measured, also after one that failed.
    outcomes = [_measure(side, " ".join(words)) for side in sides]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
