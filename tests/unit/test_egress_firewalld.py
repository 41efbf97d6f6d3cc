# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the firewalld backend asks firewalld, and what it refuses; the real one is asked in tests/docker."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.firewalld import OURS, Firewalld
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.egress.model import (
    NOT_FOUND,
    EgressError,
    Endpoint,
    Opening,
    Wanted,
)

END = (Endpoint("192.0.2.1", 443),)
ZONE = "public (default)\n  target: default\n  interfaces: {interface}\n  ports: {ports}\n  rich rules: \n{rules}\n"
POLICY = (
    "{name} (active)\n  priority: {priority}\n  target: {target}\n  ingress-zones: {zone}\n  egress-zones: ANY\n"
    "  rich rules: \n{rules}\n"
)
RULE = '\trule family="ipv4" destination address="192.0.2.1" port port="443" protocol="tcp" accept\n'
HOST = Opening("host", 4, "tcp", 443, "192.0.2.1")


class Fake:
    """Answers by the words of a call; permanent answers are the same unless there are others."""

    def __init__(self, **answers: str) -> None:
        self.answers = {"get-zones": "docker public", "list-all-zones": ZONE.format(interface="", ports="", rules="")}
        self.answers.update({key.replace("_", "-"): value for key, value in answers.items()})
        self.calls: list[list[str]] = []
        self.fails: dict[str, int] = {"query-panic": 1}

    def __call__(self, argv: list[str], stdin: str = "") -> tuple[int, str, str]:
        self.calls.append(argv)
        names = [word[2:] for word in argv if word.startswith("--") and word not in ("--permanent", "--direct")]
        name = names[0].partition("=")[0] if names else argv[0]
        own = self.answers.get(f"permanent-{name}") if "--permanent" in argv else None
        return self.fails.get(name, 0), self.answers.get(name, "") if own is None else own, ""


@pytest.fixture(autouse=True)
def no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Firewalld, "folder", str(tmp_path))


def policy(name: str, zone: str, rules: str = RULE, priority: str = "-32768", target: str = "CONTINUE") -> str:
    return POLICY.format(name=name, zone=zone, rules=rules, priority=priority, target=target)


def test_policy_names_are_short_enough_for_firewalld() -> None:
    assert max(map(len, OURS)) <= 17


def test_what_is_there_reads_as_it_was_planned() -> None:
    backend = Firewalld(Fake(list_all_policies=policy("company", "HOST") + policy("bw-egress-host", "HOST")))
    assert backend.current() == backend.plan([HOST])
    assert backend.current().count("\n") == 2


def test_a_look_costs_two_questions_since_the_timer_asks_again_and_again() -> None:
    fake = Fake(list_all_policies=policy("bw-egress-host", "HOST"))
    assert Firewalld(fake).current() == Firewalld(fake).plan([HOST])
    assert len(fake.calls) == 2


def test_what_is_only_at_runtime_is_not_as_planned() -> None:
    backend = Firewalld(Fake(list_all_policies=policy("bw-egress-host", "HOST"), permanent_list_all_policies=""))
    assert backend.current() != backend.plan([HOST])
    assert backend.current().startswith("runtime policy bw-egress-host")


def test_a_policy_that_somebody_changed_is_not_as_planned() -> None:
    backend = Firewalld(Fake(list_all_policies=policy("bw-egress-host", "HOST", priority="-5")))
    assert backend.current() != backend.plan([HOST])


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (Wanted("firewalld", END, setup=False), "in one zone"),
        (Wanted("firewalld", END, setup=False, sources=("172.30.1.0/24",)), None),
        (Wanted("firewalld", END, containers=False), None),
        (Wanted("firewalld", END), None),
    ],
)
def test_containers_and_setup_differ_only_by_sources(wanted: Wanted, reason: str | None) -> None:
    found = Firewalld(Fake(ip="4: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0")).refusals(
        wanted
    )
    assert (reason is None and not found) or (reason is not None and reason in found[0])


def test_setup_without_a_bridge_and_containers_without_a_zone_are_refused() -> None:
    assert "docker0 has no address" in Firewalld(Fake()).refusals(Wanted("firewalld", END, containers=False))[0]
    assert "no zone docker" in Firewalld(Fake(get_zones="public")).refusals(Wanted("firewalld", END))[0]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"get_all_rules": "ipv4 filter OUTPUT 0 -j DROP"}, "OUTPUT 0 -j DROP"),
        ({"list_all_policies": policy("first", "HOST", "", target="DROP")}, "The policy first"),
    ],
)
def test_what_is_stronger_is_refused(answers: dict[str, str], reason: str) -> None:
    assert reason in Firewalld(Fake(**answers)).refusals(Wanted("firewalld", END))[0]


def test_panic_mode_an_old_firewalld_and_a_stopped_one_are_refused() -> None:
    for fails, reason in (
        ({"query-panic": 0}, "panic mode"),
        ({"list-all-policies": 2}, "no policies"),
        ({"list-all-policies": 252, "state": 252}, "not running"),
        ({"list-all-policies": NOT_FOUND, "state": NOT_FOUND}, "not running"),
    ):
        fake = Fake()
        fake.fails.update(fails)
        assert reason in Firewalld(fake).refusals(Wanted("firewalld", END))[0]


@pytest.mark.parametrize(
    ("loaded", "written", "told"),
    [
        ({"ports": "22/tcp"}, {}, "zone public, ports: 22/tcp (only at runtime)"),
        ({}, {"ports": "22/tcp"}, "zone public, ports: 22/tcp (only on disk)"),
        ({"rules": "\trule accept\n"}, {}, "zone public, rich rules: rule accept (only at runtime)"),
        ({"interface": "docker0"}, {}, None),
        ({"ports": "1/tcp 2/tcp"}, {"ports": "2/tcp 1/tcp"}, None),
    ],
)
def test_a_reload_that_would_change_more_is_refused(
    loaded: dict[str, str], written: dict[str, str], told: str | None
) -> None:
    empty = {"interface": "", "ports": "", "rules": ""}
    fake = Fake(list_all_zones=ZONE.format(**{**empty, **loaded}))
    fake.answers["permanent-list-all-zones"] = ZONE.format(**{**empty, **written})
    found = Firewalld(fake).refusals(Wanted("firewalld", END))
    assert (told is None and not found) or (told is not None and told in found[0])


def test_other_addresses_need_no_reload_and_are_added_before_the_old_ones_go() -> None:
    fake = Fake(list_all_policies=policy("bw-egress-host", "HOST"))
    Firewalld(fake).apply([Opening("host", 4, "tcp", 443, "192.0.2.2")])
    changes = [" ".join(call) for call in fake.calls if "-rich-rule=" in " ".join(call)]
    assert ["--add-rich" in line for line in changes] == [True, True, False, False]
    assert ["--permanent" in line for line in changes] == [False, True, False, True]
    assert ['address="192.0.2.2"' in line for line in changes] == [True, True, False, False]
    assert not any("--reload" in call for call in fake.calls)


def test_a_policy_that_cannot_be_made_leaves_nothing() -> None:
    fake = Fake(get_policies="bw-egress-host")
    fake.fails["policy"] = 1
    with pytest.raises(EgressError):
        Firewalld(fake).apply([HOST])
    assert fake.calls[-2] == ["firewall-cmd", "--permanent", "--delete-policy=bw-egress-host"]
    assert not any("--reload" in call for call in fake.calls)


def test_policies_of_a_stopped_firewalld_are_seen_and_not_removed_by_force(tmp_path: Path) -> None:
    fake = Fake()
    fake.fails.update({"state": 252, "list-all-policies": 252})
    assert Firewalld(fake).current() == ""
    Firewalld(fake).remove()
    (tmp_path / "bw-egress-host.xml").touch()
    assert "not running" in Firewalld(fake).current()
    with pytest.raises(EgressError, match="not running"):
        Firewalld(fake).remove()


def told(fake: Fake) -> list[str]:
    """What was asked that changes something."""
    words = ("add-", "remove-", "set-", "new-", "delete-", "reload")
    return [" ".join(call[1:]) for call in fake.calls if any(f"--{word}" in " ".join(call) for word in words)]


@pytest.mark.parametrize(
    ("opening", "name", "zone", "rule"),
    [
        (HOST, "bw-egress-host", "HOST", RULE),
        (
            Opening("containers", 4, "tcp", 443, "192.0.2.1", "172.30.1.0/24"),
            OURS[2],
            "ANY",
            RULE.replace("destination", 'source address="172.30.1.0/24" destination'),
        ),
        (
            Opening("setup", 4, "tcp", 443, "192.0.2.1"),
            OURS[2],
            "ANY",
            RULE.replace("destination", 'source address="172.17.0.0/16" destination'),
        ),
        (Opening("containers", 4, "tcp", 443, "192.0.2.1"), OURS[1], "docker", RULE),
    ],
)
def test_a_new_policy_is_made_on_disk_and_then_loaded(opening: Opening, name: str, zone: str, rule: str) -> None:
    fake = Fake(ip="4: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0")
    Firewalld(fake).apply([opening])
    asked = told(fake)
    change = f"--permanent --policy={name}"
    assert asked[:6] == [
        f"--permanent --new-policy={name}",
        f"{change} --set-priority=-32768",
        f"{change} --add-ingress-zone={zone}",
        f"{change} --add-egress-zone=ANY",
        f"{change} --add-rich-rule={rule.strip()}",
        "--reload",
    ]


def test_a_policy_that_somebody_changed_is_made_anew() -> None:
    fake = Fake(get_policies="bw-egress-host", list_all_policies=policy("bw-egress-host", "HOST", priority="-5"))
    Firewalld(fake).apply([HOST])
    assert told(fake)[:2] == ["--permanent --delete-policy=bw-egress-host", "--permanent --new-policy=bw-egress-host"]


def test_a_policy_that_nobody_wants_any_more_goes_from_disk_and_by_a_reload() -> None:
    fake = Fake(get_policies="bw-egress-host company", list_all_policies=policy("bw-egress-host", "HOST"))
    Firewalld(fake).remove()
    assert told(fake) == ["--permanent --delete-policy=bw-egress-host", "--reload"]
    assert [call[-1].rpartition("/")[2] for call in fake.calls if call[0] == "rm"] == ["bw-egress-host.xml.old"]
    fake = Fake()
    Firewalld(fake).remove()
    assert told(fake) == []


def test_where_a_reload_would_harm_a_policy_that_goes_is_emptied_instead() -> None:
    fake = Fake(
        get_policies="bw-egress-host",
        list_all_policies=policy("bw-egress-host", "HOST"),
        list_all_zones=ZONE.format(interface="", ports="22/tcp", rules=""),
    )
    fake.answers["permanent-list-all-zones"] = ZONE.format(interface="", ports="", rules="")
    Firewalld(fake).remove()
    own = "--policy=bw-egress-host"
    assert told(fake) == [
        "--permanent --delete-policy=bw-egress-host",
        f"{own} --remove-rich-rule={RULE.strip()}",
        f"{own} --remove-ingress-zone=HOST",
        f"{own} --remove-egress-zone=ANY",
    ]
    with pytest.raises(EgressError, match="A new policy needs a reload") as error:
        Firewalld(Fake(**{**fake.answers, "list-all-policies": ""})).apply([HOST])
    assert "runtime-to-permanent" in str(error.value.next_step)


def test_it_is_active_while_it_runs_and_keeps_its_rules() -> None:
    stopped = Fake()
    stopped.fails["state"] = 252
    assert (Firewalld(Fake()).active(), Firewalld(stopped).active(), Firewalld.durable) == (True, False, True)
    with pytest.raises(EgressError, match="not running"):
        Firewalld(stopped).apply([HOST])
