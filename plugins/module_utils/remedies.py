# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an answer of Bitwarden means, and what to do about it: a table, and two functions that read it."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError

if t.TYPE_CHECKING:
    from ansible_collections.selfhosted.bitwarden.plugins.module_utils.http import Response

# What a module was about to do; the same status means different things in different places.
TOKEN = "token"  # noqa: S105 - the name of an operation
PROFILE = "profile"
INSTALLATION = "installation"
KEY_INFORMATION = "key information"
KEY = "billing sync key"
VERIFY_PASSWORD = "verify password"  # noqa: S105 - the name of an operation
CONNECTION_READ = "read connection"
CONNECTION_SAVE = "save connection"
CONNECTION_DELETE = "delete connection"
SUBSCRIPTION = "subscription"
LICENSE_SYNC = "license sync"

KEYS = (KEY_INFORMATION, KEY)
CONNECTIONS = (CONNECTION_READ, CONNECTION_SAVE, CONNECTION_DELETE)
ORGANIZATION = (*KEYS, *CONNECTIONS, SUBSCRIPTION, LICENSE_SYNC)
ANYWHERE: tuple[str, ...] = ()

# What a web server answers while Bitwarden behind it does not run.
GATEWAY_TROUBLE = (502, 503, 504)

LOG = "bwdata/logs/api/Api/YYYYMMDD.txt on the server"

_NEW_API_KEY = (
    "Take client_id and client_secret of the API key anew from Settings, Security, Keys of that account, "
    "in the same region or on the same server that the task calls."
)
_OWNER = (
    "Use the API key of a confirmed owner of this organization, and the id that the organization has on this very "
    "server (its id at the cloud and its id at the self-hosted server differ)."
)
_LICENSE_FILE = (
    "Put a fresh license in place: sync the license if the organization has a connection already, "
    "else upload the license file in the organization's subscription page."
)
_CLOCK = "Set the server's clock (two seconds behind the cloud are enough for this), then sync again."
_REPORT = "This is a mistake of the caller; please report it with the text above."
_KEY_AGAIN = "Fetch the billing sync token again (billing_sync_token) and apply it (billing_sync)."


@dataclass(frozen=True)
class Remedy:
    """Why something failed, and what to do about it."""

    cause: str
    next_step: str


@dataclass(frozen=True)
class Rule:
    """One row: where it is met, with which status and words, and what it means."""

    where: tuple[str, ...]
    status: int
    said: str
    cause: str
    next_step: str

    def matches(self, operation: str, status: int, said: str) -> bool:
        """Whether the row fits an answer."""
        return (
            (not self.where or operation in self.where) and status == self.status and bool(re.search(self.said, said))
        )


RULES: tuple[Rule, ...] = (
    # Logging in with an API key.
    Rule(
        (TOKEN,),
        400,
        r"^invalid_client",
        "the server does not know this pair of client_id and client_secret",
        f"{_NEW_API_KEY} A rotated key counts at once, and an account of one region is unknown in the others.",
    ),
    Rule(
        (TOKEN,),
        400,
        r"^(invalid_scope|invalid_request|unauthorized_client|unsupported_grant_type)",
        "the request for a token has an odd shape, often because something else was pasted as client_secret",
        f"Look at the length of client_secret (30 characters). {_NEW_API_KEY}",
    ),
    Rule(
        (TOKEN,),
        400,
        r"^(version_header_missing|invalid_client_version)",
        "the server got no client version that it accepts",
        "Set client_version to a dotted number such as 2026.7.0; "
        "if it is set, find the proxy that drops the header Bitwarden-Client-Version.",
    ),
    Rule(
        (TOKEN,),
        400,
        r"^device_error",
        "the server got no usable device",
        "Leave device_identifier and device_name at their defaults, or give both (up to 50 characters).",
    ),
    Rule(
        (TOKEN,),
        400,
        r"Legacy encryption",
        "the account is so old that it has no user key",
        "Use the API key of another owner.",
    ),
    Rule(
        (TOKEN,),
        400,
        r"Username or password is incorrect",
        "the account behind the API key does not exist any more",
        f"Use the API key of another owner. {_NEW_API_KEY}",
    ),
    Rule(
        (TOKEN,),
        400,
        r"Two factor|Two-step|Sso authentication|New device|invalid new device otp",
        "the server wants more than a password, which it never asks of an API key",
        "Log in with the account's API key (client_id user.…), not with a password.",
    ),
    # Anything that a token should have opened.
    Rule(
        ANYWHERE,
        429,
        r"",
        "too many requests came from this address (the cloud gives ten tokens a minute, failed ones counted)",
        "Wait a minute, or raise rate_limit_wait; fetch a token once per cloud organization, not once per server.",
    ),
    Rule(
        ANYWHERE,
        401,
        r"issuer",
        "the server's API cannot fetch its own signing keys: a proxy is set for the containers without NO_PROXY",
        "Name the services (identity, api and the others) in NO_PROXY of bwdata/env/global.override.env, and restart.",
    ),
    Rule(
        ANYWHERE,
        401,
        r"expired at|not valid before",
        "the clocks of the server's identity and API services differ",
        "Set the clocks of the hosts that run them, then try again.",
    ),
    Rule(
        ANYWHERE,
        401,
        r"invalid_token",
        "the token was made by another server than the one that got it, or was changed on the way",
        "Check that api_url and identity_url belong to one server, and look for a proxy that changes headers.",
    ),
    Rule(
        ANYWHERE,
        401,
        r"^(Bearer|an empty body)",
        "the token did not arrive",
        "Look for a proxy on the way that drops the header Authorization.",
    ),
    Rule(
        (LICENSE_SYNC,),
        401,
        r"^Unauthorized\.",
        "the server cannot write the license file",
        "On the server, give bwdata/core/licenses to the user and group of bwdata/env/uid.env; "
        "no directory may stand in the file's place.",
    ),
    Rule(
        ANYWHERE,
        403,
        r"^an empty body",
        "this kind of API key may not do this",
        "Use a user's API key (client_id user.…), not an organization's or an installation's.",
    ),
    Rule(
        ANYWHERE,
        400,
        r"Only allowed when not self hosted",
        "the address is a self-hosted server, and this only exists at the Bitwarden cloud",
        "Give the cloud's region (US, EU, Gov) in region, and the API key of the owner there.",
    ),
    Rule(
        ANYWHERE,
        400,
        r"Only allowed when self hosted|outside of a self-hosted instance",
        "the address is the Bitwarden cloud, and this only exists at a self-hosted server",
        "Give the address of your own server in url, and the API key of the owner there.",
    ),
    Rule(
        ANYWHERE,
        400,
        r"value '.*' is (not valid|invalid)|could not be converted",
        "an id or another value has a form that the server does not know",
        _REPORT,
    ),
    # The key at the cloud.
    Rule(
        (KEY, VERIFY_PASSWORD),
        400,
        r"Invalid password",
        "the master password is not that of the account whose API key was used",
        "Correct master_password; it and the API key must belong to one account, and that account must have one.",
    ),
    Rule((KEY,), 400, r"must be supplied", "no master password was given", "Set master_password."),
    Rule(
        (KEY,),
        500,
        r"",
        "the cloud cannot give this key; when several calls asked for the first key at once, it never can again",
        "Try again once. If it stays, never rotate the key: keep the one that works and ask Bitwarden's support "
        "to remove the others.",
    ),
    Rule(
        KEYS,
        404,
        r"^Resource not found",
        "the account is no owner of that organization, or its plan has no billing sync (Teams and Enterprise do)",
        _OWNER,
    ),
    # The connection at the self-hosted server.
    Rule(CONNECTIONS, 400, r"do not have permission", "the account is no confirmed owner of the organization", _OWNER),
    Rule(
        (CONNECTION_SAVE,),
        400,
        r"already has a connection",
        "the organization has two connections, made by two runs at the same time",
        "Run billing_sync with state=absent once, which removes all of them, then with state=present.",
    ),
    Rule(
        (CONNECTION_SAVE,),
        400,
        r"Cannot verify license file",
        "the organization's license file on the server is missing, changed, over a year old, "
        "or, by the server's clock, of the future",
        f"Compare the server's clock with the real time, and set it if it is behind. Else: {_LICENSE_FILE}",
    ),
    Rule(
        (CONNECTION_SAVE, LICENSE_SYNC),
        400,
        r"^Version 0 is not supported",
        "the server read a license without content: the cloud's download was copied into bwdata by hand, or "
        "something that is not Bitwarden answers in place of the cloud",
        "Never copy a downloaded license into bwdata/core/licenses: upload it in the organization's subscription "
        "page. If nobody did, check globalSettings__installation__apiUri and the proxy.",
    ),
    Rule(
        (CONNECTION_SAVE,),
        500,
        r"",
        "the organization's license file on the server is empty or no JSON",
        f"{_LICENSE_FILE} The exception is in {LOG}.",
    ),
    Rule(
        (CONNECTION_READ,),
        500,
        r"",
        "what the server stored for this connection cannot be read",
        "Delete the connection in the server's admin portal or database, then apply the token again.",
    ),
    Rule(
        (CONNECTION_SAVE, CONNECTION_DELETE),
        404,
        r"",
        "the connection was deleted meanwhile, or belongs to another organization",
        "Run the task again.",
    ),
    Rule(
        (CONNECTION_SAVE,),
        400,
        r"configuration malformed|Unknown Organization connection|type cannot be changed",
        "a part of the request was left out",
        _REPORT,
    ),
    # The license on the server, and its sync.
    Rule(
        (SUBSCRIPTION, LICENSE_SYNC),
        400,
        r"IDX10222",
        "the server's clock is behind the cloud's, so that it takes a new license for one from the future",
        _CLOCK,
    ),
    Rule((SUBSCRIPTION,), 400, r"IDX10223", "the license on the server is over a year old", _LICENSE_FILE),
    Rule(
        (SUBSCRIPTION,),
        400,
        r"IDX\d+",
        "the license file on the server was changed or was made for another",
        _LICENSE_FILE,
    ),
    Rule((SUBSCRIPTION,), 500, r"", "the license file on the server is missing or unreadable", _LICENSE_FILE),
    Rule(
        (LICENSE_SYNC,),
        404,
        r"^Resource not found",
        "the organization has no billing sync connection, or the account is no confirmed owner of it",
        f"Apply the billing sync token first (billing_sync). {_OWNER}",
    ),
    Rule(
        (LICENSE_SYNC,),
        400,
        r"^Cloud communication is disabled",
        "the running server was started without cloud communication",
        "Set globalSettings__enableCloudCommunication=true in bwdata/env/global.override.env and restart with "
        "./bitwarden.sh restart (role cloud_communication does both); if the file says so already, "
        "the restart is missing.",
    ),
    Rule(
        (LICENSE_SYNC,),
        400,
        r"^Connection disabled",
        "the billing sync connection is disabled",
        "Enable it (billing_sync with enabled=true).",
    ),
    Rule(
        (LICENSE_SYNC,),
        400,
        r"^(Failed to get Billing Sync Key|No saved Connection config|Error parsing Connection config)",
        "the billing sync connection holds no token",
        _KEY_AGAIN,
    ),
    Rule(
        (LICENSE_SYNC,),
        400,
        r"cloud-hosted organization is currently disabled",
        "the organization is disabled at the cloud",
        "Settle its subscription at the cloud, then sync again.",
    ),
    Rule(
        (LICENSE_SYNC,),
        400,
        r"installation ID does not match",
        "the cloud's license is for another installation than the one that the server runs with",
        "Correct globalSettings__installation__id and __key in bwdata/env/global.override.env, and restart.",
    ),
    Rule(
        (LICENSE_SYNC,),
        400,
        r"does not allow for on-premise hosting",
        "the plan of the cloud organization has no self-hosting",
        "Change the plan at the cloud (Enterprise, Teams or Families).",
    ),
    Rule(
        (LICENSE_SYNC,),
        400,
        r"already in use by another organization",
        "another organization of this server has this license",
        "Connect each organization to a cloud organization of its own.",
    ),
    Rule(
        (LICENSE_SYNC,),
        400,
        r"currently has|new plan does not allow|new license does not allow",
        "the new license allows less than the organization uses",
        "Reduce what the text names, or extend the plan at the cloud; then sync again.",
    ),
    Rule(
        (LICENSE_SYNC,),
        400,
        r"^Version \d+ is not supported",
        "the license has a newer format than this server knows",
        "Back up bwdata, update the server, and sync again.",
    ),
    Rule(
        (LICENSE_SYNC,),
        400,
        r"^Invalid license",
        "the license that arrived was changed on the way, or does not come from the Bitwarden cloud",
        "Check globalSettings__installation__apiUri and the proxy between server and cloud.",
    ),
    Rule(
        (LICENSE_SYNC,),
        400,
        r"Check your internet connection",
        "the server got no license from the cloud and says this for nearly every reason",
        f"Look in {LOG} for the lines of this minute with GetSelfHostedOrganizationLicenseQuery. Most likely first: "
        "(1) 'Invalid Billing Sync Key': the token was rotated at the cloud; fetch and apply it again. "
        "(2) 'Unsuccessful token response … BadRequest': installation id or key is wrong, or the URIs are those of "
        "another region; set all values of one region (installation_info tells which), and restart. "
        "(3) 'Unable to authenticate with identity server' or 'Failed to send to': DNS, firewall, proxy or TLS "
        "inspection between the containers and the cloud; the exception below the line names it. "
        "(4) 'No active subscription found': the cloud organization has expired. "
        "(5) 'Invalid license key' or 'Resource not found': the license on the server is of another cloud "
        "organization; upload the right one, then apply the token again. "
        "(6) 'TooManyRequests': wait a minute, and sync fewer servers behind one address at a time. "
        "(7) 'any JSON tokens' or 'invalid start of a value': a proxy drops the body of GET or answers itself. "
        "(8) 'InternalServerError': the cloud organization has no token yet, or the cloud is in trouble.",
    ),
    Rule(
        (LICENSE_SYNC,),
        500,
        r"",
        "something that is not Bitwarden answered in place of the cloud's identity service, such as a captive portal",
        f"Let the identity host of the region through, check globalSettings__installation__identityUri, "
        f"and see the exception in {LOG}.",
    ),
    Rule(
        (LICENSE_SYNC,),
        504,
        r"",
        "the cloud did not answer the server in time, as when a firewall drops packets",
        "Let the containers reach the api and identity hosts of the region on port 443.",
    ),
    # Addresses and gateways.
    Rule(
        ORGANIZATION,
        404,
        r"^Resource not found",
        "the organization is unknown here, or the account is no confirmed owner of it",
        _OWNER,
    ),
    Rule(
        ANYWHERE,
        404,
        r"",
        "there is no Bitwarden at this address, or /api and /identity are missing or doubled in it",
        "Open the address with /config behind it (api_url, or url with /api): it must answer with JSON. "
        "Correct url, or api_url and identity_url.",
    ),
    Rule(
        ANYWHERE,
        502,
        r"",
        "the web server answers, but Bitwarden behind it does not run",
        "Wait until /api/alive answers; if it does not, look at ./bitwarden.sh and the containers on the server.",
    ),
    Rule(
        ANYWHERE,
        503,
        r"",
        "the service is not available at the moment",
        "Try again later; for the cloud see Bitwarden's status page.",
    ),
    Rule(ANYWHERE, 504, r"", "a gateway got no answer in time", "Try again later; look at the proxy in between."),
    Rule(
        ANYWHERE,
        500,
        r"",
        "the server met an error of its own",
        f"Look at the exception in {LOG}; at the cloud, try again later.",
    ),
)


def explain(operation: str, response: Response) -> Remedy | None:
    """The first row of the table that fits the answer."""
    for rule in RULES:
        if rule.matches(operation, response.status, response.said):
            return Remedy(rule.cause, rule.next_step)
    return None


def error_for(operation: str, what: str, response: Response) -> BitwardenError:
    """An answer as an error: what was tried, where, what the server said, what it means, what to do."""
    remedy = explain(operation, response)
    endpoint = f"{response.method} {response.url}"
    message = f"{what} failed: {endpoint} answered {response.status}: {response.said.rstrip('.')}."
    return BitwardenError(
        f"{message} This means that {remedy.cause}." if remedy else message,
        next_step=remedy.next_step if remedy else f"Look for this moment in {LOG}.",
        details={
            "status": response.status,
            "endpoint": endpoint,
            "cause": remedy.cause if remedy else None,
            "server_said": response.said,
            "server_down": response.status in GATEWAY_TROUBLE or None,
        },
    )
