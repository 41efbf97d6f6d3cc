# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""References to variables in the values of env files, as compose takes them apart."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

Lookup = t.Callable[[str], t.Optional[str]]

# Compose's own letters, which in any letter case are two more than those of ASCII.
_NAME = "[_a-zA-Z\u017f\u212a][_a-zA-Z0-9\u017f\u212a]*"
_DOLLAR = re.compile(
    rf"\$(?:(?P<escaped>\$)|(?P<named>{_NAME})"
    rf"|(?P<brace>\{{)(?:(?P<braced>{_NAME})(?:(?P<operator>:?[-+?])(?P<rest>.*))?\}})?)"
)


class TemplateError(Exception):
    """A reference that is not closed, or that needs a variable which is not set."""


@dataclass(frozen=True)
class Reference:
    """A reference as it is written, with what follows it up to the last brace of its line."""

    written: str
    name: str
    operator: str = ""
    argument: str = ""
    rest: str = ""


def _split(match: re.Match[str]) -> Reference:
    """Finds the brace that closes a reference: compose passes over the character after an opening one."""
    text = match.group()
    depth, index = 0, 0
    end = len(text) - 1
    while index < len(text):
        if text[index] == "}":
            depth -= 1
            if depth == 0:
                end = index
                break
        if text[index] == "{":
            depth += 1
            index += 1
        index += 1
    argument = text[match.start("rest") - match.start() : end]
    return Reference(text, match.group("braced"), match.group("operator"), argument, text[end + 1 :])


def parts(text: str) -> t.Iterator[str | Reference]:
    """Literal text, C($$) resolved, and references between it."""
    position = 0
    for match in _DOLLAR.finditer(text):
        yield text[position : match.start()]
        position = match.end()
        if match.group("escaped"):
            yield "$"
        elif match.group("named"):
            yield Reference(match.group(), match.group("named"))
        elif match.group("braced") is None:
            raise TemplateError("'${' starts a variable that is not closed by '}' or has no name")
        elif match.group("operator"):
            yield _split(match)
        else:
            yield Reference(match.group(), match.group("braced"))
    yield text[position:]


def as_written(text: str) -> tuple[str, bool]:
    """The text with C($$) resolved and references as they stand, and whether there are any.

    What is malformed in the default of a variable is an error also where that default is not needed today.
    """
    found: list[str] = []
    interpolated = False
    for part in parts(text):
        if isinstance(part, Reference):
            as_written(part.argument)
            as_written(part.rest)
            interpolated = True
            found.append(part.written)
        else:
            found.append(part)
    return "".join(found), interpolated


def substitute(text: str, lookup: Lookup) -> str:
    """The text with all references replaced by the values of their variables."""
    return "".join(part if isinstance(part, str) else _value(part, lookup) for part in parts(text))


def _value(reference: Reference, lookup: Lookup) -> str:
    value = lookup(reference.name)
    if not reference.operator:
        return value or ""
    given = value is not None and not (reference.operator.startswith(":") and value == "")
    kind = reference.operator[-1]
    if kind == "?" and not given:
        raise TemplateError(f"it needs the variable {reference.name}, which is not set")
    if given == (kind == "+"):
        value = substitute(reference.argument, lookup)
    return (value or "") + substitute(reference.rest, lookup)
