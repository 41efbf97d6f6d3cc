"""The help page on two servers, US and EU, against the lab: predicted, done, done again, and what each step changed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / "tests" / "lab" / "lab"
SITE = ROOT / "playbooks" / "site.yml"

STEPS = (
    ("1 cloud communication", "cloud"),
    ("1 restarts", "restarts"),
    ("2 token at the cloud", "token"),
    ("3 connection", "connection"),
    ("4 last license sync", "sync"),
)


def lab(*arguments: str) -> Any:
    """Call the lab's command line; its JSON answer."""
    done = subprocess.run([LAB, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout) if done.stdout.strip() else None


@contextmanager
def running_lab(directory: Path) -> Iterator[None]:
    """A lab with one US and one EU server, ended in any case."""
    lab("up", "--dir", str(directory), "--servers", "2", "--regions", "US,EU")
    try:
        yield
    finally:
        subprocess.run([LAB, "down", "--dir", directory], check=True, stdout=subprocess.DEVNULL)


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n\033[1m{text}\033[0m\n" if sys.stdout.isatty() else f"\n== {text}\n", flush=True)


def play(directory: Path, *options: str) -> str:
    """Run site.yml in the lab, show what it prints, return that."""
    command = [LAB, "run", "--dir", directory, "--", "ansible-playbook", SITE, *options]
    print("$ ansible-playbook playbooks/site.yml", *options, "\n", flush=True)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if process.stdout is None:
        raise RuntimeError("ansible-playbook has no output")
    lines = []
    hide = False
    for line in process.stdout:
        lines.append(line)
        # Only what matters to a reader: changes, failures and the recap.
        if line.startswith(("TASK", "PLAY")):
            heading, hide = line, "PLAY RECAP" not in line
            if not hide:
                print(line, end="")
        elif line.startswith(("changed", "failed", "fatal")) and hide:
            print(heading, line, sep="", end="")
            hide = False
        elif not hide:
            print(line, end="")
    if process.wait():
        sys.exit("".join(lines[-40:]) + "\nThe playbook failed, see above.")
    return "".join(lines)


def facts(directory: Path) -> dict[str, dict[str, str]]:
    """What the four steps are about, for each server, in words."""
    state = lab("state", "--dir", str(directory))
    found = {}
    for name, server in state["servers"].items():
        environment = server["container_env"]
        organization = server["organizations"][0]
        connection = organization["connection"]
        cloud = next(
            one for one in state["clouds"][server["region"]]["organizations"] if one["id"] == organization["cloud_id"]
        )
        on = environment.get("globalSettings__enableCloudCommunication", "not set")
        api = environment.get("globalSettings__installation__apiUri", "the default")
        found[name] = {
            "cloud": f"{on}, region {environment.get('globalSettings__baseServiceUri__cloudRegion')}, api {api}",
            "restarts": f"{server['restarts']}, {server['downtime_s']:.1f} s down",
            "token": "made" if cloud["billing_sync_key_created"] else "none",
            "connection": "none"
            if connection is None
            else f"{'enabled' if connection['enabled'] else 'disabled'}, "
            f"{'current' if connection['key_is_current'] else 'outdated'} token",
            "sync": (connection or {}).get("last_license_sync") or "never",
        }
    return found


def table(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> None:
    """Print before and after of every step on every server."""
    for server in before:
        print(f"{server}")
        for label, key in STEPS:
            print(f"  {label:<24}{before[server][key]:<48} -> {after[server][key]}")


def main() -> None:
    """Run the demonstration; exit status 1 when a second run would change anything."""
    with tempfile.TemporaryDirectory(prefix="bitwarden-lab-") as folder, running_lab(Path(folder)):
        directory = Path(folder)
        before = facts(directory)
        title("Prediction: what a run would change (check mode)")
        play(directory, "--check")
        if facts(directory) != before:
            sys.exit("Check mode changed something.")
        title("The run")
        play(directory)
        after = facts(directory)
        requests = {name: cloud["requests"] for name, cloud in lab("state", "--dir", folder)["clouds"].items()}
        title("The same run again")
        second = play(directory)
        again = {name: cloud["requests"] for name, cloud in lab("state", "--dir", folder)["clouds"].items()}
        title("Before and after, by the steps of the help page")
        table(before, after)
        changed = sum(int(number) for number in re.findall(r"changed=(\d+)", second))
        calls = sum(again.values()) - sum(requests.values())
        print(f"\nSecond run: {changed} changed, {calls} requests to the cloud.")
        sys.exit(1 if changed or calls else 0)


if __name__ == "__main__":
    main()
