"""What egress_rules and the server's own program do with openings: over time, killed, undone, without DNS."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress import config, detect
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.agent import Agent
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.keeper import Keeper, Outcome
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.memory import Memory
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import (
    EgressError,
    Opening,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.resolver import Answer, resolve
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.state import State
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.undo import Undo
from ansible_collections.selfhosted.bitwarden.plugins.modules import egress_rules
from unit.egress_wall import RULES, Wall

NAME = "api.bitwarden.com"
DEFAULTS: dict[str, Any] = {
    "state": "present",
    "backend": "auto",
    "endpoints": [{"name": NAME, "port": 443}],
    "match": "addresses",
    "host": True,
    "containers": False,
    "setup": False,
    "sources": [],
    "ip_versions": [4],
    "lifetime": 86400,
    "undo_after": 0,
    "lock_timeout": 1,
}


class Server:
    """A server with systemd, whose DNS and clock are the test's."""

    def __init__(self, folder: Path) -> None:
        self.names: dict[str, list[str]] = {NAME: ["192.0.2.1"]}
        self.dns_needs: str | None = None
        self.networks: list[dict[str, Any]] = []
        self.started = self.fired = False
        self.timer, self.uptime, self.commands = False, 100.0, list[list[str]]()
        self.folder = folder / "state"
        (folder / "systemd").mkdir()
        (folder / "program").write_text("")
        (folder / "boot").write_text("one\n")
        self.state = State(str(self.folder))
        self.undo = Undo(
            self.run,
            self.state,
            program=str(folder / "program"),
            systemd=str(folder / "systemd"),
            boot_id=str(folder / "boot"),
            uptime=lambda: self.uptime,
        )
        self.keeper = Keeper(self.run, self.state, self.undo, self.lookup)
        self.agent = Agent(self.keeper)

    def run(self, argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        del stdin
        self.commands.append(argv)
        if argv[0] == "systemd-run" and "--version" not in argv:
            if self.fired:
                return 1, "", "Unit bitwarden-egress-undo.service was already loaded or has a fragment file."
            self.timer = True
        if argv[:2] == ["systemctl", "stop"] and argv[2].endswith(".service"):
            self.fired = False
        if argv[:2] == ["docker", "network"]:
            text = json.dumps(self.networks) if argv[2] == "inspect" else " ".join(one["Name"] for one in self.networks)
            return (0, text, "") if self.networks else (1, "", "no daemon")
        if argv[:2] == ["systemctl", "stop"] and argv[2].endswith(".timer"):
            self.timer = False
        return (0 if argv[:2] != ["systemctl", "is-active"] or self.timer else 3), "", ""

    def lookup(self, name: str, version: int) -> list[str]:
        if name not in self.names or (self.dns_needs and self.dns_needs not in "".join(RULES.get("wall", []))):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [one for one in self.names[name] if (":" in one) == (version == 6)]

    def do(self, check: bool = False, **params: Any) -> Outcome:
        return egress_rules.run({**DEFAULTS, **params}, check, self.keeper)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    RULES.clear()
    monkeypatch.setattr(detect, "ORDER", (Wall, *detect.ORDER[-1:]))
    return Server(tmp_path)


def shown() -> str:
    return "".join(RULES.get("wall", []))


def test_check_predicts_the_run_and_the_second_run_changes_nothing(server: Server) -> None:
    predicted = server.do(check=True)
    assert predicted.changed and not server.folder.exists() and shown() == ""
    done = server.do()
    assert (done.changed, done.before, done.after) == (True, predicted.before, predicted.after)
    assert shown() == "192.0.2.1 443\n"
    assert {oct(path.stat().st_mode & 0o777) for path in server.folder.iterdir()} == {"0o600"}
    assert oct(server.folder.stat().st_mode & 0o777) == "0o700"
    assert not server.do().changed and not server.do(check=True).changed
    assert server.do(state="absent", check=True).changed and shown()
    assert server.do(state="absent").changed
    assert shown() == "" and not server.folder.exists()
    assert not server.do(state="absent").changed and not server.folder.exists()


def test_a_change_that_nobody_confirms_is_taken_back(server: Server) -> None:
    server.do(endpoints=[{"name": "192.0.2.9", "port": 25}])
    outcome = server.do(undo_after=60)
    assert outcome.pending and outcome.undo_at and server.timer
    assert [one for one in server.commands if one[0] == "systemd-run"][-1][-2:] == ["undo", "--due"]
    assert "Nothing is due" in server.agent.undo(only_due=True)
    server.uptime += 60
    server.agent.undo(only_due=True)
    assert shown() == "192.0.2.9 25\n"
    with pytest.raises(EgressError, match="already taken back"):
        server.do(state="confirmed")
    assert server.do().changed, "and the next run can try again"


def test_the_time_to_confirm_begins_when_the_change_is_done(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def _slow(wall: Wall, openings: Sequence[Opening] = ()) -> None:
        server.uptime += 100
        server.fired, server.timer = True, False
        RULES[wall.name] = wall.plan(openings).splitlines(keepends=True)

    for name, params in (("apply", {}), ("remove", {"state": "absent"})):
        monkeypatch.setattr(Wall, name, _slow)
        assert server.do(undo_after=60, **params).pending
        server.uptime += 57
        assert "Nothing is due" in server.agent.undo(only_due=True)
        assert server.do(state="confirmed").changed


def test_a_timer_that_cannot_start_anew_leaves_the_way_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    run = server.run

    def _once(argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        again = argv[0] == "systemd-run" and "--version" not in argv and server.started
        server.started = server.started or (argv[0] == "systemd-run" and "--version" not in argv)
        return (1, "", "Unit exists.") if again else run(argv, stdin)

    monkeypatch.setattr(server.undo, "run", _once)
    with pytest.raises(EgressError, match=r"timer anew that would take the change back: Unit exists\."):
        server.do(undo_after=60)
    assert shown()
    server.timer = False
    server.agent.apply()
    assert shown() == ""


def test_a_confirmed_change_stays(server: Server) -> None:
    server.do(undo_after=60)
    assert server.do(state="confirmed", check=True).changed
    assert server.do(state="confirmed").changed and not server.timer
    server.uptime += 90
    server.agent.undo()
    assert shown() and not server.do(state="confirmed").changed


@pytest.mark.parametrize("what", ["another boot", "timer gone"])
def test_a_server_that_starts_anew_while_a_change_waits_goes_back(server: Server, what: str) -> None:
    server.do(undo_after=60)
    server.agent.apply()
    assert shown(), "a restart of a service alone takes nothing back"
    if what == "another boot":
        Path(server.undo.boot_id).write_text("two\n")
    else:
        server.timer = False
    server.agent.apply()
    assert shown() == "" and server.keeper.recorded() is None


def test_a_play_that_was_killed_before_it_recorded_its_change_is_undone(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _killed(name: str, content: Any) -> None:
        raise KeyboardInterrupt(name, content)

    keep = server.state.write
    monkeypatch.setattr(
        server.state, "write", lambda name, content: (keep if "prev" in name else _killed)(name, content)
    )
    with pytest.raises(KeyboardInterrupt):
        server.do(undo_after=60)
    monkeypatch.setattr(server.state, "write", keep)
    assert shown()
    server.uptime += 60
    server.agent.undo(only_due=True)
    assert shown() == ""


def test_absence_too_can_be_taken_back(server: Server) -> None:
    server.do()
    assert server.do(state="absent", undo_after=30).pending and shown() == ""
    server.uptime += 30
    server.agent.undo(only_due=True)
    assert shown() == "192.0.2.1 443\n" and not server.do().changed


def test_no_way_back_without_systemd_or_the_program(server: Server) -> None:
    os.unlink(server.undo.program)
    with pytest.raises(EgressError, match=r"is not there. Next step: use the role"):
        server.do(undo_after=30)
    os.rmdir(server.undo.systemd)
    with pytest.raises(EgressError, match="needs systemd"):
        server.do(undo_after=30)
    assert shown() == "" and not server.folder.exists()


def test_addresses_follow_dns_stay_while_it_is_silent_and_expire_only_after_an_answer(server: Server) -> None:
    server.do()
    server.names[NAME] = ["192.0.2.2"]
    server.agent.refresh()
    assert shown() == "192.0.2.1 443\n192.0.2.2 443\n"
    seen = server.state.read("addresses.json")
    server.state.write("addresses.json", {NAME: {**seen[NAME], "192.0.2.1": 1000.0}})
    del server.names[NAME]
    server.agent.refresh()
    assert shown() == "192.0.2.1 443\n192.0.2.2 443\n"
    RULES.clear()
    server.agent.apply()
    assert "192.0.2.2" in shown(), "the start of a server needs no DNS"
    server.names[NAME] = ["192.0.2.2"]
    server.agent.refresh()
    assert shown() == "192.0.2.2 443\n"


def test_where_dns_is_closed_its_servers_are_opened_first(server: Server) -> None:
    server.dns_needs = "192.0.2.53 53"
    with pytest.raises(EgressError, match="egress_dns"):
        server.do()
    dns = {"name": "192.0.2.53", "port": 53, "protocol": "udp"}
    outcome = server.do(endpoints=[*DEFAULTS["endpoints"], dns])
    assert outcome.unresolved == [] and "192.0.2.1 443" in shown()


def test_names_that_are_not_known_are_told_and_refusals_change_nothing(server: Server) -> None:
    outcome = server.do(endpoints=[*DEFAULTS["endpoints"], {"name": "no.example.com", "port": 1}])
    assert outcome.unresolved == ["no.example.com"] and "Next step" in " ".join(outcome.warnings)
    before = shown()
    with pytest.raises(EgressError, match="switch host on"):
        server.do(host=False, setup=True)
    with pytest.raises(EgressError, match=r"Nothing can be opened\. No address is known of no\.example\.com\.") as told:
        server.do(endpoints=[{"name": "no.example.com", "port": 1}])
    assert str(told.value).count("Next step: ") == 1
    report = server.do(backend="none")
    assert not report.changed and report.rules == [f"host IPv4 tcp {NAME} (192.0.2.1) 443"]
    assert shown() == before


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"endpoints": []}, "endpoints is empty"),
        ({"endpoints": [{"name": "https://a.example/x", "port": 443}]}, "host name alone"),
        ({"endpoints": [{"name": "*.example.com", "port": 443}]}, "use a proxy"),
        ({"endpoints": [{"name": "1.2.3", "port": 443}]}, "looks like an address"),
        ({"endpoints": [{"name": "fe80::1%eth0", "port": 443}]}, "neither"),
        ({"endpoints": [{"name": "a.example", "port": 70000}]}, "port 70000"),
        ({"host": False}, "no path to open"),
        ({"sources": ["172.30.1.1/24"]}, "docker network inspect"),
        ({"ip_versions": []}, "ip_versions is empty"),
        ({"lifetime": 1}, "lifetime is 1"),
        ({"undo_after": 2}, "nobody can confirm"),
    ],
)
def test_bad_input_is_refused_before_anything_changes(server: Server, params: dict[str, Any], words: str) -> None:
    with pytest.raises(EgressError) as raised:
        server.do(**params)
    assert words in str(raised.value) and raised.value.next_step
    assert shown() == "" and not server.folder.exists()


def test_what_ip_versions_leaves_out_has_no_effect_and_is_told() -> None:
    params = {**DEFAULTS, "containers": True, "ip_versions": [4, 6], "sources": ["172.30.1.0/24"]}
    wanted = config.wanted_of({**params, "endpoints": [{"name": "2001:db8::1", "port": 53, "paths": ["containers"]}]})
    assert config.openings_of(wanted, lambda _name: []) == []
    assert "no network of IPv6" in config.notes_of(wanted)[0]
    only = config.wanted_of({**params, "ip_versions": [4], "sources": ["172.30.1.0/24", "fd00::/64"]})
    assert {one.source for one in config.openings_of(only, lambda _n: ["192.0.2.1"])} == {None, "172.30.1.0/24"}
    assert "fd00::/64 has no effect" in config.notes_of(only)[0]
    assert config.from_json(config.to_json(wanted)) == wanted


def test_looking_up_takes_bounded_time_and_a_name_without_addresses_forgets_nothing() -> None:
    def _slow(name: str, version: int) -> list[str]:
        del version
        if name == "slow":
            time.sleep(60)
        return ["192.0.2.7", "0.0.0.0"]

    answers = resolve(["slow", "quick"], [4], timeout=2, lookup=_slow)
    assert answers[("quick", 4)] == Answer(True, ("192.0.2.7",))
    assert not answers[("slow", 4)].answered
    memory = Memory({"a": {"192.0.2.1": 0.0, "2001:db8::1": 0.0}})
    memory.update({("a", 4): Answer(True), ("a", 6): Answer(True)}, 1e6, 60)
    assert memory.addresses("a") == ["192.0.2.1", "2001:db8::1"]
    memory.update({("a", 4): Answer(True, ("192.0.2.2",)), ("a", 6): Answer(False)}, 1e6, 60)
    assert memory.addresses("a") == ["192.0.2.2", "2001:db8::1"]


def network(name: str, subnet: str, *containers: str, internal: bool = False) -> dict[str, Any]:
    inside = {one: {"Name": one} for one in containers}
    return {"Name": name, "Internal": internal, "IPAM": {"Config": [{"Subnet": subnet}]}, "Containers": inside}


def test_a_network_without_a_way_out_is_refused_where_it_is_named(server: Server) -> None:
    server.networks = [
        network("public", "172.30.1.0/24"), network("default", "172.30.2.0/24", internal=True),
        {"Name": "none", "IPAM": {"Config": None}}, network("six", "fd00::/64", internal=True),
    ]  # fmt: skip
    with pytest.raises(EgressError, match=r"172\.30\.2\.128/25 in sources is default of Docker, which is internal"):
        server.do(containers=True, sources=["172.30.1.0/24", "172.30.2.128/25"])
    assert shown() == "" and not server.folder.exists()
    assert server.do(containers=True, sources=["172.30.1.0/24", "172.30.0.0/16"]).warnings == []
    told = server.do(containers=True, sources=["172.30.2.0/24"], backend="none").warnings
    assert "give that network in sources" in told[0]


def test_a_container_that_only_has_networks_without_a_way_out_is_told(server: Server) -> None:
    closed = network("default", "172.30.2.0/24", "bitwarden-mssql", "bitwarden-api", "bitwarden-admin", internal=True)
    server.networks = [closed, network("public", "172.30.1.0/24", "bitwarden-admin")]
    for backend in ("auto", "none"):
        told = [one for one in server.do(containers=True, backend=backend).warnings if "bitwarden-" in one]
        assert [one.partition(":")[0] for one in told] == [
            "The container bitwarden-api is in internal networks only (default)"
        ]
    server.networks = []
    assert server.do(containers=True).warnings == []


def test_a_second_firewall_that_closes_too_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    walls = [type(name, (Wall,), {"name": name}) for name in ("nftables", "iptables")]
    monkeypatch.setattr(detect, "ORDER", (*walls, *detect.ORDER[-1:]))
    (told,) = server.do().warnings
    assert told.startswith(
        "iptables closes this server too, and nothing is opened there, since the backend is nftables."
    )
    monkeypatch.setattr(walls[1], "active", lambda _self: False)
    assert server.do().warnings == []
