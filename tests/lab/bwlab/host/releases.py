"""What Bitwarden publishes: its scripts and images, up to the release that the lab is set to."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from bwlab.labdb import FIRST_RELEASE, LabDb

SCRIPTS = Path(__file__).resolve().parent / "scripts"
# As in real life web and key connector have versions of their own.
FIRST_VERSIONS = {"core": FIRST_RELEASE, "web": "2026.7.1", "key_connector": "2026.7.0"}
NOT_RESOLVED = 6


def numbers(version: str) -> tuple[int, ...] | None:
    """A calendar version to compare by; None for latest, beta and the like."""
    return tuple(map(int, version.split("."))) if re.fullmatch(r"\d+(\.\d+)*", version) else None


def versions(release: str) -> dict[str, str]:
    if release == FIRST_RELEASE:
        return FIRST_VERSIONS
    return {"core": release, "web": release, "key_connector": release}


def script(name: str, release: str) -> str:
    """bitwarden.sh or run.sh of a release."""
    text = (SCRIPTS / name).read_text(encoding="utf-8")
    for variable, part in (("COREVERSION", "core"), ("WEBVERSION", "web"), ("KEYCONNECTORVERSION", "key_connector")):
        text = re.sub(rf'(?m)^{variable}="\d[^"]*"$', f'{variable}="{versions(release)[part]}"', text)
    return text


def is_published(tag: str, release: str) -> bool:
    wanted, newest = numbers(tag), numbers(release)
    return wanted is None or newest is None or wanted <= newest


def main(arguments: list[str]) -> int:
    """For the host's curl: LAB HOST SCRIPT; writes the script to standard output and its HTTP status to the last file.

    The exit status is curl's.
    """
    directory, host, name, status_file = arguments
    database = LabDb(Path(directory) / "lab.sqlite")
    try:
        fault = database.take_fault("release_download_fails", server=host)
        if fault is not None and fault.options.get("how") == "dns":
            print("curl: (6) Could not resolve host: func.bitwarden.com", file=sys.stderr)
            return NOT_RESOLVED
        status = "200" if fault is None else fault.options.get("status", "503")
        Path(status_file).write_text(status, encoding="utf-8")
        sys.stdout.write(script(name, database.release()) if fault is None else "The service is unavailable.\n")
        return 0
    finally:
        database.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
