# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Licenses: downloaded from the cloud, uploaded, read, and fetched by the server itself."""

from __future__ import annotations

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog import model
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog.model import Entry

LICENSE: tuple[Entry, ...] = (
    Entry(
        "installation-refused",
        (model.LICENSE_DOWNLOAD,),
        400,
        r"^Invalid installation id|installationId: ",
        "this region does not know the installation id, or it is disabled there",
        model.REGION + " A disabled installation is a matter for Bitwarden's support.",
        seen="Invalid installation id",
        link=model.HELP_INSTALLATION,
    ),
    Entry(
        "no-active-subscription",
        (model.LICENSE_DOWNLOAD,),
        400,
        r"^No active subscription found",
        "the cloud organization is on the free plan, or its subscription has ended",
        "Settle the subscription of the cloud organization, then try again.",
        seen="No active subscription found.",
        link=model.HELP_LICENSE,
    ),
    Entry(
        "server-clock-behind",
        (model.SUBSCRIPTION, *model.LICENSES),
        400,
        r"IDX10222",
        "the server's clock is behind the cloud's, so that it takes a new license for one from the future",
        model.CLOCK,
        seen="Invalid license. IDX10222: Lifetime validation failed. The token is not yet valid.",
    ),
    Entry(
        "license-on-server-too-old",
        (model.SUBSCRIPTION,),
        400,
        r"IDX10223",
        "the license on the server is over a year old",
        model.LICENSE_FILE,
        seen="Invalid license. IDX10223: Lifetime validation failed. The token is expired.",
        link=model.HELP_LICENSE,
    ),
    Entry(
        "license-on-server-changed",
        (model.SUBSCRIPTION,),
        400,
        r"IDX\d+",
        "the license file on the server was changed or was made for another",
        model.LICENSE_FILE,
        seen="Invalid license. IDX10517: Signature validation failed.",
    ),
    Entry(
        "license-on-server-missing",
        (model.SUBSCRIPTION,),
        500,
        r"",
        "the license file on the server is missing or unreadable",
        model.LICENSE_FILE,
        seen="An unhandled server error has occurred.",
    ),
    Entry(
        "license-is-personal",
        model.LICENSES,
        400,
        r"Premium licenses cannot be applied",
        "this is a personal license, not one of an organization",
        "Download the license of the organization (Billing, Subscription of the cloud organization).",
        seen="Invalid license. Premium licenses cannot be applied to an organization.",
        link=model.HELP_LICENSE,
    ),
    Entry(
        "organization-disabled-at-cloud",
        model.LICENSES,
        400,
        r"cloud-hosted organization is currently disabled",
        "the organization is disabled at the cloud (which hands out its license all the same)",
        "Settle its subscription at the cloud, then sync or download anew.",
        seen="Invalid license. Your cloud-hosted organization is currently disabled.",
    ),
    Entry(
        "license-of-another-installation",
        model.LICENSES,
        400,
        r"installation ID does not match",
        "the cloud's license is for another installation than the one that the server runs with",
        "Correct globalSettings__installation__id and __key in bwdata/env/global.override.env, and restart; "
        "or download the license for this server's installation id (license does).",
        seen="Invalid license. The installation ID does not match the current installation.",
        link=model.HELP_INSTALLATION,
    ),
    Entry(
        "plan-without-self-hosting",
        model.LICENSES,
        400,
        r"does not allow for on-premise hosting",
        "the plan of the cloud organization has no self-hosting",
        "Change the plan at the cloud (Enterprise, Teams or Families).",
        seen="Invalid license. The license does not allow for on-premise hosting of organizations.",
    ),
    Entry(
        "license-in-use",
        model.LICENSES,
        400,
        r"already in use by another organization",
        "another organization of this server has this license",
        "Connect each organization to a cloud organization of its own.",
        seen="License is already in use by another organization.",
    ),
    Entry(
        "license-allows-too-little",
        model.LICENSES,
        400,
        r"currently has|new plan does not allow|new license does not allow",
        "the new license allows less than the organization uses",
        "Reduce what the text names, or extend the plan at the cloud; then try again.",
        seen="Your organization currently has 12 seats filled. Your new license only has (10) seats.",
    ),
    Entry(
        "license-newer-than-server",
        model.LICENSES,
        400,
        r"^Version \d+ is not supported",
        "the license has a newer format than this server knows",
        "Back up bwdata, update the server (playbook update), and try again.",
        seen="Version 17 is not supported.",
        link=model.HELP_UPDATE,
    ),
    Entry(
        "license-too-old",
        (model.LICENSE_UPLOAD, model.LICENSE_CREATE),
        400,
        r"IDX10223",
        "the license file is over a year old",
        "Download it anew.",
        seen="Invalid license. IDX10223: Lifetime validation failed. The token is expired.",
        link=model.HELP_LICENSE,
    ),
    Entry(
        "license-file-changed",
        (model.LICENSE_UPLOAD, model.LICENSE_CREATE),
        400,
        r"IDX\d+|license verification failed",
        "the license file was changed or cut, or does not come from the Bitwarden cloud",
        "Download it anew, and upload it without an editor or a filter on the way.",
        seen="Invalid license. IDX10517: Signature validation failed., or: The license verification failed.",
    ),
    Entry(
        "license-is-no-license",
        (model.LICENSE_UPLOAD, model.LICENSE_CREATE),
        400,
        r"^Invalid license\.?$",
        "the file is no license, the request is larger than 51,200 bytes, or a proxy passed it on in chunks",
        "Download the license anew; if it is good, look for a proxy that drops the header Content-Length.",
        seen="Invalid license",
    ),
    Entry(
        "license-did-not-arrive",
        (model.LICENSE_UPLOAD, model.LICENSE_CREATE),
        400,
        r"License field is required",
        "the server found no license in the upload",
        model.REPORT,
        seen="License: The License field is required.",
    ),
    Entry(
        "license-not-kept",
        (model.LICENSE_UPLOAD, model.LICENSE_CREATE),
        500,
        r"",
        "the server cannot read or keep this license: a file stands where the folder licenses/organization should be, "
        "or the license has neither token nor signature",
        f"Look at the exception in {model.LOG}; remove the file in bwdata/core/licenses, or download the license anew.",
        seen="An unhandled server error has occurred.",
    ),
    Entry(
        "license-refused-by-a-proxy",
        (model.LICENSE_UPLOAD, model.LICENSE_CREATE),
        413,
        r"",
        "a proxy before the server takes no request of this size, and Bitwarden has not seen it",
        "Let the proxy take requests of 1 MB: in nginx 'client_max_body_size 1m;' for this host, in Apache "
        "LimitRequestBody; then reload it. The server itself takes 51,200 bytes for a license, and its own nginx more.",
        seen="a web server's page for 413, such as '413 Request Entity Too Large'",
    ),
)

SYNC: tuple[Entry, ...] = (
    Entry(
        "no-connection",
        (model.LICENSE_SYNC,),
        404,
        r"^Resource not found",
        "the organization has no billing sync connection, or the account is no confirmed owner of it",
        f"Apply the billing sync token first (billing_sync). {model.OWNER}",
        seen="Resource not found.",
        link=model.HELP_SYNC,
    ),
    Entry(
        "cloud-communication-off",
        (model.LICENSE_SYNC,),
        400,
        r"^Cloud communication is disabled",
        "the running server was started without cloud communication",
        "Set globalSettings__enableCloudCommunication=true in bwdata/env/global.override.env and restart with "
        "./bitwarden.sh restart (role cloud_communication does both); if the file says so already, "
        "the restart is missing.",
        seen="Cloud communication is disabled in global settings",
        link=model.HELP_SYNC,
    ),
    Entry(
        "connection-disabled",
        (model.LICENSE_SYNC,),
        400,
        r"^Connection disabled",
        "the billing sync connection is disabled",
        "Enable it (billing_sync with state=present).",
        seen="Connection disabled for organization …",
    ),
    Entry(
        "connection-without-token",
        (model.LICENSE_SYNC,),
        400,
        r"^(Failed to get Billing Sync Key|No saved Connection config|Error parsing Connection config)",
        "the billing sync connection holds no token",
        model.KEY_AGAIN,
        seen="Failed to get Billing Sync Key",
    ),
    Entry(
        "synced-license-too-old",
        (model.LICENSE_SYNC,),
        400,
        r"IDX10223",
        "the license that arrived is over a year old by the server's clock",
        "Set the server's clock if it is ahead; if it is right, look for a cache between the server and the cloud.",
        seen="Invalid license. IDX10223: Lifetime validation failed. The token is expired.",
    ),
    Entry(
        "license-changed-on-the-way",
        (model.LICENSE_SYNC,),
        400,
        r"^Invalid license",
        "the license that arrived was changed on the way, or does not come from the Bitwarden cloud",
        "Check globalSettings__installation__apiUri and the proxy between server and cloud.",
        seen="Invalid license. IDX10517: Signature validation failed.",
    ),
    Entry(
        "sync-failed-for-one-of-many-reasons",
        (model.LICENSE_SYNC,),
        400,
        r"Check your internet connection",
        "the server got no license from the cloud and says this for nearly every reason",
        f"Look in {model.LOG} for the lines of this minute with GetSelfHostedOrganizationLicenseQuery. Most likely "
        "first: (1) 'Invalid Billing Sync Key': the token was rotated at the cloud; fetch and apply it again. "
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
        seen="An error has occurred. Check your internet connection and ensure the billing token is correct.",
        link=model.HELP_SYNC,
    ),
    Entry(
        "sync-met-an-error",
        (model.LICENSE_SYNC,),
        500,
        r"",
        "the server met an error while it asked the cloud: most likely something that is not Bitwarden answered in "
        "place of the cloud's identity service, such as a captive portal",
        f"See the exception in {model.LOG}. Where it is a JsonReaderException or KeyNotFoundException, let the "
        "identity host of the region through and check globalSettings__installation__identityUri; else look at the "
        "server's database and its other containers.",
        seen="An unhandled server error has occurred.",
    ),
    Entry(
        "cloud-does-not-answer",
        (model.LICENSE_SYNC,),
        504,
        r"",
        "the cloud did not answer the server in time, as when a firewall drops packets",
        model.OPEN,
        seen="the web server's page for 504",
        link=model.HELP_ADDRESSES,
    ),
)
