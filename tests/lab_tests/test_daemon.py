# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab over real connections: TLS, proxy, front doors, clocks, limits and faults."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests
from bwlab.store import Store
from lab_client import Client, bearer, cloud, database, logins, server
from labkit import Lab, started


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with started(tmp_path_factory.mktemp("daemon") / "lab", "--servers", "2", "--regions", "US,EU") as running:
        yield running


@pytest.fixture(autouse=True)
def no_fault_stays(lab: Lab) -> Iterator[None]:
    yield
    with database(lab) as shared:
        shared.clear_faults()
        for name in ("us1", "eu1", "US", "EU"):
            shared.set_clock(name, 0)


def _login(lab: Lab) -> dict[str, str]:
    return logins(lab, "us1")["owner"]


def _date(answer: requests.Response) -> datetime:
    return parsedate_to_datetime(answer.headers["Date"])


# -- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("region", "name"), [("US", "bitwarden.com"), ("EU", "bitwarden.eu")])
def test_real_names_lead_to_the_lab_through_the_proxy(lab: Lab, region: str, name: str) -> None:
    for url in (f"https://api.{name}", f"https://vault.{name}/api"):
        client = Client(lab, url)
        client.session.proxies = {"https": lab.addresses["proxy"]}
        assert client.get("/config").json()["environment"]["cloudRegion"] == region
    client = Client(lab, f"https://identity.{name}")
    client.session.proxies = {"https": lab.addresses["proxy"]}
    assert client.token("/connect/token").json() == {"error": "invalid_request"}


def test_the_proxy_leads_nowhere_else(lab: Lab) -> None:
    client = Client(lab, "https://example.com")
    client.session.proxies = {"https": lab.addresses["proxy"]}
    with pytest.raises(requests.exceptions.ProxyError, match="502"):
        client.get("/")


def test_prefixes_of_a_server(lab: Lab) -> None:
    front = server(lab, "us1")
    assert front.get("/api/config").json()["environment"]["vault"] == front.url
    assert front.get("/identity/alive").status_code == 200
    assert front.get("/config").headers["Content-Type"].startswith("text/html")
    assert front.get("/alive").text == "alive"
    assert front.get("/api/healthz").status_code == 404


# -- nginx and its containers --------------------------------------------------------------------------------------


def _change(lab: Lab, service: str, **columns: Any) -> dict[str, Any]:
    with database(lab) as shared:
        row = shared.container("us1", service)
        assert row is not None
        shared.put_container("us1", {**row, **columns})
        return row


def test_nginx_answers_while_the_api_starts(lab: Lab) -> None:
    row = _change(lab, "api", ready=time.time() + 60)
    try:
        front = server(lab, "us1")
        answer = front.get("/api/alive")
        assert answer.status_code == 502 and "502 Bad Gateway" in answer.text
        assert front.get("/alive").text == "alive"
        assert front.get("/identity/alive").status_code == 200
        assert server(lab, "eu1").get("/api/alive").status_code == 200
    finally:
        _change(lab, "api", ready=row["ready"])
    assert server(lab, "us1").get("/api/alive").status_code == 200


def test_nobody_answers_without_nginx(lab: Lab) -> None:
    _change(lab, "nginx", state="exited")
    try:
        with pytest.raises(requests.exceptions.ConnectionError):
            server(lab, "us1").get("/alive")
    finally:
        _change(lab, "nginx", state="running")
    assert server(lab, "us1").get("/alive").text == "alive"


def test_settings_are_those_of_the_running_container(lab: Lab) -> None:
    """The file on the host does not matter until a container is made from it."""
    front = server(lab, "us1")
    headers = bearer(front.api_key_token("/identity/connect/token", _login(lab)))
    assert front.get("/api/organizations/connections/enabled", headers=headers).json() is False
    with database(lab) as shared:
        row = shared.container("us1", "api")
    assert row is not None
    _change(lab, "api", env={**row["env"], "globalSettings__enableCloudCommunication": "True"})
    assert front.get("/api/organizations/connections/enabled", headers=headers).json() is True
    _change(lab, "api", env=row["env"])


# -- tokens and clocks ---------------------------------------------------------------------------------------------


def test_tokens_expire_five_minutes_after_their_hour(lab: Lab) -> None:
    front = server(lab, "us1")
    headers = bearer(front.api_key_token("/identity/connect/token", _login(lab)))
    answers = {}
    for seconds in (0, 3600 + 200, 3600 + 400):
        lab.call("clock", "us1", str(seconds))
        answers[seconds] = front.get("/api/accounts/profile", headers=headers)
    assert [answer.status_code for answer in answers.values()] == [200, 200, 401]
    assert "The token expired at" in answers[4000].headers["WWW-Authenticate"]
    assert server(lab, "eu1").get("/api/accounts/profile", headers=headers).status_code == 401


def test_each_persona_has_its_own_clock(lab: Lab) -> None:
    lab.call("clock", "us1", "86400")
    now = datetime.now(UTC)
    ahead = _date(server(lab, "us1").get("/api/alive"))
    assert 86390 < (ahead - now).total_seconds() < 86410
    for other in (server(lab, "eu1").get("/api/alive"), cloud(lab, "US", "api").get("/config")):
        assert abs((_date(other) - now).total_seconds()) < 10


def test_clock_skew_is_a_fault_too(lab: Lab) -> None:
    lab.fault("clock_skew", server="us1", seconds=-90)
    assert -100 < (_date(server(lab, "us1").get("/api/alive")) - datetime.now(UTC)).total_seconds() < -80
    assert abs((_date(server(lab, "eu1").get("/api/alive")) - datetime.now(UTC)).total_seconds()) < 10


# -- limits --------------------------------------------------------------------------------------------------------


def test_the_cloud_takes_ten_tokens_a_minute_from_an_address(lab: Lab) -> None:
    """The eleventh is refused, and waiting as long as Retry-After says helps: the cloud's clock moves for it."""
    identity = cloud(lab, "EU", "identity")
    address = {"X-Connecting-IP": "192.0.2.1"}
    for left in range(9, -1, -1):
        answer = identity.post("/connect/token", data={"grant_type": "x"}, headers=address)
        assert answer.headers["X-Rate-Limit-Remaining"] == str(left)
        time.sleep(0.21)
    answer = identity.post("/connect/token", data={"grant_type": "x"}, headers=address)
    assert answer.status_code == 429
    assert answer.json()["message"] == "Slow down! Too many requests. Try again in 1m."
    wait = int(answer.headers["Retry-After"])
    assert 50 <= wait <= 60
    other = {"X-Connecting-IP": "192.0.2.2"}
    assert identity.post("/connect/token", data={"grant_type": "x"}, headers=other).status_code == 400
    lab.call("clock", "EU", str(wait + 1))
    assert identity.post("/connect/token", data={"grant_type": "x"}, headers=address).status_code == 400


def test_clouds_forget_whom_they_counted(lab: Lab) -> None:
    identity = cloud(lab, "US", "identity")
    address = {"X-Connecting-IP": "192.0.2.3"}

    def ask() -> requests.Response:
        return identity.post("/connect/token", data={"grant_type": "x"}, headers=address)

    # The limit of the minute: that of the second is over by itself before anybody could be forgotten.
    for _unused in range(30):
        answer = ask()
        if answer.status_code == 429 and int(answer.headers["Retry-After"]) > 1:
            break
        time.sleep(0.21)
    else:
        pytest.fail("no limit")
    lab.call("forget")
    assert ask().status_code == 400


def test_a_server_has_no_limit(lab: Lab) -> None:
    front = server(lab, "us1")
    assert {front.token("/identity/connect/token").status_code for _unused in range(25)} == {400}


# -- faults at the cloud -------------------------------------------------------------------------------------------


def test_status_fault_once(lab: Lab) -> None:
    lab.fault("cloud_status", status=429, retry_after=3, count=1)
    api = cloud(lab, "US", "api")
    answer = api.get("/config")
    assert answer.status_code == 429 and answer.headers["Retry-After"] == "3"
    assert api.get("/config").status_code == 200


def test_fault_of_one_path_only(lab: Lab) -> None:
    lab.fault("cloud_status", status=503, path="/installations/")
    api = cloud(lab, "US", "api")
    assert api.get("/config").status_code == 200
    assert api.get("/installations/00000000-0000-0000-0000-000000000000").status_code == 503


def test_fault_of_one_method_only(lab: Lab) -> None:
    lab.fault("cloud_status", status=503, path="POST /api/accounts", persona="server:us1")
    front = server(lab, "us1")
    assert front.get("/api/accounts/profile").status_code == 401
    assert front.post("/api/accounts/verify-password").status_code == 503
    lab.fault("cloud_status", status=503, path="GET /config", persona="cloud:US")
    assert cloud(lab, "US", "api").get("/config").status_code == 503


def test_fault_of_one_server_spares_the_clouds_door(lab: Lab) -> None:
    lab.fault("cloud_status", status=503, server="us1")
    assert cloud(lab, "US", "api").get("/config").status_code == 200


def test_a_login_page_in_the_clouds_place(lab: Lab) -> None:
    lab.fault("not_json", persona="cloud:US")
    assert "log in" in cloud(lab, "US", "api").get("/config").text
    assert cloud(lab, "EU", "api").get("/config").json()["object"] == "config"


@pytest.mark.parametrize("name", ["connection_reset", "cloud_unreachable"])
def test_no_answer(lab: Lab, name: str) -> None:
    lab.fault(name, count=1)
    with pytest.raises(requests.exceptions.ConnectionError):
        cloud(lab, "US", "api").get("/config")
    assert cloud(lab, "US", "api").get("/config").status_code == 200


def test_an_unreachable_cloud_behind_the_proxy(lab: Lab) -> None:
    lab.fault("cloud_unreachable")
    client = Client(lab, "https://api.bitwarden.com")
    client.session.proxies = {"https": lab.addresses["proxy"]}
    with pytest.raises(requests.exceptions.ProxyError):
        client.get("/config")


def test_a_body_that_ends_in_the_middle(lab: Lab) -> None:
    lab.fault("truncated_body", count=1)
    with pytest.raises(requests.exceptions.RequestException):
        cloud(lab, "US", "api").get("/config")


def test_an_answer_that_does_not_come(lab: Lab) -> None:
    lab.fault("cloud_timeout", seconds=30)
    with pytest.raises(requests.exceptions.ReadTimeout):
        cloud(lab, "US", "api").session.get(cloud(lab, "US", "api").url + "/config", timeout=0.5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tls_unknown_ca", "self-signed certificate|unable to get local issuer"),
        ("tls_wrong_host", "Hostname mismatch"),
        ("tls_expired", "certificate has expired"),
    ],
)
def test_bad_certificates(lab: Lab, name: str, words: str) -> None:
    lab.fault(name, persona="cloud:US")
    with pytest.raises(requests.exceptions.SSLError, match=words):
        cloud(lab, "US", "api").get("/config")
    assert cloud(lab, "EU", "api").get("/config").status_code == 200
    assert server(lab, "us1").get("/api/alive").status_code == 200
    lab.clear()
    assert cloud(lab, "US", "api").get("/config").status_code == 200


def test_bad_certificate_of_a_server(lab: Lab) -> None:
    lab.fault("tls_expired", persona="server:us1")
    with pytest.raises(requests.exceptions.SSLError, match="expired"):
        server(lab, "us1").get("/api/alive")
    assert cloud(lab, "US", "api").get("/config").status_code == 200


# -- the lab's own mistakes ----------------------------------------------------------------------------------------


def test_a_mistake_of_the_lab_is_an_answer_and_a_trace(lab: Lab) -> None:
    """A row that no rule knows: the caller gets the server's 500, the daemon goes on, and its log tells."""
    store = Store(lab.directory / "state" / "server-eu1.sqlite")
    (row,) = store.rows("Organization")
    front = server(lab, "eu1")
    headers = bearer(front.api_key_token("/identity/connect/token", logins(lab, "eu1")["owner"]))
    store.update("Organization", row["Id"], PlanType=999)
    try:
        answer = front.get("/api/accounts/profile", headers=headers)
        assert answer.status_code == 500
        assert answer.json()["message"] == "An unhandled server error has occurred."
        assert "KeyError: 999" in (lab.directory / "daemon.log").read_text()
    finally:
        store.update("Organization", row["Id"], PlanType=row["PlanType"])
        store.close()
    assert front.get("/api/accounts/profile", headers=headers).status_code == 200
