"""Env files as compose reads them, for the docker stand-in.

Written apart from the collection's own reader on purpose: what one of them gets wrong, the other shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from unicodedata import category

Lookup = Callable[[str], "str | None"]
# Blanks that do not end a line, and all that compose takes off the ends of names and values.
BLANKS = "\t\v\f\r \x85\xa0"
SPACES = BLANKS + "\n\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
# Go's [a-z] in any letter case takes two letters in that ASCII does not have.
_LETTER = "_a-zA-Z\u017f\u212a"
NAME = re.compile(rf"[{_LETTER}][{_LETTER}0-9]*")
OPERATOR = re.compile(r":?[-+?]")
ESCAPE = re.compile(r'\\(?:[abcfnrtv$"\\]|0[0-9]{0,3})')
OCTAL = re.compile(r"[0-3][0-7]{2}")
LONGEST_LINE = 65536
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
    name = NAME.match(template, at + 2 if follows == "{" else at + 1)
    if follows == "{":
        if name is not None and template[name.end() : name.end() + 1] == "}":
            return _value(name.group(), lookup, warn), name.end() + 1
        line_end = template.find("\n", at) if "\n" in template[at:] else len(template)
        last = template.rfind("}", at, line_end)
        if name is None or not OPERATOR.match(template, name.end(), last + 1) or last < 0:
            raise EnvFileError(f'Invalid template: "{template}"')
        end = _closing(template, at, last)
        text = _braced(name.group(), template[name.end() : end], lookup, warn)
        # Up to the last brace of the line all belongs to one match, and is looked through a second time.
        return text + substitute(template[end + 1 : last + 1], lookup, warn), last + 1
    if name is None:
        return "$", at + 1
    return _value(name.group(), lookup, warn), name.end()


def _closing(template: str, at: int, last: int) -> int:
    """The brace that ends the reference; compose passes over the character that follows an opening one."""
    depth, index = 0, at
    while index <= last:
        if template[index] == "}":
            depth -= 1
            if depth == 0:
                return index
        if template[index] == "{":
            depth += 1
            index += 1
        index += 1
    return last


def _braced(name: str, rest: str, lookup: Lookup, warn: Callable[[str], None] | None) -> str:
    colon, kind = rest[0] == ":", rest[1 if rest[0] == ":" else 0]
    argument = rest[2 if colon else 1 :]
    value = lookup(name)
    given = value is not None and not (colon and value == "")
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
        return chr(int(digits, 8)) if OCTAL.fullmatch(digits) else "\\" + digits
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
            stripped = rest.lstrip(SPACES)
            self.line += rest[: len(rest) - len(stripped)].count("\n")
            if not stripped.startswith("#"):
                return stripped
            rest = stripped[stripped.find("\n") :] if "\n" in stripped else ""

    def _key(self, rest: str) -> tuple[str, bool, str]:
        if re.match(r"export[\t\n\f\r ]", rest):
            rest = rest.removeprefix("export").lstrip(BLANKS)
            if not rest:
                raise EnvFileError("zero length string")
        end = -1
        for index, character in enumerate(rest):
            if character in "=:\n":
                end = index
                break
            if not (character in BLANKS or character in "_.-[]" or category(character)[0] in "LN"):
                shown = rest.partition("\n")[0]
                raise EnvFileError(f'line {self.line}: unexpected character "{character}" in variable name "{shown}"')
        if end < 0:
            # A word that ends with the file is the value of a variable without a name.
            return "", False, rest
        inherited = rest[end] == "\n"
        key = rest[:end].rstrip(SPACES)
        if " " in key:
            raise EnvFileError(f"line {self.line}: key cannot contain a space")
        if inherited:
            return key, True, rest[end:]
        return key, False, rest[end + 1 :].lstrip(BLANKS)

    def _right_side(self, rest: str) -> tuple[str, str]:
        if rest[:1] in ("'", '"'):
            return self._quoted(rest)
        value, newline, left = rest.partition("\n")
        value = value.partition(" #")[0].rstrip(SPACES)
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


def parse_plain(text: str | bytes, lookup: Lookup = no_lookup) -> dict[str, str]:
    """The other reader: `docker run --env-file` takes every character as it stands."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    values: dict[str, str] = {}
    for number, raw in enumerate(data.split(b"\n"), 1):
        if len(raw) >= LONGEST_LINE:
            raise EnvFileError("bufio.Scanner: token too long")
        try:
            line = raw.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise EnvFileError(f"invalid utf8 bytes at line {number}") from error
        line = (line.removeprefix("\ufeff") if number == 1 else line).lstrip(SPACES)
        if not line or line.startswith("#"):
            continue
        key, separator, value = line.partition("=")
        if not key:
            raise EnvFileError(f"no variable name on line '{line}'")
        if " " in key or "\t" in key:
            raise EnvFileError(f"variable '{key}' contains whitespaces")
        inherited = None if separator else lookup(key)
        if separator or inherited is not None:
            values[key] = value if inherited is None else inherited
    return values


def environment_lookup(*environments: Mapping[str, str]) -> Lookup:
    """Looks a name up in several environments, the first one that has it wins."""

    def find(name: str) -> str | None:
        return next((environment[name] for environment in environments if name in environment), None)

    return find
