"""The lab's Setup against the recorded cases of the real one, and against rules that no recorded case covers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from bwlab.host.cases import FILES, Outcome, outcomes, run_cases
from bwlab.host.cases.support import UPDATE, make_bwdata, run_setup
from bwlab.host.setup import Setup, run
from bwlab.host.setup.install import guid, region, valid_domain
from bwlab.host.setup.tree import Tree

ENV = "env/global.override.env"
ENABLED = (200, '{"enabled": true}')
INSTALL = ["-install", "1", "-domain", "bw.example.com", *UPDATE[2:], "-install-key", "Key1", "-skip-ssl", "1"]
IDENTITY = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="session")
def played(fixtures: Path) -> dict[str, Outcome]:
    return outcomes(fixtures)


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_case_comes_out_the_same(name: str, fixtures: Path, played: dict[str, Outcome]) -> None:
    if not (fixtures / name).is_file():
        pytest.skip(f"no {name} in {fixtures}")
    outcome = played[name]
    print(f"{name}: {outcome.alike}/{outcome.all} alike, not run: {outcome.not_run}")
    assert outcome.differences == []
    assert outcome.all > 0
    if isinstance(cases := json.loads((fixtures / name).read_text()), list):
        assert outcome.all + len(outcome.not_run) == len(cases)
    if os.geteuid() == 0:
        assert outcome.not_run == []


def test_a_case_that_differs_is_seen_and_named(fixtures: Path, tmp_path: Path) -> None:
    cases = json.loads((fixtures / "env_rewrite.json").read_text())
    wrong = next(case for case in cases if case["exit_code"] == 0 and case["after"])
    wrong["after"] += "extra=1\n"
    (tmp_path / "env_rewrite.json").write_text(json.dumps([wrong, cases[-1]]))
    alike, everything, differences = run_cases(tmp_path)
    assert (alike, everything) == (1, 2)
    assert [line.split(":")[0] for line in differences] == [wrong["name"]]


@pytest.fixture
def bwdata(tmp_path: Path) -> Path:
    root = tmp_path / "bwdata"
    make_bwdata(root)
    result = run_setup(root, [*INSTALL, "-install-id", IDENTITY], fetch=lambda _: ENABLED)
    assert result.exit_code == 0, result.stderr
    return root


def rewrite(root: Path, change: str | None, **config: str) -> str:
    """The file after an update that starts with `change` as its text."""
    if change is not None:
        (root / ENV).write_text(change)
    path = root / "config.yml"
    for key, value in config.items():
        kept = [line for line in path.read_text().splitlines() if not line.startswith(f"{key}:")]
        path.write_text("\n".join([*kept, f"{key}: {value}"]) + "\n")
    assert run_setup(root, UPDATE).exit_code == 0
    return (root / ENV).read_text()


def test_both_override_files_lost_get_the_same_new_password(bwdata: Path) -> None:
    (bwdata / ENV).unlink()
    (bwdata / "env/mssql.override.env").unlink()
    text = rewrite(bwdata, None)
    password = (bwdata / "env/mssql.override.env").read_text().partition("SA_PASSWORD=")[2].splitlines()[0]
    assert len(password) == 32
    assert f"Password={password};" in text


@pytest.mark.parametrize("separator", ["\v", "\f", "\x85", "\u2028", "\u2029"])
def test_only_line_feeds_and_carriage_returns_end_a_line(bwdata: Path, separator: str) -> None:
    text = (bwdata / ENV).read_text() + f"own=a{separator}b=c\n"
    assert rewrite(bwdata, text).endswith(f"\nown=a{separator}b=c\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_byte_order_marks_are_obeyed(bwdata: Path, encoding: str) -> None:
    text = (bwdata / ENV).read_text()
    mark = "\ufeff" if encoding.endswith("be") else ""
    (bwdata / ENV).write_bytes((mark + text).encode(encoding))
    assert rewrite(bwdata, None) == text


@pytest.mark.parametrize(("word", "value"), [("False", False), ("N", False), ("", False), ("ON", True), ("y", True)])
def test_words_for_push_notifications(bwdata: Path, word: str, value: bool) -> None:
    text = rewrite(bwdata, None, push_notifications=word)
    assert ("globalSettings__pushRelayBaseUri=REPLACE\n" in text) is not value
    assert f"\npush_notifications: {str(value).lower()}\n" in (bwdata / "config.yml").read_text()


@pytest.mark.parametrize(
    "config", ["ssl_versions: [a]\nurl: x\n", "- a\n", "ssl: maybe\n", "real_ips: text\n", "a: 'b\n"]
)
def test_config_of_a_wrong_type_ends_the_program_before_it_writes(bwdata: Path, config: str) -> None:
    (bwdata / "config.yml").write_text(config)
    before = {path: path.read_bytes() for path in bwdata.rglob("*") if path.is_file()}
    result = run_setup(bwdata, UPDATE)
    assert result.exit_code == 134
    assert result.stderr.startswith("Unhandled exception. YamlDotNet.Core.YamlException: (Line: ")
    assert before == {path: path.read_bytes() for path in bwdata.rglob("*") if path.is_file()}


def test_list_of_proxies_is_kept(bwdata: Path) -> None:
    rewrite(bwdata, None, real_ips="['10.10.0.0/24', \"172.16.0.0/16\"]")
    rewrite(bwdata, None)
    assert "real_ips:\n- 10.10.0.0/24\n- 172.16.0.0/16\n" in (bwdata / "config.yml").read_text()
    assert "set_real_ip_from 172.16.0.0/16;" in (bwdata / "nginx/default.conf").read_text()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("US", "US"),
        (" EU ", "EU"),
        ("2", "Gov"),
        ("+1", "EU"),
        ("-3", "-3"),
        ("EU,Gov", "3"),
        ("eu", None),
        ("EU,1", None),
    ],
)
def test_regions(text: str, value: str | None) -> None:
    assert region(text) == value


@pytest.mark.parametrize(
    "text", [IDENTITY, IDENTITY.upper(), f"({IDENTITY})", f"{{{IDENTITY}}} ", IDENTITY.replace("-", "")]
)
def test_forms_of_an_id(text: str) -> None:
    assert guid(text) == IDENTITY


@pytest.mark.parametrize("text", ["", "1", f"[{IDENTITY}]", IDENTITY[:-1], f"{{{IDENTITY}"])
def test_what_is_no_id(text: str) -> None:
    assert guid(text) is None


def test_domains() -> None:
    assert all(map(valid_domain, ["a", "bw.example.com", "b-w.example.com."]))
    assert not any(map(valid_domain, ["", "::1", "192.0.2.1", "a b", "a/b", "https://a", "-a.b"]))


def test_region_decides_which_server_is_asked(tmp_path: Path) -> None:
    asked: list[str] = []

    def fetch(address: str) -> tuple[int, str]:
        asked.append(address)
        return ENABLED

    for number, name in enumerate(("US", "EU", "Gov", "7")):
        root = tmp_path / str(number)
        make_bwdata(root)
        run_setup(root, [*INSTALL, "-install-id", IDENTITY, "-cloud-region", name], fetch=fetch)
        assert f"cloudRegion={name}\n" in (root / ENV).read_text()
    hosts = [address.split("/")[2] for address in asked]
    assert hosts == ["api.bitwarden.com", "api.bitwarden.eu", "api.bitwarden.com", "api.bitwarden.com"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can step down; a normal user is refused by the kernel")
def test_root_steps_down_to_a_user_who_may_not_write_a_read_only_file(bwdata: Path, tmp_path: Path) -> None:
    for path in bwdata.rglob("*"):
        os.chown(path, 1500, 1500)
    (bwdata / ENV).chmod(0o400)
    with (tmp_path / "out").open("w") as out:
        assert run(Setup(Tree(bwdata, acting_uid=1500), stdout=out), UPDATE) == 134
        (bwdata / ENV).chmod(0o600)
        (bwdata / "docker/global.env").unlink()
        assert run(Setup(Tree(bwdata, acting_uid=1500), stdout=out), UPDATE) == 0
    assert (bwdata / "docker/global.env").stat().st_uid == 1500


def test_a_second_installation_makes_new_secrets(bwdata: Path, tmp_path: Path) -> None:
    first = shutil.copy(bwdata / ENV, tmp_path / "first")
    run_setup(bwdata, [*INSTALL, "-install-id", IDENTITY], fetch=lambda _: ENABLED)
    old, new = Path(first).read_text().splitlines(), (bwdata / ENV).read_text().splitlines()
    changed = [a.partition("=")[0].rpartition("__")[2] for a, b in zip(old, new, strict=True) if a != b]
    assert changed == [
        "connectionString",
        "certificatePassword",
        "internalIdentityKey",
        "oidcIdentityClientKey",
        "aKey",
    ]
