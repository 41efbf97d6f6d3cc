# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The images of ghcr.io/bitwarden: one root file system for all, the lab's code over it, a configuration for each."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import tarfile
from functools import cached_property
from pathlib import Path
from typing import Any

from bwlab.inside.images import CODE, IMAGES

PACKAGE = Path(__file__).resolve().parents[1]
SUFFIXES = (".py", ".json", ".pem", ".j2", ".sh", ".conf", ".html", ".in")
REPOSITORY = "bitwarden/"
# Every version that a script can ask for is there.
VERSION = re.compile(r"^20\d\d\.\d{1,2}\.\d{1,3}$")
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SECOND = 1_000_000_000
CREATED = "2026-07-20T00:00:00Z"


def write_code(target: Path) -> None:
    """The lab's own package as a layer; the same code gives the same bytes."""
    files = [path for path in sorted(PACKAGE.rglob("*")) if path.is_file() and path.suffix in SUFFIXES]
    with tarfile.open(target, "w") as tar:
        for path in files:
            if "__pycache__" in path.parts:
                continue
            data = path.read_bytes()
            info = tarfile.TarInfo(f"{CODE.lstrip('/')}/bwlab/{path.relative_to(PACKAGE)}")
            info.size, info.mode = len(data), 0o755 if data.startswith(b"#!") else 0o644
            tar.addfile(info, io.BytesIO(data))


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


class Images:
    """Manifests and blobs by name; `newest` stands for the tag latest."""

    def __init__(self, layers: list[Path]) -> None:
        self.files = layers
        self.small: dict[str, bytes] = {}

    @cached_property
    def layers(self) -> dict[str, Path]:
        """Big files are read once: when the first image is asked for."""
        return {_file_digest(path): path for path in self.files}

    def knows(self, repository: str) -> bool:
        return repository.removeprefix(REPOSITORY) in IMAGES and repository.startswith(REPOSITORY)

    def manifest(self, repository: str, reference: str, newest: str) -> bytes | None:
        if not self.knows(repository):
            return None
        if reference.startswith("sha256:"):
            return self.small.get(reference)
        version = newest if reference == "latest" else reference
        if not VERSION.match(version):
            return None
        config = json.dumps(self._config(repository.removeprefix(REPOSITORY), version), sort_keys=True).encode()
        layers = [
            {"mediaType": LAYER_TYPE, "size": path.stat().st_size, "digest": digest}
            for digest, path in self.layers.items()
        ]
        described = {"mediaType": CONFIG_TYPE, "size": len(config), "digest": self._keep(config)}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": described, "layers": layers}
        data = json.dumps(manifest, sort_keys=True).encode()
        self._keep(data)
        return data

    def _keep(self, data: bytes) -> str:
        digest = digest_of(data)
        self.small[digest] = data
        return digest

    def _config(self, name: str, version: str) -> dict[str, Any]:
        spec = IMAGES[name]
        config: dict[str, Any] = {
            "Entrypoint": spec.entrypoint,
            "Cmd": spec.cmd or None,
            "Env": [f"{key}={value}" for key, value in {**spec.env, "BWLAB_VERSION": version}.items()],
            "Labels": spec.labels,
            "ExposedPorts": {f"{port}/tcp": {} for port in spec.ports},
            "WorkingDir": "/",
        }
        if spec.healthcheck is not None:
            config["Healthcheck"] = {
                "Test": spec.healthcheck,
                "Interval": spec.interval_s * SECOND,
                "StartPeriod": spec.start_period_s * SECOND,
            }
        return {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": CREATED,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": list(self.layers)},
            "history": [{"created": CREATED, "created_by": "lab"} for _unused in self.layers],
        }
