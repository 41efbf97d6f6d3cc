# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the filter egress_endpoints makes of a region and of wishes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.bitwarden.plugins.filter.egress_endpoints import FilterModule

endpoints = FilterModule().filters()["egress_endpoints"]
ALL = ["host", "containers", "setup"]
OWN = {"host": "ldap.example.com", "port": 636}


def refused(*given: Any, **wish: Any) -> str:
    with pytest.raises(AnsibleFilterError) as error:
        endpoints(*(given or ("US",)), **wish)
    text = str(error.value)
    assert "Next step:" in text
    return text


def test_a_region_needs_its_api_its_identity_and_its_push_relay() -> None:
    found = endpoints("EU")
    assert [(one["host"], one["kind"], one["paths"], one["via"]) for one in found["list"]] == [
        ("api.bitwarden.eu", "api", ALL, "direct"),
        ("identity.bitwarden.eu", "identity", ALL, "direct"),
        ("push.bitwarden.eu", "push", ["host", "containers"], "direct"),
    ]
    assert found["rules"][0] == {"name": "api.bitwarden.eu", "port": 443, "protocol": "tcp", "paths": ALL}
    assert found["probe"][2]["kind"] == "push"
    assert found["proxy_allow_list"] == []
    assert [one["kind"] for one in endpoints("EU", push=False)["list"]] == ["api", "identity"]


def test_a_region_of_one_s_own_may_have_ports() -> None:
    own = {"name": "Lab", "api": "https://lab.example:8443/api", "identity": "https://lab.example/identity"}
    found = endpoints(own)
    assert [(one["host"], one["port"], one["kind"]) for one in found["list"]] == [
        ("lab.example", 8443, "api"),
        ("lab.example", 443, "identity"),
    ]
    plain = endpoints({**own, "api": "http://127.0.0.1/api"})
    assert plain["list"][0]["port"] == 80


def test_features_bring_their_hosts() -> None:
    found = endpoints("US", features=["registry", "icons"])["list"][3:]
    assert [(one["host"], one["kind"], one["paths"]) for one in found] == [
        ("ghcr.io", "registry", ["host"]),
        ("pkg-containers.githubusercontent.com", "registry", ["host"]),
        ("icons.bitwarden.net", "icons", ["containers"]),
    ]
    assert "no feature magic" in refused(features=["magic", "icons"])


def test_through_a_proxy_only_the_proxy_is_opened_and_what_it_cannot_carry() -> None:
    wish = {
        "own": [OWN, {**OWN, "host": "2001:DB8::1"}, {"host": "ntp.example.com", "port": 123, "protocol": "UDP"}],
        "smtp": [{"host": "Mail.Example.com.", "port": "587"}],
        "resolv_conf": ["nameserver 127.0.0.53\n", "# comment\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n"],
    }
    found = endpoints("US", proxy="http://me:secret@proxy.example.com:3128", **wish)
    assert [(one["name"], one["port"], one["protocol"]) for one in found["rules"]] == [
        ("ntp.example.com", 123, "udp"),
        ("mail.example.com", 587, "tcp"),
        ("192.0.2.53", 53, "udp"),
        ("192.0.2.53", 53, "tcp"),
        ("fe80::1", 53, "udp"),
        ("fe80::1", 53, "tcp"),
        ("proxy.example.com", 3128, "tcp"),
    ]
    assert found["proxy_allow_list"] == sorted(
        [
            "api.bitwarden.com:443",
            "identity.bitwarden.com:443",
            "push.bitwarden.com:443",
            "ldap.example.com:636",
            "[2001:db8::1]:636",
        ]
    )
    # Neither UDP nor name look-ups can be probed by a connection.
    assert {one["name"] for one in found["probe"]} & {"ntp.example.com", "192.0.2.53"} == set()
    assert "secret" not in str(found)
    direct = endpoints("US", **wish)
    assert {one["via"] for one in direct["list"]} == {"direct"} and direct["proxy_allow_list"] == []


def test_mail_goes_from_the_containers_and_the_kind_of_one_s_own_follows_from_its_port() -> None:
    mail = {"host": "mail.example.com", "port": 25}
    own = [OWN, {"host": "idp.example.com", "port": 443}, {**OWN, "port": 443, "kind": "icons", "paths": ["host"]}]
    found = endpoints("US", smtp=[mail, {**mail, "paths": ["host"]}], own=own)["list"][3:]
    assert [(one["kind"], one["paths"]) for one in found] == [
        ("tcp", ALL),
        ("web", ALL),
        ("icons", ["host"]),
        ("smtp", ["containers"]),
        ("smtp", ["host"]),
    ]


def test_what_is_wanted_twice_is_opened_once() -> None:
    found = endpoints("US", own=[OWN, OWN, {**OWN, "kind": "other"}])
    assert len(found["list"]) == 5
    assert [one["name"] for one in found["rules"]].count("ldap.example.com") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"host": "*.example.com"}, "is a pattern"),
        ({"host": "https://ldap.example.com"}, "not a host name or an address"),
        ({"host": "ldap.example.com:636"}, "not a host name or an address"),
        ({"host": "192.0.2.300"}, "which is no host name"),
        ({"host": "a..b"}, "which is no host name"),
        ({"host": "-a.example"}, "which is no host name"),
        ({"host": ""}, "which is no host name"),
        ({"host": None}, "which is no host name"),
        ({"host": ".".join(["a" * 60] * 5)}, "which is no host name"),
        ({"port": 0}, "has the port 0"),
        ({"port": 65536}, "has the port 65536"),
        ({"port": "https"}, "has the port 'https'"),
        ({"port": None}, "has the port None"),
        ({"protocol": "sctp"}, "has the protocol 'sctp'"),
        ({"paths": ["host", "everywhere"]}, "has the paths host, everywhere"),
    ],
)
def test_an_endpoint_that_cannot_be_opened_is_refused(change: dict[str, Any], words: str) -> None:
    assert words in refused(own=[{**OWN, **change}])


@pytest.mark.parametrize("port", [1, 65535, "443"])
def test_every_port_there_is_can_be_opened(port: Any) -> None:
    assert endpoints("US", own=[{**OWN, "port": port}])["list"][3]["port"] == int(port)


@pytest.mark.parametrize(
    "proxy",
    ["proxy.example.com:3128", "socks5://p:1", "http://proxy.example.com", "http://p:port", "http://p:1/path",
     "http://p:1/?a=b", "http://:3128"],
)  # fmt: skip
def test_a_proxy_that_is_not_written_as_one_is_refused(proxy: str) -> None:
    assert "The proxy is not written as an address with a port" in refused(proxy=proxy)


def test_name_servers_on_this_machine_alone_are_none_to_open() -> None:
    assert "names no name server on another machine" in refused(resolv_conf=["nameserver ::1\n", "nameserver\n"])
    assert "Mars" in refused("Mars")
