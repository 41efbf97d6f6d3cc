"""A stand-in for Bitwarden's Setup program: `-install`, `-update` and `-printenv` over a bwdata folder."""

from __future__ import annotations

from bwlab.host.setup.program import Setup, run
from bwlab.host.setup.tree import Tree

__all__ = ["Setup", "Tree", "run"]
