# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A change that really cuts the connection it was made over: the server takes it back by itself, by systemd's timer.

The server is managed through a relay that it dials itself, and is told to close the way to that relay.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bwlab.egress import closing, names
from bwlab.egress.world import World
from egress_relay import CALLS, FRONT, LINE
from egress_role import AGENT, Done, ansible, changed, role, rules, same

pytestmark = pytest.mark.docker

HOST = "nftables"
UNDO_AFTER = 20
RELAY = Path(__file__).with_name("egress_relay.py")
LINES = [{"host": names.RELAY, "port": port, "paths": ["host"]} for port in (LINE, CALLS)]
NO_RELAY: dict[str, object] = {"egress_endpoints": [], "egress_undo_after": UNDO_AFTER}
# Answers of connections that were made from outside do not get out any more.
STRICT = (
    "nft delete rule inet company output handle "
    "$(nft -a list chain inet company output | sed -n 's/.*established.* # handle //p')"
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="bwu-") as folder:
        made = World(Path(folder) / "world")
        made.up([HOST])
        try:
            closing.close(made, HOST)
            assert changed(made, egress_endpoints=LINES) != {HOST: 0}
            yield made
        finally:
            made.down()


@pytest.fixture(scope="module")
def through_the_relay(world: World) -> dict[str, object]:
    """Variables of a connection that the server itself has dialed."""
    port = json.loads((world.directory / "world.json").read_text(encoding="utf-8"))["hosts"][HOST]
    program = RELAY.read_text(encoding="utf-8")
    relay = names.addresses(names.PLACES[names.RELAY][0])[0]
    world.outer.docker("exec", "internet", "sh", "-c", f"cat >/relay.py <<'END'\n{program}END")
    world.internet.spawn("python3", "/relay.py", "serve")
    world.sh(HOST, "cat >/root/relay.py", data=program)
    world.sh(HOST, f"systemd-run --quiet --unit=relay -p Restart=always python3 /root/relay.py dial {relay}")
    return {
        "ansible_host": world.outer.internet()[0],
        "ansible_port": FRONT,
        "ansible_ssh_extra_args": f"-o HostKeyAlias=[127.0.0.1]:{port}",
    }


def answers(world: World, connection: dict[str, object]) -> bool:
    done = ansible(world, "ansible", HOST, "-m", "ansible.builtin.ping", "-T", "5", "-e", json.dumps(connection))
    return done.returncode == 0


def is_back(world: World, before: str, since: str) -> bool:
    """Soon after the time that was promised: a busy machine needs a while."""
    deadline = time.monotonic() + UNDO_AFTER + 60.0
    while not same(rules(world, HOST), before) or json.loads(world.sh(HOST, f"{AGENT} status"))["pending"]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    told = world.sh(HOST, f"journalctl --since=@{since} --unit 'bitwarden-egress*'")
    return "The unconfirmed change was taken back." in told


def cut(world: World, connection: dict[str, object]) -> Done:
    assert answers(world, connection)
    done = role(world, **NO_RELAY, **connection)
    assert done.status != 0
    return done


def test_where_no_new_connection_comes_through_the_role_says_so_and_the_server_goes_back(
    world: World, through_the_relay: dict[str, object]
) -> None:
    before, since = rules(world, HOST), world.sh(HOST, "date +%s").strip()
    done = cut(world, through_the_relay)
    assert "nftables cannot be reached any more since the change of its firewall" in done.said
    assert f"It takes the change back by itself within {UNDO_AFTER} seconds" in done.said
    assert is_back(world, before, since)
    assert answers(world, through_the_relay)
    assert world.reach(HOST, "containers", [("api.bitwarden.com", 443, 4)]) == ["open"]


def test_where_even_the_running_connection_is_cut_the_server_goes_back_and_the_run_goes_on_to_say_so(
    world: World, through_the_relay: dict[str, object]
) -> None:
    world.sh(HOST, STRICT)
    before, since = rules(world, HOST), world.sh(HOST, "date +%s").strip()
    done = cut(world, through_the_relay)
    assert "The change was already taken back, since nobody confirmed it in time." in done.said
    assert is_back(world, before, since)
    assert answers(world, through_the_relay)


def test_a_reboot_before_anybody_confirmed_goes_back_too(world: World) -> None:
    # The owner's file still has the rule for answers.
    world.sh(HOST, f"systemctl reload nftables; until {AGENT} status | grep -q 'in_place.: true'; do sleep 0.2; done")
    before, since = rules(world, HOST), world.sh(HOST, "date +%s").strip()
    wanted = json.dumps({"endpoints": [{"name": names.OTHER}], "undo_after": 600})
    done = ansible(world, "ansible", HOST, "-m", "selfhosted.bitwarden.egress_rules", "-a", wanted)
    assert done.returncode == 0, done.stdout
    assert world.reach(HOST, "host", [(names.OTHER, 443, 4)]) == ["open"]
    world.reboot(HOST)
    assert is_back(world, before, since)
    assert world.reach(HOST, "host", [(names.OTHER, 443, 4), ("api.bitwarden.com", 443, 4)]) == ["closed", "open"]
