# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A lab on a real Docker engine, one for the tests of a module; everything here is marked `docker`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import Machines


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A path longer than that of any socket: a checkout's own may be so."""
    with tempfile.TemporaryDirectory(prefix="bwl-") as name:
        deep = Path(name) / ("checkout-" * 6) / ("scenario-" * 6)
        deep.mkdir(parents=True)
        yield deep


@pytest.fixture(scope="module")
def machines(folder: Path) -> Iterator[Machines]:
    lab = Machines(folder / "lab", "--servers", "1", "--regions", "US")
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture(autouse=True)
def no_fault_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "machines" in request.fixturenames:
        request.getfixturevalue("machines").clear()
