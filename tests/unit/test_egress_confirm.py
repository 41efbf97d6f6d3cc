# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of egress_rules; with real connections it is asked in tests/docker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.selfhosted.bitwarden.plugins.action import egress_rules

PENDING = {"changed": True, "pending": True, "undo_at": 5.0, "rules": ["one"]}


class Server:
    """Answers each call as the list says; what it was asked, and how often the connection was made anew."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked, self.resets = list(answers), list[Any](), 0

    def reset(self) -> None:
        self.resets += 1

    def execute(self, module_args: Any = None, task_vars: Any = None) -> dict[str, Any]:
        self.asked.append(module_args)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


def do(server: Server, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> dict[str, Any]:
    now = [0.0]
    monkeypatch.setattr(egress_rules.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(egress_rules.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(egress_rules.ActionBase, "run", lambda *_given: {})
    action = egress_rules.ActionModule.__new__(egress_rules.ActionModule)
    action._task, action._connection = SimpleNamespace(args=arguments), SimpleNamespace(reset=server.reset)
    action._execute_module = server.execute
    return dict(action.run(None, {"inventory_hostname": "bw1"}))


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({"undo_after": 60}, PENDING),
        ({"undo_after": 60, "confirm": "no"}, PENDING),
        ({"undo_after": 0, "confirm": True}, {"changed": True, "pending": False}),
        ({"undo_after": 60, "confirm": True}, {"changed": False, "failed": True, "msg": "Refused."}),
    ],
)
def test_nothing_is_confirmed_that_was_not_asked_for_or_does_not_wait(
    arguments: dict[str, Any], answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(answer)
    assert do(server, monkeypatch, **arguments) == answer
    assert (server.asked, server.resets) == ([None], 0)


def test_a_change_is_confirmed_over_a_connection_that_was_made_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = AnsibleConnectionFailure("no route")
    server = Server(PENDING, cut, cut, {"changed": True, "pending": False})
    result = do(server, monkeypatch, undo_after="60", confirm="true")
    assert result == {"changed": True, "pending": False, "rules": ["one"]}
    assert server.asked == [None] + [{"state": "confirmed"}] * 3
    assert server.resets == 3


def test_a_server_that_stays_away_is_left_to_itself_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(PENDING, AnsibleConnectionFailure("no route"))
    result = do(server, monkeypatch, undo_after=20, confirm=True)
    assert result["failed"] and result["changed"] and result["pending"]
    assert result["msg"].startswith("bw1 cannot be reached any more since the change of its firewall.")
    assert "within 20 seconds" in result["msg"] and "Next step: " in result["msg"]
    assert len(server.asked) == 12, "it asks until ten seconds before the end"


def test_a_change_that_was_taken_back_meanwhile_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(PENDING, {"failed": True, "changed": False, "msg": "The change was already taken back."})
    result = do(server, monkeypatch, undo_after=20, confirm=True)
    assert (result["failed"], result["msg"]) == (True, "The change was already taken back.")
