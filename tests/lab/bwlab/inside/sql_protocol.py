# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the lab's database server and its clients talk: one JSON object a line, after a proof of the password.

Server: {"nonce": …}. Client: {"user": …, "proof": …, "database": …}. Server: {} or {"error": …}. Then the client's
{"sql": …} and the server's {"rows": …, "messages": …, "errors": …}, until one of them hangs up.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from dataclasses import dataclass, field
from typing import Any

PORT = 1433
LONGEST_LINE = 1 << 20


def proof(password: str, nonce: str) -> str:
    """The password itself does not go over the wire."""
    return hmac.new(password.encode(), nonce.encode(), hashlib.sha256).hexdigest()


class SqlError(Exception):
    """What the server says: number, level, state and text of a message, as sqlcmd prints them."""

    def __init__(self, number: int, level: int, state: int, text: str) -> None:
        super().__init__(text)
        self.number, self.level, self.state, self.text = number, level, state, text

    def told(self) -> dict[str, Any]:
        """For the wire."""
        return {"number": self.number, "level": self.level, "state": self.state, "text": self.text}


class LoginFailed(SqlError):
    pass


@dataclass
class Answer:
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)


class Client:
    """One logged-in connection; ends of the line are OSError, a refused login is LoginFailed."""

    def __init__(
        self, address: tuple[str, int], user: str, password: str, *, database: str | None = None, timeout: float = 5.0
    ) -> None:
        self._socket = socket.create_connection(address, timeout)
        self._stream = self._socket.makefile("rwb")
        try:
            nonce = str(self._read()["nonce"])
            self._write({"user": user, "proof": proof(password, nonce), "database": database})
            if (error := self._read().get("error")) is not None:
                raise LoginFailed(**error)
        except BaseException:
            self.close()
            raise

    def _read(self) -> dict[str, Any]:
        line = self._stream.readline(LONGEST_LINE)
        if not line:
            raise ConnectionResetError("the database server has closed the connection")
        found: dict[str, Any] = json.loads(line)
        return found

    def _write(self, message: dict[str, Any]) -> None:
        self._stream.write(json.dumps(message).encode() + b"\n")
        self._stream.flush()

    def ask(self, sql: str) -> Answer:
        self._write({"sql": sql})
        return Answer(**self._read())

    def close(self) -> None:
        self._stream.close()
        self._socket.close()
