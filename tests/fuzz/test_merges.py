"""Merging into generated files: what was wished is read by compose, all else stays, and Setup undoes nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import dotenv, env_file, env_wish
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.dotenv import EnvFileError
from bwlab.host.cases.support import UPDATE, make_bwdata, run_setup
from fuzz.env_files import CALLER, Maker
from fuzz.readers import seen
from fuzz.real_compose import RealCompose

PREFIX = "globalSettings__"
KEYS = {
    f"{PREFIX}enableCloudCommunication": True,
    f"{PREFIX}baseServiceUri__cloudRegion": "EU",
    f"{PREFIX}hibpApiKey": "it's $worth #1",
    "K1": "=",
}
ABSENT = ["a", "exportx"]
WISH = env_wish.make_wish(KEYS, None, ABSENT, [])


def managed(key: str) -> bool:
    return key.lower() in {name.lower() for name in (*KEYS, *ABSENT)}


def foreign_lines(data: bytes) -> list[str]:
    """The lines that belong to no managed key."""
    document = dotenv.parse(dotenv.decode(data, "x"), "x")
    ours = {n for s in document.statements if managed(s.key) for n in range(s.first, s.last + 1)}
    return [line for number, line in enumerate(document.lines) if number not in ours]


def check_lines(before: bytes, plan: env_file.Plan) -> None:
    kept, now = foreign_lines(before), foreign_lines(plan.data)
    # A last line without an end gets one when something comes after it.
    assert [line.rstrip("\r\n") for line in kept] == [line.rstrip("\r\n") for line in now], before
    assert kept[:-1] == now[:-1], before


def after_setup(root: Path, plan: env_file.Plan) -> None:
    (root / "env/global.override.env").write_bytes(plan.data)
    assert run_setup(root, UPDATE).exit_code == 0
    text = (root / "env/global.override.env").read_bytes()
    told = [warning for warning in plan.warnings if "several lines" in warning or "takes the backslash" in warning]
    try:
        assert told or not env_file.merge(text, WISH, "x").changed, (plan.data, text)
    except EnvFileError:
        # What compose read over several lines is broken now, and was told before.
        assert told, (plan.data, text)


def fuzz(tmp_path: Path, seed: int, count: int, rewritten: int) -> None:
    make_bwdata(tmp_path / "bwdata")
    (tmp_path / "bwdata/config.yml").write_text("url: https://bw.example.com\npush_notifications: true\n")
    plans: list[env_file.Plan] = []
    for data in Maker(seed).files(count):
        try:
            plan = env_file.merge(data, WISH, "x")
        except EnvFileError:
            continue
        assert not env_file.merge(plan.data, WISH, "x").changed
        check_lines(data, plan)
        if len(plans) < rewritten:
            after_setup(tmp_path / "bwdata", plan)
        plans.append(plan)
    real = RealCompose(CALLER).read([plan.data for plan in plans])
    stopped = 0
    for plan, environment in zip(plans, real, strict=True):
        if isinstance(environment, str):
            # A variable that a reference demands is not set: that was so before, or the key was to go.
            assert "is missing a value" in environment, (plan.data, environment)
            stopped += 1
            continue
        found = {key: value for key, value in environment.items() if managed(key)}
        assert found == {key: "true" if value is True else value for key, value in KEYS.items()}, plan.data
        assert set(environment) <= {seen(s.key) for s in plan.document.statements} | set(plan.document.strays.values())
    print(
        f"seed {seed}: {len(plans)} of {count} files merged, {min(rewritten, len(plans))} rewritten by Setup; {stopped}"
    )
    assert len(plans) > count * 0.8
    assert stopped < len(plans) * 0.05


def test_merges_of_a_fixed_seed(tmp_path: Path) -> None:
    fuzz(tmp_path, seed=4, count=800, rewritten=150)


@pytest.mark.long
def test_new_merges(tmp_path: Path) -> None:
    fuzz(tmp_path, seed=time.time_ns(), count=20_000, rewritten=3000)
