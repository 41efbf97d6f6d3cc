"""A managed host as the lab lays it out, and the faults that strike on the host itself."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from bwlab.host.install import cloud_lookup, host_of, install_host
from bwlab.host.managed import IDENTITY, Done, Managed
from bwlab.labdb import LabDb
from cryptography.hazmat.primitives.serialization import pkcs12

KEY = "globalSettings__baseServiceUri__cloudRegion"
MODES = {
    "bitwarden.sh": 0o700,
    "bwdata/scripts/run.sh": 0o700,
    "bwdata/env/global.override.env": 0o600,
    "bwdata/env/mssql.override.env": 0o600,
    "bwdata/env/uid.env": 0o644,
    "bwdata/docker/global.env": 0o600,
    "bwdata/docker/mssql.env": 0o600,
    "bwdata/docker/docker-compose.yml": 0o644,
    "bwdata/config.yml": 0o644,
    "bwdata/nginx/default.conf": 0o644,
    "bwdata/web/app-id.json": 0o644,
    "bwdata/identity/identity.pfx": 0o600,
    "bwdata/ssl/self/localhost/private.key": 0o600,
    "bwdata/ssl/self/localhost/certificate.crt": 0o644,
}


@pytest.fixture
def host(tmp_path: Path) -> Managed:
    return Managed(tmp_path).install("EU")


def test_files_of_a_fresh_installation(host: Managed) -> None:
    found = {name: stat.S_IMODE((host.host.directory / name).stat().st_mode) for name in MODES}
    assert found == MODES
    assert (host.host.bwdata / "core/licenses/organization").is_dir()
    assert (host.host.bwdata / "logs/api/Api").is_dir()


def test_settings_of_a_fresh_installation(host: Managed) -> None:
    values = dict(line.split("=", 1) for line in host.env_file.read_text().splitlines())
    assert len(values) == 20
    assert values[KEY] == "EU"
    assert values["globalSettings__baseServiceUri__vault"] == "https://localhost:8443"
    assert values["globalSettings__installation__id"] == IDENTITY
    assert values["globalSettings__installation__key"] == "Key1"
    # What an installer never writes.
    added_by_hand = (
        "enableCloudCommunication",
        "installation__identityUri",
        "installation__apiUri",
        "pushRelayBaseUri",
    )
    assert not {f"globalSettings__{name}" for name in added_by_hand} & values.keys()
    assert "\nurl: https://localhost:8443\n" in (host.host.bwdata / "config.yml").read_text()
    assert "8443:8443" in (host.host.bwdata / "docker/docker-compose.yml").read_text()


def test_setup_has_nothing_left_to_change(host: Managed) -> None:
    names = (
        "env/global.override.env",
        "config.yml",
        "docker/docker-compose.yml",
        "nginx/default.conf",
        "web/app-id.json",
    )
    before = [(host.host.bwdata / name).read_bytes() for name in names]
    done = host.setup(
        "-update", "1", "-os", "lin", "-corev", "2026.7.2", "-webv", "2026.7.1", "-keyconnectorv", "2026.7.0"
    )
    assert done.returncode == 0
    assert before == [(host.host.bwdata / name).read_bytes() for name in names]


def test_secrets_differ_between_hosts(tmp_path: Path) -> None:
    texts = [Managed(tmp_path, name).install().env_file.read_text() for name in ("us1", "us2")]
    secrets = [set(re.findall(r"(?m)=([A-Za-z0-9]{32,64})$|Password=([A-Za-z0-9]{32});", text)) for text in texts]
    assert len(secrets[0]) == 5
    assert not secrets[0] & secrets[1]


def test_the_signing_certificate_opens_with_the_password_of_the_env_file(host: Managed) -> None:
    found = re.search(r"(?m)^globalSettings__identityServer__certificatePassword=(.*)$", host.env_file.read_text())
    assert found is not None
    data = (host.host.bwdata / "identity/identity.pfx").read_bytes()
    key, certificate, _unused = pkcs12.load_key_and_certificates(data, found.group(1).encode())
    assert key is not None
    assert certificate is not None
    with pytest.raises(ValueError, match="password"):
        pkcs12.load_key_and_certificates(data, b"another")


def test_the_stack_runs_with_the_images_and_no_restart(host: Managed) -> None:
    assert set(host.states().values()) == {"running"}
    assert host.container()["State"]["Health"]["Status"] == "healthy"
    assert host.db.counters("us1") == {"restarts": 0, "downtime_s": 0.0}
    assert "ghcr.io/bitwarden/setup:2026.7.2" in host.db.images("us1")
    assert host.docker("compose", "up", "-d").stderr == ""


def test_a_host_can_be_left_stopped(tmp_path: Path) -> None:
    assert Managed(tmp_path).install(start=False).states() == {}


def test_hosts_have_their_own_docker(tmp_path: Path) -> None:
    first, second = (Managed(tmp_path, name).install() for name in ("us1", "us2"))
    first.docker("compose", "down")
    assert (len(first.states()), len(second.states())) == (0, 11)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_s_hosts_belong_to_nobody_but_for_bitwarden_sh(host: Managed) -> None:
    paths = [host.host.bwdata, *host.host.bwdata.rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in paths} == {(65534, 65534)}
    assert (host.host.directory / "bitwarden.sh").stat().st_uid == 0


def cloud(lab_dir: Path, region: str, installation: str, *, enabled: bool) -> None:
    (lab_dir / "state").mkdir(exist_ok=True)
    with sqlite3.connect(lab_dir / "state" / f"cloud-{region}.sqlite") as database:
        database.execute("CREATE TABLE IF NOT EXISTS Installation (Id TEXT, Enabled INTEGER)")
        database.execute("INSERT INTO Installation VALUES (?, ?)", (installation.upper(), enabled))


def lay_out(lab_dir: Path, region: str) -> None:
    install_host(
        lab_dir,
        "us1",
        url="https://localhost:8443",
        region_name=region,
        installation_id=IDENTITY,
        installation_key="Key1",
    )


def test_the_cloud_s_table_decides_whether_the_installation_is_known(tmp_path: Path) -> None:
    cloud(tmp_path, "EU", IDENTITY, enabled=True)
    lay_out(tmp_path, "EU")
    assert host_of(tmp_path, "us1").bwdata.is_dir()
    with pytest.raises(FileExistsError, match="us1"):
        lay_out(tmp_path, "EU")


@pytest.mark.parametrize(
    ("region", "known", "enabled", "says"),
    [
        ("US", "EU", True, "Problem contacting Bitwarden US server"),
        ("EU", "EU", False, "has been disabled in the EU region"),
        ("EU", "", True, "Invalid installation id for EU region"),
    ],
)
def test_an_installation_that_is_not_known(tmp_path: Path, region: str, known: str, enabled: bool, says: str) -> None:
    cloud(tmp_path, known or "EU", IDENTITY if known else IDENTITY.replace("1", "2"), enabled=enabled)
    with pytest.raises(RuntimeError, match=says):
        lay_out(tmp_path, region)


def test_cloud_lookup_is_case_blind(tmp_path: Path) -> None:
    cloud(tmp_path, "US", "abcdef00-0000-0000-0000-000000000000", enabled=True)
    ask = cloud_lookup(tmp_path)
    assert ask("https://api.bitwarden.com/installations/abcdef00-0000-0000-0000-000000000000")[0] == 200
    assert ask("https://api.bitwarden.com/installations/abcdef00-0000-0000-0000-000000000001")[0] == 404


# -- the host's Python ---------------------------------------------------------------------------------------------


def in_python(host: Managed, code: str) -> Done:
    return host.run(str(host.host.python), "-c", code)


def test_children_of_the_host_s_python_find_its_docker(host: Managed) -> None:
    code = "import subprocess; subprocess.run(['docker', 'compose', 'ls', '--format', 'json'])"
    done = host.run(str(host.host.python), "-c", code, variables={"PATH": os.environ["PATH"]})
    assert '"Name": "docker"' in done.stdout


WAYS = {
    "text": """
        with open(path, "w") as stream:
            stream.write("x" * 10)
        """,
    "bytes": """
        with open(path, "wb") as stream:
            stream.write(b"x")
        """,
    "pathlib": """
        pathlib.Path(path).write_text("x")
        """,
    "descriptor": """
        os.write(os.open(path, os.O_WRONLY | os.O_CREAT), b"x")
        """,
    "temporary": """
        descriptor, _ = tempfile.mkstemp(dir=os.path.dirname(path))
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(b"x")
        """,
    "fsync": """
        os.fsync(os.open(path, os.O_RDONLY))
        """,
    "copy": """
        shutil.copyfile(sys.executable, path)
        """,
}


@pytest.mark.parametrize("way", WAYS)
def test_full_disk(host: Managed, way: str) -> None:
    path = host.host.bwdata / "env/other.env"
    path.write_text("old")
    code = f"import os, pathlib, shutil, sys, tempfile\npath = {str(path)!r}\n{textwrap.dedent(WAYS[way])}"
    assert in_python(host, code).returncode == 0
    host.db.set_fault("disk_full", {"server": "us1"})
    done = in_python(host, code)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr
    elsewhere = code.replace("/env/other.env", "/other.env")
    (host.host.bwdata / "other.env").write_text("old")
    assert in_python(host, elsewhere).returncode == 0
    host.db.clear_faults()
    assert in_python(host, code).returncode == 0


def test_full_disk_is_counted_down_and_leaves_reading_alone(host: Managed) -> None:
    host.db.set_fault("disk_full", {"count": "1"})
    assert in_python(host, f"open({str(host.env_file)!r}).read()").returncode == 0
    code = f"import os; os.write(os.open({str(host.env_file) + '.new'!r}, os.O_CREAT | os.O_WRONLY), b'x')"
    assert in_python(host, code).returncode != 0
    assert host.db.faults()[0].count_left == 0
    assert in_python(host, code).returncode == 0


def test_full_disk_of_another_server(host: Managed) -> None:
    host.db.set_fault("disk_full", {"server": "eu1"})
    assert in_python(host, f"open({str(host.env_file)!r}, 'a').write('x=1')").returncode == 0


# -- killed between writing and restart ----------------------------------------------------------------------------


PLAYBOOK = """\
import os, subprocess, sys, time
if os.fork():
    # The parent waits for its worker, as ansible-playbook does.
    os.wait()
    time.sleep(0.2)
    sys.exit(3)
subprocess.run(["docker", "compose", "-f", sys.argv[2] + "/docker/docker-compose.yml", "ps"], stdout=subprocess.DEVNULL)
subprocess.run([sys.argv[1], "restart"], input=b"y\\n")
open(sys.argv[3], "w").close()
"""


def play(host: Managed, mark: Path) -> subprocess.Popen[bytes]:
    program = host.lab_dir / "ansible-playbook"
    program.write_text(PLAYBOOK)
    env = {"PATH": f"{host.host.bin}:{os.environ['PATH']}", "HOME": str(host.lab_dir)}
    command = [
        sys.executable,
        str(program),
        str(host.host.directory / "bitwarden.sh"),
        str(host.host.bwdata),
        str(mark),
    ]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_ansible_is_killed_before_anything_is_stopped(host: Managed, tmp_path: Path) -> None:
    host.db.set_fault("killed_between_write_and_restart", {"server": "us1", "count": "1"})
    mark = tmp_path / "mark"
    process = play(host, mark)
    assert process.wait(timeout=30) == -signal.SIGKILL
    time.sleep(0.5)
    assert not mark.exists()
    assert host.restarts() == 0
    assert len(host.states()) == 11
    # The second time the fault has been used up.
    process = play(host, mark)
    assert process.wait(timeout=60) == 3
    assert mark.exists()
    assert host.restarts() == 1


def test_a_restart_by_hand_is_killed_too_and_a_look_is_not(host: Managed) -> None:
    host.db.set_fault("killed_between_write_and_restart")
    assert host.docker("compose", "ps").returncode == 0
    assert host.script("help").returncode == 0
    assert host.script("restart").returncode == -signal.SIGKILL
    assert host.restarts() == 0


def test_the_fault_table_is_that_of_the_lab(host: Managed) -> None:
    LabDb(host.lab_dir / "lab.sqlite").set_fault("registry_down")
    assert host.script("restart").returncode == 18
