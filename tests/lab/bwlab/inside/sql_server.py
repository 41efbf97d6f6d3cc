# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The stand-in for SQL Server: logins, who is in which database, backups, restores."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bwlab.inside import sql_language
from bwlab.inside.sql_files import NO_SPACE, Files, no_device
from bwlab.inside.sql_language import Statement
from bwlab.inside.sql_protocol import Answer, SqlError, proof

BANNER = "Microsoft SQL Server 2022 (the lab's stand-in, not Microsoft's program)"
NO_DATABASE = "Database '{name}' does not exist. Make sure that the name is entered correctly."
CANNOT_OPEN = 'Cannot open database "{name}" requested by the login. The login failed.'
OFFLINE = "Database '{name}' cannot be opened because it is offline."
ONE_USER = "Database '{name}' is already open and can only have one user at a time."
EXISTS = "Database '{name}' already exists. Choose a different database name."
NOT_ALTERED = "User does not have permission to alter database '{name}', or the database does not exist."
IN_USE = "Exclusive access could not be obtained because the database is in use."
OTHERS = "Database state cannot be changed while other users are using the database '{name}'."
TAIL = 'The tail of the log for the database "{name}" has not been backed up. Use WITH REPLACE to overwrite it.'
# After these the server says once more which statement has failed.
TERMINATING = (3101, 3159, 3201, 3241)


def _never(_fault: str) -> bool:
    return False


@dataclass(eq=False)
class Session:
    """`hang_up` ends its connection."""

    hang_up: Callable[[], None]
    database: str = "master"
    quiet: bool = False


@dataclass
class SqlServer:
    """`struck` tells whether a fault of that name is to happen now."""

    password: str
    files: Files
    struck: Callable[[str], bool] = _never
    states: dict[str, str] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)

    # -- logins ----------------------------------------------------------------------------------------------------

    def admit(self, session: Session, login: Mapping[str, Any], nonce: str) -> None:
        user = str(login.get("user"))
        if user != "sa" or not hmac.compare_digest(proof(self.password, nonce), str(login.get("proof"))):
            self.files.note(f"Login failed for user '{user}'. Reason: Password did not match that for the login.")
            raise SqlError(18456, 14, 1, f"Login failed for user '{user}'.")
        if login.get("database"):
            self._enter(session, str(login["database"]), login=True)
        self.sessions.append(session)

    def drop(self, session: Session) -> None:
        if session in self.sessions:
            self.sessions.remove(session)
        session.hang_up()

    def _enter(self, session: Session, name: str, *, login: bool = False) -> None:
        refused = SqlError(4060, 11, 1, CANNOT_OPEN.format(name=name)) if login else None
        if not self.files.exists(name):
            raise refused or SqlError(911, 16, 1, NO_DATABASE.format(name=name))
        if self.states.get(name) == "OFFLINE":
            raise refused or SqlError(942, 14, 4, OFFLINE.format(name=name))
        if self.states.get(name) == "SINGLE_USER" and self._others(session, name):
            raise SqlError(924, 14, 1, ONE_USER.format(name=name))
        session.database = name

    def _others(self, session: Session, name: str) -> list[Session]:
        return [other for other in self.sessions if other is not session and other.database == name]

    # -- statements ------------------------------------------------------------------------------------------------

    def run(self, session: Session, sql: str) -> Answer:
        """One batch; the first error ends it."""
        answer = Answer()
        statement = Statement("")
        try:
            for statement in sql_language.statements(sql):
                self._one(session, statement, answer)
        except sql_language.SyntaxFault as fault:
            answer.errors.append(SqlError(102, 15, 1, f"Incorrect syntax near '{fault}'.").told())
        except SqlError as error:
            answer.errors.append(error.told())
            if error.number in TERMINATING:
                verb = "BACKUP" if statement.kind == "back_up" else "RESTORE"
                answer.errors.append(SqlError(3013, 16, 1, f"{verb} DATABASE is terminating abnormally.").told())
        return answer

    def _one(self, session: Session, statement: Statement, answer: Answer) -> None:
        tables = {"number": [statement.value], "version": [BANNER], "databases": self.files.names()}
        if statement.kind in tables:
            _table(session, answer, tables[statement.kind], "name" if statement.kind == "databases" else "")
        elif statement.kind == "set":
            session.quiet = statement.value.upper() == "ON"
        elif statement.kind == "use":
            self._enter(session, statement.name)
            answer.messages.append(f"Changed database context to '{statement.name}'.")
        elif statement.kind == "create":
            self._create(statement.name)
        elif statement.kind == "alter":
            self._alter(session, statement)
        elif statement.kind == "verify":
            self.files.verify(Path(statement.disk))
            answer.messages.append("The backup set on file 1 is valid.")
        elif statement.kind == "back_up":
            answer.messages += self._back_up(statement)
        else:
            answer.messages += self._restore(session, statement)

    def _create(self, name: str) -> None:
        if self.files.exists(name):
            raise SqlError(1801, 16, 3, EXISTS.format(name=name))
        self.files.create(name)

    def _alter(self, session: Session, statement: Statement) -> None:
        name, state = statement.name, statement.value.upper()
        if not self.files.exists(name):
            raise SqlError(5011, 14, 5, NOT_ALTERED.format(name=name))
        if state in ("OFFLINE", "SINGLE_USER"):
            others = self._others(session, name)
            if others and not statement.has("ROLLBACK"):
                raise SqlError(5070, 16, 2, OTHERS.format(name=name))
            for other in others:
                self.drop(other)
        self.states[name] = state

    def _back_up(self, statement: Statement) -> list[str]:
        name, device = statement.name, Path(statement.disk)
        if not self.files.exists(name):
            raise SqlError(911, 16, 11, NO_DATABASE.format(name=name))
        if self.states.get(name) == "OFFLINE":
            raise SqlError(942, 14, 4, OFFLINE.format(name=name))
        if self.struck("database_backup_fails"):
            raise no_device(device, NO_SPACE)
        pages = self.files.back_up(name, device)
        return ["100 percent processed.", f"BACKUP DATABASE successfully processed {pages} pages in 0.041 seconds."]

    def _restore(self, session: Session, statement: Statement) -> list[str]:
        name, device = statement.name, Path(statement.disk)
        if self._others(session, name) or session.database == name:
            raise SqlError(3101, 16, 1, IN_USE)
        if self.files.exists(name) and not statement.has("REPLACE"):
            raise SqlError(3159, 16, 1, TAIL.format(name=name))
        if self.struck("database_restore_fails"):
            raise no_device(device, NO_SPACE)
        pages = self.files.restore(name, device)
        return [f"RESTORE DATABASE successfully processed {pages} pages in 0.060 seconds."]


def _table(session: Session, answer: Answer, values: list[str], column: str) -> None:
    answer.columns = [column]
    answer.rows += [[value] for value in values]
    if not session.quiet:
        answer.messages.append(f"({len(values)} rows affected)")
