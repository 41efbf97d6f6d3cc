"""env_rewrite.json: what an update makes of global.override.env and its neighbors."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bwlab.host.cases.support import (
    UPDATE,
    Case,
    Result,
    config_values,
    differ,
    env_values,
    first_line_alike,
    make_bwdata,
    mode,
    run_apart,
    run_setup,
    same_text,
    set_values,
)

ENV = "env/global.override.env"
SIDE_FILES = {
    "mssql_override": "env/mssql.override.env",
    "key_connector_override": "env/key-connector.override.env",
    "uid_env": "env/uid.env",
    "docker_global_env": "docker/global.env",
}
DATABASE_PASSWORD = "FixtureDbPassword00000000000AAAA"


def cases(path: Path) -> Iterator[tuple[str, list[str] | None]]:
    with tempfile.TemporaryDirectory(prefix="bwlab-cases-") as folder:
        base = Path(folder)
        # Other users of this machine have to get in for some cases.
        base.chmod(0o755)
        _fresh(base / "base")
        for case in json.loads(path.read_text()):
            yield case["name"], _case(base, case)


def _fresh(root: Path) -> None:
    """The fresh installation that every case starts from."""
    make_bwdata(root)
    arguments = ["-install", "1", "-domain", "bw.example.com", "-letsencrypt", "n", *UPDATE[2:], "-dbname", "vault"]
    answers = "11111111-2222-3333-4444-555555555555\nFixtureInstallKey001\nUS\nn\ny\n"
    result = run_setup(root, arguments, stdin=answers, fetch=lambda _: (200, '{"enabled": true}'))
    if not (root / ENV).is_file():
        raise RuntimeError(f"no fresh installation to start from: {result.stdout}{result.stderr}")
    (root / "env/mssql.override.env").write_text(f"SA_PASSWORD={DATABASE_PASSWORD}\nDATABASE=vault\n")
    (root / "env/uid.env").write_text("LOCAL_UID=1500\nLOCAL_GID=1500\n")


def _case(base: Path, case: Case) -> list[str] | None:
    if not _possible(case):
        return None
    home = base / "case"
    root = home / "bwdata"
    shutil.copytree(base / "base", root)
    home.chmod(0o777)
    try:
        _prepare(root, case)
        return _run_and_compare(root, case)
    finally:
        shutil.rmtree(home)


def _possible(case: Case) -> bool:
    """A normal user can play the cases in which Setup runs as the owner of the file, and no case of root's."""
    if os.geteuid() == 0:
        return True
    runs_as, owner = case["setup_runs_as"], case.get("owner_before", "0:0")
    return not case["name"].endswith("as_root") and owner == f"{runs_as}:{runs_as}"


def _owner(text: str) -> tuple[int, int]:
    """Recorded ids; for a normal user they stand for that user's own."""
    uid, gid = map(int, text.split(":"))
    return (uid, gid) if os.geteuid() == 0 else (os.geteuid(), os.getegid())


def _prepare(root: Path, case: Case) -> None:
    env = root / ENV
    env.unlink()
    before = base64.b64decode(case["before_b64"]) if case.get("before_b64") else (case["before"] or "").encode()
    kind = case["file_before"]
    if kind == "directory":
        env.mkdir()
    elif "missing" in kind:
        env.symlink_to("nothing.env")
    elif kind.startswith("symlink"):
        (root / "env/real.env").write_bytes(before)
        env.symlink_to("real.env")
    elif kind != "absent":
        env.write_bytes(before)
    if "hard link" in kind:
        os.link(env, root / "env/second.env")
    for key, name in SIDE_FILES.items():
        if f"{key}_before" in case:
            _put(root / name, case[f"{key}_before"])
    if case["name"] == "identity_pfx_missing":
        (root / "identity/identity.pfx").unlink()
    if case["name"] == "both_override_files_missing":
        (root / SIDE_FILES["mssql_override"]).unlink(missing_ok=True)
    _prepare_config(root / "config.yml", case)
    _prepare_owner(root, env, case)


def _put(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(text)


def _prepare_config(path: Path, case: Case) -> None:
    """The recorded values are YAML as it stands in the file."""
    values, state = case["config_yml"], case.get("config_yml_state", "")
    if values is None and "YAML" in state:
        example = re.search(r"\((.*)\)", state)
        path.write_text(example.group(1) if example else "url: [unclosed")
    elif values is None:
        path.unlink()
    elif not values:
        path.write_text("")
    elif "only this key" in state:
        path.write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
    else:
        path.write_text(set_values(path.read_text(), values))


def _prepare_owner(root: Path, env: Path, case: Case) -> None:
    if case["mode_before"] and not env.is_symlink():
        env.chmod(int(case["mode_before"], 8))
    if case["setup_runs_as"] and os.geteuid() == 0:
        for path in [root, *root.rglob("*")]:
            os.chown(path, case["setup_runs_as"], case["setup_runs_as"], follow_symlinks=False)
    if "owner_before" in case:
        os.chown(env, *_owner(case["owner_before"]))


def _runner(case: Case, root: Path) -> Callable[[], Result]:
    arguments = case.get("args") or UPDATE
    limit = re.search(r"size limit of (\d+) bytes", case.get("note") or "")
    if limit:
        return lambda: run_apart(root, arguments, file_size=int(limit.group(1)))
    if case["setup_runs_as"] and os.geteuid() == 0:
        return lambda: run_apart(root, arguments, uid=case["setup_runs_as"])
    return lambda: run_setup(root, arguments)


@contextmanager
def _lock(env: Path, note: str) -> Iterator[None]:
    kind = {"LOCK_EX": fcntl.LOCK_EX, "LOCK_SH": fcntl.LOCK_SH}
    wanted = [value for name, value in kind.items() if f"flock {name}" in note]
    if not wanted:
        yield
        return
    with env.open("rb") as stream:
        fcntl.flock(stream, wanted[0])
        yield


def _run_and_compare(root: Path, case: Case) -> list[str]:
    env = root / ENV
    before = _snapshot(root)
    inode = env.stat().st_ino if env.exists() else None
    run = _runner(case, root)
    with _lock(env, case.get("note") or ""):
        result = run()
    found: list[str] = []
    differ(found, "exit status", case["exit_code"], result.exit_code)
    differ(found, "stdout", case["stdout"], result.stdout)
    if case.get("stderr_first_line") and not first_line_alike(case["stderr_first_line"], result.stderr):
        found.append(f"stderr: expected {case['stderr_first_line']!r}, found {result.stderr!r}")
    _compare_file(found, env, case, inode)
    _compare_others(found, root, before, case)
    if not found and case["stable_on_second_run"] is not None and case["exit_code"] == 0:
        _compare_second(found, root, run, case)
    return found


def _compare_file(found: list[str], env: Path, case: Case, inode: int | None) -> None:
    after = env.read_bytes().decode("utf-8", "surrogateescape") if env.is_file() else None
    if case["after"] is None or after is None:
        differ(found, "file", case["after"], after)
    elif not same_text(case["after"], after):
        found.append(f"file: expected {case['after']!r}, found {after!r}")
    differ(found, "mode", case["mode_after"], mode(env))
    if case.get("same_inode") is not None:
        differ(found, "same inode", case["same_inode"], env.stat().st_ino == inode)
    if "still_a_symlink" in case:
        differ(found, "still a symbolic link", case["still_a_symlink"], env.is_symlink())
    if "owner_after" in case:
        status = env.stat()
        differ(found, "owner", _owner(case["owner_after"]), (status.st_uid, status.st_gid))


def _snapshot(root: Path) -> dict[str, bytes]:
    names = (path for path in root.rglob("*") if path.is_file() and ENV not in str(path))
    kept = (path for path in names if path.name not in ("second.env", "real.env"))
    return {str(path.relative_to(root)): path.read_bytes() for path in kept}


def _compare_others(found: list[str], root: Path, before: dict[str, bytes], case: Case) -> None:
    after = _snapshot(root)
    differ(found, "files created", case.get("other_files_created", []), sorted(after.keys() - before.keys()))
    changed = sorted(name for name in after.keys() & before.keys() if after[name] != before[name])
    rewritten = [name for name in changed if name != "config.yml" or "config_yml_after" in case]
    differ(found, "files changed", case.get("other_files_changed", []), rewritten)
    if "config_yml_after" in case:
        differ(found, "config.yml", case["config_yml_after"], config_values((root / "config.yml").read_text()))
    for key, name in SIDE_FILES.items():
        text = (root / name).read_text() if (root / name).is_file() else None
        wanted = case.get(f"{key}_after")
        if wanted is not None and (text is None or not same_text(wanted, text)):
            found.append(f"{name}: expected {wanted!r}, found {text!r}")
        if f"{key}_after_keys" in case:
            differ(found, f"{name} keys", case[f"{key}_after_keys"], list(env_values(text or "")))
    if "connection_string_password_equals_SA_PASSWORD" in case:
        differ(found, "passwords match", case["connection_string_password_equals_SA_PASSWORD"], _passwords_match(root))


def _passwords_match(root: Path) -> bool:
    words = (root / ENV).read_text(errors="replace")
    found = re.search(r"(?m)^globalSettings__sqlServer__connectionString=.*Password=([^;]*)", words)
    other = env_values((root / SIDE_FILES["mssql_override"]).read_text())["SA_PASSWORD"]
    return found is not None and found.group(1) == other


def _compare_second(found: list[str], root: Path, run: Callable[[], Result], case: Case) -> None:
    first = (root / ENV).read_bytes()
    others = _snapshot(root)
    run()
    second = (root / ENV).read_bytes()
    differ(found, "stable", case["stable_on_second_run"], second == first and _snapshot(root) == others)
    if case.get("after_second") and not same_text(case["after_second"], second.decode()):
        found.append(f"second run: expected {case['after_second']!r}, found {second.decode()!r}")
