"""The recorded exchanges with the real server, for tests."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.arguments import Connection
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import Response, Transport
from unit.web import Answer, answers, serve

FOLDER = Path(__file__).resolve().parents[1] / "lab" / "data" / "recordings"


@functools.cache
def world() -> dict[str, Any]:
    return json.loads((FOLDER / "world.json").read_text())  # type: ignore[no-any-return]  # JSON has no types


@functools.cache
def exchanges(letter: str) -> list[dict[str, Any]]:
    """All of a group, the runs of jobs among them, which have no answer."""
    (path,) = FOLDER.glob(f"{letter}-*.json")
    return json.loads(path.read_text())["exchanges"]  # type: ignore[no-any-return]  # JSON has no types


@functools.cache
def group(letter: str) -> list[dict[str, Any]]:
    return [one for one in exchanges(letter) if "response" in one]


def exchange(letter: str, name: str) -> dict[str, Any]:
    return next(one for one in group(letter) if one["name"] == name)


def matching(letter: str, pattern: str) -> list[dict[str, Any]]:
    found = [one for one in group(letter) if re.fullmatch(pattern, one["name"])]
    if not found:
        raise LookupError(f"no exchange of group {letter} is named like {pattern}")
    return found


def answer(one: dict[str, Any]) -> Answer:
    """The recorded answer, to be given by a server of the test."""
    kept = ("content-type", "www-authenticate", "retry-after")
    headers = {name.title(): value for name, value in one["response"]["headers"].items() if name in kept}
    return Answer(one["response"]["status"], one["response"].get("body"), headers)


def response(one: dict[str, Any]) -> Response:
    """The recorded answer as the transport would hand it on."""
    with serve(answers(answer(one))) as web:
        client = Transport(Connection("cloud", "test", "", "", retries=0, rate_limit_wait=0))
        return client.request(one["request"]["method"], web.url + "/x")
