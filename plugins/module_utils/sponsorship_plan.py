# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be done about sponsorships, and what the server would do silently and wrongly: that is refused before."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.sponsorships import Sponsorship

if t.TYPE_CHECKING:
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.sponsorships import Sponsor

OFFER, REVOKE_OWN, REVOKE, REVOKE_UNSEEN, RESEND = "offer", "revoke own", "revoke", "revoke unseen", "resend"
PURGE_NONE, PURGE_OWN, PURGE_ALL = "none", "own", "all"
LONGEST = 256
SYNC_FIRST = (
    "Wait for the server's daily sponsorship sync, or start it in its admin portal (Connections, Manually Sync); "
    "then offer anew."
)
_EMAIL = re.compile(r"[^\s@<>(),;:\"\[\]\\]+@[^\s@<>(),;:\"\[\]\\]+\.[^\s@<>(),;:\"\[\]\\]+")


class Problem(t.NamedTuple):
    """Why something cannot be done, and what to do instead."""

    cause: str
    next_step: str


@dataclass(frozen=True)
class Wanted:
    """One entry of the list of a task."""

    friendly_name: str
    email: str | None
    admin_initiated: bool

    @classmethod
    def of(cls, entry: t.Mapping[str, t.Any]) -> Wanted:
        """An entry as the task gives it; who gets an offer is its name unless it has another one."""
        email = (entry.get("email") or "").strip() or None
        name = (entry.get("friendly_name") or "").strip() or email or ""
        return cls(name, email, bool(entry.get("admin_initiated")))


@dataclass(frozen=True)
class Rules:
    """What the task allows, and what is known of the server."""

    cloud: bool = False
    replace: bool = False
    allow_several: bool = False
    allow_orphan: bool = False
    unseen: bool = False
    purge: str = PURGE_NONE
    keep: tuple[str, ...] = ()
    postpone: bool = False
    # Whether the server's database lets it note what the cloud answered; None where nobody has looked.
    sponsorship_sync: bool | None = None


@dataclass(frozen=True)
class Action:
    """One request that changes something, and how the sponsorship looks afterwards (None where it is gone)."""

    kind: str
    wanted: Wanted
    before: Sponsorship | None
    after: Sponsorship | None


def check_entries(entries: t.Sequence[Wanted], *, present: bool) -> None:
    """Refuse what no server can do, before anybody logs in."""
    problems: list[Problem] = []
    for number, entry in enumerate(entries, 1):
        problems += _entry_problems(entry, number, present=present)
    for name in _repeated(entry.friendly_name for entry in entries):
        problems.append(
            Problem(f"Several entries have the name {name!r}; the server would take the first only.", "Name each once.")
        )
    for email in _repeated(entry.email or "" for entry in entries if present):
        problems.append(
            Problem(f"Several entries offer a sponsorship to {email}, and a family can have one.", "Offer it once.")
        )
    if present and sum(not entry.admin_initiated for entry in entries) > 1:
        problems.append(
            Problem(
                "A member can have one sponsorship of its own, and each further offer would replace the one before.",
                "Give the others in tasks of their own, with the API keys of other members.",
            )
        )
    refuse(problems)


def _repeated(texts: t.Iterable[str]) -> list[str]:
    """What is there more than once, upper and lower case aside."""
    folded = [text.casefold() for text in texts if text]
    return sorted({text for text in folded if folded.count(text) > 1})


def _entry_problems(entry: Wanted, number: int, *, present: bool) -> t.Iterator[Problem]:
    name, email = entry.friendly_name, entry.email
    if not name:
        yield Problem(f"Entry number {number} has neither friendly_name nor email.", "Give one of them.")
    if max(len(name), len(email or "")) > LONGEST:
        yield Problem(f"The name or the address of entry number {number} is longer than {LONGEST}.", "Shorten it.")
    if not present:
        return
    if "/" in name or name in {".", ".."}:
        yield Problem(
            f"The name {name!r} could never be revoked by a manager: the server does not find it in an address.",
            "Choose a name without a slash that is more than dots.",
        )
    if email is None:
        yield Problem(f"The entry {name!r} has no email to offer the sponsorship to.", "Give email.")
    elif not _EMAIL.fullmatch(email):
        yield Problem(f"{email!r} is no plain e-mail address.", "Give one such as family@example.com.")


def refuse(problems: t.Sequence[Problem]) -> None:
    """Raise all problems as one error."""
    if problems:
        causes = " ".join(dict.fromkeys(problem.cause for problem in problems))
        steps = " ".join(dict.fromkeys(problem.next_step for problem in problems))
        raise BitwardenError(f"{causes} Nothing was changed.", next_step=steps)


def expected(sponsor: Sponsor, actions: t.Sequence[Action]) -> Sponsor:
    """The account's view as it will be after the actions."""
    gone = [action.before for action in actions]
    added = [action.after for action in actions if action.after]
    return replace(sponsor, sponsorships=(*(one for one in sponsor.sponsorships if one not in gone), *added))


def present(sponsor: Sponsor, entries: t.Sequence[Wanted], rules: Rules) -> list[Action]:
    """The revocations of what is not wanted any more, and the offers that are missing."""
    revocations = absent(sponsor, _unlisted(sponsor, entries, rules), rules)
    left = expected(sponsor, revocations)
    if rules.postpone:
        entries = [entry for entry in entries if not _must_wait(left, entry)]
    return revocations + _offers(left, entries, rules)


def postponed(after: Sponsor, entries: t.Iterable[Wanted]) -> list[str]:
    """The offers that a later run has to make."""
    there = {one.friendly_name for one in after.sponsorships if not one.to_delete}
    return [entry.friendly_name for entry in entries if entry.friendly_name not in there]


def _unlisted(sponsor: Sponsor, entries: t.Sequence[Wanted], rules: Rules) -> list[Wanted]:
    """What the account has, or sees, and no entry names."""
    if rules.purge == PURGE_NONE:
        return []
    listed = {name.strip().casefold() for name in (*(entry.friendly_name for entry in entries), *rules.keep)}
    seen = sponsor.mine if rules.purge == PURGE_OWN else sponsor.sponsorships
    return [
        Wanted(one.friendly_name, None, one.admin_initiated)
        for one in seen
        if one.friendly_name.casefold() not in listed
    ]


def _must_wait(sponsor: Sponsor, entry: Wanted) -> bool:
    """Whether a revocation is in the way of an offer until the cloud has heard of it."""
    alike = [one for one in sponsor.sponsorships if one.is_named(entry.friendly_name)]
    held = next((one for one in alike if one.friendly_name == entry.friendly_name), None)
    return held.to_delete if held else any(one.to_delete for one in (*alike, *sponsor.mine))


def _offers(sponsor: Sponsor, entries: t.Sequence[Wanted], rules: Rules) -> list[Action]:
    problems = list(_sponsor_problems(sponsor, entries))
    actions: list[Action] = []
    for entry in entries:
        held = next((one for one in sponsor.sponsorships if one.friendly_name == entry.friendly_name), None)
        if held is not None:
            problems += _held_problems(held, entry)
            continue
        twin = next((one for one in sponsor.sponsorships if one.is_named(entry.friendly_name)), None)
        own = None if entry.admin_initiated else next((one for one in sponsor.mine if not one.admin_initiated), None)
        if twin is not None and twin is not own:
            problems.append(
                Problem(
                    f"There is a sponsorship {twin.friendly_name!r} already, which differs from "
                    f"{entry.friendly_name!r} in upper and lower case only: revoking one could hit the other.",
                    "Choose another name.",
                )
            )
        problems += _own_problems(own, entry, rules)
        problems += _address_problems(sponsor, entry)
        after = Sponsorship(
            entry.friendly_name, entry.email if entry.admin_initiated else None, entry.admin_initiated,
            member=sponsor.member, at_cloud=rules.cloud,
        )  # fmt: skip
        actions.append(Action(OFFER, entry, own, after))
    added = sum(action.before is None for action in actions)
    if added and len(sponsor.mine) + added > 1 and not rules.allow_several:
        problems.append(_several(sponsor))
    refuse(problems)
    return actions


def _sponsor_problems(sponsor: Sponsor, entries: t.Sequence[Wanted]) -> t.Iterator[Problem]:
    found = sponsor.organization
    if found.plan != "enterprise":
        plan = found.plan.replace("_", " ").title()
        yield Problem(
            f"{found.name} has the plan {plan}, and only Enterprise can sponsor.", "Name an Enterprise organization."
        )
    if not sponsor.member:
        yield Problem(
            f"The account manages {found.name} for a provider and is no member of it, and only members can sponsor.",
            "Use the API key of a member.",
        )
    elif found.status != "confirmed":
        yield Problem(
            f"The account is {found.status} in {found.name}, and only confirmed members can sponsor.",
            "Confirm the member in the organization first.",
        )
    for entry in entries:
        if entry.email is not None and entry.email.casefold() == sponsor.email.casefold():
            yield Problem(
                f"{entry.email} is the account's own address, and nobody can sponsor himself.",
                "Give the private address that the Families organization is under.",
            )
    if any(entry.admin_initiated for entry in entries):
        if not sponsor.manager:
            yield Problem(
                f"The account is {found.role} of {found.name}; admin_initiated is for those who manage its users.",
                "Use the API key of an owner or admin, or leave admin_initiated out.",
            )
        if not sponsor.admin_allowed:
            yield Problem(
                f"The license of {found.name} has no sponsorships by administrators.",
                "Sync the license (license_sync) if the plan has them at the cloud, or leave admin_initiated out.",
            )


def _held_problems(held: Sponsorship, entry: Wanted) -> t.Iterator[Problem]:
    name = entry.friendly_name
    if held.to_delete:
        yield Problem(f"The sponsorship {name!r} is being removed, and an offer would not bring it back.", SYNC_FIRST)
    elif held.admin_initiated != entry.admin_initiated:
        kinds = ("offered by an administrator", "a member's own")
        is_, wanted = kinds if held.admin_initiated else kinds[::-1]
        yield Problem(
            f"The name {name!r} is that of another sponsorship ({is_}, not {wanted}), so that the server would "
            "do nothing.",
            "Choose another name, or revoke that sponsorship first.",
        )
    elif held.email and entry.email and held.email.casefold() != entry.email.casefold():
        yield Problem(
            f"The sponsorship {name!r} was offered to {held.email}, and the server would keep that address.",
            "Revoke it (state=absent) and offer anew, after the next sync if it was synced already; "
            "or choose another name.",
        )


def _own_problems(own: Sponsorship | None, entry: Wanted, rules: Rules) -> t.Iterator[Problem]:
    """A further offer of a member overwrites the one before, whatever has become of that."""
    if own is None:
        return
    if own.to_delete:
        yield Problem(
            f"The account's sponsorship {own.friendly_name!r} is being removed; offering {entry.friendly_name!r} now "
            "would silently take that back, and the cloud would never hear of it.",
            SYNC_FIRST,
        )
    elif own.last_sync or own.at_cloud or rules.sponsorship_sync is False:
        yield Problem(
            f"The account sponsors {own.friendly_name!r} already, the cloud may know it, "
            "and the cloud ignores another name or address.",
            f"Revoke {own.friendly_name!r} first (state=absent). {SYNC_FIRST}",
        )
    elif not rules.replace:
        yield Problem(
            f"The account sponsors {own.friendly_name!r} already, which the offer would replace.",
            "Revoke it first (state=absent), or set replace=true.",
        )


def _address_problems(sponsor: Sponsor, entry: Wanted) -> t.Iterator[Problem]:
    """Of those that administrators offered the address is known: nobody gets a second seat by another name."""
    for one in sponsor.sponsorships:
        if one.email and entry.email and one.email.casefold() == entry.email.casefold():
            yield Problem(
                f"{entry.email} has the sponsorship {one.friendly_name!r} already, and a family can have one.",
                f"Name it so, or revoke {one.friendly_name!r} first (state=absent).",
            )


def _several(sponsor: Sponsor) -> Problem:
    names = ", ".join(repr(one.friendly_name) for one in sponsor.mine) or "none yet"
    return Problem(
        f"The account would have more than one sponsorship in {sponsor.organization.name} (it has {names}). "
        "The server's sync then fails for the whole organization, before it calls the cloud.",
        "Offer each with the API key of another member or manager; allow_several=true is for servers that can do it.",
    )


def absent(sponsor: Sponsor, entries: t.Sequence[Wanted], rules: Rules) -> list[Action]:
    """The revocations that are missing."""
    problems: list[Problem] = []
    actions: list[Action] = []
    for entry in entries:
        named = [one for one in sponsor.sponsorships if one.is_named(entry.friendly_name)]
        held = sponsor.named(entry.friendly_name)
        if held is None:
            if rules.unseen:
                problems += _manager_problems(sponsor, entry.friendly_name)
                problems += _orphan_problems(None, entry.friendly_name, rules)
                actions.append(Action(REVOKE_UNSEEN, entry, None, None))
            continue
        if held.to_delete:
            continue
        own = held.mine and not held.admin_initiated
        problems += _revoke_problems(sponsor, held, rules)
        if not own and len(named) > 1:
            problems.append(
                Problem(
                    f"Several sponsorships are named {entry.friendly_name!r} but for upper and lower case, "
                    "and the server revokes any of them.",
                    "Revoke it in the web vault.",
                )
            )
        kept = held.valid_until if held.at_cloud else held.last_sync
        after = replace(held, to_delete=True) if kept else None
        actions.append(Action(REVOKE_OWN if own else REVOKE, entry, held, after))
    refuse(problems)
    return actions


def _revoke_problems(sponsor: Sponsor, held: Sponsorship, rules: Rules) -> t.Iterator[Problem]:
    name = held.friendly_name
    if not held.mine or held.admin_initiated:
        yield from _manager_problems(sponsor, name)
    yield from _orphan_problems(held, name, rules)


def _orphan_problems(held: Sponsorship | None, name: str, rules: Rules) -> t.Iterator[Problem]:
    """Where the sync is never noted, a revocation deletes the row that would have told the cloud of it."""
    lost = not rules.cloud and rules.sponsorship_sync is False and (held is None or held.last_sync is None)
    if lost and not rules.allow_orphan:
        yield Problem(
            f"This server's database cannot note that the cloud knows the sponsorship {name!r}: revoking it here would "
            "only forget it, and the family would keep it at the cloud.",
            "Revoke it at the cloud first (this module with region, state=absent and unseen=true), "
            "then here with allow_orphan=true.",
        )


def _manager_problems(sponsor: Sponsor, name: str) -> t.Iterator[Problem]:
    if not sponsor.manager:
        yield Problem(
            f"The account is {sponsor.organization.role} of {sponsor.organization.name} and may revoke its own "
            f"sponsorship only, not {name!r}.",
            "Use the API key of an owner or admin, or of the member whose sponsorship it is.",
        )
    if "/" in name or name in {"", ".", ".."}:
        yield Problem(
            f"The server cannot find the name {name!r} in an address, so that no manager can revoke it.",
            "The member whose own it is can; one that an administrator offered can only be removed in the database.",
        )


def resent(sponsor: Sponsor, entries: t.Sequence[Wanted], rules: Rules) -> list[Action]:
    """The mails to send again."""
    problems: list[Problem] = []
    actions: list[Action] = []
    for entry in entries:
        name = entry.friendly_name
        held = next((one for one in sponsor.sponsorships if one.friendly_name == name), None)
        if not sponsor.manager:
            problems += _manager_problems(sponsor, name)
        if held is not None and held.status != "sent":
            problems.append(
                Problem(f"The offer {name!r} is not open: its status is {held.status}.", "Only open offers are mailed.")
            )
        if held is None and not rules.unseen:
            problems.append(
                Problem(
                    f"The account sees no offer {name!r} at the cloud, which lists those of administrators only.",
                    "If it is a member's, also of a self-hosted server, set unseen=true.",
                )
            )
        actions.append(Action(RESEND, entry, held, held))
    refuse(problems)
    return actions
