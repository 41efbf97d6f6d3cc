# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads env files as C(docker compose) reads them, and remembers which line each setting stands on.

Bytes that are no UTF-8 travel as surrogates, so that a file can be taken apart and put together unchanged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

BOM = "\ufeff"

# Compose is written in Go: its idea of a blank is not quite Python's.
_BLANKS = "\t\v\f\r \x85\xa0"
_SPACES = (
    _BLANKS + "\n\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_EXPORT = re.compile(rf"export[{_BLANKS}]+")
_ESCAPE = re.compile(r"\\(0[0-7]{1,3}|[abfnrtv$\"\\])")
_ESCAPED = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    '"': '"',
    "\\": "\\",
    "$": "$$",
}
_DOLLAR = re.compile(r"\$(?:(?P<escaped>\$)|(?P<named>[_a-zA-Z][_a-zA-Z0-9]*)|(?P<brace>\{))")
_BRACED = re.compile(r"\{[_a-zA-Z][_a-zA-Z0-9]*(?:\}|:?[-?+].*?\})", re.DOTALL)


class EnvFileError(BitwardenError):
    """An env file, or a wish for one, that cannot be worked with."""


@dataclass(frozen=True)
class Statement:
    """One setting: its effective value, and the physical lines (from zero) that it stands on."""

    key: str
    value: str
    first: int
    last: int
    raw: str
    plain: bool
    interpolated: bool = False
    inherited: bool = False


@dataclass
class Document:
    """An env file: all its lines with their endings, and what they mean."""

    bom: str
    lines: list[str]
    statements: list[Statement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def find(self, key: str) -> list[Statement]:
        """All settings of that name in any letter case, as .NET looks them up."""
        return [statement for statement in self.statements if statement.key.lower() == key.lower()]

    def effective(self, key: str) -> str | None:
        """The value that wins, or None where the key has none."""
        values = [statement.value for statement in self.find(key) if not statement.inherited]
        return values[-1] if values else None


def split_ending(line: str) -> tuple[str, str]:
    """A physical line without its ending, and the ending."""
    for ending in ("\r\n", "\n"):
        if line.endswith(ending):
            return line[: -len(ending)], ending
    return line, ""


def decode(data: bytes, name: str) -> str:
    """The text of an env file; encodings that compose cannot read are refused."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        raise EnvFileError(
            f"{name} is not UTF-8 text (it holds NUL bytes or a UTF-16 byte order mark).",
            next_step="Save the file as UTF-8, or restore it from a backup.",
        )
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The bytes that the text was read from."""
    return text.encode("utf-8", "surrogateescape")


def parse(text: str, name: str) -> Document:
    """Takes an env file apart; what compose would refuse is refused with the line that is wrong."""
    bom = BOM if text.startswith(BOM) else ""
    document = Document(bom, re.findall(r"[^\n]*\n|[^\n]+", text[len(bom) :]))
    number = 0
    while number < len(document.lines):
        body, _ending = split_ending(document.lines[number])
        stripped = body.lstrip(_SPACES)
        if not stripped or stripped.startswith("#"):
            number += 1
            continue
        statement = _statement(document, number, name)
        document.statements.append(statement)
        number = statement.last + 1
    return document


def _malformed(name: str, number: int, problem: str) -> EnvFileError:
    return EnvFileError(
        f"{name}, line {number + 1}: {problem}.",
        next_step="Correct that line by hand; nothing was changed.",
    )


def _statement(document: Document, number: int, name: str) -> Statement:
    body, _ending = split_ending(document.lines[number])
    if "\r" in body.rstrip("\r"):
        raise _malformed(
            name, number, "a carriage return stands inside the line, where Setup and compose see different lines"
        )
    text = body.lstrip(_SPACES)
    text = _EXPORT.sub("", text, count=1) if _EXPORT.match(text) else text
    key, separator, rest = _split_key(text, number, name)
    plain = separator == "=" and body.startswith(f"{key}=")
    if not separator:
        document.warnings.append(
            f"{name}, line {number + 1}: no '=' in the line: compose takes the value from its caller, "
            "Bitwarden's setup drops the line."
        )
        return Statement(key, "", number, number, "", plain=False, inherited=True)
    raw = body.partition("=")[2]
    rest = rest.lstrip(_BLANKS)
    if rest[:1] not in {'"', "'"}:
        value, interpolated = _expand(rest.partition(" #")[0].rstrip(_SPACES), number, name)
        return Statement(key, value, number, number, raw, plain, interpolated)
    content, last = _quoted(document, number, rest, name)
    if last > number:
        document.warnings.append(
            f"{name}, line {number + 1}: a value over several lines: Bitwarden's setup destroys it "
            "when it rewrites the file."
        )
    if rest[0] == "'":
        return Statement(key, content, number, last, raw, plain)
    value, interpolated = _expand(_ESCAPE.sub(_unescape, content), number, name)
    return Statement(key, value, number, last, raw, plain, interpolated)


def _split_key(text: str, number: int, name: str) -> tuple[str, str, str]:
    match = re.search(r"[=:]", text)
    key = (text[: match.start()] if match else text).rstrip(_SPACES)
    for character in key:
        if character.isalpha() or character.isnumeric() or character in "_.-[]":
            continue
        if character in _BLANKS:
            raise _malformed(name, number, "a blank stands inside the name before '='")
        # The whole line may be a password that lost its name: only the character is shown.
        raise _malformed(name, number, f"the character {character!a} cannot stand in a name")
    if match is None:
        return key, "", ""
    if not key:
        raise _malformed(name, number, f"no name stands before '{match.group()}'")
    return key, match.group(), text[match.end() :]


def _quoted(document: Document, number: int, rest: str, name: str) -> tuple[str, int]:
    quote, last, text, position = rest[0], number, rest, 1
    content: list[str] = []
    escaped = False
    # The carriage return that `split_ending` took is a part of a value that goes on in the next line.
    while True:
        while position < len(text):
            character = text[position]
            position += 1
            if escaped:
                content.append(character if character == quote else "\\" + character)
                escaped = False
            elif character == quote:
                _after_quote(document, text[position:], number, name)
                return "".join(content), last
            elif character == "\\":
                escaped = True
            else:
                content.append(character)
        ending = document.lines[last][len(split_ending(document.lines[last])[0]) :]
        last += 1
        if last >= len(document.lines):
            raise _malformed(name, number, f"the quotation mark {quote} is never closed")
        content.append(("\\" if escaped else "") + ending)
        escaped = False
        text, position = split_ending(document.lines[last])[0], 0


def _after_quote(document: Document, trailing: str, number: int, name: str) -> None:
    trailing = trailing.strip(_SPACES)
    if not trailing or trailing.startswith("#"):
        return
    if (
        re.search(r"[=:]", trailing)
        or re.search(rf"[{_BLANKS}]", trailing)
        or not re.fullmatch(r"[\w.\[\]-]+", trailing)
    ):
        raise _malformed(name, number, "text stands after the closing quotation mark")
    document.warnings.append(
        f"{name}, line {number + 1}: a word stands after the closing quotation mark; compose ignores it."
    )


def _unescape(match: re.Match[str]) -> str:
    sequence = match.group(1)
    return chr(int(sequence, 8) & 0xFF) if sequence[0] == "0" else _ESCAPED[sequence]


def _expand(value: str, number: int, name: str) -> tuple[str, bool]:
    """Resolves C($$); a reference to a variable stays as written, and is told, since its value is the caller's."""
    parts: list[str] = []
    position = 0
    interpolated = False
    for match in _DOLLAR.finditer(value):
        if match.start() < position:
            continue
        parts.append(value[position : match.start()])
        position = match.end()
        if match.group("escaped"):
            parts.append("$")
            continue
        if match.group("brace"):
            braced = _BRACED.match(value, match.start("brace"))
            if braced is None:
                raise _malformed(name, number, "'${' starts a variable that is not closed by '}' or has no name")
            position = braced.end()
        interpolated = True
        parts.append(value[match.start() : position])
    parts.append(value[position:])
    return "".join(parts), interpolated
