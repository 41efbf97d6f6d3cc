# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The stand-in database server over its port: logins, backups, restores, and what its clients make of it."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bwlab.errors import ServerError
from bwlab.inside import mssql, sql_language, sql_scripts, sqlcmd
from bwlab.inside.database import GuardedStore, SqlLogin
from bwlab.inside.sql_files import Files
from bwlab.inside.sql_protocol import Client, LoginFailed
from bwlab.inside.sql_server import SqlServer
from bwlab.store import Store

PASSWORD = "Sa-Password-1"
LAB = Path(mssql.__file__).resolve().parents[2]


class Running:
    """A database server on a port of its own, with one user in its vault."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("data", "log", "backups"):
            (folder / name).mkdir()
        store = Store(folder / "data" / "vault.sqlite")
        store.insert("User", {"Email": "admin@example.com"})
        store.close()
        self.faults: list[str] = []
        self.server = SqlServer(PASSWORD, Files(folder / "data", folder / "log"), lambda fault: fault in self.faults)
        # Bound and not listening, so that nobody else is given the port while the server does not listen either.
        self.reserved = socket.socket()
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reserved.bind(("127.0.0.1", 0))
        self.port: int = self.reserved.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        self.start()

    def start(self) -> None:
        self.task = self.loop.create_task(mssql.serve(self.server, self.port))
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        for _unused in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("nobody listens")

    def _run(self) -> None:
        try:
            self.loop.run_until_complete(self.task)
        except asyncio.CancelledError:
            return

    def stop(self) -> None:
        for session in list(self.server.sessions):
            self.loop.call_soon_threadsafe(self.server.drop, session)
        self.loop.call_soon_threadsafe(self.task.cancel)
        self.thread.join()

    def client(self, password: str = PASSWORD, database: str | None = None) -> Client:
        return Client(("127.0.0.1", self.port), "sa", password, database=database)

    def login(self, password: str = PASSWORD) -> SqlLogin:
        parts = {"data source": f"tcp:127.0.0.1,{self.port}", "user id": "sa", "password": password}
        return SqlLogin({**parts, "initial catalog": "vault"})

    def device(self, name: str = "one.BAK") -> Path:
        return self.folder / "backups" / name

    def emails(self) -> list[str]:
        with closing(sqlite3.connect(self.folder / "data" / "vault.sqlite")) as database:
            return [row[0] for row in database.execute('SELECT "Email" FROM "User"').fetchall()]

    def add(self, email: str) -> None:
        store = Store(self.folder / "data" / "vault.sqlite")
        store.insert("User", {"Email": email})
        store.close()

    def errorlog(self) -> str:
        return (self.folder / "log" / "errorlog").read_text()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    found = Running(tmp_path)
    try:
        yield found
    finally:
        found.stop()
        found.loop.close()
        found.reserved.close()


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(running: Running) -> Command:
    """The sqlcmd program, with the server's address and its password unless told otherwise."""

    def run(*arguments: str, stdin: str = "", password: str = PASSWORD, trusting: bool = True) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        given = ["-S", f"tcp:127.0.0.1,{running.port}", "-U", "sa", *(["-C"] if trusting else []), *arguments]
        code = sqlcmd.run(given, {"SQLCMDPASSWORD": password}, io.StringIO(stdin), out, err)
        return code, out.getvalue(), err.getvalue()

    return run


def _numbers(client: Client, sql: str) -> list[int]:
    return [error["number"] for error in client.ask(sql).errors]


# -- logins --------------------------------------------------------------------------------------------------------


def test_only_the_password_of_the_server_lets_in(running: Running) -> None:
    running.client().close()
    with pytest.raises(LoginFailed, match="Login failed for user 'sa'"):
        running.client("another")
    assert "Login failed for user 'sa'" in running.errorlog()


def test_a_database_that_is_not_there_cannot_be_entered(running: Running) -> None:
    with pytest.raises(LoginFailed, match='Cannot open database "other" requested by the login'):
        running.client(database="other")


def test_the_password_does_not_go_over_the_wire(running: Running) -> None:
    sent = []

    class Spy(Client):
        def _write(self, message: dict[str, object]) -> None:
            sent.append(str(message))
            super()._write(message)

    Spy(("127.0.0.1", running.port), "sa", PASSWORD).close()
    assert sent
    assert PASSWORD not in sent[0]


# -- backups and restores ------------------------------------------------------------------------------------------


def test_a_backup_brings_back_what_was(running: Running) -> None:
    client = running.client()
    assert client.ask(f"BACKUP DATABASE [vault] TO DISK = N'{running.device()}' WITH STATS = 10").errors == []
    assert "BACKUP DATABASE successfully processed" in running.errorlog()
    running.add("late@example.com")
    assert running.emails() == ["admin@example.com", "late@example.com"]
    assert _numbers(client, f"RESTORE DATABASE vault FROM DISK = '{running.device()}' WITH REPLACE") == []
    assert running.emails() == ["admin@example.com"]
    client.close()


def test_a_store_that_is_open_sees_what_was_restored(running: Running) -> None:
    store = Store(running.folder / "data" / "vault.sqlite")
    client = running.client()
    client.ask(f"BACKUP DATABASE vault TO DISK = '{running.device()}'")
    store.insert("User", {"Email": "late@example.com"})
    client.ask(f"RESTORE DATABASE vault FROM DISK = '{running.device()}' WITH REPLACE")
    assert [row["Email"] for row in store.rows("User")] == ["admin@example.com"]
    client.close()
    store.close()


def test_a_restore_needs_the_database_for_itself(running: Running) -> None:
    client, service = running.client(), running.client(database="vault")
    client.ask(f"BACKUP DATABASE vault TO DISK = '{running.device()}'")
    restore = f"RESTORE DATABASE vault FROM DISK = '{running.device()}' WITH REPLACE"
    assert _numbers(client, restore) == [3101, 3013]
    assert _numbers(client, "ALTER DATABASE vault SET OFFLINE") == [5070]
    assert _numbers(client, "ALTER DATABASE vault SET OFFLINE WITH ROLLBACK IMMEDIATE") == []
    with pytest.raises(ConnectionError):
        service.ask("SELECT 1")
    with pytest.raises(LoginFailed):
        running.client(database="vault")
    assert _numbers(client, restore) == []
    assert _numbers(client, "ALTER DATABASE vault SET ONLINE") == []
    running.client(database="vault").close()
    client.close()


def test_one_user_only(running: Running) -> None:
    client, service = running.client(database="vault"), running.client(database="vault")
    assert _numbers(client, "ALTER DATABASE vault SET SINGLE_USER WITH ROLLBACK IMMEDIATE") == []
    with pytest.raises(LoginFailed, match="can only have one user at a time"):
        running.client(database="vault")
    assert _numbers(client, "USE master; ALTER DATABASE vault SET MULTI_USER") == []
    running.client(database="vault").close()
    client.close()
    service.close()


def test_a_database_is_overwritten_only_on_request(running: Running) -> None:
    client = running.client()
    client.ask(f"BACKUP DATABASE vault TO DISK = '{running.device()}'")
    assert _numbers(client, f"RESTORE DATABASE vault FROM DISK = '{running.device()}'") == [3159, 3013]
    assert _numbers(client, f"RESTORE DATABASE other FROM DISK = '{running.device()}'") == []
    assert client.ask("SELECT name FROM sys.databases").rows == [["master"], ["other"], ["vault"]]
    client.close()


@pytest.mark.parametrize(("content", "number"), [(None, 3201), (b"TAPE", 3241), (b"SQLite format 3\0rubbish", 3241)])
def test_a_backup_that_is_none(running: Running, content: bytes | None, number: int) -> None:
    if content is not None:
        running.device().write_bytes(content)
    client = running.client()
    assert _numbers(client, f"RESTORE VERIFYONLY FROM DISK = '{running.device()}'")[0] == number
    assert _numbers(client, f"RESTORE DATABASE vault FROM DISK = '{running.device()}' WITH REPLACE") == [number, 3013]
    assert running.emails() == ["admin@example.com"]
    client.close()


def test_a_backup_that_cannot_be_written_leaves_nothing(running: Running) -> None:
    client = running.client()
    device = running.folder / "nowhere" / "one.BAK"
    assert _numbers(client, f"BACKUP DATABASE vault TO DISK = '{device}'") == [3201, 3013]
    running.faults.append("database_backup_fails")
    assert _numbers(client, f"BACKUP DATABASE vault TO DISK = '{running.device()}'") == [3201, 3013]
    running.faults = ["database_restore_fails"]
    assert _numbers(client, f"RESTORE DATABASE vault FROM DISK = '{running.device()}' WITH REPLACE") == [3201, 3013]
    assert list((running.folder / "backups").iterdir()) == []
    client.close()


# -- the language --------------------------------------------------------------------------------------------------


def test_statements_of_a_batch() -> None:
    text = """-- restore
    USE master
    ALTER DATABASE [vault] SET SINGLE_USER WITH ROLLBACK IMMEDIATE;
    restore database vault from disk='/x/y z.BAK' with replace, stats=10
    ALTER DATABASE vault SET MULTI_USER"""
    found = list(sql_language.statements(text))
    assert [statement.kind for statement in found] == ["use", "alter", "restore", "alter"]
    assert (found[2].disk, found[2].has("REPLACE"), found[3].value) == ("/x/y z.BAK", True, "MULTI_USER")


def test_go_ends_a_batch() -> None:
    assert sql_language.batches("SELECT 1\nGO\n\ngo\nSELECT 2\n") == ["SELECT 1\n", "\nSELECT 2\n"]


# -- sqlcmd --------------------------------------------------------------------------------------------------------


def test_sqlcmd_prints_a_table(command: Command) -> None:
    code, out, _unused = command("-Q", "SELECT 1")
    assert code == 0
    assert out.splitlines() == [" " * 11, "-" * 11, "          1", "", "(1 rows affected)"]
    assert command("-h", "-1", "-W", "-Q", "SET NOCOUNT ON; SELECT 7")[1] == "7\n\n"


def test_sqlcmd_without_trust_or_password(command: Command) -> None:
    code, _unused, err = command("-Q", "SELECT 1", trusting=False)
    assert (code, "self-signed certificate" in err) == (1, True)
    code, _unused, err = command("-Q", "SELECT 1", password="wrong")
    assert (code, "Login failed for user 'sa'" in err) == (1, True)
    assert command("-P", PASSWORD, "-Q", "SELECT 1", password="wrong")[0] == 0


def test_an_error_is_the_programs_error_only_with_b(command: Command) -> None:
    code, out, _unused = command("-Q", "DROP TABLE x")
    assert (code, "Incorrect syntax near 'DROP'" in out) == (0, True)
    assert command("-b", "-Q", "DROP TABLE x")[0] == 1


def test_sqlcmd_reads_batches_from_a_file_and_standard_input(command: Command, tmp_path: Path) -> None:
    (tmp_path / "x.sql").write_text("USE vault\nGO\nSELECT 5\nGO\n")
    assert "Changed database context to 'vault'." in command("-i", str(tmp_path / "x.sql"))[1]
    assert "          6" in command(stdin="SELECT 6\nGO\n")[1]


def test_sqlcmd_when_nobody_listens(running: Running, command: Command) -> None:
    running.stop()
    code, _unused, err = command("-Q", "SELECT 1")
    running.start()
    assert (code, "Error code 0x2749" in err) == (1, True)


def test_backup_script_ends_well_whatever_happens(running: Running, tmp_path: Path) -> None:
    folder = running.folder / "backups"
    text = sql_scripts.BACKUP_TEXT.replace("/etc/bitwarden/mssql/backups", str(folder))
    program = f"{sys.executable} -m bwlab.inside sqlcmd"
    script = tmp_path / "backup-db.sh"
    script.write_text(text.replace("@SQLCMD@", program).replace("localhost", f"localhost,{running.port}"))
    environment = {**os.environ, "PYTHONPATH": str(LAB), "DATABASE": "vault", "SA_PASSWORD": PASSWORD}
    done = subprocess.run(["sh", str(script)], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [made] = folder.iterdir()
    assert made.name.startswith("vault_FULL_20")
    assert made.suffix == ".BAK"
    environment["SA_PASSWORD"] = "wrong"
    made.unlink()
    done = subprocess.run(["sh", str(script)], env=environment, check=False, capture_output=True, text=True)
    assert (done.returncode, list(folder.iterdir())) == (0, [])
    assert "Login failed" in done.stderr


# -- the services --------------------------------------------------------------------------------------------------


def _guarded(running: Running, login: SqlLogin) -> GuardedStore:
    return GuardedStore(running.folder / "data" / "vault.sqlite", login.check)


def test_tables_answer_while_the_server_accepts_the_password(running: Running) -> None:
    store = _guarded(running, running.login())
    assert [row["Email"] for row in store.rows("User")] == ["admin@example.com"]
    wrong = _guarded(running, running.login("another"))
    for ask in (
        lambda: wrong.rows("User"),
        lambda: wrong.insert("User", {}),
        lambda: wrong.update("User", "x", Email="y"),
        lambda: wrong.delete("User", "x"),
        lambda: wrong.clear("User"),
    ):
        with pytest.raises(ServerError) as caught:
            ask()
        assert caught.value.exception.endswith("Login failed for user 'sa'.")
    wrong.insert("LabLog", {"Text": "the lab's own"})
    assert running.emails() == ["admin@example.com"]
    store.close()
    wrong.close()


def test_a_service_finds_its_server_again(running: Running) -> None:
    login = running.login()
    store = _guarded(running, login)
    assert store.rows("User")
    running.stop()
    time.sleep(0.3)
    with pytest.raises(ServerError) as caught:
        store.rows("User")
    assert "Could not open a connection to SQL Server: Connection refused" in caught.value.exception
    running.start()
    assert store.rows("User")
    login.close()
    store.close()


def test_a_service_forgets_what_it_knew_of_the_tables_before_a_restore(running: Running) -> None:
    login = running.login()
    store = _guarded(running, login)
    client = running.client()
    client.ask(f"BACKUP DATABASE vault TO DISK = '{running.device()}'")
    store.insert("User", {"Email": "late@example.com", "Culture": "en-US"})
    client.ask("ALTER DATABASE vault SET OFFLINE WITH ROLLBACK IMMEDIATE")
    assert client.ask(f"RESTORE DATABASE vault FROM DISK = '{running.device()}' WITH REPLACE").errors == []
    client.ask("ALTER DATABASE vault SET ONLINE")
    time.sleep(0.3)
    store.insert("User", {"Email": "new@example.com", "Culture": "de-DE"})
    assert running.emails() == ["admin@example.com", "new@example.com"]
    client.close()
    login.close()
    store.close()


def test_a_database_is_made_by_the_migration_and_not_by_a_service(running: Running) -> None:
    (running.folder / "data" / "vault.sqlite").unlink()
    login = running.login()
    store = _guarded(running, login)
    store.insert("LabLog", {"Text": "kept in memory"})
    with pytest.raises(ServerError, match="unhandled"):
        store.rows("User")
    assert not (running.folder / "data" / "vault.sqlite").exists()
    running.login().create_catalog()
    assert store.rows("User") == []
    store.insert("User", {"Email": "new@example.com"})
    assert running.emails() == ["new@example.com"]
    login.close()
    store.close()
