"""Which client a module says that it is, and how it asks the cloud beside its server: what the other end sees."""

from __future__ import annotations

import time
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.license_world import NAME, cloud_login, installation
from unit.module_runner import Result, run_module
from unit.recorded_world import PROXIES, Recorded
from unit.web import Answer, Authority, Script, Web, answers, routes, serve

GUID = "8318521f-7d7d-4692-8de0-b50a00eabedc"
KEY = {"client_id": "user.14feaff5-936a-4e05-b8de-b50a00eba283", "client_secret": "a-client-secret-of-thirty-char"}
CLIENT = {"client_version": "2026.9.1", "device_identifier": "the-controller", "device_name": "Night run"}
ORGANIZATION = {"organization": "Acme"}
OPTIONS: dict[str, dict[str, Any]] = {
    "organization_info": {},
    "billing_sync_token": {**ORGANIZATION, "master_password": "a master password"},
    "billing_sync": {**ORGANIZATION, "billing_sync_token": "T" * 30},
    "license": {**ORGANIZATION, "installation_id": GUID},
    "license_sync": ORGANIZATION,
    "sponsorship": {**ORGANIZATION, "sponsorships": [{"email": "jo@home.example"}]},
    "sponsorship_info": ORGANIZATION,
}
LOGIN = "POST /identity/connect/token"
NO_LOGIN = Answer(400, {"error": "invalid_client"})


def cloud(installation_id: str = GUID, login: Answer | Script = NO_LOGIN) -> Script:
    """A cloud that knows one installation and lets nobody in."""
    known = Answer(200, {"id": installation_id, "enabled": True, "object": "installation"})
    config = Answer(200, {"version": "2026.7.0", "server": None, "object": "config"})
    table = {f"GET /api/installations/{installation_id}": known, "GET /api/config": config, LOGIN: login}
    return routes(table, Answer(404, {"message": "Resource not found.", "object": "error"}))


def shown(web: Web) -> dict[str, str]:
    """What the one login said of the client."""
    (asked,) = [one for one in web.asked if f"{one.method} {one.path}" == LOGIN]
    form = dict(urllib.parse.parse_qsl(asked.body.decode()))
    return {
        "client_version": asked.headers["Bitwarden-Client-Version"],
        "device_identifier": form["deviceIdentifier"],
        "device_name": form["deviceName"],
    }


def environment(folder: Path) -> dict[str, str | None]:
    return {**dict.fromkeys(PROXIES), "ANSIBLE_HOME": str(folder)}


@pytest.mark.parametrize("module", OPTIONS)
def test_a_login_says_which_client_it_is(module: str, tmp_path: Path) -> None:
    for given in (CLIENT, {}):
        with serve(cloud()) as web:
            options = {**KEY, **OPTIONS[module], "url": web.url, "retries": 0, **given}
            assert run_module(module, options, env=environment(tmp_path)).failed
            said = shown(web)
        if given:
            assert said == CLIENT
        else:
            assert (said["client_version"], said["device_name"]) == ("2026.7.0", "Ansible")
            assert uuid.UUID(said["device_identifier"]).version == 5


def test_without_a_login_nobody_hears_of_a_client(tmp_path: Path) -> None:
    with serve(answers(Answer(200, {"id": GUID, "enabled": True, "object": "installation"}))) as web:
        options = {**KEY, **CLIENT, "url": web.url, "installation_id": GUID, "retries": 0}
        result = run_module("installation_info", options, env=environment(tmp_path))
    assert result["installation"]["known"], result.data
    assert web.calls == [f"GET /api/installations/{GUID}"]
    sent = f"{web.asked[0].headers} {web.asked[0].body!r}"
    assert not [value for value in (*KEY.values(), *CLIENT.values()) if value in sent]


# The option cloud of the modules that work on a server: one question without a login, then one with it.


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with Recorded(tmp_path_factory.mktemp("world")).running() as running:
        token = str(running.token()["token"])
        assert running.run("self_hosted", "billing_sync", organization=NAME, billing_sync_token=token).changed
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


ASKS: dict[str, dict[str, Any]] = {"license": {"max_age": 0}, "license_sync": {"compare": True}}
both = pytest.mark.parametrize("module", ASKS)


def ask(world: Recorded, module: str, web: Web, **options: Any) -> Result:
    place = {**cloud_login(world), "url": web.url, **options}
    return world.run(
        "self_hosted", module, organization=NAME, installation_id=installation(world), cloud=place, **ASKS[module]
    )


@both
def test_the_cloud_hears_of_its_own_client(world: Recorded, module: str) -> None:
    with serve(cloud(installation(world))) as web:
        assert "invalid_client" in ask(world, module, web, **CLIENT)["msg"]
    assert shown(web) == CLIENT
    with serve(cloud(installation(world))) as web:
        ask(world, module, web)
    assert (shown(web)["client_version"], shown(web)["device_name"]) == ("2026.7.0", "Ansible")


@both
def test_a_client_certificate_is_for_the_cloud_alone(world: Recorded, module: str, authority: Authority) -> None:
    certificate, key = authority.client()
    place = {"ca_path": str(authority.path)}
    with serve(cloud(installation(world)), authority.context(clients=True)) as web:
        assert "got no answer" in ask(world, module, web, **place)["msg"]
        assert web.asked == []
        refused = ask(world, module, web, **place, client_cert=str(certificate), client_key=str(key))
    assert "invalid_client" in refused["msg"]
    assert LOGIN in web.calls
    # The key alone is not enough, and neither is the certificate without it.
    with serve(cloud(installation(world)), authority.context(clients=True)) as web:
        assert "without client_cert" in ask(world, module, web, **place, client_key=str(key))["msg"]
        assert ask(world, module, web, **place, client_cert=str(certificate)).failed
    assert web.asked == []


@both
def test_the_cloud_has_a_time_limit_of_its_own(world: Recorded, module: str) -> None:
    with serve(answers(Answer(200, delay=4))) as web:
        start = time.monotonic()
        result = ask(world, module, web, timeout=1)
        assert time.monotonic() - start < 4
    assert "nothing came within 1 seconds" in result["msg"]
    assert web.url in result["endpoint"]


@both
def test_the_cloud_is_waited_for_as_long_as_it_is_said(world: Recorded, module: str) -> None:
    busy = Answer(429, {"message": "Too many."}, {"Retry-After": "1"})
    for patience, logins in ((0, 1), (10, 2)):
        with serve(cloud(installation(world), answers(busy, NO_LOGIN))) as web:
            result = ask(world, module, web, rate_limit_wait=patience)
        assert web.calls.count(LOGIN) == logins
        assert result["status"] == (400 if patience else 429)
