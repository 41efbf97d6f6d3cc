# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings as .NET reads them from the environment, and what becomes of a service that cannot."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

PREFIX = "globalsettings__"
BOOLEANS = frozenset(
    {"enablecloudcommunication", "selfhosted", "disableuserregistration", "disableemailnewdevice", "mail__smtp__ssl",
     "mail__smtp__startssl", "mail__smtp__trustserver", "enableemailverification"}
)  # fmt: skip
NUMBERS = frozenset({"mail__smtp__port", "organizationinviteexpirationhours"})
# An unhandled exception ends process 1 of a container with this status.
ABORTED = 139


def given(environment: Mapping[str, str]) -> dict[str, str]:
    """By lower-case name without its prefix: letter case means nothing to .NET."""
    return {key.lower().removeprefix(PREFIX): value for key, value in environment.items()}


def unreadable(environment: Mapping[str, str]) -> list[str] | None:
    """The lines of the exception for the first value of the wrong type, None when all can be read."""
    for key, value in environment.items():
        name = key.lower()
        if not name.startswith(PREFIX):
            continue
        path = key.replace("__", ":")
        if name.removeprefix(PREFIX) in BOOLEANS and value.strip().lower() not in ("true", "false", ""):
            return _conversion(value, path, "Boolean", f"String '{value}' was not recognized as a valid Boolean.")
        if name.removeprefix(PREFIX) in NUMBERS and not value.strip().lstrip("+-").isdigit() and value:
            return _conversion(value, path, "Int32", f"The input string '{value}' was not in a correct format.")
    return None


def _conversion(value: str, path: str, kind: str, inner: str) -> list[str]:
    return [
        f"Unhandled exception. System.InvalidOperationException: Failed to convert configuration value '{value}' "
        f"at '{path}' to type 'System.{kind}'.",
        f" ---> System.FormatException: {value} is not a valid value for {kind}.",
        f" ---> System.FormatException: {inner}",
    ]


def demand_readable(environment: Mapping[str, str] | None = None) -> None:
    """Ends the process as the real one ends."""
    lines = unreadable(os.environ if environment is None else environment)
    if lines is not None:
        print("\n".join(lines), file=sys.stderr, flush=True)
        sys.exit(ABORTED)


def connection_string(text: str) -> dict[str, str]:
    """The parts of a SQL Server connection string, by lower-case name; quotes around the whole are taken off."""
    found: dict[str, str] = {}
    rest = text.strip().strip('"')
    while rest:
        key, separator, rest = rest.partition("=")
        if not separator:
            break
        quote = rest[:1] if rest[:1] in ("'", '"') else ""
        if quote:
            value, _unused, rest = rest[1:].partition(quote)
            rest = rest.partition(";")[2]
        else:
            value, _unused, rest = rest.partition(";")
        found[key.strip().lower()] = value.strip()
    return found
