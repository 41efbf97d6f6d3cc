"""The registry as a host's Docker meets it: slow, silent, without an image, or not to be reached."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bwlab.host.engine import Engine

DOCKER_HUB = "registry-1.docker.io"
# How a registry can be out of reach, in the words of Docker's daemon.
REASONS = {
    "dns": 'Get "https://{0}/v2/": dial tcp: lookup {0}: Temporary failure in name resolution',
    "refused": 'Get "https://{0}/v2/": dial tcp 192.0.2.1:443: connect: connection refused',
    "timeout": (
        'Get "https://{0}/v2/": net/http: request canceled while waiting for connection '
        "(Client.Timeout exceeded while awaiting headers)"
    ),
    "tls": 'Get "https://{0}/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority',
    "denied": 'Head "https://{0}/v2/{1}": denied: denied',
    "limit": "toomanyrequests: retry-after: 612.145µs, allowed: 44000/minute",
}
NO_SPACE = "failed to register layer: write /var/lib/docker/tmp/GetImageBlob612: no space left on device"


def host_of(image: str) -> str:
    first = image.partition("/")[0]
    return first if "." in first else DOCKER_HUB


def wait(engine: Engine, images: list[str]) -> None:
    """A slow registry; the pulls of one command go on at the same time."""
    waits = [fault.number("seconds", 0) for image in images if (fault := engine.fault("registry_slow", image=image))]
    time.sleep(max(waits, default=0))


def refusal(engine: Engine, image: str) -> str | None:
    """Why an image cannot be had, if so."""
    down = engine.fault("registry_down", image=image)
    if down is None and not any(row["service"] and engine.lives(row) for row in engine.containers()):
        down = engine.fault("registry_down_after_stop", image=image)
    if down is not None:
        name = image.partition("/")[2].rpartition(":")
        reason = REASONS[down.options.get("how", "dns")]
        return reason.format(host_of(image), f"{name[0]}/manifests/{name[2]}")
    if engine.fault("image_missing", image=image):
        return "manifest unknown"
    if image not in engine.images() and engine.full_disk("docker"):
        return NO_SPACE
    return None
