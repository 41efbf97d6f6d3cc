# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the server's log says about its calls to the cloud, be it a license sync or the daily sponsorship job."""

from __future__ import annotations

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog import model
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog.model import Entry


def _line(key: str, said: str, cause: str, next_step: str, *, seen: str = "", link: str = "") -> Entry:
    return Entry(key, model.TO_CLOUD, None, said, cause, next_step, seen, link)


_REQUEST = r"Request to \S+ is unsuccessful with status of "
_REFUSED = r"Unsuccessful token response from \S+ for client \S+ with status "
_IDENTITY = r"Unable to authenticate with identity server"
_API = r"Failed to send to "
_DOWN = "Look at Bitwarden's status page and at the proxy in between, wait, then try again."

# The first that fits counts: what a line says more exactly stands before what it says in general.
ENTRIES: tuple[Entry, ...] = (
    _line(
        "log-subscription-ended",
        _REQUEST + r"BadRequest.*No active subscription found",
        "the cloud organization's subscription has ended",
        "Settle the subscription of the cloud organization, then sync again.",
        seen="Request to … is unsuccessful with status of BadRequest-Bad Request: No active subscription found.",
    ),
    _line(
        "log-wrong-billing-sync-key",
        _REQUEST + r"BadRequest.*Invalid Billing Sync Key",
        "the billing sync token on the server is not the one of the cloud organization: it was rotated there, or "
        "fetched from the wrong server",
        model.KEY_AGAIN,
        seen="Request to … is unsuccessful with status of BadRequest-Bad Request: Invalid Billing Sync Key",
        link=model.HELP_SYNC,
    ),
    _line(
        "log-license-of-another-organization",
        _REQUEST + r"BadRequest.*Invalid license key",
        "the license on the server is of another cloud organization than the connection",
        "Upload the license of the right cloud organization (license), then apply its token again (billing_sync).",
        seen="Request to … is unsuccessful with status of BadRequest-Bad Request: Invalid license key.",
    ),
    _line(
        "log-cloud-organization-unknown",
        _REQUEST + r"(NotFound|BadRequest.*Invalid organization)",
        "this cloud does not know the organization of the connection: it was deleted, or lives in another region",
        f"{model.REGION} Then upload the organization's license (license) and apply its token again (billing_sync).",
        seen="Request to … is unsuccessful with status of NotFound-Not Found: Resource not found.",
    ),
    _line(
        "log-no-token-at-cloud",
        _REQUEST + r"InternalServerError",
        "the cloud organization has no billing sync token, one of its members has two sponsorships there, or the "
        "cloud is in trouble",
        f"Make the token if there is none, and apply it: {model.KEY_AGAIN} Else wait, then try again.",
        seen="Request to … is unsuccessful with status of InternalServerError-Internal Server Error: …",
    ),
    _line(
        "log-too-many-requests",
        rf"({_REQUEST}|{_REFUSED})TooManyRequests",
        "the cloud's limit was met: more than ten syncs a minute from this address",
        "Wait a minute, and sync fewer servers behind one address at a time.",
        seen="… with status TooManyRequests-Too Many Requests",
    ),
    _line(
        "log-installation-refused",
        _REFUSED + r"BadRequest",
        "the cloud refuses the installation: its id or key is wrong, it is disabled, or it belongs to another region",
        model.REGION + " A disabled installation is a matter for Bitwarden's support.",
        seen="Unsuccessful token response from … for client installation.… with status BadRequest-Bad Request",
        link=model.HELP_INSTALLATION,
    ),
    _line(
        "log-identity-in-trouble",
        _REFUSED,
        "the cloud's identity service, or a proxy before it, is in trouble",
        _DOWN,
        seen="Unsuccessful token response from … with status ServiceUnavailable-Service Unavailable",
        link=model.HELP_STATUS,
    ),
    _line(
        "log-waits-for-a-token",
        r"Not requesting a token at .* because the next request time is",
        "the cloud refused the installation earlier in the same run, so this organization was not tried",
        "Look at the refusal before this line. The next run asks again, whatever date this line names.",
        seen="Not requesting a token at … because the next request time is …",
    ),
    _line(
        "log-other-host",
        _IDENTITY + r".*\((?P<host>[^()\s:]+):(?P<port>\d+)\).*"
        r"Empty token response from \"?\w+://(?!(?P=host)(:(?P=port))?[/\s\"])",
        "the connection went to another host than the cloud's and failed there: to a proxy that cannot be reached, or "
        "to the login page of one that redirects",
        "Look at the host that the exception names: correct the proxy (role cloud_communication), or let the region's "
        "hosts through without a login.",
        seen="Unable to authenticate with identity server. … (another host than that of the identity service)",
    ),
    _line(
        "log-dns",
        rf"({_IDENTITY}|{_API}).*(Name or service not known|Name does not resolve|Temporary failure in name resolution|"
        r"Try again)",
        "a host name of the cloud does not resolve inside the container, or is misspelt in the settings",
        "Compare the name in the line with the region's, and give the containers a name server that knows it.",
        seen="Unable to authenticate with identity server. … Name or service not known (…)",
    ),
    _line(
        "log-unknown-authority",
        rf"({_IDENTITY}|{_API}).*(PartialChain|UntrustedRoot)",
        "a certificate authority that the container does not know signs for the cloud: TLS is inspected on the way",
        "Put the company's authority into bwdata/ca-certificates and restart (role cloud_communication, "
        "cloud_communication_ca_certificates), or exempt these hosts from inspection.",
        seen="… errors in the certificate chain: PartialChain (or UntrustedRoot)",
    ),
    _line(
        "log-certificate-date",
        rf"({_IDENTITY}|{_API}).*NotTimeValid",
        "the cloud's certificate is not valid by this server's clock",
        "Set the server's clock; if it is right, find out who answers in place of the cloud.",
        seen="… errors in the certificate chain: NotTimeValid",
    ),
    _line(
        "log-certificate-name",
        rf"({_IDENTITY}|{_API}).*RemoteCertificateNameMismatch",
        "another server answers under the cloud's name",
        "Look at the containers' name servers, at /etc/hosts and at the proxy.",
        seen="… RemoteCertificateNameMismatch",
    ),
    _line(
        "log-cut-or-refused",
        rf"({_IDENTITY}|{_API}).*(Connection refused|ResponseEnded|Connection reset|Network is unreachable|No route)",
        "a firewall or proxy refuses or cuts the containers' connections to the cloud",
        model.OPEN,
        seen="… Connection refused (…), or: The response ended prematurely. (ResponseEnded)",
        link=model.HELP_ADDRESSES,
    ),
    _line(
        "log-no-answer",
        rf"({_IDENTITY}|{_API}).*(TaskCanceledException|HttpClient\.Timeout|timed out)",
        "the cloud did not answer in time, as when a firewall drops packets",
        model.OPEN,
        seen="… The request was canceled due to the configured HttpClient.Timeout of 100 seconds elapsing.",
        link=model.HELP_ADDRESSES,
    ),
    _line(
        "log-api-address-without-slash",
        _API + r"\S+/api(licenses|organization)/",
        "globalSettings__installation__apiUri has a path that does not end with a slash",
        "End the address with a slash, and restart.",
        seen="Failed to send to …/apilicenses/organization/…",
    ),
    _line(
        "log-body-dropped",
        _API + r".*does not contain any JSON tokens",
        "the answer was empty: most likely a proxy dropped the body of the GET request that asks for the license, "
        "or answered itself",
        "Exempt the api host of the region from the filter; egress_probe tells whether bodies arrive.",
        seen="Failed to send to … The input does not contain any JSON tokens.",
    ),
    _line(
        "log-answer-is-no-json",
        _API + r".*JsonException",
        "a proxy answered with a page of its own, or cut the answer",
        "Let the api host of the region through the proxy unchanged.",
        seen="Failed to send to … '<' is an invalid start of a value.",
    ),
    _line(
        "log-cloud-not-reached",
        rf"{_IDENTITY}|{_API}",
        "the connection to the cloud failed",
        f"The exception below the line names the reason. {model.OPEN}",
        seen="Unable to authenticate with identity server., or: Failed to send to …",
        link=model.HELP_ADDRESSES,
    ),
    Entry(
        "log-identity-is-not-bitwarden",
        (model.LOG_SYNC,),
        None,
        r"Unhandled exception.*(JsonReaderException: '<' is an invalid start of a value|"
        r"KeyNotFoundException: The given key was not present)",
        "something that is not Bitwarden answers in place of the cloud's identity service, such as a captive portal",
        "Let the identity host of the region through, and check globalSettings__installation__identityUri.",
        seen="Unhandled exception: System.Text.Json.JsonReaderException: '<' is an invalid start of a value.",
    ),
)
