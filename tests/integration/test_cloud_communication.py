"""Role cloud_communication beyond the help page: proxy, certificate authorities, values for Helm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from labkit import ROOT, Lab, Play

ROLE = """\
- hosts: bitwarden
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: selfhosted.bitwarden.cloud_communication
"""
PROXY = "http://someone:pass-word-of-proxy@localhost:3128"
SERVICES = {"identity", "api", "admin", "notifications", "sso", "events", "web", "icons", "mssql", "nginx", "localhost"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One server; the tests run in order on it."""
    lab = Lab(tmp_path_factory.mktemp("role"), "--servers", "1", "--regions", "EU")
    yield lab
    lab.down()


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    """The role alone."""
    path = tmp_path / "role.yml"
    path.write_text(ROLE)
    return path


def play(lab: Lab, playbook: Path, *options: str, ok: bool = True) -> Play:
    """Run the role on all servers of the lab."""
    done = Play(lab.run("ansible-playbook", str(playbook), *options))
    assert not ok or done.status == 0, done.output
    return done


def settings(lab: Lab) -> dict[str, str]:
    """The env file as a dictionary."""
    lines = lab.env_file("eu1").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def restarts(lab: Lab) -> int:
    """How often the server was restarted."""
    return int(lab.state()["servers"]["eu1"]["restarts"])


def test_a_proxy_is_written_with_the_names_that_must_not_go_through_it(
    lab: Lab, playbook: Path, tmp_path: Path
) -> None:
    # Ansible prints what is given on its command line.
    given = tmp_path / "proxy.yml"
    given.write_text(f"cloud_communication_proxy: {PROXY}\ncloud_communication_no_proxy: [ldap.example.com]\n")
    proxy = ("-e", f"@{given}")
    check = play(lab, playbook, *proxy, "--check", "--diff", "-vvvv")
    first = play(lab, playbook, *proxy, "--diff", "-vvvv")
    assert check.changed() == first.changed() != {}
    assert settings(lab)["https_proxy"] == PROXY
    assert {*SERVICES, "ldap.example.com"} <= set(settings(lab)["no_proxy"].split(","))
    assert "pass-word-of-proxy" not in check.output + first.output
    assert play(lab, playbook, *proxy).changed() == {}
    # Unset means not managed.
    assert play(lab, playbook).changed() == {}


def test_the_proxy_is_taken_out_again(lab: Lab, playbook: Path) -> None:
    before = restarts(lab)
    done = play(lab, playbook, "-e", '{"cloud_communication_proxy": ""}')
    assert len(done.changed()["eu1"]) == 2
    assert not {"https_proxy", "no_proxy"} & set(settings(lab))
    assert restarts(lab) == before + 1
    assert play(lab, playbook, "-e", '{"cloud_communication_proxy": ""}').changed() == {}


def test_a_certificate_authority_reaches_the_containers(lab: Lab, playbook: Path, tmp_path: Path) -> None:
    authority = tmp_path / "company.crt"
    authority.write_bytes((lab.directory / "ca.pem").read_bytes())
    given = ("-e", f'{{"cloud_communication_ca_certificates": ["{authority}"]}}')
    there = lab.bwdata("eu1") / "ca-certificates" / "company.crt"
    before = restarts(lab)
    check = play(lab, playbook, *given, "--check")
    assert not there.exists()
    first = play(lab, playbook, *given)
    assert check.changed() == first.changed()
    assert there.read_bytes() == authority.read_bytes()
    assert restarts(lab) == before + 1
    assert play(lab, playbook, *given).changed() == {}
    assert restarts(lab) == before + 1


def test_helm_values_are_written_and_nothing_is_applied(tmp_path: Path, lab: Lab) -> None:
    target = ("-e", f"cloud_communication_helm_values={tmp_path}/{{{{ inventory_hostname }}}}.yaml")
    helm = ROOT / "playbooks" / "helm_values.yml"
    mark = lab.last()
    assert play(lab, helm, *target, "--check").changed()
    assert not list(tmp_path.glob("*.yaml"))
    play(lab, helm, *target)
    general = yaml.safe_load((tmp_path / "eu1.yaml").read_text())["general"]
    assert general == {
        "enableCloudCommunication": True,
        "cloudRegion": "EU",
        "cloudIdentityUri": "https://identity.bitwarden.eu",
        "cloudIdentityApiUri": "https://identity.bitwarden.eu",
        "cloudApiUri": "https://api.bitwarden.eu",
        "cloudPushRelayBaseUri": "https://push.bitwarden.eu",
        "pushRelayBaseUri": "https://push.bitwarden.eu",
    }
    assert play(lab, helm, *target).changed() == {}
    assert lab.last() == mark
    play(lab, helm, *target, "-e", "bitwarden_region=US", "-e", "cloud_communication_push=false")
    general = yaml.safe_load((tmp_path / "eu1.yaml").read_text())["general"]
    assert {key: value for key, value in general.items() if value is not None} == {
        "enableCloudCommunication": True,
        "cloudRegion": "US",
    }
