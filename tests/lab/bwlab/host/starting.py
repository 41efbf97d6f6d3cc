"""Why a container cannot be started, or does not stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bwlab.host.engine import Engine

Row = dict[str, Any]
FLAG = "globalSettings__enableCloudCommunication"


def _host_port(port: str) -> str:
    """Of 443:8443 or 127.0.0.1:443:8443/tcp."""
    return (["", *port.split(":")])[-2]


def port_conflict(engine: Engine, row: Row) -> str:
    """Why a container cannot have the ports that it wants; nothing where it can."""
    wanted = {_host_port(port) for port in row.get("ports") or ()}
    others = [other for other in engine.containers() if other["id"] != row["id"] and engine.lives(other)]
    taken = wanted & {_host_port(port) for other in others for port in other.get("ports") or ()}
    if not taken and not (wanted and engine.fault("port_taken")):
        return ""
    port = min(taken | wanted)
    return (
        "failed to set up container networking: driver failed programming external connectivity on endpoint "
        f"{row['name']}: Bind for 0.0.0.0:{port} failed: port is already allocated"
    )


def crash(engine: Engine, row: Row) -> str:
    """What a container says that ends as soon as it is started; nothing for one that stays."""
    given = {key.lower(): value for key, value in row["env"].items()}
    if given.get(FLAG.lower(), "").strip().lower() not in ("true", "false", ""):
        # A switch that is neither true nor false, whatever the letters' case.
        return (
            "System.InvalidOperationException: Failed to convert configuration value at "
            "'globalSettings:enableCloudCommunication' to type 'System.Boolean'."
        )
    for fault in engine.db.faults():
        options = fault.options
        if not engine.fault_is_set(fault.name):
            continue
        if fault.name == "container_crashes" and row["service"] == options.get("service", "api"):
            return "System.TypeInitializationException: A type initializer threw an exception."
        key = options.get("key", "").lower()
        fits = key in given and options.get("value", given[key]) == given[key]
        if fault.name == "container_crashes_with" and fits:
            return f"System.ArgumentException: The value of {options['key']} is not valid."
    return ""
