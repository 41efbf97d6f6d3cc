# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What in an answer is a secret, by its name or by its looks: answers are quoted, also those that end in the middle."""

from __future__ import annotations

import re
import typing as t

HIDDEN = "********"

_NAMES = frozenset(
    {
        "accesstoken",
        "apikey",
        "billingsynckey",
        "encryptedprivatekey",
        "hash",
        "key",
        "licensekey",
        "masterkeyencrypteduserkey",
        "privatekey",
        "refreshtoken",
        "securitystamp",
        "signature",
        "token",
    }
)
_SHORTEST = 16
_DEEPEST = 20
_RUN = re.compile(rf"[A-Za-z0-9+/=_-]{{{_SHORTEST},}}")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# A name and its value where no parser gets at them: of JSON that ends too early, of a form, of an address.
_NAMED = re.compile(r"""(?P<name>\b[A-Za-z_]+)(?P<sign>\\*["']\s*:\s*\\*["']|=)(?P<value>[^\s"'\\&,;<>]{8,})""")
# How many of its neighbors differ in kind (capital, small letter, digit): of words few, of random text most.
_RANDOM_PATH = 0.3
# Looked at so many letters at a time, so that nothing before or after a secret makes it look like words.
_WINDOW, _LETTERS_WINDOW = 32, 24
# How many times likelier each letter is in words than in random text, as a power of two: counted in names of programs.
_LETTERS = (("aeinorst", 1.0), ("clu", 0.5), ("bdmp", 0.0), ("fghkxy", -1.0), ("vw", -2.0), ("jqz", -4.0))
_LIKELIER = {letter: power for letters, power in _LETTERS for letter in letters}
_CAPITAL_AFTER_SMALL, _SMALL_AFTER_SMALL = -2.75, 0.5


def of(value: t.Any, name: str = "", depth: int = 0) -> t.Iterator[str]:
    """The values in a JSON answer that are secrets by their name."""
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        for key, child in value.items():
            yield from of(child, str(key), depth + 1)
    elif isinstance(value, list):
        for child in value:
            yield from of(child, name, depth + 1)
    elif isinstance(value, str) and len(value) >= _SHORTEST and _is_secret(name):
        yield value


def masked(text: str) -> str:
    """A text without what is named or looks like a key or a token, also like a part of one; ids stay."""
    text = _NAMED.sub(_value_masked, text)
    return _RUN.sub(lambda found: HIDDEN if _looks_secret(found[0]) else found[0], text)


def _value_masked(found: re.Match[str]) -> str:
    return f"{found['name']}{found['sign']}{HIDDEN}" if _is_secret(found["name"]) else found[0]


def _is_secret(name: str) -> bool:
    return name.lower().replace("_", "") in _NAMES


def _looks_secret(run: str) -> bool:
    rest = _GUID.sub("", run)
    letters = [character for character in rest if character.isalnum()]
    # Signs count as well: where bytes were changed on the way, not much of a token may stand together.
    if len(rest) < _SHORTEST or not letters:
        return False
    if not any(character.isdigit() for character in letters):
        return _likeness_to_words(rest) < 0
    plain = "/" not in rest and len(letters) >= _SHORTEST
    return any(character.isalpha() for character in letters) and (plain or _variety(letters) >= _RANDOM_PATH)


def _likeness_to_words(run: str) -> float:
    """How many times likelier words look like this than random letters do, as a power of two, where that is least."""
    powers = []
    for before, letter in zip(" " + run, run):
        case = 0.0
        if before.islower() and letter.isalpha():
            case = _SMALL_AFTER_SMALL if letter.islower() else _CAPITAL_AFTER_SMALL
        powers.append(_LIKELIER.get(letter.lower(), 0.0) + case)
    size = min(len(powers), _LETTERS_WINDOW)
    return min(sum(powers[start : start + size]) for start in range(len(powers) - size + 1))


def _variety(letters: list[str]) -> float:
    """Which share of neighbors differs in kind, where most of them do."""
    kinds = [(character.isdigit(), character.isupper()) for character in letters]
    differ = [one != other for one, other in zip(kinds, kinds[1:])]
    size = min(len(letters), _WINDOW)
    return max(sum(differ[start : start + size - 1]) for start in range(len(letters) - size + 1)) / size
