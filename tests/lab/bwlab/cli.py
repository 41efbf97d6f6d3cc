# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bwlab.replay.run import replay

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"


def _replay(arguments: argparse.Namespace) -> int:
    summary = replay(arguments.recordings, arguments.group, arguments.name)
    for result in summary.results if arguments.verbose else summary.unexplained:
        if result.differences:
            note = f" (known: {result.reason})" if result.reason else ""
            print(f"DIFFERS {result.group} {result.name}{note}")
            for difference in result.differences if arguments.verbose else []:
                print(f"    {difference}")
    print("\n".join(summary.lines()))
    return 1 if summary.unexplained else 0


def parser() -> argparse.ArgumentParser:
    main_parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    commands = main_parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("replay", help="play the recorded exchanges and compare")
    command.add_argument("--recordings", type=Path, default=RECORDINGS)
    command.add_argument("--group", action="append", help="a group's letter (may be repeated)")
    command.add_argument("--name", help="only exchanges whose name has this regular expression")
    command.add_argument("-v", "--verbose", action="store_true", help="show the differences")
    command.set_defaults(run=_replay)
    return main_parser


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
