# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Spreads the logins of all tasks on one controller under the cloud's limits, so that none runs into a refusal.

What is known of the past lies in a small file beside the locks: when the last logins were. Where it cannot be kept,
nothing is lost but the courtesy: the cloud still says by itself when it is too much.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
import typing as t
from pathlib import Path

# The cloud's limits for one address are 10 logins a minute and 5 requests a second, counted from its own clock.
LIMITS: tuple[tuple[int, float], ...] = ((10, 61.0), (4, 1.2))
_REMEMBERED = max(count for count, _seconds in LIMITS)


def state_directory(lock_path: str | None) -> str:
    """Where runs on one controller leave each other word; it holds no secrets."""
    home = os.environ.get("ANSIBLE_HOME") or Path.home() / ".ansible"
    return lock_path or os.path.join(home, "selfhosted.bitwarden")


def wait_for_turn(
    directory: str,
    identity: str,
    patience: float,
    *,
    sleep: t.Callable[[float], None] = time.sleep,
    clock: t.Callable[[], float] = time.time,
) -> float:
    """Wait until a login at an identity service is within its limits; the seconds that it took.

    Whoever has no patience for that goes ahead, and the cloud decides.
    """
    path = os.path.join(directory, "logins-" + hashlib.sha256(identity.encode()).hexdigest())
    waited = 0.0
    with contextlib.suppress(OSError):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        while True:
            pause = _take(path, clock(), hurry=waited >= patience)
            if pause <= 0:
                break
            pause = min(pause, patience - waited)
            sleep(pause)
            waited += pause
    return waited


def _take(path: str, now: float, *, hurry: bool) -> float:
    """Note a login that happens now, or say how long it has to wait."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        past = _past(stream.read(), now)
        pause = 0.0 if hurry else _pause(past, now)
        if pause <= 0:
            stream.seek(0)
            stream.truncate()
            json.dump([*past, now][-_REMEMBERED:], stream)
        return pause


def _past(text: str, now: float) -> list[float]:
    """When the last logins were; what a clock that was set back has left in the future tells nothing."""
    try:
        given = json.loads(text or "[]")
        return sorted(moment for moment in map(float, given) if moment <= now)
    except (TypeError, ValueError):
        return []


def _pause(past: list[float], now: float) -> float:
    """Until when the newest logins leave room for one more."""
    return max((past[-count] + seconds - now for count, seconds in LIMITS if len(past) >= count), default=0.0)
