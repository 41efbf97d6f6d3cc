# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moments as the server writes them: in columns, in JSON, in a connection's config."""

from __future__ import annotations

import random
from datetime import UTC, datetime


def _fraction(moment: datetime) -> str:
    """Seven digits, as .NET has ticks of 100 ns, trailing zeros and an empty fraction left out."""
    ticks = f"{moment.microsecond:06d}{random.randrange(1, 10)}" if moment.microsecond else ""  # noqa: S311 - a digit
    digits = ticks.rstrip("0")
    return f".{digits}" if digits else ""


def column(moment: datetime) -> str:
    """2026-11-22 15:25:14.9962878, as SQLite columns hold it."""
    moment = moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S") + _fraction(moment)


def parse(text: str) -> datetime:
    """A column, a JSON date or a config's date; without an offset it is UTC."""
    text = text.strip().replace(" ", "T", 1)
    zone = ""
    if text.endswith("Z"):
        text, zone = text[:-1], "+00:00"
    elif len(text) > 6 and text[-6] in "+-" and text[-3] == ":":
        text, zone = text[:-6], text[-6:]
    if "." in text:
        whole, fraction = text.split(".", 1)
        text = f"{whole}.{fraction[:6]:0<6}"
    return datetime.fromisoformat(text + (zone or "+00:00"))


def iso(value: str | datetime | None, *, zone: str = "Z") -> str | None:
    """JSON of a column ('2026-11-22T15:25:14.9962878Z'); null stays null. `zone=''` leaves the Z out."""
    if value is None:
        return None
    text = column(value) if isinstance(value, datetime) else value
    text = text.replace(" ", "T", 1)
    if text.endswith("Z"):
        return text
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text + zone


def offset_text(moment: datetime) -> str:
    """2026-11-22T14:32:13.5972481+00:00, as LastLicenseSync is stored."""
    moment = moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + _fraction(moment) + "+00:00"


def http_date(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
