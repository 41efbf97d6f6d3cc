"""Every recorded refusal, given to each module that can meet it, in the module's own run over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import remedies
from unit import recordings
from unit.license_world import NAME, cloud_login, emitted, installation, pass_time, written
from unit.module_runner import ROOT, Result
from unit.recorded_world import ACME, Recorded
from unit.refusals import CALLS, Refusal, refusals
from unit.web import Answer

MODULES = (
    "billing_sync",
    "billing_sync_token",
    "installation_info",
    "license",
    "license_sync",
    "organization_info",
    "sponsorship",
    "sponsorship_info",
)
FAMILY = {"email": "family@home.example", "friendly_name": "Family One"}
ADMIN = {"email": "a@home.example", "friendly_name": "Admin One", "admin_initiated": True}


@dataclass(frozen=True)
class Task:
    """A task that makes the calls of some operations; `side` is the server whose answer is another's."""

    name: str
    module: str
    operations: tuple[str, ...]
    side: str = "self_hosted"
    person: str = "owner"
    method: str = ""
    check: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


LOGIN = (remedies.TOKEN, remedies.PROFILE)
TASKS = [
    Task("installation_info", "installation_info", (remedies.INSTALLATION,), side="cloud"),
    Task(
        "billing_sync_token",
        "billing_sync_token",
        (*LOGIN, remedies.INSTALLATION, remedies.KEY_INFORMATION, remedies.KEY),
        side="cloud",
        options={"organization": "Acme Teams"},
    ),
    # Only a password that does not open the account's key is put before the cloud.
    Task(
        "billing_sync_token-verifies",
        "billing_sync_token",
        (remedies.VERIFY_PASSWORD,),
        side="cloud",
        options={"organization": "Acme Teams", "master_password": "another password"},
    ),
    Task(
        "billing_sync_token-rotates",
        "billing_sync_token",
        (remedies.KEY_ROTATE,),
        side="cloud",
        options={"organization": NAME, "rotate": True, "servers": []},
    ),
    Task("organization_info-at-cloud", "organization_info", LOGIN, side="cloud"),
    Task(
        "organization_info",
        "organization_info",
        (*LOGIN, remedies.CONNECTION_READ, remedies.SUBSCRIPTION),
        options={"organization": NAME, "connection": True},
    ),
    Task(
        "billing_sync-connects",
        "billing_sync",
        (*LOGIN, remedies.CONNECTION_READ, remedies.CONNECTION_SAVE),
        method="POST",
        options={"organization": "Other Enterprise", "billing_sync_token": "T" * 30},
    ),
    Task(
        "billing_sync-changes",
        "billing_sync",
        (remedies.CONNECTION_SAVE,),
        method="PUT",
        options={"organization": NAME},
    ),
    Task(
        "billing_sync-removes",
        "billing_sync",
        (remedies.CONNECTION_DELETE,),
        options={"organization": NAME, "state": "absent"},
    ),
    Task(
        "license_sync",
        "license_sync",
        (*LOGIN, remedies.CONNECTION_READ, remedies.LICENSE_SYNC),
        options={"organization": NAME, "max_age": 0},
    ),
    Task(
        "license_sync-looks",
        "license_sync",
        (remedies.SUBSCRIPTION,),
        check=True,
        options={"organization": NAME},
    ),
    Task("license", "license", (*LOGIN, remedies.LICENSE_UPLOAD)),
    Task("license-looks", "license", (remedies.SUBSCRIPTION, remedies.CONNECTION_READ), check=True),
    Task("license-downloads", "license", (*LOGIN, remedies.INSTALLATION, remedies.LICENSE_DOWNLOAD), side="cloud"),
    Task("license-creates", "license", (remedies.LICENSE_CREATE,), person="stranger"),
    Task(
        "sponsorship-offers",
        "sponsorship",
        (*LOGIN, remedies.OFFER),
        person="member",
        options={"organization": ACME["self_hosted"], "sponsorships": [FAMILY]},
    ),
    Task(
        "sponsorship-offers-for-another",
        "sponsorship",
        (remedies.OFFER, remedies.SPONSORSHIPS),
        options={"organization": NAME, "sponsorships": [ADMIN]},
    ),
    Task(
        "sponsorship-revokes",
        "sponsorship",
        (remedies.REVOKE,),
        options={"organization": NAME, "sponsorships": [{"friendly_name": "Old"}], "state": "absent", "unseen": True},
    ),
    Task(
        "sponsorship_info",
        "sponsorship_info",
        (*LOGIN, remedies.CONNECTION_READ, remedies.SPONSORSHIPS, remedies.SYNC_STATUS),
        options={"organization": NAME},
    ),
]


ASK_FOR_COMMUNICATION = ("billing_sync-connects", "sponsorship_info")
UNREADABLE = {
    "license-on-server-missing",
    "license-on-server-too-old",
    "license-on-server-changed",
    "server-clock-behind",
}
# A self-hosted server is never asked to mail an offer again: the module refuses before.
NOT_CALLED = {remedies.RESEND}


class Running:
    """The world, with everything at hand that the tasks need."""

    def __init__(self, world: Recorded, folder: Path) -> None:
        self.world = world
        token = world.token()["token"]
        connected = world.run("self_hosted", "billing_sync", organization=NAME, billing_sync_token=token)
        assert connected.changed, connected.data
        synced = world.run("self_hosted", "license_sync", organization=NAME)
        assert synced.changed, synced.data
        # So long ago that the date alone does not tell whether the license is due.
        pass_time(world, days=2.5)
        self.newer = written(folder, emitted(world, changes={"Seats": 60}), "newer.json")
        third = next(row["Id"] for row in world.rows("cloud", "Organization") if row["Name"] == "Third Enterprise")
        self.third = written(folder, emitted(world, third), "third.json")
        self.secrets = world.secrets()
        self.refused = False
        self.tokens = 0

    def options(self, task: Task) -> dict[str, Any]:
        if task.module == "installation_info":
            return {"installation_id": installation(self.world)}
        if task.module == "billing_sync_token":
            return {"master_password": self.world.password("owner"), **task.options}
        if task.name == "billing_sync-changes":
            # Another one each time, since the refusal of two connections does not keep the module from its goal.
            self.tokens += 1
            return {**task.options, "billing_sync_token": f"{self.tokens:030}"}
        if task.name in ("license-downloads", "license-looks"):
            cloud = {**cloud_login(self.world), "rate_limit_wait": 0}
            given = {"organization": NAME, "cloud": cloud, "max_age": 0}
            return {**given, "installation_id": installation(self.world)}
        if task.name == "license-creates":
            return {"organization": "Third Enterprise", "src": self.third, "create": True}
        if task.module == "license":
            return {"organization": NAME, "src": self.newer}
        return task.options

    def run(self, task: Task, answer: Answer, refused: Refusal) -> Result:
        method = refused.exchange["request"]["method"]
        front = "cloud" if task.side == "cloud" else "self_hosted"
        ends = "enabled" if refused.exchange["request"]["path"].endswith("enabled") else ""
        patterns = [path for name, verb, path in CALLS if (name, verb) == (refused.operation, method)]

        def intercept(verb: str, path: str, side: str) -> Answer | None:
            wanted = verb == method and side == front and any(re.fullmatch(one, path) for one in patterns)
            if not (wanted and path.endswith(ends)):
                return None
            self.refused = True
            return answer

        self.refused = False
        self.world.intercept = intercept
        server = "cloud" if task.side == "cloud" and task.module != "license" else "self_hosted"
        try:
            return self.world.run(
                server, task.module, person=task.person, check=task.check, rate_limit_wait=0, **self.options(task)
            )
        finally:
            self.world.intercept = lambda *_call: None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("world")
    with Recorded(folder).running() as world:
        yield Running(world, folder)


def different() -> list[Refusal]:
    """One of all refusals that a module cannot tell apart."""
    found: dict[tuple[Any, ...], Refusal] = {}
    for one in refusals():
        request = one.exchange["request"]
        answer = recordings.answer(one.exchange)
        same = (one.operation, request["method"], request["path"].endswith("enabled"), answer.status, answer.content())
        found.setdefault((*same, answer.headers.get("Www-Authenticate")), one)
    return list(found.values())


def meets(task: Task, one: Refusal) -> bool:
    request = one.exchange["request"]
    if one.operation == remedies.CONNECTION_SAVE and task.method != request["method"]:
        return False
    if request["path"].endswith("enabled") and task.name not in ASK_FOR_COMMUNICATION:
        return False
    # That a cloud does not know an installation is what such a call wants to hear.
    return one.operation in task.operations and one.name != "cloud-installation-unknown"


CASES = [(task, one) for task in TASKS for one in different() if meets(task, one)]


# What a module gets along with: an unreadable license is due, two connections become one, and who is gone is gone.
GOT_ALONG = {
    **dict.fromkeys([("organization_info", key) for key in UNREADABLE], "license_unreadable"),
    **dict.fromkeys([("license_sync-looks", key) for key in UNREADABLE], "license_unreadable"),
    **dict.fromkeys([("license-looks", key) for key in UNREADABLE], "license_unreadable"),
    ("billing_sync-changes", "two-connections"): "as runs at the same moment leave them",
    ("sponsorship-revokes", "sponsorship-unknown"): '"changed": false',
}
# A connection that is gone is removed; here the server says so of one that it goes on to show.
KNOWN_BETTER = {("billing_sync-removes", "connection-gone"): "still has a billing sync connection"}


def test_each_module_and_each_call_is_among_the_cases() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    grouped = {name for group in runtime["action_groups"].values() for name in group if isinstance(name, str)}
    assert {task.module for task, _one in CASES} == grouped == set(MODULES)
    assert {name for name, _method, _path in CALLS} - {one.operation for _task, one in CASES} == NOT_CALLED
    assert len(CASES) > 390


@pytest.mark.parametrize(("task", "one"), CASES, ids=[f"{task}-{one.group}-{one.name}" for task, one in CASES])
def test_a_module_tells_cause_and_next_step_of_what_it_is_refused(running: Running, task: Task, one: Refusal) -> None:
    response = recordings.response(one.exchange)
    row = remedies.explain(one.operation, response)
    assert row is not None
    result = running.run(task, recordings.answer(one.exchange), one)
    assert running.refused, "the task did not make this call"
    met = (task.name, row.key)
    assert result.failed == (met not in GOT_ALONG)
    if met in GOT_ALONG or met in KNOWN_BETTER:
        assert {**GOT_ALONG, **KNOWN_BETTER}[met] in result.output
        return
    assert (result["remedy"], result["status"], result["server_said"]) == (row.key, response.status, response.said)
    assert (result["cause"], result["next_step"], result.get("link", "")) == (row.cause, row.next_step, row.link)
    for words in (str(response.status), response.said.rstrip("."), row.cause, f"Next step: {row.next_step}"):
        assert words in result["msg"]
    assert [secret for secret in running.secrets if secret in result.output] == []
