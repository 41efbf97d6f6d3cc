"""Facts of a docker-compose.yml, in the form of layout.json."""

from __future__ import annotations

import posixpath
from typing import Any

import yaml

VERSIONS = {"2026.7.2": "corev", "2026.7.1": "webv", "2026.7.0": "keyconnectorv"}


def _inside(path: str) -> str:
    """A path relative to bwdata, from one relative to its folder docker."""
    return posixpath.normpath(posixpath.join("docker", path))


def _volume(text: str) -> dict[str, str]:
    host, container = text.rsplit(":", 1)
    return {"host": _inside(host) if host.startswith(".") else f"volume:{host}", "container": container}


def _port(text: str) -> dict[str, str]:
    host, container = text.rsplit(":", 1)
    return {"host": host, "container": container}


def _service(raw: dict[str, Any]) -> dict[str, Any]:
    image, tag = raw["image"].rsplit(":", 1)
    return {
        "image": image,
        "tag": VERSIONS.get(tag, tag),
        "container_name": raw["container_name"],
        "restart": raw["restart"],
        "stop_grace_period": raw.get("stop_grace_period"),
        "env_file": [_inside(path) for path in raw["env_file"]],
        "volumes": [_volume(text) for text in raw["volumes"]],
        "networks": raw.get("networks", ["default"]),
        "networks_written": "networks" in raw,
        "ports": [_port(text) for text in raw.get("ports", [])],
        "depends_on": raw.get("depends_on", []),
    }


def compose_facts(text: str) -> dict[str, Any]:
    document = yaml.safe_load(text)
    services = {name: _service(raw) for name, raw in document["services"].items()}
    readers: dict[str, list[str]] = {}
    for name, service in services.items():
        for path in service["env_file"]:
            readers.setdefault(path, []).append(name)
    return {
        "top_level_keys": list(document),
        "has_name_key": "name" in document,
        "service_order": list(services),
        "services": services,
        "networks": document["networks"],
        "volumes": document.get("volumes"),
        "who_reads": readers,
        "only_internal_network": [name for name, service in services.items() if service["networks"] == ["default"]],
        "raw_services": document["services"],
    }
