# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The parts of the real engine's lab that need no engine: registry, downloads, layers, processes, refusals."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from bwlab import faults
from bwlab.docker import layers, needs, outer, processes, state
from bwlab.docker.download import Downloads
from bwlab.docker.layers import Images, digest_of
from bwlab.docker.registry import BLOB_HOST, HOST, Registry
from bwlab.door import Hangup
from bwlab.labdb import LabDb
from starlette.requests import Request
from starlette.responses import Response

TOKEN = {"authorization": "Bearer x"}
API = "/v2/bitwarden/api/manifests/2026.7.2"


class Place:
    """A registry and its neighbors, as the host us1 meets them."""

    def __init__(self, folder: Path) -> None:
        layer = folder / "base.tar"
        with tarfile.open(layer, "w") as tar:
            tar.addfile(tarfile.TarInfo("etc/lab"), io.BytesIO())
        self.layer = layer.read_bytes()
        self.database = LabDb(folder / "lab.sqlite")
        self.down = False
        self.registry = Registry(Images([layer]), self.database, lambda _server: self.down)
        self.downloads = Downloads(self.database)

    def get(
        self, path: str, headers: dict[str, str] | None = None, *, host: str = HOST, method: str = "GET"
    ) -> Response:
        return asyncio.run(
            self.registry.answer(request(path, TOKEN if headers is None else headers, method), host, "us1")
        )

    def script(self, query: str, host: str = "func.bitwarden.com", path: str = "/api/dl/") -> Response:
        return asyncio.run(self.downloads.answer(request(path, {}, query=query), host, "us1"))


def request(path: str, headers: dict[str, str], method: str = "GET", query: str = "") -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
    return Request({**scope, "scheme": "https", "server": ("ghcr.io", 443)})


def body(response: Response) -> Any:
    return json.loads(bytes(response.body))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_registry_wants_a_token_and_gives_one(place: Place) -> None:
    refused = place.get("/v2/", {})
    assert refused.status_code == 401
    assert 'realm="https://ghcr.io/token"' in refused.headers["www-authenticate"]
    assert refused.headers["docker-distribution-api-version"] == "registry/2.0"
    assert body(place.get("/token", {}))["token"]
    assert place.get("/v2/").status_code == 200


def test_a_manifest_leads_to_configuration_and_layers(place: Place) -> None:
    answer = place.get(API)
    manifest = body(answer)
    assert answer.headers["docker-content-digest"] == digest_of(bytes(answer.body))
    moved = place.get(f"/v2/bitwarden/api/blobs/{manifest['config']['digest']}")
    assert moved.status_code == 307
    assert moved.headers["location"].startswith(f"https://{BLOB_HOST}/")
    config = body(place.get(moved.headers["location"].removeprefix(f"https://{BLOB_HOST}"), host=BLOB_HOST))
    assert "BWLAB_VERSION=2026.7.2" in config["config"]["Env"]
    assert config["config"]["Entrypoint"][-1] == "api"
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]] == [digest_of(place.layer)]


def test_images_differ_in_configuration_alone(place: Place) -> None:
    first, second = (body(place.get(f"/v2/bitwarden/{name}/manifests/2026.7.2")) for name in ("api", "nginx"))
    assert first["layers"] == second["layers"]
    assert first["config"] != second["config"]


def test_latest_is_the_release_of_the_lab(place: Place) -> None:
    place.database.set_release("2026.9.1")
    assert body(place.get("/v2/bitwarden/api/manifests/latest")) == body(
        place.get("/v2/bitwarden/api/manifests/2026.9.1")
    )


@pytest.mark.parametrize(
    "path", ["bitwarden/api/manifests/nonsense", "bitwarden/other/manifests/2026.7.2", "api/manifests/latest"]
)
def test_what_is_not_there_is_unknown(place: Place, path: str) -> None:
    assert body(place.get(f"/v2/{path}"))["errors"][0]["code"] == "MANIFEST_UNKNOWN"


def test_a_registry_that_is_down_hangs_up_on_its_host_alone(place: Place) -> None:
    place.database.set_fault("registry_down", {"server": "us1"})
    with pytest.raises(Hangup):
        place.get(API)
    place.database.clear_faults()
    place.database.set_fault("registry_down", {"server": "eu1"})
    assert place.get(API).status_code == 200


@pytest.mark.parametrize(("how", "status"), [("denied", 403), ("limit", 429)])
def test_a_registry_can_refuse(place: Place, how: str, status: int) -> None:
    place.database.set_fault("registry_down", {"how": how})
    assert place.get(API).status_code == status


def test_down_after_the_stop_counts_only_while_the_stack_is_down(place: Place) -> None:
    place.database.set_fault("registry_down_after_stop", {"count": "1"})
    assert place.get(API).status_code == 200
    place.down = True
    with pytest.raises(Hangup):
        place.get(API)
    assert place.get(API).status_code == 200


def test_missing_images(place: Place) -> None:
    place.database.set_fault("setup_image_missing")
    assert place.get(API).status_code == 200
    assert place.get("/v2/bitwarden/setup/manifests/2026.7.2").status_code == 404
    place.database.set_fault("image_missing", {"image": "bitwarden/api"})
    assert place.get(API).status_code == 404
    assert place.get("/v2/bitwarden/identity/manifests/2026.7.2").status_code == 200


def test_a_slow_registry_waits_once_an_image(place: Place) -> None:
    place.database.set_fault("registry_slow", {"seconds": "2"})
    begun = time.monotonic()
    digest = digest_of(bytes(place.get(API, method="HEAD").body))
    assert time.monotonic() - begun >= 2
    begun = time.monotonic()
    place.get(f"/v2/bitwarden/api/manifests/{digest}")
    assert time.monotonic() - begun < 2


def test_scripts_carry_the_release(place: Place) -> None:
    place.database.set_release("2026.9.1")
    assert b'COREVERSION="2026.9.1"' in bytes(place.script("app=self-host&platform=linux").body)
    assert b"compose_down" in bytes(place.script("app=self-host&platform=linux&variant=run").body)
    assert place.script("app=other&platform=linux").status_code == 404
    told = place.script("", host="selfhost.bitwarden.com", path="/version.json")
    assert body(told)["versions"]["coreVersion"] == "2026.9.1"
    place.database.set_fault("release_download_fails")
    assert place.script("app=self-host&platform=linux").status_code == 503


def test_down_time_ends_where_nobody_looked(tmp_path: Path) -> None:
    database = LabDb(tmp_path / "lab.sqlite")
    for what, moment in (
        ("watch", 1),
        ("down", 10),
        ("start", 12),
        ("up", 15),
        ("down", 20),
        ("watch", 90),
        ("start", 95),
    ):
        database.event("us1", what, moment)
    assert state.counters(database, "us1") == {"restarts": 2, "downtime_s": 5.0}
    assert state.answers(database, "us1")
    database.event("us1", "down", time.time() - 3)
    assert 8 <= state.counters(database, "us1")["downtime_s"] < 9
    assert not state.answers(database, "us1")


def test_the_same_code_is_the_same_layer(tmp_path: Path) -> None:
    for name in ("a", "b"):
        layers.write_code(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with tarfile.open(tmp_path / "a") as tar:
        names = tar.getnames()
    assert "opt/lab/bwlab/inside/__main__.py" in names
    assert not [name for name in names if "__pycache__" in name]


def test_a_process_is_known_by_its_folder_and_ended(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    script = "import time; time.sleep(60)"
    pid = processes.start("it", [sys.executable, "-c", script, str(folder / "x")], folder, folder / "log")
    try:
        assert processes.running("it", folder) == pid
        # Until it has a command line it may be anybody's.
        deadline = time.monotonic() + 10
        while not Path(f"/proc/{pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline
        assert not processes.alive(pid, tmp_path / "other")
    finally:
        processes.end("it", folder)
    assert not Path(f"/proc/{pid}").exists()
    assert not (folder / "it.pid").exists()


def test_the_lab_at_the_end_of_another_path_is_not_meant(tmp_path: Path) -> None:
    """/x/lab is no part of /tmp/…/x/lab."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"{tmp_path}/x/lab/docker/data"])
    try:
        deadline = time.monotonic() + 10
        while str(tmp_path).encode() not in Path(f"/proc/{sleeper.pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline
        assert processes.alive(sleeper.pid, tmp_path / "x" / "lab" / "docker")
        assert not processes.alive(sleeper.pid, Path("/x/lab/docker"))
        assert not processes.alive(sleeper.pid, tmp_path / "x" / "la")
    finally:
        sleeper.kill()
        sleeper.wait()


def test_the_subnet_is_free(tmp_path: Path) -> None:
    subnet = outer.free_subnet(tmp_path / "network.json", tmp_path)
    assert subnet.prefixlen == 24
    table = Path("/proc/net/route").read_text(encoding="utf-8").splitlines()[1:]
    assert all(line.split()[1] != bytes(reversed(subnet.network_address.packed)).hex().upper() for line in table)


def test_a_lab_that_is_down_keeps_its_addresses_as_long_as_it_exists(tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.touch()
    subnet = outer.free_subnet(first, tmp_path)
    assert outer.free_subnet(second, tmp_path) != subnet
    first.unlink()
    assert outer.free_subnet(second, tmp_path) == subnet


def test_each_lab_has_a_bridge_of_its_own(tmp_path: Path) -> None:
    """`down` removes it by name, also when another lab has got the same addresses meanwhile."""
    names = {outer.Outer(tmp_path / name).bridge for name in ("a", "b")}
    assert len(names) == 2
    assert max(map(len, names)) <= 15


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("bwlab.docker.needs.shutil.which", lambda name, path: None if name == "dnsmasq" else name)
    with pytest.raises(needs.NotReady, match=r"install --no-install-recommends dnsmasq-base$"):
        needs.check()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(needs.NotReady, match="needs root"):
        needs.check()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("disk_full", {}),
        ("registry_down", {"how": "dns"}),
        ("release_download_fails", {"how": "dns"}),
        ("tls_expired", {"persona": "server:us1"}),
        ("compose_up_fails", {"command": "compose up"}),
    ],
)
def test_what_this_engine_cannot_do_is_refused(name: str, options: dict[str, str]) -> None:
    faults.check_docker("registry_down", {"how": "limit", "server": "us1"})
    with pytest.raises(faults.UnknownFault, match="real Docker engine"):
        faults.check_docker(name, options)
