"""Module egress_probe: every fault that is injected comes out as its own verdict, in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from egress_faults import (
    API,
    BOTH,
    BY_NAME,
    FAULTS,
    FOUR,
    ID,
    KEY,
    MAIL,
    PROXY,
    PROXY_PORT,
    RESOLVER,
    SIX,
    Fault,
    Internet,
    internet,
    measure,
    rows_about,
)

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    with internet(tmp_path_factory.mktemp("internet")) as made:
        yield made


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_gets_its_verdict_in_time(world: Internet, fault: Fault) -> None:
    result = measure(world, fault)
    assert not result.failed, result.data
    assert {row["verdict"] for row in rows_about(result, fault)} == {fault.verdict}, result["endpoints"]
    assert result["reachable"] is fault.reachable
    assert result["elapsed"] <= fault.arguments.get("timeout", 10)
    assert KEY not in result.output
    assert not result.changed


def calm(world: Internet, **options: Any) -> None:
    world.calm()
    world.names()
    world.cloud(**options)


def test_both_versions_of_ip_are_asked_at_once(world: Internet) -> None:
    calm(world)
    result = world.probe(region="US", endpoints=BOTH, ip_versions=[4, 6])
    assert [(row["ip_version"], row["verdict"]) for row in result["endpoints"]] == [(4, "open"), (6, "open")] * 2
    assert result["endpoints"][0]["addresses"] == [FOUR[0], FOUR[1]]
    assert result["endpoints"][1]["addresses"] == [SIX[0], SIX[1]]
    assert result["reachable"] is True


def test_dead_addresses_are_listed(world: Internet) -> None:
    calm(world)
    world.block("DROP", address=FOUR[1])
    result = world.probe(endpoints=[BOTH[0]], timeout=2)
    (row,) = result["endpoints"]
    assert row["dead_addresses"] == [FOUR[1]]
    assert row["http"] == {"status": 200, "path": "/config"}


def test_the_end_of_tls_and_the_clock_are_measured(world: Internet) -> None:
    calm(world, clock=-600)
    result = world.probe(endpoints=[BOTH[0]])
    (row,) = result["endpoints"]
    assert row["clock_difference"] == pytest.approx(600, abs=2)
    assert row["tls"]["issuer"] == "A Public CA"
    assert row["tls"]["days_left"] in (824, 825)
    assert 0 < row["latency_ms"] < 5000


@pytest.mark.parametrize(
    ("certificate", "key", "wanted"),
    [("good", False, True), ("good", True, True), ("company", False, None), ("company", True, True)],
)
def test_a_body_arrives_for_sure_where_nobody_reads_along_or_a_login_proves_it(
    world: Internet, certificate: str, key: bool, wanted: bool | None
) -> None:
    calm(world, certificate=certificate)
    given = {"installation_id": ID, "installation_key": KEY} if key else {}
    result = world.probe(endpoints=BOTH, **given)
    api = result["endpoints"][0]
    assert api["body_arrives"] is wanted
    assert api["tls"]["intercepted"] is (certificate == "company")
    assert KEY not in result.output


def test_the_installation_is_told_with_the_regions_that_know_it(world: Internet) -> None:
    calm(world)
    result = world.probe(endpoints=BOTH, installation_id=ID)
    assert result["installation"] == {"id": ID, "known": True, "enabled": True, "region": "US", "known_in": ["US"]}
    world.calm()
    BY_NAME["wrong-region"].arrange(world)
    result = world.probe(endpoints=BOTH, installation_id=ID)
    assert result["installation"] == {"id": ID, "known": False, "enabled": False, "region": "US", "known_in": ["EU"]}
    assert "the region EU does" in result["endpoints"][0]["cause"]


@pytest.mark.parametrize("by", ["option", "environment"])
@pytest.mark.parametrize("certificate", ["", "good"], ids=["http", "https"])
def test_a_proxy_with_a_login_is_used_and_the_login_never_shown(world: Internet, by: str, certificate: str) -> None:
    world.calm()
    # Nobody but the proxy knows the names, or may connect.
    world.names(api=["none"], identity=["none"])
    world.cloud()
    world.block("DROP", side="near")
    world.proxy("login", certificate)
    address = f"{'https' if certificate else 'http'}://proxy-user:proxy-pass%2Fword@{PROXY}:{PROXY_PORT}"
    given = {"proxy": address} if by == "option" else {"env": {"HTTPS_PROXY": address, "NO_PROXY": "localhost"}}
    result = world.probe(endpoints=BOTH, **given)
    assert {row["verdict"] for row in result["endpoints"]} == {"open"}, result["endpoints"]
    assert {row["proxy"]["address"] for row in result["endpoints"]} == {f"{PROXY}:{PROXY_PORT}"}
    assert "proxy-pass" not in result.output


def test_an_exemption_from_the_proxy_is_obeyed(world: Internet) -> None:
    calm(world)
    result = world.probe(
        endpoints=BOTH, env={"https_proxy": f"http://{PROXY}:{PROXY_PORT}", "no_proxy": API}, timeout=3
    )
    assert [row["verdict"] for row in result["endpoints"]] == ["open", "proxy_unreachable"]


def test_an_answer_of_dns_that_is_too_long_is_fetched_by_tcp(world: Internet) -> None:
    world.calm()
    world.names("long")
    world.cloud()
    result = world.probe(endpoints=[BOTH[0]])
    assert result["endpoints"][0]["verdict"] == "open"


def test_a_second_name_server_helps_where_the_first_is_dead(world: Internet) -> None:
    calm(world)
    world.resolve("198.51.100.99", RESOLVER)
    result = world.probe(endpoints=[BOTH[0]])
    assert result["endpoints"][0]["verdict"] == "open"
    assert result["elapsed"] < 5


def test_a_mail_server_that_greets_is_open(world: Internet) -> None:
    world.calm()
    world.names()
    world.mail()
    result = world.probe(endpoints=[{"name": MAIL, "port": 587, "kind": "smtp"}])
    assert result["endpoints"][0]["verdict"] == "open"


def test_many_endpoints_take_no_longer_than_one(world: Internet) -> None:
    calm(world)
    world.block("DROP")
    many = [{"name": API, "kind": "api"}, *({"name": FOUR[0], "port": 443, "kind": f"kind{n}"} for n in range(20))]
    result = world.probe(endpoints=many, timeout=2, ip_versions=[4, 6])
    assert {row["verdict"] for row in result["endpoints"]} == {"timed_out", "ip_version_missing"}
    assert result["elapsed"] <= 2


def test_check_mode_asks_just_the_same_and_a_second_run_says_the_same(world: Internet) -> None:
    calm(world)
    told = [world.probe(endpoints=[BOTH[0]], check=check) for check in (False, True, False)]
    assert [[row["verdict"] for row in one["endpoints"]] for one in told] == [["open"]] * 3
    assert not any(one.changed for one in told)
