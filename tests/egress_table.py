"""The table of docs/egress.md: which backend opens which path in which version of IP, seen by real connects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bwlab.egress.world import World

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "egress.md"
BEGIN, END = "<!-- cells -->", "<!-- /cells -->"
BACKENDS = ("firewalld", "ufw", "nftables", "iptables", "none")
PATHS = ("host", "containers", "setup", "internal")
VERSIONS = (4, 6)
CELLS = tuple((path, version) for path in PATHS for version in VERSIONS)
OPENED, NO_ROUTE, TOLD = "opened", "no route", "told"
# What is asked at each path: an address of api, one of identity, and one that nobody lists.
PLACES = (0x10, 0x12, 0x40)
LEGEND = f"""- **{OPENED}**: before, the owner's firewall let nothing out; after it, api and identity answer from there,
  and a host that nobody listed still does not.
- **{NO_ROUTE}**: nothing answers before and after it. Docker gives a network with `internal: true` no way out that a
  firewall could open.
- **{TOLD}**: nothing is changed on the server, and everything is as closed as before; what to open is in the list for
  the network team."""
Row = dict[tuple[str, int], str]
Look = dict[tuple[str, int], tuple[str, ...]]


def look(world: World, host: str) -> Look:
    """What real TCP connects meet from every path; by address, since an internal network has no names either."""
    from bwlab.egress import names  # noqa: PLC0415 - its folder is on the path in tests alone

    found = {}
    for path in PATHS:
        places = [names.addresses(last)[VERSIONS.index(version)] for version in VERSIONS for last in PLACES]
        told = iter(world.reach(host, path, [(address, 443, None) for address in places]))
        found.update({(path, version): tuple(next(told) for _place in PLACES) for version in VERSIONS})
    return found


def row(backend: str, before: Look, after: Look) -> Row:
    """Anything that the legend does not know is written as it was seen."""
    closed = ("closed",) * len(PLACES)
    opened = ("open", "open", "closed")
    found = {}
    for path, version in CELLS:
        seen = before[path, version], after[path, version]
        word = {(closed, opened): OPENED, (closed, closed): TOLD if backend == "none" else "closed"}.get(seen)
        if path == "internal" and word in {"closed", TOLD}:
            word = NO_ROUTE
        found[path, version] = word or " → ".join("/".join(words) for words in seen)
    return found


def render(rows: Mapping[str, Row]) -> str:
    heads = ["backend", *(f"{path}, IPv{version}" for path, version in CELLS)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name in (one for one in BACKENDS if one in rows):
        lines.append("| " + " | ".join([f"`{name}`", *(rows[name][cell] for cell in CELLS)]) + " |")
    return "\n".join([*lines, "", LEGEND])


def committed(file: Path = FILE) -> dict[str, Row]:
    part = file.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    found = {}
    for line in part.splitlines():
        name, *words = [cell.strip(" `") for cell in line.strip("|").split("|")]
        if name in BACKENDS:
            found[name] = dict(zip(CELLS, words, strict=True))
    return found


def write(rows: Mapping[str, Row], file: Path = FILE) -> None:
    before, rest = file.read_text(encoding="utf-8").split(BEGIN)
    file.write_text(f"{before}{BEGIN}\n\n{render(rows)}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
