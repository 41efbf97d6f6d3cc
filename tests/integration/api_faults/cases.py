"""The cases: what is broken, and what a person who reads the message must find in it."""

from __future__ import annotations

from typing import Any

from integration.api_faults import by_hand
from integration.api_faults.by_hand import change, remove, setting
from integration.api_faults.runs import Case
from integration.api_faults.site import CHANGED, CLOUD, CONNECTED, KEYED, PLAYBOOK, SERVER, UNTOUCHED, Site

KEY = "billing_sync_token"
CONNECT = "billing_sync"
SYNC = "license_sync"
LICENSE = "license"
OFFER = "sponsorship"
OFFERS = "sponsorship_info"
FACTS = "organization_info"
INSTALLATION = "installation_info"

AT_CLOUD = {"persona": "cloud:US"}
AT_DOOR = {"persona": "server:us1"}
# Between the server and its cloud.
ON_THE_WAY = {"server": "us1"}
NOBODY = "http://127.0.0.1:1"
GUID = "8318521f-7d7d-4692-8de0-b50a00eabedc"
IDENTITY = "globalSettings__installation__identityUri"
API = "globalSettings__installation__apiUri"
RETRY = {"retries": 2}
# A subscription that ended while the organization was left enabled, and a plan that has none.
ENDED = change(CLOUD, "Organization", ExpirationDate="2026-01-01 00:00:00")
FREE = change(CLOUD, "Organization", PlanType=by_hand.FREE_PLAN)


def _fault(name: str, *limits: dict[str, Any], **options: Any) -> tuple[tuple[str, dict[str, Any]], ...]:
    merged: dict[str, Any] = {}
    for limit in limits:
        merged |= limit
    return ((name, {**merged, **options}),)


def _owner_of_the_eu(site: Site) -> dict[str, Any]:
    entry = site.secrets["eu1"]["cloud_owner"]
    return {"client_id": entry["client_id"], "client_secret": entry["client_secret"]}


def _server_as_cloud(site: Site) -> dict[str, Any]:
    return {"region": None, "url": site.url}


def _cloud_as_server(site: Site) -> dict[str, Any]:
    return {"url": site.lab.addresses["clouds"]["US"]["vault"]}


def _cut(path: str, *limits: dict[str, Any]) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The connection ends before the server has got the request."""
    return _fault("connection_reset", *limits, path=path, count=1)


def _lost_answer(path: str, *limits: dict[str, Any]) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The server does what it is asked for, and its answer ends in the middle."""
    return _fault("truncated_body", *limits, path=path, count=1)


CLOUDS = [
    Case(
        "429, and the cloud says when to come back",
        KEY,
        _fault("cloud_status", AT_CLOUD, status=429, retry_after=0, count=1),
        options={"rate_limit_wait": 10},
    ),
    Case(
        "429 for longer than the task may wait",
        KEY,
        _fault("cloud_status", AT_CLOUD, status=429, retry_after=600),
        options={"rate_limit_wait": 10},
        says=("too many requests", "rate_limit_wait"),
    ),
    Case(
        "429 that does not say how long",
        KEY,
        _fault("cloud_status", AT_CLOUD, status=429),
        options={"rate_limit_wait": 10},
        says=("too many requests",),
        long=True,
    ),
    Case("500 at the login", KEY, _fault("cloud_status", AT_CLOUD, status=500, path="/connect/token"), says=("500",)),
    Case("500 for the key", KEY, _fault("cloud_status", AT_CLOUD, status=500, path="/api-key"), says=("500",)),
    Case(
        "502 page of a gateway, once",
        KEY,
        _fault("cloud_status", AT_CLOUD, status=502, path="/profile", count=1),
        options=RETRY,
    ),
    Case("502 page of a gateway", KEY, _fault("cloud_status", AT_CLOUD, status=502), says=("502",), long=True),
    Case(
        "503 page of a gateway",
        KEY,
        _fault("cloud_status", AT_CLOUD, status=503, path="/profile"),
        options=RETRY,
        says=("503",),
    ),
    Case("login page of a proxy", KEY, _fault("not_json", AT_CLOUD), says=("proxy",)),
    Case(
        "login page of a proxy for the api alone",
        KEY,
        _fault("not_json", AT_CLOUD, path="/profile"),
        says=("proxy",),
        long=True,
    ),
    Case(
        "slow", KEY, _fault("cloud_timeout", AT_CLOUD, seconds=30), options={"timeout": 1}, says=("within 1 seconds",)
    ),
    Case("connection cut", KEY, _fault("connection_reset", AT_CLOUD), says=("got no answer",)),
    Case("connection cut before the key is made", KEY, _cut("POST /organizations", AT_CLOUD), says=("got no answer",)),
    Case("answer with the new key cut", KEY, _lost_answer("POST /organizations", AT_CLOUD), says=("got no answer",)),
    Case("answer to the login cut", KEY, _lost_answer("POST /connect", AT_CLOUD), says=("got no answer",), long=True),
    Case("unreachable behind the proxy", KEY, _fault("cloud_unreachable", AT_CLOUD), says=("https_proxy",)),
    Case(
        "the proxy does not run",
        KEY,
        environment={"HTTPS_PROXY": NOBODY, "https_proxy": NOBODY},
        says=("proxy",),
        long=True,
    ),
    Case(
        "a name that does not exist",
        KEY,
        options={
            "region": None,
            "api_url": "https://api.bitwarden.invalid",
            "identity_url": "https://identity.bitwarden.invalid",
        },
        environment={"HTTPS_PROXY": None, "https_proxy": None},
        says=("dns",),
    ),
    Case("certificate of an unknown authority", KEY, _fault("tls_unknown_ca", AT_CLOUD), says=("ca_path",)),
    Case("certificate for another name", KEY, _fault("tls_wrong_host", AT_CLOUD), says=("another host",), long=True),
    Case("certificate has run out", KEY, _fault("tls_expired", AT_CLOUD), says=("has expired",), long=True),
]

CALLERS = [
    Case(
        "wrong client secret",
        KEY,
        options={"client_secret": "x" * 30},
        says=("client_secret", "settings, security, keys"),
    ),
    Case("API key was rotated", KEY, by_hand=change(CLOUD, "User", ApiKey="y" * 30), says=("rotated key",), long=True),
    Case(
        "something else was pasted as client secret",
        KEY,
        options={"client_secret": "z" * 300},
        says=("client_secret",),
        long=True,
    ),
    Case("API key of an organization", KEY, options={"client_id": f"organization.{GUID}"}, says=("user who owns",)),
    Case("API key of the other region", KEY, options=_owner_of_the_eu, says=("region",)),
    Case("wrong master password", KEY, options={"master_password": "not the password"}, says=("master password",)),
    Case(
        "account without a master password",
        KEY,
        by_hand=change(CLOUD, "User", MasterPassword=None),
        says=("master password",),
    ),
    Case(
        "two-step login is on",
        KEY,
        by_hand=change(CLOUD, "User", TwoFactorProviders='{"0": {"Enabled": true, "MetaData": {"Key": "K"}}}'),
    ),
    Case("admin, but no owner", KEY, by_hand=change(CLOUD, "OrganizationUser", Type=by_hand.ADMIN), says=("owner",)),
    Case(
        "owner who is not confirmed yet",
        KEY,
        by_hand=change(CLOUD, "OrganizationUser", Status=by_hand.ACCEPTED),
        says=("confirmed owner",),
        long=True,
    ),
    Case("the organization's name is misspelt", KEY, options={"organization": "Acne"}, says=("it sees",)),
    Case("a self-hosted server in the cloud's place", KEY, options=_server_as_cloud, says=("self-hosted server",)),
    Case(
        "another run is at work on the organization",
        KEY,
        by_hand=by_hand.lock_held,
        options={"lock_timeout": 1},
        says=("another run",),
    ),
]

ORGANIZATIONS = [
    Case("organization disabled", KEY, by_hand=change(CLOUD, "Organization", Enabled=0)),
    Case(
        "plan without billing sync",
        KEY,
        by_hand=change(CLOUD, "Organization", PlanType=by_hand.FREE_PLAN),
        says=("teams and enterprise",),
    ),
    Case("two rows of keys", KEY, start=KEYED, by_hand=by_hand.second_key, says=("support",)),
    Case("installation unknown in this region", INSTALLATION, options={"installation_id": GUID}),
    Case("installation disabled", INSTALLATION, by_hand=change(CLOUD, "Installation", Enabled=0), long=True),
    Case("region cannot be reached", INSTALLATION, _fault("cloud_unreachable", AT_CLOUD), says=("proxy",)),
]

SERVERS = [
    Case(
        "cloud communication is off",
        CONNECT,
        start=KEYED,
        by_hand=setting(globalSettings__enableCloudCommunication="false"),
        says=("restart",),
    ),
    Case("the stack is down", CONNECT, start=KEYED, by_hand=by_hand.stopped, says=("got no answer",)),
    Case(
        "the server restarts: nginx is up, the api is not",
        CONNECT,
        start=KEYED,
        by_hand=by_hand.api_not_ready,
        says=("502",),
    ),
    Case(
        "the server restarts while it gets the connection",
        CONNECT,
        _cut("POST /api/organizations", AT_DOOR),
        start=KEYED,
        says=("got no answer",),
    ),
    Case(
        "the server restarts after it took the connection",
        CONNECT,
        _lost_answer("POST /api/organizations", AT_DOOR),
        start=KEYED,
        says=("got no answer",),
    ),
    Case(
        "500",
        CONNECT,
        _fault("cloud_status", AT_DOOR, status=500, path="POST /api"),
        start=KEYED,
        says=("500",),
        long=True,
    ),
    Case(
        "slow",
        CONNECT,
        _fault("cloud_timeout", AT_DOOR, seconds=30),
        start=KEYED,
        options={"timeout": 1},
        says=("within 1 seconds",),
        long=True,
    ),
    Case("login page of a proxy", CONNECT, _fault("not_json", AT_DOOR), start=KEYED, says=("proxy",), long=True),
    Case(
        "certificate of an unknown authority",
        CONNECT,
        _fault("tls_unknown_ca", AT_DOOR),
        start=KEYED,
        says=("ca_path",),
        long=True,
    ),
    Case(
        "certificate for another name",
        CONNECT,
        _fault("tls_wrong_host", AT_DOOR),
        start=KEYED,
        says=("another host",),
        long=True,
    ),
    Case(
        "certificate has run out",
        CONNECT,
        _fault("tls_expired", AT_DOOR),
        start=KEYED,
        says=("has expired",),
        long=True,
    ),
    Case(
        "wrong client secret",
        CONNECT,
        start=KEYED,
        options={"client_secret": "x" * 30},
        says=("client_secret",),
        long=True,
    ),
    Case("the cloud in the server's place", CONNECT, start=KEYED, options=_cloud_as_server, says=("own server",)),
    Case(
        "admin, but no owner",
        CONNECT,
        start=KEYED,
        by_hand=change(SERVER, "OrganizationUser", Type=by_hand.ADMIN),
        says=("owner",),
        long=True,
    ),
    Case("license file is lost", CONNECT, start=KEYED, by_hand=by_hand.license_lost, says=("license file",)),
    Case("license file was edited", CONNECT, start=KEYED, by_hand=by_hand.license_broken, says=("license file",)),
    Case(
        "clock behind the cloud's",
        CONNECT,
        _fault("clock_skew", ON_THE_WAY, seconds=-90 * 86400),
        start=KEYED,
        says=("clock",),
    ),
    Case(
        "two rows of connections",
        CONNECT,
        start=CONNECTED,
        by_hand=by_hand.connected_twice,
        options={"billing_sync_token": "N" * 30},
        says=("2 billing sync connections",),
    ),
    Case(
        "two rows of connections are removed",
        CONNECT,
        start=CONNECTED,
        by_hand=by_hand.connected_twice,
        options={"state": "absent"},
        always={"state": "absent"},
    ),
    Case(
        "connection cut while it is removed",
        CONNECT,
        _cut("DELETE /api", AT_DOOR),
        start=CONNECTED,
        options={"state": "absent"},
        always={"state": "absent"},
        says=("got no answer",),
    ),
    Case(
        "organization disabled at the server",
        CONNECT,
        start=KEYED,
        by_hand=change(SERVER, "Organization", Enabled=0),
        long=True,
    ),
    Case(
        "a proxy for the containers without NO_PROXY",
        FACTS,
        start=CONNECTED,
        by_hand=setting(HTTP_PROXY=NOBODY),
        says=("no_proxy",),
    ),
    Case(
        "another run is at work on the organization",
        CONNECT,
        start=KEYED,
        by_hand=by_hand.lock_held,
        options={"lock_timeout": 1},
        says=("another run",),
        long=True,
    ),
]

SYNCS = [
    Case(
        "cloud communication is off",
        SYNC,
        start=CONNECTED,
        by_hand=setting(globalSettings__enableCloudCommunication="false"),
        says=("enablecloudcommunication",),
    ),
    Case("no connection", SYNC, start=KEYED, by_hand=by_hand.not_connected, says=("missing",), long=True),
    Case(
        "connection disabled",
        SYNC,
        start=CONNECTED,
        by_hand=by_hand.connection_disabled,
        says=("is disabled",),
        long=True,
    ),
    Case("token was rotated at the cloud", SYNC, start=CONNECTED, by_hand=by_hand.rotated, says=("rotated",)),
    Case(
        "token of another organization",
        SYNC,
        start=CONNECTED,
        says=("fetched from the wrong server",),
        by_hand=by_hand.another_organizations_token,
    ),
    Case(
        "organization disabled at the cloud",
        SYNC,
        _fault("organization_disabled", ON_THE_WAY),
        start=CONNECTED,
        says=("disabled at the cloud",),
    ),
    Case(
        "no active subscription: it has ended",
        SYNC,
        start=CONNECTED,
        by_hand=ENDED,
        says=("the subscription of", "ended on 2026-01-01", "settle"),
    ),
    Case("no active subscription: the plan has none", SYNC, start=CONNECTED, by_hand=FREE, says=("settle",), long=True),
    Case(
        "license for another installation",
        SYNC,
        _fault("wrong_installation", ON_THE_WAY),
        start=CONNECTED,
        says=("another installation",),
    ),
    Case(
        "license changed on the way",
        SYNC,
        _fault("license_tampered", ON_THE_WAY),
        start=CONNECTED,
        says=("changed on the way",),
        long=True,
    ),
    Case(
        "license of another organization",
        SYNC,
        _fault("license_of_another_organization", ON_THE_WAY),
        start=CONNECTED,
        says=("that of another organization",),
        by_hand=by_hand.another_organization_at_the_cloud,
        long=True,
    ),
    Case("license has run out", SYNC, _fault("license_expired", ON_THE_WAY), start=CONNECTED, long=True),
    Case(
        "license with fewer seats than are taken",
        SYNC,
        _fault("license_too_many_seats", ON_THE_WAY),
        start=CONNECTED,
        says=("seats",),
    ),
    Case(
        "license newer than the server",
        SYNC,
        _fault("version_not_supported", ON_THE_WAY),
        start=CONNECTED,
        says=("update the server",),
    ),
    Case(
        "license file cannot be written",
        SYNC,
        start=CONNECTED,
        by_hand=by_hand.license_unwritable,
        says=("cannot write the license file",),
    ),
    Case(
        "clock two minutes behind the cloud's", SYNC, _fault("clock_skew", ON_THE_WAY), start=CONNECTED, says=("clock",)
    ),
    Case(
        "installation disabled at the cloud",
        SYNC,
        start=CONNECTED,
        says=("is disabled at the cloud",),
        by_hand=change(CLOUD, "Installation", Enabled=0),
    ),
    Case(
        "installation unknown at the cloud",
        SYNC,
        start=CONNECTED,
        says=("is not known at the cloud",),
        by_hand=remove(CLOUD, "Installation"),
    ),
    Case(
        "the region's addresses are those of the other one",
        SYNC,
        start=CONNECTED,
        by_hand=setting(
            **{
                IDENTITY: "https://identity.bitwarden.eu",
                API: "https://api.bitwarden.eu",
            }
        ),
    ),
    Case(
        "cloud unreachable from the server",
        SYNC,
        _fault("cloud_unreachable", ON_THE_WAY),
        start=CONNECTED,
        says=("refuses or cuts",),
    ),
    Case(
        "the cloud's name does not resolve at the server",
        SYNC,
        _fault("cloud_unreachable", ON_THE_WAY, how="dns"),
        start=CONNECTED,
        says=("does not resolve",),
        long=True,
    ),
    Case(
        "api unreachable, identity not",
        SYNC,
        _fault("cloud_unreachable", ON_THE_WAY, path="/licenses"),
        start=CONNECTED,
        long=True,
    ),
    Case(
        "cloud hangs",
        SYNC,
        _fault("cloud_timeout", ON_THE_WAY, seconds=1),
        start=CONNECTED,
        says=("did not answer in time",),
    ),
    Case(
        "connection to the cloud cut",
        SYNC,
        _fault("connection_reset", ON_THE_WAY),
        start=CONNECTED,
        says=("refuses or cuts",),
        long=True,
    ),
    Case(
        "TLS to the cloud is inspected",
        SYNC,
        _fault("tls_unknown_ca", ON_THE_WAY),
        start=CONNECTED,
        says=("tls is inspected",),
    ),
    Case(
        "429 of the cloud for the server",
        SYNC,
        _fault("cloud_status", ON_THE_WAY, status=429),
        start=CONNECTED,
        says=("ten syncs a minute",),
    ),
    Case(
        "500 of the cloud for the server",
        SYNC,
        _fault("cloud_status", ON_THE_WAY, status=500, path="/licenses"),
        start=CONNECTED,
        long=True,
    ),
    Case(
        "503 page of a gateway for the server",
        SYNC,
        _fault("cloud_status", ON_THE_WAY, status=503),
        start=CONNECTED,
        says=("in trouble",),
        long=True,
    ),
    Case(
        "login page of a proxy for the server",
        SYNC,
        _fault("not_json", ON_THE_WAY),
        start=CONNECTED,
        says=("captive portal",),
    ),
    Case(
        "answer of the cloud ends in the middle",
        SYNC,
        _fault("truncated_body", ON_THE_WAY, path="/licenses"),
        start=CONNECTED,
        says=("cut the answer",),
        long=True,
    ),
    Case(
        "a proxy drops the bodies of GET",
        SYNC,
        _fault("proxy_drops_get_bodies", ON_THE_WAY),
        start=CONNECTED,
        says=("body",),
    ),
    Case(
        "a proxy for the containers without NO_PROXY",
        SYNC,
        start=CONNECTED,
        by_hand=setting(HTTP_PROXY=NOBODY),
        says=("no_proxy",),
    ),
    Case(
        "something answers in the server's place, and nothing was done",
        SYNC,
        _fault("sync_says_ok_but_did_nothing", ON_THE_WAY),
        start=CONNECTED,
        says=("its last sync is still never",),
    ),
    Case("the server restarts before it syncs", SYNC, _cut("/sync", AT_DOOR), start=CONNECTED, says=("got no answer",)),
    Case(
        "504 page of nginx while the server syncs",
        SYNC,
        _fault("cloud_status", AT_DOOR, status=504, path="/sync"),
        start=CONNECTED,
        says=("504",),
    ),
    Case(
        "the new license cannot be read back",
        SYNC,
        _fault("cloud_status", AT_DOOR, status=500, path="/subscription"),
        start=CONNECTED,
    ),
]

LICENSES = [
    Case("cloud unreachable", LICENSE, _fault("cloud_unreachable", AT_CLOUD), start=CHANGED, says=("proxy",)),
    Case(
        "429 of the cloud for longer than the task may wait",
        LICENSE,
        _fault("cloud_status", AT_CLOUD, status=429, retry_after=600),
        start=CHANGED,
        says=("too many requests",),
        long=True,
    ),
    Case(
        "login page of a proxy in the license's place",
        LICENSE,
        _fault("not_json", AT_CLOUD, path="/license"),
        start=CHANGED,
        says=("proxy",),
    ),
    Case(
        "license cut in the middle",
        LICENSE,
        _lost_answer("/license", AT_CLOUD),
        start=CHANGED,
        says=("closed before",),
    ),
    Case(
        "installation unknown in this region",
        LICENSE,
        start=CHANGED,
        options={"installation_id": GUID},
        says=("region",),
    ),
    Case(
        "organization disabled at the cloud",
        LICENSE,
        start=CHANGED,
        by_hand=change(CLOUD, "Organization", Enabled=0),
        says=("disabled",),
    ),
    Case(
        "no active subscription: it has ended",
        LICENSE,
        start=CHANGED,
        by_hand=ENDED,
        says=("no active subscription", "settle"),
    ),
    Case(
        "no active subscription: the plan has none",
        LICENSE,
        start=CHANGED,
        by_hand=FREE,
        says=("no active subscription", "free plan"),
        long=True,
    ),
    Case(
        "no owner at the cloud",
        LICENSE,
        start=CHANGED,
        by_hand=change(CLOUD, "OrganizationUser", Type=by_hand.ADMIN),
        says=("owner",),
    ),
    Case(
        "license for another installation",
        LICENSE,
        _fault("wrong_installation"),
        start=CHANGED,
        says=("installation",),
    ),
    Case("license changed on the way", LICENSE, _fault("license_tampered"), start=CHANGED),
    Case("license newer than the server", LICENSE, _fault("version_not_supported"), start=CHANGED, says=("update",)),
    Case("license with fewer seats than are taken", LICENSE, _fault("license_too_many_seats"), start=CHANGED),
    Case(
        "clock two minutes behind the cloud's",
        LICENSE,
        _fault("clock_skew", ON_THE_WAY),
        start=CHANGED,
        says=("clock",),
    ),
    Case(
        "the server restarts before it gets the license",
        LICENSE,
        _cut("POST /api/organizations/licenses", AT_DOOR),
        start=CHANGED,
        says=("closed before",),
    ),
    Case(
        "the server restarts after it took the license",
        LICENSE,
        _lost_answer("POST /api/organizations/licenses", AT_DOOR),
        start=CHANGED,
        says=("closed before",),
    ),
    Case(
        "a proxy takes no body of this size (413)",
        LICENSE,
        _fault("cloud_status", AT_DOOR, status=413, path="POST /api/organizations/licenses"),
        start=CHANGED,
        says=("413", "a proxy before the server", "client_max_body_size"),
    ),
    Case(
        "license file cannot be written",
        LICENSE,
        start=CHANGED,
        by_hand=by_hand.license_unwritable,
        says=("license file",),
    ),
    Case(
        "file over the server's limit of 51,200 bytes",
        LICENSE,
        start=CHANGED,
        options=by_hand.new_license(padding=60_000),
        says=("51200",),
    ),
    Case("file that is no license", LICENSE, start=CHANGED, options=by_hand.file_of(b"<html>Log in</html>")),
    Case("file that is not there", LICENSE, start=CHANGED, options={"src": "/nowhere/license.json", "cloud": None}),
    Case("file of another installation", LICENSE, start=CHANGED, options=by_hand.new_license(GUID)),
]
SPONSORSHIPS = [
    Case("the stack is down", OFFER, by_hand=by_hand.stopped, says=("closed before",)),
    Case("wrong client secret", OFFER, options={"client_secret": "x" * 30}, says=("client_secret",), long=True),
    Case("500", OFFER, _fault("cloud_status", AT_DOOR, status=500, path="POST /api"), says=("500",)),
    Case(
        "the server restarts before it gets the offer",
        OFFER,
        _cut("POST /api/organization/sponsorship", AT_DOOR),
        says=("closed before",),
    ),
    Case(
        "the server restarts after it took the offer",
        OFFER,
        _lost_answer("POST /api/organization/sponsorship", AT_DOOR),
        says=("closed before",),
    ),
    Case(
        "member who does not manage users",
        OFFER,
        by_hand=change(SERVER, "OrganizationUser", Type=by_hand.USER),
        says=("manage",),
    ),
    Case(
        "license without sponsorships by administrators",
        OFFER,
        by_hand=change(SERVER, "Organization", UseAdminSponsoredFamilies=0),
    ),
    Case("all seats are taken", OFFER, by_hand=change(SERVER, "Organization", Seats=1), says=("seats",)),
    Case("a revocation awaits its sync", OFFER, by_hand=by_hand.revoked_and_not_synced, says=("sync",)),
    Case(
        "no address for the family",
        OFFER,
        options={"sponsorships": [{"friendly_name": "Family One", "admin_initiated": True}]},
        says=("email",),
    ),
]
OFFERS_READ = [
    Case("the stack is down", OFFERS, by_hand=by_hand.stopped, says=("closed before",)),
    Case("wrong client secret", OFFERS, options={"client_secret": "x" * 30}, says=("client_secret",), long=True),
    Case("500 for the list", OFFERS, _fault("cloud_status", AT_DOOR, status=500, path="/sponsored"), says=("500",)),
    Case(
        "500 for the last sync",
        OFFERS,
        _fault("cloud_status", AT_DOOR, status=500, path="/sync-status"),
        says=("500",),
        long=True,
    ),
    Case(
        "502 page of a gateway, once",
        OFFERS,
        _fault("cloud_status", AT_DOOR, status=502, path="/sponsored", count=1),
        options=RETRY,
    ),
    Case("login page of a proxy for the list", OFFERS, _fault("not_json", AT_DOOR, path="/sponsored"), says=("proxy",)),
    Case("answer with the list cut", OFFERS, _lost_answer("/sponsored", AT_DOOR), says=("closed before",), long=True),
    Case("slow", OFFERS, _fault("cloud_timeout", AT_DOOR, seconds=30), options={"timeout": 1}, says=("within 1 s",)),
    Case(
        "member who does not manage users",
        OFFERS,
        by_hand=change(SERVER, "OrganizationUser", Type=by_hand.USER),
    ),
    Case(
        "cloud communication is off",
        OFFERS,
        by_hand=setting(globalSettings__enableCloudCommunication="false"),
        long=True,
    ),
]
# site.yml from the first task to the last, on a server that nothing was done to yet.
PLAYS = [
    Case(
        "500 of the cloud at the login",
        PLAYBOOK,
        _fault("cloud_status", AT_CLOUD, status=500, path="/connect/token"),
        start=UNTOUCHED,
        says=("logging in at the cloud", "500"),
    ),
    Case(
        "429 for longer than a task may wait",
        PLAYBOOK,
        _fault("cloud_status", AT_CLOUD, status=429, retry_after=600, path="/connect/token"),
        start=UNTOUCHED,
        says=("too many requests",),
        long=True,
    ),
    Case(
        "wrong master password",
        PLAYBOOK,
        start=UNTOUCHED,
        options={"master_password": "not the password"},
        says=("master password",),
        long=True,
    ),
    Case(
        "the server refuses the license that it gets: organization disabled at the cloud",
        PLAYBOOK,
        _fault("organization_disabled", ON_THE_WAY),
        start=UNTOUCHED,
        says=("syncing the license", "disabled at the cloud"),
        long=True,
    ),
    Case(
        "the server does not reach the cloud, though the controller does",
        PLAYBOOK,
        _fault("cloud_unreachable", ON_THE_WAY),
        start=UNTOUCHED,
        says=("the server's log", "refuses or cuts", "troubleshooting.md"),
        long=True,
    ),
    Case(
        "something else answers the server in place of the cloud",
        PLAYBOOK,
        _fault("not_json", ON_THE_WAY),
        start=UNTOUCHED,
        says=("the server's log", "captive portal"),
        long=True,
    ),
    Case(
        "no active subscription: it has ended",
        PLAYBOOK,
        start=UNTOUCHED,
        by_hand=ENDED,
        says=("settle",),
        long=True,
    ),
    Case(
        "the first of two organizations is done, the second is disabled at the cloud",
        PLAYBOOK,
        start=UNTOUCHED,
        by_hand=by_hand.second_organization_disabled,
        says=("acme two: syncing the license", "disabled at the cloud"),
    ),
]
GROUPS = {
    "The cloud, and the way there": CLOUDS,
    "Who asks": CALLERS,
    "The organization and the installation at the cloud": ORGANIZATIONS,
    "The self-hosted server": SERVERS,
    "The license sync: the server and its cloud": SYNCS,
    "The license: downloaded, checked, uploaded": LICENSES,
    "Sponsorships": [*SPONSORSHIPS, *OFFERS_READ],
    "The whole run": PLAYS,
}
CASES = [case for cases in GROUPS.values() for case in cases]
