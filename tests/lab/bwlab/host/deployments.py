"""The other ways to deploy Bitwarden: by hand with compose (manual), and Lite, with compose or with `docker run`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bwlab.host import detached, options
from bwlab.host.engine import REGISTRY, Engine
from bwlab.labdb import FIRST_RELEASE

if TYPE_CHECKING:
    from bwlab.host.install import Host

KINDS = ("standard", "manual", "lite", "lite-run")
CONTAINER = "bitwarden"
IMAGE = f"{REGISTRY}lite:{FIRST_RELEASE}"
VOLUMES = ("bitwarden", "logs")

SETTINGS = """\
#####################
# Required settings #
#####################

# Name of the server, as browsers have it
BW_DOMAIN={domain}

# Database
BW_DB_PROVIDER=sqlite
BW_DB_FILE=/etc/bitwarden/vault.db

# Installation, from https://bitwarden.com/host
BW_INSTALLATION_ID={identity}
BW_INSTALLATION_KEY={key}

#####################
# Optional settings #
#####################

# Certificate
BW_ENABLE_SSL=true
#BW_SSL_CERT=ssl.crt

# Services
#BW_ENABLE_SCIM=false

# Mail
#globalSettings__mail__replyToEmail=noreply@{domain}
globalSettings__disableUserRegistration=false
"""

COMPOSE = """\
---
services:
  bitwarden:
    env_file:
      - settings.env
    image: ${{REGISTRY:-ghcr.io/bitwarden}}/lite:${{TAG:-{version}}}
    restart: always
    ports:
      - "{port}:8443"
    volumes:
      - bitwarden:/etc/bitwarden
      - logs:/var/log/bitwarden

volumes:
  bitwarden:
  logs:
"""


def make_manual(host: Host) -> None:
    """What a stub leaves behind that somebody has unpacked and filled in: no script of Bitwarden's is there."""
    (host.directory / "bitwarden.sh").unlink()
    shutil.rmtree(host.bwdata / "scripts")
    (host.bwdata / "env" / "uid.env").write_text("")


def lay_out_lite(host: Host, url: str, installation: tuple[str, str], *, compose: bool) -> list[Path]:
    """settings.env, and the compose file where there is one."""
    host.directory.mkdir(parents=True)
    host.directory.chmod(0o700)
    for name in VOLUMES:
        (host.home / "volumes" / name).mkdir(parents=True)
    parts = urlsplit(url)
    settings = host.directory / "settings.env"
    settings.touch(mode=0o600)
    settings.write_text(SETTINGS.format(domain=parts.netloc, identity=installation[0], key=installation[1]))
    if not compose:
        return []
    file = host.directory / "docker-compose.yml"
    file.write_text(COMPOSE.format(version=FIRST_RELEASE, port=parts.port or 443))
    return [file]


def run_lite(engine: Engine, host: Host, url: str) -> None:
    """The documented form of `docker run`."""
    words = [
        "-d", "--name", CONTAINER, "--restart", "always", "-v", "bitwarden:/etc/bitwarden", "-p",
        f"{urlsplit(url).port or 443}:8443", "--env-file", str(host.directory / "settings.env"), IMAGE,
    ]  # fmt: skip
    chosen = options.parse(words, detached.VALUES, flags=detached.FLAGS, mixed=False)
    image = chosen.rest[0]
    row = engine.row(CONTAINER, image, detached.environment(chosen), **detached.more(chosen, image))
    engine.db.put_container(engine.host, row)
