"""The module host_info on a host of the lab: what it tells, that it tells no secrets and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.kept_host import KeptHost, kept_host

PARTS = ["deployment", "versions", "docker", "containers", "images", "disk", "proxies", "certificates"]
PARTS += ["backups", "database"]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeptHost]:
    with kept_host(tmp_path) as found:
        yield found


def test_all_parts(host: KeptHost) -> None:
    archive = host.run("backup")["archive"]
    with host.env_file.open("a") as stream:
        stream.write("https_proxy=http://user:hunter2hunter2@proxy.example.com:3128\nno_proxy=localhost,identity\n")
    snapshot = host.host.snapshot()
    result = host.run("host_info")
    assert not result.changed and result["problems"] == {}
    assert sorted(PARTS) == sorted(key for key in result.data if key in PARTS)
    assert result["deployment"]["kind"] == "standard" and result["deployment"]["script"] == str(host.script)
    assert result["versions"] == {
        "script": "2026.7.2",
        "files": "2026.7.2",
        "running": "2026.7.2",
        "compose": "2.40.3",
        "docker": "28.5.2",
    }
    assert result["containers"]["api"]["state"] == "running"
    assert {"image": "ghcr.io/bitwarden/api:2026.7.2", "used": True} in result["images"]
    assert {"image": "ghcr.io/bitwarden/setup:2026.7.2", "used": False} in result["images"]
    assert result["disk"]["installation"]["free_mib"] > 0
    proxies = result["proxies"]["env_file"]
    assert proxies == {"https_proxy": "http://<redacted>@proxy.example.com:3128", "no_proxy": "localhost,identity"}
    assert "hunter2" not in result.output
    assert result["certificates"][0]["path"].endswith("certificate.crt") and result["certificates"][0]["days_left"] > 0
    last = result["backups"]["last"]
    assert (last["archive"], last["checksum_known"], result["backups"]["count"]) == (archive, True, 1)
    assert result["database"] == {
        "kind": "built-in",
        "provider": "SQL Server",
        "running": True,
        "sponsorship_sync": True,
    }
    assert host.host.snapshot() == snapshot


def test_only_what_is_asked_for(host: KeptHost) -> None:
    result = host.run("host_info", gather=["disk"])
    assert "disk" in result.data and "versions" not in result.data


def test_without_docker_the_rest_is_told(host: KeptHost) -> None:
    docker = host.host.programs / "docker"
    docker.write_text(
        "#!/bin/sh\necho 'Cannot connect to the Docker daemon at unix:///x. Is it running?' >&2\nexit 1\n"
    )
    result = host.run("host_info")
    assert result["containers"] is None and "Docker says" in result["problems"]["containers"]
    assert result["versions"]["script"] == "2026.7.2" and result["versions"]["running"] is None
    assert result["database"]["running"] is None and result["disk"]["installation"]


def test_another_provider_cannot_sync_sponsorships(host: KeptHost) -> None:
    config = host.bwdata / "config.yml"
    config.write_text(config.read_text().replace("enable_built_in_ms_sql: true", "enable_built_in_ms_sql: false"))
    with host.env_file.open("a") as stream:
        stream.write("globalSettings__databaseProvider=postgresql\n")
    known = host.run("host_info", gather=["database"])["database"]
    expected: dict[str, Any] = {
        "kind": "external",
        "provider": "PostgreSQL",
        "running": None,
        "sponsorship_sync": False,
    }
    assert known == expected
