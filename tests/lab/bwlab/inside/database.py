# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A service's way to its tables: they answer only while the database server accepts the service's own password."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bwlab.errors import ServerError
from bwlab.inside.dotnet import connection_string
from bwlab.inside.sql_protocol import PORT, Client, LoginFailed
from bwlab.store import Row, Store

KEY = "sqlserver__connectionstring"
EXCEPTION = "Microsoft.Data.SqlClient.SqlException (0x80131904): "
UNREACHABLE = (
    "A network-related or instance-specific error occurred while establishing a connection to SQL Server. The server "
    "was not found or was not accessible. Verify that the instance name is correct and that SQL Server is configured "
    "to allow remote connections. (provider: TCP Provider, error: 40 - Could not open a connection to SQL Server: "
    "{why})"
)
TRUSTED_SECONDS = 0.2
LAB_TABLES = "Lab"


class SqlLogin:
    """One connection, as a pool would keep it; asked again before it is relied on, made again when it is gone."""

    def __init__(self, parts: Mapping[str, str]) -> None:
        source = parts.get("data source") or parts.get("server") or ""
        host, _unused, port = source.removeprefix("tcp:").partition(",")
        self.address = (host or "localhost", int(port or PORT))
        self.user = parts.get("user id") or parts.get("uid") or ""
        self.password = parts.get("password") or parts.get("pwd") or ""
        self.catalog = parts.get("initial catalog") or parts.get("database") or "master"
        self.connections = 0
        self._client: Client | None = None
        self._good_until = 0.0

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> SqlLogin:
        return cls(connection_string(settings.get(KEY, "")))

    def check(self) -> int:
        """How many connections there have been; the error 500 of a service that cannot use its database."""
        if time.monotonic() < self._good_until:
            return self.connections
        if self._client is not None:
            try:
                self._client.ask("SELECT 1")
            except OSError:
                self.close()
        if self._client is None:
            self._connect(self.catalog)
        self._good_until = time.monotonic() + TRUSTED_SECONDS
        return self.connections

    def _connect(self, database: str | None) -> Client:
        try:
            self._client = Client(self.address, self.user, self.password, database=database)
        except LoginFailed as error:
            raise ServerError(f"{EXCEPTION}{error.text}") from None
        except OSError as error:
            raise ServerError(EXCEPTION + UNREACHABLE.format(why=error.strerror or error)) from None
        self.connections += 1
        return self._client

    def create_catalog(self) -> None:
        """What the admin service's migration begins with."""
        try:
            client = self._connect(None)
            if [self.catalog] not in client.ask("SELECT name FROM sys.databases").rows:
                client.ask(f"CREATE DATABASE [{self.catalog}]")
        except OSError as error:
            raise ServerError(EXCEPTION + str(error)) from None
        finally:
            self.close()

    def close(self) -> None:
        if self._client is not None:
            with suppress(OSError):
                self._client.close()
        self._client = None
        self._good_until = 0.0


class GuardedStore(Store):
    """The server's tables behind a check; the lab's own tables (log, mails, jobs, keys) always answer."""

    def __init__(self, path: Path, check: Callable[[], int]) -> None:
        self.path = path
        self._check = check
        self._connection = 0
        # A file made here would look to the database server like a database.
        super().__init__(path if path.is_file() else None)

    def _guard(self, table: str) -> None:
        if table.startswith(LAB_TABLES):
            return
        connection = self._check()
        if connection == self._connection:
            return
        # After a restore there may be other tables, and columns that are known here are gone.
        self._connection = connection
        if self.path.is_file():
            self.close()
            super().__init__(self.path)

    def rows(self, table: str, **where: Any) -> list[Row]:
        self._guard(table)
        return super().rows(table, **where)

    def insert(self, table: str, row: Row) -> Row:
        self._guard(table)
        return super().insert(table, row)

    def update(self, table: str, key: str, **columns: Any) -> None:
        self._guard(table)
        super().update(table, key, **columns)

    def delete(self, table: str, key: str) -> None:
        self._guard(table)
        super().delete(table, key)

    def clear(self, table: str) -> None:
        self._guard(table)
        super().clear(table)
