"""`docker run -d` and `docker create`: containers that stay, such as Lite's, with all that they were made with."""

from __future__ import annotations

import os
from typing import Any

from bwlab.host import registry, starting
from bwlab.host.dotenv import parse_plain
from bwlab.host.engine import LITE_IMAGES, Engine, EngineError, Row, say
from bwlab.host.options import Options

REFUSED = 125
VALUES = (
    "--name", "-v", "--volume", "--env-file", "-e", "--env", "--network", "--net", "-p", "--publish", "--entrypoint",
    "--restart", "-h", "--hostname", "-l", "--label", "--add-host", "-m", "--memory", "--memory-swap", "--cpus",
    "--log-driver", "--log-opt", "-u", "--user", "--mount", "--tmpfs", "--security-opt", "--cap-add", "--cap-drop",
    "--dns", "--ulimit", "--pull", "-w", "--workdir", "--stop-timeout", "--stop-signal", "--shm-size", "--platform",
    "--network-alias", "--ip", "--mac-address", "--pids-limit", "--device", "--group-add", "--sysctl", "--userns",
    "--ipc", "--pid", "--uts", "--runtime", "--cgroupns", "--oom-score-adj", "--cpu-shares", "--cpuset-cpus",
    "--health-cmd", "--health-interval", "--health-timeout", "--health-retries", "--health-start-period",
    "--expose", "--volumes-from", "--label-file", "--cidfile",
)  # fmt: skip
FLAGS = (
    "-i", "--interactive", "-t", "--tty", "--rm", "-d", "--detach", "-it", "--init", "--privileged", "--read-only",
    "-q", "--quiet", "--no-healthcheck", "-P", "--publish-all",
)  # fmt: skip


def environment(chosen: Options) -> dict[str, str]:
    """Of the files every character as it stands, then what the command line says."""
    env: dict[str, str] = {}
    for path in chosen.all("--env-file"):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as stream:
                env.update(parse_plain(stream.read()))
        except OSError as error:
            raise EngineError(f"docker: open {path}: {str(error.strerror).lower()}", REFUSED) from None
    for pair in chosen.all("-e", "--env"):
        key, equals, value = pair.partition("=")
        if equals or key in os.environ:
            env[key] = value if equals else os.environ[key]
    return env


def refused(text: str) -> EngineError:
    return EngineError(
        f"docker: Error response from daemon: {text}\n\nRun 'docker run --help' for more information", REFUSED
    )


def refuse_second(engine: Engine, name: str) -> None:
    rows = [row for row in engine.containers() if row["name"] == name]
    if not rows:
        return
    if name == "setup":
        engine.fault("concurrent_update")
    raise refused(
        f'Conflict. The container name "/{name}" is already in use by container "{rows[0]["id"]}". You have to remove '
        "(or rename) that container to be able to reuse that name."
    )


def need(engine: Engine, image: str, policy: str = "missing") -> None:
    if policy == "always" or image not in engine.images():
        if policy == "never":
            raise refused(f"No such image: {image}")
        registry.wait(engine, [image])
        say(f"Unable to find image '{image}' locally")
        try:
            engine.pull(image)
        except EngineError as error:
            raise refused(str(error)) from None


def create(engine: Engine, chosen: Options, *, start: bool) -> int:
    image, *command = chosen.rest
    name = chosen.last("--name") or f"lab_{os.getpid()}"
    env = environment(chosen)
    refuse_second(engine, name)
    need(engine, image, chosen.last("--pull") or "missing")
    if engine.full_disk("docker"):
        raise refused("mkdir /var/lib/docker/overlay2/51f2: no space left on device")
    row = engine.row(name, image, env, **more(chosen, image), command=command, state="created")
    engine.db.put_container(engine.host, row)
    if start:
        taken = starting.port_conflict(engine, row)
        if taken:
            raise refused(taken)
        engine.start(row)
        engine.started()
    print(row["id"])
    return 0


def more(chosen: Options, image: str) -> dict[str, Any]:
    """What a row keeps of the command line."""
    return {
        "service": "bitwarden" if is_lite(image) else "",
        "labels": dict(label.partition("=")[::2] for label in chosen.all("-l", "--label")),
        "run": {key: value for key, value in chosen.given.items() if key not in ("-e", "--env", "--env-file")},
        "ports": chosen.all("-p", "--publish"),
    }


def is_lite(image: str) -> bool:
    return image.rpartition(":")[0] in LITE_IMAGES


def _volume(text: str) -> dict[str, Any]:
    source, _unused, rest = text.partition(":")
    target, _unused, mode = rest.partition(":")
    if source.startswith("/"):
        return {
            "Type": "bind", "Source": source, "Destination": target, "Mode": mode, "RW": "ro" not in mode.split(","),
            "Propagation": "rprivate",
        }  # fmt: skip
    return {
        "Type": "volume", "Name": source, "Source": f"/var/lib/docker/volumes/{source}/_data", "Destination": target,
        "Driver": "local", "Mode": mode or "z", "RW": "ro" not in mode.split(","), "Propagation": "",
    }  # fmt: skip


def _mount(text: str) -> dict[str, Any]:
    """As HostConfig keeps what `--mount` said."""
    given = dict(part.partition("=")[::2] for part in text.split(","))
    kind = given.get("type", "volume")
    found: dict[str, Any] = {
        "Type": kind,
        "Source": given.get("source") or given.get("src", ""),
        "Target": given.get("target") or given.get("destination") or given.get("dst", ""),
    }
    if "readonly" in given or "ro" in given:
        found["ReadOnly"] = True
    return found


def mounts(row: Row) -> list[dict[str, Any]]:
    """The top-level list of `docker inspect`."""
    given = row.get("run") or {}
    found = [_volume(text) for name in ("-v", "--volume") for text in given.get(name, [])]
    for mount in (_mount(text) for text in given.get("--mount", [])):
        mode = ":ro" if mount.get("ReadOnly") else ""
        found.append({**_volume(f"{mount['Source']}:{mount['Target']}{mode}"), "Mode": "z" if not mode else "ro"})
    return found


def _bindings(row: Row) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for text in row.get("ports") or ():
        parts = text.rsplit(":", 2)
        inner, _unused, protocol = parts[-1].partition("/")
        host = parts[-2] if len(parts) > 1 else ""
        address = parts[0] if len(parts) > 2 else ""
        entry = {"HostIp": address.strip("[]"), "HostPort": host}
        found.setdefault(f"{inner}/{protocol or 'tcp'}", []).append(entry)
    return found


def host_config(row: Row) -> dict[str, Any]:
    given = row.get("run") or {}

    def last(*names: str, default: str = "") -> str:
        return str(next((given[name][-1] for name in names if name in given), default))

    def every(*names: str) -> list[str]:
        return [value for name in names for value in given.get(name, [])]

    policy, _unused, tries = last("--restart", default="no").partition(":")
    found: dict[str, Any] = {
        "Binds": every("-v", "--volume") or None,
        "ContainerIDFile": "",
        "LogConfig": {
            "Type": last("--log-driver", default="json-file"),
            "Config": dict(text.partition("=")[::2] for text in every("--log-opt")),
        },
        "NetworkMode": last("--network", "--net", default="bridge"),
        "PortBindings": _bindings(row),
        "RestartPolicy": {"Name": policy, "MaximumRetryCount": int(tries or 0)},
        "AutoRemove": "--rm" in given,
        "VolumeDriver": "", "VolumesFrom": every("--volumes-from") or None, "ConsoleSize": [0, 0],
        "CapAdd": every("--cap-add") or None, "CapDrop": every("--cap-drop") or None, "CgroupnsMode": "private",
        "Dns": every("--dns"), "DnsOptions": [], "DnsSearch": [],
        "ExtraHosts": every("--add-host") or None, "GroupAdd": every("--group-add") or None, "IpcMode": "private",
        "Cgroup": "", "Links": None, "OomScoreAdj": 0, "PidMode": last("--pid"), "Privileged": "--privileged" in given,
        "PublishAllPorts": "-P" in given or "--publish-all" in given, "ReadonlyRootfs": "--read-only" in given,
        "SecurityOpt": every("--security-opt") or None, "UTSMode": last("--uts"), "UsernsMode": last("--userns"),
        "ShmSize": 67108864, "Runtime": "runc", "Isolation": "", "CpuShares": 0,
        "Memory": _bytes(last("-m", "--memory")),
        "NanoCpus": int(float(last("--cpus", default="0")) * 1e9), "CgroupParent": "", "BlkioWeight": 0,
        "MemorySwap": 0, "MemorySwappiness": None, "OomKillDisable": None, "PidsLimit": None, "Ulimits": [],
        "Devices": [], "MaskedPaths": [], "ReadonlyPaths": [],
    }  # fmt: skip
    if every("--mount"):
        found["Mounts"] = [_mount(text) for text in every("--mount")]
    if "--init" in given:
        found["Init"] = True
    return found


def _bytes(text: str) -> int:
    units = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
    return int(float(text.lower().rstrip("bkmg") or 0) * units.get(text[-1:].lower(), 1)) if text else 0
