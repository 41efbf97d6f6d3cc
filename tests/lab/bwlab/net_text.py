# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Texts and values as .NET makes them: enum names in a path, dates in JSON, what its JSON reader says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

from bwlab.errors import ModelState

JSON_DATE = re.compile(r"^(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,16}))?)?(Z|[+-]\d\d:\d\d)?)?$", re.ASCII)
PROPERTY = re.compile(r'"(\w+)"\s*:')
NO_TOKENS = (
    "The input does not contain any JSON tokens. Expected the input to start with a valid JSON token, "
    "when isFinalBlock is true."
)
LITERALS = {"n": "null", "t": "true", "f": "false"}
BYTE_MAX = 255


def path_enum(parameter: str, value: str, members: Mapping[int, str]) -> int:
    """A route value that is an enum: its number, or its name in any case."""
    for number, name in members.items():
        if value.lower() == name.lower():
            return number
    if not (value.isascii() and value.isdigit()) or int(value) > BYTE_MAX:
        raise ModelState({parameter: [f"The value '{value}' is not valid."]})
    if int(value) not in members:
        raise ModelState({parameter: [f"The value '{value}' is invalid."]})
    return int(value)


def json_date(text: str) -> str | None:
    """The date as it is written back: an offset becomes the server's local time (UTC), Z and no zone stay as they are.

    None for what is no date.
    """
    found = JSON_DATE.match(text)
    if found is None:
        return None
    day, minute, second, fraction, zone = found.groups()
    ticks = (fraction or "")[:7].rstrip("0")
    try:
        moment = datetime.fromisoformat(f"{day}T{minute or '00:00'}:{second or '00'}")
        if zone and zone != "Z":
            sign = -1 if zone[0] == "-" else 1
            offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6])) * sign
            moment = moment.replace(tzinfo=timezone(offset)).astimezone(UTC)
            zone = "+00:00"
    except (ValueError, OverflowError):
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{ticks}" if ticks else "") + (zone or "")


def json_error(text: str) -> tuple[str, int] | None:
    """What the JSON reader says about a text that is no JSON, and at which byte; None when it is JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        position, message = error.pos, error.msg
    else:
        return None
    rest = text[position:].lstrip()
    if not text.strip():
        return NO_TOKENS, 0
    if message.startswith("Unterminated string"):
        return "Expected end of string, but instead reached end of data.", len(text.encode())
    if not rest:
        what = "Expected depth to be zero at the end of the JSON payload. "
        return what + "There is an open JSON object or array that should be closed.", len(text.encode())
    before = len(text[:position].encode())
    literal = LITERALS.get(rest[0])
    if literal is not None and message == "Expecting value":
        good = next((i for i, (a, b) in enumerate(zip(rest, literal, strict=False)) if a != b), len(literal))
        return f"'{rest[:20]}' is an invalid JSON literal. Expected the literal '{literal}'.", before + good
    return f"'{rest[0]}' is an invalid start of a value.", before


def reader_exception(text: str) -> str:
    """The line that an unreadable text leaves in the log when it is parsed as a document."""
    what, position = json_error(text) or ("", 0)
    return f"System.Text.Json.JsonReaderException: {what} LineNumber: 0 | BytePositionInLine: {position}."


def serializer_exception(text: str) -> list[str]:
    """The lines when it is read into an object: the serializer names the property, then the reader has its say."""
    what, position = json_error(text) or ("", 0)
    names = PROPERTY.findall(text) if text.lstrip().startswith("{") else []
    path = f"$.{names[-1]}" if names else "$"
    where = f"LineNumber: 0 | BytePositionInLine: {position}."
    return [
        f"System.Text.Json.JsonException: {what} Path: {path} | {where}",
        f"---> System.Text.Json.JsonReaderException: {what} {where}",
    ]


NULL_REFERENCE = "System.NullReferenceException: Object reference not set to an instance of an object."


def null_argument(name: str) -> str:
    return f"System.ArgumentNullException: Value cannot be null. (Parameter '{name}')"
