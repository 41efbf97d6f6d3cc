"""One case of the matrix on one server: injected, run, looked at, cleared, run again, and once more."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from integration.faults.hosts import KEY, Host, Watch
from labkit import Play
from unit.module_runner import Result, run_module

TIMEOUT, LOCK_TIMEOUT = 30, 30
NEVER, UP, DOWN = "never stopped", "up", "down until the next run"
NONE, RESTART, BACK = "none", "a restart", "a restart and the way back"
MESSAGE, STEP, LAST = 190, 110, 70
SUCCESS, KILLED = "(the run succeeds)", "(the run is ended from outside)"

# Stands for the value that the run sets.
VALUE = "the new value"

Undo = Callable[[], None]


@dataclass(frozen=True)
class Case:
    """A fault, or several at once, and how the run is asked to work."""

    name: str
    faults: tuple[tuple[str, dict[str, Any]], ...] = ()
    deployment: str = "standard"
    by_hand: Callable[[Host], Undo] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    # The run itself is ended from outside, so nobody can be told anything.
    killed: bool = False
    # It ends between stop and start: nothing is left that could start the server.
    leaves_down: bool = False
    # Words of the cause and of the next step.
    says: tuple[str, ...] = ()
    group: str = ""
    long: bool = False

    @property
    def identity(self) -> str:
        """For pytest."""
        return f"{self.deployment}: {self.name}" if self.deployment != "standard" else self.name


@dataclass(frozen=True)
class Outcome:
    """A row of the table."""

    message: str
    stack: str
    downtime: str
    env_file: str
    next_run: str

    def cells(self) -> list[str]:
        """As the table shows them."""
        return [self.message, self.stack, self.downtime, self.env_file, self.next_run]


def _tasks(host: Host, value: str, options: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What a person's playbook has: the settings written, the stack brought up to date."""
    dialect = "docker_run" if host.deployment == "lite-run" else "compose"
    write = {"path": str(host.env_file), "keys": {KEY: value}, "rollback": True, "dialect": dialect}
    limits = {"timeout": TIMEOUT, "lock_timeout": LOCK_TIMEOUT}
    return [("env_file", write), ("stack", {"directory": str(host.directory), "url": host.url, **limits, **options})]


def _play(host: Host, value: str, options: dict[str, Any]) -> Play:
    """One run of ansible-playbook with these two tasks."""
    tasks = [{f"selfhosted.bitwarden.{name}": given} for name, given in _tasks(host, value, options)]
    file = host.lab.directory / f"{host.name}.yml"
    file.write_text(yaml.safe_dump([{"hosts": host.name, "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    settings = {
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_LOCAL_TEMP": str(host.lab.directory / f"tmp-{host.name}"),
    }
    environment = {**os.environ, **host.environment, **settings}
    return Play(
        subprocess.run(["ansible-playbook", str(file)], env=environment, capture_output=True, text=True, check=False)
    )


def _again(host: Host, value: str) -> list[Result]:
    """The modules of these two tasks, as Ansible starts them on a server."""
    names = ("SSL_CERT_FILE", "NO_PROXY", "no_proxy")
    path = f"{host.programs}:{os.environ['PATH']}"
    environment = {"PATH": path, **{name: host.environment[name] for name in names}}
    return [run_module(name, given, env=environment) for name, given in _tasks(host, value, {})]


def failure(play: Play) -> dict[str, Any]:
    """The result of the task that failed; empty where none did."""
    found = re.search(r"^fatal: \[[^]]+\]: FAILED! => (\{.*\})$", play.output, re.MULTILINE)
    result: dict[str, Any] = json.loads(found[1]) if found else {}
    return result


def _changed_content(old: bytes, value: str) -> bytes:
    """The env file as a merge of that one key makes it."""
    line = f"{KEY}={value}".encode()
    if re.search(rb"(?m)^" + KEY.encode() + b"=", old):
        return re.sub(rb"(?m)^" + KEY.encode() + rb"=.*$", line, old)
    return old + line + b"\n"


def shortened(host: Host, text: str, length: int = MESSAGE) -> str:
    """A message without what differs between two runs of a lab, and not longer than a table bears."""
    for pattern, put in (
        (re.escape(str(host.directory)), "/opt/bitwarden"),
        (re.escape(str(host.lab.directory / "hosts" / host.name)), ""),
        (r"localhost:\d+", "localhost"),
        (r"\(pid \d+\)|\(process \d+\)", "(process …)"),
        (r"[0-9a-f]{12,}", "…"),
        (r"\d+ MiB", "… MiB"),
        (r"\b(line|column) \d+", r"\1 …"),
        (r"\(owner [^)]*\)", "(owner …)"),
        (r"(user|root or) [a-z][\w-]*", r"\1 …"),
        (r"\d+ seconds", "… seconds"),
        (r"\s+", " "),
        (r"\|", "/"),
    ):
        text = re.sub(pattern, put, text)
    text = text.strip()
    if len(text) <= length:
        return text
    # How it ended stands in the last sentence.
    last = text.rpartition(". ")[2]
    last = last if len(last) <= LAST else ""
    return text[: length - len(last)].rsplit(" ", 1)[0] + f" … {last}".rstrip()


def told(host: Host, message: str) -> str:
    """The cause and the next step."""
    cause, _unused, step = message.partition(" Next step: ")
    return f"{shortened(host, cause)} **Next step:** {shortened(host, step, STEP)}"


class Run:
    """The steps of one case; each of them asserts what has to be true after it."""

    def __init__(self, host: Host, case: Case, number: int) -> None:
        self.host = host
        self.case = case
        self.value = f"case-{number}"
        self.old = host.content() or b""
        self.new = _changed_content(self.old, self.value)
        self.before = host.api().get("id")

    def outcome(self) -> Outcome:
        """All of it."""
        host, case = self.host, self.case
        undo = case.by_hand(host) if case.by_hand else None
        for name, options in case.faults:
            host.fault(name, {key: self.value if given is VALUE else given for key, given in options.items()})
        try:
            with Watch(host) as watch:
                play = _play(host, self.value, case.options)
                host.settle()
            answers = host.answers()
            row = self._judge(play, watch, answers)
        finally:
            host.clear()
            if undo:
                undo()
        return self._heal(row)

    def _judge(self, play: Play, watch: Watch, answers: bool) -> Outcome:
        case, result = self.case, failure(play)
        message = str(result.get("msg", ""))
        assert watch.asked > 3
        if not case.killed:
            assert play.status in (0, 2), play.output
            assert ("Next step: " in message) is bool(play.status), play.output
            missing = [word for word in case.says if word.lower() not in message.lower()]
            assert not missing, f"{missing} not in: {message}"
            left = self.host.files() - self.host.known
            assert not [name for name in left if "selfhosted" in name], left
        return Outcome(
            KILLED if case.killed else told(self.host, message) if message else self._success(play),
            self._stack(watch, answers),
            self._downtime(watch, answers, result),
            self._file(),
            "",
        )

    def _success(self, play: Play) -> str:
        warned = play.output.partition("[WARNING]: ")[2].partition("\n\n")[0]
        return SUCCESS if not warned else f"{SUCCESS}; warning: {shortened(self.host, warned)}"

    def _stack(self, watch: Watch, answers: bool) -> str:
        never = not watch.failed and self.host.api().get("id") == self.before
        if never:
            return NEVER
        assert answers or self.case.leaves_down, "the server is down"
        return UP if answers else DOWN

    def _downtime(self, watch: Watch, answers: bool, result: dict[str, Any]) -> str:
        if not answers:
            return "until the next run"
        if not watch.failed:
            return NONE
        return BACK if result.get("rolled_back") else RESTART

    def _file(self) -> str:
        content = self.host.content()
        if self.case.by_hand and content not in (self.old, self.new):
            return "as found"
        assert content in (self.old, self.new), "the env file is neither the old nor the new one"
        return "new" if content == self.new else "old"

    def _heal(self, row: Outcome) -> Outcome:
        """The next run converges, and the one after that finds nothing to do."""
        host = self.host
        before = host.restarts()
        first = _again(host, self.value)
        assert not any(result.failed for result in first), [result.output for result in first]
        restarts = host.restarts() - before
        second = _again(host, self.value)
        assert not any(result.failed or result.changed for result in second), [result.output for result in second]
        assert host.answers()
        assert host.content() == self.new
        assert host.marker() == self.value
        assert restarts == host.restarts() - before and restarts <= 1
        left = host.files() - host.known
        assert left <= {str(host.directory / name) for name in ("bwdata-backups", "env-backups")}, left
        words = "restarts" if restarts else "writes" if first[0].changed else "finds all done"
        return replace(row, next_run=f"{words}; then 0 changed")
