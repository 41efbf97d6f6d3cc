"""What is wrong is refused in words, before anything changes: site.yml with bad input."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from labkit import Lab

CLOUD_GIVEN = "the address is the Bitwarden cloud, and this only exists at a self-hosted server"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One US server that was never touched; every test leaves it so."""
    lab = Lab(tmp_path_factory.mktemp("refusals"), "--servers", "1", "--regions", "US,EU")
    yield lab
    lab.down()


def sql(lab: Lab, persona: str, statement: str, *values: object) -> None:
    """Change a persona's tables as an administrator of its database would."""
    with closing(sqlite3.connect(lab.directory / "state" / f"{persona}.sqlite", timeout=10)) as database:
        database.execute(statement, values)
        database.commit()


def state(lab: Lab) -> dict[str, Any]:
    """The lab's state without the number of requests."""
    found = lab.state()
    for cloud in found["clouds"].values():
        del cloud["requests"], cloud["token_requests"]
    return found


def refused(lab: Lab, *options: str, words: tuple[str, ...]) -> None:
    """Run site.yml: it fails with these words and changes nothing."""
    before, text = state(lab), lab.env_file("us1").read_bytes() if lab.env_file("us1").is_file() else None
    play = lab.site(*options, ok=False)
    assert play.status == 2, play.output
    flat = " ".join(play.output.split())
    assert all(word in flat for word in words), play.output
    assert state(lab) == before
    assert (lab.env_file("us1").read_bytes() if lab.env_file("us1").is_file() else None) == text
    leftovers = {path.name for path in lab.env_file("us1").parent.iterdir()}
    assert leftovers <= {"global.override.env", "mssql.override.env", "uid.env", "key-connector.override.env"}


def organization(lab: Lab, **changes: Any) -> str:
    """The inventory's organization with changes, as extra variables."""
    shown = lab.run("ansible-inventory", "--host", "us1")
    one = json.loads(shown.stdout)["bitwarden_organizations"][0]
    for key, value in changes.items():
        one[key] = {**one[key], **value} if isinstance(value, dict) else value
    return json.dumps({"bitwarden_organizations": [one]})


FILES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "unterminated quote": (lambda text: text + b'globalSettings__mail__x="never closed\n', "quot"),
    "open brace": (lambda text: text + b"globalSettings__mail__x=pa${never\n", "${"),
    "bad key": (lambda text: text + b"global,Settings=1\n", "cannot stand in a name"),
}


@pytest.mark.parametrize("case", FILES)
def test_malformed_env_file(lab: Lab, case: str) -> None:
    change, word = FILES[case]
    path = lab.env_file("us1")
    text = path.read_bytes()
    path.write_bytes(change(text))
    try:
        refused(lab, words=("global.override.env", f"line {len(text.splitlines()) + 1}", word))
    finally:
        path.write_bytes(text)


def test_missing_env_file(lab: Lab) -> None:
    path = lab.env_file("us1")
    aside = path.parent.parent / "aside"
    path.rename(aside)
    try:
        refused(lab, words=("global.override.env", "does not exist"))
    finally:
        aside.rename(path)


def test_unknown_region(lab: Lab) -> None:
    refused(lab, "-e", "bitwarden_region=Mars", words=("Mars", "US", "EU", "Gov"))


def test_no_region(lab: Lab) -> None:
    text = (lab.directory / "inventory.yml").read_text()
    other = lab.directory / "no-region.yml"
    other.write_text("\n".join(line for line in text.splitlines() if "bitwarden_region" not in line))
    refused(lab, "-i", str(other), words=("bitwarden_region",))


def test_installation_id_of_another_region(lab: Lab) -> None:
    refused(lab, "-e", "bitwarden_region=EU", words=("installation id", "belongs to region US", "bitwarden_region"))


def test_disabled_installation_id(lab: Lab) -> None:
    sql(lab, "cloud-US", "UPDATE Installation SET Enabled = 0")
    try:
        refused(lab, words=("installation id", "disabled", "support"))
    finally:
        sql(lab, "cloud-US", "UPDATE Installation SET Enabled = 1")


@pytest.mark.parametrize(("side", "server"), [("owner", "localhost"), ("cloud_owner", "identity.bitwarden.com")])
def test_wrong_api_key(lab: Lab, side: str, server: str) -> None:
    extra = organization(lab, **{side: {"client_secret": "WrongWrongWrongWrongWrongWrong"}})
    refused(lab, "-e", extra, words=("invalid_client", server, "API key", "Next step"))


def test_no_credentials_at_all(lab: Lab) -> None:
    one = json.loads(organization(lab))["bitwarden_organizations"][0]
    refused(
        lab,
        "-e",
        json.dumps({"bitwarden_organizations": [{"name": one["name"]}]}),
        words=("No client_id and no client_secret", "BITWARDEN_CLIENT_ID", "Next step"),
    )
    one["cloud_owner"]["master_password"] = ""
    extra = json.dumps({"bitwarden_organizations": [one]})
    refused(lab, "-e", extra, words=("No master_password", "BITWARDEN_CLOUD_MASTER_PASSWORD", "Next step"))


@pytest.mark.parametrize("one", [{}, {"name": " "}, {"id": "5"}])
def test_an_organization_without_a_name(lab: Lab, one: dict[str, Any]) -> None:
    extra = json.dumps({"bitwarden_organizations": [{"name": 2024, "cloud": 5}, one]})
    refused(lab, "-e", extra, words=("Organization number 2", "us1", "Give name, or id and cloud"))


def test_wrong_master_password(lab: Lab) -> None:
    extra = organization(lab, cloud_owner={"master_password": "not the password"})
    refused(lab, "-e", extra, words=("Invalid password", "master password", "Next step"))


def test_organization_that_is_not_there(lab: Lab) -> None:
    refused(lab, "-e", organization(lab, name="Nobody Inc."), words=("Nobody Inc.", "localhost", "Next step"))
    refused(lab, "-e", organization(lab, cloud="Nobody Inc."), words=("Nobody Inc.", "api.bitwarden.com", "Next step"))


@pytest.mark.parametrize("persona", ["server-us1", "cloud-US"])
def test_member_who_is_no_owner(lab: Lab, persona: str) -> None:
    sql(lab, persona, "UPDATE OrganizationUser SET Type = 2")
    try:
        refused(lab, words=("only a confirmed owner may do this", "Next step"))
    finally:
        sql(lab, persona, "UPDATE OrganizationUser SET Type = 0")


@pytest.mark.parametrize(("plan", "name"), [(0, "Free"), (22, "Families"), (21, "Starter")])
def test_plan_without_billing_sync(lab: Lab, plan: int, name: str) -> None:
    with closing(sqlite3.connect(lab.directory / "state" / "cloud-US.sqlite")) as database:
        (real,) = database.execute("SELECT PlanType FROM Organization").fetchone()
    sql(lab, "cloud-US", "UPDATE Organization SET PlanType = ?", plan)
    try:
        refused(lab, words=(name, "Next step"))
    finally:
        sql(lab, "cloud-US", "UPDATE Organization SET PlanType = ?", real)


def test_server_where_the_cloud_should_be(lab: Lab) -> None:
    url = lab.addresses["servers"]["us1"]["url"]
    region = json.dumps({"bitwarden_region": {"name": "US", "api": f"{url}/api", "identity": f"{url}/identity"}})
    refused(lab, "-e", region, words=("self-hosted", "Next step"))


def test_cloud_where_the_server_should_be(lab: Lab) -> None:
    url = json.dumps({"billing_sync_url": lab.addresses["clouds"]["US"]["vault"]})
    one = json.loads(organization(lab))["bitwarden_organizations"][0]
    one["owner"] = {key: one["cloud_owner"][key] for key in ("client_id", "client_secret")}
    one["name"] = one.get("cloud", one["name"])
    owner = json.dumps({"bitwarden_organizations": [one]})
    refused(lab, "-e", url, "-e", owner, words=(CLOUD_GIVEN, "Next step"))


def test_plain_http_to_another_machine(lab: Lab) -> None:
    refused(lab, "-e", "billing_sync_url=http://vault.example.com", words=("http://vault.example.com", "allow_http"))


def test_nothing_of_this_was_needed(lab: Lab) -> None:
    assert lab.site().changed()["us1"]
