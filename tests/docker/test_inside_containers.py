# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The stand-ins inside real containers: what a real Bitwarden makes of its environment, they make of it too."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from lab_tests.lab_client import bearer, logins, server
from machines import Machines

pytestmark = pytest.mark.docker

FLAG = "globalSettings__enableCloudCommunication"
COMPOSE = "docker compose --file /opt/bitwarden/bwdata/docker/docker-compose.yml"
SQLCMD = "SQLCMDPASSWORD=$SA_PASSWORD /opt/mssql-tools18/bin/sqlcmd -C -S localhost -U sa -b"
SQL = f"docker exec -i bitwarden-mssql sh -c '{SQLCMD}'"
SERVICES = {
    "admin",
    "api",
    "attachments",
    "events",
    "icons",
    "identity",
    "mssql",
    "nginx",
    "notifications",
    "sso",
    "web",
}
PATIENCE = 120.0


class Machine:
    """The managed host us1."""

    def __init__(self, lab: Machines) -> None:
        self.lab = lab
        self.front = server(lab, "us1")
        self.bwdata = lab.bwdata("us1")
        self.original = lab.env_file("us1").read_text()

    def run(self, command: str) -> str:
        done = self.lab.ssh(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def states(self) -> dict[str, str]:
        lines = self.run("docker ps --all --format '{{.Names}} {{.Status}}'").splitlines()
        return {name.removeprefix("bitwarden-"): status for name, _unused, status in (x.partition(" ") for x in lines)}

    def set_env(self, *lines: str, replace: tuple[str, str] = ("", "")) -> None:
        """The file with other lines; the containers that read it are made anew."""
        text = self.original.replace(*replace) if replace[0] else self.original
        kept = [
            line for line in text.splitlines() if line.partition("=")[0] not in {x.partition("=")[0] for x in lines}
        ]
        self.lab.env_file("us1").write_text("\n".join([*kept, *lines]) + "\n")
        self.restart()

    def restart(self) -> None:
        """Without the services that the tests do not look at, as they cost time."""
        self.run(f"{COMPOSE} up -d --no-deps mssql web admin api identity && docker restart bitwarden-nginx")

    def wait(self, path: str, status: int = 200) -> None:
        deadline = time.monotonic() + PATIENCE
        found = None
        while time.monotonic() < deadline:
            try:
                found = self.front.get(path).status_code
            except OSError:
                found = None
            if found == status:
                return
            time.sleep(0.3)
        pytest.fail(f"{path} answers {found} instead of {status}")

    def tells(self, command: str, words: str) -> None:
        """Soon, as containers start in their own time; both of its outputs count."""
        deadline = time.monotonic() + PATIENCE
        while words not in (said := self.run(f"{command} 2>&1")):
            assert time.monotonic() < deadline, said
            time.sleep(0.3)

    def wait_for_all(self) -> None:
        for path in ("/api/alive", "/identity/alive", "/admin/alive"):
            self.wait(path)

    def token(self) -> int:
        return self.front.api_key_token("/identity/connect/token", logins(self.lab, "us1")["owner"]).status_code

    def identity_log(self) -> str:
        return "".join(path.read_text() for path in (self.bwdata / "logs" / "identity").glob("*/*.txt"))

    def enabled(self) -> tuple[int, str, str]:
        token = self.front.api_key_token("/identity/connect/token", logins(self.lab, "us1")["owner"])
        answer = self.front.get("/api/organizations/connections/enabled", headers=bearer(token))
        return answer.status_code, answer.text, answer.headers.get("www-authenticate", "")

    def users(self) -> int:
        with closing(sqlite3.connect(self.bwdata / "mssql" / "data" / "vault.sqlite", timeout=30)) as database:
            return int(database.execute('SELECT count(*) FROM "User"').fetchone()[0])


@pytest.fixture(scope="module")
def machine(machines: Machines) -> Machine:
    found = Machine(machines)
    found.wait_for_all()
    return found


@pytest.fixture(autouse=True)
def as_it_was(machine: Machine) -> Iterator[None]:
    yield
    machine.lab.clear()
    if machine.lab.env_file("us1").read_text() != machine.original:
        machine.set_env()
        machine.wait_for_all()


# -- as they come up -----------------------------------------------------------------------------------------------


def test_everything_is_healthy_and_nothing_runs_as_root(machine: Machine) -> None:
    deadline = time.monotonic() + PATIENCE
    while any("healthy" not in status for status in machine.states().values()) and time.monotonic() < deadline:
        time.sleep(1)
    states = machine.states()
    assert set(states) == SERVICES
    assert all(status.endswith("(healthy)") for status in states.values()), states
    for name in SERVICES:
        users = machine.run(f"docker top bitwarden-{name} -eo uid,pid").splitlines()[1:]
        assert users
        assert {line.split()[0] for line in users} == {"1500"}


def test_every_service_answers_behind_nginx(machine: Machine) -> None:
    for name in SERVICES - {"mssql", "nginx", "web"}:
        assert machine.front.get(f"/{name}/alive").status_code == 200
    assert machine.front.get("/alive").text == "alive"
    assert "Web Vault" in machine.front.get("/").text
    assert machine.front.get("/app-id.json").headers["Content-Type"] == "application/fido.trusted-apps+json"
    config = machine.front.get("/api/config").json()
    assert config["version"] == "2026.7.2"
    assert config["environment"]["vault"] == machine.front.url
    assert f"{FLAG}" not in machine.run("docker exec bitwarden-api printenv")


# -- settings ------------------------------------------------------------------------------------------------------


def test_the_environment_counts_that_the_container_was_made_with(machine: Machine) -> None:
    assert machine.enabled()[:2] == (200, "false")
    machine.set_env(f"{FLAG}=true", "globalSettings__baseServiceUri__cloudRegion=EU")
    machine.wait_for_all()
    assert machine.enabled()[:2] == (200, "true")
    assert machine.front.get("/api/config").json()["environment"]["cloudRegion"] == "EU"


def test_a_flag_that_is_no_boolean_keeps_the_services_from_starting(machine: Machine) -> None:
    machine.set_env(f"{FLAG}=yes")
    machine.wait("/api/alive", 502)
    machine.tells("docker logs bitwarden-api", "to type 'System.Boolean'")
    machine.tells("docker inspect --format 'restarted:{{.RestartCount}}' bitwarden-api", "restarted:1")
    assert machine.front.get("/alive").text == "alive"


def test_a_proxy_for_the_servers_own_calls_makes_every_request_fail(machine: Machine) -> None:
    machine.set_env("HTTP_PROXY=http://127.0.0.1:3128")
    machine.wait_for_all()
    status, _unused, why = machine.enabled()
    assert (status, "The issuer 'https://localhost' is invalid" in why) == (401, True)
    machine.set_env("HTTP_PROXY=http://127.0.0.1:3128", "NO_PROXY=localhost,identity")
    machine.wait_for_all()
    assert machine.enabled()[0] == 200


# -- the database --------------------------------------------------------------------------------------------------


def test_a_new_database_password_in_one_file_only_locks_the_services_out(machine: Machine) -> None:
    machine.set_env(replace=(";Password=", ";Password=x"))
    machine.wait_for_all()
    assert machine.token() == 500
    assert "Login failed for user 'sa'." in machine.identity_log()


def test_a_backup_is_made_and_restored_by_the_container(machine: Machine) -> None:
    before = set((machine.bwdata / "mssql" / "backups").glob("*.BAK"))
    machine.run("docker exec -i bitwarden-mssql /backup-db.sh")
    [backup] = set((machine.bwdata / "mssql" / "backups").glob("*.BAK")) - before
    assert backup.stat().st_uid == 1500
    count = machine.users()
    with closing(sqlite3.connect(machine.bwdata / "mssql" / "data" / "vault.sqlite", timeout=30)) as database:
        database.execute("""INSERT INTO "User" ("Id", "Email") VALUES ('X', 'late@example.com')""")
        database.commit()
    assert machine.token() == 200
    restore = f"RESTORE DATABASE vault FROM DISK = '/etc/bitwarden/mssql/backups/{backup.name}' WITH REPLACE"
    refused = machine.lab.ssh(f'echo "{restore}" | {SQL}')
    assert (refused.returncode, "Exclusive access could not be obtained" in refused.stdout) == (1, True)
    assert machine.users() == count + 1
    batch = (
        f"ALTER DATABASE vault SET OFFLINE WITH ROLLBACK IMMEDIATE\nGO\n{restore}\nGO\nALTER DATABASE vault SET ONLINE"
    )
    machine.run(f'printf "%s\\n" "{batch}" | {SQL}')
    assert machine.users() == count
    assert machine.token() == 200, machine.identity_log() + machine.run("docker logs bitwarden-identity")


def test_a_backup_that_fails_leaves_nothing_and_says_so_with_words_only(machine: Machine) -> None:
    before = set((machine.bwdata / "mssql" / "backups").iterdir())
    machine.lab.fault("database_backup_fails", count=1)
    done = machine.lab.ssh("docker exec -i bitwarden-mssql /backup-db.sh")
    assert (done.returncode, "BACKUP DATABASE is terminating abnormally." in done.stdout) == (0, True)
    assert set((machine.bwdata / "mssql" / "backups").iterdir()) == before
    machine.run("docker exec -i bitwarden-mssql /backup-db.sh")
    assert len(set((machine.bwdata / "mssql" / "backups").iterdir()) - before) == 1


def test_setup_migrates_beside_the_database_container(machine: Machine) -> None:
    folder = "/opt/bitwarden/bwdata"
    run = f"docker run -i --rm --name setup -v {folder}:/bitwarden --env-file {folder}/env/uid.env"
    program = "ghcr.io/bitwarden/setup:2026.7.2 /app/Setup -update 1 -db 1 -os lin"
    machine.run("docker pull --quiet ghcr.io/bitwarden/setup:2026.7.2")
    done = machine.lab.ssh(f"{run} --network container:bitwarden-mssql {program}")
    assert (done.returncode, "Migration successful." in done.stdout) == (0, True), done.stderr
    assert machine.lab.ssh(f"{run} {program}").returncode == 139


# -- starting ------------------------------------------------------------------------------------------------------


def test_nginx_starts_only_where_all_its_upstreams_have_names(machine: Machine) -> None:
    machine.run("docker rm --force bitwarden-icons && docker restart bitwarden-nginx")
    machine.tells("docker logs --since 60s bitwarden-nginx", '[emerg] 1#1: host not found in upstream "icons"')
    machine.run(f"{COMPOSE} up -d --no-deps icons")
    machine.wait("/icons/alive")


def test_a_slow_start_is_a_502_until_it_is_over(machine: Machine) -> None:
    machine.lab.fault("slow_start", seconds=8)
    machine.run("docker restart bitwarden-api")
    machine.wait("/api/alive", 502)
    machine.wait("/api/alive")


# -- the way to the cloud ------------------------------------------------------------------------------------------


def test_an_authority_that_the_container_does_not_know(machine: Machine) -> None:
    play = machine.lab.site()
    assert play.status == 0
    machine.original = machine.lab.env_file("us1").read_text()
    authority = machine.bwdata / "ca-certificates" / "lab.crt"
    kept = authority.read_bytes()
    authority.unlink()
    try:
        token = machine.front.api_key_token("/identity/connect/token", logins(machine.lab, "us1")["owner"])
        organization = machine.lab.state()["servers"]["us1"]["organizations"][0]["id"]
        path = f"/api/organizations/licenses/self-hosted/{organization}/sync"
        assert machine.front.post(path, headers=bearer(token)).status_code == 400
        log = max((machine.bwdata / "logs" / "api" / "Api").iterdir())
        assert "errors in the certificate chain: UntrustedRoot" in log.read_text()
    finally:
        authority.write_bytes(kept)
    assert machine.front.post(path, headers=bearer(token)).status_code == 200
