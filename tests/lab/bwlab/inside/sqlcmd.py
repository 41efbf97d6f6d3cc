# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sqlcmd of the database container, with the options and exit statuses of the real one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, TextIO

from bwlab.inside.sql_language import batches
from bwlab.inside.sql_protocol import PORT, Answer, Client, LoginFailed

DRIVER = "Sqlcmd: Error: Microsoft ODBC Driver 18 for SQL Server : "
ERROR_LEVEL = 11


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"Sqlcmd: {message}", file=sys.stderr)
        sys.exit(1)


def parser() -> Parser:
    made = Parser(add_help=False, allow_abbrev=False)
    for name in (
        "-S",
        "-U",
        "-P",
        "-Q",
        "-q",
        "-i",
        "-o",
        "-d",
        "-h",
        "-s",
        "-l",
        "-t",
        "-w",
        "-y",
        "-Y",
        "-V",
        "-H",
        "-m",
        "-r",
    ):
        made.add_argument(name)
    for name in ("-C", "-b", "-W", "-I", "-e", "-x", "-j", "-u"):
        made.add_argument(name, action="store_true")
    made.add_argument("-N", nargs="?", const="m")
    return made


def _address(text: str | None) -> tuple[str, int]:
    """tcp:HOST,PORT and all shorter forms."""
    host, _unused, port = (text or "localhost").removeprefix("tcp:").partition(",")
    return ("localhost" if host in (".", "(local)", "") else host), int(port or PORT)


def _sql(chosen: argparse.Namespace, stdin: TextIO) -> str:
    if chosen.Q is not None or chosen.q is not None:
        return str(chosen.Q if chosen.Q is not None else chosen.q)
    if chosen.i is not None:
        return Path(chosen.i).read_text(encoding="utf-8-sig")
    return stdin.read()


def _cell(text: str, width: int, *, narrow: bool) -> str:
    if narrow:
        return text
    return text.rjust(width) if text.isdigit() else text.ljust(width)


def _print(answer: Answer, out: TextIO, *, headers: bool, narrow: bool) -> None:
    if answer.rows:
        width = max(11, *(len(row[0]) for row in answer.rows))
        column = answer.columns[0] if answer.columns else ""
        if headers:
            line = "-" * (max(1, len(column)) if narrow else width)
            out.write(f"{column if narrow else column.ljust(width)}\n{line}\n")
        out.writelines(_cell(row[0], width, narrow=narrow) + "\n" for row in answer.rows)
        out.write("\n")
    out.writelines(message + "\n" for message in answer.messages)
    for error in answer.errors:
        where = f"Level {error['level']}, State {error['state']}, Server {os.uname().nodename}, Line 1"
        out.write(f"Msg {error['number']}, {where}\n{error['text']}\n")
    out.flush()


def _connect(chosen: argparse.Namespace, environment: Mapping[str, str]) -> Client:
    if not chosen.C and chosen.N != "o":
        # The server's certificate is one that it made for itself.
        raise ConnectionError(
            "SSL Provider: [error:0A000086:SSL routines::certificate verify failed:self-signed certificate]."
        )
    password = chosen.P if chosen.P is not None else environment.get("SQLCMDPASSWORD", "")
    user = chosen.U or environment.get("SQLCMDUSER", "")
    return Client(_address(chosen.S), user, password, database=chosen.d, timeout=float(chosen.l or 8))


def run(arguments: list[str], environment: Mapping[str, str], stdin: TextIO, out: TextIO, err: TextIO) -> int:
    chosen = parser().parse_args(arguments)
    try:
        client = _connect(chosen, environment)
    except LoginFailed as error:
        print(f"{DRIVER}{error.text}.", file=err)
        return 1
    except ConnectionError as error:
        why = str(error) if str(error).startswith("SSL") else "TCP Provider: Error code 0x2749."
        print(f"{DRIVER}{why}", file=err)
        print(f"{DRIVER}Client unable to establish connection.", file=err)
        return 1
    except OSError:
        print(f"{DRIVER}Login timeout expired.", file=err)
        return 1
    try:
        for batch in batches(_sql(chosen, stdin)):
            answer = client.ask(batch)
            _print(answer, out, headers=chosen.h != "-1", narrow=chosen.W)
            if chosen.b and any(error["level"] >= ERROR_LEVEL for error in answer.errors):
                return 1
    except OSError as error:
        print(f"{DRIVER}Communication link failure: {error}", file=err)
        return 1
    finally:
        client.close()
    return 0


def main(arguments: list[str]) -> int:
    return run(arguments, os.environ, sys.stdin, sys.stdout, sys.stderr)
