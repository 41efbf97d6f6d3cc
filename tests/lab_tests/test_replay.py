# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab answers like the real server: every recorded exchange is played and compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from bwlab.replay.run import group_files, replay
from bwlab.replay.summary import KNOWN_FILE

Exchange = dict[str, Any]


def test_every_exchange_is_answered_alike(recordings: Path) -> None:
    summary = replay(recordings)
    print("\n".join(summary.lines()))
    played = sum(
        "not_recorded" not in exchange
        for path in group_files(recordings)
        for exchange in json.loads(path.read_text(encoding="utf-8"))["exchanges"]
        if not path.stem.startswith("n-")
    )
    assert len([result for result in summary.results if not result.group.startswith("n-")]) == played
    assert [f"{result.group} {result.name}: {result.differences}" for result in summary.unexplained] == []


def test_known_differences_still_differ(recordings: Path) -> None:
    """An entry that has nothing to explain any more must go."""
    summary = replay(recordings)
    for entry in yaml.safe_load(KNOWN_FILE.read_text(encoding="utf-8")):
        assert any(result.reason == entry["reason"] for result in summary.results), entry
        assert len(entry["reason"]) > 40


def _status(exchange: Exchange) -> None:
    exchange["response"]["status"] += 1


def _text(exchange: Exchange) -> None:
    exchange["response"]["body"]["name"] += "!"


def _null(exchange: Exchange) -> None:
    exchange["response"]["body"]["seats"] = None


def _more(exchange: Exchange) -> None:
    exchange["response"]["body"]["another"] = 1


def _header(exchange: Exchange) -> None:
    exchange["response"]["headers"]["content-type"] = "text/plain"


def _known_date(exchange: Exchange) -> None:
    exchange["response"]["body"]["expiration"] = "2028-01-01T00:00:00Z"


def _effect(exchange: Exchange) -> None:
    changed = {"key": exchange["response"]["body"]["id"].upper(), "columns": {"Seats": [10, 11]}}
    exchange["effect"] = {"cloud_rows": {"Organization": {"changed": [changed]}}}


@pytest.mark.parametrize("change", [_status, _text, _null, _more, _header, _known_date, _effect])
def test_a_difference_is_seen(recordings: Path, tmp_path: Path, change: Callable[[Exchange], None]) -> None:
    """One recorded answer is changed: exactly that exchange must differ."""
    copy = tmp_path / "recordings"
    copy.mkdir()
    for name in ("world.json", "baseline.json", "licensing.pem"):
        shutil.copyfile(recordings / name, copy / name)
    shutil.copytree(recordings / "baseline-licenses", copy / "baseline-licenses")
    document = json.loads((recordings / "c-accounts.json").read_text(encoding="utf-8"))
    exchange = next(each for each in document["exchanges"] if each["name"] == "cloud-subscription-owner")
    change(exchange)
    document["exchanges"] = [exchange]
    (copy / "c-accounts.json").write_text(json.dumps(document), encoding="utf-8")
    assert [result.name for result in replay(copy).unexplained] == ["cloud-subscription-owner"]
