"""One case: broken, run, compared with what was before, made good, run again, and once more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bwlab.store import GUID
from integration.api_faults.by_hand import ByHand
from integration.api_faults.site import BILLING_SYNC, FAMILY, FRESH, NEW_SEATS, PLAYBOOK, Kept, Site, differences
from unit.module_runner import Result

MESSAGE, STEP, SAID = 320, 180, 230
NO_REASON = ("nearly every reason", "most likely something")
SUCCESS = "(the run succeeds)"
AS_BEFORE = "as before"
# What a run may leave behind: all of it or nothing.
KEY_MADE = {"cloud: OrganizationApiKey"}
CONNECTION = {"server: OrganizationConnection"}
SYNCED = {"server: OrganizationConnection", "server: Organization", "licenses"}
UPLOADED = {"server: Organization", "licenses"}
OFFERED = {"server: OrganizationSponsorship"}
SETTINGS = {"env file", "containers"}

Options = Mapping[str, Any] | Callable[[Site], Mapping[str, Any]]


@dataclass(frozen=True)
class Case:
    """A fault, or several at once, and how the run is asked to work."""

    name: str
    module: str
    faults: tuple[tuple[str, dict[str, Any]], ...] = ()
    start: str = FRESH
    by_hand: ByHand | None = None
    # For the run with the fault, and for all runs of the case.
    options: Options = field(default_factory=dict)
    always: Mapping[str, Any] = field(default_factory=dict)
    environment: dict[str, str | None] = field(default_factory=dict)
    # Words of the cause and of the next step.
    says: tuple[str, ...] = ()
    long: bool = False

    @property
    def identity(self) -> str:
        """For pytest."""
        return f"{self.module}: {self.name}"


@dataclass(frozen=True)
class Outcome:
    """A row of the table."""

    module: str
    message: str
    afterwards: str
    next_run: str

    def cells(self) -> list[str]:
        """As the table shows them."""
        return [self.module, self.message, self.afterwards, self.next_run]


def shortened(site: Site, text: str, length: int) -> str:
    """A text without what differs between two labs, and not longer than a table bears."""
    for pattern, put in (
        (r"\s+", " "),
        (r" failed: [A-Z]+ \S+ answered ", " failed: "),
        (re.escape(str(site.lab.directory)), ""),
        (GUID.pattern.strip("^$"), "…"),
        (r"localhost:\d+", "localhost"),
        (r"\d+ seconds", "… seconds"),
        (r"\d{4}-\d\d-\d\dT[\d:.+Z]+|\d+/\d+/\d{4} \d+:\d\d:\d\d( [AP]M)?", "…"),
        (r"InternalId: '[^']*'", "InternalId: '…'"),
        (r"\b[0-9A-Fa-f]{32,}\b", "…"),
        (r"\|", "/"),
        ("<", "&lt;"),
    ):
        text = re.sub(pattern, put, text)
    text = text.strip()
    return text if len(text) <= length else text[:length].rsplit(" ", 1)[0] + " …"


def told(site: Site, result: Result) -> str:
    """The cause and the next step, or the warnings of a run that succeeds."""
    if not result.failed:
        warning = shortened(site, result.warnings, MESSAGE + STEP)
        return f"{SUCCESS}; warning: {warning}" if warning else SUCCESS
    cause, _unused, step = str(result["msg"]).partition(" Next step: ")
    return f"{shortened(site, cause, MESSAGE)} **Next step:** {shortened(site, step, STEP)}"


def diagnosed(site: Site, result: Result) -> str:
    """What the server's log adds where the server gives one reason for all; nothing where it has a better one."""
    if not any(words in str(result.get("cause")) for words in NO_REASON):
        return ""
    before = site.kept()
    found = site.run("license_sync", {"state": "diagnosed", "log": site.log_lines()})
    assert not found.failed and not found.changed and not differences(before, site.kept()), found.data
    assert found["cause"], found.data
    said = shortened(site, str(result["msg"]), SAID)
    cause, step = shortened(site, found["cause"], MESSAGE), shortened(site, found["next_step"], STEP)
    return f"{said} **With the server's log:** {cause} **Next step:** {step}"


def left_behind(before: Kept, after: Kept, result: Result) -> str:
    """What the run has changed, in words; half of something is no word."""
    changed = differences(before, after)
    if not changed:
        return AS_BEFORE
    if changed == KEY_MADE:
        return "the token is made"
    if changed == CONNECTION:
        there = len(after.tables["server"]["OrganizationConnection"])
        return "connected" if there else "disconnected"
    words = {
        frozenset(SYNCED): "license synced",
        frozenset(UPLOADED): "license uploaded",
        frozenset(OFFERED): "offered",
    }
    assert frozenset(changed) in words, f"half of something: {changed}, {result.data}"
    return words[frozenset(changed)]


def left_by_play(before: Kept, after: Kept) -> str:
    """The same for a whole run, step by step: each was done in whole or not at all."""
    changed = differences(before, after)
    if not changed:
        return AS_BEFORE
    assert changed <= KEY_MADE | SETTINGS | SYNCED, f"something else: {changed}"
    assert not changed & SETTINGS or changed >= SETTINGS, f"half of something: {changed}"
    steps = ["the token is made"] * (changed >= KEY_MADE) + ["restarted with the settings"] * (changed >= SETTINGS)
    rows = after.tables["server"].get("OrganizationConnection", [])
    synced = sum(bool(json.loads(row["Config"])["LastLicenseSync"]) for row in rows)
    assert bool(synced) is bool(changed & {"licenses", "server: Organization"}), changed
    several = len(after.tables["server"]["Organization"])
    of = f" of {several}" if several > 1 else ""
    steps += [f"{len(rows)}{of} connected" if of else "connected"] * bool(rows)
    steps += [f"{synced}{of} synced" if of else "synced"] * bool(synced)
    return ", ".join(steps)


class Run:
    """The steps of one case; each of them asserts what has to be true after it."""

    def __init__(self, site: Site, case: Case) -> None:
        self.site = site
        self.case = case

    def outcome(self) -> Outcome:
        """All of it."""
        site, case = self.site, self.case
        site.start(case.start)
        undo = case.by_hand(site) if case.by_hand else lambda: None
        try:
            given = case.options(site) if callable(case.options) else case.options
            for name, options in case.faults:
                site.db.set_fault(name, {key: str(value) for key, value in options.items()})
            before = site.kept()
            result = self._run({**case.always, **given}, case.environment)
            after = site.kept()
            left = left_by_play(before, after) if case.module == PLAYBOOK else left_behind(before, after, result)
            message = diagnosed(site, result) or told(site, result)
            self._judge(result, left, message)
        finally:
            site.db.clear_faults()
            site.forget_limits()
            undo()
        return Outcome(f"`{case.module}`", message, left, self._heal())

    def _run(self, options: Mapping[str, Any], environment: dict[str, str | None] | None = None) -> Result:
        if self.case.module == PLAYBOOK:
            return self.site.play(dict(options))
        return self.site.run(self.case.module, dict(options), environment)

    def _judge(self, result: Result, left: str, shown: str) -> None:
        message = str(result.get("msg", ""))
        assert "Traceback" not in result.output, result.output
        assert ("Next step: " in message) is result.failed, result.data
        missing = [word for word in self.case.says if word.lower() not in f"{message}{result.warnings}{shown}".lower()]
        assert not missing, f"{missing} not in: {message}"
        assert left == AS_BEFORE or not self.case.module.endswith("_info"), left
        if not result.failed:
            assert result.changed is (left != AS_BEFORE), (result.data, left)
        # The token is what this module is asked for.
        given = {result.get("token")} if not result.failed else set()
        assert not [secret for secret in self.site.known_secrets() if secret in result.output and secret not in given]

    def _heal(self) -> str:
        """The next run does what the first one should have done, and the one after that finds nothing to do."""
        first = self._run(self.case.always)
        assert not first.failed, first.data
        before = self.site.kept()
        second = self._run(self.case.always)
        assert not second.failed and not second.changed, second.data
        assert not differences(before, self.site.kept())
        self._goal(second)
        return f"{'does it' if first.changed else 'finds all done'}; then 0 changed"

    def _goal(self, result: Result) -> None:
        site, module = self.site, self.case.module
        if module == "billing_sync_token":
            assert [row["ApiKey"] for row in site.key_rows()] == [result["token"]]
        elif module == "billing_sync":
            wanted = [] if self.case.always.get("state") == "absent" else [site.key()]
            assert [row["Config"]["BillingSyncKey"] for row in site.connections()] == wanted
        elif module == "license_sync":
            (connection,) = site.connections()
            assert connection["Config"]["LastLicenseSync"]
            assert site.license()["Id"].lower() == site.cloud_organization["Id"].lower()
        elif module == "license":
            (row,) = site.stores["server"].rows("Organization")
            assert row["Seats"] == site.license()["Seats"] == NEW_SEATS
        elif module == PLAYBOOK:
            rows = site.stores["server"].rows("OrganizationConnection")
            assert len(rows) == len(site.stores["server"].rows("Organization"))
            configs = [json.loads(row["Config"]) for row in rows]
            assert all(config["LastLicenseSync"] for config in configs)
            keys = {row["ApiKey"] for row in site.stores["cloud"].rows("OrganizationApiKey", Type=BILLING_SYNC)}
            assert {config["BillingSyncKey"] for config in configs} == keys
            assert len(keys) == len(rows)
        elif module == "sponsorship":
            (row,) = site.stores["server"].rows("OrganizationSponsorship")
            assert (row["OfferedToEmail"], bool(row["ToDelete"])) == (FAMILY["email"], False)
