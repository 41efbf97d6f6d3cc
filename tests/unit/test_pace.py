"""Logins of many tasks, spread under the cloud's limits."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import pace
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.pace import wait_for_turn

IDENTITY = "https://identity.bitwarden.com"


class Clock:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def logins(folder: Path, count: int, patience: float = 3600, identity: str = IDENTITY) -> list[float]:
    """When each of so many logins went out, from the first one on."""
    clock = Clock()
    start = clock.now
    found = []
    for _number in range(count):
        wait_for_turn(str(folder), identity, patience, sleep=clock.sleep, clock=clock)
        found.append(clock.now - start)
    return found


def test_thirty_five_logins_stay_under_both_limits(tmp_path: Path) -> None:
    moments = logins(tmp_path, 35)
    for start in moments:
        assert len([one for one in moments if start <= one < start + 60]) <= 10
        assert len([one for one in moments if start <= one < start + 1]) <= 5
    assert moments[9] < 5
    assert 183 <= moments[34] < 190


def test_each_identity_service_has_limits_of_its_own(tmp_path: Path) -> None:
    logins(tmp_path, 10)
    assert logins(tmp_path, 1, identity="https://identity.bitwarden.eu") == [0]
    assert len(list(tmp_path.iterdir())) == 2


def test_patience_is_bounded_and_the_cloud_decides_then(tmp_path: Path) -> None:
    clock = Clock()
    for _number in range(10):
        wait_for_turn(str(tmp_path), IDENTITY, 100, sleep=clock.sleep, clock=clock)
    before = clock.now
    assert wait_for_turn(str(tmp_path), IDENTITY, 7, sleep=clock.sleep, clock=clock) == pytest.approx(7)
    assert clock.now - before == pytest.approx(7)
    assert wait_for_turn(str(tmp_path), IDENTITY, 0, sleep=clock.sleep, clock=clock) == 0


def test_twenty_tasks_at_once_each_take_a_turn_of_their_own(tmp_path: Path) -> None:
    clock = Clock()
    with ThreadPoolExecutor(20) as pool:
        list(
            pool.map(
                lambda _number: wait_for_turn(str(tmp_path), IDENTITY, 0, sleep=clock.sleep, clock=clock), range(20)
            )
        )
    (kept,) = tmp_path.iterdir()
    assert len(json.loads(kept.read_text())) == 10
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "{", "null", '["x"]', "[[]]", "5", "[1e400]"])
def test_what_is_no_list_of_times_is_forgotten(tmp_path: Path, content: str) -> None:
    logins(tmp_path, 1)
    (kept,) = tmp_path.iterdir()
    kept.write_text(content)
    assert logins(tmp_path, 1) == [0]


def test_a_clock_that_was_set_back_keeps_nobody_waiting(tmp_path: Path) -> None:
    logins(tmp_path, 1)
    (kept,) = tmp_path.iterdir()
    kept.write_text(json.dumps([9_000_000.0] * 10))
    assert logins(tmp_path, 1) == [0]


def test_where_nothing_can_be_kept_logins_go_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert logins(tmp_path / "file" / "below", 15) == [0] * 15


def test_what_is_kept_lies_where_the_locks_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_HOME", "/home")
    assert pace.state_directory(None) == "/home/selfhosted.bitwarden"
    assert pace.state_directory("/locks") == "/locks"


def test_a_login_is_noted_once_and_when_it_happens_however_short_it_waits(tmp_path: Path) -> None:
    clock = Clock()
    moments = []
    for _number in range(9):
        wait_for_turn(str(tmp_path), IDENTITY, 100, sleep=clock.sleep, clock=clock)
        moments.append(clock.now)
        clock.sleep(0.2)
    (kept,) = tmp_path.iterdir()
    assert json.loads(kept.read_text()) == pytest.approx(moments)
    assert len(set(moments)) == 9
