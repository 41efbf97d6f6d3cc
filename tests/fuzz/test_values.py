"""Values that the collection writes, as compose, Setup (which rewrites them twice) and the server see them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import env_file, env_wish
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.dotenv import EnvFileError
from bwlab.host.cases.support import UPDATE, make_bwdata, run_setup
from bwlab.host.setup.envfile import first_value
from bwlab.host.setup.tree import Tree
from bwlab.persona import Settings, settings_from_env
from fuzz.env_files import CALLER, NAMES, PIECES, Maker
from fuzz.real_compose import Environment, RealCompose

ENV = "env/global.override.env"
PREFIX = "globalSettings__"
KNOWN = tuple(f"{PREFIX}{key}" for key in ("hibpApiKey", "mail__smtp__password", "mail__smtp__username", "yubico__key"))
BY_SETUP = (f"{PREFIX}identityServer__certificatePassword", f"{PREFIX}sqlServer__connectionString")
OWN = (*(f"{PREFIX}own__{n}" for n in range(6)), "https_setting", f"{PREFIX}installation__apiUri")
KEYS = (*KNOWN, "adminSettings__admins", *BY_SETUP, *OWN)
INSTALL = ["-install", "1", "-domain", "bw.example.com", *UPDATE[2:], "-install-key", "Key1", "-skip-ssl", "1"]
IDENTITY = "11111111-2222-3333-4444-555555555555"


def writable(text: str) -> bool:
    """Control characters and broken text are refused before anything is written; other tests show that."""
    return not any((character < " " and character != "\t") or "\ud800" <= character <= "\udfff" for character in text)


def values(seed: int) -> Iterator[str]:
    """Values as people choose them and as nobody would."""
    pick, maker = random.Random(seed), Maker(seed, oddness=0.2)  # noqa: S311 - no secret: a seed makes it again
    while True:
        kind = pick.random()
        if kind < 0.3:
            text = "".join(chr(pick.randrange(33, 127)) for _n in range(pick.randrange(40)))
        elif kind < 0.4:
            text = "".join(chr(pick.choice((pick.randrange(32, 1024), pick.randrange(0x10000)))) for _n in range(8))
        elif kind < 0.7:
            text = "".join(pick.choice((*PIECES, "$" + pick.choice(NAMES))) for _n in range(pick.randrange(1, 9)))
        else:
            text = maker.value()
        if writable(text):
            yield text


@dataclass
class Case:
    """One file: what was wished for, and its text as written and after each rewrite by Setup."""

    wish: env_wish.Wish
    texts: list[bytes]
    by_setup: dict[str, str | None] = field(default_factory=dict)


@dataclass
class Figures:
    """What the cases came to."""

    written: int = 0
    refused: int = 0


def installed(root: Path) -> bytes:
    make_bwdata(root)
    done = run_setup(root, [*INSTALL, "-install-id", IDENTITY], fetch=lambda _address: (200, '{"enabled": true}'))
    assert done.exit_code == 0, done.stderr
    return (root / ENV).read_bytes()


def wanted(source: Iterator[str], figures: Figures) -> env_wish.Wish:
    keys: dict[str, str] = {}
    for key in KEYS:
        value = next(source)
        try:
            keys[key] = env_wish.value_text(key, value)
            figures.written += 1
        except EnvFileError:
            figures.refused += 1
            assert set(value) & set("\"'\\$"), (key, value)
    return env_wish.make_wish(keys, None, [], [])


def write(root: Path, before: bytes, wish: env_wish.Wish) -> Case:
    """Merges, and lets Setup rewrite the file twice; the next merge has nothing to do after either."""
    case = Case(wish, [env_file.merge(before, wish, "x.env").data])
    (root / ENV).write_bytes(case.texts[0])
    for _n in range(2):
        done = run_setup(root, UPDATE)
        assert done.exit_code == 0, done.stderr
        case.texts.append((root / ENV).read_bytes())
        assert not env_file.merge(case.texts[-1], wish, "x.env").changed, case.texts
    case.by_setup = {key: first_value(Tree(root), key) for key in BY_SETUP if key in wish.keys}
    return case


def check(case: Case, real: list[Environment | str]) -> None:
    for text, environment in zip(case.texts, real, strict=True):
        assert isinstance(environment, dict), (text, environment)
        server = settings_from_env(environment, Settings()).env
        for key, value in case.wish.keys.items():
            assert environment[key] == value, (key, text)
            seen = server[key.lower().removeprefix(PREFIX.lower())]
            assert (seen.strip('"') if key.lower().endswith("connectionstring") else seen) == value, (key, text)
    for key, found in case.by_setup.items():
        assert found == case.wish.keys[key], case.texts


def fuzz(tmp_path: Path, seed: int, files: int) -> None:
    began, figures, source = time.monotonic(), Figures(), values(seed)
    before = installed(tmp_path / "bwdata")
    compose, left = RealCompose(CALLER), files
    while left:
        count = min(left, 500)
        cases = [write(tmp_path / "bwdata", before, wanted(source, figures)) for _n in range(count)]
        real = compose.read([text for case in cases for text in case.texts])
        for number, case in enumerate(cases):
            check(case, real[number * 3 : number * 3 + 3])
        left -= count
    print(
        f"seed {seed}: {figures.written} values written and read back by compose, Setup and server, "
        f"{figures.refused} refused; {files} files rewritten twice, {time.monotonic() - began:.0f} s"
    )
    assert figures.written > 5 * figures.refused


def test_values_of_a_fixed_seed(tmp_path: Path) -> None:
    fuzz(tmp_path, seed=4, files=150)


@pytest.mark.long
def test_new_values(tmp_path: Path) -> None:
    fuzz(tmp_path, seed=time.time_ns(), files=3000)
