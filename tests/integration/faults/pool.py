"""Runs cases at the same time, each on a server of its own."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from integration.faults.cases import CASES
from integration.faults.hosts import Host, fleet
from integration.faults.runs import Case, Outcome, Run

STANDARD_HOSTS = 4
WORKERS = 4

Results = dict[str, Future[Outcome]]


def _one(case: Case, free: queue.Queue[Host]) -> Outcome:
    host = free.get()
    try:
        return Run(host, case, CASES.index(case)).outcome()
    except BaseException:
        # The cases after this one are not to blame.
        host.reset()
        raise
    finally:
        free.put(host)


@contextmanager
def results(directory: Path, cases: list[Case]) -> Iterator[Results]:
    """The outcome of each case, as soon as somebody asks for it."""
    counts = Counter(case.deployment for case in cases)
    kinds = {kind: min(count, STANDARD_HOSTS if kind == "standard" else 1) for kind, count in counts.items()}
    with fleet(directory, kinds) as hosts:
        free: dict[str, queue.Queue[Host]] = {kind: queue.Queue() for kind in kinds}
        for host in hosts:
            free[host.deployment].put(host)
        with ThreadPoolExecutor(WORKERS) as pool:
            try:
                yield {case.identity: pool.submit(_one, case, free[case.deployment]) for case in cases}
            finally:
                pool.shutdown(cancel_futures=True)
