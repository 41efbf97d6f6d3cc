"""Our readers of the env files of `docker run` against the real docker client."""

from __future__ import annotations

import time

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import dotenv, env_file, env_wish, plain_env
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from bwlab.host import dotenv as lab
from fuzz.env_files import CALLER, Maker
from fuzz.real_docker import CLIENT, Environment, RealDocker, real_docker

pytestmark = pytest.mark.skipif(CLIENT is None, reason="no docker client is installed")


def by_collection(data: bytes) -> Environment | str:
    try:
        document = plain_env.parse(dotenv.decode(data, "x.env"), "x.env")
        return dotenv.resolve(document, CALLER, "x.env")
    except BitwardenError as error:
        return str(error)


def by_lab(data: bytes) -> Environment | str:
    try:
        return lab.parse_plain(data, CALLER.get)
    except lab.EnvFileError as error:
        return str(error)


def check(docker: RealDocker, files: list[bytes]) -> int:
    refused = 0
    for data in files:
        real = docker.read(data)
        refused += isinstance(real, str)
        for ours in (by_collection(data), by_lab(data)):
            assert (ours == real) or (isinstance(ours, str) and isinstance(real, str)), data
    return refused


def test_odd_files() -> None:
    texts = (
        *("", "A", "A\n", "CALLER\n", "A=1\r\n", "A=1\r", "A=1\r\r\n", "\ufeffA=1\n", "A=1\n\ufeffB=1\n", "=1\n"),
        *("A =1\n", "export A=1\n", "A=\udcff\n", "# \udcff\nA=1\n", " A= 1 \n", "\u3000A=1\n", "A='1'\nA=\"2\"\n"),
        *("A=$CALLER #x\n", "A,B=1\n", "a.b=1\n", "1=1\n", "#A=1\n  # B=1\nC=#\n", "A=1\x852\nB=\u2028\n", "\rA=1\n"),
        *(f"A={'x' * length}{end}" for length in (65532, 65533, 65534) for end in ("", "\n", "\r\n")),
    )
    files = [text.encode("utf-8", "surrogateescape") for text in texts]
    with real_docker(CALLER) as docker:
        assert 5 < check(docker, files) < len(files) - 5


@pytest.mark.parametrize("count", [100, pytest.param(3000, marks=pytest.mark.long)])
def test_generated_files(count: int) -> None:
    seed = 4 if count == 100 else time.time_ns()
    maker = Maker(seed)
    lines = (f"K{n}={maker.value()}\n".encode("utf-8", "surrogateescape") for n in range(count // 2))
    with real_docker(CALLER) as docker:
        refused = check(docker, [*maker.files(count // 2), *lines])
    print(f"seed {seed}: {count} files, 0 differences, refused by all: {refused}")
    assert count / 10 < refused < count * 0.7


def test_values_come_through_as_they_are() -> None:
    maker = Maker(7)
    values = {f"K{n}": maker.value() for n in range(300)}
    plain = {key: value for key, value in values.items() if value.isprintable()}
    assert len(plain) > 100
    dialect = env_wish.DIALECTS["docker_run"]
    plan = env_file.merge(b"OLD=1\n", env_wish.make_wish(plain, None, [], [], dialect), "x.env", dialect)
    with real_docker(CALLER) as docker:
        assert docker.read(plan.data) == {"OLD": "1", **plain}
