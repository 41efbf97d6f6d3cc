"""install.json: installations, stubs and `-printenv`."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bwlab.host.cases.support import (
    GENERATED,
    Case,
    Result,
    config_values,
    differ,
    env_values,
    first_line_alike,
    make_bwdata,
    mode,
    run_setup,
    same_text,
)
from bwlab.host.setup.install import Fetch

ENV_FILES = ("env/global.override.env", "env/mssql.override.env", "docker/global.env", "docker/mssql.env")
LIVE = {
    "<live-installation-id>": "0c0c0c0c-1111-2222-3333-444444444444",
    "<live-installation-key>": "LiveInstallationKey1",
}
# What the recorder that played the two hosts knew, by the start of the id.
KNOWN = {
    "aaaaaaaa": ("api.bitwarden.com", 200, '{"enabled": true}'),
    "bbbbbbbb": ("api.bitwarden.eu", 200, '{"enabled": true}'),
    "cccccccc": ("", 200, '{"enabled": false}'),
    "dddddddd": ("", 500, '{"message": "broken"}'),
    "eeeeeeee": ("", 200, "<html>hello</html>"),
    "ffffffff": ("", 200, '{"object": "installation"}'),
    "abababab": ("", 429, '{"message": "slow down"}'),
}
API = "http://127.0.0.1:9"


class Cloud:
    """Plays what the recording names as `api`, and keeps the requests."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.how = str(case["api"])
        self.requests: list[str] = []

    def environment(self) -> dict[str, str]:
        if "set to the empty string" in self.how:
            return {"BW_INSTALLATION_URL": ""}
        if not self.how.startswith("BW_INSTALLATION_URL ="):
            return {}
        return {"BW_INSTALLATION_URL": API + "/" * ("final slash" in self.how)}

    def fetch(self) -> Fetch:
        def ask(address: str) -> tuple[int, str]:
            self.requests.append(address)
            if any(word in self.how for word in ("unreachable", "untrusted", "no network")):
                raise ConnectionRefusedError(address)
            if address.startswith(API):
                known = address == f"{API}/installations/{LIVE['<live-installation-id>']}"
                return (200, '{"enabled": true}') if known else (404, "")
            name, _unused, identity = address.removeprefix("https://").partition("/installations/")
            home, status, text = KNOWN.get(identity[:8], ("nowhere", 200, ""))
            return (404, "{}") if home and home != name else (status, text)

        return ask


def cases(path: Path) -> Iterator[tuple[str, list[str] | None]]:
    recorded = json.loads(path.read_text())
    with tempfile.TemporaryDirectory(prefix="bwlab-install-") as folder:
        base = Path(folder)
        for case in recorded:
            yield case["name"], _case(base / case["name"], case)


def _case(home: Path, case: Case) -> list[str]:
    root = home / "bwdata"
    home.mkdir()
    _start(home.parent, root, case)
    work = home / "work"
    work.mkdir()
    cloud = Cloud(case)
    stdin = "".join(f"{line}\n" for line in case["stdin_lines"])
    arguments = [LIVE.get(word, word) for word in case["args"]]
    result = run_setup(
        root, arguments, stdin=stdin, fetch=cloud.fetch(), environment=cloud.environment(), working_directory=work
    )
    found: list[str] = []
    _compare_run(found, result, case)
    _compare_tree(found, root, work, case)
    if case.get("requests") is not None:
        wanted = [f"https://{r['host'].removesuffix(':443')}{r['request'].split()[1]}" for r in case["requests"]]
        differ(found, "requests", wanted, cloud.requests)
    if case["installed"]:
        _compare_files(found, root, case)
    return found


def _start(base: Path, root: Path, case: Case) -> None:
    words = case.get("starts_from", "").removeprefix("result of ").split(" without ")
    if not words[0]:
        make_bwdata(root)
        return
    source = base / words[0] / "bwdata"
    shutil.copytree(source, root)
    for name in words[1:]:
        (root / name).unlink()


def _compare_run(found: list[str], result: Result, case: Case) -> None:
    differ(found, "exit status", case["exit_code"], result.exit_code)
    if case.get("stdout_note"):
        # Endless: the recording holds the beginning, its last two lines go on.
        rest = result.stdout.removeprefix(case["stdout"])
        differ(found, "stdout begins as recorded", True, 0 < len(rest) < len(result.stdout))
        repeated = {line.rstrip() for line in case["stdout"].splitlines()[-2:]}
        differ(found, "stdout goes on", repeated, {line.rstrip() for line in rest.splitlines()})
    else:
        differ(found, "stdout", case["stdout"], result.stdout)
    if case.get("stderr_first_line") and not first_line_alike(case["stderr_first_line"], result.stderr):
        found.append(f"stderr: expected {case['stderr_first_line']!r}, found {result.stderr!r}")


def _compare_tree(found: list[str], root: Path, work: Path, case: Case) -> None:
    everything = sorted(root.rglob("*"))
    names = {path: str(path.relative_to(root)) for path in everything}
    files = {names[path]: (mode(path), path.stat().st_size) for path in everything if path.is_file()}
    folders = {f"{names[path]}/": mode(path) for path in everything if path.is_dir()}
    differ(found, "folders", {entry["path"]: entry["mode"] for entry in case["directories"]}, folders)
    modes = {name: value[0] for name, value in files.items()}
    differ(found, "files", {entry["path"]: entry["mode"] for entry in case["files"]}, modes)
    for entry in case["files"]:
        if entry.get("size") is not None and entry["path"] in files:
            differ(found, f"size of {entry['path']}", entry["size"], files[entry["path"]][1])
    differ(found, "working directory", sorted(case["setup_working_directory_files"]), sorted(os.listdir(work)))


def _compare_files(found: list[str], root: Path, case: Case) -> None:
    for name in ENV_FILES:
        _compare_env(found, name, (root / name).read_text(), case[name])
    config = config_values((root / "config.yml").read_text())
    differ(found, "config.yml", case["config.yml"]["values"], config)
    differ(found, "order in config.yml", case["config.yml"]["keys_in_order"], list(config))
    text = (root / "docker/docker-compose.yml").read_text()
    tags = dict(re.findall(r"image: ghcr\.io/bitwarden/(\S+):(\S+)", text))
    differ(found, "tags", case["image_tags"], tags)
    differ(found, "database volume", case["mssql_data_docker_volume"], "mssql_data:" in text)
    differ(found, "uid.env empty", case["uid_env_empty"], (root / "env/uid.env").stat().st_size == 0)
    password = env_values((root / "env/mssql.override.env").read_text())["SA_PASSWORD"]
    same = f"Password={password};" in (root / "env/global.override.env").read_text()
    differ(found, "passwords match", case["connection_string_password_equals_SA_PASSWORD"], same)


def _compare_env(found: list[str], name: str, text: str, wanted: Case) -> None:
    values = env_values(text)
    differ(found, f"order in {name}", wanted["keys_in_order"], list(values))
    differ(found, f"final newline of {name}", wanted["ends_with_newline"], text.endswith("\n"))
    for key, value in wanted["values"].items():
        expected = LIVE.get(value, value)
        if not same_text(expected, values.get(key, "")):
            found.append(f"{name} {key}: expected {expected!r}, found {values.get(key)!r}")
        if (key in wanted["generated"]) != bool(GENERATED.search(expected)):
            found.append(f"{name} {key}: the recording contradicts itself")
