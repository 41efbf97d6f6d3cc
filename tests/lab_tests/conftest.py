"""Options of the lab's own tests: other recordings, other cases of the Setup program."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

DATA = Path(__file__).resolve().parent.parent / "lab" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--recordings", metavar="DIR", help="recorded exchanges to replay instead of tests/lab/data/recordings"
    )
    parser.addoption(
        "--setup-cases", metavar="DIR", help="cases of the Setup program instead of tests/lab/data/fixtures"
    )


def _folder(config: pytest.Config, option: str, name: str) -> Path:
    # The option is unknown when pytest starts in a folder above this one.
    given = config.getoption(option, default=None)
    return Path(str(given)).resolve() if given else DATA / name


@pytest.fixture(scope="session")
def recordings(pytestconfig: pytest.Config) -> Path:
    return _folder(pytestconfig, "--recordings", "recordings")


@pytest.fixture(scope="session")
def fixtures(pytestconfig: pytest.Config) -> Path:
    return _folder(pytestconfig, "--setup-cases", "fixtures")


@pytest.fixture(scope="session")
def signing_keys() -> dict[str, str]:
    """Identity's keys for the recorded world: made once, as making them takes its time."""
    found = {}
    for side in ("cloud", "self_hosted"):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        found[side] = pem.decode()
    return found
