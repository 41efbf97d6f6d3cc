# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The two root file systems, built once by mmdebstrap and kept in the project's .cache, under a hash of the recipe."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bwlab.docker import needs
from bwlab.inside import images

PROJECT = Path(__file__).resolve().parents[4]
CACHE = PROJECT / ".cache" / "docker-lab"
FILES = Path(__file__).resolve().parent / "files"
REQUIREMENTS = PROJECT / "tests" / "requirements" / "lab.txt"
OLD_SECONDS = 86400
UNWANTED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
SITE = f"usr/local/lib/python{images.PYTHON_VERSION}/dist-packages"


@dataclass(frozen=True)
class Recipe:
    """`inside` are commands that run in the new system."""

    name: str
    suite: str
    packages: tuple[str, ...]
    inside: tuple[str, ...] = ()

    def key(self, extra: bytes) -> str:
        text = repr((self, UNWANTED, platform.machine())).encode()
        return hashlib.sha256(text + extra).hexdigest()[:16]


HOST = Recipe(
    "host",
    "bullseye",
    (
        "systemd", "systemd-sysv", "dbus", "python3", "docker.io", "iptables", "openssh-server", "sudo",
        "iproute2", "procps", "curl", "ca-certificates", "openssl",
    ),
    (
        "groupadd --gid 1500 bitwarden",
        "useradd --uid 1500 --gid 1500 --groups docker --create-home --shell /bin/bash bitwarden",
        "mkdir -p /opt/bitwarden",
        "chown bitwarden:bitwarden /opt/bitwarden",
        "chmod 0700 /opt/bitwarden",
        "chmod 0440 /etc/sudoers.d/bitwarden",
        "rm -f /etc/ssh/ssh_host_*",
        "systemctl mask getty.target console-getty.service systemd-logind.service systemd-journal-flush.service",
        "systemctl enable lab-boot.service ssh.service docker.service",
    ),
)  # fmt: skip
SERVICE = Recipe("service", images.SUITE, images.PACKAGES, ("ln -sf /bin/busybox /usr/local/bin/wget",))


def host_tar() -> Path:
    """A machine with systemd, an engine and compose, to which a controller logs in by ssh."""
    compose = _compose_program()
    tree = sorted(path for path in (FILES / "host").rglob("*") if path.is_file())
    extra = (
        b"".join(bytes(path.relative_to(FILES)) + path.read_bytes() for path in tree)
        + hashlib.sha256(compose.read_bytes()).digest()
    )

    def copy(root: Path) -> None:
        for path in tree:
            target = root / path.relative_to(FILES / "host")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            target.chmod(0o755 if path.read_bytes().startswith(b"#!") else 0o644)
        plugins = root / "usr/libexec/docker/cli-plugins"
        plugins.mkdir(parents=True)
        shutil.copyfile(compose, plugins / "docker-compose")
        (plugins / "docker-compose").chmod(0o755)

    return cached(HOST, extra, copy)


def service_tar() -> Path:
    """What all images of ghcr.io/bitwarden have in common, but for the lab's own code."""
    extra = REQUIREMENTS.read_bytes() + images.PYTHON_VERSION.encode()

    def copy(root: Path) -> None:
        target = root / SITE
        target.mkdir(parents=True)
        machine = platform.machine()
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(target)]
        command += ["--python-version", images.PYTHON_VERSION, "--implementation", "cp", "--only-binary", ":all:"]
        command += [word for tag in ("2014", "_2_28") for word in ("--platform", _platform(tag, machine))]
        _run([*command, "-r", str(REQUIREMENTS)], "pip could not get the lab's libraries for the service images")

    return cached(SERVICE, extra, copy)


def _platform(tag: str, machine: str) -> str:
    return f"manylinux{tag}_{machine}"


def _compose_program() -> Path:
    """The real Compose, as PyPI has it: a static program in the virtual environment."""
    found = Path(sys.executable).parent / "docker-compose"
    if not found.is_file():
        raise needs.NotReady("the virtual environment has no docker-compose; make it anew with: make setup")
    return found


def cached(recipe: Recipe, extra: bytes, copy: Callable[[Path], None]) -> Path:
    """`copy` fills a tree that goes over the packages' files; `extra` is all that it depends on."""
    CACHE.mkdir(parents=True, exist_ok=True)
    wanted = CACHE / f"{recipe.name}-{recipe.key(extra)}.tar"
    with alone(recipe.name):
        if not wanted.is_file():
            _build(recipe, wanted, copy)
            for old in CACHE.glob(f"{recipe.name}-*.tar"):
                # A younger one may be another lab's that is just being made.
                if old != wanted and time.time() - old.stat().st_mtime > OLD_SECONDS:
                    old.unlink()
    return wanted


@contextmanager
def alone(name: str, folder: Path = CACHE) -> Iterator[None]:
    """Two labs that start at once do this one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(recipe: Recipe, wanted: Path, copy: Callable[[Path], None]) -> None:
    print(f"lab: building the {recipe.name} image once, half a minute", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        copy(tree)
        made = Path(folder) / "made.tar"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(recipe.packages)}"]
        command += [f"--dpkgopt=path-exclude={pattern}" for pattern in UNWANTED]
        command += [f'--customize-hook=cp -dR --no-preserve=ownership {tree}/. "$1"']
        command += [f'--customize-hook=chroot "$1" {line}' for line in recipe.inside]
        _run([*command, recipe.suite, str(made)], f"mmdebstrap could not build the {recipe.name} image")
        made.replace(wanted)


def _run(command: list[str], problem: str) -> None:
    environment = {**os.environ, "PATH": needs.path()}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise needs.NotReady(f"{problem}:\n{done.stderr.strip()[-2000:]}")
