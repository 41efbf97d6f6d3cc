# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The faults that can be set, and what each of them does.

Limits: `server=us1` means that server and its calls to the cloud, `persona=cloud:US` (or `persona=server:us1`) the
front door of that persona, `path=` a part of the path, `count=` how often.
"""

from __future__ import annotations

FAULTS = {
    "registry_down": "images cannot be pulled",
    "registry_down_after_stop": "images cannot be pulled while the stack is down",
    "compose_up_fails": "docker compose up ends with an error",
    "setup_image_missing": "the setup image is not in the registry",
    "slow_start": "containers take seconds= to answer",
    "start_never_ready": "containers run and never answer",
    "disk_full": "no space is left in the host's env folder",
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
OPTIONS = ("server", "persona", "path", "count", "seconds", "status", "retry_after", "how")


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
