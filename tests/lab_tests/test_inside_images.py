# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the images promise, and their entrypoints as far as they need no container."""

from __future__ import annotations

import importlib
import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from bwlab.host.setup import Tree, run
from bwlab.host.setup.config import Config
from bwlab.host.setup.render import Versions, compose
from bwlab.host.setup.render import nginx as default_conf
from bwlab.inside import __main__ as entrypoint
from bwlab.inside import entry, lite, nginx, places, setup, supervise
from bwlab.inside.images import IMAGES, PACKAGES

LAB = Path(entrypoint.__file__).resolve().parents[2]
SETTINGS = {"BW_DOMAIN": "vault.example.com:9443", "BW_ENABLE_SSL": "true", "BW_INSTALLATION_ID": "id1"}


def _config() -> Config:
    config = Config(url="https://vault.example.com", ssl=True, enable_scim=True, enable_key_connector=True)
    config.ssl_certificate_path, config.ssl_key_path = "/etc/ssl/self/x/certificate.crt", "/etc/ssl/self/x/private.key"
    return config


# -- images --------------------------------------------------------------------------------------------------------


def test_there_is_an_image_for_every_service_that_setup_writes() -> None:
    services = yaml.safe_load(compose(_config(), Versions()))["services"]
    images = {service["image"].removeprefix("ghcr.io/bitwarden/").partition(":")[0] for service in services.values()}
    assert images | {"setup", "lite"} == set(IMAGES)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_has_an_entrypoint_that_there_is_and_the_labels_of_bitwarden(name: str) -> None:
    spec = IMAGES[name]
    assert spec.entrypoint == ["python3", "-m", "bwlab.inside", name]
    assert callable(importlib.import_module(f"bwlab.inside.{entrypoint.MODULES[name]}").main)
    assert spec.labels == {"com.bitwarden.product": "bitwarden", "com.bitwarden.project": name}


def test_health_is_asked_as_the_real_images_ask() -> None:
    asked = {name: (spec.healthcheck or ["", ""])[1] for name, spec in IMAGES.items()}
    assert asked.pop("lite") == asked.pop("setup") == ""
    assert "/.well-known/openid-configuration" in asked["identity"]
    assert "/google.com/icon.png" in asked["icons"]
    assert "sqlcmd" in asked["mssql"]
    assert "https://localhost:8443/alive" in asked["nginx"]
    assert all("-Y off" in text for name, text in asked.items() if name not in ("nginx", "mssql"))
    assert "busybox" in PACKAGES


def test_the_list_of_images_needs_nothing_of_the_lab() -> None:
    text = "import sys; import bwlab.inside.images; print(sorted(n for n in sys.modules if n.startswith('bwlab')))"
    done = subprocess.run(
        [sys.executable, "-c", text], env={"PYTHONPATH": str(LAB)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['bwlab', 'bwlab.inside', 'bwlab.inside.images']"


def test_a_service_that_there_is_not() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bwlab.inside", "vault"],
        env={"PYTHONPATH": str(LAB)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("There is no service 'vault'. There are: admin, api,")


# -- entrypoints ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "user"),
    [
        ({"LOCAL_UID": "1500", "LOCAL_GID": "1501"}, (1500, 1501)),
        ({"LOCAL_UID": "0", "LOCAL_GID": "x"}, (65534, 65534)),
        ({}, (65534, 65534)),
    ],
)
def test_nobody_runs_as_root(environment: dict[str, str], user: tuple[int, int]) -> None:
    assert entry.user(environment) == user


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_mounts_are_given_to_the_user_and_become_readable_by_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "core" / "licenses").mkdir(parents=True)
    (tmp_path / "core" / "licenses" / "one.json").touch()
    (tmp_path / "elsewhere").touch()
    (tmp_path / "core" / "link").symlink_to(tmp_path / "elsewhere")
    script = (
        "import os, sys; from pathlib import Path; from bwlab.inside import entry\n"
        "entry.begin([Path(sys.argv[1])]); print(os.getuid(), os.getgid(), os.getgroups())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "core")],
        env={"PYTHONPATH": str(LAB), "LOCAL_UID": "1500", "LOCAL_GID": "1501", "PATH": os.defpath},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "1500 1501 []"
    owned = [tmp_path / "core", *(tmp_path / "core").rglob("*")]
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in owned} == {(1500, 1501)}
    assert (tmp_path / "elsewhere").stat().st_uid == 0


def test_setups_default_conf_includes_only_what_the_image_has(tmp_path: Path) -> None:
    own = tmp_path / "default.conf"
    own.write_text(default_conf(_config()))
    target = tmp_path / "etc"
    (target / "conf.d").mkdir(parents=True)
    (target / "conf.d" / "old.conf").touch()
    nginx.install([own], target)
    assert [path.name for path in (target / "conf.d").iterdir()] == ["default.conf"]
    found = [own, *target.glob("*.conf")]
    included = {name for path in found for name in re.findall(r"include /etc/nginx/(\S+);", path.read_text())}
    # Debian's package has the types.
    assert included - {"mime.types", "conf.d/*.conf"} <= {path.name for path in target.glob("*.conf")}


def test_places_of_a_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BWLAB_SERVER", "us7")
    where = places.standard()
    assert (where.server, str(where.lab)) == ("us7", "/etc/bitwarden/core/.lab/lab")
    assert str(where.database) == "/etc/bitwarden/core/.lab/data/vault.sqlite"
    assert str(places.lite("/etc/bitwarden/own.db").database) == "/etc/bitwarden/own.db"
    assert places.Places("x", tmp_path, tmp_path, tmp_path, tmp_path).lab_db() is None


# -- setup ---------------------------------------------------------------------------------------------------------


def _setup(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    made = setup.ContainerSetup(Tree(tmp_path), stdout=out, environment={}, working_directory=tmp_path)
    return run(made, list(arguments)), out.getvalue()


def test_updatedb_needs_a_database_that_accepts_the_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _setup(tmp_path, "-install", "1", "-domain", "x.example.com", "-stub", "1")[0] == 0
    env = tmp_path / "env" / "global.override.env"
    env.write_text(env.read_text().replace("tcp:mssql,1433", "tcp:127.0.0.1,9"))
    before = env.read_bytes()
    assert _setup(tmp_path, "-update", "1", "-db", "1")[0] == 134
    assert "Unhandled exception. Microsoft.Data.SqlClient.SqlException" in capsys.readouterr().err
    done: list[str] = []
    monkeypatch.setattr(setup.SqlLogin, "create_catalog", lambda login: done.append(login.password))
    monkeypatch.setattr(setup.SqlLogin, "check", lambda _login: None)
    code, out = _setup(tmp_path, "-update", "1", "-db", "1")
    assert (code, "Migration successful." in out, done) == (0, True, ["RANDOM_DATABASE_PASSWORD"])
    assert env.read_bytes() == before


def test_setup_asks_the_cloud_over_the_network() -> None:
    with pytest.raises(OSError, match="refused"):
        setup.fetch("http://127.0.0.1:9/installations/1")


# -- lite ----------------------------------------------------------------------------------------------------------


def test_lite_takes_the_installation_from_its_own_keys_only() -> None:
    given = {**SETTINGS, "globalSettings__installation__id": "other", "globalSettings__duo__aKey": "kept"}
    found = lite.service_environment(given)
    assert found["globalSettings__installation__id"] == "id1"
    assert found["globalSettings__installation__key"] == ""
    assert found["globalSettings__baseServiceUri__vault"] == "https://vault.example.com:9443"
    assert found["globalSettings__duo__aKey"] == "kept"
    again = lite.service_environment(given)
    assert again["globalSettings__internalIdentityKey"] != found["globalSettings__internalIdentityKey"]


def test_lite_runs_what_is_enabled() -> None:
    assert set(lite.enabled({})) == {"admin", "api", "icons", "identity", "notifications"}
    chosen = {"BW_ENABLE_SSO": "true", "BW_ENABLE_ICONS": "false"}
    assert set(lite.enabled(chosen)) == {"admin", "api", "identity", "notifications", "sso"}
    assert [program.name for program in lite.programs(chosen)][-1] == "nginx"


def test_lite_with_a_database_server() -> None:
    settings = {"BW_DB_PROVIDER": "sqlserver", "BW_DB_SERVER": "mssql", "BW_DB_PASSWORD": "secret"}
    text = lite.service_environment(settings)["globalSettings__sqlServer__connectionString"]
    assert text == "Server=tcp:mssql,1433;Database=vault;User Id=;Password=secret"


def test_nginx_of_lite() -> None:
    with_tls = lite.configuration(SETTINGS, lite.enabled({}))
    assert "listen 8443 ssl;" in with_tls
    assert "return 301 https://vault.example.com:9443$request_uri;" in with_tls
    assert "server_name vault.example.com;" in with_tls
    assert re.search(r"location /api/ \{\s+proxy_pass http://localhost:5001/;", with_tls)
    assert re.search(r"location /identity \{\s+proxy_pass http://localhost:5005;", with_tls)
    assert "/events/" not in with_tls
    plain = lite.configuration({"BW_PORT_HTTP": "8081"}, lite.enabled({}))
    assert "listen 8081 default_server;" in plain
    assert "ssl" not in plain


def test_lite_knows_two_kinds_of_databases(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("BW_DB_PROVIDER", "postgresql")
    assert lite.main() == 1
    assert "sqlite, sqlserver" in capsys.readouterr().err


# -- several programs in one container -----------------------------------------------------------------------------


def test_a_program_that_ends_is_started_again_and_all_end_together(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    script = f"""
import sys
from bwlab.inside import supervise
supervise.PAUSE = 0.05
supervise.run([
    supervise.Program("short", ["sh", "-c", "echo $X >> {marks}"], {{"X": "here"}}),
    supervise.Program("long", ["sleep", "600"], {{}}),
], poll=0.02)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(LAB), "PATH": os.defpath},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _unused in range(1500):
            if marks.exists() and marks.read_text().count("here") >= 3:
                break
            time.sleep(0.02)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.terminate()
        _unused_out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert marks.read_text().count("here") >= 3
    assert "exited: short (exit status 0; not expected)" in err
    assert children
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_a_program_that_does_not_obey_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "PATIENCE", 0.1)
    stubborn = supervise.Program("x", ["sh", "-c", "trap '' TERM; echo; while true; do sleep 1; done"], {})
    stubborn.process = subprocess.Popen(stubborn.command, stdout=subprocess.PIPE)
    assert stubborn.process.stdout is not None
    stubborn.process.stdout.readline()
    supervise.end([stubborn])
    assert stubborn.process.returncode == -9
    stubborn.process.stdout.close()
