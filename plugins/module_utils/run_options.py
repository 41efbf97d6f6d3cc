# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of C(docker run) that made a container, read from what docker says about it."""

from __future__ import annotations

import typing as t

Entry = dict[str, t.Any]

# Keys of HostConfig that options can be made of again.
_CARRIED = frozenset(
    {"Binds", "PortBindings", "RestartPolicy", "NetworkMode", "LogConfig", "ExtraHosts", "Dns", "DnsSearch", "Memory"}
    | {"NanoCpus", "Mounts", "Init"}
)
# Values that Docker fills in by itself, different ones by version and by daemon.
_FILLED_IN: dict[str, tuple[t.Any, ...]] = {
    "ShmSize": (67108864,),
    "IpcMode": ("private", "shareable"),
    "CgroupnsMode": ("host", "private"),
    "Isolation": ("default",),
    "MemorySwappiness": (-1,),
    "PidsLimit": (-1,),
    "Cgroup": ("",),
    "VolumeDriver": ("local",),
}
_ALWAYS_FILLED_IN = frozenset({"MaskedPaths", "ReadonlyPaths", "ConsoleSize", "ContainerIDFile"})
_OPTION_NAMES = {
    "Privileged": "--privileged",
    "AutoRemove": "--rm",
    "CapAdd": "--cap-add",
    "CapDrop": "--cap-drop",
    "SecurityOpt": "--security-opt",
    "Devices": "--device",
    "Links": "--link",
    "VolumesFrom": "--volumes-from",
    "ReadonlyRootfs": "--read-only",
    "Tmpfs": "--tmpfs",
    "Ulimits": "--ulimit",
    "Sysctls": "--sysctl",
    "PidMode": "--pid",
    "UTSMode": "--uts",
    "UsernsMode": "--userns",
    "IpcMode": "--ipc",
    "ShmSize": "--shm-size",
    "PublishAllPorts": "--publish-all",
    "Runtime": "--runtime",
    "GroupAdd": "--group-add",
    "CpuShares": "--cpu-shares",
    "CpusetCpus": "--cpuset-cpus",
    "PidsLimit": "--pids-limit",
}
# Those that an image has as well: a difference was given by hand.
_LIKE_IMAGE = {
    "Entrypoint": "--entrypoint",
    "Cmd": "a command",
    "User": "--user",
    "WorkingDir": "--workdir",
    "StopSignal": "--stop-signal",
    "Healthcheck": "--health-cmd",
}
_DRIVERS_OF_THE_DAEMON = frozenset({"", "json-file"})


def not_carried_over(entry: Entry, image: Entry, default_runtime: str = "runc") -> list[str]:
    """Options of a container that L(arguments) does not make again, by their names.

    C(default_runtime) is what the engine gives to containers that ask for none.
    """
    host, config = entry.get("HostConfig") or {}, entry["Config"]
    filled_in = {**_FILLED_IN, "Runtime": (default_runtime, "runc", "io.containerd.runc.v2")}
    found = [
        _OPTION_NAMES.get(key, key)
        for key, value in host.items()
        if value and key not in _CARRIED and key not in _ALWAYS_FILLED_IN and value not in filled_in.get(key, ())
    ]
    # Docker doubles the memory for it where nothing else is said.
    if "MemorySwap" in found and host["MemorySwap"] in {-1, 2 * int(host.get("Memory") or 0)}:
        found.remove("MemorySwap")
    found += [name for key, name in _LIKE_IMAGE.items() if (config.get(key) or None) != (image.get(key) or None)]
    found += [name for key, name in (("Tty", "--tty"), ("OpenStdin", "--interactive")) if config.get(key)]
    found += [f"--mount type={mount.get('Type')}" for mount in host.get("Mounts") or () if not _plain_mount(mount)]
    if any((place or {}).get("IPAMConfig") for place in _networks(entry).values()):
        found.append("--ip")
    if str(host.get("NetworkMode", "")).startswith("container:"):
        found.append("--network container:…")
    return sorted(found)


def _plain_mount(mount: Entry) -> bool:
    known = {"Type", "Source", "Target", "ReadOnly"}
    return mount.get("Type") in {"bind", "volume"} and not {key for key, value in mount.items() if value} - known


def arguments(entry: Entry, image: Entry) -> list[str]:
    """The options of C(docker run), without name, env file and image."""
    host, config = entry.get("HostConfig") or {}, entry["Config"]
    words: list[str] = []
    for key, option in (("ExtraHosts", "--add-host"), ("Dns", "--dns"), ("DnsSearch", "--dns-search")):
        words += [part for value in host.get(key) or () for part in (option, str(value))]
    if host.get("Memory"):
        words += ["--memory", str(host["Memory"])]
    if host.get("NanoCpus"):
        words += ["--cpus", f"{host['NanoCpus'] / 1e9:g}"]
    if host.get("Init"):
        words.append("--init")
    words += [*_restart(host), *_network(entry, host), *_ports(host), *_volumes(entry, host), *_log(host)]
    identifier = str(entry.get("Id", ""))[:12]
    if config.get("Hostname") and config["Hostname"] != identifier and host.get("NetworkMode") != "host":
        words += ["--hostname", str(config["Hostname"])]
    own = image.get("Labels") or {}
    labels = {key: value for key, value in (config.get("Labels") or {}).items() if own.get(key) != value}
    return words + [part for key, value in labels.items() for part in ("--label", f"{key}={value}")]


def _restart(host: Entry) -> list[str]:
    policy = host.get("RestartPolicy") or {}
    name, retries = str(policy.get("Name") or ""), int(policy.get("MaximumRetryCount") or 0)
    if name in {"", "no"}:
        return []
    return ["--restart", f"{name}:{retries}" if name == "on-failure" and retries else name]


def _networks(entry: Entry) -> dict[str, Entry]:
    return (entry.get("NetworkSettings") or {}).get("Networks") or {}


def _network(entry: Entry, host: Entry) -> list[str]:
    mode = str(host.get("NetworkMode") or "default")
    if mode in {"default", "bridge"}:
        return []
    # Docker gives every container two names by itself: its own, and the beginning of its id.
    own = {str(entry.get("Id", ""))[:12], str(entry.get("Name", "")).lstrip("/")}
    aliases = [alias for alias in (_networks(entry).get(mode) or {}).get("Aliases") or () if alias not in own]
    return ["--network", mode, *(part for alias in aliases for part in ("--network-alias", str(alias)))]


def more_networks(entry: Entry) -> list[str]:
    """Networks that the container was connected to after it was made."""
    first = str((entry.get("HostConfig") or {}).get("NetworkMode") or "default")
    return [name for name in _networks(entry) if name != first and not (first == "default" and name == "bridge")]


def _ports(host: Entry) -> list[str]:
    words = []
    for inside, bindings in (host.get("PortBindings") or {}).items():
        for binding in bindings or [{}]:
            address, port = str(binding.get("HostIp") or ""), str(binding.get("HostPort") or "")
            address = f"[{address}]" if ":" in address else address
            # An address without a port leaves the choice of the port to Docker.
            outside = f"{address}:{port}" if address else port
            words += ["-p", f"{outside}:{inside}" if outside else inside]
    return words


def _volumes(entry: Entry, host: Entry) -> list[str]:
    words = [part for bind in host.get("Binds") or () for part in ("-v", str(bind))]
    taken = {str(bind).split(":")[1] for bind in host.get("Binds") or () if ":" in str(bind)}
    for mount in host.get("Mounts") or ():
        parts = [f"type={mount['Type']}", f"source={mount.get('Source', '')}", f"target={mount['Target']}"]
        words += ["--mount", ",".join([*parts, *(["readonly"] if mount.get("ReadOnly") else [])])]
        taken.add(str(mount["Target"]))
    # A volume without a name of its own holds data as well.
    for mount in entry.get("Mounts") or ():
        if mount.get("Type") == "volume" and mount.get("Destination") not in taken:
            words += ["-v", f"{mount['Name']}:{mount['Destination']}"]
    return words


def _log(host: Entry) -> list[str]:
    config = host.get("LogConfig") or {}
    driver, options = str(config.get("Type") or ""), config.get("Config") or {}
    if driver in _DRIVERS_OF_THE_DAEMON and not options:
        return []
    words = ["--log-driver", driver] if driver else []
    return words + [part for key, value in options.items() for part in ("--log-opt", f"{key}={value}")]
