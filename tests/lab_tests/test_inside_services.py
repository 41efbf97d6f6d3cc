# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Api, Identity and the plain services as programs of containers of their own."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bwlab.crypto import KeyPair
from bwlab.errors import ServerError
from bwlab.inside import dotnet, plain, serve, server, transport
from bwlab.inside.database import GuardedStore
from bwlab.inside.places import Places
from bwlab.labdb import Fault, LabDb
from bwlab.licenses import LicenseSigner
from bwlab.network import Answer, NetworkError, send
from bwlab.store import Row, Store
from bwlab.world import Person

URL = "https://vault.example.com:8443"
ENVIRONMENT = {
    "globalSettings__baseServiceUri__vault": URL,
    "globalSettings__baseServiceUri__cloudRegion": "EU",
    "globalSettings__installation__id": "11111111-2222-3333-4444-555555555555",
    "globalSettings__enableCloudCommunication": "TRUE",
    "BWLAB_SERVER": "us1",
    "BWLAB_VERSION": "2026.9.1",
    "BWLAB_DELAY": "0",
}
THROUGH_NGINX = {"x-real-ip": "10.0.0.1"}


class Container:
    """Api or Identity, called as uvicorn would call it."""

    def __init__(self, service: str, folder: Path, keys: server.SigningKeys, store: Store) -> None:
        self.where = Places("us1", folder / "lab", folder / "vault.sqlite", folder / "licenses", folder / "logs")
        self.app = server.make(service, self.where, store, keys, 5000)
        self.persona = self.app.persona

    def call(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], str]:
        sent: list[dict[str, Any]] = []
        asyncio.run(self.app(_scope(method, path, headers or {}), _receiver(body), _sender(sent)))
        names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], names, b"".join(part["body"] for part in sent[1:]).decode()


def _scope(method: str, path: str, headers: dict[str, str]) -> dict[str, Any]:
    raw, _unused, query = path.partition("?")
    return {
        "type": "http", "method": method, "path": raw, "raw_path": raw.encode(), "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("10.0.0.9", 1), "server": ("10.0.0.8", 5000), "scheme": "http", "http_version": "1.1",
    }  # fmt: skip


def _receiver(body: bytes) -> Any:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _sender(sent: list[dict[str, Any]]) -> Any:
    async def collect(message: dict[str, Any]) -> None:
        sent.append(message)

    return collect


class Keys(server.SigningKeys):
    """Counts; Identity answers as told."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.found = True

    async def fetch(self, persona: Any) -> None:
        self.asked += 1
        persona.identity_known = self.found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "lab").mkdir()
    LabDb(tmp_path / "lab" / "lab.sqlite").close()
    return tmp_path


@pytest.fixture
def lab_db(folder: Path) -> Iterator[LabDb]:
    found = LabDb(folder / "lab" / "lab.sqlite")
    yield found
    found.close()


def _user(store: Store) -> Row:
    person = Person.create("Admin", "admin@example.com", "US", KeyPair())
    return store.insert("User", person.row("2026-11-01 00:00:00"))


def _token(identity: Container, user: Row) -> dict[str, str]:
    form = f"grant_type=client_credentials&scope=api&client_id=user.{user['Id'].lower()}&client_secret={user['ApiKey']}"
    form += "&deviceType=8&deviceIdentifier=0f1e2d3c-0000-4000-8000-000000000001&deviceName=test"
    headers = {"content-type": "application/x-www-form-urlencoded", "bitwarden-client-version": "2026.7.0"}
    status, _unused, text = identity.call("POST", "/identity/connect/token", headers, form.encode())
    assert status == 200, text
    return {"authorization": f"Bearer {json.loads(text)['access_token']}", **THROUGH_NGINX}


# -- settings ------------------------------------------------------------------------------------------------------


def test_the_environment_makes_the_settings(folder: Path) -> None:
    api = Container("api", folder, Keys(), Store(None))
    config = json.loads(api.call("GET", "/config")[2])
    assert config["version"] == "2026.9.1"
    assert config["environment"]["cloudRegion"] == "EU"
    assert config["environment"]["vault"] == URL
    assert config["environment"]["identity"] == f"{URL}/identity"
    settings = api.persona.settings()
    assert (settings.enable_cloud_communication, settings.issuer) == (True, "https://vault.example.com")
    assert settings.license_dir == folder / "licenses"


def test_identity_answers_below_its_path_and_names_its_keys(folder: Path) -> None:
    identity = Container("identity", folder, Keys(), Store(None))
    for path in ("/identity/.well-known/openid-configuration", "/.well-known/openid-configuration"):
        assert json.loads(identity.call("GET", path)[2])["issuer"] == "https://vault.example.com"
    assert len(json.loads(identity.call("GET", "/.well-known/openid-configuration/jwks")[2])["keys"]) == 1
    assert identity.call("GET", "/config")[0] == 404


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        (
            "globalSettings__enableCloudCommunication",
            "yes",
            "Failed to convert configuration value 'yes' at 'globalSettings:enableCloudCommunication' "
            "to type 'System.Boolean'.",
        ),
        ("GLOBALSETTINGS__SELFHOSTED", "1", "at 'GLOBALSETTINGS:SELFHOSTED' to type 'System.Boolean'."),
        ("globalSettings__mail__smtp__port", "x", "at 'globalSettings:mail:smtp:port' to type 'System.Int32'."),
    ],
)
def test_a_value_that_dotnet_cannot_read_ends_the_service(
    capsys: pytest.CaptureFixture[str], key: str, value: str, line: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        dotnet.demand_readable({key: value})
    assert caught.value.code == 139
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("value", ["true", "True", "TRUE", " false ", ""])
def test_values_that_dotnet_reads(value: str) -> None:
    dotnet.demand_readable(
        {"globalSettings__enableCloudCommunication": value, "globalSettings__mail__smtp__port": "587"}
    )
    dotnet.demand_readable({"enableCloudCommunication": "yes"})


def test_parts_of_a_connection_string() -> None:
    text = "\"Data Source=tcp:mssql,1433;Initial Catalog='my;db';User ID=sa;Password=a=b;Encrypt=True\""
    found = dotnet.connection_string(text)
    assert found["data source"] == "tcp:mssql,1433"
    assert (found["initial catalog"], found["password"], found["encrypt"]) == ("my;db", "a=b", "True")


# -- tokens --------------------------------------------------------------------------------------------------------


def test_the_api_accepts_the_tokens_of_identity(folder: Path, lab_db: LabDb) -> None:
    store = Store(folder / "vault.sqlite")
    user = _user(store)
    keys = Keys()
    identity, api = Container("identity", folder, keys, store), Container("api", folder, keys, store)
    bearer = _token(identity, user)
    assert keys.asked == 0
    assert api.call("GET", "/organizations/connections/enabled", bearer)[::2] == (200, "true")
    assert keys.asked == 1
    assert [(row["service"], row["path"], row["actor"]) for row in lab_db.log()] == [
        ("api", "/api/organizations/connections/enabled", "admin@example.com")
    ]
    store.close()


def test_an_api_without_identitys_keys_refuses_every_token(folder: Path) -> None:
    store = Store(folder / "vault.sqlite")
    user = _user(store)
    keys = Keys()
    keys.found = False
    bearer = _token(Container("identity", folder, keys, store), user)
    api = Container("api", folder, keys, store)
    status, headers, _unused = api.call("GET", "/organizations/connections/enabled", bearer)
    assert status == 401
    assert "The issuer 'https://vault.example.com' is invalid" in headers["www-authenticate"]
    assert api.call("GET", "/alive", bearer)[0] == 200
    store.close()


def test_keys_are_fetched_once_and_asked_for_again_after_a_failure(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answers: list[Answer | NetworkError] = [NetworkError("no"), Answer(502, ""), Answer(200, "{}"), Answer(200, "{}")]

    async def reply(_persona: Any, _method: str, url: str, _headers: dict[str, str], _body: bytes) -> Answer:
        asked.append(url)
        answer = answers.pop(0)
        if isinstance(answer, NetworkError):
            raise answer
        return answer

    monkeypatch.setattr(transport, "send", reply)
    monkeypatch.setattr(server, "KEYS_PAUSE", 0.0)
    keys = server.SigningKeys("http://identity:5000/")
    persona = Container("api", folder, keys, Store(None)).persona
    for known in (False, False, True, True):
        asyncio.run(keys.fetch(persona))
        assert persona.identity_known is known
    document = "http://identity:5000/.well-known/openid-configuration"
    assert asked == [document, document, document, f"{document}/jwks"]


# -- the database --------------------------------------------------------------------------------------------------


def test_without_the_database_an_api_still_lives(folder: Path) -> None:
    def refuse() -> int:
        raise ServerError("Microsoft.Data.SqlClient.SqlException (0x80131904): Login failed for user 'sa'.")

    Store(folder / "vault.sqlite").close()
    identity = Container("identity", folder, Keys(), GuardedStore(folder / "vault.sqlite", refuse))
    assert identity.call("GET", "/identity/alive")[0] == 200
    form = (
        b"grant_type=client_credentials&scope=api&client_id=user.0f1e2d3c-0000-4000-8000-000000000001&client_secret=x"
    )
    form += b"&deviceType=8&deviceIdentifier=0f1e2d3c-0000-4000-8000-000000000001&deviceName=test"
    headers = {"content-type": "application/x-www-form-urlencoded", "bitwarden-client-version": "2026.7.0"}
    status, _unused, text = identity.call("POST", "/identity/connect/token", headers, form)
    assert (status, json.loads(text)["message"]) == (500, "An unhandled server error has occurred.")
    [log] = (folder / "logs" / "Identity").iterdir()
    assert "Login failed for user 'sa'." in log.read_text()


# -- what the lab sees and does ------------------------------------------------------------------------------------


def test_only_requests_through_nginx_are_logged(folder: Path, lab_db: LabDb) -> None:
    identity = Container("identity", folder, Keys(), Store(None))
    identity.call("GET", "/.well-known/openid-configuration")
    identity.call("GET", "/identity/alive", {**THROUGH_NGINX, "x-connecting-ip": "lab-probe"})
    identity.call("GET", "/identity/alive?x=1", THROUGH_NGINX)
    assert [(row["persona"], row["path"], row["status"]) for row in lab_db.log()] == [
        ("server:us1", "/identity/alive", 200)
    ]


def test_clock_and_faults_of_the_server(folder: Path, lab_db: LabDb) -> None:
    api = Container("api", folder, Keys(), Store(None))
    lab_db.set_clock("us1", 86400)
    assert abs((api.persona.now().timestamp() - time.time()) - 86400) < 60
    lab_db.set_fault("not_json", {"persona": "server:us1"})
    assert "log in" in api.call("GET", "/config")[2]
    lab_db.clear_faults()
    assert api.call("GET", "/config")[1]["server"] == "Kestrel"


def test_faults_on_the_way_out_strike_here_only_for_this_server(
    folder: Path, lab_db: LabDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Container("api", folder, Keys(), Store(None))

    async def answered(*_unused: Any) -> Answer:
        return Answer(204, "")

    api.persona.lab.transport = answered
    for options in ({}, {"server": "us2"}, {"persona": "cloud:US"}):
        lab_db.set_fault("cloud_unreachable", options)
        assert asyncio.run(send(api.persona, "GET", "https://api.bitwarden.com/x", {}, b"")).status == 204
    lab_db.set_fault("cloud_unreachable", {"server": "us1"})
    with pytest.raises(NetworkError, match="Connection refused"):
        asyncio.run(send(api.persona, "GET", "https://api.bitwarden.com/x", {}, b""))


def test_a_proxy_that_drops_bodies_drops_them_before_the_real_network(folder: Path, lab_db: LabDb) -> None:
    api = Container("api", folder, Keys(), Store(None))
    seen = []

    async def answered(_persona: Any, method: str, _url: str, headers: dict[str, str], body: bytes) -> Answer:
        seen.append((method, headers, body))
        return Answer(204, "")

    api.persona.lab.transport = answered
    lab_db.set_fault("proxy_drops_get_bodies", {"server": "us1"})
    for method in ("GET", "POST"):
        headers = {"Content-Type": "application/json"}
        asyncio.run(send(api.persona, method, "https://api.bitwarden.com/x", headers, b"{}"))
    assert seen == [("GET", {}, b""), ("POST", {"Content-Type": "application/json"}, b"{}")]


def test_licenses_are_verified_with_the_certificate_of_the_lab(folder: Path) -> None:
    signer = LicenseSigner.load(folder / "state")
    (folder / "lab" / "licensing.pem").write_bytes((folder / "state" / "licensing.pem").read_bytes())
    api = Container("api", folder, Keys(), Store(None))
    assert api.persona.lab.license_certificates == [signer.certificate]


def test_the_jobs_of_the_api_run_in_its_container(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "JOB_INTERVAL", 0.01)
    api = Container("api", folder, Keys(), Store(None))

    async def for_a_moment() -> None:
        task = asyncio.create_task(server.run_jobs(api.persona))
        await asyncio.sleep(0.1)
        task.cancel()

    asyncio.run(for_a_moment())
    names = {row["Name"] for row in api.persona.store.rows("LabJob")}
    assert names == {"ValidateOrganizationsJob", "SelfHostedSponsorshipSyncJob"}


# -- starting ------------------------------------------------------------------------------------------------------


class Slept(Exception):
    pass


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (Fault("slow_start", {"seconds": "7"}), 7.0),
        (Fault("slow_start", {"seconds": "7", "server": "us1"}), 7.0),
        (Fault("slow_start", {"seconds": "7", "server": "us2"}), None),
        (Fault("start_never_ready"), 3600.0),
        (Fault("registry_down"), None),
    ],
)
def test_a_start_is_late_or_never_comes(
    folder: Path, lab_db: LabDb, monkeypatch: pytest.MonkeyPatch, fault: Fault, seconds: float | None
) -> None:
    def sleep(duration: float) -> None:
        raise Slept(duration)

    lab_db.set_fault(fault.name, fault.options)
    monkeypatch.setattr(time, "sleep", sleep)
    where = Places("us1", folder / "lab", folder, folder, folder)
    if seconds is None:
        serve.wait_for_start(where)
        return
    with pytest.raises(Slept) as caught:
        serve.wait_for_start(where)
    assert caught.value.args == (seconds,)


def test_a_container_without_a_lab_starts_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: pytest.fail("it waited"))
    serve.wait_for_start(Places("us1", tmp_path / "none", tmp_path, tmp_path, tmp_path))


def test_the_port_comes_from_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASPNETCORE_URLS", "http://+:5005/;http://+:1")
    assert serve.port() == 5005
    monkeypatch.delenv("ASPNETCORE_URLS")
    assert serve.port() == 5000


# -- the plain services --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["admin", "sso", "notifications", "events", "icons", "attachments", "scim"])
def test_they_are_alive(service: str) -> None:
    status, kind, body = plain.Plain(service).answer("/alive")
    assert (status, kind) == (200, "application/json; charset=utf-8")
    assert json.loads(body).endswith("Z")


def test_admin_and_sso_have_a_path_of_their_own() -> None:
    assert plain.Plain("admin").answer("/admin/alive")[0] == 200
    assert b"Admin Portal" in plain.Plain("admin").answer("/admin")[2]
    assert plain.Plain("sso").answer("/sso/alive")[0] == 200
    assert plain.Plain("events").answer("/events/alive")[0] == 404


def test_icons_always_have_a_picture() -> None:
    assert plain.Plain("icons").answer("/google.com/icon.png")[:2] == (200, "image/png")


def test_the_web_vault_hands_out_setups_app_id(tmp_path: Path) -> None:
    (tmp_path / "app-id.json").write_text("{}")
    web = plain.Plain("web", tmp_path)
    assert b"Web Vault" in web.answer("/")[2]
    assert web.answer("/app-id.json")[2] == b"{}"
    assert web.answer("/sso-connector.html")[0] == 200
    assert web.answer("/alive")[0] == 404


def test_a_plain_service_answers_over_http() -> None:
    listening = plain.listen(plain.Plain("sso"), 0)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", listening.server_port, timeout=10)
    try:
        for method, path, status, has_body in (
            ("GET", "/sso/alive?x=1", 200, True),
            ("HEAD", "/alive", 200, False),
            ("GET", "/nothing", 404, False),
        ):
            connection.request(method, path)
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read()), answer.headers["Server"]) == (status, has_body, "Kestrel")
    finally:
        connection.close()
        listening.shutdown()
        thread.join()
        listening.server_close()
