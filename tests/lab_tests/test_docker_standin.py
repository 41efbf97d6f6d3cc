"""The lab's docker program, as Bitwarden's scripts and the collection meet it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from bwlab.host.go_template import TemplateError, render
from bwlab.host.managed import IDENTITY, SETUP_IMAGE, Managed

FLAG = "globalSettings__enableCloudCommunication"
SERVICES = 11
# In these the env file that Setup writes is read.
READERS = {"admin", "api", "events", "identity", "notifications", "sso"}


@pytest.fixture
def host(tmp_path: Path) -> Managed:
    return Managed(tmp_path).install()


def test_versions(host: Managed) -> None:
    assert host.docker("--version").stdout.startswith("Docker version ")
    assert host.docker("compose", "version").stdout.startswith("Docker Compose version v2.")
    assert host.docker("compose", "version", "--short").stdout.startswith("2.")
    assert host.docker("version", "--format", "{{.Server.Version}}").stdout.strip() == "28.5.2"
    assert host.docker("info").returncode == 0


def test_ps_has_one_line_for_each_running_container_below_the_header(host: Managed) -> None:
    lines = host.docker("compose", "ps").stdout.splitlines()
    assert lines[0].split() == ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]
    assert len(lines) == 1 + SERVICES
    assert host.docker("compose", "down").returncode == 0
    assert len(host.docker("compose", "ps").stdout.splitlines()) == 1


def test_ps_as_json_is_one_object_a_line(host: Managed) -> None:
    entries = [json.loads(line) for line in host.docker("compose", "ps", "--format", "json").stdout.splitlines()]
    assert len(entries) == SERVICES
    assert {entry["Service"]: (entry["State"], entry["Health"]) for entry in entries}["api"] == ("running", "healthy")
    assert {entry["Project"] for entry in entries} == {"docker"}


def test_ids_of_a_service_can_be_inspected(host: Managed) -> None:
    identity = host.docker("compose", "ps", "-q", "admin").stdout.strip()
    shown = host.docker("inspect", "--format={{.Config.Image}}:", identity).stdout
    assert shown == "ghcr.io/bitwarden/admin:2026.7.2:\n"
    assert host.docker("compose", "ps", "-q", "nothing").returncode != 0


def test_stopped_containers_show_only_with_all(host: Managed) -> None:
    host.docker("compose", "stop", "web")
    assert "bitwarden-web" not in host.docker("ps").stdout
    assert host.docker("compose", "ps", "-q", "web").stdout == ""
    assert len(host.docker("compose", "ps", "-a", "-q", "web").stdout.split()) == 1
    assert "Exited (0)" in host.docker("ps", "-a", "--filter", "name=bitwarden-web").stdout


def test_inspect_of_a_container(host: Managed) -> None:
    entry = host.container()
    assert entry["Name"] == "/bitwarden-api"
    assert entry["State"]["Status"] == "running"
    assert entry["State"]["Running"] is True
    assert entry["State"]["Restarting"] is False
    assert entry["State"]["Health"]["Status"] == "healthy"
    assert entry["State"]["StartedAt"].endswith("Z")
    assert entry["RestartCount"] == 0
    assert entry["Config"]["Labels"]["com.docker.compose.service"] == "api"
    assert entry["Config"]["Labels"]["com.docker.compose.project"] == "docker"
    assert "globalSettings__baseServiceUri__cloudRegion=US" in entry["Config"]["Env"]
    # Compose takes the quotes off.
    assert any(
        line.startswith("globalSettings__sqlServer__connectionString=Data Source=") for line in entry["Config"]["Env"]
    )


def test_inspect_of_what_is_not_there(host: Managed) -> None:
    done = host.docker("inspect", "nothing", "bitwarden-api")
    assert done.returncode == 1
    assert done.stderr == "Error: No such object: nothing\n"
    assert [entry["Name"] for entry in json.loads(done.stdout)] == ["/bitwarden-api"]
    assert host.docker("inspect", "--format={{.Name}}").returncode == 1


def test_printenv_in_a_container(host: Managed) -> None:
    done = host.docker("exec", "bitwarden-api", "printenv", "globalSettings__baseServiceUri__cloudRegion")
    assert (done.returncode, done.stdout) == (0, "US\n")
    assert host.docker("exec", "bitwarden-api", "printenv", FLAG).returncode == 1
    assert host.docker("compose", "exec", "-T", "api", "printenv", "LOCAL_UID").stdout.strip().isdigit()
    assert host.docker("exec", "bitwarden-api", "vi").returncode == 127
    assert (
        host.docker("exec", "nothing", "printenv").stderr == "Error response from daemon: No such container: nothing\n"
    )
    assert host.docker("exec", "-it", "bitwarden-api", "printenv").stderr == "the input device is not a TTY\n"


def test_config_resolves_the_env_files_and_doubles_dollars(host: Managed) -> None:
    host.set_line("own", "a$$b")
    document = json.loads(host.docker("compose", "config", "--format", "json").stdout)
    assert document["name"] == "docker"
    with_key = {name for name, service in document["services"].items() if "own" in service["environment"]}
    assert with_key == READERS
    assert document["services"]["api"]["environment"]["own"] == "a$$b"
    assert document["services"]["api"]["container_name"] == "bitwarden-api"
    assert "env_file" not in document["services"]["api"]
    host.docker("compose", "up", "-d")
    assert host.docker("exec", "bitwarden-api", "printenv", "own").stdout == "a$b\n"


def test_config_lists(host: Managed) -> None:
    assert host.docker("compose", "config", "--services").stdout.split()[:3] == ["mssql", "web", "attachments"]
    assert "ghcr.io/bitwarden/web:2026.7.1" in host.docker("compose", "config", "--images").stdout.split()
    assert host.docker("compose", "config", "--quiet").stdout == ""


@pytest.mark.parametrize("line", ['own="open', "own=${x", "a,b=1"])
def test_a_malformed_env_file_stops_config_and_up_but_nothing_else(host: Managed, line: str) -> None:
    with host.env_file.open("a") as stream:
        stream.write(line + "\n")
    for command in (["config", "-q"], ["up", "-d"]):
        done = host.docker("compose", *command)
        assert done.returncode == 1
        assert f"failed to read {host.env_file}" in done.stderr.replace("docker/../", "")
    for command in (["ps"], ["pull"], ["down"]):
        assert host.docker("compose", *command).returncode == 0


def test_the_caller_s_shell_is_interpolated(host: Managed) -> None:
    host.set_line("own", "a$secret")
    done = host.docker("compose", "config", "--format", "json", variables={"secret": "leak"})
    assert json.loads(done.stdout)["services"]["api"]["environment"]["own"] == "aleak"
    assert 'The \\"secret\\" variable is not set' in host.docker("compose", "config", "-q").stderr.replace(
        '"secret"', '\\"secret\\"'
    )


def test_the_override_file_wins_over_env_files(host: Managed) -> None:
    override = host.host.bwdata / "docker/docker-compose.override.yml"
    override.write_text(
        f"services:\n  api:\n    environment:\n      - {FLAG}=true\n    labels: {{own: label}}\n"
        "  web:\n    env_file: [../env/global.override.env]\n"
    )
    host.set_line(FLAG, "false")
    services = json.loads(host.docker("compose", "config", "--format", "json").stdout)["services"]
    assert services["api"]["environment"][FLAG] == "true"
    assert services["admin"]["environment"][FLAG] == "false"
    assert services["web"]["environment"][FLAG] == "false"
    alone = host.docker("compose", "-f", "docker-compose.yml", "config", "--format", "json")
    assert json.loads(alone.stdout)["services"]["api"]["environment"][FLAG] == "false"
    only = {"COMPOSE_FILE": str(override.with_name("docker-compose.yml"))}
    by_variable = host.run("docker", "compose", "config", "--format", "json", variables=only)
    assert json.loads(by_variable.stdout)["services"]["api"]["environment"][FLAG] == "false"


def test_without_a_compose_file(host: Managed, tmp_path: Path) -> None:
    done = host.run("docker", "compose", "ps", cwd=tmp_path)
    assert done.returncode == 14
    assert done.stderr == "no configuration file provided: not found\n"


def test_up_makes_new_containers_only_where_something_changed(host: Managed) -> None:
    before = {name: host.container(name)["Id"] for name in host.states()}
    host.docker("compose", "up", "-d")
    assert before == {name: host.container(name)["Id"] for name in host.states()}
    assert host.restarts() == 0
    host.set_line(FLAG, "true")
    host.docker("compose", "up", "-d")
    changed = {name.removeprefix("bitwarden-") for name, old in before.items() if host.container(name)["Id"] != old}
    assert changed == READERS
    assert host.restarts() == 1


@pytest.mark.parametrize("command", ["stop", "kill"])
def test_a_container_is_ended_and_started_by_hand(host: Managed, command: str) -> None:
    assert host.docker(command, "bitwarden-api").stdout == "bitwarden-api\n"
    assert host.states()["bitwarden-api"] == "exited"
    assert host.docker("exec", "bitwarden-api", "printenv", FLAG).returncode == 1
    assert host.restarts() == 0
    host.docker("start", "bitwarden-api")
    assert (host.states()["bitwarden-api"], host.restarts()) == ("running", 1)
    assert "No such container" in host.docker(command, "bitwarden-nobody").stderr


def test_a_restart_without_new_containers_keeps_the_environment(host: Managed) -> None:
    host.set_line(FLAG, "true")
    started = host.container()["State"]["StartedAt"]
    for command in (["restart", "bitwarden-api"], ["compose", "restart"]):
        assert host.docker(*command).returncode == 0
        assert host.docker("exec", "bitwarden-api", "printenv", FLAG).returncode == 1
    assert host.container()["State"]["StartedAt"] > started
    assert host.restarts() == 2


@pytest.mark.parametrize(
    ("value", "state"), [("yes", "restarting"), ("1", "restarting"), ("TRUE", "running"), ("false", "running")]
)
def test_a_switch_that_is_no_boolean_keeps_services_from_starting(host: Managed, value: str, state: str) -> None:
    host.set_line(FLAG, value)
    host.docker("compose", "up", "-d")
    states = host.states()
    assert {states[f"bitwarden-{name}"] for name in READERS} == {state}
    assert states["bitwarden-web"] == "running"
    entry = host.container()
    assert entry["State"]["Restarting"] is (state == "restarting")
    assert (entry["RestartCount"] > 0) is (state == "restarting")
    assert ("Failed to convert" in host.docker("compose", "logs", "api").stdout) is (state == "restarting")
    if state == "restarting":
        assert host.docker("exec", "bitwarden-api", "printenv").returncode == 1


def test_down_and_up_are_counted_as_one_restart(host: Managed) -> None:
    host.docker("compose", "down")
    time.sleep(0.2)
    host.docker("compose", "up", "-d")
    counters = host.db.counters("us1")
    assert counters["restarts"] == 1
    assert 0.2 < counters["downtime_s"] < 5


def test_slow_start(host: Managed) -> None:
    host.db.set_fault("slow_start", {"seconds": "4", "server": "us1", "count": "1"})
    host.docker("compose", "down")
    host.docker("compose", "up", "-d")
    assert host.container()["State"]["Health"]["Status"] == "starting"
    assert host.container("bitwarden-nginx")["State"]["Health"]["Status"] == "starting"
    assert host.docker("compose", "up", "-d", "--wait").returncode == 0
    assert host.container()["State"]["Health"]["Status"] == "healthy"
    assert host.db.faults()[0].count_left == 0


def test_a_fault_of_another_server_does_nothing(host: Managed) -> None:
    host.db.set_fault("registry_down", {"server": "eu1"})
    assert host.docker("compose", "pull").returncode == 0


def test_start_never_ready(host: Managed) -> None:
    host.db.set_fault("start_never_ready")
    host.docker("compose", "restart")
    assert host.container()["State"]["Health"]["Status"] == "starting"
    row = host.db.container("us1", "api")
    assert row is not None
    assert row["ready"] > time.time() + 86400


def test_a_stack_that_never_answers_is_down_until_the_next_start(host: Managed) -> None:
    host.db.set_fault("start_never_ready", {"count": "1"})
    host.docker("compose", "restart")
    time.sleep(0.3)
    counters = host.db.counters("us1")
    assert counters["restarts"] == 1
    assert 0.3 < counters["downtime_s"] < 60
    host.docker("compose", "restart")
    counters = host.db.counters("us1")
    assert counters["restarts"] == 2
    assert 0.3 < counters["downtime_s"] < 60


def test_registry_down(host: Managed) -> None:
    host.db.set_fault("registry_down")
    done = host.docker("compose", "pull")
    assert done.returncode == 18
    assert "ghcr.io" in done.stderr
    assert host.docker("pull", "ghcr.io/bitwarden/setup:2026.7.2").returncode == 1


def test_registry_down_after_stop(host: Managed) -> None:
    host.db.set_fault("registry_down_after_stop")
    assert host.docker("compose", "pull").returncode == 0
    host.docker("compose", "down")
    assert host.docker("compose", "pull").returncode == 18
    # Images that are there need no registry.
    assert host.docker("compose", "up", "-d").returncode == 0


def test_missing_images_are_pulled_by_up(host: Managed) -> None:
    host.docker("compose", "down")
    host.docker("rmi", "ghcr.io/bitwarden/api:2026.7.2")
    assert host.docker("image", "inspect", "ghcr.io/bitwarden/api:2026.7.2").returncode == 1
    host.db.set_fault("registry_down", {"count": "1"})
    assert host.docker("compose", "up", "-d").returncode == 1
    assert host.docker("compose", "up", "-d").returncode == 0
    assert json.loads(host.docker("image", "inspect", "ghcr.io/bitwarden/api:2026.7.2").stdout)[0]["Config"]["Env"]


def test_up_fails(host: Managed) -> None:
    host.docker("compose", "down")
    host.db.set_fault("compose_up_fails", {"count": "1"})
    done = host.docker("compose", "up", "-d")
    assert done.returncode == 1
    assert "port is already allocated" in done.stderr
    assert host.states() == {}


def test_a_second_setup_container_is_refused(host: Managed) -> None:
    host.db.set_fault("concurrent_update")
    assert "setup" in host.docker("ps", "-a", "--format", "{{.Names}}").stdout.split()
    done = host.setup("-printenv", "1")
    assert done.returncode == 125
    assert 'The container name "/setup" is already in use' in done.stderr


def test_a_container_whose_client_is_gone_does_not_stay(host: Managed) -> None:
    host.db.put_container("us1", {"name": "setup", "image": "x", "service": "", "project": "", "state": "running",
                                  "started": 0.0, "ready": 0.0, "id": "1", "pid": 2**22 + 1})  # fmt: skip
    assert "setup" not in host.states()


def test_setup_runs_in_the_folder_that_is_mounted(host: Managed) -> None:
    host.set_line(FLAG, "true")
    done = host.setup("-update", "1", "-corev", "2026.7.3")
    assert done.returncode == 0, done.stderr
    assert "ghcr.io/bitwarden/api:2026.7.3" in (host.host.bwdata / "docker/docker-compose.yml").read_text()
    assert "setup" not in host.states()
    (host.host.bwdata / "config.yml").write_text("")
    # An abort of process 1.
    assert host.setup("-update", "1").returncode == 139


def test_setup_as_a_user_who_may_not_write_the_env_file(host: Managed) -> None:
    host.env_file.chmod(0o400)
    done = host.setup("-update", "1")
    assert done.returncode == 139
    assert "Access to the path '/bitwarden/env/global.override.env' is denied." in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_setup_gives_the_files_to_the_user_of_uid_env(host: Managed) -> None:
    (host.host.bwdata / "env/uid.env").write_text("LOCAL_UID=1500\nLOCAL_GID=1501\n")
    host.setup("-printenv", "1")
    paths = [host.host.bwdata, *host.host.bwdata.rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in paths} == {(1500, 1501)}
    assert (host.host.directory / "bitwarden.sh").stat().st_uid == 0


def test_a_relative_mount_is_a_volume_and_not_the_folder(host: Managed) -> None:
    before = host.env_file.read_text()
    done = host.setup("-update", "1", mount="bwdata")
    assert done.returncode == 0
    assert host.env_file.read_text() == before
    assert (host.host.home / "volumes/bwdata/env/global.override.env").is_file()


@pytest.fixture
def cloud() -> Iterator[str]:
    """Address of a server that knows one installation."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == f"/installations/{IDENTITY}"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(b'{"enabled": true}' if known else b"")

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("identity", "installed"), [(IDENTITY, True), (IDENTITY.replace("1", "2"), False)])
def test_install_asks_the_cloud_for_the_id(tmp_path: Path, cloud: str, identity: str, installed: bool) -> None:
    host = Managed(tmp_path).install(start=False)
    folder = tmp_path / "fresh"
    words = ["run", "--rm", "-e", f"BW_INSTALLATION_URL={cloud}", "-v", f"{folder}:/bitwarden"]
    install = [
        "-install",
        "1",
        "-domain",
        "bw.example.com",
        "-install-id",
        identity,
        "-install-key",
        "k",
        "-skip-ssl",
        "1",
    ]
    done = host.docker(*words, SETUP_IMAGE, "/app/Setup", *install, "-cloud-region", "EU")
    assert done.returncode == 0
    assert (folder / "docker/docker-compose.yml").is_file() is installed
    assert ("Invalid installation id for EU region." in done.stdout) is not installed
    assert (folder / "docker").is_dir()


def test_prune_removes_images_that_nothing_uses(host: Managed) -> None:
    host.db.add_image("us1", "other/image:1")
    host.docker("image", "prune", "--all", "--force", "--filter=label=com.bitwarden.product=bitwarden")
    images = host.db.images("us1")
    assert "ghcr.io/bitwarden/setup:2026.7.2" not in images
    assert {"other/image:1", "ghcr.io/bitwarden/api:2026.7.2"} <= set(images)
    assert "ghcr.io/bitwarden/api" in host.docker("images").stdout


@pytest.mark.parametrize(
    "command", [["fly"], ["compose", "fly"], ["ps", "--fly"], ["inspect", "-f", "{{.Fly}}", "bitwarden-api"]]
)
def test_what_is_not_known_fails(host: Managed, command: list[str]) -> None:
    assert host.docker(*command).returncode != 0


DATA = {"A": {"B": "c", "List": ["x", "y"], "Map": {"k.1": "v"}, "No": False}, "N": 1}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.A.B}}:", "c:"),
        ("{{json .A.List}}", '["x","y"]'),
        ("{{range .A.List}}{{println .}}{{end}}", "x\ny\n"),
        ("{{range .A.List}}<{{.}}>{{else}}none{{end}}", "<x><y>"),
        ("{{if .A.No}}yes{{else}}no{{end}}", "no"),
        ("{{with .A}}{{.B}}{{end}}", "c"),
        ('{{index .A.Map "k.1"}}', "v"),
        ("{{.A.B | printf}}", None),
        ("{{.A.Nothing}}", None),
        ("{{if .A}}", None),
        ("{{end}}", None),
        ("{{.A.Map}} {{.A.List}} {{.A.No}}", "map[k.1:v] [x y] false"),
        ('{{if eq .A.B "c"}}same{{end}}{{len .A.List}}', "same2"),
    ],
)
def test_templates(template: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(TemplateError):
            render(template, DATA)
    else:
        assert render(template, DATA) == text
