# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cloud's request limits: fixed windows per client address, verb and path, as shipped with the server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bwlab import times

SECONDS = {"1s": 1, "1m": 60, "2m": 120}


@dataclass(frozen=True)
class Rule:
    endpoint: str
    period: str
    limit: int

    def fits(self, endpoint: str) -> bool:
        """`*` is any endpoint, `post:*` any POST, anything else that endpoint alone."""
        if self.endpoint == "*":
            return True
        return self.endpoint == endpoint or self.endpoint == endpoint.split(":", 1)[0] + ":*"


UNLIMITED = Rule("*", "1m", 1_000_000)
RULES = {
    "api": [
        *(Rule(f"{verb}:*", "1m", 60) for verb in ("post", "put", "delete")),
        *(Rule(f"{verb}:*", "1s", 5) for verb in ("post", "put", "delete")),
        Rule("get:*", "1m", 200),
        Rule("get:/alive", "1m", 5),
        Rule("post:/installations", "2m", 2),
    ],
    "identity": [
        Rule("*", "1m", 60),
        Rule("*", "1s", 5),
        Rule("post:/connect/token", "1m", 10),
    ],
}


@dataclass
class Window:
    start: datetime
    count: int = 0


@dataclass
class Verdict:
    """`retry_after` is None while the call is allowed; `headers` belong on an allowed answer."""

    headers: dict[str, str]
    retry_after: int | None = None
    period: str = ""


class Limiter:
    """Counts in memory, like the real one: a restart of the cloud forgets."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str, str, str], Window] = {}

    def forget(self) -> None:
        self._windows.clear()

    def check(self, service: str, method: str, path: str, client: str, now: datetime) -> Verdict:
        endpoint = f"{method}:{path}".lower().rstrip("/")
        strictest: dict[str, Rule] = {}
        for rule in RULES[service]:
            if rule.fits(endpoint) and rule.limit < strictest.get(rule.period, UNLIMITED).limit:
                strictest[rule.period] = rule
        verdict = Verdict({})
        for rule in sorted(strictest.values(), key=lambda rule: SECONDS[rule.period]):
            window = self._count((service, client, endpoint, rule.period), rule, now)
            end = window.start + timedelta(seconds=SECONDS[rule.period])
            if window.count > rule.limit:
                seconds = max(1, int((end - now).total_seconds()))
                return Verdict({}, seconds, rule.period)
            verdict = Verdict(
                {
                    "X-Rate-Limit-Limit": rule.period,
                    "X-Rate-Limit-Remaining": str(rule.limit - window.count),
                    "X-Rate-Limit-Reset": times.iso(end) or "",
                }
            )
        return verdict

    def _count(self, key: tuple[str, str, str, str], rule: Rule, now: datetime) -> Window:
        window = self._windows.get(key)
        if window is None or now >= window.start + timedelta(seconds=SECONDS[rule.period]):
            window = self._windows[key] = Window(now)
        window.count += 1
        return window
