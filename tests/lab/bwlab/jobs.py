# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The self-hosted Api's jobs that concern licenses and sponsorships, and when they run."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from bwlab import job_licenses, times
from bwlab.job_sponsorships import sync_all
from bwlab.outbound import us_time
from bwlab.persona import Persona
from bwlab.store import Row

LISTENER = "Bit.Core.Jobs.JobListener"
SPONSORSHIP_JOB = "SelfHostedSponsorshipSyncJob"
LICENSE_JOB = "ValidateOrganizationsJob"
TABLE = "LabJob"
DAY = timedelta(days=1)


async def run_job(persona: Persona, name: str) -> None:
    """One run, begun and ended in the log whatever becomes of it."""
    work: dict[str, Callable[[Persona], Awaitable[None]]] = {
        SPONSORSHIP_JOB: sync_all,
        LICENSE_JOB: job_licenses.validate_all,
    }
    persona.log(LISTENER, "Information", f"Starting job {name} at {us_time(persona.now())}.")
    await work[name](persona)
    persona.log(LISTENER, "Information", f"Finished job {name} at {us_time(persona.now())}.")


def registered(persona: Persona) -> list[str]:
    """Decided when the Api starts: without cloud communication there is no sponsorship job at all."""
    names = [LICENSE_JOB]
    if not persona.is_cloud and persona.settings().enable_cloud_communication:
        names.append(SPONSORSHIP_JOB)
    return names


def _next_half_past(now: datetime) -> datetime:
    """00:30 and 12:30."""
    first = now.replace(hour=0, minute=30, second=0, microsecond=0)
    return next(moment for hours in (0, 12, 24) if (moment := first + timedelta(hours=hours)) > now)


def _first_run(name: str, now: datetime) -> datetime:
    if name == LICENSE_JOB:
        return _next_half_past(now)
    return now + timedelta(hours=random.randrange(24))  # noqa: S311 - no secret: the real server rolls a die too


def _following_run(name: str, last: datetime, now: datetime) -> datetime:
    return _next_half_past(now) if name == LICENSE_JOB else max(last + DAY, now)


async def run_due(persona: Persona, started: float) -> list[str]:
    """Runs what is due since the Api's start (`started` tells one start from another); a new start rolls anew.

    For the daemon to call from time to time.
    """
    ran = []
    for name in registered(persona):
        now = persona.now()
        row = persona.store.one(TABLE, Name=name)
        if row is None or row["Started"] != started:
            _schedule(persona, row, name, started, _first_run(name, now))
        elif times.parse(row["Next"]) <= now:
            await run_job(persona, name)
            _schedule(persona, row, name, started, _following_run(name, times.parse(row["Next"]), now))
            ran.append(name)
    return ran


def _schedule(persona: Persona, row: Row | None, name: str, started: float, moment: datetime) -> None:
    columns = {"Name": name, "Started": started, "Next": times.column(moment)}
    if row is None:
        persona.store.insert(TABLE, columns)
    else:
        persona.store.update(TABLE, row["Id"], **columns)
