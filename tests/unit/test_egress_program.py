# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program that the server itself runs, and the module around the same code: what they say, and what they keep."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress import agent, detect
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.keeper import Outcome
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.memory import Memory
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import (
    NOT_FOUND,
    EgressError,
    Opening,
    Wanted,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.none import NoBackend
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.resolver import Answer, look_up, resolve
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.state import State
from ansible_collections.selfhosted.bitwarden.plugins.modules import egress_rules
from unit.egress_wall import RULES, Wall
from unit.module_runner import run_module

NAME, SILENT = "localhost", "no-such-host.invalid"


def nothing(argv: list[str], stdin: str = "") -> tuple[int, str, str]:
    return NOT_FOUND, "", f"{argv[0]} is not there"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    RULES.clear()
    monkeypatch.setattr(detect, "ORDER", (Wall, NoBackend))
    monkeypatch.setenv("BITWARDEN_EGRESS_DIRECTORY", str(tmp_path / "state"))
    return tmp_path / "state"


def record(folder: Path, *names: str, backend: str = "wall") -> None:
    """What the role has recorded before."""
    given: dict[str, Any] = {
        "backend": backend, "match": "addresses", "host": True, "containers": False, "setup": False, "sources": [],
        "ip_versions": [4], "lifetime": 86400, "endpoints": [{"name": name, "port": 443} for name in names],
    }  # fmt: skip
    wanted = agent.config.wanted_of(given)
    State(str(folder)).write("config.json", agent.config.to_json(wanted))


def do(*words: str) -> tuple[int, str, str]:
    return agent.main(list(words), nothing)


def test_without_a_record_nothing_is_opened(folder: Path) -> None:
    assert do("apply") == do("refresh") == (0, "Nothing is to be opened.", "")
    assert not folder.exists()
    State(str(folder)).write("other.json", {})
    assert do("apply") == (0, "Nothing is to be opened.", "")
    assert json.loads(do("status")[1]) == {
        "addresses": {}, "backend": None, "in_place": None, "pending": False, "undo_at": None,
    }  # fmt: skip


@pytest.mark.parametrize("words", [(), ("open",), ("apply", "now"), ("--due",)])
def test_what_it_does_not_know_is_answered_with_its_usage(folder: Path, words: tuple[str, ...]) -> None:
    assert do(*words) == (2, "", agent.USAGE)


def test_it_opens_tells_what_it_did_and_heals(folder: Path) -> None:
    record(folder, NAME)
    assert do("apply") == (0, "The openings in wall were brought up to date.", "")
    assert RULES == {"wall": ["127.0.0.1 443\n"]}
    assert do("apply")[1] == "The openings in wall were as they should be."
    status = json.loads(do("status")[1])
    assert (status["backend"], status["in_place"], status["rules"]) == ("wall", True, ["127.0.0.1 443"])
    assert list(status["addresses"]) == [NAME]
    RULES.clear()
    assert json.loads(do("status")[1])["in_place"] is False
    assert do("refresh")[1] == "The openings in wall were brought up to date."


def test_a_name_without_any_address_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = socket.getaddrinfo

    def known(name: Any, *given: Any, **options: Any) -> Any:
        if name == SILENT:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return really(name, *given, **options)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    record(folder, NAME, SILENT)
    assert do("refresh")[1].splitlines() == [
        "The openings in wall were brought up to date.",
        f"No address is known of {SILENT}: Name or service not known.",
    ]


def test_nothing_that_is_due_is_taken_back(folder: Path) -> None:
    assert do("undo", "--due")[:2] == (0, "Nothing is due to be taken back.")


def test_a_record_that_cannot_be_read_is_a_complaint_with_the_next_step(folder: Path) -> None:
    record(folder, NAME)
    (folder / "config.json").write_text("{", encoding="utf-8")
    status, said, complaint = do("apply")
    assert (status, said) == (1, "") and "cannot be read" in complaint and "Next step: " in complaint
    record(folder, NAME, backend="gone")
    assert "There is no backend 'gone'" in do("apply")[2]


# What is kept.


def test_what_cannot_be_written_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(str(tmp_path / "state"))
    state.write("a.json", {"b": 1})
    (tmp_path / "state" / "a.json.tmp").mkdir()
    with pytest.raises(EgressError, match=r"a\.json cannot be written: .*\. It is as it was"):
        state.write("a.json", {"b": 2})
    assert state.read("a.json") == {"b": 1} and state.read("other.json") is None
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(EgressError, match="cannot be made: Not a directory"):
        State(str(tmp_path / "file" / "below")).write("a.json", {})


def test_two_runs_wait_for_each_other_and_not_for_ever(tmp_path: Path) -> None:
    state = State(str(tmp_path / "state"))
    told = pytest.raises(EgressError, match=r"Another run has held the lock on .* for 0\.2 seconds")
    with state.locked(0.1), told, state.locked(0.2):
        pytest.fail("both have the lock")
    with state.locked(0):
        assert state.exists()


@pytest.mark.parametrize(
    ("kept", "seen"),
    [
        ({"a": {"192.0.2.1": 5, "x": 5, "::1": "5"}}, {"a": {"192.0.2.1": 5.0}}),
        ({"a": {"192.0.2.1": 5.5, "::1": 1}}, {"a": {"192.0.2.1": 5.5, "::1": 1.0}}),
        ([], {}),
        ({"a": []}, {}),
        (None, {}),
    ],
)
def test_a_memory_that_makes_no_sense_is_forgotten(kept: Any, seen: dict[str, dict[str, float]]) -> None:
    assert Memory.from_json(kept).seen == seen


def test_a_clock_that_was_put_back_keeps_no_address_for_ever() -> None:
    memory = Memory({"a": {"192.0.2.1": 9000.0, "192.0.2.3": 980.0}, "b": {"192.0.2.9": 1.0}, "c": {}})
    memory.update({("a", 4): Answer(True, ("192.0.2.2",))}, 1000.0, 20)
    assert memory.seen["a"] == {"192.0.2.1": 1000.0, "192.0.2.2": 1000.0, "192.0.2.3": 980.0}
    memory.update({("a", 4): Answer(True, ("192.0.2.2",))}, 1001.0, 20)
    assert memory.addresses("a") == ["192.0.2.1", "192.0.2.2"]
    memory.keep_only({"a", "c"})
    assert list(memory.seen) == ["a"]


def test_names_are_looked_up_as_the_server_does() -> None:
    assert look_up("localhost", 4) == ["127.0.0.1"]

    def fails(name: str, _version: int) -> list[str]:
        errors: dict[str, Exception] = {
            "none": socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "later": socket.gaierror(socket.EAI_AGAIN, "Temporary failure"),
            "odd": UnicodeError("label too long"),
            "down": OSError(101, "Network is unreachable"),
        }
        if name in errors:
            raise errors[name]
        return ["192.0.2.1", "0.0.0.0", "224.0.0.1", "fe80::1%x y", "::1"]

    found = resolve(["none", "later", "odd", "down", "good"], [4], lookup=fails)
    assert {name: answer.answered for (name, _version), answer in found.items()} == {
        "none": True, "later": False, "odd": False, "down": False, "good": True,
    }  # fmt: skip
    assert found["later", 4].said == "Temporary failure" and found["odd", 4].said == "label too long"
    assert [one for one in found["good", 4].addresses if "%" not in one] == ["192.0.2.1", "::1"]


def test_no_backend_changes_nothing() -> None:
    backend = NoBackend(nothing)
    opening = Opening("host", 4, "tcp", 443, "192.0.2.1")
    backend.apply([opening])
    backend.remove()
    assert backend.active() and backend.durable and backend.plan([opening]) == backend.current() == ""
    assert backend.refusals(Wanted("none", ())) == []


# The module.


class Module:
    """What the runner needs of AnsibleModule."""

    def __init__(self) -> None:
        self.called: list[tuple[list[str], dict[str, Any]]] = []

    def run_command(self, argv: list[str], **options: Any) -> tuple[int, str, str]:
        self.called.append((argv, options))
        return 3, "out", "err"


def test_programs_are_found_though_the_account_has_no_path_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    module = Module()
    run = egress_rules.runner_of(module)
    assert run(["sh", "-c", "x"], "given") == (3, "out", "err")
    ((argv, options),) = module.called
    assert os.path.isabs(argv[0]) and argv[1:] == ["-c", "x"]
    assert options["data"] == "given" and options["environ_update"] == {"LC_ALL": "C"}
    assert run(["no-such-program-here"]) == (NOT_FOUND, "", "no-such-program-here is not there")


def test_the_outcome_is_told_with_a_diff_and_an_undo_only_where_there_is_one() -> None:
    outcome = Outcome(changed=True, backend="wall", before="a", after="b", rules=["c"], addresses={}, unresolved=["d"])
    told = egress_rules.result_of(outcome)
    assert (told["changed"], told["backend"], told["rules"], told["unresolved"]) == (True, "wall", ["c"], ["d"])
    assert told["diff"] == {"before": "a", "after": "b"} and told["refused"] == [] and "undo_at" not in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"undo_after": 4}, "undo_after is 4 seconds"),
        ({"endpoints": []}, "endpoints is empty"),
        ({"host": False, "containers": False, "setup": False}, "no path to open"),
    ],
)
def test_the_module_refuses_with_the_next_step(arguments: dict[str, Any], words: str) -> None:
    given = {"endpoints": [{"name": "192.0.2.1", "port": 443}], "backend": "none", **arguments}
    result = run_module("egress_rules", given, check=True)
    assert result.failed and words in result["msg"] and result["next_step"] and result["refused"] == []


def test_the_module_predicts_without_a_trace() -> None:
    given = {"endpoints": [{"name": "192.0.2.1", "port": 443}], "backend": "none", "containers": False, "setup": False}
    result = run_module("egress_rules", given, check=True)
    assert not result.failed and result["backend"] == "none"
    assert result["rules"] == ["host IPv4 tcp 192.0.2.1 (192.0.2.1) 443"] and "undo_at" not in result.data
