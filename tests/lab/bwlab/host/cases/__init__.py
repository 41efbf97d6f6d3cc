"""Runs the recorded cases of the real Setup program against the lab's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bwlab.host.cases import installing, layout, rewriting

FILES = ("env_rewrite.json", "install.json", "layout.json")


@dataclass
class Outcome:
    alike: int = 0
    all: int = 0
    differences: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)

    def add(self, name: str, found: list[str] | None) -> None:
        if found is None:
            self.not_run.append(name)
            return
        self.all += 1
        self.alike += not found
        self.differences += [f"{name}: {line}" for line in found]


def outcomes(folder: Path) -> dict[str, Outcome]:
    """By file; a file that the folder does not have is left out."""
    runners = {"env_rewrite.json": rewriting.cases, "install.json": installing.cases, "layout.json": layout.cases}
    found: dict[str, Outcome] = {}
    for name, runner in runners.items():
        if not (folder / name).is_file():
            continue
        found[name] = Outcome()
        for case, differences in runner(folder / name):
            found[name].add(case, differences)
    return found


def run_cases(folder: Path) -> tuple[int, int, list[str]]:
    """How many cases came out as recorded, of how many, and what differs. Cases that need another user are left out."""
    parts = outcomes(Path(folder)).values()
    lines = [line for part in parts for line in part.differences]
    return sum(part.alike for part in parts), sum(part.all for part in parts), lines
