"""The module stack on a running lab, as playbooks use it: dead registries, killed plays, going back, no secrets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labkit import LAB, SITE, Lab, Play

JSON = "ANSIBLE_CALLBACK_RESULT_FORMAT=json"
KEY = "globalSettings__ownSetting"
PLAY = """\
---
- hosts: us1
  gather_facts: false
  tasks:
    - name: Write the settings
      selfhosted.bitwarden.env_file:
        path: "{{{{ bitwarden_dir }}}}/bwdata/env/global.override.env"
        keys: {{ {key}: {value} }}
        rollback: true
      when: {write}
    - name: Bring the stack to the state
      selfhosted.bitwarden.stack:
        directory: "{{{{ bitwarden_dir }}}}"
        url: "{{{{ bitwarden_url }}}}"
        {options}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One server; the tests of this file run in order on it."""
    lab = Lab(tmp_path_factory.mktemp("stack"), "--servers", "1", "--regions", "US")
    yield lab
    lab.down()


def playbook(lab: Lab, value: str | None, **options: object) -> Path:
    """Both tasks, or the second one alone."""
    text = "\n        ".join(f"{key}: {json.dumps(given)}" for key, given in {"timeout": 30, **options}.items())
    path = lab.directory / "stack.yml"
    path.write_text(PLAY.format(key=KEY, value=value, write=str(value is not None).lower(), options=text))
    return path


def run(lab: Lab, value: str | None = None, *words: str, **options: object) -> Play:
    """Run the tasks."""
    return Play(lab.run("env", JSON, "ansible-playbook", str(playbook(lab, value, **options)), *words))


def failure(play: Play) -> dict[str, Any]:
    """The result of the task that failed."""
    found = re.search(r"FAILED! => (\{.*\})$", play.output, re.MULTILINE)
    assert found, play.output
    result: dict[str, Any] = json.loads(found[1])
    return result


def server(lab: Lab) -> dict[str, Any]:
    """What the lab says of the server."""
    found: dict[str, Any] = lab.state()["servers"]["us1"]
    return found


def test_stopped_and_started(lab: Lab) -> None:
    for state, stack in (("stopped", "down"), ("started", "up")):
        assert run(lab, state=state).changed() == {"us1": ["Bring the stack to the state"]}
        assert server(lab)["stack"] == stack
        assert run(lab, state=state).changed() == {}


def test_a_registry_that_dies_after_the_stop_does_not_hurt(lab: Lab) -> None:
    lab.fault("registry_down_after_stop", server="us1")
    before = server(lab)["restarts"]
    play = run(lab, "one")
    assert play.status == 0, play.output
    assert "[WARNING]" not in play.output
    lab.clear()
    assert (server(lab)["stack"], server(lab)["restarts"]) == ("up", before + 1)
    assert run(lab, "one").changed() == {}


def test_a_setting_that_services_do_not_start_with_is_taken_back(lab: Lab) -> None:
    before = lab.env_file("us1").read_bytes()
    lab.fault("container_crashes_with", key=KEY, value="two", server="us1")
    play = run(lab, "two", timeout=10)
    result = failure(play)
    assert result["rolled_back"] is True
    assert result["server_state"] == "up with the previous settings"
    assert result["logs"] and result["script_output"]
    assert lab.env_file("us1").read_bytes() == before
    assert server(lab)["stack"] == "up"
    lab.clear()
    assert run(lab, "one").changed() == {}


@pytest.mark.parametrize("moment", ["compose pull", "compose down", "compose up", "run"])
def test_a_play_that_is_killed_is_healed_by_the_next(lab: Lab, moment: str) -> None:
    lab.fault("run_killed", server="us1", count=1, command=moment)
    value = moment.replace(" ", "-")
    assert run(lab, value).status not in (0, 2)
    healed = run(lab, value)
    assert healed.status == 0, healed.output
    assert server(lab)["stack"] == "up"
    assert f"{KEY}={value}\n" in lab.env_file("us1").read_text()
    assert run(lab, value).changed() == {}
    folder = lab.bwdata("us1").parent
    assert not [path for path in folder.rglob("*") if "selfhosted" in path.name or ".previous-" in path.name]


def test_a_controller_that_is_gone_leaves_a_restart_that_comes_to_its_end(lab: Lab) -> None:
    lab.fault("slow_start", server="us1", seconds=3, count=1)
    before = server(lab)["restarts"]
    command = [str(LAB), "run", "--dir", str(lab.directory), "--", "ansible-playbook", str(playbook(lab, "gone"))]
    play = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + 120
        while server(lab)["stack"] == "up":
            assert time.monotonic() < end, "the restart never began"
            time.sleep(0.1)
    finally:
        os.killpg(play.pid, signal.SIGHUP)
        play.wait(60)
    end = time.monotonic() + 120
    while server(lab)["restarts"] == before:
        assert time.monotonic() < end, "the restart ended with the controller"
        time.sleep(0.2)
    healed = run(lab, "gone")
    assert healed.status == 0, healed.output
    assert healed.changed() == {}
    assert (server(lab)["stack"], server(lab)["restarts"]) == ("up", before + 1)


def test_no_secret_is_told(lab: Lab) -> None:
    """At the highest verbosity, also of a restart that fails, of logs and of what docker inspect says."""
    outputs = [run(lab, "told", "-vvvv", "--diff", "--check").output, run(lab, "told", "-vvvv", "--diff").output]
    lab.fault("container_crashes_with", key=KEY, value="told-too", server="us1")
    failed = run(lab, "told-too", "-vvvv", "--diff", timeout=8)
    assert failed.status == 2
    lab.clear()
    outputs += [failed.output, lab.site("-vvvv", "--diff").output, run(lab, None, "-vvvv", state="stopped").output]
    outputs.append(run(lab, None, "-vvvv", state="started").output)
    text = lab.env_file("us1").read_text()
    secrets = set(lab.secrets()) | set(re.findall(r"Password=(\w+);", text))
    assert len(secrets) > 10
    assert not [secret for secret in secrets for output in outputs if secret in output]


def test_site_is_not_disturbed_by_any_of_this(lab: Lab) -> None:
    assert SITE.is_file()
    assert lab.site().changed() == {}
