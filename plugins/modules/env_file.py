#!/usr/bin/python
# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merge settings into an env file of a Bitwarden server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: env_file
short_description: Merge settings into an env file of a Bitwarden server
version_added: 0.1.0
description:
  - Sets and removes single keys in an env file such as C(bwdata/env/global.override.env) and leaves every other byte of
    it alone.
  - The file holds the installation's own secrets and is rewritten by Bitwarden's setup program. So this module never
    owns it. One key is one line, the line of an existing key is replaced where it stands, missing keys are appended.
  - A key that stands in the file twice, in another letter case, indented or after C(export) is made one plain line,
    because setup, compose and the server would each read a different one.
  - The new content is written beside the file, read back with the rules of compose (and with C(docker compose) itself
    where it is at hand), and put in place by a rename. Owner, mode, extended attributes and a symbolic link are kept.
  - A file that compose would refuse is not changed. Neither is one that would hold a proxy without C(no_proxy) for the
    server's own services, see O(no_proxy_needs).
  - Settings take effect when the containers are created again, see M(selfhosted.bitwarden.stack).
author:
  - selfhosted.bitwarden contributors (@selfhosted-bitwarden)
extends_documentation_fragment:
  - selfhosted.bitwarden.attributes
  - selfhosted.bitwarden.attributes.posix
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description:
      - The env file. A symbolic link is followed.
    type: path
    required: true
  keys:
    description:
      - Keys and their values. Booleans are written as V(true) and V(false).
      - Put the values of secret keys into O(secrets).
    type: dict
    default: {}
  lines:
    description:
      - Lines of the form C(KEY=VALUE), for example rendered by a template. Blank lines and comments are ignored.
      - They are read by the rules of compose, whatever the O(dialect) of the file.
    type: str
  secrets:
    description:
      - Keys with values that must not appear anywhere, not even in the system log. The address of a proxy with a login
        in it is such a value.
    type: dict
    default: {}
  absent:
    description:
      - Keys to remove, in any letter case.
      - Keys that Bitwarden's setup writes again at every update are refused here. Give them a value instead.
    type: list
    elements: str
    default: []
  unless_disabled:
    description:
      - Keys of O(keys), O(lines) or O(absent) that are left alone while the file holds an empty value, V(REPLACE) or
        V(SECRET) for them, which is how an administrator switches a setting off on purpose.
    type: list
    elements: str
    default: []
  read:
    description:
      - Keys whose values are returned in RV(read). Secret keys are refused, except for the installation id.
    type: list
    elements: str
    default: []
  create:
    description:
      - Create the file if it is missing, with mode V(0600) and the owner of its directory.
      - A missing C(global.override.env) is a lost one. Setup fills it up with new secrets that do not fit the database,
        so restore it from a backup rather than create it.
    type: bool
    default: false
  backup:
    description:
      - Keep a copy of the file before it is changed, with mode V(0600).
    type: bool
    default: false
  backup_dir:
    description:
      - Where copies are kept. The default is C(bwdata-backups) beside C(bwdata), because setup changes the owner of
        everything inside it.
    type: path
  rollback:
    description:
      - Keep the content that is replaced where M(selfhosted.bitwarden.stack) finds it, which puts it back if the server
        does not start with the new one. After several changes without a restart this is the content that ran last.
      - It is kept in C(bwdata-backups) beside C(bwdata), or in C(env-backups) beside a file that lies in no C(bwdata),
        with mode V(0600), until the server has been proven to run with the new content.
    type: bool
    default: false
  dialect:
    description:
      - Who reads the file. V(compose) is C(env_file) in a compose file, with quotation marks and references to
        variables.
      - V(docker_run) is C(docker run --env-file), which takes every character after the first C(=) for the value.
    type: str
    choices: [compose, docker_run]
    default: compose
  no_proxy_needs:
    description:
      - Names that C(no_proxy) has to hold if the file sets C(http_proxy), C(https_proxy) or C(all_proxy), in any letter
        case. Otherwise the server's services would ask each other through the proxy and refuse every request.
      - For the one container of Bitwarden Lite these are V(localhost) and V(127.0.0.1). An empty list demands nothing.
    type: list
    elements: str
    default: [identity, api, admin, notifications, localhost]
  lock_timeout:
    description:
      - How many seconds to wait for another run of this module on the same directory, and for Bitwarden's setup while
        it writes the file.
    type: int
    default: 60
seealso:
  - module: selfhosted.bitwarden.stack
"""

EXAMPLES = r"""
- name: Let a server in the EU talk to the Bitwarden cloud
  selfhosted.bitwarden.env_file:
    path: /opt/bitwarden/bwdata/env/global.override.env
    keys:
      globalSettings__enableCloudCommunication: true
      globalSettings__baseServiceUri__cloudRegion: EU
      globalSettings__installation__identityUri: https://identity.bitwarden.eu
      globalSettings__installation__apiUri: https://api.bitwarden.eu
      globalSettings__pushRelayBaseUri: https://push.bitwarden.eu
    unless_disabled:
      - globalSettings__pushRelayBaseUri
    backup: true

- name: Set the mail password
  selfhosted.bitwarden.env_file:
    path: /opt/bitwarden/bwdata/env/global.override.env
    secrets:
      globalSettings__mail__smtp__password: "{{ smtp_password }}"

- name: Read which region the server believes to belong to
  selfhosted.bitwarden.env_file:
    path: /opt/bitwarden/bwdata/env/global.override.env
    read:
      - globalSettings__baseServiceUri__cloudRegion
  register: region
"""

RETURN = r"""
path:
  description: The file with symbolic links resolved.
  returned: success
  type: str
  sample: /opt/bitwarden/bwdata/env/global.override.env
changes:
  description:
    - What was or would be changed. Secrets are shown as V(<redacted>), and keys that are not in the file as null.
  returned: success
  type: list
  elements: dict
  sample:
    - key: globalSettings__enableCloudCommunication
      before: null
      after: "true"
settings:
  description:
    - The values of the managed keys that are no secrets, as they are (in check mode would be) in the file, null where
      absent.
  returned: success
  type: dict
  sample:
    globalSettings__enableCloudCommunication: "true"
    globalSettings__installation__apiUri: null
read:
  description: The values of the keys named in O(read), null where absent.
  returned: success
  type: dict
  sample:
    globalSettings__baseServiceUri__cloudRegion: EU
hard_links:
  description: Other names of the file that keep the old content, because the new content has replaced this name.
  returned: when the file has hard links and was or would be changed
  type: list
  elements: str
  sample:
    - /srv/backup/global.override.env
backup_file:
  description: The copy of the file as it was.
  returned: when O(backup) is set and the file was changed
  type: str
  sample: /opt/bitwarden/bwdata-backups/global.override.env.20261124T101500.123456789
rollback_file:
  description: What the file held when its server last ran.
  returned: when O(rollback) is set and the file was changed to something else than that
  type: str
  sample: /opt/bitwarden/bwdata-backups/global.override.env.previous-5feceb66ffc86f38
"""

import contextlib
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    accounts,
    compose,
    env_file,
    env_wish,
    files,
    proxies,
    redact,
    rollback,
    settled,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.dotenv import EnvFileError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError, fail

if t.TYPE_CHECKING:
    from collections.abc import Callable

# How often somebody else may change the file between reading and writing.
_ATTEMPTS = 10

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "path": {"type": "path", "required": True},
    "keys": {"type": "dict", "default": {}, "no_log": False},
    "lines": {"type": "str"},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "absent": {"type": "list", "elements": "str", "default": []},
    "unless_disabled": {"type": "list", "elements": "str", "default": []},
    "read": {"type": "list", "elements": "str", "default": []},
    "create": {"type": "bool", "default": False},
    "backup": {"type": "bool", "default": False},
    "backup_dir": {"type": "path"},
    "rollback": {"type": "bool", "default": False},
    "dialect": {"type": "str", "choices": ["compose", "docker_run"], "default": "compose"},
    "no_proxy_needs": {"type": "list", "elements": "str", "default": list(proxies.SERVICES)},
    "lock_timeout": {"type": "int", "default": 60},
}


def run(
    params: dict[str, t.Any],
    check_mode: bool,
    warn: Callable[[str], None],
    problem_of: Callable[[bytes], str | None],
) -> dict[str, t.Any]:
    """Reads, merges, and replaces the file if anything is different."""
    dialect = env_wish.DIALECTS[params["dialect"]]
    given = {**params["keys"], **params["secrets"]}
    wish = env_wish.make_wish(given, params["lines"], params["absent"], params["unless_disabled"], dialect)
    path = os.path.realpath(params["path"])
    directory = os.path.dirname(path)
    with contextlib.nullcontext() if check_mode else files.locked(directory, params["lock_timeout"]):
        for _attempt in range(_ATTEMPTS):
            data, status = _present(path, params["create"], params["lock_timeout"])
            plan = env_file.merge(data, wish, path, dialect, params["no_proxy_needs"])
            result: dict[str, t.Any] = {
                "changed": plan.changed or status is None,
                "path": path,
                "changes": [change.shown() for change in plan.changes],
                "settings": plan.values,
                "read": env_file.read_values(plan.document, params["read"]),
                "diff": {"before_header": path, "after_header": path, **plan.diff},
            }
            told = list(plan.warnings)
            if result["changed"]:
                result.update(_links(path, status, told))
                if not check_mode:
                    check = problem_of if dialect is env_wish.COMPOSE else None
                    kept = _replace(path, (data, status), plan.data, params, problem_of=check, told=told)
                    if kept is None:
                        continue
                    result.update(kept)
            for text in told:
                warn(text)
            return result
    raise EnvFileError(
        f"{path} was changed by somebody else again and again, {_ATTEMPTS} times. It is as they left it.",
        next_step="Find out what writes it, and run again.",
    )


def _links(path: str, status: os.stat_result | None, told: list[str]) -> dict[str, t.Any]:
    files.check_replaceable(path, status)
    links = files.hard_links(path, status) if status else []
    if links:
        told.append(f"{path} has other names that keep the old content: {', '.join(links)}.")
    return {"hard_links": links} if links else {}


def _replace(
    path: str,
    old: tuple[bytes, os.stat_result | None],
    new: bytes,
    params: dict[str, t.Any],
    *,
    problem_of: Callable[[bytes], str | None] | None,
    told: list[str],
) -> dict[str, str] | None:
    """Puts the new content in place after the old one is kept; where that is, or None if somebody was faster."""
    data, status = old
    if problem_of is not None:
        _validate(data, new, path, told, problem_of)
    kept: dict[str, str] = {}
    if params["backup"] and status:
        place = params["backup_dir"] or files.backup_directory(path)
        kept["backup_file"] = files.backup(path, data, status, place)
    point = rollback.keep(path, data, new, status) if params["rollback"] and status else ""
    if point:
        kept["rollback_file"] = point
    replaced = settled.unchanged(path, data, status)
    if replaced:
        files.write(path, new, status)
    if params["rollback"]:
        rollback.settle(path)
    return kept if replaced else None


def _present(path: str, create: bool, timeout: float) -> tuple[bytes, os.stat_result | None]:
    found = settled.read(path, timeout)
    if found is not None:
        return found
    directory = os.path.dirname(path)
    if create and os.path.isdir(directory):
        return b"", None
    what = path if os.path.isdir(directory) else directory
    raise EnvFileError(
        f"{what} does not exist.",
        next_step="Check the path. If the file was lost, restore it from a backup before Bitwarden's setup runs: "
        "setup would make a new one with new secrets, which do not fit the database.",
    )


def _validate(
    before: bytes, after: bytes, path: str, told: list[str], problem_of: Callable[[bytes], str | None]
) -> None:
    """Lets the real compose read the new content while the old one is still in place."""
    problem = problem_of(after)
    if problem is None:
        return
    if problem_of(before) is None:
        raise EnvFileError(
            f"docker compose refuses the merged content of {path}: {problem}. Nothing was changed.",
            next_step="Report this with the names of the keys and the form of their values (not the values).",
        )
    told.append(f"docker compose could not check {path}: {problem}.")


def _hide_secrets(module: AnsibleModule) -> None:
    """Takes secrets out of the arguments that Ansible returns with the result."""
    keys = dict(module.params["keys"])
    lines = module.params["lines"]
    given = [key for key, value in keys.items() if redact.is_secret(str(key), str(value))]
    module.params["keys"] = {key: redact.REDACTED if key in given else value for key, value in keys.items()}
    if lines is not None:
        module.params["lines"] = "\n".join(redact.redact_line(line) for line in lines.splitlines())
    if given or module.params["lines"] != (None if lines is None else "\n".join(lines.splitlines())):
        module.warn("A secret was given in 'keys' or 'lines'; give it in 'secrets' to keep it out of the system log.")


def main() -> None:
    """Hand the arguments over and the result back."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = dict(module.params)
    _hide_secrets(module)
    account = accounts.Account(module.run_command)

    def _problem_of(data: bytes) -> str | None:
        return compose.env_file_problem(account, data, str(module.tmpdir)) if compose.available(account) else None

    try:
        result = run(params, module.check_mode, module.warn, _problem_of)
    except BitwardenError as error:
        fail(module, error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
