"""docs/faults.md: written from measured outcomes, and read back to be compared with new ones."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from integration.faults.cases import CASES, GROUPS
from integration.faults.runs import DOWN, NEVER, Case, Outcome
from labkit import ROOT

FILE = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- host side: begin -->", "<!-- host side: end -->"
HEADER = ("fault", "what the run says", "server afterwards", "down time", "env file", "the next run")


def _row(case: Case, outcome: Outcome) -> str:
    return "| " + " | ".join([case.name, *outcome.cells()]) + " |"


def figures(outcomes: dict[str, Outcome]) -> list[str]:
    stack = Counter(outcome.stack for outcome in outcomes.values())
    files = Counter(outcome.env_file for outcome in outcomes.values())
    up = len(outcomes) - stack[DOWN]
    return [
        "## The server's side",
        "",
        "Each row is a fault that a test injects into a server of the lab; the test then runs the two tasks that",
        "change a setting (`env_file`, `stack`), asks the front door all the time, ends the fault, and runs them twice",
        "more.",
        "",
        f"- {len(outcomes)} faults. After {up} of them the server is up; during {stack[NEVER]} it was never stopped.",
        f"- {stack[DOWN]} end a run between stop and start and leave nothing that could start the server again (power, "
        "`kill -9`): the next run does.",
        f"- Env file: {files['old']} times the old one, {files['new']} times the new one, {files['as found']} times as "
        "somebody had left it; never half of one.",
        f"- The next run converges in {len(outcomes)} of {len(outcomes)}, and the one after that changes nothing.",
    ]


def render(outcomes: dict[str, Outcome]) -> str:
    """The part of the document between its two marks."""
    lines = figures(outcomes)
    for title, cases in GROUPS.items():
        rows = [_row(case, outcomes[case.identity]) for case in cases if case.identity in outcomes]
        lines += ["", f"### {title}", "", "| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER), *rows]
    return "\n".join(lines)


def write(outcomes: dict[str, Outcome], file: Path = FILE) -> None:
    """Puts the measured part in its place; whatever else is in the document stays."""
    before, rest = file.read_text(encoding="utf-8").split(BEGIN)
    file.write_text(f"{before}{BEGIN}\n\n{render(outcomes)}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


def committed(file: Path = FILE) -> dict[str, Outcome]:
    """The outcomes that the document holds, by the identity of their case."""
    part = file.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    found = {}
    for section in re.split(r"^### ", part, flags=re.MULTILINE)[1:]:
        cases = {case.name: case for case in GROUPS.get(section.partition("\n")[0], [])}
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            if len(cells) == len(HEADER) and cells[0] in cases:
                found[cases[cells[0]].identity] = Outcome(*cells[1:])
    return found


def everything() -> list[str]:
    """The identities of all cases."""
    return [case.identity for case in CASES]
