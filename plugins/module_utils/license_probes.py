# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a license sync fails: Bitwarden has one sentence for nearly every reason, so the reasons are asked for in order.

Nothing is changed by it. What cannot be asked, for want of an option or of an answer, is said to be unknown.
"""

from __future__ import annotations

import typing as t
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import license, license_api, remedies
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog import log_events, ways
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

if t.TYPE_CHECKING:
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.organization import BillingSync
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.server import Server

OK, WRONG, UNKNOWN = "ok", "wrong", "unknown"
# Answers to a sync that say nothing of the cause.
VAGUE = frozenset({"sync-failed-for-one-of-many-reasons", "sync-met-an-error", "cloud-does-not-answer"})
_CLOCK_NOISE = timedelta(seconds=2)
# A line that is older than this is about another sync.
_LOG_AGE = timedelta(minutes=15)
_CONTAINERS = "containers"
_ASKED_OF = ("identity", "api")


@dataclass(frozen=True)
class Answer:
    """What one probe found; C(said) continues a sentence."""

    probe: str
    result: str
    said: str
    # Of what is wrong only.
    next_step: str = ""
    remedy: str = ""

    def as_dict(self) -> dict[str, t.Any]:
        """The answer as modules return it."""
        return {
            "probe": self.probe,
            "result": self.result,
            "said": self.said,
            "next_step": self.next_step or None,
            "remedy": self.remedy or None,
        }


class Probes:
    """The questions about one organization's sync, in the order of what they cost."""

    def __init__(self, params: t.Mapping[str, t.Any], server: Server, connected: BillingSync) -> None:
        self._params = params
        self._server = server
        self._connected = connected

    def answers(self) -> list[Answer]:
        """Every probe's answer."""
        place = self._params.get("cloud") or {}
        known = any(place.get(name) for name in ("region", "url", "api_url"))
        with license_api.cloud_of(self._params) if known else nullcontext() as cloud:
            found = [self._flag(), self._connection()]
            found += [
                self._asked("token", self._token, cloud),
                self._asked("installation", self._installation, cloud),
                self._asked("cloud_organization", self._cloud_organization, cloud),
                self._asked("clock", self._clock, cloud),
            ]
        return [*found, self._way(), self._log()]

    # On the server.

    def _flag(self) -> Answer:
        try:
            on = self._server.cloud_communication()
        except BitwardenError as error:
            return Answer("cloud_communication", UNKNOWN, error.message)
        if on:
            return Answer("cloud_communication", OK, "the running server may call the cloud")
        return _of("cloud_communication", "cloud-communication-off")

    def _connection(self) -> Answer:
        now = self._connected
        if not now.exists:
            return _of("connection", "no-connection")
        if not now.enabled:
            return _of("connection", "connection-disabled")
        if now.key is None:
            return _of("connection", "connection-without-token")
        return Answer("connection", OK, "the organization has a connection with a token")

    # At the cloud.

    def _asked(self, probe: str, ask: t.Callable[[Server], Answer], cloud: Server | None) -> Answer:
        if cloud is None and not (probe == "token" and self._params.get("billing_sync_token")):
            return Answer(probe, UNKNOWN, "not asked: the option cloud does not say where the cloud is")
        try:
            return ask(t.cast("Server", cloud))
        except BitwardenError as error:
            return Answer(probe, UNKNOWN, f"could not be asked: {error.message}")

    def _token(self, cloud: Server) -> Answer:
        given = (self._params.get("billing_sync_token") or "").strip()
        if given:
            if given == self._connected.key:
                return Answer("token", OK, "the server holds the token that was given")
            return _of("token", "log-wrong-billing-sync-key")
        wanted = self._connected.cloud_organization_id
        if not self._can_log_in or wanted is None:
            return Answer("token", UNKNOWN, "not asked: it takes billing_sync_token, or an API key for the cloud")
        return self._token_by_date(cloud.key_dates(wanted))

    def _token_by_date(self, dates: list[str]) -> Answer:
        """Without the token itself its date tells whether it was rotated since it was last proven."""
        if not dates:
            return Answer(
                "token",
                WRONG,
                "the cloud organization has no billing sync token",
                remedies.entry("log-wrong-billing-sync-key").next_step,
                "log-no-token-at-cloud",
            )
        if len(dates) > 1:
            return _of("token", "several-keys-found")
        rotated, synced = license.parse_date(dates[0]), license.parse_date(self._connected.last_license_sync)
        if rotated is not None and synced is not None and rotated > synced:
            return Answer(
                "token",
                WRONG,
                f"the billing sync token was rotated at the cloud ({dates[0]}) after the last sync that succeeded",
                remedies.entry("log-wrong-billing-sync-key").next_step,
                "log-wrong-billing-sync-key",
            )
        if synced is None:
            return Answer("token", UNKNOWN, "the cloud organization has a token; no sync has proven it yet")
        return Answer("token", OK, "the token was not rotated at the cloud since the last sync")

    def _installation(self, cloud: Server) -> Answer:
        wanted = (self._params.get("installation_id") or "").strip().lower()
        if not wanted:
            return Answer("installation", UNKNOWN, "not asked: it takes installation_id")
        try:
            license_api.require_installation(cloud, wanted)
        except license_api.InstallationRefused as error:
            said = error.message.rstrip(".")
            return Answer("installation", WRONG, said, str(error.next_step), "log-installation-refused")
        return Answer("installation", OK, f"{cloud.name} knows the installation")

    def _cloud_organization(self, cloud: Server) -> Answer:
        probe, wanted = "cloud_organization", self._connected.cloud_organization_id
        if not self._can_log_in or wanted is None:
            return Answer(probe, UNKNOWN, "not asked: it takes an API key for the cloud, and a connection")
        found = next((one for one in cloud.organizations() if one.id == wanted.lower()), None)
        if found is None:
            return Answer(probe, UNKNOWN, f"the account at {cloud.name} does not belong to the organization {wanted}")
        if not found.enabled:
            return Answer(
                probe, WRONG, f"the organization {found.name} is disabled at {cloud.name}", _SETTLE, _DISABLED
            )
        subscription, _problem = license_api.subscription(cloud, wanted)
        ends = license.parse_date((subscription or {}).get("expiration"))
        if ends is not None and ends <= cloud.now:
            return Answer(probe, WRONG, f"the subscription of {found.name} ended on {ends:%Y-%m-%d}", _SETTLE, _ENDED)
        return Answer(probe, OK, f"the organization {found.name} is enabled at {cloud.name}")

    @property
    def _can_log_in(self) -> bool:
        place = self._params.get("cloud") or {}
        return bool(place.get("client_id") and place.get("client_secret"))

    def _clock(self, cloud: Server) -> Answer:
        self._server.config()
        here = self._server.now
        cloud.config()
        behind = cloud.now - here
        if behind > _CLOCK_NOISE:
            said = f"the server's clock is {behind.total_seconds():.0f} seconds behind the cloud's"
            return Answer("clock", WRONG, said, remedies.entry("server-clock-behind").next_step, "server-clock-behind")
        return Answer("clock", OK, "the server's clock is not behind the cloud's")

    # What others have found on the server.

    def _way(self) -> Answer:
        rows = [row for row in self._params.get("endpoints") or [] if row.get("kind") in _ASKED_OF]
        rows = [row for row in rows if row.get("path") == _CONTAINERS] or rows
        if not rows:
            return Answer("way", UNKNOWN, "not asked: it takes the endpoints of egress_probe")
        closed = [row for row in rows if row.get("reachable") is False]
        for row in sorted(closed, key=lambda one: _ASKED_OF.index(one["kind"])):
            said, verdict = str(row.get("cause")).rstrip("."), str(row.get("verdict") or "")
            if verdict not in ways.NOTHING_FOUND:
                step, key = str(row.get("next_step") or ""), ways.remedy(row["kind"], verdict)
                return Answer("way", WRONG, said, step, key)
        if closed:
            return Answer("way", UNKNOWN, f"not asked: {closed[0].get('cause')}".rstrip("."))
        return Answer("way", OK, "identity and api of the cloud are reached from the server")

    def _log(self) -> Answer:
        lines = self._params.get("log") or []
        if not lines:
            return Answer("log", UNKNOWN, "not read: it takes the lines of the server's log")
        since = self._server.now - _LOG_AGE
        found = next(iter(remedies.of_log(lines, remedies.LOG_SYNC, since=since)), None)
        if found is None:
            return Answer("log", UNKNOWN, "the lines that were given say nothing of a license sync")
        said = f"{found.entry.cause} (the server's log: {log_events.quoted(found.event)})"
        return Answer("log", WRONG, said, found.entry.next_step, found.entry.key)


_SETTLE = "Settle its subscription at the cloud, then sync again."
_DISABLED, _ENDED = "organization-disabled-at-cloud", "no-active-subscription"


def _of(probe: str, key: str) -> Answer:
    found = remedies.entry(key)
    return Answer(probe, WRONG, found.cause, found.next_step, key)


def cause(answers: t.Sequence[Answer]) -> Answer | None:
    """What is to blame: the server's own log knows best, else the first that is wrong."""
    wrong = [one for one in answers if one.result == WRONG]
    return next((one for one in wrong if one.probe == "log"), wrong[0] if wrong else None)


def explained(error: BitwardenError, answers: t.Sequence[Answer]) -> BitwardenError:
    """The error of a sync with what the probes found."""
    found = cause(answers)
    probes = [one.as_dict() for one in answers]
    good = ", ".join(one.probe for one in answers if one.result == OK) or "nothing"
    open_ = ", ".join(one.probe for one in answers if one.result == UNKNOWN)
    if found is None:
        told = f"{error.message} Found in order: {good}." + (f" Not known: {open_}." if open_ else "")
        return BitwardenError(told, next_step=error.next_step, details={**error.details, "probes": probes})
    first = error.message.partition(" This means that ")[0]
    known = remedies.known(found.remedy)
    return BitwardenError(
        f"{first} The cause: {found.said}.",
        next_step=found.next_step or error.next_step,
        details={**error.details, **known, "cause": found.said, "probes": probes},
    )
