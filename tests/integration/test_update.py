"""update.yml against the lab: predicted, done with a backup and the license step, and not done again."""

from __future__ import annotations

import json
import re
import sqlite3
import ssl
import stat
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from labkit import ROOT, Lab, Play, started

NEW = "2026.8.0"


def run(lab: Lab, playbook: str, *options: str) -> Play:
    return Play(lab.run("ansible-playbook", str(ROOT / "playbooks" / f"{playbook}.yml"), *options))


def version(lab: Lab, host: str) -> Any:
    """What the server says of itself to anybody."""
    context = ssl.create_default_context(cafile=lab.addresses["ca"])
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(f"{lab.addresses['servers'][host]['url']}/api/config") as answer:
        return json.load(answer)["version"]


def archives(lab: Lab, host: str) -> list[Path]:
    return sorted((lab.bwdata(host).parent / "bwdata-backups").glob("*"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One server that is connected, and whose license was synced long ago; the tests run in order on it."""
    with started(tmp_path_factory.mktemp("update"), "--servers", "1", "--regions", "US") as lab:
        lab.site()
        with closing(sqlite3.connect(lab.directory / "state" / "server-us1.sqlite", timeout=10)) as database:
            database.execute(
                "UPDATE OrganizationConnection"
                " SET Config = json_set(Config, '$.LastLicenseSync', '2020-01-01T00:00:00Z')"
            )
            database.commit()
        lab.call("release", NEW)
        yield lab


def test_an_update_with_a_backup_and_the_license_after_it(lab: Lab) -> None:
    before = lab.state()["servers"]["us1"]
    known = set(lab.secrets())
    play = run(lab, "update", "-vvvv", "--diff")
    assert play.status == 0, play.output
    assert play.recap["us1"]["changed"] == 3
    assert version(lab, "us1") == NEW
    after = lab.state()["servers"]["us1"]
    assert (after["stack"], after["restarts"]) == ("up", before["restarts"] + 1)
    connection, old = (server["organizations"][0]["connection"] for server in (after, before))
    assert connection["key_is_current"] and connection["last_license_sync"] > old["last_license_sync"]
    # No secret in anything that was printed or that the archives are called.
    archive, checksum = archives(lab, "us1")
    assert re.fullmatch(r"bitwarden-\d{8}T\d{6}Z-2026\.7\.2\.tar\.gz", archive.name)
    assert checksum.name == f"{archive.name}.sha256"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (archive, checksum)} == {0o600}
    shown = play.output + archive.name + checksum.read_text()
    assert not [secret for secret in known | set(lab.secrets()) if secret in shown]


def test_the_second_run_changes_nothing_and_makes_no_backup(lab: Lab) -> None:
    before, kept = lab.state()["servers"], archives(lab, "us1")
    play = run(lab, "update")
    assert play.status == 0 and play.recap["us1"]["changed"] == 0
    assert lab.state()["servers"] == before
    assert archives(lab, "us1") == kept
