# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Is what the lab said what the real server said? Random values by shape, fresh times by format, all else exactly."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import jwt

from bwlab import times
from bwlab.store import is_guid

TIME = re.compile(r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,7})?(Z|[+-]\d\d:\d\d)?$")
JWT = re.compile(r"^[\w-]+\.[\w-]+\.[\w-]+$")
US_TIME = re.compile(r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d:\d\d( [AP]M)?")
INTERNAL = re.compile(r"(KeyId: '|InternalId: '|BWOrganizationSponsorship_|traceparent )[\w.-]+")
CODE = re.compile(r"\b\d{8}\b")
TOLERANCE = 300.0
RANDOM = {
    "apikey", "key", "refresh_token", "signature", "hash", "jti", "token", "twofactortoken", "kid", "x5t", "n", "x5c",
    "licensekey", "ssoemail2fasessiontoken", "x509", "apikeyvalue",
}  # fmt: skip
ANY_LENGTH = {"x5c", "signature", "ssoemail2fasessiontoken"}
WORD = re.compile(r"^[\w+/=-]+$")
ANY_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
EPOCH = {"nbf", "iat", "exp"}


@dataclass
class Comparison:
    """`known` tells whether a value existed before the exchange: such values must come back exactly."""

    known: str = ""
    start: datetime | None = None
    differences: list[str] = field(default_factory=list)

    def differ(self, where: str, expected: Any, actual: Any) -> None:
        def show(value: Any) -> str:
            text = json.dumps(value, ensure_ascii=False, default=str)
            return text if len(text) < 700 else text[:700] + "…"

        self.differences.append(f"{where}: expected {show(expected)}, got {show(actual)}")

    def values(self, where: str, expected: Any, actual: Any) -> None:
        if isinstance(expected, dict) and isinstance(actual, dict):
            self._dicts(where, expected, actual)
        elif isinstance(expected, list) and isinstance(actual, list):
            if len(expected) != len(actual):
                self.differ(f"{where} (length)", expected, actual)
            for index, (one, other) in enumerate(zip(expected, actual, strict=False)):
                self.values(f"{where}[{index}]", one, other)
        elif isinstance(expected, str) and isinstance(actual, str):
            if not self.same_text(where, expected, actual):
                self.differ(where, expected, actual)
        elif (type(expected) is not type(actual) or expected != actual) and not self._same_number(
            where, expected, actual
        ):
            self.differ(where, expected, actual)

    def _dicts(self, where: str, expected: dict[str, Any], actual: dict[str, Any]) -> None:
        if missing := sorted(set(expected) - set(actual)):
            self.differ(f"{where} (keys missing)", missing, sorted(actual))
        if extra := sorted(set(actual) - set(expected)):
            self.differ(f"{where} (keys too many)", sorted(expected), extra)
        for key, value in expected.items():
            if key in actual:
                self.values(f"{where}.{key}", value, actual[key])

    @staticmethod
    def _same_number(where: str, expected: Any, actual: Any) -> bool:
        if where.rsplit(".", 1)[-1].lower() not in EPOCH or not isinstance(actual, int):
            return False
        return abs(int(expected) - actual) < TOLERANCE

    def _fresh(self, text: str) -> bool:
        return text.lower() not in self.known

    def without_fresh_guids(self, text: str) -> str:
        return ANY_GUID.sub(lambda found: "GUID" if self._fresh(found.group()) else found.group().lower(), text)

    def same_text(self, where: str, expected: str, actual: str) -> bool:
        if expected == actual:
            return True
        name = where.rsplit(".", 1)[-1].lower().split("[")[0]
        if TIME.match(expected):
            return self._same_time(expected, actual)
        if is_guid(expected):
            return is_guid(actual) and self._fresh(expected) and expected.isupper() == actual.isupper()
        if JWT.match(expected) and expected.count(".") == 2 and len(expected) > 100:
            return self._same_jwt(where, expected, actual)
        if name in RANDOM:
            same_length = len(expected) == len(actual) or name in ANY_LENGTH
            return self._fresh(expected) and same_length and bool(WORD.match(actual))
        if expected[:1] == "{" and actual[:1] == "{":
            return self._same_json_text(where, expected, actual)
        return plain(expected) == plain(actual)

    def _same_json_text(self, where: str, expected: str, actual: str) -> bool:
        try:
            one, other = json.loads(expected), json.loads(actual)
        except ValueError:
            return plain(expected) == plain(actual)
        if list(one) != list(other):
            return False
        self.values(where, one, other)
        return True

    def _same_time(self, expected: str, actual: str) -> bool:
        found, other = TIME.match(expected), TIME.match(actual)
        if other is None or found is None or found.group(2) != other.group(2) or expected[10] != actual[10]:
            return False
        if bool(found.group(1)) != bool(other.group(1)):
            return False
        return self._fresh(expected) and abs((times.parse(expected) - times.parse(actual)).total_seconds()) < TOLERANCE

    def _same_jwt(self, where: str, expected: str, actual: str) -> bool:
        if not JWT.match(actual):
            return False
        options: Any = {"verify_signature": False, "verify_aud": False}
        try:
            one, other = (jwt.decode(text, options=options) for text in (expected, actual))
        except jwt.InvalidTokenError:
            return False
        self.values(f"{where}<claims>", one, other)
        return True


def plain(text: str) -> str:
    """Free text without the moments, codes and internal names in it."""
    text = INTERNAL.sub(r"\1…", US_TIME.sub("<time>", text.replace("\r\n", "\n")))
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?", "<time>", text)
    return CODE.sub("<code>", text).strip()
