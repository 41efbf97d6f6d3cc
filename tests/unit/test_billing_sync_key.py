"""The token of an organization at the cloud: never two, never rotated twice, never lost with an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import CLOUD, connection
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.billing_sync_key import BillingSyncKey
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import Transport
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.identity import Proof
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server
from unit import recordings
from unit.web import Answer, Asked, serve

ACME = "a42827dc-679c-5946-b772-c1059c9a4ae6"
LOGIN = recordings.answer(recordings.exchange("b", "cloud-token-user-api-key-first-time"))
WRONG = recordings.answer(recordings.exchange("k", "cloud-api-key-otp-again-nopass"))
BROKEN = Answer(500, {"message": "An unhandled server error has occurred.", "object": "error"})
PASSWORD = Proof({"masterPasswordHash": "the right hash"})
CERTAIN = Proof({"masterPasswordHash": "the right hash"}, certain=True)
CODE = Proof({"otp": "95628033"})


class Cloud:
    """The rows of one organization's token, and what may happen to an answer about them."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.codes = {"95628033"}
        self.instead: Callable[[str], Answer | None] = lambda _call: None
        self.afterwards: Callable[[str], Answer | None] = lambda _call: None

    def __call__(self, asked: Asked) -> Answer:
        call = f"{asked.method} {asked.path.rsplit('/', 1)[1]}"
        answer = self.instead(call) or self.answer(call, json.loads(asked.body) if asked.body[:1] == b"{" else {})
        return self.afterwards(call) or answer

    def answer(self, call: str, body: dict[str, Any]) -> Answer:
        if call == "POST token":
            return LOGIN
        if call == "GET 1":
            data = [{"keyType": 1, "revisionDate": f"date of {one}"} for one in self.tokens]
            return Answer(200, {"data": data, "object": "list"})
        right = body.get("masterPasswordHash") == "the right hash" or body.get("otp") in self.codes
        self.codes.discard(str(body.get("otp")))
        if call == "POST verify-password":
            return Answer(200, {}) if right else WRONG
        if len(self.tokens) > 1:
            return BROKEN
        assert body["type"] == 1
        self.tokens = self.tokens or ["first"]
        if not right:
            return WRONG
        if call == "POST rotate-api-key":
            self.tokens = [f"{self.tokens[0]}-rotated"]
        return Answer(200, {"apiKey": self.tokens[0], "revisionDate": f"date of {self.tokens[0]}", "object": "apiKey"})


class Work:
    """One task with its key, the calls that it made and how its lock was held during each."""

    def __init__(self, key: BillingSyncKey, calls: list[tuple[str, bool]]) -> None:
        self.key = key
        self._calls = calls

    @property
    def calls(self) -> list[str]:
        return [call for call, _locked in self._calls if call != "POST token"]

    @property
    def locked(self) -> list[bool]:
        return [locked for call, locked in self._calls if call != "POST token"]


@contextmanager
def work(cloud: Cloud) -> Iterator[Work]:
    calls: list[tuple[str, bool]] = []
    held = False

    @contextmanager
    def lock() -> Iterator[None]:
        nonlocal held
        held = True
        yield
        held = False

    def script(asked: Asked) -> Answer:
        calls.append((f"{asked.method} {asked.path.rsplit('/', 1)[1]}", held))
        return cloud(asked)

    given = {
        "client_id": "user.14feaff5-936a-4e05-b8de-b50a00eba283",
        "client_secret": "a-client-secret-of-thirty-char",
    }
    with serve(script) as web:
        target = connection(CLOUD, {"url": web.url, "retries": 0, "timeout": 2, **given})
        with Transport(target) as transport:
            transport.wait_for_turn = lambda: None  # type: ignore[method-assign]  # no cloud counts these logins
            yield Work(BillingSyncKey(Server(target, transport), ACME, lock), calls)


HOW = {"check_mode": False, "confirm": True}


def test_the_first_token_is_made_under_the_lock_and_looked_at_again() -> None:
    with work(Cloud()) as one:
        outcome = one.key.get(CERTAIN, **HOW)
    assert (outcome.changed, outcome.rotated, outcome.token) == (True, False, "first")
    assert outcome.revision_date == "date of first"
    assert one.calls == ["GET 1", "POST api-key", "GET 1"]
    assert one.locked == [True, True, True]
    assert "first" not in repr(outcome).replace("date of first", "")


def test_without_confirmation_a_first_token_costs_two_calls() -> None:
    with work(Cloud()) as one:
        assert one.key.get(CERTAIN, check_mode=False, confirm=False).token == "first"
    assert one.calls == ["GET 1", "POST api-key"]


def test_a_token_that_exists_is_read_by_many_at_once() -> None:
    with work(Cloud("old")) as one:
        outcome = one.key.get(PASSWORD, **HOW)
    assert (outcome.changed, outcome.token) == (False, "old")
    assert one.calls == ["GET 1", "POST api-key"]
    assert one.locked == [True, False]


def test_a_password_that_is_not_certain_is_proven_before_the_cloud_makes_a_token_for_it() -> None:
    cloud = Cloud()
    with work(cloud) as one, pytest.raises(BitwardenError, match="Invalid password"):
        one.key.get(Proof({"masterPasswordHash": "a wrong hash"}), **HOW)
    assert one.calls == ["GET 1", "POST verify-password"]
    assert cloud.tokens == []


@pytest.mark.parametrize("rotate", [False, True])
def test_check_mode_proves_a_password_and_makes_nothing(rotate: bool) -> None:
    cloud = Cloud("old") if rotate else Cloud()
    with work(cloud) as one:
        do = one.key.rotate if rotate else one.key.get
        outcome = do(PASSWORD, check_mode=True, confirm=True)
        assert (outcome.changed, outcome.rotated, outcome.token) == (True, rotate, None)
        assert one.calls == ["GET 1", "POST verify-password"]
        with pytest.raises(BitwardenError, match="Invalid password"):
            do(Proof({"masterPasswordHash": "a wrong hash"}), check_mode=True, confirm=True)
    assert cloud.tokens == (["old"] if rotate else [])


def test_check_mode_does_not_use_up_a_code() -> None:
    cloud = Cloud()
    with work(cloud) as one:
        assert one.key.get(CODE, check_mode=True, confirm=True).changed
    assert (one.calls, cloud.codes, cloud.tokens) == (["GET 1"], {"95628033"}, [])


def test_a_code_fetches_once() -> None:
    with work(Cloud("old")) as one:
        assert one.key.get(CODE, **HOW).token == "old"
        with pytest.raises(BitwardenError, match="one-time code"):
            one.key.get(CODE, **HOW)


# The damage of two first calls.


@pytest.mark.parametrize("action", ["get", "rotate"])
def test_several_tokens_are_told_before_anything_is_asked_for(action: str) -> None:
    with work(Cloud("one", "two")) as one, pytest.raises(BitwardenError) as caught:
        getattr(one.key, action)(CERTAIN, **HOW)
    text = str(caught.value)
    assert "2 billing sync tokens" in text
    assert "500" in text and "for ever" in text
    assert "support can delete" in text
    assert "never rotate" in text
    assert one.calls == ["GET 1"]


def test_a_second_token_that_another_controller_made_at_the_same_moment_is_told() -> None:
    cloud = Cloud()
    cloud.afterwards = lambda call: cloud.tokens.append("of the other") if call == "POST api-key" else None
    with work(cloud) as one, pytest.raises(BitwardenError, match="2 billing sync tokens"):
        one.key.get(CERTAIN, **HOW)


def test_a_cloud_that_cannot_give_the_token_is_asked_whether_there_are_several() -> None:
    cloud = Cloud("one")
    cloud.instead = lambda call: cloud.tokens.append("two") if call == "POST api-key" else None
    with work(cloud) as one, pytest.raises(BitwardenError, match="2 billing sync tokens"):
        one.key.get(CERTAIN, **HOW)


def test_a_cloud_in_trouble_is_not_taken_for_that_damage() -> None:
    cloud = Cloud("one")
    cloud.instead = lambda call: BROKEN if call == "POST api-key" else None
    with work(cloud) as one, pytest.raises(BitwardenError, match="unhandled server error") as caught:
        one.key.get(CERTAIN, **HOW)
    assert "2 billing sync tokens" not in str(caught.value)
    assert one.calls == ["GET 1", "POST api-key", "GET 1"]


@pytest.mark.parametrize("data", [None, {}, "x", ["x"], [None]])
def test_an_answer_that_is_no_list_is_not_taken_for_no_token(data: Any) -> None:
    cloud = Cloud("old")
    cloud.instead = lambda call: Answer(200, {"data": data}) if call == "GET 1" else None
    with work(cloud) as one, pytest.raises(BitwardenError, match="without a list"):
        one.key.get(CERTAIN, **HOW)
    assert one.calls == ["GET 1"]


@pytest.mark.parametrize("body", [{"apiKey": None}, {"apiKey": ""}, {"apiKey": 5}, {}])
def test_an_answer_without_a_token_is_an_error(body: Any) -> None:
    cloud = Cloud("old")
    cloud.instead = lambda call: Answer(200, body) if call == "POST api-key" else None
    with work(cloud) as one, pytest.raises(BitwardenError, match="without a token"):
        one.key.get(CERTAIN, **HOW)


# Rotating.


def test_rotating_makes_another_token_in_one_call() -> None:
    cloud = Cloud("old")
    with work(cloud) as one:
        outcome = one.key.rotate(CERTAIN, **HOW)
    assert (outcome.changed, outcome.rotated, outcome.token) == (True, True, "old-rotated")
    assert one.calls == ["GET 1", "POST rotate-api-key"]
    assert one.locked == [True, True]


def test_where_there_is_no_token_the_first_one_is_made_and_nothing_rotated() -> None:
    with work(Cloud()) as one:
        outcome = one.key.rotate(CERTAIN, **HOW)
    assert (outcome.changed, outcome.rotated, outcome.token) == (True, False, "first")
    assert "POST rotate-api-key" not in one.calls


def test_a_wrong_password_rotates_nothing() -> None:
    cloud = Cloud("old")
    with work(cloud) as one, pytest.raises(BitwardenError, match="Invalid password"):
        one.key.rotate(Proof({"masterPasswordHash": "a wrong hash"}), **HOW)
    assert cloud.tokens == ["old"]


def test_a_wrong_code_rotates_nothing_and_is_told() -> None:
    cloud = Cloud("old")
    with work(cloud) as one, pytest.raises(BitwardenError, match="one-time code"):
        one.key.rotate(Proof({"otp": "00000000"}), **HOW)
    assert cloud.tokens == ["old"]
    assert one.calls == ["GET 1", "POST rotate-api-key"]


LOST = [Answer(200, "{}", cut=50), Answer(502, "bad gateway"), Answer(504), Answer(200, "<html>")]


@pytest.mark.parametrize("lost", LOST)
def test_a_rotation_whose_answer_was_lost_is_found_and_not_made_again(lost: Answer) -> None:
    cloud = Cloud("old")
    cloud.afterwards = lambda call: lost if call == "POST rotate-api-key" else None
    with work(cloud) as one:
        outcome = one.key.rotate(CERTAIN, **HOW)
    assert (outcome.rotated, outcome.token) == (True, "old-rotated")
    assert one.calls == ["GET 1", "POST rotate-api-key", "GET 1", "POST api-key"]


@pytest.mark.parametrize("lost", LOST)
def test_a_rotation_that_did_not_happen_is_an_error_and_not_made_again(lost: Answer) -> None:
    cloud = Cloud("old")
    cloud.instead = lambda call: lost if call == "POST rotate-api-key" else None
    with work(cloud) as one, pytest.raises(BitwardenError):
        one.key.rotate(CERTAIN, **HOW)
    assert cloud.tokens == ["old"]
    assert one.calls == ["GET 1", "POST rotate-api-key", "GET 1"]


def test_a_rotation_by_code_whose_answer_was_lost_says_how_to_get_the_token() -> None:
    cloud = Cloud("old")
    cloud.afterwards = lambda call: Answer(502) if call == "POST rotate-api-key" else None
    with work(cloud) as one, pytest.raises(BitwardenError) as caught:
        one.key.rotate(CODE, **HOW)
    assert "rotated all the same" in str(caught.value)
    assert "request_otp" in str(caught.value)
    assert "without rotate" in str(caught.value)
