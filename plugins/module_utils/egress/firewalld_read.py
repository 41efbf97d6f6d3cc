# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What firewalld has loaded and what it has written down, and how the two differ."""

from __future__ import annotations

from .model import EgressError, Run

COMMAND = "firewall-cmd"
PERMANENT = "--permanent"
Block = dict[str, list[str]]
# A reload keeps what is bound to a zone, and Docker and NetworkManager bind at runtime only.
_KEPT = ("interfaces", "icmp-block-inversion")
_DIRECT = ("chains", "rules", "passthroughs")
_FILTERED = ("OUTPUT", "FORWARD", "DOCKER-USER")


def ask(run: Run, *words: str) -> str:
    """The answer of firewalld."""
    status, output, error = run([COMMAND, *words])
    if status != 0:
        raise EgressError(
            f"`{COMMAND} {' '.join(words)[:200]}` failed: {(error or output).strip()[-500:]}",
            next_step="Look what `journalctl -u firewalld` says.",
        )
    return output


def running(run: Run) -> bool:
    """Whether firewalld is up."""
    return run([COMMAND, "--state"])[0] == 0


def blocks(text: str) -> dict[str, Block]:
    """Zones, policies or ipsets as they are listed, each with its settings."""
    found: dict[str, Block] = {}
    block: Block = {}
    values: list[str] = []
    for line in text.splitlines():
        if line.startswith("\t"):
            values.append(line.strip())
        elif line.startswith(" "):
            key, _colon, value = line.strip().partition(":")
            values = [value.strip()] if value.strip() else []
            block[key] = values
        elif line.strip():
            block = {}
            found[line.partition(" (")[0].strip()] = block
    return found


def policies(run: Run, *where: str) -> dict[str, Block]:
    """All policies; those that nothing is in any more do not count."""
    return _used(ask(run, *where, "--list-all-policies"))


def loaded(run: Run) -> dict[str, Block] | None:
    """The policies at runtime; None where firewalld does not run, or knows no policies."""
    status, output, _error = run([COMMAND, "--list-all-policies"])
    return _used(output) if status == 0 else None


def _used(text: str) -> dict[str, Block]:
    found = blocks(text)
    return {name: block for name, block in found.items() if block.get("ingress-zones") or block.get("rich rules")}


def differences(run: Run, ours: tuple[str, ...]) -> list[str]:
    """What other people changed in one of the two only: a reload would lose it, or bring it into force."""
    found: list[str] = []
    for kind, option in (("zone", "--list-all-zones"), ("policy", "--list-all-policies")):
        now, written = (blocks(ask(run, *where, option)) for where in ((), (PERMANENT,)))
        for name in sorted({*now, *written}.difference(ours)):
            found += _differences(f"{kind} {name}", now.get(name), written.get(name))
    for what in _DIRECT:
        lines = [ask(run, *where, "--direct", f"--get-all-{what}") for where in ((), (PERMANENT,))]
        found += _compare("direct configuration", what, *(line.splitlines() for line in lines))
    return found + _sets(run)


def _sets(run: Run) -> list[str]:
    now, written = (ask(run, *where, "--get-ipsets").split() for where in ((), (PERMANENT,)))
    found = _compare("ipsets", "names", now, written)
    for name in sorted(set(now) & set(written)):
        both = [blocks(ask(run, *where, f"--info-ipset={name}")).get(name) for where in ((), (PERMANENT,))]
        found += _differences(f"ipset {name}", both[0], both[1])
    return found


def _differences(what: str, now: Block | None, written: Block | None) -> list[str]:
    if now is None or written is None:
        return [f"{what} (only {'on disk' if now is None else 'at runtime'})"]
    found: list[str] = []
    for key in sorted({*now, *written}.difference(_KEPT)):
        found += _compare(what, key, now.get(key, []), written.get(key, []))
    return found


def _compare(what: str, key: str, now: list[str], written: list[str]) -> list[str]:
    """Values of one line are a list of words, of which the order says nothing."""
    if key not in ("rich rules", "rules", "chains", "passthroughs", "entries"):
        now, written = ([word for line in lines for word in line.split()] for lines in (now, written))
    sides = (("only at runtime", set(now) - set(written)), ("only on disk", set(written) - set(now)))
    return [f"{what}, {key}: {', '.join(sorted(values))} ({side})" for side, values in sides if values]


def direct_drops(run: Run) -> list[str]:
    """Direct rules that drop on their own: they lie in tables of iptables, where no policy of firewalld reaches."""
    lines = [
        line for what in ("rules", "passthroughs") for line in ask(run, "--direct", f"--get-all-{what}").splitlines()
    ]
    return [
        line
        for line in lines
        if any(chain in line.split() for chain in _FILTERED) and {"DROP", "REJECT"} & set(line.split())
    ]
