"""Saving connections: read back and compared, one where there are two, taken back where the license is another's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import connections
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import SELF_HOSTED, connection
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.connections import Wish
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import Transport
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import BillingSync
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server
from unit import recordings
from unit.web import Answer, Asked, serve

ACME = "3583610f-bb6a-4bac-9521-b50a00eba9fa"
CLOUD = "a42827dc-679c-5946-b772-c1059c9a4ae6"
OTHER_CLOUD = "9b1d9a55-0000-4000-8000-000000000001"
LAST_SYNC = "2026-08-20T14:16:19.1234567+00:00"
DUPLICATE = recordings.answer(recordings.exchange("e", "put-two-rows"))
NOT_FOUND = Answer(404, {"object": "error", "message": "Resource not found.", "validationErrors": None})
LOGIN = recordings.answer(recordings.exchange("b", "cloud-token-user-api-key-first-time"))


class Rows:
    """The connections of one organization as the real server treats them, however many there are."""

    def __init__(self, *keys: str, last_sync: str | None = LAST_SYNC) -> None:
        self.license = CLOUD
        self.rows = [self.row(number, key, last_sync=last_sync) for number, key in enumerate(keys)]
        # What happens before a request is answered: another run at the same moment.
        self.meanwhile: Callable[[Asked], Answer | None] = lambda _asked: None

    def row(self, number: int, key: str, *, enabled: bool = True, last_sync: str | None = None) -> dict[str, Any]:
        config = {"BillingSyncKey": key, "CloudOrganizationId": self.license, "LastLicenseSync": last_sync}
        return {"id": f"c{number}", "type": 1, "organizationId": ACME, "enabled": enabled, "config": config}

    def __call__(self, asked: Asked) -> Answer:
        if asked.path == "/identity/connect/token":
            return LOGIN
        other = self.meanwhile(asked)
        if other is not None:
            return other
        one = asked.path.rsplit("/", 1)[1]
        body = json.loads(asked.body) if asked.body else {}
        if asked.method == "GET":
            return Answer(200, self.rows[0] if self.rows else {"id": None, "type": 0, "enabled": False, "config": None})
        if asked.method == "DELETE":
            found = [row for row in self.rows if row["id"] == one]
            self.rows = [row for row in self.rows if row["id"] != one]
            return Answer(200) if found else NOT_FOUND
        if (asked.method == "POST" and self.rows) or len(self.rows) > 1:
            return DUPLICATE
        given = body["config"]
        made = self.row(9, given["billingSyncKey"], enabled=body["enabled"], last_sync=given.get("lastLicenseSync"))
        self.rows = [{**made, "id": one if asked.method == "PUT" else "c9"}]
        return Answer(200, self.rows[0])

    def kept(self) -> list[tuple[str, bool, str | None]]:
        return [
            (row["config"]["BillingSyncKey"], row["enabled"], row["config"]["LastLicenseSync"]) for row in self.rows
        ]


@contextmanager
def served(rows: Rows) -> Iterator[tuple[Server, list[str]]]:
    key = {"client_id": "user.14feaff5-936a-4e05-b8de-b50a00eba283", "client_secret": "a-client-secret-of-thirty-char"}
    asked: list[str] = []

    def script(one: Asked) -> Answer:
        asked.append(f"{one.method} {one.path.rsplit('/', 1)[1]}")
        return rows(one)

    with serve(script) as web:
        target = connection(SELF_HOSTED, {"url": web.url, "retries": 0, **key})
        with Transport(target) as transport:
            yield Server(target, transport), asked


def save(rows: Rows, **wish: Any) -> tuple[BillingSync, int]:
    with served(rows) as (server, _asked):
        return connections.save(server, ACME, Wish(**{"key": "new-key", **wish}))


def test_a_first_connection_has_no_date_of_a_sync() -> None:
    rows = Rows()
    saved, removed = save(rows)
    assert (saved.key, saved.enabled, saved.cloud_organization_id, removed) == ("new-key", True, CLOUD, 0)
    assert rows.kept() == [("new-key", True, None)]


def test_replacing_a_connection_keeps_the_date_of_its_last_sync() -> None:
    rows = Rows("old-key")
    assert save(rows)[0].id == "c0"
    assert rows.kept() == [("new-key", True, LAST_SYNC)]


def test_disabling_keeps_the_key_and_the_date() -> None:
    rows = Rows("old-key")
    assert save(rows, key="old-key", enabled=False)[0].enabled is False
    assert rows.kept() == [("old-key", False, LAST_SYNC)]


def test_a_connection_that_another_run_made_meanwhile_is_replaced() -> None:
    rows = Rows()

    def meanwhile(asked: Asked) -> None:
        if asked.method == "POST":
            rows.rows = [rows.row(5, "of the other run", last_sync=LAST_SYNC)]

    rows.meanwhile = meanwhile
    with served(rows) as (server, asked):
        assert connections.save(server, ACME, Wish("new-key"))[1] == 0
    assert rows.kept() == [("new-key", True, LAST_SYNC)]
    assert asked.count("POST connections") == 1


@pytest.mark.parametrize("count", [2, 4])
def test_of_several_connections_one_remains_with_the_date_of_the_last_sync(count: int) -> None:
    rows = Rows(*(f"key-{number}" for number in range(count)), last_sync=None)
    rows.rows[0]["config"]["LastLicenseSync"] = LAST_SYNC
    saved, removed = save(rows)
    assert removed == count - 1
    assert rows.kept() == [("new-key", True, LAST_SYNC)]
    assert saved.last_license_sync == LAST_SYNC


def test_a_duplicate_that_another_run_removes_first_is_no_trouble() -> None:
    rows = Rows("key-0", "key-1")

    def meanwhile(asked: Asked) -> None:
        if asked.method == "DELETE":
            rows.rows = rows.rows[1:]

    rows.meanwhile = meanwhile
    save(rows)
    assert rows.kept() == [("new-key", True, LAST_SYNC)]


def test_an_end_where_the_server_never_stops_to_speak_of_another_connection() -> None:
    rows = Rows("key-0")
    refused = {"PUT": DUPLICATE, "POST": DUPLICATE, "DELETE": Answer(200)}
    rows.meanwhile = lambda asked: refused.get(asked.method)
    with served(rows) as (server, asked), pytest.raises(BitwardenError, match="two connections"):
        connections.save(server, ACME, Wish("new-key"))
    assert len([one for one in asked if one.startswith("DELETE")]) == connections.MOST_CONNECTIONS


def test_an_end_where_there_is_and_is_no_connection() -> None:
    rows = Rows()
    rows.meanwhile = lambda asked: DUPLICATE if asked.method == "POST" else None
    with served(rows) as (server, asked), pytest.raises(BitwardenError, match="two connections"):
        connections.save(server, ACME, Wish("new-key"))
    assert len([one for one in asked if one == "POST connections"]) == connections.MOST_CONNECTIONS + 1


def test_a_connection_that_reads_back_differently_is_an_error() -> None:
    rows = Rows("old-key")
    rows.meanwhile = lambda asked: Answer(200) if asked.method == "PUT" else None
    with pytest.raises(BitwardenError, match="holds another one") as caught:
        save(rows)
    assert "old-key" not in str(caught.value)
    assert "new-key" not in str(caught.value)


@pytest.mark.parametrize("kept", [{"key": "old-key"}, {"enabled": False}])
def test_what_is_read_back_is_compared_in_both_parts(kept: dict[str, Any]) -> None:
    rows = Rows("new-key")
    wish = {"key": "new-key", "enabled": True, **kept}
    rows.meanwhile = lambda asked: Answer(200) if asked.method == "PUT" else None
    with pytest.raises(BitwardenError, match="holds another one"):
        save(rows, **wish)


def test_a_server_that_echoes_the_key_does_not_get_it_into_the_message() -> None:
    rows = Rows()

    def meanwhile(asked: Asked) -> Answer | None:
        if asked.method != "POST":
            return None
        return Answer(400, {"message": f"Bad: {asked.body.decode()}", "object": "error"})

    rows.meanwhile = meanwhile
    with pytest.raises(BitwardenError) as caught:
        save(rows, key="a-billing-sync-token")
    assert "a-billing-sync-token" not in str(caught.value)


# Whose token it is.


@pytest.mark.parametrize("before", [(), ("old-key",)])
def test_the_token_of_another_organization_is_taken_back(before: tuple[str, ...]) -> None:
    rows = Rows(*before)
    kept = rows.kept()
    with pytest.raises(BitwardenError) as caught:
        save(rows, cloud_organization_id=OTHER_CLOUD)
    assert OTHER_CLOUD in str(caught.value) and CLOUD in str(caught.value)
    assert "again what it was before" in str(caught.value)
    assert rows.kept() == kept


def test_a_connection_of_the_organization_that_the_license_was_of_before_is_made_right() -> None:
    rows = Rows("new-key")
    rows.license = OTHER_CLOUD
    wish = Wish("new-key", cloud_organization_id=OTHER_CLOUD)
    with served(rows) as (server, _asked):
        assert not wish.met_by(server.billing_sync(ACME))
        saved, _removed = connections.save(server, ACME, wish)
    assert wish.met_by(saved)
    assert rows.kept() == [("new-key", True, LAST_SYNC)]


@pytest.mark.parametrize(
    ("wish", "met"),
    [
        (Wish("old-key"), True),
        (Wish("new-key"), False),
        (Wish("old-key", enabled=False), False),
        (Wish("old-key", cloud_organization_id=CLOUD), True),
        (Wish("old-key", cloud_organization_id=OTHER_CLOUD), False),
    ],
)
def test_when_nothing_is_to_be_done(wish: Wish, met: bool) -> None:
    with served(Rows("old-key")) as (server, _asked):
        assert wish.met_by(server.billing_sync(ACME)) is met
    assert "old-key" not in repr(wish)


# Removing.


@pytest.mark.parametrize("count", [0, 1, 3])
def test_all_connections_are_removed_and_counted(count: int) -> None:
    rows = Rows(*(f"key-{number}" for number in range(count)))
    with served(rows) as (server, _asked):
        assert connections.remove(server, ACME, server.billing_sync(ACME)) == count
    assert rows.kept() == []


def test_a_connection_that_always_comes_back_is_told() -> None:
    rows = Rows("key")
    rows.meanwhile = lambda asked: Answer(200) if asked.method == "DELETE" else None
    with served(rows) as (server, _asked), pytest.raises(BitwardenError, match="another run connects it"):
        connections.remove(server, ACME, server.billing_sync(ACME))


def test_a_refusal_to_remove_is_told() -> None:
    rows = Rows("key")
    rows.meanwhile = lambda asked: Answer(500) if asked.method == "DELETE" else None
    with served(rows) as (server, _asked), pytest.raises(BitwardenError, match="Removing the billing sync connection"):
        connections.remove(server, ACME, server.billing_sync(ACME))
    assert len(rows.rows) == 1
