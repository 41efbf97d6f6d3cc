# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests at the same moment: what the real servers let happen happens in the lab too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_tests.small_world import KEY, WRONG_PASSWORD, Reply, Side, SmallWorld


@pytest.fixture
def world(recordings: Path, tmp_path: Path, signing_keys: dict[str, str]) -> Iterator[SmallWorld]:
    small = SmallWorld(recordings, tmp_path, signing_keys)
    yield small
    small.close()


def at_once(world: SmallWorld, count: int, side: Side, path: str, body: dict[str, Any]) -> list[Reply]:
    async def all_of_them() -> list[Reply]:
        return await asyncio.gather(*(world.ask(side, "owner", "POST", path, body) for _unused in range(count)))

    return asyncio.run(all_of_them())


def api_key(world: SmallWorld) -> tuple[str, dict[str, Any]]:
    person = world.world.people["cloud"]["users"]["owner"]
    body = {"type": 1, "masterPasswordHash": person["masterPasswordHash"]}
    return f"/organizations/{world.acme('cloud')}/api-key", body


def listed(world: SmallWorld) -> int:
    path = f"/organizations/{world.acme('cloud')}/api-key-information/1"
    return len(world.call("cloud", "owner", "GET", path).body["data"])


def test_one_call_after_the_other_gets_the_same_key(world: SmallWorld) -> None:
    path, body = api_key(world)
    first, again = (world.call("cloud", "owner", "POST", path, body) for _unused in range(2))
    assert first.body == again.body
    assert listed(world) == 1


def test_two_first_calls_at_once_make_two_keys_and_then_nothing_works_any_more(world: SmallWorld) -> None:
    path, body = api_key(world)
    replies = at_once(world, 2, "cloud", path, body)
    assert [reply.status for reply in replies] == [200, 200]
    assert len({reply.body["apiKey"] for reply in replies}) == 2
    assert listed(world) == 2
    assert world.call("cloud", "owner", "POST", path, body).status == 500
    rotate = path.replace("api-key", "rotate-api-key")
    assert world.call("cloud", "owner", "POST", rotate, body).status == 500


def test_a_wrong_password_makes_the_key_all_the_same(world: SmallWorld) -> None:
    path, body = api_key(world)
    reply = world.call("cloud", "owner", "POST", path, {**body, "masterPasswordHash": WRONG_PASSWORD})
    assert reply.body["validationErrors"] == {"MasterPasswordHash": ["Invalid password."]}
    assert listed(world) == 1


def test_connections_at_once_are_several_and_none_can_be_changed_until_one_goes(world: SmallWorld) -> None:
    config = {"billingSyncKey": KEY}
    body = {"type": 1, "organizationId": world.acme(), "enabled": True, "config": config}
    replies = at_once(world, 2, "self_hosted", "/organizations/connections", body)
    assert [reply.status for reply in replies] == [200, 200]
    one, other = (f"/organizations/connections/{reply.body['id']}" for reply in replies)
    put = world.call("self_hosted", "owner", "PUT", one, body)
    assert put.message.startswith("The requested organization already has a connection of type CloudBillingSync.")
    assert world.call("self_hosted", "owner", "DELETE", other).status == 200
    assert world.call("self_hosted", "owner", "PUT", one, body).status == 200
