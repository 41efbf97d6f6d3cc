# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a replay went, and which differences are accepted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

KNOWN_FILE = Path(__file__).parents[2] / "known_differences.yml"


@dataclass
class Result:
    group: str
    name: str
    differences: list[str]
    reason: str | None = None


@dataclass
class Summary:
    results: list[Result] = field(default_factory=list)

    def groups(self) -> dict[str, list[Result]]:
        found: dict[str, list[Result]] = {}
        for result in self.results:
            found.setdefault(result.group, []).append(result)
        return found

    @property
    def unexplained(self) -> list[Result]:
        return [result for result in self.results if result.differences and result.reason is None]

    def lines(self) -> list[str]:
        found = []
        for group, results in self.groups().items():
            alike = sum(not result.differences for result in results)
            known = sum(bool(result.differences) and result.reason is not None for result in results)
            found.append(f"{group:30} {alike}/{len(results)}" + (f"  ({known} known to differ)" if known else ""))
        alike = sum(not result.differences for result in self.results)
        return [*found, f"{'sum':30} {alike}/{len(self.results)}"]


def known_differences(path: Path = KNOWN_FILE) -> list[dict[str, str]]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or [] if path.exists() else []


def reason_for(known: list[dict[str, str]], group: str, name: str) -> str | None:
    for entry in known:
        if entry["group"] == group and re.fullmatch(entry.get("exchanges", ".*"), name):
            return entry["reason"]
    return None
