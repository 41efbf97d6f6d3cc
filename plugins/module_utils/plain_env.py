# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads env files as C(docker run --env-file) reads them: what stands after the first '=' is the value, all of it."""

from __future__ import annotations

import re

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.dotenv import (
    BOM,
    SPACES,
    Document,
    EnvFileError,
    Statement,
    malformed,
    split_ending,
)

# The client reads lines into a buffer of this size.
_LONGEST_LINE = 64 * 1024


def parse(text: str, name: str) -> Document:
    """Takes an env file apart; what the docker client would refuse is refused with the line that is wrong."""
    bom = BOM if text.startswith(BOM) else ""
    document = Document(bom, re.findall(r"[^\n]*\n|[^\n]+", text[len(bom) :]))
    for number, line in enumerate(document.lines):
        if len(line.rstrip("\n").encode("utf-8", "surrogateescape")) >= _LONGEST_LINE:
            raise malformed(name, number, f"the line is longer than the {_LONGEST_LINE} bytes that docker reads")
        body, ending = split_ending(line)
        # A carriage return ends the file as well as a line.
        statement = _statement(body if ending else body.removesuffix("\r"), number, name)
        if statement is not None:
            document.statements.append(statement)
            if statement.inherited:
                document.warnings.append(
                    f"{name}, line {number + 1}: no '=' in the line: docker takes the value from its caller."
                )
    return document


def _statement(body: str, number: int, name: str) -> Statement | None:
    if any("\ud800" <= character <= "\udfff" for character in body):
        raise malformed(name, number, "the line is not valid UTF-8")
    text = body.lstrip(SPACES)
    if not text or text.startswith("#"):
        return None
    key, separator, value = text.partition("=")
    if not key:
        raise malformed(name, number, "no name stands before '='")
    if re.search(r"[ \t]", key):
        raise malformed(name, number, "a blank stands in the name; docker run knows neither 'export' nor 'KEY = value'")
    plain = body.startswith(f"{key}=")
    return Statement(key, value, number, number, value, plain, inherited=not separator)


def render(key: str, value: str) -> str:
    """The text after C(KEY=), which is the value itself."""
    if len(f"{key}={value}".encode()) >= _LONGEST_LINE:
        raise EnvFileError(
            f"The value for {key} is longer than the {_LONGEST_LINE} bytes that docker reads in a line.",
            next_step="Give a shorter value.",
        )
    return value
