"""bitwarden.sh and run.sh of a lab host: arguments, questions, order of calls, exit statuses, what is left behind."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bwlab.host.managed import IDENTITY, Done, Managed

FLAG = "globalSettings__enableCloudCommunication"
UP = 11
ROOT = os.geteuid() == 0
SPY = """#!/bin/sh
printf 'docker %s\\n' "$*" >>"{log}"
exec "{real}" "$@"
"""


@pytest.fixture
def host(tmp_path: Path) -> Managed:
    return Managed(tmp_path).install()


@pytest.fixture
def calls(host: Managed) -> Path:
    """A file with every call of docker that changes or pulls something."""
    log = host.lab_dir / "calls"
    real = host.host.bin / "docker.real"
    (host.host.bin / "docker").rename(real)
    (host.host.bin / "docker").write_text(SPY.format(log=log, real=real))
    (host.host.bin / "docker").chmod(0o755)
    return log


def made(calls: Path) -> list[str]:
    """The calls in short: without the questions for Compose and versions, options and paths."""
    short = []
    for line in calls.read_text().splitlines():
        words = re.sub(
            r"/app/Setup | -(os|corev|webv|keyconnectorv) \S+|-[vp] \S+ |--env-file \S+ |--rm |-i ", "", line
        )
        if "version" not in words and words != "docker compose":
            short.append(words.removeprefix("docker "))
    return short


def ids(host: Managed) -> dict[str, str]:
    return {name: host.container(name)["Id"] for name in host.states()}


# -- start-up ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not ROOT, reason="asks only root")
@pytest.mark.parametrize("stdin", ["", "n\n", "\n", "yess\n"])
def test_root_who_does_not_say_yes_is_sent_away_before_docker_is_called(host: Managed, calls: Path, stdin: str) -> None:
    done = host.script("restart", stdin=stdin)
    assert done.returncode == 1
    assert "running as the root user" in done.stdout
    assert not calls.exists()


@pytest.mark.skipif(not ROOT, reason="asks only root")
@pytest.mark.parametrize("stdin", ["y\n", "Y\n", "yes\n", "YES\n"])
def test_root_who_says_yes_goes_on(host: Managed, stdin: str) -> None:
    done = host.script("help", stdin=stdin)
    assert done.returncode == 0
    assert "Continuing....\n" in done.stdout
    assert "Copyright 2015-" in done.stdout


def test_versions_are_said_and_can_be_grepped(host: Managed) -> None:
    lines = host.script("help").stdout.splitlines()
    start = lines.index("bitwarden.sh version 2026.7.2")
    assert lines[start + 1].startswith("Docker version ")
    assert lines[start + 2].startswith("Docker Compose version ")
    assert '\nCOREVERSION="2026.7.2"\n' in (host.host.directory / "bitwarden.sh").read_text()


@pytest.mark.parametrize("arguments", [["help"], [], ["bogus"], ["--version"]])
def test_unknown_commands_end_well(host: Managed, arguments: list[str]) -> None:
    done = host.script(*arguments)
    assert done.returncode == 0
    assert ("No command found." in done.stdout) is (arguments != ["help"])
    assert "updateself" in done.stdout
    assert len(host.states()) == UP


def test_without_compose(host: Managed) -> None:
    (host.host.bin / "docker").write_text("#!/bin/sh\nexit 1\n")
    done = host.script("restart")
    assert done.returncode == 1
    assert "Neither 'docker compose' nor 'docker-compose' commands were found" in done.stderr
    (host.host.bin / "docker-compose").write_text("#!/bin/sh\nexit 0\n")
    (host.host.bin / "docker-compose").chmod(0o755)
    assert "falling back to docker-compose." in host.script("help").stdout


def test_exactly_two_arguments_name_another_folder(host: Managed, tmp_path: Path) -> None:
    done = host.script("restart", "/nowhere")
    assert (done.returncode, "Cannot find a Bitwarden installation at /nowhere.\n" in done.stdout) == (1, True)
    assert host.script("restart", str(host.host.bwdata)).returncode == 0
    assert host.script("compresslogs", "20240101").returncode == 1
    assert host.script("restart", "/nowhere", "third").returncode == 0
    assert host.restarts() == 2


@pytest.mark.parametrize(
    "command", ["start", "restart", "stop", "update", "rebuild", "updateconf", "updatedb", "updaterun"]
)
def test_without_an_installation(host: Managed, command: str) -> None:
    shutil.rmtree(host.host.bwdata)
    done = host.script(command)
    assert done.returncode == 1
    assert f"Cannot find a Bitwarden installation at {host.host.bwdata}." in done.stdout


def test_without_run_sh(host: Managed) -> None:
    (host.host.bwdata / "scripts/run.sh").unlink()
    assert host.script("restart").returncode == 127


# -- restart -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["restart", "start"])
def test_restart_gives_new_containers_with_the_files_of_now(host: Managed, command: str) -> None:
    before = ids(host)
    host.set_line(FLAG, "true")
    done = host.script(command)
    assert done.returncode == 0, done.stderr
    assert not set(before.values()) & set(ids(host).values())
    assert f"{FLAG}=true" in host.container()["Config"]["Env"]
    assert host.restarts() == 1
    assert done.stdout.endswith(
        "Bitwarden is up and running!\n===================================================\n\nvisit https://localhost:8443\n"
        "to update, run `./bitwarden.sh updateself` and then `./bitwarden.sh update`\n\n"
    )


def test_order_of_calls_in_a_restart(host: Managed, calls: Path) -> None:
    host.script("restart")
    image = "ghcr.io/bitwarden/setup:2026.7.2"
    assert made(calls) == [
        "compose ps",
        "compose down",
        "compose pull",
        "compose up -d",
        f"pull {image}",
        f"run --name setup {image} -printenv 1",
    ]


def test_a_certificate_of_lets_encrypt_is_renewed(host: Managed, calls: Path) -> None:
    (host.host.bwdata / "letsencrypt/live").mkdir()
    assert host.script("restart").returncode == 0
    words = made(calls)
    assert words[3] == "pull certbot/certbot"
    assert words[4].startswith("run --name certbot certbot/certbot renew")
    calls.unlink()
    assert host.script("renewcert").returncode == 0
    assert "--force-renew" in calls.read_text()


def test_one_container_alone_is_not_stopped(host: Managed, calls: Path) -> None:
    for name in host.states():
        if name != "bitwarden-web":
            host.docker("rm", "-f", name)
    calls.unlink()
    assert host.script("stop").returncode == 0
    assert made(calls) == ["compose ps"]
    assert host.states() == {"bitwarden-web": "running"}


def test_missing_folders_are_made_and_named(host: Managed) -> None:
    shutil.rmtree(host.host.bwdata / "core")
    done = host.script("restart")
    assert f"Creating directory {host.host.bwdata}/core/attachments\n" in done.stdout
    assert (host.host.bwdata / "core/attachments").is_dir()


def test_the_caller_s_compose_file_does_not_count_but_the_override_does(host: Managed) -> None:
    override = host.host.bwdata / "docker/docker-compose.override.yml"
    override.write_text("services:\n  api:\n    environment: {OWN: '1'}\n")
    assert host.script("restart", variables={"COMPOSE_FILE": "/nowhere.yml"}).returncode == 0
    assert "OWN=1" in host.container()["Config"]["Env"]


def test_a_failing_pull_leaves_the_stack_down(host: Managed) -> None:
    host.db.set_fault("registry_down")
    assert host.script("restart").returncode == 18
    assert host.states() == {}
    host.db.clear_faults()
    assert host.script("start").returncode == 0
    assert host.restarts() == 1


def test_a_registry_that_fails_after_the_stop(host: Managed) -> None:
    host.db.set_fault("registry_down_after_stop", {"count": "1"})
    assert host.script("restart").returncode == 18
    assert host.states() == {}


def test_a_failing_start_leaves_the_stack_down(host: Managed) -> None:
    host.db.set_fault("compose_up_fails", {"server": "us1"})
    assert host.script("restart").returncode == 1
    assert host.states() == {}


def test_a_missing_setup_image_fails_after_the_stack_is_up(host: Managed) -> None:
    host.db.set_fault("setup_image_missing")
    done = host.script("restart")
    assert (done.returncode, len(host.states())) == (1, UP)
    assert "Bitwarden is up and running" not in done.stdout


def test_another_setup_container(host: Managed) -> None:
    host.db.set_fault("concurrent_update")
    done = host.script("restart")
    assert done.returncode == 125
    assert len(host.states()) == UP + 1


def test_a_malformed_env_file_is_noticed_when_the_stack_is_down(host: Managed) -> None:
    with host.env_file.open("a") as stream:
        stream.write('own="open\n')
    done = host.script("restart")
    assert done.returncode == 1
    assert "unterminated quoted value" in done.stderr
    assert host.states() == {}


def test_a_switch_that_is_no_boolean_is_not_noticed_at_all(host: Managed) -> None:
    host.set_line(FLAG, "yes")
    assert host.script("restart").returncode == 0
    assert host.states()["bitwarden-api"] == "restarting"


@pytest.mark.skipif(not ROOT, reason="only root can give files away")
def test_a_restart_gives_files_back_to_the_user_of_uid_env(host: Managed) -> None:
    os.chown(host.env_file, 0, 0)
    assert host.script("restart").returncode == 0
    assert host.env_file.stat().st_uid == 65534
    assert (host.host.directory / "bitwarden.sh").stat().st_uid == 0


# -- uid.env -------------------------------------------------------------------------------------------------------


def test_an_incomplete_uid_env_is_written(host: Managed) -> None:
    path = host.host.bwdata / "env/uid.env"
    path.write_text("LOCAL_UID=5\n")
    assert host.script("stop").returncode == 0
    uid, gid = os.getuid() or 65534, os.getgid() or 65534
    assert path.read_text() == f"LOCAL_UID={uid}\nLOCAL_GID={gid}\n"
    path.write_text("LOCAL_UID=5\nLOCAL_GID=6\n")
    assert host.script("stop").returncode == 0
    assert path.read_text() == "LOCAL_UID=5\nLOCAL_GID=6\n"


def test_the_ids_are_those_of_the_user_in_the_environment(host: Managed) -> None:
    path = host.host.bwdata / "env/uid.env"
    path.write_text("")
    host.script("stop", variables={"USER": "daemon"})
    assert path.read_text() == "LOCAL_UID=1\nLOCAL_GID=1\n"
    path.write_text("")
    assert host.script("restart", variables={"USER": "no-such-user"}).returncode == 1
    assert host.restarts() == 0


# -- the other commands --------------------------------------------------------------------------------------------


def test_stop(host: Managed) -> None:
    assert host.script("stop").returncode == 0
    assert host.states() == {}
    assert host.script("stop").returncode == 0


@pytest.mark.parametrize("command", ["rebuild", "updateconf"])
def test_rebuild_writes_the_files_anew_and_leaves_the_stack_down(host: Managed, calls: Path, command: str) -> None:
    text = host.env_file.read_text()
    host.env_file.write_text(f"# a comment\n\n{FLAG}=true\n" + text)
    done = host.script(command)
    assert done.returncode == 0, done.stderr
    assert host.states() == {}
    assert host.env_file.read_text() == f"{text}{FLAG}=true\n"
    assert any(line.startswith("pull") for line in made(calls)) is (command == "updateconf")


def test_update_that_is_not_needed(host: Managed, calls: Path) -> None:
    done = host.script("update")
    assert done.returncode == 0
    assert done.stdout.endswith("Update not needed\n")
    assert host.restarts() == 0
    assert [line.split()[0] for line in made(calls)] == ["compose", "compose", "inspect", "inspect"]


def test_update_to_a_new_version(host: Managed, calls: Path) -> None:
    host.db.set_release("2026.8.0")
    assert host.script("updateself").stdout.endswith("Updated self.\n")
    assert (host.host.directory / "bitwarden.sh").stat().st_mode & 0o777 == 0o744
    calls.unlink()
    done = host.script("update")
    lines = made(calls)
    assert done.returncode == 0, done.stderr
    assert "Pausing 60 seconds for database to come online. Please wait...\n" in done.stdout
    assert done.stdout.endswith("Database update complete\n")
    assert host.container()["Config"]["Image"] == "ghcr.io/bitwarden/api:2026.8.0"
    assert host.restarts() == 1
    assert not any(image.endswith(":2026.7.2") for image in host.db.images("us1"))
    assert sum(line == "pull ghcr.io/bitwarden/setup:2026.8.0" for line in lines) == 3
    assert lines[-1].startswith("run --name setup --network container:")


def test_update_of_a_stopped_stack_goes_on(host: Managed) -> None:
    host.script("stop")
    done = host.script("update")
    assert done.returncode == 0
    assert "requires at least 1 argument" in done.stderr
    assert len(host.states()) == UP


def test_no_pause_without_the_database_container(host: Managed) -> None:
    config = host.host.bwdata / "config.yml"
    config.write_text(config.read_text().replace("enable_built_in_ms_sql: true", "enable_built_in_ms_sql: false"))
    host.set_line("globalSettings__sqlServer__connectionString", "Data Source=db.example.com;Initial Catalog=vault")
    host.script("stop")
    done = host.script("update")
    assert done.returncode == 0
    assert "Pausing" not in done.stdout
    assert "bitwarden-mssql" not in host.states()


def test_updatedb(host: Managed) -> None:
    before = host.env_file.read_text()
    done = host.script("updatedb")
    assert done.stdout.endswith("Database update complete\n")
    assert host.env_file.read_text() == before
    assert host.restarts() == 0


def test_updaterun(host: Managed) -> None:
    (host.host.home / "published").mkdir()
    (host.host.home / "published/run.sh").write_text("#!/bin/sh\nexit 42\n")
    done = host.script("updaterun")
    assert done.returncode == 0
    run = host.host.bwdata / "scripts/run.sh"
    assert run.stat().st_mode & 0o777 == 0o700
    assert host.script("stop").returncode == 42


def test_downloads_that_fail(host: Managed) -> None:
    published = host.host.home / "published"
    published.mkdir()
    (published / "status").write_text("503")
    run = (host.host.bwdata / "scripts/run.sh").read_text()
    done = host.script("updaterun")
    assert done.returncode == 1
    assert "Unable to download run script from https://func.bitwarden.com/" in done.stdout
    assert "Received status code: 503" in done.stdout
    assert host.script("updateself").returncode == 1
    assert not (host.host.directory / "bitwarden.sh.1").exists()
    (published / "unreachable").touch()
    assert host.script("updaterun").returncode == 6
    assert host.script("updateself").returncode == 1
    assert (host.host.bwdata / "scripts/run.sh").read_text() == run


def test_curl_leaves_other_addresses_to_the_real_one(host: Managed) -> None:
    done = host.run("curl", "-s", f"file://{host.host.bwdata}/env/uid.env", "http://127.0.0.1:1/")
    assert "LOCAL_UID=" in done.stdout
    assert done.returncode == 7


def test_compresslogs(host: Managed, tmp_path: Path) -> None:
    for day in ("20260101", "20260102", "20260103"):
        (host.host.bwdata / f"logs/api/Api/{day}.txt").write_text(day)
    assert host.script("compresslogs").returncode == 0
    assert host.script("compresslogs", "20260102", "20260103").returncode == 0
    with tarfile.open(tmp_path / "bitwarden-logs-all.tar.gz") as archive:
        assert len(archive.getnames()) == 3
    with tarfile.open(tmp_path / "bitwarden-logs-20260102-to-20260103.tar.gz") as archive:
        logs = host.host.bwdata.relative_to(tmp_path) / "logs" / "api" / "Api"
        assert sorted(archive.getnames()) == [str(logs / "20260102.txt"), str(logs / "20260103.txt")]


def test_uninstall(host: Managed) -> None:
    answers = "y\n" if ROOT else ""
    assert host.script("uninstall", stdin=f"{answers}n\nn\n").returncode == 1
    assert len(host.states()) == UP
    done = host.script("uninstall", stdin=f"{answers}y\ny\ny\n")
    assert done.returncode == 0, done.stderr
    assert host.states() == {}
    assert not host.host.bwdata.exists()
    assert host.db.images("us1") == []


# -- install -------------------------------------------------------------------------------------------------------


def test_install_refuses_what_is_installed(host: Managed) -> None:
    done = host.script("install")
    assert done.returncode == 1
    assert f"Looks like Bitwarden is already installed at {host.host.bwdata}." in done.stdout


def test_install_needs_a_terminal(host: Managed) -> None:
    shutil.rmtree(host.host.bwdata)
    answers = "y\n" if ROOT else ""
    done = host.script("install", stdin=f"{answers}bw.example.com\nn\nvault\n")
    assert done.returncode == 1
    assert "the input device is not a TTY" in done.stderr
    assert not (host.host.bwdata / "docker").exists()


def at_a_terminal(host: Managed, answers: str) -> tuple[int, str]:
    """Runs install with a terminal as standard input."""
    leader, follower = pty.openpty()
    env = {"PATH": f"{host.host.bin}:{os.environ['PATH']}", "HOME": str(host.lab_dir)}
    command = [str(host.host.directory / "bitwarden.sh"), "install"]
    try:
        os.write(leader, (("y\n" if ROOT else "") + answers).encode())
        done = subprocess.run(command, stdin=follower, capture_output=True, text=True, env=env, check=False, timeout=60)
    finally:
        os.close(leader)
        os.close(follower)
    return done.returncode, done.stdout


def nobody_answers(host: Managed) -> None:
    """A cloud of the lab that answers is no matter of these tests: only that it is asked where lab.json says."""
    (host.lab_dir / "lab.json").write_text('{"proxy": "http://127.0.0.1:1"}')


def test_install_with_an_id_that_cannot_be_checked_ends_well_and_blocks_the_next(host: Managed) -> None:
    shutil.rmtree(host.host.bwdata)
    nobody_answers(host)
    code, out = at_a_terminal(host, f"bw.example.com\nn\nvault\n{IDENTITY}\nKey\nEU\nn\nn\n")
    assert code == 0
    assert "Unable to validate installation id. Problem contacting Bitwarden EU server." in out
    assert not (host.host.bwdata / "docker/docker-compose.yml").exists()
    code, out = at_a_terminal(host, "")
    assert (code, "already installed" in out) == (1, True)


# -- users ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def owned() -> Iterator[Managed]:
    """A host of a normal user, while the tests run as root."""
    if not ROOT:
        pytest.skip("every other test runs as a normal user then")
    with tempfile.TemporaryDirectory(prefix="bwlab-user-") as folder:
        Path(folder).chmod(0o755)
        for python in (sys.executable, "/usr/bin/python3"):
            managed = Managed(Path(folder), user=1500, python=python)
            try:
                if managed.run(python, "-c", "import yaml, sys; sys.exit(sys.version_info < (3, 11))").returncode == 0:
                    break
            except PermissionError:
                continue
        else:
            pytest.skip("no Python that another user may run")
        yield managed.install()


def test_a_normal_user_is_not_asked_and_restarts(owned: Managed) -> None:
    done: Done = owned.script("restart", stdin="")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout
    assert len(owned.states()) == UP
    assert owned.restarts() == 1


def test_a_normal_user_may_not_complete_a_uid_env_of_root(owned: Managed) -> None:
    path = owned.host.bwdata / "env/uid.env"
    path.write_text("LOCAL_UID=5\n")
    os.chown(path, 0, 0)
    done = owned.script("restart", stdin="")
    assert done.returncode == 1
    assert owned.restarts() == 0


def test_rebuild_as_a_normal_user_dies_on_a_read_only_file(owned: Managed) -> None:
    owned.env_file.chmod(0o400)
    done = owned.script("rebuild", stdin="")
    assert done.returncode == 139
    assert owned.states() == {}
