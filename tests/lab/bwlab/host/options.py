"""Command line options as the docker commands take them: flags before the first operand, values with or without `=`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from bwlab.host.engine import EngineError


@dataclass
class Options:
    given: dict[str, list[str]] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)

    def has(self, *names: str) -> bool:
        return any(name in self.given for name in names)

    def all(self, *names: str) -> list[str]:
        return [value for name in names for value in self.given.get(name, [])]

    def last(self, *names: str) -> str | None:
        values = self.all(*names)
        return values[-1] if values else None


def parse(arguments: list[str], valued: Collection[str], *, flags: Collection[str], mixed: bool = True) -> Options:
    """`mixed`: options may stand behind operands; otherwise the first operand ends them (its own follow)."""
    options = Options()
    at = 0
    while at < len(arguments):
        word = arguments[at]
        at += 1
        name, equals, value = word.partition("=")
        if word == "--":
            options.rest += arguments[at:]
            break
        if not word.startswith("-") or word == "-":
            options.rest.append(word)
            if not mixed:
                options.rest += arguments[at:]
                break
        elif name in valued:
            if not equals:
                if at >= len(arguments):
                    raise EngineError(f"flag needs an argument: {word}", 125)
                value = arguments[at]
                at += 1
            options.given.setdefault(name, []).append(value)
        elif name in flags:
            if value not in ("false", "0"):
                options.given.setdefault(name, []).append(value or "true")
        elif not word.startswith("--") and len(word) > 2 and all(f"-{letter}" in flags for letter in word[1:]):
            for letter in word[1:]:
                options.given.setdefault(f"-{letter}", []).append("true")
        else:
            raise EngineError(
                f"unknown flag: {word}" if word.startswith("--") else f"unknown shorthand flag: {word}", 125
            )
    return options
