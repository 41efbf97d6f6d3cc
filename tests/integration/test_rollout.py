"""How a change reaches many servers: checks on all of them, one server first, and no further after a failure.

The tests run in order on one lab.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from labkit import ROOT, Lab, Play

HOSTS = ("us1", "us2", "us3")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three fresh servers in one region."""
    lab = Lab(tmp_path_factory.mktemp("rollout"), "--servers", "3", "--regions", "US")
    yield lab
    lab.down()


def restarts(lab: Lab) -> dict[str, int]:
    """How often each server was restarted."""
    return {name: server["restarts"] for name, server in lab.state()["servers"].items()}


def test_a_change_that_breaks_the_first_server_reaches_no_other(lab: Lab) -> None:
    before = lab.state()["servers"]
    lab.fault("start_never_ready")
    play = lab.site("-e", "cloud_communication_timeout=8", ok=False)
    lab.clear()
    assert [host for host, recap in play.recap.items() if recap["failed"]] == ["us1"]
    assert play.status != 0
    after = lab.state()["servers"]
    assert after["us1"]["restarts"] > 0
    assert {name: after[name] for name in HOSTS[1:]} == {name: before[name] for name in HOSTS[1:]}


def test_a_server_that_the_checks_refuse_is_left_out_and_the_others_are_served_one_first(lab: Lab) -> None:
    text = lab.env_file("us2").read_text()
    lab.env_file("us2").write_text(text + 'NOTE="without end\n')
    before = lab.state()["servers"]
    play = lab.site(ok=False)
    lab.env_file("us2").write_text(text)
    assert {host: recap["failed"] for host, recap in play.recap.items()} == {"us1": 0, "us2": 1, "us3": 0}
    state = lab.state()["servers"]
    assert {name: state[name]["stack"] for name in HOSTS} == dict.fromkeys(HOSTS, "up")
    assert state["us2"]["restarts"] == before["us2"]["restarts"] == 0
    assert (
        len([line for line in play.output.splitlines() if line.startswith("TASK [") and "Restart the s" in line]) == 2
    )


def test_servers_that_need_no_restart_do_not_count_for_the_rollout(lab: Lab) -> None:
    before = restarts(lab)
    play = lab.site("-e", '{"bitwarden_serial": 1}')
    assert [host for host, tasks in play.changed().items() if any("Restart" in task for task in tasks)] == ["us2"]
    assert restarts(lab) == {**before, "us2": 1}


def test_disconnecting_rolls_out_in_the_same_way(lab: Lab) -> None:
    before = restarts(lab)
    play = Play(lab.run("ansible-playbook", str(ROOT / "playbooks" / "disconnect.yml")))
    assert play.status == 0, play.output
    state = lab.state()["servers"]
    assert {name: server["organizations"][0]["connection"] for name, server in state.items()} == dict.fromkeys(HOSTS)
    assert restarts(lab) == {name: count + 1 for name, count in before.items()}
