"""Measures site.yml on two servers of the lab and writes the figures to results.json, one key a figure."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "lab")]

from integration.faults.hosts import Host, Watch
from labkit import Lab, Play

RESULTS = Path(__file__).with_name("results.json")
REPEATED = 5
REGISTRY_SECONDS = 20


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


def restart_by_hand(host: Host) -> None:
    """What the help page has people do; the host's own Python makes its docker the first on PATH."""
    script = host.directory / "bitwarden.sh"
    code = f"import subprocess; subprocess.run(['{script}', 'restart'], input='y\\n', text=True, check=True)"
    subprocess.run([host.programs / "python", "-c", code], check=True, capture_output=True)


def measure_downtime(lab: Lab) -> dict[str, float]:
    """For how long the front door does not answer, with a registry that takes its time for every image.

    The same server, the same registry, the same watch, which asks /api/alive ten times a second: first for a plain
    `bitwarden.sh restart`, then for a run of site.yml that changes the env file and therefore restarts.
    """
    host = Host(lab, "us1", "standard")
    host.fault("registry_slow", {"seconds": REGISTRY_SECONDS})
    with Watch(host) as plain:
        restart_by_hand(host)
    before = host.content()
    with Watch(host) as changed:
        play = lab.site()
    if host.content() == before or not host.answers() or not any(play.changed().values()):
        raise SystemExit(f"The run was none that changes and restarts:\n{play.output}")
    return {
        "downtime_ratio": round(changed.downtime / plain.downtime, 3),
        "downtime_changed_run_seconds": round(changed.downtime, 2),
        "downtime_plain_restart_seconds": round(plain.downtime, 2),
    }


def main() -> None:
    """Measure and write."""
    figures: dict[str, float | int] = {}
    with tempfile.TemporaryDirectory(prefix="bitwarden-bench-") as folder:
        for work, options in (
            (measure, ("--servers", "2", "--regions", "US,EU")),
            (measure_downtime, ("--servers", "1", "--regions", "US")),
        ):
            lab = Lab(Path(folder) / work.__name__, *options)
            try:
                figures |= work(lab)
            finally:
                lab.down()
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
