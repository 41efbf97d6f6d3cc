"""Parts of the module stack without a server: options of docker run, rights, drift by what Docker itself adds."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    accounts,
    deployment,
    docker_cli,
    drift,
    images,
    lite,
    preflight,
    private,
    run_options,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import (
    ComposeError,
    Container,
    Service,
    parse_config,
    parse_containers,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.deployment import Deployment, DeploymentError

LITE = "ghcr.io/bitwarden/lite:2026.8.0"
IMAGE: dict[str, Any] = {"Env": ["PATH=/bin"], "Entrypoint": ["/entrypoint.sh"], "Cmd": None, "Labels": {"of": "image"}}


def runner(args: list[str], *, cwd: str | None, **_options: Any) -> tuple[int, str, str]:
    ended = subprocess.run(args, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return ended.returncode, ended.stdout, ended.stderr


def entry(**host: Any) -> dict[str, Any]:
    """What docker inspect says about a container of the documented form."""
    return {
        "Id": "0123456789abcdef",
        "Config": {"Hostname": "0123456789ab", "Image": LITE, "Labels": {"of": "image"}, **IMAGE},
        "HostConfig": {
            "Binds": ["/srv/bw:/etc/bitwarden"],
            "PortBindings": {"8080/tcp": [{"HostIp": "", "HostPort": "80"}]},
            "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
            "NetworkMode": "default",
            "LogConfig": {"Type": "json-file", "Config": {}},
            "ShmSize": 67108864,
            "IpcMode": "private",
            "CgroupnsMode": "private",
            "Runtime": "runc",
            "MaskedPaths": ["/proc/acpi"],
            "OomKillDisable": None,
            **host,
        },
        "Mounts": [{"Type": "bind", "Destination": "/etc/bitwarden"}],
        "NetworkSettings": {"Networks": {"bridge": {}}},
    }


class TestOptionsOfRun:
    def test_the_documented_form_is_carried_over(self) -> None:
        found = entry()
        assert run_options.not_carried_over(found, IMAGE) == []
        assert run_options.arguments(found, IMAGE) == [
            "--restart", "always", "-p", "80:8080/tcp", "-v", "/srv/bw:/etc/bitwarden",
        ]  # fmt: skip
        assert run_options.more_networks(found) == []

    @pytest.mark.parametrize(
        ("host", "words"),
        [
            ({"NetworkMode": "backend"}, ["--network", "backend"]),
            ({"ExtraHosts": ["db:10.0.0.5"]}, ["--add-host", "db:10.0.0.5"]),
            ({"Dns": ["10.0.0.53"]}, ["--dns", "10.0.0.53"]),
            ({"Memory": 536870912, "MemorySwap": 1073741824}, ["--memory", "536870912"]),
            ({"NanoCpus": 1500000000}, ["--cpus", "1.5"]),
            ({"Init": True}, ["--init"]),
            ({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}, ["--restart", "on-failure:3"]),
            (
                {"LogConfig": {"Type": "journald", "Config": {"tag": "bw"}}},
                ["--log-driver", "journald", "--log-opt", "tag=bw"],
            ),
            (
                {"PortBindings": {"8443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "443"}]}},
                ["-p", "127.0.0.1:443:8443/tcp"],
            ),
            ({"PortBindings": {"8443/tcp": [{"HostIp": "::1", "HostPort": ""}]}}, ["-p", "[::1]::8443/tcp"]),
            (
                {"Mounts": [{"Type": "volume", "Source": "bw", "Target": "/data", "ReadOnly": True}]},
                ["--mount", "type=volume,source=bw,target=/data,readonly"],
            ),
        ],
    )  # fmt: skip
    def test_plain_options_are(self, host: dict[str, Any], words: list[str]) -> None:
        found = entry(**host)
        assert run_options.not_carried_over(found, IMAGE) == []
        assert " ".join(words) in " ".join(run_options.arguments(found, IMAGE))

    @pytest.mark.parametrize(
        ("host", "name"),
        [
            ({"Privileged": True}, "--privileged"),
            ({"AutoRemove": True}, "--rm"),
            ({"CapAdd": ["NET_ADMIN"]}, "--cap-add"),
            ({"SecurityOpt": ["label=disable"]}, "--security-opt"),
            ({"Devices": [{"PathOnHost": "/dev/x"}]}, "--device"),
            ({"Memory": 100, "MemorySwap": 500}, "MemorySwap"),
            ({"NetworkMode": "container:other"}, "--network container:…"),
            ({"Mounts": [{"Type": "tmpfs", "Target": "/x"}]}, "--mount type=tmpfs"),
            ({"SomethingNew": {"of": "tomorrow"}}, "SomethingNew"),
        ],
    )
    def test_others_are_named(self, host: dict[str, Any], name: str) -> None:
        assert run_options.not_carried_over(entry(**host), IMAGE) == [name]

    def test_its_place_in_a_network(self) -> None:
        found = entry(NetworkMode="backend")
        place: dict[str, Any] = {"Aliases": ["0123456789ab", "vault"], "IPAMConfig": None}
        found["NetworkSettings"]["Networks"] = {"backend": place}
        assert run_options.arguments(found, IMAGE)[2:6] == ["--network", "backend", "--network-alias", "vault"]
        assert run_options.not_carried_over(found, IMAGE) == []
        place["IPAMConfig"] = {"IPv4Address": "10.0.0.9"}
        assert run_options.not_carried_over(found, IMAGE) == ["--ip"]

    def test_what_differs_from_the_image_is_named_too(self) -> None:
        found = entry()
        found["Config"] = {**found["Config"], "User": "1000", "Cmd": ["sh"], "Tty": True, "Entrypoint": ["/x"]}
        assert run_options.not_carried_over(found, IMAGE) == ["--entrypoint", "--tty", "--user", "a command"]

    def test_names_labels_and_volumes_without_a_name_stay(self) -> None:
        found = entry()
        found["Config"] = {**found["Config"], "Hostname": "vault", "Labels": {"of": "image", "mine": "1"}}
        found["Mounts"].append({"Type": "volume", "Name": "ab" * 32, "Destination": "/var/log/bitwarden"})
        found["NetworkSettings"]["Networks"]["extra"] = {}
        words = " ".join(run_options.arguments(found, IMAGE))
        assert "--hostname vault" in words
        assert "--label mine=1" in words
        assert "of=image" not in words
        assert f"-v {'ab' * 32}:/var/log/bitwarden" in words
        assert run_options.more_networks(found) == ["extra"]


def test_an_env_file_as_docker_run_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_CALLER", "here")
    data = b'\xef\xbb\xbfA="x y" # z\r\n# no=1\n\n  B=$A\nFROM_CALLER\nNOT_THERE\nC=\n'
    found = lite.parse_run_environment(data, "settings.env")
    assert found == {"A": '"x y" # z', "B": "$A", "FROM_CALLER": "here", "C": ""}
    for line in (b"A B=1\n", b"=1\n", b"A =1\n"):
        with pytest.raises(ComposeError, match=r"Line 1 of settings\.env"):
            lite.parse_run_environment(line, "settings.env")


class TestRights:
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
    @pytest.mark.parametrize(
        ("script", "uid_env", "said"),
        [
            (0o755, "LOCAL_UID=1\nLOCAL_GID=1\n", None),
            (0o644, "LOCAL_UID=1\nLOCAL_GID=1\n", "run.sh cannot be run as user nobody"),
            (0o755, "LOCAL_UID=1\n", "uid.env lacks LOCAL_UID or LOCAL_GID"),
            (0o755, None, "uid.env lacks LOCAL_UID or LOCAL_GID"),
        ],
    )
    def test_what_would_end_the_script(
        self, open_path: Path, script: int, uid_env: str | None, said: str | None
    ) -> None:
        for name in ("bwdata/scripts/run.sh", "bwdata/env/uid.env", "bitwarden.sh"):
            (open_path / name).parent.mkdir(parents=True, exist_ok=True)
            (open_path / name).write_text(uid_env or "")
            (open_path / name).chmod(script if name.endswith("run.sh") else 0o755)
        if uid_env is None:
            (open_path / "bwdata/env/uid.env").unlink()
        user = pwd.getpwnam("nobody")
        account = accounts.Account(runner, user.pw_name, user.pw_uid, user.pw_gid, "/")
        docker = docker_cli.Docker(Deployment("standard", str(open_path), ""), account)
        if said is None:
            preflight.check_rights(docker)
            return
        with pytest.raises(preflight.PreflightError, match=said) as refused:
            preflight.check_rights(docker)
        assert refused.value.next_step


class TestPullsAreAnswered:
    """By a program of ours before Docker's own, for the account that drives the installation."""

    @pytest.fixture
    def docker(self, open_path: Path, monkeypatch: pytest.MonkeyPatch) -> docker_cli.Docker:
        programs = open_path / "bin"
        programs.mkdir()
        for name in ("docker", "docker-compose"):
            (programs / name).write_text(f'#!/bin/sh\necho "real {name} $*"\n')
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        account = accounts.Account(runner)
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            account = accounts.Account(runner, user.pw_name, user.pw_uid, user.pw_gid, "/")
        return docker_cli.Docker(Deployment("standard", str(open_path), ""), account)

    @pytest.mark.parametrize(
        ("command", "said"),
        [
            ("docker compose pull", ""),
            ("docker compose -f a.yml --project-name pull pull -q", ""),
            ("docker-compose pull", ""),
            ("docker-compose -f pull up -d", "real docker-compose -f pull up -d\n"),
            ("docker pull ghcr.io/bitwarden/setup:1", ""),
            ("docker pull -q ghcr.io/bitwarden/setup:1", ""),
            ("docker pull ghcr.io/bitwarden/setup:2", "real docker pull ghcr.io/bitwarden/setup:2\n"),
            ("docker compose up -d --pull always", "real docker compose up -d --pull always\n"),
            ("docker compose ps", "real docker compose ps\n"),
            ("docker run --rm ghcr.io/bitwarden/setup:1 pull", "real docker run --rm ghcr.io/bitwarden/setup:1 pull\n"),
            ("docker", "real docker \n"),
        ],
    )
    def test_all_else_is_handed_on(self, docker: docker_cli.Docker, command: str, said: str) -> None:
        with images.answered_at_once(docker, ["ghcr.io/bitwarden/setup:1", "x:1"]):
            answer = docker.run(command.split())
        assert (answer.status, answer.stdout, answer.stderr) == (0, said, "")

    def test_it_is_the_accounts_own_and_gone_afterwards(self, docker: docker_cli.Docker) -> None:
        with images.answered_at_once(docker, []):
            (place,) = Path(docker.directory).glob(".selfhosted-run-*")
            answer = docker.run(["stat", "-c", "%a %U", str(place), *map(str, place.iterdir())])
        owner = docker.account.label
        assert Counter(answer.stdout.splitlines()) == {f"700 {owner}": 3, f"600 {owner}": 1}
        assert not list(Path(docker.directory).glob(".selfhosted-*"))
        assert docker.run(["docker", "pull", "x:1"]).stdout == "real docker pull x:1\n"

    def test_a_program_goes_on_when_nobody_reads_what_it_prints(self, docker: docker_cli.Docker) -> None:
        with private.private_place(docker) as place:
            path = os.path.join(place, "output")
            private.write_private(docker, path, "", 0o600)
            words = ["sh", "-c", "echo one; echo two >&2"]
            answer = docker.account.run(words, timeout=5, one_output=True, output=path)
        assert answer.stdout == "one\ntwo\n"


class TestDrift:
    def test_what_dockers_client_adds_is_none_until_it_differs(self, tmp_path: Path) -> None:
        (tmp_path / ".docker").mkdir()
        proxies = {"proxies": {"default": {"httpsProxy": "http://u:SecretOfProxy@proxy:1"}}}
        (tmp_path / ".docker/config.json").write_text(json.dumps(proxies))
        account = accounts.Account(runner, home=str(tmp_path))
        injected = docker_cli.Docker(Deployment("standard", str(tmp_path), ""), account).injected()
        assert injected == dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://u:SecretOfProxy@proxy:1")
        service = {"api": Service("api", "bitwarden-api", "api:1", {})}
        like = {"api": Container("bitwarden-api", "api", "running", "", "api:1", dict(injected))}
        assert drift.find(service, like, lambda _image: {}, injected=injected) == []
        unlike = {
            "api": Container("bitwarden-api", "api", "running", "", "api:1", dict.fromkeys(injected, "http://other"))
        }
        found = drift.find(service, unlike, lambda _image: {}, injected=injected)
        assert {(one.key, one.what) for one in found} == {(name, "has another value") for name in injected}
        gone = drift.find(service, unlike, lambda _image: {})
        assert {(one.key, one.what) for one in gone} == {(name, "is no longer wanted") for name in injected}

    @pytest.mark.parametrize(("restarts", "age", "looping"), [(3, 5, True), (2, 5, False), (9, 100, False)])
    def test_a_service_that_ends_soon_after_each_start(self, restarts: int, age: int, looping: bool) -> None:
        started = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(time.time() - age))
        inspected = {
            "Name": "/bitwarden-api", "RestartCount": restarts, "Config": {"Image": "api:1"},
            "State": {"Status": "running", "StartedAt": started},
        }  # fmt: skip
        (container,) = parse_containers(json.dumps([inspected]))
        found = drift.find({"api": Service("api", "", "api:1", {})}, {"api": container}, lambda _image: {})
        words = [f"keeps restarting (restarts so far: {restarts})"] if looping else []
        assert [one.what for one in found] == words

    def test_mounts_are_read_in_both_forms(self) -> None:
        volumes = ["../ca:/etc/x:ro", {"type": "bind", "source": "/a", "target": "/b"}]
        text = json.dumps({"services": {"api": {"image": "api:1", "volumes": volumes, "pull_policy": "always"}}})
        service = parse_config(text)["api"]
        assert service.mounts == (("../ca", "/etc/x"), ("/a", "/b"))
        assert service.pull_policy == "always"


def test_an_installation_without_its_script_is_told_from_one_that_never_had_it(tmp_path: Path) -> None:
    (tmp_path / "bwdata/docker").mkdir(parents=True)
    (tmp_path / "bwdata/docker/docker-compose.yml").touch()
    assert deployment.detect(str(tmp_path)).kind == "manual"
    (tmp_path / "bwdata/scripts").mkdir()
    (tmp_path / "bwdata/scripts/run.sh").touch()
    with pytest.raises(DeploymentError, match=r"bitwarden\.sh does not exist"):
        deployment.detect(str(tmp_path))
    assert deployment.detect(str(tmp_path), "manual").kind == "manual"
    (tmp_path / "bitwarden.sh").touch()
    assert deployment.detect(str(tmp_path)).kind == "standard"
