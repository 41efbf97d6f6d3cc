"""backup.yml and restore.yml against the lab: what was lost comes back, what came later is gone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from integration.test_update import archives, run
from labkit import Lab, started


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One server that is connected; the tests run in order on it."""
    with started(tmp_path_factory.mktemp("restore"), "--servers", "1", "--regions", "US") as lab:
        lab.site()
        yield lab


def rows(lab: Lab) -> dict[str, list[tuple[Any, ...]]]:
    """The tables that the restore has to bring back; the server writes its own log and grants all the time."""
    with closing(sqlite3.connect(lab.directory / "state" / "server-us1.sqlite", timeout=10)) as database:
        names = ("Organization", "OrganizationConnection", "OrganizationSponsorship", "User")
        present = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return {
            name: database.execute(f'SELECT * FROM "{name}" ORDER BY Id').fetchall()  # noqa: S608 - the list above
            for name in names
            if name in present
        }


def test_what_was_lost_comes_back_and_no_secret_is_shown(lab: Lab) -> None:
    before, files = rows(lab), lab.env_file("us1").read_bytes()
    known = set(lab.secrets())
    saved = run(lab, "backup", "-vvvv", "--diff")
    assert saved.status == 0 and saved.recap["us1"]["changed"] == 1
    archive = archives(lab, "us1")[0]
    with closing(sqlite3.connect(lab.directory / "state" / "server-us1.sqlite", timeout=10)) as database:
        database.execute("UPDATE Organization SET Name = 'Changed later'")
        database.execute("DELETE FROM OrganizationConnection")
        database.commit()
    lab.env_file("us1").unlink()
    restored = run(lab, "restore", "--limit", "us1", "-e", f"restore_archive={archive}", "-vvvv", "--diff")
    assert restored.status == 0, restored.output
    assert rows(lab) == before and before["OrganizationConnection"]
    assert lab.env_file("us1").read_bytes() == files
    state = lab.state()["servers"]["us1"]
    assert state["stack"] == "up" and state["organizations"][0]["connection"]["key_is_current"]
    secrets = known | set(lab.secrets())
    assert len(secrets) >= 10
    assert not [secret for secret in secrets if secret in saved.output + restored.output + archive.name]
    assert lab.site().changed() == {}


def test_a_restore_needs_an_archive(lab: Lab) -> None:
    play = run(lab, "restore", "--limit", "us1")
    assert play.status != 0 and "restore_archive=PATH" in play.output
    assert lab.state()["servers"]["us1"]["stack"] == "up"
