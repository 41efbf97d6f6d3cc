# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Closes a host in the way of its firewall, as a company's administrator does: by files that a reboot reads again."""

from __future__ import annotations

from pathlib import Path

from bwlab.egress.world import World

SCRIPTS = Path(__file__).resolve().parent / "closings"


def close(world: World, host: str, backend: str | None = None) -> None:
    """ssh and the company's name server stay reachable; no path leads to anywhere else."""
    script = SCRIPTS / f"{backend or host}.sh"
    four, _six = world.outer.internet()
    world.sh(host, f"export RESOLVER={four}; sh -es", data=script.read_text(encoding="utf-8"))
