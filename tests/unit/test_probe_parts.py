"""The parts of egress_probe that need no network: how answers are read, and what is said about them."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import random
import re
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe import (
    answers,
    certificate,
    docker,
    names,
    namespaces,
    proxy,
    trust,
    verdicts,
    wish,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.model import Endpoint, Row, Stop
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.place import clock
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.probe import Probe, reachable
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.promise import Promise
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.timing import Deadline, OutOfTimeError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.wire import (
    Conversation,
    CutError,
    NotHttpError,
    Response,
    SilentError,
)
from bwlab import tls
from cryptography.hazmat.primitives import serialization
from unit.module_runner import run_module

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "plugins" / "module_utils" / "probe").glob("*.py"))
API = Endpoint("api.bitwarden.com", 443, "api", ("host",))
ID = "8318521f-7d7d-4692-8de0-b50a00eabedc"
SECRET = "aVerySecretWord77"


# Names.


def dns_answer(query: bytes, *records: tuple[int, bytes], flags: int = 0x8180, alias: bytes = b"") -> bytes:
    """An answer; with an alias the name leads to another name first, as those of a CDN do."""
    text = query[:2] + struct.pack("!5H", flags, 1, len(records) + bool(alias), 0, 0) + query[12:]
    if alias:
        text += struct.pack("!HHHIH", 0xC00C, 5, 1, 60, len(alias)) + alias
    for kind, data in records:
        text += struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data
    return text


def test_an_answer_of_a_name_server_is_read_also_where_the_name_is_an_alias() -> None:
    query = names.query("api.bitwarden.com", 1, 77)
    found = [(1, bytes([192, 0, 2, 10])), (1, bytes([192, 0, 2, 11]))]
    said = dns_answer(query, *found, alias=b"\x03cdn\x07example\x00")
    assert names.addresses_in(said, 1) == (0, False, ["192.0.2.10", "192.0.2.11"])
    six = dns_answer(names.query("x.eu", 28, 1), (28, bytes(15) + b"\x01"), flags=0x8380)
    assert names.addresses_in(six, 28) == (0, True, ["::1"])
    assert names.addresses_in(dns_answer(query, flags=0x8183), 1) == (3, False, [])


def test_no_answer_of_a_name_server_breaks_the_reader() -> None:
    rng = random.Random(7)  # noqa: S311 - no secret: a seed makes it again
    good = dns_answer(names.query("api.bitwarden.com", 1, 77), (1, bytes(4)), alias=b"\x03cdn\x00")
    for _round in range(3000):
        data = bytearray(good[: rng.randrange(len(good) + 1)])
        for _change in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            names.addresses_in(bytes(data), 1)
        except (struct.error, IndexError, ValueError):
            continue


def test_the_hosts_file_ends_a_look_up_and_a_literal_needs_none() -> None:
    resolver = names.Resolver("192.0.2.1 Api.Example.com other # one\n::1 six\n", "")
    deadline = Deadline.after(5)
    assert resolver.look_up("api.example.COM", 4, deadline) == ["192.0.2.1"]
    assert resolver.look_up("api.example.com", 6, deadline) == []
    assert resolver.look_up("six", 6, deadline) == ["::1"]
    assert resolver.look_up("192.0.2.9", 4, deadline) == ["192.0.2.9"]
    assert resolver.look_up("192.0.2.9", 6, deadline) == []


def test_name_servers_are_those_of_resolv_conf_at_most_three() -> None:
    text = "; a comment\nnameserver 192.0.2.1 # one\nsearch a.example b.example\n" + "nameserver 2001:db8::1\n" * 3
    resolver = names.Resolver("", text)
    assert resolver.servers == ["192.0.2.1", "2001:db8::1", "2001:db8::1"]
    assert names.Resolver("", "").servers == ["127.0.0.1"]
    assert resolver.candidates("proxy") == ["proxy.a.example", "proxy.b.example", "proxy"]
    assert resolver.candidates("api.bitwarden.com") == ["api.bitwarden.com"]


@pytest.mark.parametrize(
    ("address", "public", "wanted"),
    [
        ("0.0.0.0", False, True),
        ("::", False, True),
        ("127.0.0.1", True, True),
        ("127.0.0.1", False, False),
        ("::1", True, True),
        ("169.254.1.1", True, True),
        ("224.0.0.1", False, True),
        # A private address may be a proxy that nobody has to know of.
        ("10.0.0.1", True, False),
        ("192.0.2.1", True, False),
    ],
)
def test_addresses_where_no_service_can_be(address: str, public: bool, wanted: bool) -> None:
    assert names.unusable(address, public) is wanted


# Certificates.


@pytest.fixture(scope="module")
def authority() -> tls.Authority:
    return tls.Authority.create("A Public CA")


def der_of(text: bytes) -> bytes:
    found = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", text.decode(), re.DOTALL)
    return ssl.PEM_cert_to_DER_cert(found[0])


def test_a_certificate_is_read_also_where_nobody_trusts_it(authority: tls.Authority) -> None:
    found = certificate.read(der_of(authority.issue(["api.bitwarden.com", "*.bitwarden.com"], days=90)))
    assert (found.subject, found.issuer) == ("api.bitwarden.com", "A Public CA")
    assert found.names == ("api.bitwarden.com", "*.bitwarden.com")
    assert found.days_left in (89, 90)
    assert found.begins < time.time() < found.ends
    assert found.logged
    assert not certificate.read(der_of(authority.issue(["x"], logged=False))).logged
    assert certificate.read(der_of(authority.issue(["x"], days=-3))).days_left < 0


def test_no_certificate_breaks_the_reader(authority: tls.Authority) -> None:
    rng = random.Random(7)  # noqa: S311 - no secret: a seed makes it again
    good = der_of(authority.issue(["api.bitwarden.com"]))
    for _round in range(3000):
        data = bytearray(good[: rng.randrange(2, len(good) + 1)])
        for _change in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            certificate.read(bytes(data))
        except (ValueError, IndexError):
            continue


def test_authorities_come_from_where_the_container_is_told_to_look(tmp_path: Path, authority: tls.Authority) -> None:
    pem = authority.certificate.public_bytes(serialization.Encoding.PEM)
    folder = tmp_path / "ca-certificates"
    folder.mkdir()
    (folder / "company.crt").write_bytes(pem)
    (folder / "notes.txt").write_text("no certificate", encoding="utf-8")
    (tmp_path / "bundle.pem").write_bytes(pem)
    (tmp_path / "empty").mkdir()
    for path in (folder, tmp_path / "bundle.pem"):
        assert trust.of_path(str(path)).cert_store_stats()["x509"] == 1
    by_folder = trust.of_this_place({"SSL_CERT_DIR": str(folder), "SSL_CERT_FILE": "/nowhere"})
    assert by_folder.cert_store_stats()["x509"] == 1
    by_file = trust.of_this_place(
        {"SSL_CERT_FILE": str(tmp_path / "bundle.pem"), "SSL_CERT_DIR": str(tmp_path / "empty")}
    )
    assert by_file.cert_store_stats()["x509"] == 1
    for bad, words in (
        (tmp_path / "empty", "it holds no certificate"),
        (folder / "notes.txt", "(?i)no.certificate"),
        (tmp_path / "nothing", "No such file"),
    ):
        with pytest.raises(ValueError, match=words):
            trust.of_path(str(bad))


def test_without_settings_the_authorities_are_those_of_the_place(
    tmp_path: Path, authority: tls.Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = authority.certificate.public_bytes(serialization.Encoding.PEM)
    bundle, folder = tmp_path / "bundle.pem", tmp_path / "certs"
    folder.mkdir()
    bundle.write_bytes(pem)
    monkeypatch.setattr(trust, "_BUNDLES", (str(tmp_path / "nowhere"), str(bundle)))
    monkeypatch.setattr(trust, "_FOLDERS", (str(tmp_path / "nowhere"), str(folder)))
    assert trust.of_this_place({}).cert_store_stats()["x509"] == 1
    monkeypatch.setattr(trust, "_BUNDLES", ())
    assert trust.of_this_place({}).cert_store_stats()["x509"] == 0
    # The folder of the place is read by OpenSSL's names, and when a certificate is looked for.
    monkeypatch.setattr(trust.ssl.SSLContext, "load_verify_locations", lambda _context, **given: asked.append(given))
    asked: list[dict[str, Any]] = []
    trust.of_this_place({})
    assert asked == [{"capath": str(folder)}]


# Proxies.


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://one.example:3128"}, "one.example:3128"),
        ({"https_proxy": "two.example:8080", "HTTPS_PROXY": "http://one.example:3128"}, "two.example:8080"),
        ({"ALL_PROXY": "http://three.example"}, "three.example:80"),
        ({"http_proxy": "http://one.example:3128"}, None),
        ({"https_proxy": "  "}, None),
        ({"https_proxy": "http://one.example:1", "no_proxy": "api.bitwarden.com"}, None),
        ({"https_proxy": "http://one.example:1", "NO_PROXY": "localhost, .bitwarden.com"}, None),
        ({"https_proxy": "http://one.example:1", "no_proxy": "bitwarden.com"}, "one.example:1"),
        ({"https_proxy": "http://one.example:1", "no_proxy": "*"}, "one.example:1"),
        ({"https_proxy": "http://[2001:db8::1]:3128"}, "[2001:db8::1]:3128"),
    ],
)
def test_a_proxy_is_chosen_as_net_chooses(environment: Mapping[str, str], wanted: str | None) -> None:
    found = proxy.of_environment(environment, API, "the environment")
    assert (found.shown["address"] if found else None) == wanted


def test_a_proxy_s_login_is_for_the_header_alone() -> None:
    found = proxy.read(f"http://me:{SECRET}%21@proxy.example.com:3128", "the option")
    assert found.login == f"me:{SECRET}!"
    assert SECRET not in repr(found) + json.dumps(found.shown)
    for bad in (f"ftp://me:{SECRET}@x", f"http://me:{SECRET}@", f"http://me:{SECRET}@x:port"):
        with pytest.raises(proxy.ProxyError) as error:
            proxy.read(bad, "the option")
        assert SECRET not in str(error.value)


# Answers.


def response(status: int, body: object = b"", **headers: str) -> Response:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {"content-type": "application/json", **headers}, text)


CONFIG = {"object": "config", "version": "2026.8.0", "server": None}
DISCOVERY = {"scopes_supported": ["api", "api.licensing"]}
PAGE = b"<html><title>Guests  only</title></html>"


@pytest.mark.parametrize(
    ("kind", "answer", "word", "detail"),
    [
        ("api", response(200, CONFIG), "", ""),
        ("push", response(200, CONFIG), "", ""),
        ("identity", response(200, DISCOVERY), "", ""),
        ("identity", response(200, CONFIG), "not_bitwarden", "status 200"),
        ("api", response(200, {**CONFIG, "server": {"name": "Vaultwarden"}}), "not_bitwarden", "made by Vaultwarden"),
        ("api", response(200, []), "not_bitwarden", "status 200"),
        ("api", response(200, b"\xff"), "not_bitwarden", "status 200"),
        ("api", response(404, {"object": "error"}), "not_bitwarden", "status 404"),
        ("api", Response(200, {}, PAGE), "captive_portal", "titled 'Guests only'"),
        ("api", Response(404, {"content-type": "text/html"}, b"no"), "captive_portal", "a page"),
        ("api", response(302, location="http://login.example.com/x?y"), "captive_portal", "to login.example.com"),
        ("api", response(302, location="http://[bad"), "captive_portal", "to elsewhere"),
        ("api", response(511), "captive_portal", "511"),
        ("api", response(403), "filtered", "403"),
        ("api", response(451), "filtered", "451"),
        ("api", response(407), "proxy_needs_login", "407"),
        ("api", response(429), "rate_limited", "429"),
        ("api", response(500), "server_error", "500"),
        ("api", response(503, PAGE), "server_error", "503"),
    ],
)
def test_only_the_cloud_s_own_answer_is_taken(kind: str, answer: Response, word: str, detail: str) -> None:
    if not word:
        answers.judge(kind, answer)
        return
    with pytest.raises(Stop) as stop:
        answers.judge(kind, answer)
    assert stop.value.word == word
    assert detail in stop.value.detail


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (response(200), ""),
        (response(401), ""),
        (response(403), ""),
        (response(404), ""),
        (response(429), ""),
        (response(302, location="https://elsewhere.example"), ""),
        (response(301, location="/elsewhere"), ""),
        (response(302, location="http://login.example"), "captive_portal"),
        (response(407), "proxy_needs_login"),
        (response(502), "server_error"),
        (response(511), "captive_portal"),
    ],
)
def test_a_website_may_say_what_it_likes_but_for_trouble(answer: Response, word: str) -> None:
    if not word:
        answers.judge_website(answer)
        return
    with pytest.raises(Stop) as stop:
        answers.judge_website(answer)
    assert stop.value.word == word


def test_what_the_region_says_of_an_installation() -> None:
    known = {"object": "installation", "id": ID, "enabled": True}
    assert answers.installation(response(200, known)) is True
    assert answers.installation(response(200, {**known, "enabled": False})) is False
    assert answers.installation(response(404, {"object": "error"})) is None
    for answer, word in ((response(404, PAGE), "not_bitwarden"), (response(503), "server_error")):
        with pytest.raises(Stop) as stop:
            answers.installation(answer)
        assert stop.value.word == word


@pytest.mark.parametrize(
    ("status", "login", "wanted"),
    [(404, True, True), (404, False, None), (401, False, None), (415, True, False), (400, False, False),
     (501, False, False), (413, True, False), (429, True, None), (500, True, None)],
)  # fmt: skip
def test_whether_a_body_came(status: int, login: bool, wanted: bool | None) -> None:
    assert answers.body_came(response(status), login=login) is wanted


# HTTP over a connection.


def talk(said: bytes, *, close: bool = True, method: str = "GET", body: bytes | None = None) -> tuple[Response, bytes]:
    """The answer to one request, and the request."""
    here, there = socket.socketpair()
    with here, there:
        there.sendall(said)
        if close:
            there.shutdown(socket.SHUT_WR)
        answer = Conversation(here, "api.bitwarden.com", Deadline.after(1)).ask(method, "/config", {"A": "b"}, body)
        return answer, there.recv(65536)


def test_an_answer_is_read_in_each_form() -> None:
    assert talk(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")[0].json == {}
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n{\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n"
    assert talk(chunked)[0].json == {}
    assert talk(b"HTTP/1.0 200 OK\r\n\r\n{}")[0].json == {}
    assert talk(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 Nothing\r\n\r\n", close=False)[0].status == 204


def test_a_body_of_a_get_is_sent_in_chunks_as_the_server_does() -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    sent = talk(ok, body=b"{}")[1]
    assert sent.startswith(b"GET /config HTTP/1.1\r\nHost: api.bitwarden.com\r\n")
    assert sent.endswith(b"\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    assert talk(ok, method="POST", body=b"a=b")[1].endswith(b"\r\nContent-Length: 3\r\n\r\na=b")


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (b"", CutError, "closed without an answer"),
        (b"HTTP/1.1 200", CutError, "no answer: 12 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", CutError, "2 of 9 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", CutError, "2 of 5 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", NotHttpError, "no length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", NotHttpError, "no length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", NotHttpError, "-1 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n", NotHttpError, "bytes"),
        (b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n", NotHttpError, "HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", NotHttpError, "99999999999"),
        (b"220 smtp.example.com ESMTP\r\n\r\n", NotHttpError, "220 smtp"),
        (b"x" * (3 << 20), NotHttpError, "without end"),
    ],
)
def test_every_way_to_fail_has_a_name(said: bytes, error: type[Exception], words: str) -> None:
    here, there = socket.socketpair()

    def speak() -> None:
        try:
            there.sendall(said)
            there.shutdown(socket.SHUT_WR)
        except OSError:
            return

    speaker = threading.Thread(target=speak)
    with here, there:
        speaker.start()
        with pytest.raises(error, match=re.escape(words)):
            Conversation(here, "x", Deadline.after(5)).ask("GET", "/")
        here.close()
        there.close()
        speaker.join(5)


def test_no_answer_breaks_the_reader() -> None:
    rng = random.Random(7)  # noqa: S311 - no secret: a seed makes it again
    good = b"HTTP/1.1 200 OK\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\n"
    goods = [good + b"Content-Length: 2\r\n\r\n{}", good + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
    for _round in range(3000):
        data = bytearray(rng.choice(goods))
        for _change in range(rng.randrange(1, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            answer, _sent = talk(bytes(data[: rng.randrange(1, len(data) + 1)]))
        except (CutError, NotHttpError):
            continue
        assert answer.clock_difference is None or len(answer.clock_difference) == 2
        answers.body_came(answer, login=True)
        with contextlib.suppress(Stop):
            answers.judge("api", answer)


def test_an_answer_nested_too_deep_is_no_json() -> None:
    assert Response(200, {}, b"[" * 200000).json is None


def test_an_answer_byte_by_byte_does_not_take_longer_than_it_may() -> None:
    here, there = socket.socketpair()
    done = threading.Event()

    def drip() -> None:
        while not done.wait(0.02):
            try:
                there.sendall(b"x")
            except OSError:
                return

    dripping = threading.Thread(target=drip)
    with here, there:
        dripping.start()
        began = time.monotonic()
        with pytest.raises(SilentError):
            Conversation(here, "x", Deadline.after(1)).ask("GET", "/")
        assert time.monotonic() - began < 10
        done.set()
        dripping.join()


# Time.


def test_no_step_takes_more_than_is_left() -> None:
    assert Deadline.after(10).step(0.3) == 3.0
    late = Deadline(time.monotonic() + 1, 10)
    assert late.step(0.3) <= 1
    with pytest.raises(OutOfTimeError):
        Deadline(time.monotonic() - 1, 10).step(0.3)


def at(ahead: float) -> Response:
    """An answer that came at once, on a clock that is so many seconds ahead of the other one."""
    there = 1_800_000_000.0
    return Response(200, {"date": "Fri, 15 Jan 2027 08:00:00 GMT"}, b"", there + ahead + 0.4, there + ahead + 0.5)


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (0, ""),
        (-1.4, ""),
        (-2, "2 seconds behind"),
        (-600, "10 minutes behind"),
        (-90000, "25 hours behind"),
        (30, ""),
        (600, "10 minutes ahead of"),
    ],
)
def test_a_clock_behind_is_told_within_seconds_and_one_ahead_within_a_minute(ahead: float, words: str) -> None:
    row = Row(API, "host", 4)
    assert clock(row, at(ahead)) == words
    assert row.clock_difference == pytest.approx(ahead, abs=0.6)


def test_without_a_date_the_clocks_are_not_compared() -> None:
    row = Row(API, "host", 4)
    for bad in ({}, {"date": "yesterday"}):
        assert clock(row, Response(200, bad, b"", 1.0, 2.0)) == ""
    assert row.clock_difference is None


def test_a_promise_ends_when_nobody_is_left_to_keep_it() -> None:
    promise: Promise[str] = Promise(2)
    one, other = object(), object()
    promise.leave(one)
    promise.leave(one)
    began = time.monotonic()
    assert promise.wait(0.05) is None
    assert time.monotonic() - began >= 0.05
    promise.leave(other)
    assert promise.wait(60) is None
    promise.keep("first")
    promise.keep("second")
    assert promise.wait(60) == "first"


# Verdicts.


def test_every_verdict_is_a_sentence_with_a_next_step() -> None:
    for word, found in verdicts.TABLE.items():
        values = {"name": "NAME", "port": 443, "path": "PATH", "version": 4, "detail": "DETAIL"}
        told = verdicts.tell(word, **values)
        assert told["verdict"] == word
        assert told["cause"].endswith("."), word
        assert "{" not in told["cause"] + str(told["next_step"]), word
        assert (told["next_step"] is None) == (word == "open")
        assert told["reachable"] is {"good": True, "neutral": None, "bad": False}[found.weight]


def test_every_word_that_is_used_is_in_the_table_and_the_reverse() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES if path.name != "verdicts.py")
    words = set(re.findall(r"Stop\(\s*\"(\w+)\"", text)) | set(re.findall(r"word(?:, detail)? = \"(\w+)\"", text))
    assert words <= set(verdicts.TABLE)
    assert {word for word in verdicts.TABLE if f'"{word}"' not in text} == set()


def row(**values: Any) -> dict[str, Any]:
    word = values.pop("verdict", "open")
    return {**Row(API, "host", 4).told(word), **values}


def test_reachable_means_every_endpoint_from_every_path() -> None:
    neutral = row(verdict="ip_version_missing", ip_version=6)
    assert reachable([row(), neutral])
    assert reachable([row(verdict="tls_intercepted")])
    assert not reachable([row(), row(verdict="timed_out", ip_version=6)])
    assert not reachable([neutral])
    assert not reachable([row(), {**neutral, "path": "containers"}])


# Arguments.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"timeout": 0.5}, "timeout is 0.5 seconds"),
        ({"timeout": 3600}, "timeout is 3600 seconds"),
        ({"paths": []}, "paths is empty"),
        ({"ip_versions": []}, "ip_versions is empty"),
        ({"container": "../etc"}, "which no container can be called"),
        ({"container": "-v"}, "which no container can be called"),
        ({"region": None}, "Neither endpoints nor a region"),
        ({"region": "Mars"}, "The Bitwarden region 'Mars' is not known"),
        ({"endpoints": []}, "endpoints is empty"),
        ({"endpoints": [{"name": "https://api.bitwarden.com"}]}, "no host name"),
        ({"endpoints": [{"name": "api.bitwarden.com", "port": 0}]}, "port 0"),
        ({"installation_id": "not-a-guid"}, "The installation id is no GUID"),
        ({"installation_key": SECRET}, "installation_key is given without installation_id"),
        ({"installation_id": ID, "region": None, "endpoints": [{"name": "x.example"}]}, "there is no API to ask"),
        ({"installation_id": ID, "endpoints": [{"name": "x.example"}], "api_url": "ftp://x"}, "its address is none"),
        (
            {
                "region": None,
                "endpoints": [{"name": "api.example", "kind": "api"}],
                "installation_id": ID,
                "installation_key": SECRET,
            },
            "no identity to log in at",
        ),
        ({"proxy": f"socks5://me:{SECRET}@x"}, "The proxy cannot be used"),
        ({"ca_path": "/nowhere"}, "ca_path cannot be used, /nowhere: No such file"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_next_step(arguments: dict[str, Any], words: str) -> None:
    values = {"region": "US", "installation_key": None, **arguments}
    result = run_module("egress_probe", {key: value for key, value in values.items() if value is not None})
    assert result.failed
    assert words in result["msg"]
    assert result["next_step"]
    assert SECRET not in result.output


def params(**values: Any) -> dict[str, Any]:
    unset = dict.fromkeys(
        ("endpoints", "region", "container", "proxy", "ca_path", "installation_id", "installation_key", "api_url")
    )
    return {**unset, "paths": ["host"], "ip_versions": [4], "timeout": 10.0, **values}


def test_a_region_brings_its_endpoints_and_whom_to_ask_for_the_installation() -> None:
    found = wish.read(params(region="EU", installation_id=ID.upper()))
    assert [(one.name, one.port, one.kind, one.paths) for one in found.endpoints] == [
        ("api.bitwarden.eu", 443, "api", ("host", "containers", "setup")),
        ("identity.bitwarden.eu", 443, "identity", ("host", "containers", "setup")),
        ("push.bitwarden.eu", 443, "push", ("host", "containers")),
    ]
    assert (found.installation.id, found.installation.region) == (ID, "EU")
    assert found.installation.api == found.endpoints[0]
    assert [name for name, _endpoint in found.installation.others] == ["US", "Gov"]


def test_every_port_there_is_can_be_asked() -> None:
    listed = [{"name": "x.example", "port": port} for port in (1, 65535)]
    assert [one.port for one in wish.read(params(endpoints=listed)).endpoints] == [1, 65535]
    for port in (0, 65536):
        with pytest.raises(BitwardenError, match=f"has the port {port}"):
            wish.read(params(endpoints=[{"name": "x.example", "port": port}]))


def test_a_region_of_one_s_own_may_have_ports_and_paths() -> None:
    own = {"name": "Lab", "api": "https://lab.example:8443/api/", "identity": "https://lab.example:8443/identity/"}
    found = wish.read(params(region=own, installation_id=ID))
    assert [(one.port, one.base, one.authority) for one in found.endpoints] == [
        (8443, "/api", "lab.example:8443"),
        (8443, "/identity", "lab.example:8443"),
    ]
    assert found.installation.region == "Lab"
    assert len(found.installation.others) == 3


def test_an_api_that_is_given_is_asked_besides_the_endpoints() -> None:
    mail: list[dict[str, Any]] = [{"name": "smtp.example.com", "port": 587, "kind": "smtp", "paths": ["containers"]}]
    found = wish.read(params(endpoints=mail, installation_id=ID, api_url="https://api.bitwarden.com"))
    assert [(one.name, one.kind) for one in found.endpoints] == [
        ("smtp.example.com", "smtp"),
        ("api.bitwarden.com", "api"),
    ]
    assert found.installation.region == "US"


def test_a_key_brings_the_identity_that_it_is_for() -> None:
    api = [{"name": "api.bitwarden.eu", "port": 443, "kind": "api", "paths": None}]
    found = wish.read(params(endpoints=api, installation_id=ID, installation_key=SECRET))
    assert [(one.name, one.kind) for one in found.endpoints][1:] == [("identity.bitwarden.eu", "identity")]
    assert SECRET not in repr(found)


def test_a_name_that_is_none_is_no_crash() -> None:
    resolver = names.Resolver("", "")
    for bad in ("pro..xy.example", "x" * 64 + ".example"):
        with pytest.raises(names.LookupFailedError):
            resolver.look_up(bad, 4, Deadline.after(1))


@pytest.mark.parametrize(
    ("kind", "port", "manner"),
    [("api", 443, "api"), ("smtp", 587, "smtp"), ("registry", 443, "web"), ("web", 8443, "web"), ("tcp", 443, "web"),
     ("tcp", 1433, "tcp"), ("dns", 53, "tcp"), ("something", 8080, "tcp")],
)  # fmt: skip
def test_how_a_kind_is_asked(kind: str, port: int, manner: str) -> None:
    assert Endpoint("x.example", port, kind, ("host",)).manner == manner


# Docker.


def container(
    name: str, image: str = "nginx:1", pid: int = 5, service: str = "", labels: Mapping[str, str] | None = None
) -> docker.Container:
    given = {"service": service, **(labels or {})}
    return docker.Container(name, pid, image, {}, {f"com.docker.compose.{key}": value for key, value in given.items()})


IMAGE = "ghcr.io/bitwarden/api:2026.8.0"


def test_bitwarden_s_api_is_found_among_containers() -> None:
    mine = container("docker-api-1", IMAGE, service="api")
    others = [
        container("bitwarden-nginx", "ghcr.io/bitwarden/nginx:1", service="nginx"),
        container("api", service="api"),
    ]
    assert docker.bitwarden([*others, mine]) is mine
    lite = container("vault", "ghcr.io/bitwarden/lite:2026.8.0")
    assert docker.bitwarden([*others, lite]) is lite
    named = container("bitwarden-api", "mirror.example/api:1")
    assert docker.bitwarden([*others, lite, named]) is named
    with pytest.raises(docker.DockerError, match="no container of Bitwarden's api runs"):
        docker.bitwarden(others)
    with pytest.raises(BitwardenError, match="docker-api-1, docker-api-2"):
        docker.bitwarden([mine, container("docker-api-2", IMAGE, service="api")])


def test_a_named_container_has_to_run() -> None:
    here = container("mine")
    assert docker.named("mine", [here]) is here
    for name, found in (("other", [here]), ("mine", [container("mine", pid=0)])):
        with pytest.raises(BitwardenError, match=f"No container {name} runs"):
            docker.named(name, found)


FAKE = """#!/bin/sh
echo "$@" >>"{calls}"
case "$1 $2" in
    "ps --quiet") {ps} ;;
    "image ls") {images} ;;
    "inspect --type") cat "{folder}/inspect.json" ;;
    "run --rm") {run} ;;
esac
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A docker program with answers of its own, and the file that holds what it was asked."""

    def make(**answers_of: str) -> Path:
        calls = tmp_path / "calls"
        program = tmp_path / "docker"
        said = {"ps": "true", "images": "true", "run": "true", **answers_of}
        program.write_text(FAKE.format(calls=calls, folder=tmp_path, **said), encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return calls

    return make


@pytest.mark.parametrize(
    ("images", "containers", "wanted"),
    [
        ("echo 'a:1 sha256:a'; echo 'ghcr.io/bitwarden/setup:1 sha256:s'", [container("x", IMAGE)], "sha256:s"),
        ("echo 'a:1 sha256:a'", [container("x"), container("bitwarden-api", IMAGE)], IMAGE),
        ("echo 'a:1 sha256:a'", [], "sha256:a"),
    ],
)
def test_the_helper_s_image_is_one_that_is_here(fake: Any, images: str, containers: Any, wanted: str) -> None:
    fake(images=images)
    assert docker.image_for_setup(containers, Deadline.after(10)) == wanted


def test_without_an_image_none_is_fetched(fake: Any) -> None:
    calls = fake()
    result = run_module("egress_probe", {"region": "US", "paths": ["setup"], "ip_versions": [4], "timeout": 5})
    assert {one["verdict"] for one in result["endpoints"]} == {"not_asked"}
    assert "there is no image on this server, and none is fetched for this" in result["endpoints"][0]["cause"]
    assert [line.split()[0] for line in calls.read_text(encoding="utf-8").splitlines()] == ["ps", "image"]


def test_a_docker_that_hangs_costs_no_more_than_the_time_of_the_probe(fake: Any) -> None:
    fake(ps="exec sleep 60")
    result = run_module("egress_probe", {"region": "US", "paths": ["containers", "setup"], "timeout": 2})
    assert result["elapsed"] <= 2
    assert {one["verdict"] for one in result["endpoints"]} == {"not_asked"}
    assert "Docker does not answer in time" in result["endpoints"][0]["cause"]


def test_a_container_that_may_not_be_entered_is_told(fake: Any, tmp_path: Path) -> None:
    entry = {"Name": "/bitwarden-api", "State": {"Pid": 999999999}, "Config": {"Image": IMAGE, "Env": ["A=b"]}}
    fake(ps="echo 0123")
    (tmp_path / "inspect.json").write_text(json.dumps([entry]), encoding="utf-8")
    result = run_module("egress_probe", {"region": "US", "paths": ["containers"], "ip_versions": [4], "timeout": 5})
    assert {one["verdict"] for one in result["endpoints"]} == {"not_asked"}
    assert "for /proc/999999999/ns; this takes root on the server" in result["endpoints"][0]["cause"]


@pytest.mark.parametrize("text", ["[{}]", "nothing", "[]", '[{"Name": "x", "State": null}]'])
def test_an_answer_of_docker_that_is_not_understood_is_told(fake: Any, tmp_path: Path, text: str) -> None:
    fake(ps="echo 0123")
    (tmp_path / "inspect.json").write_text(text, encoding="utf-8")
    result = run_module("egress_probe", {"region": "US", "paths": ["containers"], "ip_versions": [4], "timeout": 5})
    assert {one["verdict"] for one in result["endpoints"]} == {"not_asked"}


def test_a_fault_of_the_probe_itself_is_told_by_its_place_alone() -> None:
    def broken() -> None:
        raise RuntimeError(SECRET)

    child = namespaces.start(broken)
    namespaces.collect([child], time.monotonic() + 10)
    assert re.fullmatch(r"the probe itself failed, RuntimeError in test_probe_parts\.py:\d+", child.result["error"])


def test_a_child_that_is_ended_by_a_signal_is_not_said_to_be_slow() -> None:
    """As the C library does where it finds a library of another age inside a container."""
    probe = Probe(wish.read(params(region="US")))
    probe.children["containers"] = child = namespaces.start(lambda: os.kill(os.getpid(), signal.SIGUSR1))
    namespaces.collect([child], time.monotonic() + 10)
    causes = {row["cause"] for row in probe._of("containers")["rows"]}
    said = f"the process that asks was ended by signal {int(signal.SIGUSR1)}"
    assert causes == {f"Nothing could be asked from the path containers: {said}."}


def test_a_child_that_does_not_end_is_ended() -> None:
    ended: list[bool] = []
    child = namespaces.start(lambda: time.sleep(60))
    child.after = lambda: ended.append(True)
    began = time.monotonic()
    namespaces.collect([child], began + 0.2)
    assert time.monotonic() - began < 5
    assert child.result is None
    assert ended == [True]
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_helper_that_does_not_start_is_told_and_taken_away(fake: Any, tmp_path: Path) -> None:
    calls = fake(images="echo 'a:1 sha256:a'", run="echo 'docker: exec: \"sh\": not found.' >&2; exit 127")
    result = run_module("egress_probe", {"region": "US", "paths": ["setup"], "timeout": 5})
    assert 'exec: "sh": not found' in result["endpoints"][0]["cause"]
    (run,) = [line for line in calls.read_text(encoding="utf-8").splitlines() if line.startswith("run ")]
    assert "--pull never" in run
    assert "--rm" in run


def test_the_helper_is_started_with_the_settings_of_who_drives_bitwarden(
    fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / ".docker"
    settings.mkdir()
    (settings / "config.json").write_text("{}", encoding="utf-8")
    entry = pwd.struct_passwd(("bw", "x", 1, 1, "", str(tmp_path), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: entry)
    stranger = container("x", labels={"project.working_dir": str(tmp_path)})
    assert docker.configuration_of([stranger]) is None
    ours = container("docker-api-1", IMAGE, labels={"service": "api", "project.working_dir": str(tmp_path)})
    assert docker.configuration_of([stranger, ours]) == str(settings)
    calls = fake(run='echo "settings $DOCKER_CONFIG" >>"$(dirname "$0")/calls"; exit 1')
    helper = docker.Helper("a:1", str(settings))
    with pytest.raises(docker.DockerError, match="no container can be started from the image a:1"):
        helper.start(Deadline.after(10))
    helper.remove()
    assert f"settings {settings}\n" in calls.read_text(encoding="utf-8")


def test_in_check_mode_it_asks_just_the_same(fake: Any) -> None:
    fake()
    arguments = {"region": "US", "paths": ["containers"], "ip_versions": [4], "timeout": 5}
    told = [run_module("egress_probe", arguments, check=check) for check in (False, True)]
    assert told[0]["endpoints"] == told[1]["endpoints"]
    assert not told[0].changed
    assert not told[1].changed
    assert "no container of Bitwarden's api runs here" in told[1]["endpoints"][0]["cause"]


def test_what_a_probe_had_to_leave_is_removed_once_it_is_old(fake: Any, tmp_path: Path) -> None:
    now = int(time.time())
    calls = fake(ps=f"echo 'old1 {now - 86400}'; echo 'new1 {now}'; echo 'odd1 '")
    program = tmp_path / "docker"
    program.write_text(program.read_text(encoding="utf-8").replace('"ps --quiet"', '"ps --all"'), encoding="utf-8")
    docker.clear(Deadline.after(10))
    asked = calls.read_text(encoding="utf-8").splitlines()
    assert [line for line in asked if line.startswith("rm ")] == ["rm --force --volumes old1"]


def test_a_helper_that_runs_is_ended_when_it_is_not_needed_any_more(fake: Any, tmp_path: Path) -> None:
    entry = {"Name": "/helper", "State": {"Pid": os.getpid()}, "Config": {"Image": "a:1", "Env": ["A=b"]}}
    (tmp_path / "inspect.json").write_text(json.dumps([{**entry, "State": {"Pid": 0}}]), encoding="utf-8")
    calls = fake(run="exec cat")
    helper = docker.Helper("a:1")

    def later() -> None:
        time.sleep(0.3)
        (tmp_path / "next.json").write_text(json.dumps([entry]), encoding="utf-8")
        (tmp_path / "next.json").rename(tmp_path / "inspect.json")

    thread = threading.Thread(target=later)
    thread.start()
    found = helper.start(Deadline.after(10))
    thread.join()
    assert (found.name, found.pid, found.environment) == ("helper", os.getpid(), {"A": "b"})
    helper.remove()
    helper.remove()
    # It ended by itself, so that nothing was to be removed.
    assert not any(line.startswith("rm ") for line in calls.read_text(encoding="utf-8").splitlines())


def test_a_helper_that_does_not_end_by_itself_is_removed(fake: Any, tmp_path: Path) -> None:
    entry = {"Name": "/helper", "State": {"Pid": 5}, "Config": {"Image": "a:1"}}
    (tmp_path / "inspect.json").write_text(json.dumps([entry]), encoding="utf-8")
    calls = fake(run="exec sleep 60")
    helper = docker.Helper("a:1")
    helper.start(Deadline.after(10))
    helper.remove()
    assert f"rm --force --volumes {helper.name}" in calls.read_text(encoding="utf-8").splitlines()


def test_a_helper_that_does_not_come_up_is_not_waited_for_longer_than_its_share(
    fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its share ends so early that a slow machine does not come near the end of the whole.
    monkeypatch.setattr(docker, "_FOR_QUESTIONS", 0.7)
    (tmp_path / "inspect.json").write_text("[]", encoding="utf-8")
    fake(run="exec cat")
    helper = docker.Helper("a:1")
    began = time.monotonic()
    with pytest.raises(docker.DockerError, match="a container from the image a:1 does not start in time"):
        helper.start(Deadline.after(6))
    assert time.monotonic() - began < 5
    helper.remove()


def test_without_a_docker_program_nothing_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker.shutil, "which", lambda *_given, **_options: None)
    with pytest.raises(docker.DockerError, match="there is no program docker on this server"):
        docker.running(Deadline.after(5))


@pytest.mark.parametrize(
    ("script", "words"),
    [("echo 'first'; echo 'Cannot connect?.' >&2; exit 1", "Docker says: Cannot connect"), ("exit 3", "status 3")],
)
def test_what_docker_says_is_told(fake: Any, script: str, words: str) -> None:
    fake(ps=script)
    with pytest.raises(docker.DockerError, match=words):
        docker.running(Deadline.after(5))


def test_an_organization_s_name_is_told_with_that_of_its_authority() -> None:
    pair = b"\x30\x0c\x06\x03\x55\x04\x03\x0c\x05Root1"
    organization = b"\x30\x0c\x06\x03\x55\x04\x0a\x0c\x05Acme1"
    for sets, wanted in (
        ([pair, organization], "Root1 (Acme1)"),
        ([organization], "Acme1"),
        ([pair], "Root1"),
        ([], "a nameless authority"),
        ([pair, organization.replace(b"Acme1", b"Root1")], "Root1"),
    ):
        der = b"".join(b"\x31" + bytes([len(one)]) + one for one in sets)
        assert certificate._name(der, (0x30, 0, len(der))) == wanted
