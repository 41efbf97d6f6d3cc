# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The daily sponsorship sync: what every organization's rows look like at the cloud, and back."""

from __future__ import annotations

import html
import json
from typing import Any

from bwlab import times
from bwlab.connection_config import connection_config
from bwlab.errors import ApiError
from bwlab.license_fields import EMPTY_GUID
from bwlab.license_update import column_date
from bwlab.net_text import NULL_REFERENCE, null_argument
from bwlab.outbound import SPONSORSHIP_SYNC, CloudClient
from bwlab.persona import Persona
from bwlab.sponsorship_rules import TABLE
from bwlab.store import Row

JOB = "Bit.Api.Jobs.SelfHostedSponsorshipSyncJob"
CONNECTION = "OrganizationConnection"
BATCH = 1000
ENTITY_FRAMEWORK = {"sqlite", "postgresql", "postgres", "mysql", "mariadb"}
BAD_REQUEST = "Bit.Core.Exceptions.BadRequestException: "
NO_SUCH_TYPE = (
    f"System.InvalidOperationException: The entity type '{TABLE}' was not found. "
    "Ensure that the entity type has been added to the model."
)


class SyncError(Exception):
    """One organization's sync failed; the text is the exception in the log."""


async def sync_all(persona: Persona) -> None:
    """One organization's failure does not stop the others; token and back-off are one for all."""
    client = CloudClient(persona, SPONSORSHIP_SYNC, "api.installation")
    for organization in persona.store.rows("Organization", Enabled=1):
        connection = persona.store.one(CONNECTION, OrganizationId=organization["Id"], Type=1, Enabled=1)
        if connection is None:
            continue
        try:
            await _sync(persona, client, organization, connection)
        except SyncError as error:
            name = html.unescape(organization["Name"])
            persona.log(JOB, "Error", f"Sponsorship sync for organization {name} Failed", str(error))
        except ApiError as error:
            name = html.unescape(organization["Name"])
            text = getattr(error, "exception", "") or f"{BAD_REQUEST}{error.message}"
            persona.log(JOB, "Error", f"Sponsorship sync for organization {name} Failed", text)


def _stored_config(connection: Row) -> dict[str, Any]:
    """Read before it is checked: what cannot be read at all is an error of another kind."""
    try:
        config = json.loads(connection["Config"] or "null")
    except ValueError:
        config = None
    if config is None:
        raise SyncError(NULL_REFERENCE)
    return connection_config(connection)


def _by_member(rows: list[Row]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        member = row["SponsoringOrganizationUserId"].lower()
        if member in found:
            what = "An item with the same key has already been added. Key: "
            raise SyncError(f"System.ArgumentException: {what}{member}")
        found[member] = row
    return found


async def _sync(persona: Persona, client: CloudClient, organization: Row, connection: Row) -> None:
    config = _stored_config(connection)
    rows = _by_member(persona.store.rows(TABLE, SponsoringOrganizationId=organization["Id"]))
    if not rows:
        whose = organization["Id"].lower()
        persona.log(SPONSORSHIP_SYNC, "Information", f"No existing sponsorships to sync for organization {whose}")
        return
    answers: list[dict[str, Any]] = []
    sent = [_sent(member, row) for member, row in rows.items()]
    for start in range(0, len(sent), BATCH):
        body = {
            "billingSyncKey": config["BillingSyncKey"],
            "sponsoringOrganizationCloudId": config.get("CloudOrganizationId", EMPTY_GUID),
            "sponsorshipsBatch": sent[start : start + BATCH],
        }
        text = await client.send("POST", "organization/sponsorship/sync", body)
        if text is None:
            raise SyncError(f"{BAD_REQUEST}Organization sync failed")
        answers += _batch(text)
    _write_back(persona, rows, answers)


def _batch(text: str) -> list[dict[str, Any]]:
    """What is no answer of Bitwarden's has no batch in it."""
    answer = json.loads(text)
    batch = answer.get("sponsorshipsBatch") if isinstance(answer, dict) else None
    if not isinstance(batch, list):
        raise SyncError(null_argument("source"))
    return batch


def _sent(member: str, row: Row) -> dict[str, Any]:
    return {
        "sponsoringOrganizationUserId": member,
        "friendlyName": row["FriendlyName"],
        "offeredToEmail": row["OfferedToEmail"],
        "planSponsorshipType": row["PlanSponsorshipType"],
        "lastSyncDate": times.iso(row["LastSyncDate"]),
        "validUntil": times.iso(row["ValidUntil"]),
        "toDelete": bool(row["ToDelete"]),
    }


def _write_back(persona: Persona, rows: dict[str, Row], answers: list[dict[str, Any]]) -> None:
    """Deletions first. With a database behind Entity Framework the rest fails, after the cloud has taken the offers."""
    store = persona.store
    synced = [(rows[each["sponsoringOrganizationUserId"]], each) for each in answers]
    for row, answer in synced:
        if answer["cloudSponsorshipRemoved"]:
            store.delete(TABLE, row["Id"])
    kept = [(row, answer) for row, answer in synced if not answer["cloudSponsorshipRemoved"]]
    if kept and persona.settings().env.get("databaseprovider", "").lower() in ENTITY_FRAMEWORK:
        raise SyncError(NO_SUCH_TYPE)
    for row, answer in kept:
        dates = {name: column_date(answer[name[:1].lower() + name[1:]]) for name in ("LastSyncDate", "ValidUntil")}
        store.update(TABLE, row["Id"], **dates, ToDelete=answer["toDelete"])
