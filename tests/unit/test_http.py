"""The transport against a real HTTP server: patience, retries, TLS, redirects, and words without secrets."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import http
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import Connection
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import NetworkError, Response, Transport
from unit.web import Answer, Authority, answers, serve

SECRET = "a-client-secret-of-thirty-char"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Patience:
    """Stands for time.sleep and remembers how long it was asked to wait."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def transport(**options: Any) -> Transport:
    sleep = options.pop("sleep", Patience())
    options = {"retries": 0, "timeout": 5, "client_secret": SECRET, **options}
    return Transport(Connection("cloud", "test", "", "", **options), sleep=sleep)


def said(answer: Answer) -> str:
    with serve(answers(answer)) as web:
        return transport().request("GET", web.url + "/x").said


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(404), "an empty body"),
        (Answer(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}), 'Bearer error="invalid_token"'),
        (Answer(404, {"message": "Resource not found.", "validationErrors": None}), "Resource not found."),
        (
            Answer(400, {"message": "Bad.", "validationErrors": {"License": ["one.", "two."], "": ["three."]}}),
            "Bad. License: one. two. three.",
        ),
        (Answer(400, {"error": "invalid_client"}), "invalid_client"),
        (Answer(400, {"error": "device_error", "error_description": "None."}), "device_error: None."),
        (Answer(400, {"error": "invalid_grant", "ErrorModel": {"Message": "Old."}}), "invalid_grant: Old."),
        (Answer(400, {"error": "e", "error_description": "d", "ErrorModel": {"Message": "m"}}), "e: d: m"),
        (Answer(400, {"error": "e", "error_description": "d", "ErrorModel": {"Message": "d"}}), "e: d"),
        (Answer(502, "<html>\n  <b>Bad   Gateway</b>\n"), "<html> <b>Bad Gateway</b>"),
        (Answer(200, {"token": "abc", "apiKey": "def"}), "JSON with the keys apiKey, token"),
        (Answer(200, "[1, 2]"), "JSON (list)"),
    ],
)
def test_what_the_server_said(answer: Answer, expected: str) -> None:
    assert said(answer) == expected


def test_only_the_beginning_of_a_page_is_quoted() -> None:
    assert said(Answer(500, "word " * 1000)) == ("word " * 40)


def test_secrets_are_never_quoted_back() -> None:
    with serve(lambda asked: Answer(400, f"you sent {asked.headers['Authorization']} and {SECRET}")) as web:
        response = transport().request("GET", web.url, bearer="a-very-secret-bearer-token")
    assert "very-secret" not in response.said
    assert SECRET not in response.said
    assert response.said.startswith("you sent")
    assert "very-secret" not in repr(response)


def test_a_rate_limit_is_waited_out_as_long_as_the_server_says() -> None:
    sleep = Patience()
    slow_down = Answer(429, {"message": "Slow down!"}, {"Retry-After": "7"})
    with serve(answers(slow_down, slow_down, Answer(200, {"ok": 1}))) as web:
        response = transport(sleep=sleep).request("POST", web.url, form={"a": "b"})
    assert response.ok
    assert sleep.waits == [8, 8]
    assert [one.body for one in web.asked] == [b"a=b"] * 3


def test_patience_with_rate_limits_is_bounded_over_the_whole_task() -> None:
    sleep = Patience()
    with serve(answers(Answer(429, headers={"Retry-After": "40"}))) as web:
        client = transport(sleep=sleep, rate_limit_wait=100)
        assert client.request("GET", web.url).status == 429
        assert client.request("GET", web.url).status == 429
    assert sleep.waits == [41, 41]
    assert len(web.asked) == 4


@pytest.mark.parametrize("header", [{}, {"Retry-After": "soon"}])
def test_a_rate_limit_without_a_time_takes_a_minute(header: dict[str, str]) -> None:
    sleep = Patience()
    with serve(answers(Answer(429, headers=header), Answer(200))) as web:
        transport(sleep=sleep).request("GET", web.url)
    assert sleep.waits == [61]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_reading_is_tried_again_when_a_gateway_is_in_trouble(status: int) -> None:
    with serve(answers(Answer(status), Answer(200, {"ok": 1}))) as web:
        assert transport(retries=1).request("GET", web.url).ok
    assert len(web.asked) == 2


def test_the_last_answer_counts_when_a_gateway_stays_in_trouble() -> None:
    with serve(answers(Answer(503, "sorry"))) as web:
        response = transport(retries=1).request("GET", web.url)
    assert (response.status, response.said, len(web.asked)) == (503, "sorry", 2)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_changes_are_never_sent_twice(method: str) -> None:
    with serve(answers(Answer(503))) as web:
        transport(retries=3).request(method, web.url, body={"a": 1})
    assert len(web.asked) == 1


def test_a_redirect_is_an_error_and_nothing_is_sent_there() -> None:
    with serve(answers(Answer(200))) as elsewhere:
        target = elsewhere.url + "/login?session=abcdef"
        moved = answers(Answer(302, headers={"Location": target}))
        with serve(moved) as web, pytest.raises(NetworkError, match="redirected to") as caught:
            transport().request("GET", web.url, bearer="a-very-secret-bearer-token")
    assert elsewhere.asked == []
    assert elsewhere.url + "/login" in str(caught.value)
    assert "abcdef" not in str(caught.value)


def test_a_netrc_file_does_not_replace_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serve(answers(Answer(200))) as web:
        transport().request("GET", web.url, bearer="the-token-itself")
        transport().request("GET", web.url)
    assert web.asked[0].headers["Authorization"] == "Bearer the-token-itself"
    assert "Authorization" not in web.asked[1].headers


def test_the_servers_clock_is_read_from_its_answers() -> None:
    with serve(answers(Answer(200), Answer(200))) as web:
        client = transport()
        assert client.server_time is None
        client.request("GET", web.url)
        assert client.server_time is not None
        assert client.server_time.utcoffset() is not None


def test_bodies_that_are_no_json_have_no_json() -> None:
    assert Response("GET", "", 200, {}, "<html>").json is None
    assert Response("GET", "", 200, {}, '{"a": 1}').json == {"a": 1}


# Network trouble.


def refused(url: str, down: bool | None = None, **options: Any) -> str:
    with pytest.raises(NetworkError) as caught:
        transport(**options).request("GET", url)
    assert caught.value.details["endpoint"] == f"GET {url}"
    assert caught.value.next_step
    assert caught.value.details["server_down"] is down
    return str(caught.value)


def test_nothing_listens() -> None:
    # As long as it is bound nobody else can have the port, and what is bound alone refuses.
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        port = placeholder.getsockname()[1]
        assert "Connection refused" in refused(f"http://127.0.0.1:{port}/x", down=True)


def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def unknown(name: object, *_given: object, **_options: object) -> None:
        asked.append(name)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = refused("http://no-such-host.invalid/x", down=None)
    assert "Name or service not known" in said and "DNS" in said
    assert asked == ["no-such-host.invalid"]


def test_no_answer_in_time() -> None:
    with serve(answers(Answer(200, delay=3))) as web:
        assert "within 1 seconds" in refused(web.url, timeout=1, down=True)


def test_a_request_that_needs_longer_than_the_others_gets_longer() -> None:
    with serve(answers(Answer(200, delay=3))) as web:
        client = transport(timeout=1)
        with pytest.raises(NetworkError, match="within 1 seconds"):
            client.request("GET", web.url)
        assert client.request("GET", web.url, timeout=30).ok


def test_an_answer_that_breaks_off() -> None:
    with serve(answers(Answer(200, "half an answ", cut=100))) as web:
        assert "got no answer" in refused(web.url, down=True)


def test_a_forwarded_port_of_a_server_that_does_not_run() -> None:
    """It takes the connection and hangs up in the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    connection, _address = listener.accept()
                except OSError:
                    return
                connection.recv(1000)
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            assert "TLS" in refused(f"https://127.0.0.1:{listener.getsockname()[1]}/x", down=True)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(answers(Answer(403))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        message = refused("https://api.bitwarden.invalid/x")
    assert "the proxy" in message
    assert "NO_PROXY" in message


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def test_a_good_certificate_of_the_given_ca(authority: Authority) -> None:
    with serve(answers(Answer(200)), authority.context()) as web:
        assert transport(ca_path=str(authority.path)).request("GET", web.url).ok


def test_the_given_ca_counts_more_than_the_environment(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other.path))
    with serve(answers(Answer(200)), authority.context()) as web:
        assert transport(ca_path=str(authority.path)).request("GET", web.url).ok


def test_the_environments_ca_counts_where_none_is_given(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.path))
    with serve(answers(Answer(200)), authority.context()) as web:
        assert transport().request("GET", web.url).ok


def test_an_unknown_ca(authority: Authority) -> None:
    with serve(answers(Answer(200)), authority.context()) as web:
        message = refused(web.url)
    assert "CA that is not known" in message
    assert "ca_path" in message


def test_a_certificate_of_another_host(authority: Authority) -> None:
    with serve(answers(Answer(200)), authority.context(address="127.0.0.9")) as web:
        assert "belongs to another host" in refused(web.url, ca_path=str(authority.path))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (9, "certificate is not valid yet"),
        (10, "certificate has expired"),
        (62, "belongs to another host (in OpenSSL's words)"),
        (64, "belongs to another host (in OpenSSL's words)"),
        *((code, "signed by a CA that is not known here (in OpenSSL's words)") for code in (2, 18, 19, 20, 21)),
        (23, "the certificate was refused (in OpenSSL's words)"),
    ],
)
def test_every_number_of_a_bad_certificate_has_its_words(code: int, words: str) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "in OpenSSL's words"
    told, next_step = http._network_words([OSError("around it"), error], 30)
    assert words in told and next_step


def test_a_certificate_that_has_expired(authority: Authority) -> None:
    with serve(answers(Answer(200)), authority.context(days=-1)) as web:
        message = refused(web.url, ca_path=str(authority.path))
    assert "has expired" in message
    assert "clock" in message


def test_certificates_may_go_unchecked(authority: Authority) -> None:
    with serve(answers(Answer(200)), authority.context(days=-1, address="127.0.0.9")) as web:
        assert transport(validate_certs=False).request("GET", web.url).ok


def test_a_port_that_does_not_speak_tls() -> None:
    with serve(answers(Answer(200))) as web:
        assert "TLS handshake" in refused(web.url.replace("http:", "https:"))


def test_a_ca_file_that_does_not_exist() -> None:
    with pytest.raises(BitwardenError, match=r"/no/such/ca\.pem does not exist"):
        transport(ca_path="/no/such/ca.pem")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUESTS_ERROR", "Traceback")
    with pytest.raises(BitwardenError, match="requests") as caught:
        transport()
    assert caught.value.details == {"exception": "Traceback"}


# Client certificates.


def test_a_client_certificate_is_shown_to_whoever_asks_for_one(authority: Authority) -> None:
    with serve(answers(Answer(200)), authority.context(clients=True)) as web:
        certificate, key = authority.client()
        options = {"ca_path": str(authority.path), "client_cert": str(certificate), "client_key": str(key)}
        assert transport(**options).request("GET", web.url).ok
        # What comes first, the alert or the end of the connection, is the kernel's affair.
        with pytest.raises(NetworkError):
            transport(ca_path=str(authority.path)).request("GET", web.url)
    assert len(web.asked) == 1


def test_the_words_for_a_missing_client_certificate() -> None:
    alert = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")
    alert.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    said, next_step = http._network_words([alert], 5)
    assert "wants a client certificate" in said
    assert "client_cert" in next_step


def test_certificate_and_key_may_be_one_file(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.client()
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    with serve(answers(Answer(200)), authority.context(clients=True)) as web:
        assert transport(ca_path=str(authority.path), client_cert=str(both)).request("GET", web.url).ok


@pytest.mark.parametrize("option", ["client_cert", "client_key"])
def test_a_client_certificate_that_does_not_exist(option: str, authority: Authority) -> None:
    certificate, key = authority.client()
    options = {"client_cert": str(certificate), "client_key": str(key), option: "/no/such.pem"}
    with pytest.raises(BitwardenError, match=rf"/no/such\.pem of {option} cannot be read"):
        transport(**options)


def test_an_encrypted_key_is_refused_where_a_terminal_would_be_asked_for_its_passphrase(authority: Authority) -> None:
    certificate, key = authority.client(passphrase=b"a passphrase")
    with pytest.raises(BitwardenError, match="is encrypted"):
        transport(client_cert=str(certificate), client_key=str(key))


def test_a_key_that_does_not_belong_to_the_certificate(authority: Authority, tmp_path: Path) -> None:
    certificate, _key = authority.client()
    _other, key = Authority(tmp_path).client()
    with serve(answers(Answer(200)), authority.context(clients=True)) as web:
        options = {"client_cert": str(certificate), "client_key": str(key), "ca_path": str(authority.path)}
        assert "client_cert" in refused(web.url, **options)


# What comes back.


def test_every_request_says_who_sends_it() -> None:
    with serve(answers(Answer(200))) as web:
        for method in ("GET", "POST"):
            transport().request(method, web.url)
    assert {asked.headers["User-Agent"] for asked in web.asked} == {"selfhosted.bitwarden (Ansible)"}
    assert {asked.headers["Accept"] for asked in web.asked} == {"application/json"}


def test_a_proxy_is_used_but_not_for_what_no_proxy_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(answers(Answer(200, "from the proxy"))) as proxy, serve(answers(Answer(200, "direct"))) as web:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert transport().request("GET", "http://bitwarden.invalid/api/config").text == "from the proxy"
        assert [asked.path for asked in proxy.asked] == ["http://bitwarden.invalid/api/config"]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert transport().request("GET", web.url).text == "direct"


def test_names_are_read_as_utf8_whatever_is_said_or_guessed() -> None:
    body = '{"name": "Acme & Söhne"}'
    with serve(answers(Answer(200, body))) as web:
        assert transport().request("GET", web.url).json == {"name": "Acme & Söhne"}
    with serve(answers(Answer(200, body, {"Content-Type": "application/json; charset=iso-8859-1"}))) as web:
        assert transport().request("GET", web.url).json == {"name": "Acme & Söhne"}


@pytest.mark.parametrize(
    ("raw", "charset", "text"),
    [
        (b"\xef\xbb\xbf{}", "utf-8", "{}"),
        ("Söhne".encode("latin-1"), "iso-8859-1", "Söhne"),
        ("Söhne".encode("latin-1"), "no-such-charset", "S\ufffdhne"),
    ],
)
def test_other_encodings_are_read_as_well_as_can_be(raw: bytes, charset: str, text: str) -> None:
    with serve(answers(Answer(200, raw, {"Content-Type": f"text/plain; charset={charset}"}))) as web:
        assert transport().request("GET", web.url).text == text


def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_LONGEST_ANSWER", 1024 * 1024)
    with serve(answers(Answer(200, "x" * 3_000_000))) as web:
        message = refused(web.url)
    assert "more than 1 MiB" in message
    with serve(answers(Answer(200, "x" * 1024 * 1024))) as web:
        assert len(transport().request("GET", web.url).text) == 1024 * 1024


def test_an_answer_that_comes_drop_by_drop_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_PARTS", 1)
    with serve(answers(Answer(200, "x" * 40, drops=0.3))) as web:
        assert "within 1 seconds" in refused(web.url, timeout=1, down=True)


def test_json_that_is_nested_too_deeply_is_no_json() -> None:
    with serve(answers(Answer(400, "[" * 200_000))) as web:
        response = transport().request("GET", web.url)
    assert response.json is None
    assert len(response.said) < 500


def test_no_part_of_a_secret_stays_where_an_answer_is_cut() -> None:
    with serve(answers(Answer(502, "x" * 190 + SECRET))) as web:
        assert SECRET[:10] not in transport().request("GET", web.url).said


def test_long_explanations_are_cut() -> None:
    assert len(said(Answer(400, {"message": "m" * 1_000_000}))) < 2100


def test_a_rate_limit_may_name_a_date() -> None:
    patience = Patience()
    then = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=20), usegmt=True)
    with serve(answers(Answer(429, headers={"Retry-After": then}), Answer(200))) as web:
        assert transport(sleep=patience, rate_limit_wait=60).request("POST", web.url).ok
    assert 15 < patience.waits[0] < 23
