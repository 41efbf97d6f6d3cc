"""Env files as compose reads them, for the docker stand-in.

Written apart from the collection's own reader on purpose: what one of them gets wrong, the other shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Lookup = Callable[[str], "str | None"]
# Blanks that do not end a line.
BLANKS = "\t\v\f\r \x85\xa0"
NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
OPERATOR = re.compile(r":?[-+?]")
ESCAPE = re.compile(r'\\(?:[abcfnrtv$"\\]|0[0-7]{0,3})')
LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}


class EnvFileError(Exception):
    """The file or a value in it cannot be read."""


def no_lookup(_unused: str) -> str | None:
    return None


def substitute(template: str, lookup: Lookup, warn: Callable[[str], None] | None = None) -> str:
    """`$NAME`, `${NAME}` with its operators, and `$$`; any other dollar stays as it is."""
    out: list[str] = []
    position = 0
    while (dollar := template.find("$", position)) >= 0:
        out.append(template[position:dollar])
        text, position = _dollar(template, dollar, lookup, warn)
        out.append(text)
    out.append(template[position:])
    return "".join(out)


def _dollar(template: str, at: int, lookup: Lookup, warn: Callable[[str], None] | None) -> tuple[str, int]:
    """What stands for the dollar at a place, and where the rest begins."""
    follows = template[at + 1 : at + 2]
    if follows == "$":
        return "$", at + 2
    if follows == "{":
        end = _closing(template, at + 2)
        inner = template[at + 2 : end]
        name = NAME.match(inner)
        rest = inner[name.end() :] if name else ""
        if end < 0 or name is None or (rest and not OPERATOR.match(rest)):
            raise EnvFileError(f'Invalid template: "{template}"')
        return _braced(name.group(), rest, lookup, warn), end + 1
    name = NAME.match(template, at + 1)
    if name is None:
        return "$", at + 1
    return _value(name.group(), lookup, warn), name.end()


def _closing(template: str, at: int) -> int:
    depth = 1
    for index in range(at, len(template)):
        if template[index] == "{" and template[index - 1] == "$":
            depth += 1
        elif template[index] == "}":
            depth -= 1
            if depth == 0:
                return index
    return -1


def _braced(name: str, rest: str, lookup: Lookup, warn: Callable[[str], None] | None) -> str:
    operator = OPERATOR.match(rest)
    if operator is None:
        return _value(name, lookup, warn)
    argument = rest[operator.end() :]
    value = lookup(name)
    given = value is not None and not (operator.group().startswith(":") and value == "")
    kind = operator.group()[-1]
    if kind == "+":
        return substitute(argument, lookup, warn) if given else ""
    if given:
        return value or ""
    if kind == "?":
        message = substitute(argument, lookup, warn)
        raise EnvFileError(f"required variable {name} is missing a value" + (f": {message}" if message else ""))
    return substitute(argument, lookup, warn)


def _value(name: str, lookup: Lookup, warn: Callable[[str], None] | None) -> str:
    value = lookup(name)
    if value is None and warn is not None:
        warn(f'The "{name}" variable is not set. Defaulting to a blank string.')
    return value or ""


def _unescape(match: re.Match[str]) -> str:
    letter = match.group()[1]
    if letter == "$":
        # Left for the substitution, which makes one dollar of it.
        return "$$"
    if letter == "0":
        digits = match.group()[2:]
        return chr(int(digits, 8)) if len(digits) == 3 else match.group()
    return LETTERS.get(letter, match.group())


@dataclass
class Parser:
    text: str
    lookup: Lookup = no_lookup
    warn: Callable[[str], None] | None = None
    line: int = 1
    values: dict[str, str] = field(default_factory=dict)

    def parse(self) -> dict[str, str]:
        rest = self._statement(self.text)
        while rest:
            key, inherited, rest = self._key(rest)
            if inherited:
                if (value := self.lookup(key)) is not None:
                    self.values[key] = value
            else:
                self.values[key], rest = self._right_side(rest)
            rest = self._statement(rest)
        return self.values

    def _statement(self, rest: str) -> str:
        """Skips blank lines and comments."""
        while True:
            stripped = rest.lstrip(BLANKS + "\n")
            self.line += rest[: len(rest) - len(stripped)].count("\n")
            if not stripped.startswith("#"):
                return stripped
            rest = stripped[stripped.find("\n") :] if "\n" in stripped else ""

    def _key(self, rest: str) -> tuple[str, bool, str]:
        rest = re.sub(r"^export\s+", "", rest)
        end = len(rest)
        for index, character in enumerate(rest):
            if character in "=:\n":
                end = index
                break
            if not (character in BLANKS or character in "_.-[]" or character.isalpha() or character.isnumeric()):
                shown = rest.partition("\n")[0]
                raise EnvFileError(f'line {self.line}: unexpected character "{character}" in variable name "{shown}"')
        inherited = rest[end : end + 1] in ("", "\n")
        key = rest[:end].rstrip()
        if " " in key:
            raise EnvFileError(f"line {self.line}: key cannot contain a space")
        if inherited:
            return key, True, rest[end:]
        return key, False, rest[end + 1 :].lstrip(BLANKS)

    def _right_side(self, rest: str) -> tuple[str, str]:
        if rest[:1] in ("'", '"'):
            return self._quoted(rest)
        value, newline, left = rest.partition("\n")
        value = value.partition(" #")[0].rstrip()
        return self._expand(value), newline + left

    def _quoted(self, rest: str) -> tuple[str, str]:
        quote = rest[0]
        characters: list[str] = []
        escaped = False
        for index in range(1, len(rest)):
            character = rest[index]
            if character == quote and not escaped:
                value = "".join(characters)
                self.line += value.count("\n")
                if quote == '"':
                    value = self._expand(ESCAPE.sub(_unescape, value))
                return value, rest[index + 1 :]
            if character == "\\" and not escaped:
                escaped = True
                continue
            if escaped and character != quote:
                characters.append("\\")
            escaped = False
            characters.append(character)
        raise EnvFileError(f"line {self.line}: unterminated quoted value {rest.partition(chr(10))[0]}")

    def _expand(self, value: str) -> str:
        def find(name: str) -> str | None:
            found = self.lookup(name)
            return self.values.get(name) if found is None else found

        return substitute(value, find, self.warn)


def parse(text: str, lookup: Lookup = no_lookup, warn: Callable[[str], None] | None = None) -> dict[str, str]:
    """The variables of one file; `lookup` is asked before the file's own earlier lines."""
    return Parser(text.removeprefix("\ufeff"), lookup, warn).parse()


def parse_plain(text: str) -> dict[str, str]:
    """The other reader: `docker run --env-file` takes every character as it stands."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            key, separator, value = line.lstrip().partition("=")
            if separator:
                values[key] = value
    return values


def environment_lookup(*environments: Mapping[str, str]) -> Lookup:
    """Looks a name up in several environments, the first one that has it wins."""

    def find(name: str) -> str | None:
        return next((environment[name] for environment in environments if name in environment), None)

    return find
