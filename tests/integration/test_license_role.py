"""The role billing_sync with its license step, and with a sync that fails for a reason that only the log knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bwlab.store import Store
from labkit import Lab, Play, started


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with started(tmp_path_factory.mktemp("lab"), "--servers", "1", "--regions", "US") as running:
        running.site()
        yield running


@pytest.fixture(autouse=True)
def _calm(lab: Lab) -> Iterator[None]:
    lab.call("forget")
    yield
    lab.clear()


def organization(lab: Lab) -> dict[str, Any]:
    (found,) = lab.state()["servers"]["us1"]["organizations"]
    assert isinstance(found, dict)
    return found


def license_path(lab: Lab) -> Path:
    return lab.bwdata("us1") / "core" / "licenses" / "organization" / f"{organization(lab)['id']}.json"


def disconnected(lab: Lab) -> None:
    """As on a server whose organization was never connected."""
    store = Store(lab.directory / "state" / "server-us1.sqlite")
    store.clear("OrganizationConnection")
    store.close()


def refused(lab: Lab, *options: str) -> str:
    play: Play = lab.site(*options, ok=False)
    assert play.status
    secrets = [secret for secret in lab.secrets() if secret in play.output]
    assert secrets == []
    return " ".join(play.output.split())


def test_a_server_without_a_readable_license_gets_one_before_it_is_connected(lab: Lab) -> None:
    disconnected(lab)
    good = license_path(lab).read_text()
    camel = {name[0].lower() + name[1:]: value for name, value in json.loads(good).items()}
    license_path(lab).write_text(json.dumps(camel))
    assert "Version 0 is not supported" in refused(lab, "-e", "billing_sync_license_upload=false")
    predicted = lab.site("--check")
    assert "Upload the license" in predicted.changed()["us1"]
    done = lab.site()
    assert done.changed()["us1"] == ["Upload the license", "Apply the billing sync token", "Sync the license"]
    assert organization(lab)["connection"]["last_license_sync"]
    assert lab.site().changed() == {}


@pytest.mark.long
def test_a_connected_server_that_needs_nothing_is_asked_nothing_more(lab: Lab) -> None:
    before = lab.last()
    assert lab.site().changed() == {}
    assert not [entry for entry in lab.log(before) if entry["path"].endswith("/subscription")]


@pytest.mark.long
def test_the_installation_id_may_be_given_where_nothing_is_read_on_the_server(lab: Lab) -> None:
    disconnected(lab)
    license_path(lab).unlink()
    nothing = ("-e", "billing_sync_directory=")
    assert "installation_id is missing" in refused(lab, *nothing)
    settings = dict(line.split("=", 1) for line in lab.env_file("us1").read_text().splitlines() if "=" in line)
    given = settings["globalSettings__installation__id"]
    done = lab.site(*nothing, "-e", f"billing_sync_installation_id={given}")
    assert "Upload the license" in done.changed()["us1"]


def test_a_file_that_a_person_has_is_taken_first(lab: Lab, tmp_path: Path) -> None:
    disconnected(lab)
    src = tmp_path / "license.json"
    src.write_bytes(license_path(lab).read_bytes())
    license_path(lab).unlink()
    shown = json.loads(lab.run("ansible-inventory", "--host", "us1").stdout)["bitwarden_organizations"]
    shown[0]["license"] = str(src)
    variables = tmp_path / "file.json"
    variables.write_text(json.dumps({"bitwarden_organizations": shown}))
    before = lab.last()
    done = lab.site("-e", f"@{variables}")
    assert "Upload the license" in done.changed()["us1"]
    paths = [entry["path"] for entry in lab.log(before) if entry["persona"] == "cloud:US"]
    assert not [path for path in paths if path.startswith("/organizations/") and "/license" in path]
    assert lab.site("-e", f"@{variables}").changed() == {}


def test_an_organization_is_made_where_that_is_asked_for(lab: Lab) -> None:
    disconnected(lab)
    gone = organization(lab)["id"]
    store = Store(lab.directory / "state" / "server-us1.sqlite")
    for table, column in (("OrganizationUser", "OrganizationId"), ("Organization", "Id")):
        for row in store.rows(table, **{column: gone}):
            store.delete(table, row["Id"])
    store.close()
    assert "sees no organization" in refused(lab)
    create = ("-e", "billing_sync_license_create=true")
    predicted = lab.site(*create, "--check")
    assert "Upload the license" in predicted.changed()["us1"]
    assert lab.state()["servers"]["us1"]["organizations"] == []
    done = lab.site(*create)
    assert done.changed()["us1"] == ["Upload the license", "Apply the billing sync token", "Sync the license"]
    assert organization(lab)["id"] != gone
    assert lab.site(*create).changed() == {}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("cloud_unreachable", "The cause: "),
        pytest.param("tls_unknown_ca", "The cause: ", marks=pytest.mark.long),
        pytest.param("connection_reset", "The cause: ", marks=pytest.mark.long),
    ],
)
def test_why_a_sync_failed_is_read_on_the_server(lab: Lab, fault: str, words: str) -> None:
    # The server's own calls fail, the controller's do not.
    lab.fault(fault, server="us1", path="/connect/token", count=1)
    text = refused(lab, "-e", "billing_sync_license_max_age=0")
    assert words in text and "the server's log: " in text
    assert "Next step: " in text.partition(words)[2]


def test_a_log_that_cannot_be_read_does_not_hide_the_failure(lab: Lab) -> None:
    lab.fault("cloud_unreachable", server="us1", path="/connect/token", count=1)
    text = refused(lab, "-e", "billing_sync_license_max_age=0", "-e", "billing_sync_directory=")
    assert "Check your internet connection" in text
