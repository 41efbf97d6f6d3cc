# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server's desired sponsorships as one task an account; what contradicts itself is told before any login."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible.module_utils.parsing.convert_bool import boolean

PRESENT, ABSENT = "present", "absent"
_ONE_EACH = "an account can have one sponsorship in an organization; give the others to other accounts"


@dataclass
class Call:
    """What one account does with one state, which costs one login."""

    organization: str
    account: dict[str, str] = field(repr=False)
    owner: bool
    state: str
    unseen: bool
    sponsorships: list[dict[str, t.Any]] = field(default_factory=list)

    def as_dict(self, *, purge: bool, keep: t.Sequence[str]) -> dict[str, t.Any]:
        """The call as a role reads it; whoever sees most revokes most."""
        names = ", ".join(one["friendly_name"] for one in self.sponsorships) or "purge"
        purged = ("all" if self.owner else "own") if purge and self.state == PRESENT else "none"
        return {
            "label": f"{self.organization}, as {self.account.get('client_id') or 'its owner'} ({names})",
            "organization": self.organization,
            "client_id": self.account.get("client_id", ""),
            "client_secret": self.account.get("client_secret", ""),
            "state": self.state,
            "unseen": self.unseen,
            "purge": purged,
            "keep": list(keep),
            "sponsorships": self.sponsorships,
        }


@dataclass(frozen=True)
class _Entry:
    """One wanted sponsorship."""

    name: str
    email: str
    account: dict[str, str] = field(repr=False)
    state: str
    admin_initiated: bool
    unseen: bool

    @classmethod
    def of(cls, row: t.Mapping[str, t.Any], state: str) -> _Entry:
        """An entry as people write it."""
        email = _text(row.get("email"))
        return cls(
            name=_text(row.get("friendly_name")) or email,
            email=email,
            account=_account(row.get("account")),
            state=ABSENT if state == ABSENT else _text(row.get("state")) or PRESENT,
            admin_initiated=_switch(row.get("admin_initiated")),
            unseen=_switch(row.get("unseen")),
        )

    def as_option(self) -> dict[str, t.Any]:
        """The entry as the module sponsorship takes it."""
        option: dict[str, t.Any] = {"friendly_name": self.name}
        return (
            option if self.state == ABSENT else {**option, "email": self.email, "admin_initiated": self.admin_initiated}
        )


def plan(wanted: t.Any, *, state: str, purge: bool) -> dict[str, t.Any]:
    """The calls in the order in which they are to be made, and in words what is wrong with the list."""
    calls: list[dict[str, t.Any]] = []
    owners: list[dict[str, str]] = []
    problems: list[str] = []
    seen: list[str] = []
    for number, row in enumerate(_rows(wanted), 1):
        name = _text(row.get("organization"))
        if not name:
            problems.append(f"entry number {number} names no organization")
            continue
        if name.casefold() in seen:
            problems.append(f"{name} is there more than once; put all of its sponsorships into one entry")
        seen.append(name.casefold())
        entries = [_Entry.of(one, state) for one in _rows(row.get("sponsorships"))]
        problems += [f"{name}: {problem}" for problem in _problems(entries)]
        asked = row.get("purge")
        purged = (purge if asked is None else _switch(asked)) and state == PRESENT
        keep = [entry.name for entry in entries]
        owner = _account(row.get("owner"))
        owners.append({"organization": name, "client_id": "", "client_secret": "", **owner})
        found = _calls(name, owner, entries, purge=purged)
        calls += [call.as_dict(purge=purged, keep=keep) for call in found]
    return {"calls": calls, "owners": owners, "problems": problems}


def _calls(name: str, owner: dict[str, str], entries: t.Sequence[_Entry], *, purge: bool) -> list[Call]:
    """One call an account and state: revocations first, since they free names and seats, and the owner's first."""
    calls: dict[tuple[str, bool, bool, str], Call] = {}
    if purge:
        calls[PRESENT, False, False, owner.get("client_id", "")] = Call(name, owner, True, PRESENT, False)
    for entry in entries:
        account = entry.account or owner
        theirs = account.get("client_id", "") != owner.get("client_id", "")
        key = (entry.state, theirs, entry.unseen, account.get("client_id", ""))
        call = calls.setdefault(key, Call(name, account, not theirs, entry.state, entry.unseen))
        call.sponsorships.append(entry.as_option())
    return [calls[key] for key in sorted(calls, key=lambda key: key[:3])]


def _problems(entries: t.Sequence[_Entry]) -> t.Iterator[str]:
    for number, entry in enumerate(entries, 1):
        if not entry.name:
            yield f"sponsorship number {number} has neither email nor friendly_name"
        elif entry.state not in {PRESENT, ABSENT}:
            yield f"the state of {entry.name} is neither {PRESENT} nor {ABSENT}"
        elif entry.state == PRESENT and not entry.email:
            yield f"{entry.name} has no email"
        elif entry.account and not (entry.account.get("client_id") and entry.account.get("client_secret")):
            yield f"the account of {entry.name} has no client_id or no client_secret"
    wanted = [entry for entry in entries if entry.state == PRESENT]
    for name in _repeated(entry.name for entry in entries):
        yield f"the name {name} is there more than once"
    for email in _repeated(entry.email for entry in wanted):
        yield f"{email} is to get more than one sponsorship"
    for account in _repeated(entry.account.get("client_id", "the owner") for entry in wanted):
        names = [one.name for one in wanted if one.account.get("client_id", "the owner").casefold() == account]
        yield f"{' and '.join(names)} have the same account ({account}), and {_ONE_EACH}"


def _repeated(texts: t.Iterable[str]) -> list[str]:
    folded = [text.casefold() for text in texts if text]
    return sorted({text for text in folded if folded.count(text) > 1})


def _rows(value: t.Any) -> list[t.Mapping[str, t.Any]]:
    return [row for row in value or [] if isinstance(row, t.Mapping)]


def _account(value: t.Any) -> dict[str, str]:
    given = value if isinstance(value, t.Mapping) else {}
    return {key: _text(given.get(key)) for key in ("client_id", "client_secret") if _text(given.get(key))}


def _switch(value: t.Any) -> bool:
    """A role's list is not converted by its argument specs."""
    return bool(boolean(value or False, strict=False))


def _text(value: t.Any) -> str:
    return "" if value is None else str(value).strip()
