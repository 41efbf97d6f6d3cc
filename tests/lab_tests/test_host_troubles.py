"""What can go wrong on a lab host: Docker, the registry, starts and stops, disks, and whoever runs a command."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from bwlab import faults
from bwlab.host.managed import SETUP_IMAGE, Managed, path_without_compose
from bwlab.host.trouble import command_of

UP = 11
API = "ghcr.io/bitwarden/api:2026.7.2"


@pytest.fixture
def host(tmp_path: Path) -> Managed:
    return Managed(tmp_path).install()


def set_fault(host: Managed, name: str, **options: str) -> None:
    host.db.set_fault(name, faults.parse(name, [f"{key}={value}" for key, value in options.items()]))


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["compose", "-f", "a.yml", "-f", "b.yml", "up", "-d"], "compose up"),
        (["compose", "--project-name=x", "pull"], "compose pull"),
        (["compose", "--ansi", "never", "ps"], "compose ps"),
        (["pull", "image"], "pull"),
        (["compose"], "compose help"),
        ([], "help"),
    ],
)
def test_commands_without_their_options(arguments: list[str], command: str) -> None:
    assert command_of(arguments) == command


def test_a_fault_limited_to_a_command_leaves_others_alone(host: Managed) -> None:
    set_fault(host, "docker_fails", command="compose ps", count="1")
    assert host.docker("ps").returncode == 0
    assert host.docker("compose", "config", "-q").returncode == 0
    done = host.docker("compose", "ps")
    assert (done.returncode, done.stderr) == (1, "Error response from daemon: context deadline exceeded\n")
    assert host.docker("compose", "ps").returncode == 0


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("docker_daemon_down", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."),
        ("docker_not_permitted", "permission denied while trying to connect to the Docker daemon socket"),
    ],
)
def test_without_the_daemon_files_can_still_be_read(host: Managed, name: str, says: str) -> None:
    set_fault(host, name)
    for command, status in ((["ps"], 1), (["compose", "ps"], 1), (["pull", API], 1), (["run", "-d", API], 125)):
        done = host.docker(*command)
        assert (done.returncode, says in done.stderr) == (status, True), command
    for command in (["compose", "config", "-q"], ["compose", "version"], ["--version"]):
        assert host.docker(*command).returncode == 0
    assert set(host.states().values()) == {"running"}


def test_without_the_daemon_bitwarden_sh_stops_nothing_and_fails_at_the_pull(host: Managed) -> None:
    set_fault(host, "docker_daemon_down")
    assert host.script("restart").returncode == 1
    assert len(host.states()) == UP


def test_without_the_plugin(host: Managed) -> None:
    set_fault(host, "compose_missing")
    done = host.docker("compose", "version")
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "docker: unknown command: docker compose")
    assert "Neither 'docker compose' nor" in host.script("restart").stderr


def test_a_daemon_that_hangs(host: Managed) -> None:
    set_fault(host, "docker_hangs", seconds="0.7", command="inspect")
    start = time.monotonic()
    assert host.docker("ps").returncode == 0
    assert host.docker("inspect", "bitwarden-api").returncode == 0
    assert time.monotonic() - start >= 0.7


def test_a_restarted_daemon_starts_all_containers_again_and_is_away_for_a_while(host: Managed) -> None:
    before = host.container()
    set_fault(host, "docker_restarts", seconds="4", count="1", command="compose pull")
    assert "error during connect" in host.docker("compose", "pull").stderr
    assert "Cannot connect" in host.docker("ps").stderr
    deadline = time.monotonic() + 60
    while host.docker("ps").returncode:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    after = host.container()
    assert (after["Id"], after["Config"]["Env"]) == (before["Id"], before["Config"]["Env"])
    assert after["State"]["StartedAt"] > before["State"]["StartedAt"]
    assert host.restarts() == 1
    assert not [fault for fault in host.db.faults() if fault.name == "docker_daemon_down"]


# -- images --------------------------------------------------------------------------------------------------------


def test_a_slow_registry_takes_its_time_once_for_all_images_of_a_compose_pull(host: Managed) -> None:
    set_fault(host, "registry_slow", seconds="1")
    start = time.monotonic()
    assert host.docker("compose", "pull").returncode == 0
    assert 1 <= time.monotonic() - start < UP, "one image after the other"
    start = time.monotonic()
    assert host.docker("pull", SETUP_IMAGE).returncode == 0
    assert time.monotonic() - start >= 1


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("dns", "lookup ghcr.io: Temporary failure in name resolution"),
        ("refused", "connection refused"),
        ("timeout", "Client.Timeout exceeded"),
        ("tls", "x509: certificate signed by unknown authority"),
        ("denied", 'Head "https://ghcr.io/v2/bitwarden/mssql/manifests/2026.7.2": denied'),
        ("limit", "toomanyrequests"),
    ],
)
def test_reasons_of_a_registry(host: Managed, how: str, says: str) -> None:
    set_fault(host, "registry_down", how=how)
    done = host.docker("compose", "pull")
    assert (done.returncode, says in done.stderr) == (18, True), done.stderr


def test_an_image_that_the_registry_does_not_have(host: Managed) -> None:
    set_fault(host, "image_missing", image="bitwarden/api:")
    assert host.docker("compose", "pull").stderr.endswith("Error response from daemon: manifest unknown\n")
    assert host.docker("pull", "ghcr.io/bitwarden/admin:2026.7.2").returncode == 0
    # What is there needs no registry.
    assert host.docker("compose", "up", "-d", "--force-recreate").returncode == 0


def test_a_clean_up_takes_what_no_container_uses(host: Managed) -> None:
    host.docker("compose", "down")
    set_fault(host, "images_pruned", command="compose up", count="1")
    set_fault(host, "registry_down", count="1")
    assert host.docker("compose", "up", "-d").returncode == 1
    assert host.db.images("us1") == []
    assert host.docker("compose", "up", "-d").returncode == 0
    assert API in host.db.images("us1")


# -- stop and start ------------------------------------------------------------------------------------------------


def test_a_listing_that_fails_keeps_bitwarden_sh_from_stopping(host: Managed) -> None:
    before = host.container("bitwarden-web")["Id"]
    host.set_line("own", "1")
    set_fault(host, "stop_does_nothing", count="1")
    assert host.script("restart").returncode == 0
    assert host.container("bitwarden-web")["Id"] == before
    assert "own=1" in host.container()["Config"]["Env"]


def test_a_container_that_cannot_be_stopped_is_left_alone_with_an_error(host: Managed) -> None:
    set_fault(host, "stop_fails", count="1")
    done = host.script("restart")
    assert (done.returncode, "did not receive an exit event" in done.stderr) == (1, True)
    assert host.states() == {"bitwarden-nginx": "running"}


def test_a_taken_port_leaves_the_others_running(host: Managed) -> None:
    set_fault(host, "port_taken", count="1")
    done = host.script("restart")
    assert (done.returncode, "port is already allocated" in done.stderr) == (1, True)
    states = host.states()
    assert states.pop("bitwarden-nginx") == "created"
    assert set(states.values()) == {"running"}
    assert host.docker("inspect", "-f", "{{.State.Running}}", "bitwarden-nginx").stdout == "false\n"
    assert host.docker("compose", "up", "-d").returncode == 0
    assert set(host.states().values()) == {"running"}


def test_addresses_run_out_only_where_a_network_has_to_be_made(host: Managed) -> None:
    set_fault(host, "network_pool_exhausted", count="1")
    host.set_line("own", "1")
    assert host.docker("compose", "up", "-d").returncode == 0
    done = host.script("restart")
    assert (done.returncode, "address pools have been fully subscribed" in done.stderr) == (1, True)
    assert host.states() == {}


def test_setup_fails_when_the_stack_is_up(host: Managed) -> None:
    set_fault(host, "script_fails_after_up", count="1")
    assert host.script("restart").returncode == 125
    assert set(host.states().values()) == {"running"}


def test_a_service_that_crashes(host: Managed) -> None:
    set_fault(host, "container_crashes", service="identity", count="1")
    assert host.script("restart").returncode == 0
    assert host.states()["bitwarden-identity"] == "restarting"
    assert "type initializer" in host.docker("compose", "logs", "identity").stdout
    assert host.script("restart").returncode == 0
    assert set(host.states().values()) == {"running"}


def test_a_setting_with_which_services_crash(host: Managed) -> None:
    set_fault(host, "container_crashes_with", key="OWN", value="bad")
    host.set_line("own", "good")
    host.docker("compose", "up", "-d")
    assert set(host.states().values()) == {"running"}
    host.set_line("own", "bad")
    host.docker("compose", "up", "-d")
    assert (host.states()["bitwarden-api"], host.states()["bitwarden-web"]) == ("restarting", "running")


def test_nginx_keeps_the_addresses_of_its_start(host: Managed) -> None:
    nginx = host.db.container("us1", "nginx")
    assert nginx is not None and nginx["upstreams"]["api"] == host.container()["Id"]
    host.set_line("own", "1")
    host.docker("compose", "up", "-d")
    nginx = host.db.container("us1", "nginx")
    assert nginx is not None and nginx["upstreams"]["api"] != host.container()["Id"]
    host.docker("restart", "bitwarden-nginx")
    nginx = host.db.container("us1", "nginx")
    assert nginx is not None and nginx["upstreams"]["api"] == host.container()["Id"]


# -- disks ---------------------------------------------------------------------------------------------------------


def in_python(host: Managed, code: str) -> subprocess.CompletedProcess[str]:
    return host.run(str(host.host.python), "-c", textwrap.dedent(code))


def free_space(host: Managed, path: Path | str) -> int:
    return int(in_python(host, f"import shutil; print(shutil.disk_usage({str(path)!r}).free)").stdout)


def test_docker_s_disk_is_full_for_new_images_and_containers(host: Managed) -> None:
    root = host.docker("info", "--format", "{{.DockerRootDir}}").stdout.strip()
    assert Path(root).is_dir() and free_space(host, root) > 0
    set_fault(host, "disk_full", where="docker")
    assert (free_space(host, root), free_space(host, host.host.bwdata) > 0) == (0, True)
    assert host.docker("compose", "pull").returncode == 0
    assert "no space left on device" in host.docker("pull", "other.example/image:1").stderr
    host.docker("compose", "down")
    assert "no space left on device" in host.docker("compose", "up", "-d").stderr


def test_a_disk_full_everywhere(host: Managed) -> None:
    set_fault(host, "disk_full", where="all")
    assert free_space(host, host.host.directory) == 0
    assert "No space left" in in_python(host, f"open({str(host.env_file)!r}, 'ab', 0).write(b'x')").stderr


def test_a_full_disk_for_backups_alone(host: Managed) -> None:
    folder = host.host.directory / "bwdata-backups"
    folder.mkdir()
    set_fault(host, "disk_full", where="backups")
    assert "No space left" in in_python(host, f"open({str(folder / 'x')!r}, 'wb', 0).write(b'x')").stderr
    assert in_python(host, f"open({str(host.env_file)!r}, 'a').write('x=1')").returncode == 0


@pytest.mark.parametrize(
    "code", ["open(path, 'a')", "os.mkdir(path + '.d')", "os.replace(path, path + '.n')", "os.open(path, os.O_WRONLY)"]
)
def test_a_read_only_disk(host: Managed, code: str) -> None:
    whole = f"import os\npath = {str(host.env_file)!r}\n"
    set_fault(host, "disk_read_only")
    done = in_python(host, whole + code)
    assert (done.returncode, "Read-only file system" in done.stderr) == (1, True)
    assert in_python(host, whole + "open(path).read()").returncode == 0
    assert in_python(host, whole + "print(os.access(path, os.W_OK), os.access(path, os.R_OK))").stdout == "False True\n"
    host.db.clear_faults(server="us1")
    host.db.clear_faults()
    assert in_python(host, whole + code).returncode == 0


WRITE = """
    import os
    path = {path!r}
    descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(b"0123456789")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(path + ".new", path)
    """


@pytest.mark.parametrize(("how", "left"), [("write", b"01234"), ("fsync", b"0123456789"), ("replace", b"0123456789")])
def test_killed_while_writing(host: Managed, how: str, left: bytes) -> None:
    before = host.env_file.read_bytes()
    set_fault(host, "killed_while_writing", how=how, count="1")
    done = in_python(host, WRITE.format(path=str(host.env_file)))
    assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert host.env_file.read_bytes() == before
    assert host.env_file.with_name("global.override.env.new").read_bytes() == left
    assert in_python(host, WRITE.format(path=str(host.env_file))).returncode == 0
    assert host.env_file.read_bytes() == b"0123456789"


# -- whoever runs a command ----------------------------------------------------------------------------------------


PLAYBOOK = """\
import os, subprocess, sys, time
if os.fork():
    os.wait()
    sys.exit(3)
# The module: a process of its own, as on a server.
code = "import signal, subprocess, sys; " + sys.argv[3] + "; done = subprocess.run(sys.argv[1:], input=b'y\\\\n'); "
code += "open('ended', 'w').write(str(done.returncode))"
subprocess.run([sys.executable, "-c", code, sys.argv[1], sys.argv[2]])
"""


def play(host: Managed, *, first: str = "pass") -> int:
    program = host.lab_dir / "ansible-playbook"
    program.write_text(PLAYBOOK)
    env = {"PATH": f"{host.host.bin}:{path_without_compose()}", "HOME": str(host.lab_dir)}
    words = [sys.executable, str(program), str(host.host.directory / "bitwarden.sh"), "restart", first]
    return subprocess.run(words, env=env, cwd=host.lab_dir, capture_output=True, timeout=60, check=False).returncode


def test_a_play_killed_between_stop_and_start(host: Managed) -> None:
    set_fault(host, "run_killed", count="1")
    assert play(host) == -signal.SIGKILL
    assert host.states() == {}
    assert play(host) == 3
    assert len(host.states()) == UP


def test_a_play_killed_after_the_start(host: Managed) -> None:
    set_fault(host, "run_killed", count="1", command="run")
    assert play(host) == -signal.SIGKILL
    assert len(host.states()) == UP


def test_a_module_killed_alone_leaves_bitwarden_sh_at_work(host: Managed) -> None:
    set_fault(host, "run_killed", count="1", how="module")
    assert play(host) == 3
    assert not (host.lab_dir / "ended").exists()
    for _unused in range(50):
        if len(host.states()) == UP:
            break
        time.sleep(0.1)
    assert host.restarts() == 1


@pytest.mark.parametrize(
    ("first", "up"), [("pass", 0), ("signal.signal(signal.SIGHUP, signal.SIG_IGN)", UP)], ids=["ends", "goes on"]
)
def test_a_lost_connection_ends_what_minds_the_signal(host: Managed, first: str, up: int) -> None:
    set_fault(host, "connection_lost", count="1")
    assert play(host, first=first) == -signal.SIGKILL
    if up:
        for _unused in range(100):
            if len(host.states()) == up:
                break
            time.sleep(0.1)
    else:
        # It was stopped already: whoever went on would start it in the meantime.
        time.sleep(2)
        assert not (host.lab_dir / "ended").exists()
    assert len(host.states()) == up


def test_a_reboot_starts_what_exists(host: Managed) -> None:
    set_fault(host, "reboot", count="1", command="compose down")
    started = host.container()["State"]["StartedAt"]
    assert play(host) == 3
    assert not (host.lab_dir / "ended").exists()
    assert len(host.states()) == UP and host.container()["State"]["StartedAt"] > started
    set_fault(host, "reboot", count="1")
    assert play(host) == 3
    assert host.states() == {}


def test_faults_of_one_server_are_ended_alone(host: Managed) -> None:
    for options in ({"server": "us1"}, {"server": "us2"}, {"persona": "server:us1"}, {}):
        host.db.set_fault("registry_down", options)
    host.db.clear_faults(server="us1")
    assert [fault.options for fault in host.db.faults()] == [{"server": "us2"}, {}]


def test_every_fault_of_the_readme_exists_and_the_reverse() -> None:
    text = (Path(faults.__file__).parents[1] / "README.md").read_text()
    part = text.partition("## Faults")[2].partition("\nLimits:")[0]
    assert set(re.findall(r"`([a-z_]+)(?=`| \[| [a-z]+=)", part)) == set(faults.FAULTS)


def test_a_container_that_was_made_and_never_started_is_shown_whole(host: Managed) -> None:
    set_fault(host, "port_taken", count="1")
    host.script("restart")
    (entry,) = json.loads(host.docker("inspect", "bitwarden-nginx").stdout)
    assert (entry["State"]["Status"], entry["State"]["Pid"]) == ("created", 0)
