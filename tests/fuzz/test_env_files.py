"""Our two readers of env files against the real compose, on files that a generator makes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from fuzz.env_files import CALLER, Maker
from fuzz.readers import Tally, by_lab
from fuzz.real_compose import Environment, RealCompose

BATCH = 2000


def compare(files: Iterable[bytes]) -> tuple[Tally, int]:
    """All files through all readers; files that look valid go to compose in batches, the others one by one."""
    compose, tally = RealCompose(CALLER), Tally()
    rest = iter(files)
    with ThreadPoolExecutor(2) as pool:
        while batch := list(itertools.islice(rest, BATCH)):
            valid = [data for data in batch if isinstance(by_lab(data), dict)]
            invalid = [data for data in batch if isinstance(by_lab(data), str)]
            halves = [valid[: len(valid) // 2], valid[len(valid) // 2 :]]
            answers: list[tuple[bytes, Environment | str]] = []
            for part, found in zip(halves, pool.map(compose.read, halves), strict=True):
                answers.extend(zip(part, found, strict=True))
            answers.extend(
                zip(invalid, (one for (one,) in pool.map(lambda data: compose.read([data]), invalid)), strict=True)
            )
            for data, real in answers:
                tally.add(data, real)
    return tally, compose.starts


def check(seed: int, count: int) -> None:
    began = time.monotonic()
    tally, starts = compare(Maker(seed).files(count))
    took = time.monotonic() - began
    print(f"seed {seed}: {tally.words()}; {took:.0f} s, {count / took:.0f} files/s, compose started {starts} times")
    if tally.differences:
        pytest.fail("\n".join(tally.differences[:20]), pytrace=False)
    assert tally.files == count


def test_a_few_thousand_files_of_a_fixed_seed() -> None:
    check(seed=4, count=2500)


@pytest.mark.long
def test_a_hundred_thousand_new_files() -> None:
    check(seed=time.time_ns(), count=100_000)


def test_the_comparison_sees_a_difference() -> None:
    tally = Tally()
    tally.add(b"A=1\n", {"A": "2"})
    tally.add(b"A=1\n", "refused")
    tally.add(b"A='1\n", {"A": "1"})
    assert len(tally.differences) == 6
    tally.add(b"A=1\rB=2\n", {"A": "1\rB=2"})
    assert len(tally.differences) == 6
    assert tally.stricter == {"a carriage return stands inside the line": 1}
