# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is seen without a message, and what gateways and wrong addresses answer."""

from __future__ import annotations

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog import model
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog.model import Entry


def _symptom(key: str, seen: str, cause: str, next_step: str, link: str = "") -> Entry:
    # No answer and no line of a log is ever looked up among these.
    return Entry(key, (model.SYMPTOM,), None, r"(?!)", cause, next_step, seen, link)


SYMPTOMS: tuple[Entry, ...] = (
    _symptom(
        "mail-at-each-run",
        "The owner gets the mail 'New Device Logged In' at each run",
        "each run comes with another device identifier",
        "Leave device_identifier at its default, or fix it.",
    ),
    _symptom(
        "several-keys-found",
        "The cloud organization has more than one billing sync token",
        "several first calls came at the same moment; the cloud answers 500 for ever when the token is asked for",
        "Never rotate the token. Keep the one that works, and ask Bitwarden's support to remove the others.",
        model.HELP_SUPPORT,
    ),
    _symptom(
        "owner-without-master-password",
        "The owner's account has no master password",
        "the account logs in by single sign-on, and the cloud hands out a token for a password or a mailed code only",
        "Have a one-time code mailed and give it as otp, or use an owner with a master password.",
    ),
    _symptom(
        "token-of-the-wrong-server",
        "The token was fetched from the self-hosted server, and every sync fails",
        "a self-hosted server hands out tokens too, which mean nothing to the cloud",
        model.KEY_AGAIN,
    ),
    _symptom(
        "flag-off-in-running-server",
        "The server says that cloud communication is off, while the env file says true",
        "the running api container was started before the env file was changed",
        "Restart the server (role cloud_communication does when it is needed).",
        model.HELP_SYNC,
    ),
    _symptom(
        "license-of-another-organization-accepted",
        "After an upload the organization has another name",
        "the uploaded license was that of another cloud organization, which the server takes",
        "Upload the right license (license), then apply the billing sync token again (billing_sync).",
    ),
    _symptom(
        "expired-license-accepted",
        "An upload succeeds, and the organization is disabled at the next 00:30 or 12:30",
        "the upload does not look at the license's end; the server's check, twice a day, does",
        "Renew the subscription, then sync the license or upload a new one.",
        model.HELP_LICENSE,
    ),
    _symptom(
        "sync-did-not-move",
        "A sync answers 200, and the date of the last sync has not moved",
        "something between here and the server answered in its place",
        "Compare the address with the server's own, and look for a proxy or cache.",
    ),
    _symptom(
        "sync-without-a-line",
        "A sync fails with the general text, and the log has no line of it",
        "what answers in place of the cloud's api is not Bitwarden: a mock, a cache or a proxy",
        "Check globalSettings__installation__apiUri and the proxy.",
    ),
    _symptom(
        "offer-changes-nothing",
        "An offer answers 200, and there is no new sponsorship",
        "another sponsorship of the organization has the same friendly name, and no name counts as a name too",
        "Give each sponsorship a name of its own.",
    ),
    _symptom(
        "offer-overwrites",
        "A second offer of the same member replaces the first, and the cloud keeps the first address",
        "a member has one sponsorship; the cloud ignores changes of one that it knows",
        "Revoke it, wait for the sync, then offer anew.",
    ),
    _symptom(
        "offer-cancels-revocation",
        "A revoked sponsorship lives on",
        "an offer for a member whose sponsorship waits to be removed takes the removal back",
        "Revoke again, and offer only after the sync.",
    ),
    _symptom(
        "awaiting-sync-for-long",
        "A sponsorship is 'Requested' or 'Removed (awaiting sync)' for more than a day",
        "the daily job does not run, fails, or cannot write its result back",
        "Look in the server's log for the job's lines (SelfHostedSponsorshipSyncJob), and for each in this catalog.",
    ),
    _symptom(
        "job-never-starts",
        "The log has no line 'Starting job SelfHostedSponsorshipSyncJob'",
        "cloud communication was off when the api container started, or the server restarts more often than daily: "
        "the job runs first within 23 hours of a start",
        "Turn cloud communication on (role cloud_communication), and let the server run for a day.",
        model.HELP_SYNC,
    ),
    _symptom(
        "job-skips-organization",
        "The job runs, says nothing of the organization and calls nobody",
        "the organization has no connection, the connection is disabled, or the organization is disabled",
        "Apply the token (billing_sync); enable the organization by a license that fits.",
    ),
    _symptom(
        "job-without-effect",
        "The job calls the cloud with success, and the sponsorships do not change",
        "the cloud organization has been disabled and expired for over 93 days, or is not on the Enterprise plan",
        "Renew the cloud organization's subscription.",
    ),
    _symptom(
        "change-does-not-arrive",
        "A changed name or address of a sponsorship does not arrive, or somebody gets an offer after a revocation",
        "the cloud ignores changes of a sponsorship that it knows, and makes anew one that it does not know",
        "Revoke it, wait for the sync, then offer anew; tell the addressee.",
    ),
)

GATEWAY: tuple[Entry, ...] = (
    Entry(
        "odd-value",
        model.ANYWHERE,
        400,
        r"value '.*' is (not valid|invalid)|could not be converted",
        "an id or another value has a form that the server does not know",
        model.REPORT,
        seen="The value '…' is not valid.",
    ),
    Entry(
        "content-type-did-not-arrive",
        model.ANYWHERE,
        415,
        r"",
        "the request's header Content-Type did not arrive",
        "Look for a proxy on the way that drops headers.",
        seen="an empty answer with status 415",
    ),
    Entry(
        "organization-unknown",
        model.ORGANIZATION,
        404,
        r"^Resource not found",
        "the organization is unknown here, or the account is no confirmed owner of it",
        model.OWNER,
        seen="Resource not found.",
    ),
    Entry(
        "no-bitwarden-here",
        model.ANYWHERE,
        404,
        r"",
        "there is no Bitwarden at this address, or /api and /identity are missing or doubled in it",
        "Open the address with /config behind it (api_url, or url with /api): it must answer with JSON. "
        "Correct url, or api_url and identity_url.",
        seen="an empty answer, or a page of a web server",
    ),
    Entry(
        "bitwarden-does-not-run",
        model.ANYWHERE,
        502,
        r"",
        "the web server answers, but Bitwarden behind it does not run",
        "Try again later. At a server of your own, look at ./bitwarden.sh and its containers until /api/alive answers; "
        "for the cloud, see Bitwarden's status page.",
        seen="the web server's page for 502",
        link=model.HELP_STATUS,
    ),
    Entry(
        "not-available-now",
        model.ANYWHERE,
        503,
        r"",
        "the service is not available at the moment",
        "Try again later; for the cloud see Bitwarden's status page.",
        seen="a page for 503",
        link=model.HELP_STATUS,
    ),
    Entry(
        "gateway-timeout",
        model.ANYWHERE,
        504,
        r"",
        "a gateway got no answer in time",
        "Try again later; look at the proxy in between.",
        seen="a page for 504",
    ),
    Entry(
        "error-of-the-server",
        model.ANYWHERE,
        500,
        r"",
        "the server met an error of its own",
        f"Look at the exception in {model.LOG}; at the cloud, try again later.",
        seen="An unhandled server error has occurred.",
    ),
    Entry(
        "request-refused",
        model.ANYWHERE,
        400,
        r"^The model state is invalid",
        "the server refuses a value of the request, which the text names",
        model.REPORT,
        seen="The model state is invalid.",
    ),
)
