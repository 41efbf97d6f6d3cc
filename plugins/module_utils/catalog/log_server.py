# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the server's log says about its jobs, about requests that it could not answer, and about its start."""

from __future__ import annotations

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog import model
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog.model import Entry

JOB: tuple[Entry, ...] = (
    Entry(
        "job-nothing-to-sync",
        (model.LOG_JOB,),
        None,
        r"No existing sponsorships to sync for organization",
        "the organization has no sponsorship, so the job called nobody: this proves nothing about the connection",
        "Nothing is to be done.",
        seen="No existing sponsorships to sync for organization …",
    ),
    Entry(
        "job-connection-without-token",
        (model.LOG_JOB,),
        None,
        r"Sponsorship sync for organization .* Failed.*(Failed to get Billing Sync Key|NullReferenceException)",
        "the billing sync connection holds no token, or what is stored for it cannot be read",
        model.KEY_AGAIN,
        seen="Sponsorship sync for organization … Failed, with: Failed to get Billing Sync Key",
    ),
    Entry(
        "job-two-sponsorships-of-one-member",
        (model.LOG_JOB,),
        None,
        r"Sponsorship sync for organization .* Failed.*An item with the same key has already been added",
        "one member has two sponsorships on this server, and until one is gone nothing of this organization syncs",
        "Find the member with sponsorship_info and revoke one of the two: one that was never synced goes at once, "
        "a synced one only in the database.",
        seen="Sponsorship sync for organization … Failed, with: An item with the same key has already been added.",
    ),
    Entry(
        "job-database-without-write-back",
        (model.LOG_JOB,),
        None,
        r"Sponsorship sync for organization .* Failed.*entity type 'OrganizationSponsorship' was not found",
        "on PostgreSQL, MySQL, SQLite and Lite the server cannot write the result of the sync back: a fault of "
        "Bitwarden's own; the offer is at the cloud and was mailed",
        "Report it to Bitwarden. To revoke one, revoke it by name at the cloud first: a local revocation alone "
        "leaves the cloud's behind.",
        seen="Sponsorship sync for organization … Failed, with: The entity type '…' was not found.",
    ),
    Entry(
        "job-cloud-said-no",
        (model.LOG_JOB,),
        None,
        r"Sponsorship sync for organization .* Failed.*Organization sync failed",
        "the cloud refused the sync of this organization's sponsorships, or was not reached",
        "Look at the lines before this one: they name the reason.",
        seen="Sponsorship sync for organization … Failed, with: Organization sync failed",
    ),
)

_DISABLED = r"has an invalid license and is being disabled\. Reason: \"?"
_ERROR = r"Error performing ValidateOrganizationsJob.*"

CHECK: tuple[Entry, ...] = (
    Entry(
        "check-license-file-missing",
        (model.LOG_CHECK,),
        None,
        _DISABLED + r"No license file",
        "the organization's license file is missing, and the server has disabled the organization",
        model.LICENSE_FILE,
        seen="Organization … has an invalid license and is being disabled. Reason: No license file.",
        link=model.HELP_LICENSE,
    ),
    Entry(
        "check-license-does-not-fit",
        (model.LOG_CHECK,),
        None,
        _DISABLED + r"Invalid data",
        "the license has expired, is for another installation, or differs in name or seats from the organization, "
        "and the server has disabled the organization",
        f"Renew the subscription if it has expired; put globalSettings__installation__id back if it was changed. "
        f"{model.LICENSE_FILE}",
        seen="Organization … has an invalid license and is being disabled. Reason: Invalid data.",
        link=model.HELP_LICENSE,
    ),
    Entry(
        "check-two-organizations-one-license",
        (model.LOG_CHECK,),
        None,
        _DISABLED + r"Multiple organizations",
        "two organizations of this server have one license, and the server has disabled one of them",
        "Give each organization the license of a cloud organization of its own.",
        seen="Organization … has an invalid license and is being disabled. Reason: Multiple organizations.",
    ),
    Entry(
        "check-license-copied-by-hand",
        (model.LOG_CHECK,),
        None,
        _ERROR + r"Version 0 is not supported",
        "the cloud's download was copied into bwdata/core/licenses by hand",
        "Upload it instead (license).",
        seen="Error performing ValidateOrganizationsJob. … Version 0 is not supported.",
    ),
    Entry(
        "check-license-is-no-json",
        (model.LOG_CHECK,),
        None,
        _ERROR + r"(invalid JSON|invalid start of a value|does not contain any JSON)",
        "a license file on the server is no JSON",
        model.LICENSE_FILE,
        seen="Error performing ValidateOrganizationsJob. … is an invalid JSON literal.",
    ),
    Entry(
        "check-license-too-old",
        (model.LOG_CHECK,),
        None,
        _ERROR + r"IDX10223",
        "a license file on the server is over a year old; its organization goes on, but cannot be connected",
        model.LICENSE_FILE,
        seen="Error performing ValidateOrganizationsJob. … IDX10223: … The token is expired.",
    ),
    Entry(
        "check-license-changed",
        (model.LOG_CHECK,),
        None,
        _ERROR + r"IDX\d+",
        "a license file on the server was changed",
        model.LICENSE_FILE,
        seen="Error performing ValidateOrganizationsJob. … IDX10517: Signature validation failed.",
    ),
)

_INVALID = r"Invalid token\..*"
# The first line of the exception counts; those below are what caused it.
_UNHANDLED = r"Unhandled exception[^\n]*\n"


def _api(key: str, said: str, cause: str, next_step: str, seen: str) -> Entry:
    return Entry(key, (model.LOG_API,), None, said, cause, next_step, seen)


API: tuple[Entry, ...] = (
    _api(
        "request-license-too-old",
        _INVALID + r"IDX10223",
        "the organization's license file on the server is over a year old",
        model.LICENSE_FILE,
        "Invalid token. … IDX10223: Lifetime validation failed. The token is expired.",
    ),
    _api(
        "request-server-clock-behind",
        _INVALID + r"IDX10222",
        "the server's clock is behind the cloud's, so that it takes a new license for one from the future",
        model.CLOCK,
        "Invalid token. … IDX10222: Lifetime validation failed. The token is not yet valid.",
    ),
    _api(
        "request-license-changed",
        _INVALID + r"IDX\d+",
        "the organization's license file on the server was changed, or does not come from the Bitwarden cloud",
        model.LICENSE_FILE,
        "Invalid token. … IDX10517: Signature validation failed.",
    ),
    _api(
        "request-license-is-no-json",
        _UNHANDLED + r"System\.Text\.Json\.JsonException",
        "the organization's license file on the server is empty or no JSON",
        model.LICENSE_FILE,
        "Unhandled exception: System.Text.Json.JsonException",
    ),
    _api(
        "request-connection-unreadable",
        _UNHANDLED
        + r"System\.(ArgumentNullException: .*\(Parameter 'json'\)|Text\.Json\.JsonReaderException: (?!'<'))",
        "what the server stored for a billing sync connection cannot be read",
        model.CONNECTION_ANEW,
        "Unhandled exception: System.ArgumentNullException … (Parameter 'json'), or … JsonReaderException",
    ),
    _api(
        "request-license-without-signature",
        _UNHANDLED + r"System\.ArgumentNullException: .*\(Parameter 's'\)",
        "an uploaded license has neither token nor signature",
        "Download the license anew.",
        "Unhandled exception: System.ArgumentNullException … (Parameter 's')",
    ),
    _api(
        "request-without-token",
        _UNHANDLED + r"System\.ArgumentNullException: .*\(Parameter 'source'\)",
        "a request came without its token",
        "Look for a proxy on the way that drops the header Authorization.",
        "Unhandled exception: System.ArgumentNullException … (Parameter 'source')",
    ),
    _api(
        "request-license-folder-is-a-file",
        _UNHANDLED + r"System\.IO\.IOException: The file '.*licenses.*' already exists",
        "a file stands where the folder for licenses should be",
        "Remove the file in bwdata/core/licenses, then upload the license again.",
        "Unhandled exception: System.IO.IOException: The file '…/licenses/organization' already exists.",
    ),
    _api(
        "request-id-is-no-guid",
        _UNHANDLED + r"System\.FormatException: Unrecognized Guid format",
        "a request named an organization or a connection by something that is no GUID",
        "Correct the id.",
        "Unhandled exception: System.FormatException: Unrecognized Guid format.",
    ),
    _api(
        "request-several-keys",
        _UNHANDLED + r"System\.InvalidOperationException: Sequence contains more than one element",
        "an organization has several billing sync tokens, made by several first calls at the same moment",
        "Never rotate the token; keep the one that works, and have the others removed.",
        "Unhandled exception: System.InvalidOperationException: Sequence contains more than one element",
    ),
    _api(
        "request-object-missing",
        _UNHANDLED + r"System\.NullReferenceException",
        "something that the request needs is missing: the organization's license file (where its subscription was "
        "asked for), or the account's membership (where a sponsorship was)",
        f"For a subscription: {model.LICENSE_FILE} For a sponsorship: {model.OWNER}",
        "Unhandled exception: System.NullReferenceException",
    ),
)

START: tuple[Entry, ...] = (
    Entry(
        "start-flag-is-no-boolean",
        (model.LOG_START,),
        None,
        r"Failed to convert configuration value '.*' at '(?i:GlobalSettings:EnableCloudCommunication)'",
        "globalSettings__enableCloudCommunication is neither true nor false, so the api container ends at its start",
        "Write true (role cloud_communication does), and restart.",
        seen="Failed to convert configuration value 'yes' at 'GlobalSettings:EnableCloudCommunication'",
        link=model.HELP_SETTINGS,
    ),
)
