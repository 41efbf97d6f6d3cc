# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""firewalld: policies of our own, which are asked before all others."""

from __future__ import annotations

import ipaddress
import os
import typing as t

from . import firewalld_read as read
from .firewalld_read import PERMANENT, Block
from .model import CONTAINERS, DEFAULT_BRIDGE, HOST, SETUP, Backend, EgressError, Opening, Wanted

# A name of a policy has 17 characters at most, so the usual prefix has no room.
OUT, DOCKER, SOURCE = "bw-egress-host", "bw-egress-docker", "bw-egress-source"
OURS = (OUT, DOCKER, SOURCE)
INGRESS = {OUT: "HOST", DOCKER: "docker", SOURCE: "ANY"}
FOLDER = "/etc/firewalld/policies"
FIRST = "-32768"
Rules = dict[str, set[str]]


class Firewalld(Backend):
    """Rich rules for each address: unlike ipsets they change at runtime in all versions that have policies."""

    name = "firewalld"
    durable = True
    folder = FOLDER

    def active(self) -> bool:
        """Whether it runs."""
        return read.running(self.run)

    def refusals(self, wanted: Wanted) -> list[str]:
        """Switches that one zone cannot tell apart, what is stronger than a policy, and a reload that would harm."""
        loaded = read.loaded(self.run)
        if loaded is None and not read.running(self.run):
            return [
                "firewalld is not running, and what it would do with a change cannot be proven. "
                "Next step: `systemctl start firewalld`, or choose another backend."
            ]
        if loaded is None:
            return ["This firewalld has no policies. Next step: update it to 0.9 or later, or use backend nftables."]
        found = [*self._zones(wanted), *self._stronger(wanted, loaded)]
        return found or self._reload_refusals(self._needed(wanted))

    def plan(self, openings: t.Sequence[Opening]) -> str:
        """The policies with their rules."""
        return _text(self._rules(openings))

    def current(self) -> str:
        """The policies, and where they are not the same at runtime and on disk, which is which."""
        # Every question costs a second of a small server, and the timer asks this again and again.
        found = read.loaded(self.run)
        if found is None:
            files = [] if read.running(self.run) else self._files()
            return "".join(f"{name} on disk, firewalld is not running\n" for name in files)
        loaded, written = _shown(found), _shown(read.policies(self.run, PERMANENT))
        if loaded == written:
            return loaded
        parts = (("runtime", loaded), ("permanent", written))
        return "".join(f"{where} {line}\n" for where, text in parts for line in text.splitlines())

    def apply(self, openings: t.Sequence[Opening]) -> None:
        """New rules come before old ones go; only a policy that is new, or goes, needs a reload."""
        self._check_running()
        rules = self._rules(openings)
        made = self._incomplete(rules)
        gone = [name for name in self._present() if name not in rules]
        if made:
            self._check_reload(made)
            self._make({name: rules[name] for name in made})
        self._delete(gone)
        if made or gone:
            self._reload(gone)
        self._fill(rules)

    def remove(self) -> None:
        """The policies, and the copies that firewalld makes of files that it deletes."""
        if not read.running(self.run) and not self._files():
            return
        self._check_running()
        gone = self._present()
        self._delete(gone)
        if gone:
            self._reload(gone)

    def _rules(self, openings: t.Sequence[Opening]) -> Rules:
        """By policy. Where all of zone docker is not meant, the networks behind the bridges say what is."""
        whole = any(one.path == CONTAINERS and not one.source for one in openings)
        found: Rules = {}
        for one in openings:
            if one.path == HOST:
                found.setdefault(OUT, set()).add(_rule(one, None))
            elif one.source or (one.path == SETUP and not whole):
                for source in [one.source] if one.source else self._bridge_networks(one.version):
                    found.setdefault(SOURCE, set()).add(_rule(one, source))
            else:
                found.setdefault(DOCKER, set()).add(_rule(one, None))
        return found

    def _bridge_networks(self, version: int) -> list[str]:
        """Networks of docker0; none where there is no docker0."""
        _status, output, _error = self.run(["ip", "-o", f"-{version}", "addr", "show", "dev", DEFAULT_BRIDGE])
        words = [line.split() for line in output.splitlines() if " scope global" in line]
        return [str(ipaddress.ip_interface(line[3]).network) for line in words]

    def _zones(self, wanted: Wanted) -> list[str]:
        found = []
        if wanted.containers and not wanted.setup and not wanted.sources:
            found.append(
                "firewalld has the networks of containers and docker0 in one zone, so containers cannot be opened "
                "without setup. Next step: give the containers' networks in sources, or switch setup on."
            )
        if wanted.containers and not wanted.sources and "docker" not in read.ask(self.run, "--get-zones").split():
            found.append(
                "firewalld has no zone docker, which Docker makes when it starts while firewalld runs. "
                "Next step: `systemctl restart docker`, or give the containers' networks in sources."
            )
        alone = wanted.setup and (wanted.sources or not wanted.containers)
        if alone and not any(map(self._bridge_networks, wanted.ip_versions)):
            found.append(
                f"{DEFAULT_BRIDGE} has no address, so it cannot be said where setup comes from. "
                "Next step: start Docker, or switch setup off."
            )
        return found

    def _stronger(self, wanted: Wanted, loaded: dict[str, Block]) -> list[str]:
        """What drops no matter what a policy of ours says."""
        found = [
            f"The direct rule of firewalld `{line}` drops by itself, ahead of every policy. "
            "Next step: have its owner make it a policy, or use backend iptables."
            for line in read.direct_drops(self.run)
        ]
        ends = (
            {"ANY"} | ({"HOST"} if wanted.host else set()) | ({"docker"} if wanted.containers | wanted.setup else set())
        )
        for name, block in loaded.items():
            zones = set(" ".join(block.get("ingress-zones", [])).split())
            if name not in OURS and block.get("priority") == [FIRST] and zones & ends and _closes(block):
                found.append(
                    f"The policy {name} has the first priority there is ({FIRST}) and closes. "
                    "Next step: have its owner give it a higher number."
                )
        if self.run([read.COMMAND, "--query-panic"])[0] == 0:
            found.append("firewalld is in panic mode. Next step: `firewall-cmd --panic-off`.")
        return found

    def _needed(self, wanted: Wanted) -> list[str]:
        whole = wanted.containers and not wanted.sources
        sourced = (wanted.containers or wanted.setup) and not whole
        return [name for name, on in ((OUT, wanted.host), (DOCKER, whole), (SOURCE, sourced)) if on]

    def _reload_refusals(self, names: t.Iterable[str]) -> list[str]:
        if not self._incomplete(names):
            return []
        different = read.differences(self.run, OURS)
        if not different:
            return []
        return [
            "A new policy needs a reload of firewalld, which would lose what is only at runtime, and bring into force "
            f"what is only on disk: {'; '.join(different)}. Next step: make both the same, with "
            "`firewall-cmd --runtime-to-permanent` or `firewall-cmd --reload`, whichever its owner wants."
        ]

    def _check_running(self) -> None:
        if not read.running(self.run):
            raise EgressError("firewalld is not running.", next_step="Start it with `systemctl start firewalld`.")

    def _check_reload(self, names: t.Iterable[str]) -> None:
        for reason in self._reload_refusals(names):
            message, _words, step = reason.partition(" Next step: ")
            raise EgressError(message, next_step=step)

    def _incomplete(self, names: t.Iterable[str]) -> list[str]:
        """Those of our policies that do not stand both at runtime and on disk as we make them."""
        both = [read.policies(self.run, *where) for where in ((), (PERMANENT,))]
        return [
            name
            for name in names
            if not all(name in found and _header(name, found[name]) == _header(name) for found in both)
        ]

    def _files(self) -> list[str]:
        return [name for name in OURS if os.path.exists(os.path.join(self.folder, f"{name}.xml"))]

    def _present(self) -> list[str]:
        loaded, written = (read.policies(self.run, *where) for where in ((), (PERMANENT,)))
        return [name for name in OURS if name in loaded or name in written or name in self._files()]

    def _make(self, rules: Rules) -> None:
        known = read.ask(self.run, PERMANENT, "--get-policies").split()
        try:
            for name, lines in rules.items():
                if name in known:
                    read.ask(self.run, PERMANENT, f"--delete-policy={name}")
                read.ask(self.run, PERMANENT, f"--new-policy={name}")
                change = (PERMANENT, f"--policy={name}")
                for option in (f"set-priority={FIRST}", f"add-ingress-zone={INGRESS[name]}", "add-egress-zone=ANY"):
                    read.ask(self.run, *change, f"--{option}")
                read.ask(self.run, *change, *_options("add", lines))
        except EgressError:
            self._delete(list(rules))
            raise

    def _delete(self, names: list[str]) -> None:
        for name in names:
            if name in read.ask(self.run, PERMANENT, "--get-policies").split():
                read.ask(self.run, PERMANENT, f"--delete-policy={name}")
            self.run(["rm", "-f", os.path.join(self.folder, f"{name}.xml.old")])

    def _reload(self, gone: list[str]) -> None:
        """Where a reload would harm, a policy that goes stays behind empty until the next one."""
        if not read.differences(self.run, OURS):
            read.ask(self.run, "--reload")
            return
        loaded = read.policies(self.run)
        for name in gone:
            if name in loaded:
                change = f"--policy={name}"
                lines = set(loaded[name].get("rich rules", []))
                if lines:
                    read.ask(self.run, change, *_options("remove", lines))
                for side in ("ingress", "egress"):
                    zones = " ".join(loaded[name].get(f"{side}-zones", [])).split()
                    for zone in zones:
                        read.ask(self.run, change, f"--remove-{side}-zone={zone}")

    def _fill(self, rules: Rules) -> None:
        places: tuple[tuple[str, ...], ...] = ((), (PERMANENT,))
        found = [{name: _lines(block) for name, block in read.policies(self.run, *where).items()} for where in places]
        for verb in ("add", "remove"):
            for where, there in zip(places, found):
                for name, lines in rules.items():
                    have = there.get(name, set())
                    change = lines - have if verb == "add" else have - lines
                    if change:
                        read.ask(self.run, *where, f"--policy={name}", *_options(verb, change))


def _options(verb: str, lines: set[str]) -> list[str]:
    return [f"--{verb}-rich-rule={line}" for line in sorted(lines)]


def _rule(one: Opening, source: str | None) -> str:
    """As firewalld writes it."""
    ends = (("source", source), ("destination", one.address))
    parts = [f'{end} address="{address}"' for end, address in ends if address]
    port = f'port port="{one.port}" protocol="{one.protocol}"'
    return " ".join([f'rule family="ipv{one.version}"', *parts, port, "accept"])


def _lines(block: Block) -> set[str]:
    return set(block.get("rich rules", []))


def _header(name: str, block: Block | None = None) -> str:
    if block is None:
        return f"policy {name} priority {FIRST} target CONTINUE from {INGRESS[name]} to ANY"
    told = {key: " ".join(value) for key, value in block.items()}
    ends = f"from {told.get('ingress-zones')} to {told.get('egress-zones')}"
    return f"policy {name} priority {told.get('priority')} target {told.get('target')} {ends}"


def _text(rules: Rules) -> str:
    return "".join(
        "".join(f"{line}\n" for line in [_header(name), *sorted(rules[name])]) for name in OURS if name in rules
    )


def _shown(found: dict[str, Block]) -> str:
    return "".join(
        "".join(f"{line}\n" for line in [_header(name, found[name]), *sorted(_lines(found[name]))])
        for name in OURS
        if name in found
    )


def _closes(block: Block) -> bool:
    words = {word for line in block.get("rich rules", []) for word in line.split()}
    return block.get("target") in (["DROP"], ["REJECT"]) or bool({"drop", "reject"} & words)
