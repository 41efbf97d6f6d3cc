"""What egress_probe asks of an endpoint, of real servers on loopback: each answer comes out as its own verdict."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe import connect, place, proxy, questions, tls
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.model import Endpoint, Row, Stop
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.names import (
    LookupFailedError,
    NoSuchNameError,
    Resolver,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.place import Place
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.proxy import Proxy
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.questions import Installation, Questions
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.timing import Deadline
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.wire import Conversation
from bwlab.tls import Authority
from cryptography.hazmat.primitives import serialization
from unit.listeners import served
from unit.module_runner import run_module
from unit.web import Answer, Asked, Script, routes, serve

ID = "8318521f-7d7d-4692-8de0-b50a00eabedc"
KEY = "aVerySecretKey77"
API, IDENTITY, WEB, MAIL = "api.example.com", "identity.example.com", "www.example.com", "mail.example.com"
NAMES = [API, IDENTITY, WEB, MAIL, "proxy.example.com"]
HOSTS = "127.0.0.1 " + " ".join(NAMES)
CONFIG = {"object": "config", "version": "2026.8.0", "server": None}
DISCOVERY = {"scopes_supported": ["api", "api.licensing"]}
FOUND = {"object": "installation", "id": ID, "enabled": True}
NOT_FOUND = Answer(404, {"object": "error", "message": "Not found."})
INSTALLATION = f"GET /installations/{ID}"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("A Public CA")


@pytest.fixture(scope="module")
def stranger() -> Authority:
    return Authority.create("Company CA")


def context_of(pem: bytes, folder: Path) -> ssl.SSLContext:
    path = folder / "server.pem"
    path.write_bytes(pem)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(path)
    return made


@pytest.fixture(scope="module")
def good(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return context_of(authority.issue(NAMES), tmp_path_factory.mktemp("tls"))


@pytest.fixture
def here(authority: Authority) -> Iterator[Place]:
    """A path on which all names lead to loopback, and the one authority is trusted."""
    trusted = ssl.create_default_context(
        cadata=authority.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
    )
    made = Place("host", Deadline.after(10), Resolver(HOSTS, ""), trusted, {})
    yield made
    made.close()


def cloud(**changes: Answer | Script) -> Script:
    """A region's API and identity at one address; changes by the last part of the path."""
    table: dict[str, Answer | Script] = {
        "GET /config": Answer(200, CONFIG),
        "GET /.well-known/openid-configuration": Answer(200, DISCOVERY),
        INSTALLATION: Answer(200, FOUND),
        "POST /connect/token": Answer(200, {"access_token": "aTokenForThis"}),
    }
    words = {"config": "GET /config", "installation": INSTALLATION, "token": "POST /connect/token"}
    table.update({words[name]: answer for name, answer in changes.items() if name in words})
    license_of = changes.get("license", Answer(401, b""))

    def script(asked: Asked) -> Answer:
        if asked.path.startswith("/licenses/organization/"):
            return license_of(asked) if callable(license_of) else license_of
        return routes(table)(asked)

    return script


def endpoint(url: str, kind: str = "api", name: str = "") -> Endpoint:
    scheme, _colon, rest = url.partition("://")
    names = {"api": API, "push": API, "identity": IDENTITY, "smtp": MAIL}
    return Endpoint(name or names.get(kind, WEB), int(rest.rpartition(":")[2]), kind, ("host",), "", scheme == "https")


def asked(where: Place, one: Endpoint, installation: Installation | None = None, **options: Any) -> dict[str, Any]:
    return Questions(where, installation or Installation(), **options).ask(Row(one, "host", 4))


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of the test are the provider's."""
    monkeypatch.setattr(tls, "is_public", lambda _name: True)
    monkeypatch.setattr(place, "unusable_address", lambda _address, _public: False)


# The cloud.


def test_an_api_and_an_identity_that_are_the_cloud_s_are_open(here: Place, good: ssl.SSLContext) -> None:
    with serve(cloud(), good) as web:
        api, identity = (asked(here, endpoint(web.url, kind)) for kind in ("api", "identity"))
    assert (api["verdict"], api["reachable"], api["addresses"]) == ("open", True, ["127.0.0.1"])
    assert api["http"] == {"status": 200, "path": "/config"} and api["proxy"] is None
    assert 0 < api["latency_ms"] < 3000 and abs(api["clock_difference"]) < 2
    assert (api["tls"]["trusted"], api["tls"]["intercepted"], api["tls"]["issuer"]) == (True, None, "A Public CA")
    # A refusal before the login says nothing of the body, since somebody may read along.
    assert api["body_arrives"] is None
    assert identity["verdict"] == "open" and identity["http"]["path"] == "/.well-known/openid-configuration"
    assert [call.partition("/organization/")[0] for call in web.calls] == [
        "GET /config",
        "GET /licenses",
        "GET /config",
        "GET /.well-known/openid-configuration",
    ]
    body = next(one for one in web.asked if "/licenses/" in one.path)
    assert json.loads(body.body) == {"licenseKey": "probe", "billingSyncKey": "probe"}
    assert "Authorization" not in body.headers


def test_a_path_and_no_encryption_are_kept_where_a_region_has_them(here: Place) -> None:
    table = {"GET /api/config": Answer(200, CONFIG), f"GET /api/installations/{ID}": Answer(200, FOUND)}
    with serve(routes(table, Answer(401))) as web:
        one = replace(endpoint(web.url), base="/api")
        told = asked(here, one, Installation(ID, api=one))
    assert told["verdict"] == "open" and told["tls"] is None


@pytest.mark.parametrize(
    ("answer", "word", "arrives"),
    [
        (Answer(415), "body_dropped", False),
        (Answer(401), "open", True),
        (Answer(429), "open", None),
        # Cut short, which an answer to a body that was taken away can be.
        (Answer(200, b"x", cut=5), "body_dropped", False),
    ],
)
@pytest.mark.usefixtures("public")
def test_who_cannot_read_along_cannot_take_the_body_away(
    here: Place, good: ssl.SSLContext, answer: Answer, word: str, arrives: bool | None
) -> None:
    with serve(cloud(license=answer), good) as web:
        told = asked(here, endpoint(web.url))
    assert (told["verdict"], told["body_arrives"]) == (word, arrives)
    assert told["tls"]["intercepted"] is False


@pytest.mark.parametrize(
    ("answer", "word", "arrives"),
    [
        (Answer(400, b"<html>Bad Request</html>"), "body_dropped", False),
        (Answer(429), "rate_limited", None),
        (Answer(200, CONFIG, cut=5), "open", None),
        (Answer(200, CONFIG, delay=2), "body_dropped", False),
    ],
)
def test_the_request_after_a_body_tells_whether_it_was_left_lying(
    here: Place, good: ssl.SSLContext, answer: Answer, word: str, arrives: bool | None
) -> None:
    def config(_asked: Asked) -> Answer:
        return answer if any("/licenses/" in call for call in web.calls) else Answer(200, CONFIG)

    where = replace(here, deadline=Deadline.after(4)) if answer.delay else here
    with serve(cloud(config=config), good) as web:
        told = asked(where, endpoint(web.url))
    assert (told["verdict"], told["body_arrives"]) == (word, arrives)


def test_a_region_says_whether_it_knows_the_installation(here: Place, good: ssl.SSLContext) -> None:
    disabled, failing = Answer(200, {**FOUND, "enabled": False}), Answer(503)
    with (
        serve(cloud(), good) as knows,
        serve(cloud(installation=NOT_FOUND), good) as other,
        serve(cloud(installation=disabled), good) as off,
        serve(cloud(installation=failing), good) as broken,
    ):
        known, unknown, disabled_at, failing_at = (endpoint(web.url) for web in (knows, other, off, broken))

        def told(one: Endpoint, *others: tuple[str, Endpoint]) -> tuple[str, dict[str, Any] | None]:
            found = Questions(here, Installation(ID, "", "US", one, others), makers_of_state=1)
            return found.ask(Row(one, "host", 4))["verdict"], found.state

        facts = {"id": ID, "known": True, "enabled": True, "region": "US", "known_in": ["US"]}
        assert told(known) == ("open", facts)
        assert told(disabled_at) == ("installation_disabled", {**facts, "enabled": False})
        nowhere = {**facts, "known": False, "enabled": False, "known_in": []}
        assert told(unknown, ("EU", unknown), ("Gov", failing_at)) == ("unknown_installation", nowhere)
        elsewhere = {**nowhere, "known_in": ["EU", "Gov"]}
        assert told(unknown, ("EU", known), ("Gov", disabled_at)) == ("wrong_region", elsewhere)
        assert told(failing_at) == ("server_error", None)
        calls = knows.calls.count(INSTALLATION)
        # An API that is not the region's own is not asked for it.
        assert asked(here, known, Installation(ID, api=unknown))["verdict"] == "open"
        assert asked(here, known, Installation("", api=known))["verdict"] == "open"
        assert knows.calls.count(INSTALLATION) == calls


def test_other_regions_are_asked_once_for_all_versions_of_ip(here: Place, good: ssl.SSLContext) -> None:
    with serve(cloud(installation=NOT_FOUND), good) as web, serve(cloud(), good) as eu:
        one = endpoint(web.url)
        found = Questions(here, Installation(ID, "", "US", one, (("EU", endpoint(eu.url)),)), makers_of_state=2)
        assert [found.ask(Row(one, "host", 4))["verdict"] for _time in range(2)] == ["wrong_region"] * 2
    assert eu.calls == [INSTALLATION]


@pytest.mark.parametrize(("proves", "arrives"), [(True, True), (False, None)])
def test_a_login_of_the_installation_proves_that_bodies_arrive(
    here: Place, good: ssl.SSLContext, proves: bool, arrives: bool | None
) -> None:
    def license_of(one: Asked) -> Answer:
        return NOT_FOUND if one.headers.get("Authorization") == "Bearer aTokenForThis" else Answer(401)

    with serve(cloud(license=license_of), good) as web:
        api, identity = endpoint(web.url), endpoint(web.url, "identity")
        found = Questions(here, Installation(ID, KEY, "US", api), 1, 1, proves_bodies=proves)
        rows: list[dict[str, Any]] = []
        threads = [threading.Thread(target=lambda one=one: rows.append(found.ask(Row(one, "host", 4))))
                   for one in (api, identity)]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {row["kind"]: row["verdict"] for row in rows} == {"api": "open", "identity": "open"}
    assert next(row for row in rows if row["kind"] == "api")["body_arrives"] is arrives
    logins = [one for one in web.asked if one.path == "/connect/token"]
    assert len(logins) == proves
    wanted = f"grant_type=client_credentials&scope=api.licensing&client_id=installation.{ID}&client_secret={KEY}"
    assert all(one.body.decode() == wanted for one in logins)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (Answer(400, {"error": "invalid_client"}), "wrong_installation_key"),
        (Answer(400, {"error": "invalid_request"}), "not_bitwarden"),
        (Answer(200, {"access_token": 7}), "not_bitwarden"),
        (Answer(201, {"access_token": "x"}), "not_bitwarden"),
        (Answer(429), "rate_limited"),
        (Answer(403), "filtered"),
        (Answer(200, []), "not_bitwarden"),
    ],
)
def test_a_login_that_fails_is_told(here: Place, good: ssl.SSLContext, answer: Answer, word: str) -> None:
    began = time.monotonic()
    with serve(cloud(token=answer), good) as web:
        given = Installation(ID, KEY)
        assert (
            asked(here, endpoint(web.url, "identity"), given, makers_of_token=1, proves_bodies=True)["verdict"] == word
        )
    # Where no API is asked, nobody says whether the installation is known, and that is not waited for.
    assert time.monotonic() - began < 4


def test_where_nobody_logs_in_no_login_is_waited_for(here: Place, good: ssl.SSLContext) -> None:
    began = time.monotonic()
    with serve(cloud(), good) as web:
        assert asked(here, endpoint(web.url), proves_bodies=True)["verdict"] == "open"
    assert time.monotonic() - began < 4


def test_one_login_is_enough_and_a_disabled_installation_needs_none(here: Place, good: ssl.SSLContext) -> None:
    off = Answer(200, {**FOUND, "enabled": False})
    with serve(cloud(), good) as web, serve(cloud(installation=off), good) as other:
        for one, count in ((endpoint(web.url), 1), (endpoint(other.url), 0)):
            found = Questions(here, Installation(ID, KEY, "US", one), 2, 1, proves_bodies=True)
            identity = replace(one, kind="identity", name=IDENTITY)
            server = web if one.port == endpoint(web.url).port else other
            # Its own login cannot be waited for where nobody makes one.
            found._token.leave("a")
            found._token.leave("b")
            found.ask(Row(one, "host", 4))
            assert [found.ask(Row(identity, "host", 4))["verdict"] for _time in range(2)] == ["open"] * 2
            assert sum("/connect/token" in call for call in server.calls) == count


# What is on the way.


def test_a_proxy_that_nobody_named_shows_by_its_header(here: Place, good: ssl.SSLContext) -> None:
    script = cloud(config=Answer(200, CONFIG, {"Via": "1.1 box"}))
    with serve(script, good) as web:
        assert asked(here, endpoint(web.url))["proxy"] == {"address": None, "source": "on the way", "via": "1.1 box"}


def test_behind_a_certificate_that_is_the_cloud_s_own_a_proxy_is_the_cloud_s(
    here: Place, good: ssl.SSLContext, public: None
) -> None:
    script = cloud(config=Answer(200, CONFIG, {"Via": "1.1 box"}))
    with serve(script, good) as web:
        assert asked(here, endpoint(web.url))["proxy"] is None


def test_a_certificate_in_no_public_log_is_an_interception(
    here: Place, authority: Authority, tmp_path: Path, public: None
) -> None:
    with serve(cloud(), context_of(authority.issue(NAMES, logged=False), tmp_path)) as web:
        told = asked(here, endpoint(web.url))
    assert told["verdict"] == "tls_intercepted" and "A Public CA" in told["cause"]
    assert told["reachable"] is True and told["body_arrives"] is None


@pytest.mark.parametrize(
    ("issued", "wanted"),
    [
        ({"names": ["other.example"]}, ("tls_wrong_name", "other.example")),
        ({"by": "stranger"}, ("tls_unknown_authority", "Company CA")),
        ({"days": -1}, ("tls_expired", "expired")),
        ({"starts": 2}, ("tls_expired", "not valid yet")),
    ],
)
def test_a_certificate_that_does_not_hold_is_looked_at(
    here: Place, request: pytest.FixtureRequest, tmp_path: Path, issued: dict[str, Any], wanted: tuple[str, str]
) -> None:
    issued = {"names": NAMES, "by": "authority", **issued}
    pem = request.getfixturevalue(issued.pop("by")).issue(**issued)
    with serve(cloud(), context_of(pem, tmp_path)) as web:
        told = asked(here, endpoint(web.url))
    assert told["verdict"] == wanted[0] and wanted[1] in told["cause"]
    assert told["tls"]["trusted"] is False


def test_a_public_certificate_that_is_not_trusted_here_means_that_authorities_are_missing(
    here: Place, stranger: Authority, tmp_path: Path, public: None
) -> None:
    for logged, word in ((True, "tls_authority_missing"), (False, "tls_unknown_authority")):
        with serve(cloud(), context_of(stranger.issue(NAMES, logged=logged), tmp_path)) as web:
            assert asked(here, endpoint(web.url))["verdict"] == word


@pytest.mark.parametrize(("ahead", "word"), [(True, "clock_off"), (False, "tls_expired")])
def test_a_certificate_that_is_good_at_the_other_side_s_time_blames_this_clock(
    here: Place, authority: Authority, tmp_path: Path, ahead: bool, word: str
) -> None:
    there = time.gmtime(time.time() - (3 if ahead else 90) * 86400)
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", there)
    script = cloud(config=Answer(200, CONFIG, {"Date": date}))
    with serve(script, context_of(authority.issue(NAMES, days=-1), tmp_path)) as web:
        told = asked(here, endpoint(web.url))
    assert told["verdict"] == word


def test_a_clock_that_is_behind_is_told_after_everything_else(here: Place, good: ssl.SSLContext) -> None:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 600))
    with serve(cloud(config=Answer(200, CONFIG, {"Date": date})), good) as web:
        told = asked(here, endpoint(web.url))
    assert told["verdict"] == "clock_off" and "10 minutes behind" in told["cause"]
    assert told["clock_difference"] == pytest.approx(-600, abs=2)
    assert sum("/licenses/" in call for call in web.calls) == 1


def test_what_is_slow_is_told(here: Place, good: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "SLOW", 0.2)
    with serve(cloud(config=Answer(200, CONFIG, delay=0.3)), good) as web:
        told = asked(here, endpoint(web.url))
    assert told["verdict"] == "slow"
    seconds = re.search(r"only after (\d+\.\d) seconds", told["cause"])
    assert seconds and float(seconds[1]) >= 0.3


@pytest.mark.parametrize(
    ("kind", "word"), [("api", "not_bitwarden"), ("web", "server_error"), ("registry", "server_error")]
)
def test_what_is_no_http_is_told(here: Place, kind: str, word: str) -> None:
    with spoken(b"SSH-2.0-OpenSSH\r\n\r\n\r\n\r\n", waits=True) as port:
        told = asked(here, replace(endpoint(f"http://x:{port}", kind), secure=False))
    assert told["verdict"] == word and "no HTTP" in told["cause"]


def test_silence_and_an_end_before_the_answer_are_told(here: Place) -> None:
    quick = replace(here, deadline=Deadline.after(1))
    with spoken(b"", waits=True, ends=False) as port:
        assert asked(quick, endpoint(f"http://x:{port}"))["verdict"] == "no_answer"
    with spoken(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", waits=True) as port:
        assert asked(here, endpoint(f"http://x:{port}"))["verdict"] == "answer_cut"
    late = replace(here, deadline=Deadline(time.monotonic() - 1, 4))
    assert asked(late, endpoint("http://x:1"))["verdict"] == "out_of_time"


def test_a_website_is_judged_by_less(here: Place, good: ssl.SSLContext) -> None:
    with serve(routes({"GET /": Answer(404)}), good) as web:
        assert asked(here, endpoint(web.url, "web"))["verdict"] == "open"
    with serve(routes({"GET /v2/": Answer(401)}), good) as web:
        assert asked(here, endpoint(web.url, "registry"))["verdict"] == "open"


# Connections alone, and mail.


@contextmanager
def spoken(text: bytes, *, waits: bool = False, ends: bool = True) -> Iterator[int]:
    """A server that says one text to each, at once or when it was spoken to, and ends the connection."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            while not done.is_set():
                connection, _address = listening.accept()
                with connection:
                    if waits:
                        connection.recv(65536)
                    connection.sendall(text)
                    if not ends:
                        done.wait(10)

        with served(listening, talk):
            try:
                yield listening.getsockname()[1]
            finally:
                done.set()


@pytest.mark.parametrize(
    ("greeting", "ends", "word", "said"),
    [
        (b"220 mail ESMTP\r\n", False, "open", ""),
        (b"554 no\r\n", True, "no_greeting", "it begins with b'554 no"),
        (b"", True, "reset", "closed without a word"),
        (b"", False, "no_greeting", "nothing in time"),
    ],
)
def test_a_mail_server_has_to_greet(here: Place, greeting: bytes, ends: bool, word: str, said: str) -> None:
    quick = replace(here, deadline=Deadline.after(2))
    with spoken(greeting, ends=ends) as port:
        told = asked(quick, endpoint(f"https://x:{port}", "smtp"))
    assert told["verdict"] == word and said in told["cause"]


def test_a_mail_server_with_tls_from_the_start(
    here: Place, good: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr(questions, "_TLS_FROM_THE_START", listening.getsockname()[1])

        def greet() -> None:
            connection, _address = listening.accept()
            with good.wrap_socket(connection, server_side=True) as secured:
                secured.sendall(b"220 mail\r\n")
                secured.recv(1)

        with served(listening, greet):
            told = asked(here, endpoint(f"https://x:{listening.getsockname()[1]}", "smtp"))
            here.close()
    assert told["verdict"] == "open" and told["tls"]["trusted"]


def test_port_465_of_a_mail_server_speaks_tls_from_the_start(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def secure(_place: Place, row: Row, _connection: object) -> None:
        raise Stop("tls_failed", f"on {row.endpoint.port}")

    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"220 mail")
        monkeypatch.setattr(Place, "connect", lambda _place, _row: ours)
        monkeypatch.setattr(Place, "secure", secure)
        told = {port: asked(here, endpoint(f"https://x:{port}", "smtp"))["verdict"] for port in (465, 587)}
    assert told == {465: "tls_failed", 587: "open"}


def test_of_other_ports_a_connection_is_enough(here: Place) -> None:
    with spoken(b"") as port:
        assert asked(here, endpoint(f"https://x:{port}", "tcp"))["verdict"] == "open"
    told = asked(here, endpoint(f"https://x:{port}", "tcp"))
    assert told["verdict"] == "refused" and "connection refused" in told["cause"]


def test_addresses_that_do_not_answer_are_told(here: Place, good: ssl.SSLContext) -> None:
    where = replace(here, resolver=Resolver(HOSTS + f"\n127.0.0.2 {API}", ""))
    with serve(cloud(), good) as web:
        told = asked(where, endpoint(web.url))
    assert (told["verdict"], told["dead_addresses"]) == ("some_addresses_dead", ["127.0.0.2"])
    assert "127.0.0.2 (connection refused)" in told["cause"]


def test_an_address_that_is_silent_takes_its_share_of_the_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        crowd = [socket.socket() for _one in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        began = time.monotonic()
        tried = connect.connect(["127.0.0.1", "127.0.0.3"], port, Deadline.after(4))
        assert 1.1 < time.monotonic() - began < 3.9
        for one in crowd:
            one.close()
    assert tried.alive == {} and tried.seconds is None
    assert tried.dead["127.0.0.1"] == ("timed_out", "nothing within 1.2 s")
    assert tried.dead["127.0.0.3"] == ("refused", "connection refused")
    assert tried.worst == ("timed_out", "127.0.0.1: nothing within 1.2 s, 127.0.0.3: connection refused")


def test_a_connection_that_came_about_is_kept_and_timed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        tried = connect.connect(["127.0.0.9", "127.0.0.1", "fe80::1%nowhere"], port, Deadline.after(2))
        assert list(tried.alive) == ["127.0.0.1"] and tried.seconds is not None and tried.seconds < 1
        assert {address: word for address, (word, _said) in tried.dead.items()} == {
            "127.0.0.9": "refused",
            "fe80::1%nowhere": "no_route",
        }
        tried.close()
        assert tried.alive["127.0.0.1"].fileno() == -1


def test_how_long_it_waits_for_an_end_depends_on_the_way() -> None:
    waits: list[float] = []

    class Quiet(socket.socket):
        def settimeout(self, seconds: float | None) -> None:
            waits.append(seconds or 0)

        def recv(self, *_given: int) -> bytes:
            raise TimeoutError("timed out")

    with Quiet() as quiet:
        assert [connect.cut_at_once(quiet, distance) for distance in (None, 0.15, 9.0)] == [None] * 3
    assert waits == pytest.approx([0.1, 0.3, 0.6])
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.close()
        assert connect.cut_at_once(ours, None) == "closed without a word"


@pytest.mark.parametrize(
    ("ways", "word", "said"),
    [
        ((4,), "no_route", "network is unreachable"),
        ((6,), "ip_version_missing", "no way out"),
        ((), "no_route", "neither version"),
    ],
)
def test_a_path_without_a_way_out_says_so_and_not_that_the_endpoint_is_at_fault(
    here: Place, monkeypatch: pytest.MonkeyPatch, ways: tuple[int, ...], word: str, said: str
) -> None:
    monkeypatch.setattr(connect, "has_way_out", lambda version: version in ways)
    monkeypatch.setattr(
        connect, "connect", lambda *_given: connect.Tried(dead={"127.0.0.1": ("no_route", "network is unreachable")})
    )
    told = asked(here, endpoint("https://x:443"))
    assert told["verdict"] == word and said in told["cause"]


def test_a_name_with_addresses_of_the_other_version_only_is_not_asked_by_this_one(here: Place) -> None:
    told = Questions(here, Installation()).ask(Row(endpoint("https://x:443"), "host", 6))
    assert (told["verdict"], told["reachable"], told["addresses"]) == ("ip_version_missing", None, [])


def test_a_public_name_that_leads_to_this_machine_is_a_filter_s_work(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "is_public", lambda _name: True)
    told = asked(here, endpoint("https://x:443"))
    assert told["verdict"] == "dns_unusable" and "127.0.0.1" in told["cause"]
    # Who writes an address means it.
    with spoken(b"") as port:
        literal = Endpoint("127.0.0.1", port, "tcp", ("host",))
        assert asked(here, literal)["verdict"] == "open"


# Proxies.


@contextmanager
def proxied(tls_of: ssl.SSLContext | None = None, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> Iterator[Any]:
    """A proxy that lets one connection after the other through to loopback; its port, and the heads of requests."""
    heads: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def carry(connection: socket.socket) -> None:
            with connection:
                try:
                    outer = tls_of.wrap_socket(connection, server_side=True) if tls_of else connection
                    head = outer.recv(65536).decode()
                    heads.append(head)
                    outer.sendall(answer)
                    if not answer.startswith(b"HTTP/1.1 200"):
                        return
                    port = int(head.split()[1].rpartition(":")[2])
                    with socket.create_connection(("127.0.0.1", port)) as inner:
                        back = threading.Thread(target=pump, args=(inner, outer), daemon=True)
                        back.start()
                        pump(outer, inner)
                        back.join()
                except OSError:
                    return

        def serve_all() -> None:
            while True:
                connection, _address = listening.accept()
                threading.Thread(target=carry, args=(connection,), daemon=True).start()

        with served(listening, serve_all):
            yield listening.getsockname()[1], heads


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.mark.parametrize("secure", [False, True])
def test_through_a_proxy_with_a_login(here: Place, good: ssl.SSLContext, secure: bool) -> None:
    script = cloud(config=Answer(200, CONFIG, {"Via": "1.1 box"}))
    with serve(script, good) as web, proxied(good if secure else None) as (port, heads):
        given = Proxy("proxy.example.com", port, secure, "me:word", "the option")
        one = endpoint(web.url)
        told = asked(replace(here, given_proxy=given), one)
    assert told["verdict"] == "open"
    assert told["proxy"] == {"address": f"proxy.example.com:{port}", "source": "the option", "via": "1.1 box"}
    # The addresses are those of the endpoint, which nobody here has looked up.
    assert told["addresses"] == [] and told["tls"]["trusted"]
    assert heads[0].startswith(f"CONNECT {API}:{one.port} HTTP/1.1\r\nHost: {API}\r\n")
    assert "Proxy-Authorization: Basic bWU6d29yZA==\r\n" in heads[0]


def test_mail_and_what_is_not_encrypted_take_no_proxy(here: Place) -> None:
    where = replace(here, given_proxy=Proxy("proxy.example.com", 1, False))
    for kind in ("smtp", "tcp"):
        assert where.proxy_for(endpoint("https://x:25", kind)) is None
    assert where.proxy_for(endpoint("http://x:80")) is None
    assert where.proxy_for(endpoint("https://x:443")) is where.given_proxy


def test_the_environment_s_proxy_is_used_and_a_wrong_one_is_told(here: Place) -> None:
    named = replace(here, environment={"https_proxy": "http://proxy.example.com:3128"})
    found = named.proxy_for(endpoint("https://x:443"))
    assert found is not None and found.shown == {"address": "proxy.example.com:3128", "source": "the environment"}
    told = asked(replace(here, environment={"https_proxy": "socks5://x"}), endpoint("https://x:443"))
    assert told["verdict"] == "proxy_unreachable" and "the environment is no address" in told["cause"]


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"HTTP/1.1 407 Login\r\n\r\n", "proxy_needs_login"),
        (b"HTTP/1.1 502 Bad\r\n\r\n", "proxy_failed"),
        (b"HTTP/1.1 503 Bad\r\n\r\n", "proxy_failed"),
        (b"HTTP/1.1 403 No\r\n\r\n", "proxy_refused"),
        (b"HTTP/1.1 500 No\r\n\r\n", "proxy_refused"),
        (b"HTTP/1.1 300 No\r\n\r\n", "proxy_refused"),
        (b"", "proxy_refused"),
        (b"220 mail\r\n\r\n", "proxy_failed"),
    ],
)
def test_a_proxy_that_does_not_let_it_through(here: Place, answer: bytes, word: str) -> None:
    with proxied(answer=answer) as (port, heads):
        told = asked(replace(here, given_proxy=Proxy("127.0.0.1", port, False)), endpoint("https://x:443"))
    assert told["verdict"] == word and f"127.0.0.1:{port}" in told["cause"]
    assert "Proxy-Authorization" not in heads[0]


@pytest.mark.parametrize("status", [200, 204, 299])
def test_any_status_that_is_good_lets_it_through(status: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(f"HTTP/1.1 {status} OK\r\n\r\n".encode())
        talk = Conversation(ours, "x", Deadline.after(2))
        proxy.passes(Proxy("proxy.example.com", 1, False), endpoint("https://x:443"), talk)


def test_a_proxy_that_is_silent_is_told() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Stop) as stop:
        talk = Conversation(ours, "x", Deadline.after(0.5))
        proxy.passes(Proxy("proxy.example.com", 1, False), endpoint("https://x:443"), talk)
    assert (stop.value.word, stop.value.detail) == ("proxy_failed", "proxy.example.com:1 does not answer in time")


def test_a_proxy_that_cannot_be_reached_is_told(here: Place, stranger: Authority, tmp_path: Path) -> None:
    def told(host: str, port: int, secure: bool = False, version: int = 4) -> tuple[str, str]:
        where = replace(here, given_proxy=Proxy(host, port, secure))
        found = Questions(where, Installation()).ask(Row(endpoint("https://x:443"), "host", version))
        return found["verdict"], found["cause"]

    with spoken(b"") as port:
        pass
    word, cause = told("proxy.example.com", port)
    assert word == "proxy_unreachable" and f"proxy.example.com:{port}: refused, " in cause
    assert told("proxy.example.com", port, version=6)[0] == "ip_version_missing"
    with proxied(context_of(stranger.issue(NAMES), tmp_path)) as (port, _heads):
        word, cause = told("proxy.example.com", port, secure=True)
    assert word == "proxy_unreachable" and "its certificate does not hold" in cause
    with spoken(b"220 mail\r\n", waits=True) as port:
        word, cause = told("proxy.example.com", port, secure=True)
    assert word == "proxy_unreachable" and "no TLS with it" in cause


# TLS.


@pytest.mark.parametrize(
    ("said", "ends", "word"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, "not_tls"),
        (b"", True, "reset_in_tls"),
        (b"", False, "no_answer"),
        # An alert: handshake failure.
        (b"\x15\x03\x03\x00\x02\x02\x28", True, "tls_failed"),
    ],
)
def test_why_a_handshake_fails(here: Place, said: bytes, ends: bool, word: str) -> None:
    quick = replace(here, deadline=Deadline.after(1.5))
    with spoken(said, waits=True, ends=ends) as port:
        told = asked(quick, endpoint(f"https://x:{port}"))
    assert told["verdict"] == word


def test_a_proxy_of_tls_around_tls_that_ends_early_or_falls_silent_is_told(here: Place, good: ssl.SSLContext) -> None:
    for ends, word in ((True, "reset_in_tls"), (False, "no_answer")):
        with spoken(b"", waits=True, ends=ends) as port, proxied(good) as (between, _heads):
            given = Proxy("proxy.example.com", between, True)
            quick = replace(here, given_proxy=given, deadline=Deadline.after(2), open=[])
            assert asked(quick, endpoint(f"https://x:{port}"))["verdict"] == word
            quick.close()


def test_a_certificate_that_cannot_be_looked_at_again_keeps_its_first_verdict(
    here: Place, stranger: Authority, tmp_path: Path
) -> None:
    context = context_of(stranger.issue(NAMES), tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def once() -> None:
            connection, _address = listening.accept()
            listening.close()
            with connection:
                context.wrap_socket(connection, server_side=True)

        with served(listening, once):
            told = asked(here, endpoint(f"https://x:{listening.getsockname()[1]}"))
    assert told["verdict"] == "tls_unknown_authority" and told["tls"] is None


def test_an_expired_certificate_whose_holder_says_nothing_is_expired(
    here: Place, authority: Authority, tmp_path: Path
) -> None:
    with serve(
        cloud(config=Answer(200, CONFIG, delay=1.5)), context_of(authority.issue(NAMES, days=-1), tmp_path)
    ) as web:
        told = asked(replace(here, deadline=Deadline.after(3)), endpoint(web.url))
    assert told["verdict"] == "tls_expired" and told["clock_difference"] is None


def test_names_that_cannot_be_looked_up_are_told(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(error: Exception, *ways: int) -> str:
        def fails(*_given: Any) -> list[str]:
            raise error

        monkeypatch.setattr(here.resolver, "look_up", fails)
        monkeypatch.setattr(connect, "has_way_out", lambda version: version in ways)
        found = asked(here, endpoint("https://x:443"))
        assert str(error) in found["cause"] or not ways
        return str(found["verdict"])

    assert told(NoSuchNameError("192.0.2.53"), 4) == "dns_no_such_name"
    assert told(LookupFailedError("192.0.2.53 answers refused"), 4) == "dns_failed"
    assert told(LookupFailedError("192.0.2.53 does not answer")) == "no_route"


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        (Stop("dns_no_such_name", " (asked: 192.0.2.53)"), "p:1: there is no such name (asked: 192.0.2.53)"),
        (Stop("timed_out", "nothing within 3 s"), "p:1: no answer to a connection, nothing within 3 s"),
        (Stop("something_else", "in words"), "p:1: in words"),
    ],
)
def test_why_a_proxy_cannot_be_reached_is_said_in_words(
    here: Place, monkeypatch: pytest.MonkeyPatch, stop: Stop, said: str
) -> None:
    def fails(*_given: Any) -> None:
        raise stop

    where = replace(here, given_proxy=Proxy("p", 1, False))
    monkeypatch.setattr(Place, "_direct", fails)
    told = asked(where, endpoint("https://x:443"))
    assert told["verdict"] == "proxy_unreachable" and said in told["cause"]


def test_of_two_addresses_that_answer_the_first_one_is_used(here: Place) -> None:
    where = replace(here, resolver=Resolver(HOSTS + f"\n127.0.0.2 {API}", ""))
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
        with socket.create_server(("127.0.0.2", port)) as other:
            row = Row(Endpoint(API, port, "tcp", ("host",)), "host", 4)
            connection = where.connect(row)
            assert isinstance(connection, socket.socket) and connection.getpeername()[0] == "127.0.0.1"
            assert row.dead == {} and row.addresses == ["127.0.0.1", "127.0.0.2"]
            accepted, _address = other.accept()
            with accepted:
                assert accepted.recv(1) == b""


def test_a_version_of_ip_that_the_kernel_does_not_have_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_given: Any) -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(connect.socket, "socket", missing)
    tried = connect.connect(["::1"], 443, Deadline.after(1))
    assert tried.dead == {"::1": ("no_route", "Address family not supported by protocol")}
    assert not connect.has_way_out(6)


def test_a_way_out_is_a_route(monkeypatch: pytest.MonkeyPatch) -> None:
    to: list[Any] = []

    class Probe:
        def __init__(self, family: int, kind: int) -> None:
            assert kind == socket.SOCK_DGRAM
            self.family = family

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_given: object) -> None:
            return

        def connect(self, address: tuple[str, int]) -> None:
            to.append((self.family, address[0]))
            if self.family == socket.AF_INET6:
                raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(connect.socket, "socket", Probe)
    assert (connect.has_way_out(4), connect.has_way_out(6)) == (True, False)
    assert to == [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:4860::1")]


def test_a_reset_before_anything_was_said_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _address = listening.accept()
        # Without lingering an end is a reset.
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        with ours:
            assert connect.cut_at_once(ours, None) == "connection reset by peer"


def test_the_module_asks_from_the_host_itself(authority: Authority, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    with serve(cloud(), context_of(authority.issue(["127.0.0.1"]), tmp_path)) as web, spoken(b"") as port:
        one = endpoint(web.url)
        listed = [{"name": "127.0.0.1", "port": one.port, "kind": "api"}, {"name": "127.0.0.1", "port": port}]
        given = {"installation_id": ID, "ca_path": str(ca), "ip_versions": [4], "paths": ["host"], "timeout": 10}
        told = run_module("egress_probe", {"endpoints": [*listed[:1], {**listed[1], "kind": "tcp"}], **given})
    assert [row["verdict"] for row in told["endpoints"]] == ["open", "open"]
    assert told["reachable"] is True and told["installation"]["known"] is True and not told.changed
    assert 0 < told["elapsed"] < 10


def test_nothing_is_told_as_reachable_that_was_not_asked_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listed = [{"name": "127.0.0.1", "port": listening.getsockname()[1], "kind": "web"}]
        told = run_module("egress_probe", {"endpoints": listed, "ip_versions": [4], "paths": ["host"], "timeout": 1})
    assert told["reachable"] is False and told["elapsed"] < 3
    assert told["endpoints"][0]["verdict"] in {"no_answer", "out_of_time", "not_asked"}


def test_times_are_told_in_milliseconds_and_seconds() -> None:
    row = Row(endpoint("https://x:443"), "host", 4, latency=0.98764, clock_difference=1.26)
    told = row.told("open")
    assert (told["latency_ms"], told["clock_difference"]) == (987.6, 1.3)
