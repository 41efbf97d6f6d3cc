# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lets an application answer on the port that ASPNETCORE_URLS names; late or never, if a fault says so."""

from __future__ import annotations

import os
import time
from typing import Any

from bwlab.inside.images import APP_PORT
from bwlab.inside.places import Places, server_name


def port() -> int:
    text = os.environ.get("ASPNETCORE_URLS", "").split(";")[0].rpartition(":")[2].strip("/")
    return int(text) if text.isdigit() else APP_PORT


def wait_for_start(places: Places) -> None:
    """The faults of a start; without a lab around it a service starts at once."""
    database = places.lab_db()
    if database is None:
        return
    try:
        faults = [fault for fault in database.faults() if fault.count_left != 0]
    finally:
        database.close()
    mine = [fault for fault in faults if fault.options.get("server", server_name()) == server_name()]
    if any(fault.name == "start_never_ready" for fault in mine):
        while True:
            time.sleep(3600)
    for fault in (fault for fault in mine if fault.name == "slow_start"):
        time.sleep(fault.number("seconds", 5))
        return


def serve(application: Any) -> None:
    import uvicorn  # noqa: PLC0415 - the plain services start faster without

    uvicorn.run(
        application, host="0.0.0.0", port=port(), log_level="warning", lifespan="off", server_header=False,
        date_header=False, proxy_headers=False, http="h11", ws="none", timeout_keep_alive=75,
        timeout_graceful_shutdown=1, access_log=False,
    )  # fmt: skip
