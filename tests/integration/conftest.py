"""A lab for the tests of this folder that do not start one of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from labkit import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two servers, US and EU, each with a cloud organization of its own."""
    running = Lab(tmp_path_factory.mktemp("lab"), "--servers", "2", "--regions", "US,EU")
    yield running
    running.down()
