"""The API's part of docs/faults.md: written from measured outcomes, and read back to be compared with new ones."""

from __future__ import annotations

import re
from collections import Counter

from integration.api_faults.cases import CASES, GROUPS
from integration.api_faults.runs import AS_BEFORE, SUCCESS, Case, Outcome
from labkit import ROOT

FILE = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- API side: begin -->", "<!-- API side: end -->"
HEADER = ("fault", "module", "what the run says", "state afterwards", "the next run, without the fault")


def _row(case: Case, outcome: Outcome) -> str:
    return "| " + " | ".join([case.name, *outcome.cells()]) + " |"


def figures(outcomes: dict[str, Outcome]) -> list[str]:
    """What the rows say in sum."""
    left = Counter(outcome.afterwards for outcome in outcomes.values())
    right = sum(outcome.message.startswith(SUCCESS) for outcome in outcomes.values())
    done = "; ".join(f"{word} ({count})" for word, count in sorted(left.items()) if word != AS_BEFORE)
    return [
        "## The API's side",
        "",
        "Each row is a fault at the cloud, at the self-hosted server, between the two, or between them and the module.",
        "All tables of both, the license files, the env file and what the containers have are compared before and",
        "after the run; then the fault ends, and the module or the whole playbook runs twice more. No output holds a",
        "secret or a traceback.",
        "",
        f"- {len(outcomes)} faults. {right} times the result is right all the same; {len(outcomes) - right} times the "
        "run names the cause and the next step.",
        f"- {left[AS_BEFORE]} times everything is as before; else all of a step was done, never half of it: {done}.",
        f"- The next run converges in {len(outcomes)} of {len(outcomes)}, and the one after that changes nothing.",
    ]


def render(outcomes: dict[str, Outcome]) -> str:
    """The part of the document between its two marks."""
    lines = figures(outcomes)
    for title, cases in GROUPS.items():
        rows = [_row(case, outcomes[case.identity]) for case in cases if case.identity in outcomes]
        lines += ["", f"### {title}", "", "| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER), *rows]
    return "\n".join(lines)


def write(outcomes: dict[str, Outcome]) -> None:
    """Puts the measured part in its place; whatever else is in the document stays."""
    before, rest = FILE.read_text(encoding="utf-8").split(BEGIN)
    FILE.write_text(f"{before}{BEGIN}\n\n{render(outcomes)}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


def committed() -> dict[str, Outcome]:
    """The outcomes that the document holds, by the identity of their case."""
    part = FILE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    found = {}
    for section in re.split(r"^### ", part, flags=re.MULTILINE)[1:]:
        cases = {(case.name, f"`{case.module}`"): case for case in GROUPS.get(section.partition("\n")[0], [])}
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            if len(cells) == len(HEADER) and (case := cases.get((cells[0], cells[1]))):
                found[case.identity] = Outcome(*cells[1:])
    return found


def everything() -> list[str]:
    """The identities of all cases."""
    return [case.identity for case in CASES]
