"""Answers that are spoiled in every way: no traceback, no part of a secret, always words and a next step."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fuzz.api_dialogs import MODULES, listen
from unit.test_house import MODULES as ALL_MODULES
from unit.test_house import ON_THE_SERVER

SEED = "bodies"
PART, WHOLE, WORKERS = 600, 10_000, 2
PLAYER = Path(__file__).with_name("play_bodies.py")


@pytest.fixture(scope="module")
def dialogs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every module of the API asks and gets, as a file."""
    folder = tmp_path_factory.mktemp("dialogs")
    heard = listen(folder)
    assert {dialog.module for dialog in heard} == set(MODULES)
    file = folder / "dialogs.json"
    file.write_text(json.dumps([dataclasses.asdict(dialog) for dialog in heard]), encoding="utf-8")
    return file


def play(file: Path, first: int, last: int) -> dict[str, Any]:
    """Cases in several processes; what they found."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    edges = [first + (last - first) * number // WORKERS for number in range(WORKERS + 1)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(PLAYER), str(file), SEED, str(start), str(end)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for start, end in zip(edges, edges[1:], strict=False)
    ]  # fmt: skip
    outputs = [process.communicate() for process in processes]
    assert all(stdout.startswith("{") for stdout, _stderr in outputs), outputs
    found = [json.loads(stdout) for stdout, _stderr in outputs]
    counts = {module: sum(one["counts"][module] for one in found) for module in MODULES}
    return {
        "failed": [failure for one in found for failure in one["failed"]],
        "counts": counts,
        "errors": sum(one["errors"] for one in found),
    }


def check(file: Path, cases: int) -> None:
    found = play(file, 0, cases)
    # The secrets in it are new in each run, so that only this file shows the same again.
    assert found["failed"] == [], f"play again: {PLAYER} {file} {SEED} N N+1 -v"
    assert sum(found["counts"].values()) == cases
    assert min(found["counts"].values()) > cases // 100
    # Most of what is spoiled is noticed; what is not, was not needed.
    assert found["errors"] > cases // 2


def test_every_module_of_the_api_is_played() -> None:
    assert set(MODULES) == {path.stem for path in ALL_MODULES} - set(ON_THE_SERVER)


def test_a_part_of_the_spoiled_answers(dialogs: Path) -> None:
    check(dialogs, PART)


@pytest.mark.long
def test_ten_thousand_spoiled_answers(dialogs: Path) -> None:
    check(dialogs, WHOLE)
