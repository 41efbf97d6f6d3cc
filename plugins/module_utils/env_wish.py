# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user wants of an env file: checked, and written so that Bitwarden's setup, compose and .NET agree on it."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import dotenv, plain_env
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.dotenv import Document, EnvFileError

# Setup puts these into global.override.env at every update, with a default (often a new secret) where one is missing.
SETUP_KEYS = (
    "globalSettings__baseServiceUri__vault",
    "globalSettings__baseServiceUri__cloudRegion",
    "globalSettings__sqlServer__connectionString",
    "globalSettings__sqlServer__migrationExecutionTimeoutSeconds",
    "globalSettings__identityServer__certificatePassword",
    "globalSettings__internalIdentityKey",
    "globalSettings__oidcIdentityClientKey",
    "globalSettings__duo__aKey",
    "globalSettings__installation__id",
    "globalSettings__installation__key",
    "globalSettings__yubico__clientId",
    "globalSettings__yubico__key",
    "globalSettings__mail__replyToEmail",
    "globalSettings__mail__smtp__host",
    "globalSettings__mail__smtp__port",
    "globalSettings__mail__smtp__ssl",
    "globalSettings__mail__smtp__username",
    "globalSettings__mail__smtp__password",
    "globalSettings__disableUserRegistration",
    "globalSettings__hibpApiKey",
    "adminSettings__admins",
)
# Other names whose spelling matters, so that a wish in another letter case lands on the right line.
OTHER_KEYS = (
    "globalSettings__enableCloudCommunication",
    "globalSettings__installation__identityUri",
    "globalSettings__installation__apiUri",
    "globalSettings__pushRelayBaseUri",
)
BOOLEAN_KEYS = frozenset(
    {
        "globalsettings__enablecloudcommunication",
        "globalsettings__disableuserregistration",
        "globalsettings__mail__smtp__ssl",
    }
)
# Setup reads these itself and takes nothing but double quotes away.
READ_BY_SETUP = frozenset(
    {
        "globalsettings__sqlserver__connectionstring",
        "globalsettings__sqlserver__migrationexecutiontimeoutseconds",
        "globalsettings__identityserver__certificatepassword",
    }
)
_CONNECTION_STRING = "connectionstring"
_SPELLING = {key.lower(): key for key in SETUP_KEYS + OTHER_KEYS}
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Dialect:
    """How one kind of env file is read and written."""

    name: str
    parse: t.Callable[[str, str], Document]
    render: t.Callable[[str, str], str]
    # Whether Bitwarden's setup rewrites such a file.
    of_setup: bool


@dataclass(frozen=True)
class Wish:
    """What an env file shall hold."""

    keys: dict[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    unless_disabled: tuple[str, ...] = ()


def canonical_key(key: str) -> str:
    """A checked name, in Bitwarden's own spelling where it has one: Setup and compose tell letter cases apart."""
    if not _KEY.fullmatch(key):
        raise EnvFileError(
            f"{key!a} is not a name for an environment variable.",
            next_step="Use letters, digits and '_', and no digit first.",
        )
    return _SPELLING.get(key.lower(), key)


def value_text(key: str, value: t.Any, dialect: Dialect | None = None) -> str:
    """A wished value as text; what would break the file or the server is refused with the reason."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not isinstance(value, (str, int)):
        raise EnvFileError(
            f"The value for {key} is of type {type(value).__name__}, not text, a number or a boolean.",
            next_step="Give text, or name the key in 'absent' to remove it.",
        )
    if any(ord(character) < ord(" ") and character != "\t" for character in text):
        raise EnvFileError(
            f"The value for {key} holds a line break or another control character.",
            next_step="Give a value of one line; Bitwarden's setup destroys values over several lines.",
        )
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise EnvFileError(f"The value for {key} is not valid UTF-8.", next_step="Give the value as UTF-8 text.")
    if key.lower() in BOOLEAN_KEYS:
        if text.lower() not in {"true", "false"}:
            raise EnvFileError(
                f"{text!a} is not a boolean for {key}: the server accepts true and false only, "
                "and with yes, no, 1 or 0 its containers do not start.",
                next_step="Give true or false.",
            )
        text = text.lower()
    if key.lower().endswith(_CONNECTION_STRING) and text.strip('"') != text:
        raise EnvFileError(
            f"The value for {key} begins or ends with a quotation mark, which the server takes away from it.",
            next_step="Give the value without it; the module writes the quotation marks that the file needs.",
        )
    (dialect or COMPOSE).render(key, text)
    return text


def render(key: str, value: str) -> str:
    """The text after C(KEY=) that compose, Setup and .NET all read as the value."""
    known = key.lower() in {name.lower() for name in SETUP_KEYS}
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    candidates = [value, f"'{value}'", value.replace("$", "$$"), '"' + escaped + '"']
    if key.lower() in READ_BY_SETUP:
        candidates = [text for text in (value, f'"{value}"') if text.strip('"').replace('\\"', '"') == value]
    for text in candidates:
        if _reads_back(text, value) and (known or '\\"' not in text):
            return text
    raise EnvFileError(
        f"The value for {key} cannot be written so that compose and Bitwarden's setup both read it back unchanged.",
        next_step="Choose a value without the combination of quotation marks, backslashes and '$' that it holds.",
    )


def _reads_back(text: str, value: str) -> bool:
    try:
        statements = dotenv.parse(f"K={text}\n", "value").statements
    except EnvFileError:
        return False
    if len(statements) != 1 or statements[0].interpolated:
        return False
    return statements[0].value == value and statements[0].last == 0


def make_wish(
    keys: t.Mapping[str, t.Any],
    lines: str | None,
    absent: t.Sequence[str],
    unless_disabled: t.Sequence[str],
    dialect: Dialect | None = None,
) -> Wish:
    """Checks what a user asks for, from a dictionary and from the lines of a template (by compose's rules)."""
    pairs: list[tuple[str, t.Any]] = list(keys.items())
    for statement in dotenv.parse(lines or "", "lines").statements:
        if statement.inherited or statement.interpolated:
            what = "has no '='" if statement.inherited else "refers to a variable with '$'"
            raise EnvFileError(
                f"lines, line {statement.first + 1}: the setting {what}, so it has no value of its own.",
                next_step="Write KEY=VALUE, and '$$' for a dollar sign.",
            )
        pairs.append((statement.key, statement.value))
    wanted: dict[str, str] = {}
    for given, value in pairs:
        key = canonical_key(given)
        same = next((name for name in wanted if name.lower() == key.lower()), key)
        text = value_text(key, value, dialect)
        if wanted.get(same, text) != text or same != key:
            raise EnvFileError(f"{key} is given twice.", next_step="Give every key once, in one letter case.")
        wanted[key] = text
    removed = tuple(canonical_key(key) for key in absent)
    for key in removed:
        _check_absent(key, wanted)
    return Wish(wanted, removed, tuple(canonical_key(key).lower() for key in unless_disabled))


def _check_absent(key: str, wanted: t.Mapping[str, str]) -> None:
    if key.lower() in {name.lower() for name in wanted}:
        raise EnvFileError(f"{key} is wanted and named in 'absent'.", next_step="Decide for one of the two.")
    if key in SETUP_KEYS:
        raise EnvFileError(
            f"{key} cannot be absent for long: Bitwarden's setup writes it again at the next update, "
            "with a default value or a new secret.",
            next_step="Set the key to the value that it shall have.",
        )


COMPOSE = Dialect("compose", dotenv.parse, render, of_setup=True)
DIALECTS = {
    "compose": COMPOSE,
    "docker_run": Dialect("docker_run", plain_env.parse, plain_env.render, of_setup=False),
}
