"""How egress_probe asks name servers: real ones on loopback, with answers of every kind."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe import names
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.probe.timing import Deadline, OutOfTimeError
from unit.listeners import served

NAME = "api.example.com"
NO_ERROR, SERVER_FAILURE, NO_SUCH_NAME, REFUSED, NOT_ZONE = 0x8180, 0x8182, 0x8183, 0x8185, 0x818A
TRUNCATED = 0x8380
Answers = Callable[[bytes], "bytes | None"]


def answer(query: bytes, *addresses: str, flags: int = NO_ERROR) -> bytes:
    text = query[:2] + struct.pack("!5H", flags, 1, len(addresses), 0, 0) + query[12:]
    for address in addresses:
        text += struct.pack("!HHHIH4s", 0xC00C, 1, 1, 60, 4, socket.inet_aton(address))
    return text


@contextmanager
def name_server(address: str, port: int, given: Answers) -> Iterator[list[bytes]]:
    """One that answers each datagram; None is silence. The list is of what it was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, port))
        server.settimeout(0.05)
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                try:
                    data, caller = server.recvfrom(4096)
                except TimeoutError:
                    continue
                asked.append(data)
                said = given(data)
                if said is not None:
                    server.sendto(said, caller)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield asked
        finally:
            done.set()
            thread.join(5)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """One that is free wherever a test may want it, and is asked in the place of 53."""
    for _attempt in range(100):
        with ExitStack() as stack, suppress(OSError):
            first, second, by_tcp = (
                stack.enter_context(socket.socket(type=kind))
                for kind in (socket.SOCK_DGRAM, socket.SOCK_DGRAM, socket.SOCK_STREAM)
            )
            first.bind(("127.0.0.1", 0))
            found = int(first.getsockname()[1])
            second.bind(("127.0.0.2", found))
            by_tcp.bind(("127.0.0.1", found))
            monkeypatch.setattr(names, "_PORT", found)
            return found
    raise AssertionError("no port is free")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """So long before a question is repeated that even a slow machine cannot take waiting for haste."""
    monkeypatch.setattr(names, "_AGAIN", 30.0)


PATIENT, IN_NO_TIME = 100, 15


def look_up(*servers: str, name: str = NAME, seconds: float = 5, search: str = "") -> list[str]:
    configuration = "".join(f"nameserver {one}\n" for one in servers) + search
    return names.Resolver("", configuration).look_up(name, 4, Deadline.after(seconds))


def test_a_name_is_looked_up(port: int) -> None:
    with name_server("127.0.0.1", port, lambda data: answer(data, "192.0.2.1", "192.0.2.2")) as asked:
        assert look_up("127.0.0.1") == ["192.0.2.1", "192.0.2.2"]
    assert len(asked) == 1
    assert asked[0][2:] == names.query(NAME, 1, 0)[2:]


def test_a_name_with_no_such_address_has_none(port: int) -> None:
    with name_server("127.0.0.1", port, answer):
        assert look_up("127.0.0.1") == []


@pytest.mark.usefixtures("patient")
def test_a_name_that_does_not_exist_ends_the_look_up_at_once(port: int) -> None:
    began = time.monotonic()
    with (
        name_server("127.0.0.1", port, lambda data: answer(data, flags=NO_SUCH_NAME)),
        pytest.raises(names.NoSuchNameError, match=r"127\.0\.0\.1"),
    ):
        look_up("127.0.0.1", seconds=PATIENT)
    assert time.monotonic() - began < IN_NO_TIME


def test_the_domains_of_this_place_are_tried_before_the_name_alone(port: int) -> None:
    def given(data: bytes) -> bytes:
        known = data[12:].startswith(b"\x05proxy\x01b")
        return answer(data, "192.0.2.1") if known else answer(data, flags=NO_SUCH_NAME)

    with name_server("127.0.0.1", port, given) as asked:
        assert look_up("127.0.0.1", name="proxy", search="search a b\n") == ["192.0.2.1"]
    assert len(asked) == 2
    with (
        name_server("127.0.0.1", port, lambda data: answer(data, flags=NO_SUCH_NAME)) as asked,
        pytest.raises(names.NoSuchNameError),
    ):
        look_up("127.0.0.1", name="proxy", search="search a b\n")
    assert len(asked) == 3


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda data: answer(data, flags=SERVER_FAILURE), "answers server failure"),
        (lambda data: answer(data, flags=REFUSED), "answers refused"),
        (lambda data: answer(data, flags=NOT_ZONE), "answers 10"),
        (lambda data: data[:2] + b"x", "gives an answer that is not understood"),
        (lambda data: answer(data, "192.0.2.1")[:-2], "gives an answer that is not understood"),
    ],
)
def test_name_servers_that_are_of_no_use_are_told_without_waiting(port: int, given: Answers, said: str) -> None:
    began = time.monotonic()
    with (
        name_server("127.0.0.1", port, given),
        name_server("127.0.0.2", port, given),
        pytest.raises(names.LookupFailedError) as error,
    ):
        look_up("127.0.0.1", "127.0.0.2", seconds=PATIENT)
    assert str(error.value) == f"127.0.0.1 {said}, 127.0.0.2 {said}"
    assert time.monotonic() - began < IN_NO_TIME


@pytest.mark.usefixtures("patient")
def test_nobody_there_is_told_without_waiting(port: int) -> None:
    began = time.monotonic()
    with pytest.raises(names.LookupFailedError, match=r"127\.0\.0\.1 cannot be asked \(Connection refused\)"):
        look_up("127.0.0.1", seconds=PATIENT)
    assert time.monotonic() - began < IN_NO_TIME


def test_a_silent_name_server_is_asked_again_and_told(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_AGAIN", 0.1)
    with (
        name_server("127.0.0.1", port, lambda _data: None) as asked,
        pytest.raises(names.LookupFailedError, match=r"^127\.0\.0\.1 does not answer$"),
    ):
        look_up("127.0.0.1", seconds=6)
    # 2.4 seconds are its share of the time.
    assert 3 <= len(asked) <= 25


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "first", [lambda _data: None, lambda data: answer(data, flags=SERVER_FAILURE), lambda data: b"xx" + data[2:]]
)
def test_another_name_server_helps_where_the_first_one_does_not(port: int, first: Answers) -> None:
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(name_server("127.0.0.1", port, first))
        stack.enter_context(name_server("127.0.0.2", port, lambda data: answer(data, "192.0.2.1")))
        assert look_up("127.0.0.1", "127.0.0.2", seconds=PATIENT) == ["192.0.2.1"]
    assert time.monotonic() - began < IN_NO_TIME


def test_an_answer_to_another_question_is_none(port: int) -> None:
    def other(data: bytes) -> bytes:
        return bytes([data[0] ^ 1]) + answer(data, "192.0.2.66")[1:]

    with name_server("127.0.0.1", port, other), pytest.raises(names.LookupFailedError, match="does not answer"):
        look_up("127.0.0.1", seconds=1)


@contextmanager
def by_tcp(port: int, given: Callable[[bytes], list[bytes]]) -> Iterator[None]:
    """A name server that says by UDP that its answer is too long, and by TCP what it is given, in its pieces."""
    with (
        socket.create_server(("127.0.0.1", port)) as listening,
        name_server("127.0.0.1", port, lambda data: answer(data, flags=TRUNCATED)),
    ):

        def talk() -> None:
            connection, _address = listening.accept()
            with connection:
                data = connection.recv(4096)
                for piece in given(data[2:]):
                    connection.sendall(piece)
                    time.sleep(0.05)

        with served(listening, talk):
            yield


def framed(data: bytes, *addresses: str) -> bytes:
    said = answer(data, *addresses)
    return struct.pack("!H", len(said)) + said


def test_an_answer_that_is_too_long_is_fetched_by_tcp_in_whatever_pieces_it_comes(port: int) -> None:
    many = [f"192.0.2.{number}" for number in range(1, 100)]

    def pieces(data: bytes) -> list[bytes]:
        whole = framed(data, *many)
        return [whole[:1], whole[1:2], whole[2:500], whole[500:]]

    with by_tcp(port, pieces):
        assert look_up("127.0.0.1") == many


@pytest.mark.parametrize("length", [0, 1, 2, 20])
def test_an_answer_by_tcp_that_ends_too_early_is_told(port: int, length: int) -> None:
    with (
        by_tcp(port, lambda data: [framed(data, "192.0.2.1")[:length]]),
        pytest.raises(names.LookupFailedError, match="the answer by TCP ends too early"),
    ):
        look_up("127.0.0.1", seconds=10)


def test_without_time_nothing_is_fetched_by_tcp() -> None:
    with pytest.raises(OutOfTimeError):
        names._by_tcp("127.0.0.1", names._Question(b"", 1, time.monotonic()))


def test_a_firewall_of_this_machine_is_told_apart(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def send(self, _data: bytes) -> int:
            raise PermissionError(1, "Operation not permitted")

    problems: dict[str, str] = {}
    names._send({Closed(): "127.0.0.1"}, b"", problems)  # type: ignore[dict-item]  # all that it needs of a socket
    assert problems == {"127.0.0.1": "is closed by this machine's own firewall"}


def test_a_name_server_without_a_way_to_it_is_not_asked(port: int) -> None:
    with name_server("127.0.0.1", port, lambda data: answer(data, "192.0.2.1")):
        assert look_up("fe80::1%nowhere", "127.0.0.1") == ["192.0.2.1"]


def test_a_name_server_that_fails_is_asked_once_also_where_another_one_has_no_way_to_it(port: int) -> None:
    with (
        name_server("127.0.0.1", port, lambda data: answer(data, flags=SERVER_FAILURE)) as asked,
        pytest.raises(names.LookupFailedError, match=r"nowhere cannot be asked \(.+\), 127\.0\.0\.1 answers server"),
    ):
        look_up("fe80::1%nowhere", "127.0.0.1")
    assert len(asked) == 1
