"""Module egress_probe on a host with a real Docker engine: through the networks of its containers, and of Setup's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bwlab.egress import closing
from bwlab.egress.world import World

pytestmark = pytest.mark.docker

PROJECT = Path(__file__).resolve().parents[2]
HOST = "nftables"
PATHS = ("host", "containers", "setup")
CA = "/var/lib/bwlab/host/ca.crt"
# A machine that does other things as well takes its time to start a container.
TIMEOUT = 20
EVERYTHING = (
    "docker ps --all --format '{{.ID}} {{.Names}} {{.Status}}' | cut -d' ' -f1-3; docker images --no-trunc --quiet"
)
PROXY_LOGIN = "proxy-user:OneProxyPassword99"
FOLDER = "/etc/bitwarden/ca-certificates"
MORE = f"""
run() {{ docker run --detach --pull never --stop-timeout 1 --network bitwarden_public "$@" local/tiny:1; }}
mkdir -p /srv/ca && cp {CA} /srv/ca/company.crt
run --name knows-authority --volume /srv/ca:{FOLDER}:ro --env SSL_CERT_DIR={FOLDER}
run --name has-proxy --env https_proxy=http://{PROXY_LOGIN}@proxy.example.com:3128
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="bwe-") as folder:
        made = World(Path(folder) / "world")
        made.up([HOST])
        try:
            made.sh(HOST, MORE)
            yield made
        finally:
            made.down()


def command(world: World, arguments: dict[str, Any]) -> list[str]:
    values = {"region": "US", "timeout": TIMEOUT, **arguments}
    program = Path(sys.executable).with_name("ansible")
    called = ["-m", "selfhosted.bitwarden.egress_probe", "-a", json.dumps(values), "-vvv", "--diff"]
    return [str(program), "-i", str(world.directory / "inventory.yml"), HOST, *called]


def environment(world: World) -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_HOME": str(world.directory),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }


def probe(world: World, **arguments: Any) -> dict[str, Any]:
    """Over ssh and sudo, packed as Ansible packs modules: nothing of it can be loaded inside a container."""
    done = subprocess.run(
        command(world, arguments), capture_output=True, text=True, check=False, cwd=PROJECT, env=environment(world)
    )
    assert "=> {" in done.stdout, done.stdout + done.stderr
    assert PROXY_LOGIN.partition(":")[2] not in done.stdout + done.stderr
    result: dict[str, Any] = json.JSONDecoder().raw_decode(done.stdout, done.stdout.index("=> {") + 3)[0]
    return result


def verdicts(result: dict[str, Any], path: str) -> set[str]:
    return {row["verdict"] for row in result["endpoints"] if row["path"] == path}


def test_every_path_is_open_and_nothing_is_left_or_fetched(world: World) -> None:
    before = world.sh(HOST, EVERYTHING)
    result = probe(world, ca_path=CA)
    assert {path: verdicts(result, path) for path in PATHS} == {path: {"open"} for path in PATHS}
    assert result["reachable"] is True
    # Setup asks no push service.
    assert len(result["endpoints"]) == 2 * (3 + 3 + 2)
    assert world.sh(HOST, EVERYTHING) == before


def test_a_container_has_its_own_authorities(world: World) -> None:
    with_it = probe(world, paths=["containers"], container="knows-authority")
    assert verdicts(with_it, "containers") == {"open"}
    without = probe(world, paths=["containers"])
    assert verdicts(without, "containers") == {"tls_authority_missing"}
    assert "Lab CA of the public internet" in without["endpoints"][0]["cause"]


def test_a_container_has_its_own_proxy_whose_login_is_never_shown(world: World) -> None:
    result = probe(world, paths=["containers"], container="has-proxy", ip_versions=[4])
    # What listens there ends every connection.
    assert verdicts(result, "containers") == {"proxy_unreachable"}
    assert {row["proxy"]["address"] for row in result["endpoints"]} == {"proxy.example.com:3128"}


def test_a_container_that_does_not_run_is_refused(world: World) -> None:
    result = probe(world, container="bitwarden-nothing")
    assert "No container bitwarden-nothing runs on this server. Next step:" in result["msg"]


def test_a_module_that_is_killed_leaves_nothing_that_runs(world: World) -> None:
    world.sh(HOST, "nft add table inet slow; nft add chain inet slow out '{ type filter hook forward priority -300; }'")
    world.sh(HOST, "nft add rule inet slow out tcp dport 443 drop")
    running = subprocess.Popen(
        command(world, {"paths": ["setup"]}), stdout=subprocess.DEVNULL, cwd=PROJECT, env=environment(world)
    )
    ours = "docker ps --format '{{.Names}}' | grep bitwarden-egress-probe"
    try:
        waits_for(world, ours)
        # The module is the parent of the docker that it runs.
        client = "pgrep -f '[d]ocker run --rm .*bitwarden-egress-probe'"
        world.sh(HOST, f"kill -KILL $(ps -o ppid= -p $({client}))")
        waits_for(world, f"! {{ {ours}; }} && ! {client}")
    finally:
        running.kill()
        running.wait()
        world.sh(HOST, "nft delete table inet slow")


def test_what_a_killed_one_had_to_leave_is_removed_by_the_next(world: World) -> None:
    before = world.sh(HOST, EVERYTHING)
    label = "selfhosted.bitwarden.egress_probe"
    world.sh(HOST, f"docker create --pull never --name left --label {label}=1700000000 local/tiny:1")
    world.sh(HOST, f"docker create --pull never --name new --label {label}=$(date +%s) local/tiny:1")
    probe(world, paths=["setup"], ca_path=CA)
    left = world.sh(HOST, "docker ps --all --format '{{.Names}}'").split()
    assert "left" not in left
    assert "new" in left
    world.sh(HOST, "docker rm new")
    assert world.sh(HOST, EVERYTHING) == before


def waits_for(world: World, script: str) -> None:
    end = time.monotonic() + 120
    while not world.sh(HOST, f"{{ {script}; }} >/dev/null 2>&1 && echo yes || true"):
        assert time.monotonic() < end, script
        time.sleep(0.1)


def test_a_closed_host_is_closed_on_every_path_in_time(world: World) -> None:
    closing.close(world, HOST)
    before = world.sh(HOST, EVERYTHING)
    result = probe(world, ca_path=CA)
    assert result["elapsed"] <= TIMEOUT
    assert {path: verdicts(result, path) for path in PATHS} == {path: {"timed_out"} for path in PATHS}
    assert result["reachable"] is False
    assert world.sh(HOST, EVERYTHING) == before
