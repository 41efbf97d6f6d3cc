"""Measures site.yml on two servers of the lab and writes the figures to results.json, one key a figure."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from labkit import Lab, Play

RESULTS = Path(__file__).with_name("results.json")
REPEATED = 5


def timed(lab: Lab, *options: str) -> tuple[float, Play]:
    """One run of site.yml and its seconds."""
    start = time.monotonic()
    play = lab.site(*options)
    return round(time.monotonic() - start, 2), play


def measure(lab: Lab) -> dict[str, float | int]:
    """All figures of one fresh lab."""
    check_seconds, _unused = timed(lab, "--check")
    first_seconds, first = timed(lab)
    servers = lab.state()["servers"].values()
    mark = lab.last()
    second_seconds, second = timed(lab)
    asked = Counter(entry["persona"] for entry in lab.log(mark))
    repeated = [second_seconds, *(timed(lab)[0] for _unused in range(REPEATED - 1))]
    return {
        "check_run_seconds": check_seconds,
        "first_run_seconds": first_seconds,
        "first_run_changed": sum(host["changed"] for host in first.recap.values()),
        "first_run_restarts_most": max(server["restarts"] for server in servers),
        "first_run_downtime_seconds_most": round(max(server["downtime_s"] for server in servers), 2),
        "second_run_seconds_median": statistics.median(repeated),
        "second_run_changed": sum(host["changed"] for host in second.recap.values()),
        "second_run_requests_to_a_server_most": max(n for who, n in asked.items() if who.startswith("server:")),
        "second_run_requests_to_the_cloud": sum(n for who, n in asked.items() if who.startswith("cloud:")),
    }


def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory(prefix="bitwarden-bench-") as folder:
        lab = Lab(Path(folder) / "lab", "--servers", "2", "--regions", "US,EU")
        try:
            figures = measure(lab)
        finally:
            lab.down()
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
