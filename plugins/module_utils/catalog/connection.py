# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The billing sync token at the cloud, and the connection that holds it at the self-hosted server."""

from __future__ import annotations

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog import model
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog.model import Entry

KEY: tuple[Entry, ...] = (
    Entry(
        "wrong-master-password",
        (model.KEY, model.KEY_ROTATE, model.VERIFY_PASSWORD),
        400,
        r"Invalid password",
        "the master password or one-time code is not one of the account whose API key was used",
        "Correct master_password; it and the API key must belong to one account, and that account must have one. "
        "A one-time code is good once and for a few minutes: have a new one mailed.",
        seen="MasterPasswordHash: Invalid password.",
    ),
    Entry(
        "no-proof-given",
        (model.KEY, model.KEY_ROTATE),
        400,
        r"must be supplied",
        "no master password or one-time code was given",
        "Set master_password, or otp for an account without one.",
        seen="MasterPasswordHash, OTP, or AccessCode must be supplied.",
    ),
    Entry(
        "several-billing-sync-keys",
        (model.KEY, model.KEY_ROTATE),
        500,
        r"",
        "the cloud cannot give this key; when several calls asked for the first key at once, it never can again",
        "Try again once. If it stays, never rotate the key: keep the one that works and ask Bitwarden's support "
        "to remove the others.",
        seen="An unhandled server error has occurred.",
        link=model.HELP_SUPPORT,
    ),
    Entry(
        "no-owner-or-no-billing-sync",
        model.KEYS,
        404,
        r"^Resource not found",
        "the account is no owner of that organization, or its plan has no billing sync (Teams and Enterprise do)",
        model.OWNER,
        seen="Resource not found.",
        link=model.HELP_SYNC,
    ),
)

CONNECTION: tuple[Entry, ...] = (
    Entry(
        "no-owner-for-connection",
        model.CONNECTIONS,
        400,
        r"do not have permission",
        "the account is no confirmed owner of the organization",
        model.OWNER,
        seen="You do not have permission to create a connection of type CloudBillingSync.",
    ),
    Entry(
        "two-connections",
        (model.CONNECTION_SAVE,),
        400,
        r"already has a connection",
        "the organization has two connections, made by two runs at the same time",
        "Run billing_sync again: it removes all but one.",
        seen="The requested organization already has a connection of type CloudBillingSync.",
    ),
    Entry(
        "connection-needs-a-license",
        (model.CONNECTION_SAVE,),
        400,
        r"Cannot verify license file",
        "the organization's license file on the server is missing, changed, over a year old, "
        "or, by the server's clock, of the future",
        "Compare the server's clock with the real time, and set it if it is behind. Else: " + model.LICENSE_FILE,
        seen="Cannot verify license file.",
        link=model.HELP_LICENSE,
    ),
    Entry(
        "license-without-content",
        (model.CONNECTION_SAVE, model.LICENSE_SYNC, model.LICENSE_UPLOAD, model.LICENSE_CREATE),
        400,
        r"^Version 0 is not supported",
        "the server read a license without content: the cloud's download was copied into bwdata by hand, the file is "
        "no license, or something that is not Bitwarden answers in place of the cloud",
        "Never copy a downloaded license into bwdata/core/licenses: upload it (license). "
        "If nobody did, check the file, globalSettings__installation__apiUri and the proxy.",
        seen="Version 0 is not supported.",
    ),
    Entry(
        "license-file-unreadable",
        (model.CONNECTION_SAVE,),
        500,
        r"",
        "the organization's license file on the server is empty or no JSON",
        f"{model.LICENSE_FILE} The exception is in {model.LOG}.",
        seen="An unhandled server error has occurred.",
    ),
    Entry(
        "connection-unreadable",
        (model.CONNECTION_READ,),
        500,
        r"",
        "what the server stored for this connection cannot be read",
        model.CONNECTION_ANEW,
        seen="An unhandled server error has occurred.",
    ),
    Entry(
        "connection-gone",
        (model.CONNECTION_SAVE, model.CONNECTION_DELETE),
        404,
        r"",
        "the connection was deleted meanwhile, or belongs to another organization",
        "Run the task again.",
        seen="Resource not found.",
    ),
    Entry(
        "connection-request-incomplete",
        (model.CONNECTION_SAVE,),
        400,
        r"configuration malformed|Unknown Organization connection|type cannot be changed",
        "a part of the request was left out",
        model.REPORT,
        seen="Organization Connection configuration malformed",
    ),
)
