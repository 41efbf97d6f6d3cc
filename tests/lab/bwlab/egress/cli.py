# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command tests/lab/egress-world."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bwlab.docker.needs import NotReady
from bwlab.docker.outer import OuterError
from bwlab.egress import closing
from bwlab.egress.world import BACKENDS, PATHS, World


def _hosts(text: str) -> list[str]:
    wanted = [name for name in text.split(",") if name]
    unknown = sorted(set(wanted) - set(BACKENDS))
    if unknown or not wanted:
        raise argparse.ArgumentTypeError(f"there is no host {', '.join(unknown)}; there are {', '.join(BACKENDS)}")
    return wanted


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="egress-world", description="Hosts with real firewalls, and an internet.")
    commands = made.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text)
        added.add_argument("--dir", type=Path, required=True, help="folder of the world")
        return added

    up = command("up", "make a world, or start one that was ended")
    up.add_argument("--hosts", type=_hosts, default=list(BACKENDS), help=f"which of {','.join(BACKENDS)}")
    command("down", "end everything that was started")
    dns = command("dns", "change what a name leads to; without addresses it is gone")
    dns.add_argument("name")
    dns.add_argument("addresses", nargs="*")
    server = command("dns-server", "stop or start the name server")
    server.add_argument("state", choices=["start", "stop"])
    reach = command("reach", "a real TCP connect: open, closed, partly, no name")
    reach.add_argument("host")
    reach.add_argument("path", choices=PATHS)
    reach.add_argument("target")
    reach.add_argument("port", type=int)
    version = reach.add_mutually_exclusive_group()
    version.add_argument("-4", dest="version", action="store_const", const=4)
    version.add_argument("-6", dest="version", action="store_const", const=6)
    close = command("close", "close a host as the owner of its firewall would, for good")
    close.add_argument("host")
    boot = command("reboot", "shut a host down and start it; what comes back is what the host brings back")
    boot.add_argument("host")
    run = command("sh", "run a shell command on a host as root, past its firewall")
    run.add_argument("host")
    run.add_argument("script")
    return made


def _do(arguments: argparse.Namespace) -> None:
    world = World(arguments.dir)
    if arguments.command == "up":
        world.up(arguments.hosts)
        print(world.directory / "inventory.yml")
    elif arguments.command == "down":
        world.down()
    elif arguments.command == "dns":
        world.internet.change(arguments.name, arguments.addresses)
    elif arguments.command == "dns-server":
        (world.internet.start_names if arguments.state == "start" else world.internet.stop_names)()
    elif arguments.command == "reach":
        print(world.reach(arguments.host, arguments.path, [(arguments.target, arguments.port, arguments.version)])[0])
    elif arguments.command == "close":
        closing.close(world, arguments.host)
    elif arguments.command == "reboot":
        world.reboot(arguments.host)
    else:
        print(world.sh(arguments.host, arguments.script))


def main() -> int:
    arguments = parser().parse_args()
    try:
        _do(arguments)
    except (NotReady, OuterError, OSError) as error:
        print(f"egress-world: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
