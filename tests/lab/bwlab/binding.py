# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading JSON bodies into models, with the texts that ASP.NET gives when a body does not fit.

SECRET = Model("Bit.Api.…SecretVerificationRequestModel", String("masterPasswordHash", max=300), …)
values = call.json(SECRET)          # {"masterPasswordHash": "…", …}: every field of the model, in its own casing
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # the only way to know where a JSON string ends
from typing import Any

from bwlab.errors import ModelState
from bwlab.store import is_guid

DECODER = json.JSONDecoder()
EMAIL = re.compile(r"^[^@\s]+@[^@\s]+$")
SPACE = " \t\r\n"


class NotConvertible(Exception):
    """A JSON value does not fit its field's type."""


@dataclass(frozen=True)
class Field:
    """`type_name` is how .NET calls the type in its error texts; `default` stands for a property left out."""

    name: str
    type_name: str = "System.String"
    kind: str = "string"
    default: Any = None
    required: bool = False
    max: int | None = None
    email: bool = False
    nullable: bool = True

    @property
    def title(self) -> str:
        return self.name[:1].upper() + self.name[1:]

    def convert(self, value: Any) -> Any:
        if value is None:
            if self.nullable:
                return None
            raise NotConvertible
        return CONVERT[self.kind](value)

    def problems(self, value: Any) -> list[str]:
        """What the attributes on the property say about the value."""
        if self.required and (value is None or (isinstance(value, str) and not value.strip())):
            return [f"The {self.title} field is required."]
        found = []
        if isinstance(value, str):
            if self.max is not None and len(value) > self.max:
                found.append(f"The field {self.title} must be a string with a maximum length of {self.max}.")
            if self.email and not EMAIL.match(value):
                found.append(f"The {self.title} field is not a valid e-mail address.")
        return found


def _is(kind: type) -> Any:
    def check(value: Any) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise NotConvertible
        return value

    return check


def _guid(value: Any) -> str:
    if not isinstance(value, str) or not is_guid(value):
        raise NotConvertible
    return value.lower()


CONVERT: dict[str, Any] = {
    "string": _is(str),
    "int": _is(int),
    "bool": _is(bool),
    "list": _is(list),
    "object": _is(dict),
    "guid": _guid,
    "any": lambda value: value,
}


def String(name: str, *, required: bool = False, max: int | None = None, email: bool = False) -> Field:
    return Field(name, required=required, max=max, email=email)


def Guid(name: str, *, nullable: bool = False) -> Field:
    empty = None if nullable else "00000000-0000-0000-0000-000000000000"
    return Field(name, "System.Guid", "guid", empty, nullable=nullable)


def Bool(name: str, *, default: bool = False) -> Field:
    return Field(name, "System.Boolean", "bool", default, nullable=False)


def Enum(name: str, type_name: str, *, default: int = 0, nullable: bool = False) -> Field:
    """Enums are numbers; an undefined number is no conversion error."""
    return Field(name, type_name, "int", None if nullable else default, nullable=nullable)


def Any_(name: str, type_name: str = "System.Text.Json.JsonDocument", kind: str = "any") -> Field:
    return Field(name, type_name, kind)


class Model:
    """`nullable_context`: controllers with nullable annotations add that the model itself is required."""

    def __init__(self, type_name: str, *fields: Field, nullable_context: bool = False) -> None:
        self.type_name = type_name
        self.fields = fields
        self.nullable_context = nullable_context

    def read(self, body: bytes) -> dict[str, Any]:
        text = body.decode("utf-8", "replace").lstrip("\ufeff")
        if not text.strip():
            raise self._unbound("", "A non-empty request body is required.")
        values: dict[str, Any] = {field.name: field.default for field in self.fields}
        by_name = {field.name.lower(): field for field in self.fields}
        for name, value, end in self._members(text):
            field = by_name.get(name.lower())
            if field is None:
                continue
            try:
                values[field.name] = field.convert(value)
            except NotConvertible:
                path = f"$.{name}"
                raise self._not_converted(path, field.type_name, end) from None
        problems = {field.title: texts for field in self.fields if (texts := field.problems(values[field.name]))}
        if problems:
            raise ModelState(problems)
        return values

    def _unbound(self, key: str, text: str) -> ModelState:
        errors = {key: [text]}
        if self.nullable_context:
            errors["model"] = ["The model field is required."]
        return ModelState(errors)

    def _not_converted(self, path: str, type_name: str, end: int) -> ModelState:
        text = f"The JSON value could not be converted to {type_name}."
        return self._unbound(path, f"{text} Path: {path} | LineNumber: 0 | BytePositionInLine: {end}.")

    def _broken(self, text: str, position: int, what: str) -> ModelState:
        if position >= len(text):
            what = "Expected start of a property name or value, but instead reached end of data."
            position = max(len(text) - 1, 0)
        return self._unbound("$", f"{what} Path: $ | LineNumber: 0 | BytePositionInLine: {position}.")

    def _members(self, text: str) -> list[tuple[str, Any, int]]:
        """Name, value and the byte after the value of each member of the top object."""
        position = _skip(text, 0)
        if text[position] != "{":
            self._check_value(text, position)
            raise self._not_converted("$", self.type_name, position + 1)
        members: list[tuple[str, Any, int]] = []
        position = _skip(text, position + 1)
        while position >= len(text) or text[position] != "}":
            if position >= len(text) or text[position] != '"':
                sign = text[position : position + 1]
                raise self._broken(text, position, f"'{sign}' is an invalid start of a property name. Expected a '\"'.")
            name, value, position = self._member(text, position)
            members.append((name, value, len(text[:position].encode())))
            position = _skip(text, position)
            if text[position : position + 1] == ",":
                position = _skip(text, position + 1)
            elif text[position : position + 1] != "}":
                sign = text[position : position + 1]
                what = f"'{sign}' is invalid after a value. Expected either ',', '}}', or ']'."
                raise self._broken(text, position, what)
        return members

    def _member(self, text: str, position: int) -> tuple[str, Any, int]:
        try:
            name, position = scanstring(text, position + 1)
        except json.JSONDecodeError:
            raise self._broken(text, len(text), "") from None
        position = _skip(text, position)
        if text[position : position + 1] != ":":
            sign = text[position : position + 1]
            raise self._broken(text, position, f"'{sign}' is invalid after a property name. Expected a ':'.")
        position = _skip(text, position + 1)
        value, end = self._check_value(text, position)
        return name, value, end

    def _check_value(self, text: str, position: int) -> tuple[Any, int]:
        try:
            return DECODER.raw_decode(text, position)
        except (json.JSONDecodeError, IndexError):
            sign = text[position : position + 1]
            raise self._broken(text, position, f"'{sign}' is an invalid start of a value.") from None


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in SPACE:
        position += 1
    return position
