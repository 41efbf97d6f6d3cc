# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads env files as C(docker compose) reads them, and remembers which line each setting stands on.

Bytes that are no UTF-8 travel as surrogates, so that a file can be taken apart and put together unchanged.
"""

from __future__ import annotations

import re
import typing as t
import unicodedata
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import interpolate
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

BOM = "\ufeff"

# Compose is written in Go: its idea of a blank is not quite Python's.
_BLANKS = "\t\v\f\r \x85\xa0"
SPACES = (
    _BLANKS + "\n\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
# Not all of these blanks make the word before them a keyword.
_EXPORT = re.compile(rf"export[\t\n\f\r ][{_BLANKS}]*")
_ESCAPE = re.compile(r"\\(0[0-9]{0,3}|[abfnrtv$\"\\])")
_OCTAL = re.compile(r"[0-3][0-7]{2}")
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


class EnvFileError(BitwardenError):
    """An env file, or a wish for one, that cannot be worked with."""


@dataclass(frozen=True)
class Statement:
    """One setting: its effective value, and the physical lines (from zero) that it stands on.

    A value that refers to variables is as written; C(template) is what compose fills in then.
    """

    key: str
    value: str
    first: int
    last: int
    raw: str
    plain: bool
    interpolated: bool = False
    inherited: bool = False
    template: str | None = None


@dataclass
class Document:
    """An env file: all its lines with their endings, and what they mean."""

    bom: str
    lines: list[str]
    statements: list[Statement] = field(default_factory=list)
    # Words after a closing quotation mark, by the number of the statement: to compose they are names of their own.
    strays: dict[int, str] = field(default_factory=dict)
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
        stripped = body.lstrip(SPACES)
        if not stripped or stripped.startswith("#"):
            number += 1
            continue
        statement = _statement(document, number, name)
        document.statements.append(statement)
        number = statement.last + 1
    return document


def malformed(name: str, number: int, problem: str) -> EnvFileError:
    """The error for a line that cannot be worked with; its text is not shown, for it may be a secret."""
    return EnvFileError(
        f"{name}, line {number + 1}: {problem}.",
        next_step="Correct that line by hand; nothing was changed.",
    )


def _statement(document: Document, number: int, name: str) -> Statement:
    body, ending = split_ending(document.lines[number])
    if "\r" in body.rstrip("\r"):
        raise malformed(
            name, number, "a carriage return stands inside the line, where Setup and compose see different lines"
        )
    text = _after_export(body.lstrip(SPACES), number, name)
    key, separator, rest = _split_key(text, number, name)
    plain = separator == "=" and body.startswith(f"{key}=")
    if not separator:
        _check_line_end(ending, number, name)
        document.warnings.append(
            f"{name}, line {number + 1}: no '=' in the line: compose takes the value from its caller, "
            "Bitwarden's setup drops the line."
        )
        return Statement(key, "", number, number, "", plain=False, inherited=True)
    raw = body.partition("=")[2]
    rest = rest.lstrip(_BLANKS)
    if rest[:1] not in {'"', "'"}:
        template = rest.partition(" #")[0].rstrip(SPACES)
        value, interpolated = _expand(template, number, name)
        return Statement(key, value, number, number, raw, plain, interpolated, template=template)
    content, last = _quoted(document, number, rest, name)
    if last > number:
        document.warnings.append(
            f"{name}, line {number + 1}: a value over several lines: Bitwarden's setup destroys it "
            "when it rewrites the file."
        )
    if rest[0] == "'":
        return Statement(key, content, number, last, raw, plain)
    template = _ESCAPE.sub(_unescape, content)
    value, interpolated = _expand(template, number, name)
    return Statement(key, value, number, last, raw, plain, interpolated, template=template)


def _after_export(text: str, number: int, name: str) -> str:
    match = _EXPORT.match(text + "\n")
    rest = text[match.end() :] if match else text
    if not rest:
        raise malformed(name, number, "nothing stands after 'export'")
    return rest


def _check_line_end(ending: str, number: int, name: str) -> None:
    if not ending:
        raise malformed(
            name,
            number,
            "the file ends with a word: compose makes a variable without a name of it, and no container "
            "starts with that",
        )


def _split_key(text: str, number: int, name: str) -> tuple[str, str, str]:
    match = re.search(r"[=:]", text)
    key = (text[: match.start()] if match else text).rstrip(_BLANKS)
    for character in key:
        if unicodedata.category(character)[0] in "LN" or character in "_.-[]":
            continue
        if character in _BLANKS:
            raise malformed(name, number, "a blank stands inside the name before '='")
        # The whole line may be a password that lost its name: only the character is shown.
        raise malformed(name, number, f"the character {character!a} cannot stand in a name")
    if match is None:
        return key, "", ""
    if not key:
        raise malformed(name, number, f"no name stands before '{match.group()}'")
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
                _after_quote(document, text[position:], last, name)
                return "".join(content), last
            elif character == "\\":
                escaped = True
            else:
                content.append(character)
        ending = document.lines[last][len(split_ending(document.lines[last])[0]) :]
        last += 1
        if last >= len(document.lines):
            raise malformed(name, number, f"the quotation mark {quote} is never closed")
        content.append(("\\" if escaped else "") + ending)
        escaped = False
        text, position = split_ending(document.lines[last])[0], 0


def _after_quote(document: Document, trailing: str, number: int, name: str) -> None:
    trailing = trailing.strip(SPACES)
    if not trailing or trailing.startswith("#"):
        return
    if trailing == "export" or not re.fullmatch(r"[\w.\[\]-]+", trailing, re.ASCII):
        raise malformed(name, number, "text stands after the closing quotation mark")
    _check_line_end(split_ending(document.lines[number])[1], number, name)
    document.strays[len(document.statements)] = trailing
    document.warnings.append(
        f"{name}, line {number + 1}: a word stands after the closing quotation mark; compose takes it for a name."
    )


def _unescape(match: re.Match[str]) -> str:
    sequence = match.group(1)
    if sequence[0] != "0":
        return _ESCAPED[sequence]
    digits = sequence[1:]
    return chr(int(digits, 8)) if _OCTAL.fullmatch(digits) else "\\" + digits


def _expand(value: str, number: int, name: str) -> tuple[str, bool]:
    """Resolves C($$); a reference to a variable stays as written, and is told, since its value is the caller's."""
    try:
        return interpolate.as_written(value)
    except interpolate.TemplateError as error:
        raise malformed(name, number, str(error)) from error


def resolve(document: Document, caller: t.Mapping[str, str], name: str) -> dict[str, str]:
    """All variables as compose fills them in when it is called with that environment."""
    found: dict[str, str] = {}

    def _lookup(variable: str) -> str | None:
        return caller.get(variable, found.get(variable))

    def _inherit(variable: str) -> None:
        if variable in caller:
            found[variable] = caller[variable]

    for number, statement in enumerate(document.statements):
        if statement.inherited:
            _inherit(statement.key)
        elif statement.template is None:
            found[statement.key] = statement.value
        else:
            try:
                found[statement.key] = interpolate.substitute(statement.template, _lookup)
            except interpolate.TemplateError as error:
                raise malformed(name, statement.first, str(error)) from error
        if number in document.strays:
            _inherit(document.strays[number])
    return found
