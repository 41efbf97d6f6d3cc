"""Which client a module says that it is, and how it asks the cloud beside its server: against the lab."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from integration.api_faults.site import CHANGED, CLOUD, CONNECTED, FRESH, KEYED, SERVER, Site, site
from unit.module_runner import Result
from unit.web import Answer, Asked, Authority, Web, serve

CLIENT = {"client_version": "2026.9.1", "device_identifier": "the-controller", "device_name": "Night run"}
# What each module starts from, and who hears of its client.
MODULES = {
    "organization_info": (FRESH, SERVER),
    "billing_sync_token": (FRESH, CLOUD),
    "billing_sync": (KEYED, SERVER),
    "license": (CHANGED, SERVER),
    "license_sync": (CONNECTED, SERVER),
    "sponsorship": (FRESH, SERVER),
    "sponsorship_info": (FRESH, SERVER),
}
AT_CLOUD = {"persona": "cloud:US"}
# Asks the cloud in every run, before it changes anything.
ASKS: dict[str, dict[str, Any]] = {"license": {"max_age": 0}, "license_sync": {"compare": True}}
both = pytest.mark.parametrize("module", ASKS)


@pytest.fixture(scope="module")
def lab_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("client-options")) as made:
        yield made


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def devices(lab_site: Site, side: str) -> list[dict[str, str]]:
    """The devices that have the name of this controller, as the server wrote them down."""
    rows = lab_site.stores[side].rows("Device", Identifier=CLIENT["device_identifier"])
    return [
        {"client_version": row["ClientVersion"], "device_identifier": row["Identifier"], "device_name": row["Name"]}
        for row in rows
    ]


@pytest.mark.parametrize("module", MODULES)
def test_the_server_writes_down_which_client_it_was(module: str, lab_site: Site) -> None:
    start, side = MODULES[module]
    lab_site.start(start)
    assert not lab_site.run(module, {}).failed
    (usual,) = [row for row in lab_site.stores[side].rows("Device") if row["Name"] == "Ansible"]
    assert usual["ClientVersion"] == "2026.7.0"
    result = lab_site.run(module, CLIENT)
    assert not result.failed, result.data
    assert devices(lab_site, side) == [CLIENT]
    other = CLOUD if side == SERVER else SERVER
    assert devices(lab_site, other) == []


def test_without_a_login_no_device_is_written_down(lab_site: Site) -> None:
    lab_site.start(FRESH)
    before = {side: lab_site.stores[side].rows("Device") for side in (CLOUD, SERVER)}
    last = lab_site.lab.last()
    result = lab_site.run("installation_info", CLIENT)
    assert result["installation"]["known"], result.data
    assert [entry["method"] for entry in lab_site.lab.log(last)] == ["GET"]
    assert {side: lab_site.stores[side].rows("Device") for side in (CLOUD, SERVER)} == before


def test_a_version_that_is_none_is_refused_with_its_option(lab_site: Site) -> None:
    lab_site.start(FRESH)
    result = lab_site.run("organization_info", {"client_version": "latest"})
    assert result.failed and "client_version" in result["next_step"]


# A proxy that lets nobody through without a certificate, before either side.


@contextmanager
def guarded(lab_site: Site, url: str, authority: Authority) -> Iterator[Web]:
    """Something that asks for a client certificate, and hands on what it is asked."""
    session = requests.Session()
    session.trust_env = False

    def hand_on(asked: Asked) -> Answer:
        headers = {name: value for name, value in asked.headers.items() if name not in {"Host", "Content-Length"}}
        answer = session.request(
            asked.method,
            url + asked.path,
            headers=headers,
            data=asked.body,
            verify=str(lab_site.lab.directory / "ca.pem"),
            timeout=30,
        )
        kept = ("Content-Type", "Date")
        return Answer(
            answer.status_code, answer.content, {name: answer.headers[name] for name in kept if name in answer.headers}
        )

    with session, serve(hand_on, authority.context(clients=True)) as web:
        yield web


def certificates(authority: Authority) -> dict[str, str]:
    certificate, key = authority.client()
    return {"client_cert": str(certificate), "client_key": str(key)}


@pytest.mark.parametrize("module", [*MODULES, "installation_info"])
def test_a_client_certificate_opens_the_way_to_its_own_side(module: str, lab_site: Site, authority: Authority) -> None:
    start, side = MODULES.get(module, (FRESH, CLOUD))
    lab_site.start(start)
    vault = str(lab_site.lab.addresses["clouds"]["US"]["vault"])
    with guarded(lab_site, lab_site.url if side == SERVER else vault, authority) as web:
        there = {"region": None, "url": web.url, "ca_path": str(authority.path)}
        given = there if side == CLOUD else {key: value for key, value in there.items() if key != "region"}
        refused = lab_site.run(module, given)
        assert refused.failed and "got no answer" in refused["msg"]
        assert web.asked == []
        done = lab_site.run(module, {**given, **certificates(authority)})
    assert not done.failed, done.data
    assert web.asked


# The option cloud.


def ask(lab_site: Site, module: str, **place: Any) -> Result:
    """The module with other options for the cloud."""
    given = {**lab_site.evidence()["cloud"], **place}
    cloud = {name: value for name, value in given.items() if value is not None}
    return lab_site.run(module, {**ASKS[module], "cloud": cloud})


@both
def test_the_cloud_writes_down_its_own_client(module: str, lab_site: Site) -> None:
    lab_site.start(MODULES[module][0])
    assert not ask(lab_site, module, **CLIENT).failed
    assert devices(lab_site, CLOUD) == [CLIENT]
    assert devices(lab_site, SERVER) == []


@both
def test_a_client_certificate_may_be_for_the_cloud_alone(module: str, lab_site: Site, authority: Authority) -> None:
    lab_site.start(MODULES[module][0])
    with guarded(lab_site, str(lab_site.lab.addresses["clouds"]["US"]["vault"]), authority) as web:
        place = {"region": None, "url": web.url, "ca_path": str(authority.path)}
        assert "got no answer" in ask(lab_site, module, **place)["msg"]
        assert web.asked == []
        done = ask(lab_site, module, **place, **certificates(authority))
    assert done.changed, done.data
    assert web.asked


@both
def test_the_cloud_has_its_own_time_limit(module: str, lab_site: Site) -> None:
    lab_site.start(MODULES[module][0])
    lab_site.db.set_fault("cloud_timeout", {**AT_CLOUD, "seconds": "30"})
    begin = time.monotonic()
    result = ask(lab_site, module, timeout=1)
    assert "nothing came within 1 seconds" in result["msg"] and "bitwarden.com" in result["endpoint"]
    assert time.monotonic() - begin < 20


@both
def test_the_cloud_is_waited_for_when_it_is_busy(module: str, lab_site: Site) -> None:
    for patience in (0, 10):
        lab_site.start(MODULES[module][0])
        lab_site.db.set_fault("cloud_status", {**AT_CLOUD, "status": "429", "retry_after": "1", "count": "1"})
        result = ask(lab_site, module, rate_limit_wait=patience)
        if patience:
            assert result.changed, result.data
        else:
            assert "too many requests" in result["msg"]
