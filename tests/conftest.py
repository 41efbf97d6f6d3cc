"""Makes the collection and the lab importable, whatever folder the checkout lies in."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

for folder in (ROOT / ".cache", ROOT / "tests" / "lab", ROOT / "tests"):
    sys.path.insert(0, str(folder))

# Under nohup it would be ignored, and so by everything that the tests start and hang up on.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
