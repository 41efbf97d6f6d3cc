# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One recorded exchange: the request as it was on the wire, and the moment it was made."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from bwlab import times

Exchange = dict[str, Any]
BOUNDARY = "----recrdboundary"
MAX_UPLOAD = 51200
PERIODS = {"1s": 1, "1m": 60, "2m": 120}
MOMENT_COLUMNS = {
    "RevisionDate", "CreationDate", "LastActivityDate", "LastSyncDate", "LastFailedLoginDate", "Date",
}  # fmt: skip


def _part(part: dict[str, str], content: str) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{part["name"]}"'
    if "filename" in part:
        head += f'; filename="{part["filename"]}"'
    if "type" in part:
        head += f"\r\nContent-Type: {part['type']}"
    return f"{head}\r\n\r\n{content}\r\n".encode()


def _multipart(name: str, parts: list[dict[str, str]], license_text: str) -> bytes:
    """A text in angle brackets that is not given in full is a license of the world, padded as its words say."""
    end = f"--{BOUNDARY}--\r\n".encode()
    contents = []
    for part in parts:
        text = part.get("content_text", part["content"])
        contents.append(license_text if text.startswith("<") and "content_text" not in part else text)
    body = b"".join(map(_part, parts, contents)) + end
    if "<padded>" in (part["content"] for part in parts):
        wanted = int(name.rsplit("-", 1)[-1]) if name[-1].isdigit() else MAX_UPLOAD
        contents[0] += " " * (wanted - len(body))
        body = b"".join(map(_part, parts, contents)) + end
    elif any("51200 spaces" in part["content"] for part in parts):
        contents[0] += " " * MAX_UPLOAD
        body = b"".join(map(_part, parts, contents)) + end
    return body


def body_bytes(exchange: Exchange, license_text: str) -> bytes:
    body = exchange["request"].get("body")
    content_type = next(
        (value for key, value in exchange["request"]["headers"].items() if key.lower() == "content-type"), ""
    )
    if body is None:
        return b""
    if isinstance(body, dict) and "multipart" in body:
        return _multipart(exchange["name"], body["multipart"], license_text)
    if isinstance(body, str):
        return body.encode()
    if "x-www-form-urlencoded" in content_type:
        return urlencode(body).encode()
    return json.dumps(body).encode()


def client(exchange: Exchange, group: str) -> str:
    """Every call came from an address of its own, but for the group about limits: there the name tells."""
    if group != "i":
        return f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.{secrets.randbelow(256)}"
    name = re.sub(r"-\d\d$", "", exchange["name"])
    return "token" if "same-address" in name or name == "token-after-retry-after" else name


def _moments(value: Any) -> Iterator[datetime]:
    """The new moments in an effect's rows."""
    if isinstance(value, dict):
        for key, item in value.items():
            text = item[1] if isinstance(item, list) and len(item) == 2 else item
            if key in MOMENT_COLUMNS and isinstance(text, str):
                yield times.parse(text)
            elif isinstance(item, dict | list):
                yield from _moments(item)
    elif isinstance(value, list):
        for item in value:
            yield from _moments(item)


class Clock:
    """When each exchange was made, as far as its answer and its effect tell; it never goes back."""

    def __init__(self, exchanges: list[Exchange], recorded: str) -> None:
        self.end = times.parse(recorded)
        self.windows: dict[str, datetime] = {}
        first = [moment for exchange in exchanges for moment in self._hints(exchange) if moment < self.end]
        self.now = min(first, default=self.end - timedelta(seconds=60))
        self.windows.clear()

    def _hints(self, exchange: Exchange) -> list[datetime]:
        headers = exchange.get("response", {}).get("headers", {})
        found = []
        if reset := headers.get("x-rate-limit-reset"):
            moment = times.parse(reset)
            if self.windows.get(exchange["request"]["path"]) != moment:
                found.append(moment - timedelta(seconds=PERIODS[headers["x-rate-limit-limit"]]))
            self.windows[exchange["request"]["path"]] = moment
        wait = int(headers.get("retry-after", 0))
        end = self.windows.get(exchange.get("request", {}).get("path", ""))
        if wait > 1 and end:
            found.append(end - timedelta(seconds=wait + 0.5))
        claims = exchange.get("response", {}).get("access_token_claims")
        if claims:
            found.append(datetime.fromtimestamp(claims["payload"]["iat"], UTC))
        rows = [value for key, value in exchange.get("effect", {}).items() if key.endswith("_rows")]
        since, until = self.end - timedelta(minutes=12), self.end + timedelta(minutes=1)
        found += [moment for moment in _moments(rows) if since < moment < until]
        return [moment for moment in found if since < moment < until]

    def at(self, exchange: Exchange) -> datetime:
        pause = re.search(r"([\d.]+) s apart", exchange.get("given", ""))
        self.now += timedelta(seconds=float(pause.group(1)) if pause else 0.0)
        self.now = max([self.now, *self._hints(exchange)[:1]])
        return self.now.replace(microsecond=self.now.microsecond or 123456)
