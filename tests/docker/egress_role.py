# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The role egress on hosts of a world, and everything on such a host that it must leave as it was."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bwlab.egress.world import World

PROJECT = Path(__file__).resolve().parents[2]
INTERVAL = 20
VARIABLES = {
    "bitwarden_region": "US", "egress_probe": False, "egress_interval": INTERVAL, "egress_lifetime": 3600,
}  # fmt: skip
PLAY = """---
- hosts: bitwarden
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: selfhosted.bitwarden.egress
"""
BIN = Path(sys.executable).parent
AGENT = "python3 /usr/local/lib/bitwarden-egress/bitwarden-egress"
_SAVED = "iptables-save | grep -v '^#' | sed 's/ \\[[0-9:]*\\]$//'"
# Docker answers a reload of firewalld by making its rules anew, in an order of its own.
RULES = {
    "firewalld": f"nft -s list table inet firewalld; {_SAVED} | sort; {_SAVED.replace('ip', 'ip6', 1)} | sort; "
    "for where in '' --permanent; do for what in --list-all-zones --list-all-policies --get-ipsets "
    "'--direct --get-all-rules' '--direct --get-all-passthroughs'; do firewall-cmd $where $what; done; done",
    "": f"nft -s list ruleset; {_SAVED}; {_SAVED.replace('ip', 'ip6', 1)}",
}
# The world's own engine writes a container's hosts file anew when it starts.
FILES = (
    "find /etc /usr/local /var/lib/bitwarden-egress -xdev ! -name '*.tmp' -printf '%p %y %m %u %g %l\\n' 2>/dev/null "
    "| sort; find /etc /usr/local -xdev -type f ! -path /etc/hosts -print0 | sort -z | xargs -0 sha256sum"
)
Found = TypeVar("Found")


@dataclass(frozen=True)
class Done:
    status: int
    text: str
    changed: dict[str, int]

    @property
    def said(self) -> str:
        """Without the ends of lines, which stand where a screen has its own."""
        return " ".join(self.text.split())


def rules(world: World, host: str) -> str:
    """Without the ports of the name server that the world's own engine gives each container anew when it starts."""
    found = world.sh(host, RULES.get(host, RULES[""]))
    return re.sub(r"(127\.0\.0\.11(:|\S* .*\bsport ))\d+", r"\1", found)


def same(one: str, other: str) -> bool:
    """But for the order, which is another after each boot: Docker makes its networks in any."""
    return sorted(one.splitlines()) == sorted(other.splitlines())


def snapshot(world: World, host: str) -> tuple[str, str]:
    """Everybody's rules, and every file in which a rule or a unit may stand."""
    return rules(world, host), world.sh(host, FILES)


def everywhere(hosts: Iterable[str], do: Callable[[str], Found]) -> dict[str, Found]:
    names = list(hosts)
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(do, names), strict=True))


def ansible(world: World, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_HOME": str(world.directory)}
    command = [str(BIN / program), "-i", str(world.directory / "inventory.yml"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT, env=environment)


def role(
    world: World, *options: str, check: bool = False, of_host: dict[str, Any] | None = None, **variables: object
) -> Done:
    """`of_host` holds variables by host, of which only those of this run count."""
    folder = world.directory / "host_vars"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for host, own in (of_host or {}).items():
        (folder / f"{host}.json").write_text(json.dumps(own), encoding="utf-8")
    play = world.directory / "play.yml"
    play.write_text(PLAY, encoding="utf-8")
    given = [*options, *(["--check"] if check else []), "-e", json.dumps({**VARIABLES, **variables})]
    done = ansible(world, "ansible-playbook", str(play), *given)
    counts = re.findall(r"^(\w+) +: .*changed=(\d+)", done.stdout, re.MULTILINE)
    return Done(done.returncode, done.stdout + done.stderr, {name: int(count) for name, count in counts})


def changed(world: World, *options: str, **variables: Any) -> dict[str, int]:
    """How much changed on each host, in a run that has to go well."""
    done = role(world, *options, **variables)
    assert done.status == 0, done.text[-6000:]
    return done.changed


def settled(world: World, hosts: Iterable[str], **variables: Any) -> None:
    """A prediction without effect, the run that does the same, and one more that changes nothing."""
    names = list(hosts)
    before = everywhere(names, lambda host: snapshot(world, host))
    predicted = changed(world, check=True, **variables)
    assert everywhere(names, lambda host: snapshot(world, host)) == before
    assert all(predicted.values())
    assert changed(world, **variables) == predicted
    assert changed(world, **variables) == dict.fromkeys(names, 0)
