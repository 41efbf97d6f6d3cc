# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The faults that can be set, and what each of them does.

Limits: `server=us1` means that server and its calls to the cloud, `persona=cloud:US` (or `persona=server:us1`) the
front door of that persona, `path=` a part of the path (before a cloud and a front door also of "POST /path"),
`command=` the docker command (such as "compose up"), `image=` a part of an image's name, `count=` how often.
"""

from __future__ import annotations

FAULTS = {
    "registry_down": "images cannot be pulled",
    "registry_down_after_stop": "images cannot be pulled while the stack is down",
    "compose_up_fails": "docker compose up ends with an error",
    "registry_slow": "every image's pull takes seconds=; those of one `compose pull` go on at the same time",
    "image_missing": "the registry has no image= (a part of its name)",
    "images_pruned": "a clean-up removes every image that no container uses, right before images are needed (command=)",
    "setup_image_missing": "the setup image is not in the registry",
    "docker_daemon_down": "the daemon of Docker cannot be reached; containers go on (until= a moment, in seconds)",
    "docker_hangs": "the daemon answers after seconds= (600)",
    "docker_not_permitted": "the user may not use the daemon's socket",
    "docker_fails": "a docker command ends with an error of the daemon",
    "docker_restarts": "the daemon is restarted, and with it all containers; it is back after seconds= (2)",
    "compose_missing": "docker has no plugin `compose`",
    "reboot": "the host's power fails; containers that exist are started again, as `restart: always` has it",
    "run_killed": "whatever runs the command is killed: the play with all it started, or how=module the module alone",
    "connection_lost": "the controller is gone, and what it started on the host gets a hang-up signal",
    "stop_does_nothing": "`compose ps` fails, so that bitwarden.sh stops nothing and goes on",
    "stop_fails": "a container (service=, nginx) cannot be stopped; `compose down` fails after the others are gone",
    "port_taken": "another program has the port of the front door while the stack is down",
    "network_pool_exhausted": "no addresses are left for a network that has to be made",
    "script_fails_after_up": "Setup's last call in a restart fails, after the stack was started",
    "container_crashes": "the container of service= (api) ends as soon as it is started, over and over",
    "container_crashes_with": "so do all containers that have the setting key= (with value=, if given)",
    "slow_start": "containers take seconds= to answer",
    "start_never_ready": "containers run and never answer",
    "release_does_not_start": "containers of the newest release never answer",
    "release_download_fails": "bitwarden.sh cannot be downloaded (status=, or how=dns)",
    "database_backup_fails": "mssql writes no backup and complains of it, with exit status 0",
    "database_restore_fails": "mssql refuses to restore a backup",
    "disk_full": "no space is left: where=env (the env folder), backups, docker (images and containers) or all",
    "disk_read_only": "the file system of bwdata has become read-only",
    "killed_while_writing": "the module is killed while it writes the env file, at how=write, fsync or replace",
    "killed_between_write_and_restart": "the play dies after the env file is written",
    "cloud_unreachable": "nobody answers for the cloud (how=dns: its name is not known)",
    "cloud_status": "the cloud answers status= (retry_after= seconds)",
    "cloud_timeout": "the cloud answers nothing for seconds=",
    "truncated_body": "answers end in the middle",
    "not_json": "a login page answers in the cloud's place",
    "connection_reset": "connections are closed without an answer",
    "tls_unknown_ca": "the certificate's authority is not known",
    "tls_wrong_host": "the certificate is for another name",
    "tls_expired": "the certificate has run out",
    "wrong_installation": "the cloud issues licenses for another installation",
    "license_expired": "the cloud issues licenses that have run out",
    "license_too_many_seats": "the cloud issues licenses with fewer seats than are taken",
    "license_tampered": "the cloud's licenses are changed on the way",
    "license_of_another_organization": "the cloud answers with another organization's license",
    "version_not_supported": "the cloud issues licenses of a version that is not known",
    "clock_skew": "the clock is seconds= ahead (negative: behind)",
    "proxy_drops_get_bodies": "a proxy before the cloud drops the bodies of GET requests",
    "key_rotated_elsewhere": "somebody rotates the billing sync key right before it is used",
    "organization_disabled": "the cloud organization is disabled",
    "sync_says_ok_but_did_nothing": "a license sync answers 200 and changes nothing",
    "concurrent_update": "somebody else's update of the host is running",
}
OPTIONS = (
    "server", "persona", "path", "count", "seconds", "status", "retry_after", "how",
    "command", "image", "service", "key", "value", "where", "until",
)  # fmt: skip


class UnknownFault(ValueError):
    pass


def parse(name: str, pairs: list[str]) -> dict[str, str]:
    """Options from KEY=VALUE words; an unknown name or option says what there is."""
    if name not in FAULTS:
        raise UnknownFault(f"There is no fault '{name}'. There are: {', '.join(sorted(FAULTS))}")
    options = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or key not in OPTIONS:
            raise UnknownFault(f"'{pair}' is no option of a fault. Options: {', '.join(f'{key}=' for key in OPTIONS)}")
        options[key] = value
    return options


def check_docker(name: str, options: dict[str, str]) -> None:
    """Refuses what a lab on a real engine cannot do."""
    from bwlab.docker import faults as docker  # noqa: PLC0415 - the other engine has no need of it

    if reason := docker.refusal(name, options):
        raise UnknownFault(reason)
