# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at a container that is about to be made: gives it the lab's folders, and lets it fail where a fault says so.

The folders are added here so that nothing is mounted inside bwdata itself. What a stand-in is, its command and its
mounts tell. Python 3.9, standard library only.
"""

import json
import os
import sqlite3
import sys
from contextlib import closing
from typing import Any

SHARED = "/var/lib/bwlab/shared"
INFO = "/var/lib/bwlab/host/info.json"
CORE, LITE = "/etc/bitwarden/core", "/etc/bitwarden"
MODULE = "bwlab.inside"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
Json = dict[str, Any]
FRONT = ("nginx", "lite")
FAILS = ["/bin/sh", "-c", "echo 'the lab lets this container end' >&2; exit 1"]
SLEEPS = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"]


class Refused(Exception):
    """The container is not made."""


class Faults:
    """Those that are set for this host; a count goes down as everywhere in the lab."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.path = SHARED + "/lab.sqlite"

    def take(self, name: str, fits: object = None) -> bool:
        with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as database:
            sql = "SELECT n, options, count_left FROM fault WHERE name = ? ORDER BY n"
            for number, text, left in database.execute(sql, (name,)).fetchall():
                options = json.loads(text)
                if left == 0 or options.get("server", self.server) != self.server:
                    continue
                if callable(fits) and not fits(options):
                    continue
                database.execute("UPDATE fault SET count_left = count_left - 1 WHERE n = ?", (number,))
                return True
        return False

    def release(self) -> str:
        with closing(sqlite3.connect(self.path, timeout=30)) as database:
            row = database.execute("SELECT version FROM release").fetchone()
        return str(row[0]) if row else ""


def bundle(arguments: list[str]) -> str:
    for index, word in enumerate(arguments):
        if word in ("--bundle", "-b"):
            return arguments[index + 1]
        if word.startswith("--bundle="):
            return word.partition("=")[2]
    return os.getcwd()


def service_of(words: list[str]) -> str:
    """`python3 -m bwlab.inside api` is api."""
    return words[words.index(MODULE) + 1] if MODULE in words[:-1] else ""


def strike(config: Json, service: str, server: str) -> None:
    faults = Faults(server)
    environment = dict(pair.partition("=")[::2] for pair in config["process"]["env"])
    if service in FRONT and faults.take("compose_up_fails"):
        raise Refused("driver failed programming external connectivity on endpoint bitwarden-" + service)
    if service == "setup":
        if "-printenv" in config["process"]["args"] and faults.take("script_fails_after_up"):
            raise Refused("the lab lets Setup's last call fail")
        return

    def has(options: Json) -> bool:
        key = options.get("key", "")
        return key in environment and options.get("value", environment[key]) == environment[key]

    def is_meant(options: Json) -> bool:
        return options.get("service", "api") in (service, "bitwarden")

    if faults.take("container_crashes", is_meant) or faults.take("container_crashes_with", has):
        config["process"]["args"] = FAILS
    elif environment.get("BWLAB_VERSION") == faults.release() and faults.take("release_does_not_start"):
        config["process"]["args"] = SLEEPS


def add_folders(config: Json, service: str) -> None:
    mounts = {mount["destination"]: mount.get("source", "") for mount in config.get("mounts", [])}
    # The database's container has no such mount: it has the tables, and needs to know of faults only.
    place = CORE if CORE in mounts or service == "mssql" else LITE if LITE in mounts else ""
    if not place:
        return
    wanted = {"lab": SHARED}
    if CORE in mounts:
        wanted["data"] = os.path.normpath(os.path.join(mounts[CORE], "../mssql/data"))
    for name, source in wanted.items():
        os.makedirs(source, exist_ok=True)
        mount = {"type": "bind", "source": source, "options": ["rbind", "rw", "rprivate"]}
        config["mounts"].append({"destination": place + "/.lab/" + name, **mount})


def add_authorities(config: Json) -> None:
    """The clouds' certificates are public ones in real life: an image knows them without a folder of bwdata."""
    mounts = config.get("mounts", [])
    ours = any(pair.startswith("BWLAB_VERSION=") for pair in config["process"]["env"])
    if ours and not any(mount["destination"].startswith(LITE) for mount in mounts):
        mounts.append({"destination": AUTHORITIES, "type": "bind", "source": AUTHORITIES, "options": ["bind", "ro"]})


def prepare(config: Json, service: str) -> bool:
    with open(INFO, encoding="utf-8") as file:
        info = json.load(file)
    try:
        strike(config, service, info["BWLAB_SERVER"])
    except Refused as refusal:
        sys.stderr.write("lab-runc: " + str(refusal) + "\n")
        return False
    add_folders(config, service)
    config["process"]["env"] += [key + "=" + info[key] for key in ("BWLAB_SERVER", "BWLAB_URL")]
    return True


def main() -> int:
    path = os.path.join(bundle(sys.argv[1:]), "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    add_authorities(config)
    service = service_of(config["process"]["args"])
    if service and not prepare(config, service):
        return 1
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)
    return 0


sys.exit(main())
