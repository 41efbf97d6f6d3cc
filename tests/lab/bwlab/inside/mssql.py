# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database container: its server on port 1433, its programs, its folders."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from bwlab.inside import entry, places, sql_scripts
from bwlab.inside.sql_files import Files
from bwlab.inside.sql_protocol import LONGEST_LINE, PORT, SqlError
from bwlab.inside.sql_server import Session, SqlServer

DATA = Path("/var/opt/mssql/data")
LOG = Path("/var/opt/mssql/log")
BACKUPS = Path("/etc/bitwarden/mssql/backups")


class Listener:
    def __init__(self, server: SqlServer) -> None:
        self.server = server

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(writer.close)
        with suppress(OSError, ValueError, KeyError):
            await self._talk(session, reader, writer)
        self.server.drop(session)

    async def _talk(self, session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonce = secrets.token_hex(16)
        await _send(writer, {"nonce": nonce})
        try:
            self.server.admit(session, json.loads(await reader.readline()), nonce)
        except SqlError as error:
            await _send(writer, {"error": error.told()})
            return
        await _send(writer, {})
        while line := await reader.readline():
            await _send(writer, vars(self.server.run(session, str(json.loads(line)["sql"]))))


async def _send(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
    await writer.drain()


async def serve(server: SqlServer, port: int = PORT) -> None:
    listening = await asyncio.start_server(Listener(server).serve_one, port=port, limit=LONGEST_LINE)
    server.files.note("SQL Server is now ready for client connections.")
    async with listening:
        await listening.serve_forever()


def _struck(fault: str) -> bool:
    database = places.standard().lab_db()
    if database is None:
        return False
    try:
        return database.take_fault(fault, server=places.server_name()) is not None
    finally:
        database.close()


def main() -> int:
    if os.geteuid() == 0:
        sql_scripts.install()
    entry.begin([DATA, LOG, BACKUPS])
    if os.environ.get("ACCEPT_EULA", "").upper() not in ("Y", "YES", "1"):
        print("The license agreement (EULA) must be accepted before SQL Server can start.", file=sys.stderr)
        return 1
    sql_scripts.start_nightly()
    asyncio.run(serve(SqlServer(os.environ.get("SA_PASSWORD", ""), Files(DATA, LOG), _struck)))
    return 0
