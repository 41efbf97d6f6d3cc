"""The cases: what is broken, and what a person who reads the message must find in it."""

from __future__ import annotations

from typing import Any

from integration.faults import by_hand
from integration.faults.hosts import KEY
from integration.faults.runs import VALUE, Case

REGISTRY = ("ghcr.io", "nothing was stopped", "let the server reach the registry")
STOPPED = ("nothing was stopped",)
WENT_BACK = ("put back to what it held before", "server is now up")
STOP_TO_START: dict[str, Any] = {"command": "compose up"}


def _once(name: str, **options: Any) -> tuple[tuple[str, dict[str, Any]], ...]:
    return ((name, {"count": 1, **options}),)


def _always(name: str, **options: Any) -> tuple[tuple[str, dict[str, Any]], ...]:
    return ((name, options),)


IMAGES = [
    Case("registry: its name is not resolved", _always("registry_down"), says=REGISTRY),
    Case("registry: too many requests", _always("registry_down", how="limit"), says=("toomanyrequests",), long=True),
    Case("registry: unknown certificate authority", _always("registry_down", how="tls"), says=("x509",)),
    Case("registry: gone once the server is stopped", _always("registry_down_after_stop")),
    Case(
        "registry: hangs", _always("registry_slow", seconds=60), options={"timeout": 3},
        says=("did not end within 3 seconds", *STOPPED),
    ),
    Case("image of a service is missing", _always("image_missing", image="bitwarden/sso:"), says=("manifest unknown",)),
    Case("image of Setup is missing", _always("setup_image_missing"), says=("manifest unknown", *STOPPED)),
    Case(
        "a clean-up removes all images while the server is stopped", _once("images_pruned", **STOP_TO_START),
    ),
]  # fmt: skip

DOCKER = [
    Case("Docker's daemon does not run", _always("docker_daemon_down"), says=("systemctl start docker",)),
    Case("the user may not use Docker", _always("docker_not_permitted"), says=("permission denied", "group docker")),
    Case("the compose plugin is missing", _always("compose_missing"), says=("install the compose plugin",)),
    Case(
        "the daemon hangs before the stop", _once("docker_hangs", command="compose pull"), options={"timeout": 3},
        says=("did not end within 3 seconds",), long=True,
    ),
    Case("the daemon hangs at the stop", _once("docker_hangs", command="compose down"), options={"timeout": 12}),
    Case(
        "the daemon hangs at the start", _once("docker_hangs", command="compose up"), options={"timeout": 12},
        long=True,
    ),
    Case("the daemon restarts before the stop", _once("docker_restarts", command="compose pull", seconds=1)),
    Case("the daemon restarts between stop and start", _once("docker_restarts", command="compose up", seconds=1)),
    Case("the containers cannot be listed", _always("docker_fails", command="compose ps"), says=("cannot be listed",)),
]  # fmt: skip

STARTS = [
    Case("bitwarden.sh stops nothing", _once("stop_does_nothing")),
    Case("a container cannot be stopped", _once("stop_fails")),
    Case("the start fails once", _once("compose_up_fails")),
    Case("the start fails twice", (("compose_up_fails", {"count": 2}),), says=WENT_BACK),
    Case("another program takes the port for a moment", _once("port_taken"), long=True),
    Case("no addresses are left for a network", _once("network_pool_exhausted")),
    Case("bitwarden.sh fails after the start", _once("script_fails_after_up")),
    Case("services start slowly", _once("slow_start", seconds=2), long=True),
    Case("services never answer", _once("start_never_ready"), options={"timeout": 10}, says=WENT_BACK),
    Case(
        "a service does not start with the new setting", _always("container_crashes_with", key=KEY, value=VALUE),
        options={"timeout": 10}, says=WENT_BACK,
    ),
    Case(
        "a service crashes once, whatever the settings", _once("container_crashes", service="identity"),
        options={"timeout": 10}, says=WENT_BACK, long=True,
    ),
]  # fmt: skip

DISKS = [
    Case("no space for the env file", _always("disk_full"), says=("no space left", "free space")),
    Case("no space for the copy to go back to", _always("disk_full", where="backups"), says=("no space left",)),
    Case("no space for Docker", _always("disk_full", where="docker"), says=("mib left", *STOPPED)),
    Case("the disk has become read-only", _always("disk_read_only"), says=("read-only",)),
    Case("killed while the env file is written", _once("killed_while_writing", how="write"), killed=True),
    Case(
        "killed before the new env file is on the disk", _once("killed_while_writing", how="fsync"), killed=True,
        long=True,
    ),
    Case("killed before the new env file is in place", _once("killed_while_writing", how="replace"), killed=True),
]  # fmt: skip

ENDS = [
    Case("the play is killed before the restart", _once("killed_between_write_and_restart"), killed=True),
    Case("the play is killed between stop and start", _once("run_killed"), killed=True, leaves_down=True),
    Case("the play is killed after the start", _once("run_killed", command="run"), killed=True, long=True),
    Case("the module is killed between stop and start", _once("run_killed", how="module"), killed=True),
    Case("the connection is lost between stop and start", _once("connection_lost"), killed=True),
    Case("the host reboots before the stop", _once("reboot", command="compose pull"), killed=True),
    Case("the host reboots between stop and start", _once("reboot"), killed=True, leaves_down=True),
]

OTHERS = [
    Case("an update's Setup is at work", _always("concurrent_update"), options={"lock_timeout": 1}, says=STOPPED,
         long=True),
    Case(
        "a container of Setup was left behind", by_hand=by_hand.setup_left_behind, options={"lock_timeout": 1},
        says=("docker rm -f", *STOPPED),
    ),
    Case(
        "somebody runs bitwarden.sh update", by_hand=by_hand.another_script, options={"lock_timeout": 1},
        says=("bitwarden.sh update", *STOPPED),
    ),
    Case("another run holds the lock", by_hand=by_hand.another_run, options={"lock_timeout": 1}, says=("lock",)),
    Case("a line of the env file is malformed", by_hand=by_hand.malformed_line, says=("line",)),
    Case("the env file is cut off", by_hand=by_hand.file_cut, says=("line",), long=True),
    Case("the env file is lost", by_hand=by_hand.file_lost, says=("does not exist",)),
    Case("the compose file is broken", by_hand=by_hand.compose_file_broken, says=("yaml",)),
    Case("run.sh is lost", by_hand=by_hand.worker_lost, says=("run.sh does not exist",)),
    Case("bitwarden.sh is not executable", by_hand=by_hand.script_not_executable, says=("chmod u+x", *STOPPED)),
    Case("an update was begun and not finished", by_hand=by_hand.script_newer, says=("finish the update", *STOPPED)),
    Case(
        "the override file says otherwise", by_hand=by_hand.override_contradicts,
        options={"environment": {KEY: "wanted"}}, says=("docker-compose.override.yml", *STOPPED),
    ),
    Case("a service was stopped by hand", by_hand=by_hand.service_stopped),
    Case("a container was removed by hand", by_hand=by_hand.service_removed, long=True),
    Case("the server is down before the run", by_hand=by_hand.all_stopped),
    Case(
        "the server is down, and so is the registry", _always("registry_down"), by_hand=by_hand.all_stopped,
    ),
]  # fmt: skip

DOOR = [
    Case(
        "the address given for the front door is wrong", options={"url": "https://localhost:1"},
        says=("https://localhost:1", "own address", *STOPPED),
    ),
    Case("the front door's certificate has run out", _always("tls_expired"), says=("certificate", *STOPPED)),
    Case("the front door's certificate is of an unknown authority", _always("tls_unknown_ca"), says=("ca_path",),
         long=True),
    Case("the front door's certificate is for another name", _always("tls_wrong_host"), says=STOPPED, long=True),
]  # fmt: skip

BROKEN_SETTING = _always("container_crashes_with", key=KEY, value=VALUE)
BAD_SETTING = "the server does not start with the new setting"
ON_MANUAL = [
    Case("no registry", _always("registry_down"), deployment="manual", says=REGISTRY),
    Case(
        "no registry is asked (pull: missing)", _always("registry_down"), deployment="manual",
        options={"pull": "missing"},
    ),
    Case("the start fails once", _once("compose_up_fails"), deployment="manual", long=True),
    Case(
        BAD_SETTING, BROKEN_SETTING, deployment="manual", options={"timeout": 10}, says=WENT_BACK,
    ),
    Case("the play is killed between stop and start", _once("run_killed"), deployment="manual", killed=True,
         leaves_down=True),
]  # fmt: skip
ON_LITE = [
    Case("no registry", _always("registry_down"), deployment="lite", says=REGISTRY),
    Case("the start fails once", _once("compose_up_fails"), deployment="lite"),
    Case(BAD_SETTING, BROKEN_SETTING, deployment="lite", options={"timeout": 10}, says=WENT_BACK),
    Case("the container never answers", _once("start_never_ready"), deployment="lite", options={"timeout": 10},
         says=WENT_BACK, long=True),
]  # fmt: skip
ON_LITE_RUN = [
    Case("no registry", _always("registry_down"), deployment="lite-run", says=REGISTRY),
    Case("another program takes the port for a moment", _once("port_taken"), deployment="lite-run"),
    Case(BAD_SETTING, BROKEN_SETTING, deployment="lite-run", options={"timeout": 10}, says=WENT_BACK),
    Case("the play is killed between stop and start", _once("run_killed", command="run"), deployment="lite-run",
         killed=True, leaves_down=True),
    Case("an earlier run was killed with the old container put aside", by_hand=by_hand.put_aside,
         deployment="lite-run"),
    Case("Docker's daemon does not run", _always("docker_daemon_down"), deployment="lite-run",
         says=("systemctl start docker",), long=True),
]  # fmt: skip

GROUPS = {
    "Images and registry": IMAGES,
    "Docker": DOCKER,
    "Stop and start": STARTS,
    "Disks, and the moment of writing": DISKS,
    "Runs that end half-way": ENDS,
    "Others at work, and files by hand": OTHERS,
    "The front door": DOOR,
    "Manual deployment (no bitwarden.sh)": ON_MANUAL,
    "Lite with compose": ON_LITE,
    "Lite with docker run": ON_LITE_RUN,
}
CASES = [case for cases in GROUPS.values() for case in cases]
