"""Installs pip from the interpreter's own bundle, then whatever was asked for: what ansible-test wants from get-pip."""

from __future__ import annotations

import subprocess
import sys


def main() -> int:
    """Return pip's exit status."""
    subprocess.check_call([sys.executable, "-m", "ensurepip", "--upgrade"], stdout=subprocess.DEVNULL)
    wanted = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
    return subprocess.call([sys.executable, "-m", "pip", "install", *wanted])


if __name__ == "__main__":
    sys.exit(main())
