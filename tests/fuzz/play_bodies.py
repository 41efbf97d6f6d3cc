"""Plays dialogs with spoiled answers, many in one process: python play_bodies.py DIALOGS SEED FIRST LAST [-v]."""

from __future__ import annotations

import base64
import contextlib
import functools
import importlib
import io
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".cache"), str(ROOT / "tests" / "lab"), str(ROOT / "tests")]

import requests
from ansible.module_utils import basic
from ansible.module_utils.common import warnings
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import identity
from fuzz.bodies import WINDOW, Answer, Mutator
from requests.adapters import HTTPAdapter
from unit.module_runner import PACKAGE, module_input
from urllib3 import HTTPResponse

TIME_LIMIT = 20
LONGEST_MESSAGE = 8000


class TooSlow(BaseException):
    """Nobody catches it on the way."""


class Dialogs:
    """The dialogs of a file, and the answers in them by what was asked."""

    def __init__(self, path: Path) -> None:
        self.all: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        for dialog in self.all:
            windows = (secret[n : n + WINDOW] for secret in dialog["secrets"] for n in range(len(secret) - WINDOW + 1))
            dialog["windows"] = set(windows)

    @staticmethod
    def answers(dialog: dict[str, Any]) -> list[tuple[str, Answer]]:
        """What was asked, and what came."""
        return [
            (f"{one['method']} {one['url']}", Answer(one["status"], one["headers"], base64.b64decode(one["body"])))
            for one in dialog["exchanges"]
        ]


class Server:
    """Answers as in a dialog, but for the spoiled answers."""

    def __init__(self, dialog: dict[str, Any], seed: str) -> None:
        self.pick = random.Random(seed)  # noqa: S311 - no secret: a seed makes it again
        self.mutator = Mutator(seed, dialog["secrets"] or ["no secret"])
        self.said: list[str] = []
        self.waiting: dict[str, list[Answer]] = {}
        given = Dialogs.answers(dialog)
        spoiled = {self.pick.randrange(len(given)) for _time in range(self.pick.choice((1, 1, 1, 1, 2)))}
        self.always = self.pick.random() < 0.15
        for number, (asked, answer) in enumerate(given):
            if number in spoiled:
                how, bad = self.mutator.spoiled(answer)
                self.said.append(f"{asked}: {how} {bad.status} {bad.headers} {bad.body[:300]!r}")
            self.waiting.setdefault(asked, []).append(bad if number in spoiled else answer)

    def answer(self, request: requests.PreparedRequest) -> Answer:
        """The next answer to this, the last one again, or that there is no such thing."""
        left = self.waiting.get(f"{request.method} {request.url}")
        if left is None:
            unknown = Answer(404, {}, b'{"message":"Resource not found.","validationErrors":null,"object":"error"}')
            return self.mutator.spoiled(unknown)[1] if self.always else unknown
        return left.pop(0) if len(left) > 1 else left[0]


def _response(adapter: HTTPAdapter, request: requests.PreparedRequest, answer: Answer) -> requests.Response:
    length = len(answer.body) if answer.promised is None else answer.promised
    headers = {name: value for name, value in answer.headers.items() if value.isprintable()}
    raw = HTTPResponse(
        body=io.BytesIO(answer.body),
        headers={**headers, "content-length": str(length)},
        status=answer.status,
        preload_content=False,
        request_method=request.method,
        reason="x",
    )
    return adapter.build_response(request, raw)


def run(dialog: dict[str, Any], server: Server) -> tuple[int | None, str, str]:
    """Exit status, what was printed, and the traceback where the module did not end as modules do."""

    def send(adapter: HTTPAdapter, request: requests.PreparedRequest, **_how: Any) -> requests.Response:
        return _response(adapter, request, server.answer(request))

    HTTPAdapter.send = send  # type: ignore[method-assign,assignment]  # this process plays answers, and no more
    basic._ANSIBLE_ARGS = module_input(dialog["arguments"], check=dialog["check"], diff=True).encode()
    basic._ANSIBLE_PROFILE = "legacy"
    getattr(warnings, "_global_warnings", {}).clear()
    main = importlib.import_module(f"{PACKAGE}.{dialog['module']}").main
    output = io.StringIO()
    status, trouble = None, ""
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        signal.alarm(TIME_LIMIT)
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        except (Exception, TooSlow):
            trouble = traceback.format_exc()
        finally:
            signal.alarm(0)
    return status, output.getvalue(), trouble


def wrong(dialog: dict[str, Any], status: int | None, output: str, trouble: str) -> str:
    """What is wrong with how a run ended; empty where nothing is."""
    if trouble or status is None:
        return f"traceback: {trouble[-1500:]}"
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        return "no JSON"
    result = json.loads(lines[-1])
    if "Traceback" in output or "exception" in result:
        return "a traceback in the result"
    message = str(result.get("msg", ""))
    if status and not result.get("failed"):
        return f"status {status} and not failed"
    if result.get("failed") and "Next step: " not in message:
        return f"no next step: {message[:500]}"
    if len(message) > LONGEST_MESSAGE:
        return f"a message of {len(message)} letters"
    token = result.get("token")
    shown = output.replace(token, "") if isinstance(token, str) and token and not result.get("failed") else output
    parts = {shown[start : start + WINDOW] for start in range(len(shown))} & dialog["windows"]
    return f"parts of secrets: {sorted(parts)[:3]} in {message[:500]}" if parts else ""


def _too_slow(*_unused: object) -> None:
    raise TooSlow


def main() -> int:
    """Play the cases, print what is wrong with them and how many each module had."""
    signal.signal(signal.SIGALRM, _too_slow)
    # What costs seconds by design, and is not in question here.
    identity._master_key = functools.lru_cache(identity._master_key)
    path, seed, first, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    os.environ["ANSIBLE_HOME"] = str(path.parent / "ansible")
    dialogs = Dialogs(path).all
    failed, counts, errors = [], dict.fromkeys((dialog["module"] for dialog in dialogs), 0), 0
    start = time.monotonic()
    for number in range(first, last):
        dialog = dialogs[number % len(dialogs)]
        server = Server(dialog, f"{seed}-{number}")
        status, output, trouble = run(dialog, server)
        counts[dialog["module"]] += 1
        errors += bool(status)
        why = wrong(dialog, status, output, trouble)
        if "-v" in sys.argv:
            print(server.said, output, file=sys.stderr)
        if why:
            failed.append({"number": number, "dialog": dialog["name"], "spoiled": server.said, "why": why})
    summary = {"failed": failed, "counts": counts, "errors": errors, "seconds": round(time.monotonic() - start, 1)}
    print(json.dumps(summary))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
