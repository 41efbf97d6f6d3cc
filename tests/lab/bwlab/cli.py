# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bitwarden in miniature: two clouds and any number of self-hosted servers on this machine."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from bwlab import faults, lifecycle
from bwlab.labdb import LabDb

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parents[2]
RECORDINGS = PACKAGE.parent / "data" / "recordings"
FIXTURES = PACKAGE.parent / "data" / "fixtures"
KILLED = 128
DEPLOYMENTS = ("standard", "manual", "lite", "lite-run")


def _up(arguments: argparse.Namespace) -> int:
    options = {
        "engine": arguments.engine,
        "servers": arguments.servers,
        "regions": [name for name in arguments.regions.split(",") if name],
        "one_organization": arguments.one_organization,
        "deployment": arguments.deployment,
    }
    print(json.dumps(lifecycle.up(arguments.dir.resolve(), options)))
    return 0


def _down(arguments: argparse.Namespace) -> int:
    lifecycle.down(arguments.dir.resolve())
    return 0


def _run(arguments: argparse.Namespace) -> int:
    command = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not command:
        print("lab: no command to run; give it behind --", file=sys.stderr)
        return 2
    environment = {**os.environ, **lifecycle.environment(arguments.dir.resolve(), PROJECT)}
    # The lab's own package is nothing to the command.
    paths = [path for path in environment.pop("PYTHONPATH", "").split(os.pathsep) if path != str(PACKAGE.parent)]
    if any(paths):
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    try:
        status = subprocess.run(command, env=environment, check=False).returncode
        # A command that was killed ends as a shell would say it.
        return status if status >= 0 else KILLED - status
    except FileNotFoundError:
        print(f"lab: there is no program {command[0]}", file=sys.stderr)
        return 127


def _state(arguments: argparse.Namespace) -> int:
    from bwlab import state  # noqa: PLC0415 - other commands start faster without it

    print(json.dumps(state.read(lifecycle.made(arguments.dir.resolve()))))
    return 0


def _log(arguments: argparse.Namespace) -> int:
    database = LabDb(lifecycle.made(arguments.dir.resolve()) / "lab.sqlite")
    for entry in database.log(arguments.after):
        print(json.dumps(entry))
    database.close()
    return 0


def _secrets(arguments: argparse.Namespace) -> int:
    from bwlab import secret_values  # noqa: PLC0415 - other commands start faster without it

    print("\n".join(secret_values.all_values(lifecycle.made(arguments.dir.resolve()))))
    return 0


def _fault(arguments: argparse.Namespace) -> int:
    database = LabDb(lifecycle.made(arguments.dir.resolve()) / "lab.sqlite")
    if arguments.action == "list":
        for fault in database.faults():
            entry = {"name": fault.name, "options": fault.options, "count_left": fault.count_left}
            print(json.dumps(entry))
    elif arguments.action == "clear":
        database.clear_faults(arguments.name)
    elif arguments.name is None:
        print(f"lab: which fault? There are: {', '.join(sorted(faults.FAULTS))}", file=sys.stderr)
        return 2
    else:
        options = faults.parse(arguments.name, arguments.pairs)
        if lifecycle.engine_of(database.path.parent) == lifecycle.DOCKER:
            faults.check_docker(arguments.name, options)
        database.set_fault(arguments.name, options)
    database.close()
    return 0


def _clock(arguments: argparse.Namespace) -> int:
    database = LabDb(lifecycle.made(arguments.dir.resolve()) / "lab.sqlite")
    database.set_clock(arguments.persona, arguments.seconds)
    database.close()
    return 0


def _forget(arguments: argparse.Namespace) -> int:
    database = LabDb(lifecycle.made(arguments.dir.resolve()) / "lab.sqlite")
    database.forget_limits()
    database.close()
    return 0


def _release(arguments: argparse.Namespace) -> int:
    if not re.fullmatch(r"\d{4}(\.\d+){1,3}", arguments.version):
        print(f"lab: {arguments.version!r} is no version; give one like 2026.8.0", file=sys.stderr)
        return 2
    database = LabDb(lifecycle.made(arguments.dir.resolve()) / "lab.sqlite")
    database.set_release(arguments.version)
    database.close()
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    from bwlab.replay.run import replay  # noqa: PLC0415 - other commands start faster without it

    summary = replay(arguments.recordings, arguments.group, arguments.name)
    for result in summary.results if arguments.verbose else summary.unexplained:
        if result.differences:
            note = f" (known: {result.reason})" if result.reason else ""
            print(f"DIFFERS {result.group} {result.name}{note}")
            for difference in result.differences if arguments.verbose else []:
                print(f"    {difference}")
    print("\n".join(summary.lines()))
    return 1 if summary.unexplained else 0


def _setup_cases(arguments: argparse.Namespace) -> int:
    from bwlab.host.cases import run_cases  # noqa: PLC0415 - other commands start faster without it

    alike, every, differences = run_cases(arguments.fixtures)
    print("\n".join([*differences, f"{alike}/{every}"]))
    return 1 if differences else 0


def parser() -> argparse.ArgumentParser:
    main_parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: object, text: str, *, directory: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        if directory:
            command.add_argument("--dir", type=Path, required=True, help="the lab's directory")
        command.set_defaults(run=run)
        return command

    command = add("up", _up, "make a lab, or start one that was ended; ready when it returns")
    command.add_argument("--servers", type=int, default=2)
    command.add_argument("--regions", default="US,EU", help="regions of the servers, taking turns")
    command.add_argument("--engine", choices=("process", "docker"), default="process")
    command.add_argument("--one-organization", action="store_true", help="one cloud organization a region")
    command.add_argument("--deployment", choices=DEPLOYMENTS, default="standard", help="how the servers are deployed")
    command = add("run", _run, "run a command with the lab's certificates, secrets and Ansible settings")
    command.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND…")
    add("state", _state, "what is true of servers and clouds, as JSON")
    command = add("log", _log, "the requests that personas got, one JSON line each")
    command.add_argument("--after", type=int, default=0, metavar="N")
    add("secrets", _secrets, "every secret value in the lab, one a line")
    command = add("fault", _fault, "make something go wrong")
    command.add_argument("action", choices=("set", "clear", "list"))
    command.add_argument("name", nargs="?")
    command.add_argument("pairs", nargs="*", metavar="KEY=VALUE")
    command = add("clock", _clock, "set the clock of a server or cloud, in seconds from the real time")
    command.add_argument("persona", help="us1, or a region's name")
    command.add_argument("seconds", type=float)
    command = add("release", _release, "set the newest version that Bitwarden offers")
    command.add_argument("version", help="as 2026.8.0")
    add("forget", _forget, "let the clouds forget how many requests an address has made, as after a restart")
    add("down", _down, "end everything that was started")
    command = add("replay", _replay, "play the recorded exchanges and compare", directory=False)
    command.add_argument("--recordings", type=Path, default=RECORDINGS)
    command.add_argument("--group", action="append", help="a group's letter (may be repeated)")
    command.add_argument("--name", help="only exchanges whose name has this regular expression")
    command.add_argument("-v", "--verbose", action="store_true", help="show the differences")
    command = add("setup-cases", _setup_cases, "run the recorded cases of Setup and compare", directory=False)
    command.add_argument("--fixtures", type=Path, default=FIXTURES)
    return main_parser


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (lifecycle.LabError, faults.UnknownFault) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
