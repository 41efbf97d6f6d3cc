# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The half-daily license check: an organization whose license is not right is disabled and told by mail."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from bwlab import license_check, licenses, net_text, times
from bwlab.license_fields import License
from bwlab.license_store import LICENSING_SERVICE, license_path
from bwlab.license_update import column_date
from bwlab.persona import Persona
from bwlab.store import Row

JOB = "Bit.Api.Jobs.ValidateOrganizationsJob"
# What the row has to have in common with the license.
COMPARED = (
    "LicenseKey", "PlanType", "Seats", "MaxCollections", "UseGroups", "UseDirectory", "UseTotp", "SelfHost", "Name",
    "UsersGetPremium", "UseEvents", "Use2fa", "UseApi", "UsePolicies", "UseSso", "UseResetPassword",
    "UseKeyConnector", "UseScim", "UseCustomPermissions", "UsePasswordManager", "UseSecretsManager", "SmSeats",
    "SmServiceAccounts",
)  # fmt: skip


class Unreadable(Exception):
    """Nothing can be said about this license; the lines are the exception's."""

    def __init__(self, message: str, *lines: str) -> None:
        super().__init__(message)
        self.message = message
        self.lines = lines


async def validate_all(persona: Persona) -> None:
    rows = persona.store.rows("Organization", Enabled=1)
    persona.log(LICENSING_SERVICE, "Information", f"Validating licenses for {len(rows)} organizations.")
    unreadable: list[Unreadable] = []
    for row in rows:
        try:
            license_, reason = _judge(persona, row, rows)
        except Unreadable as error:
            unreadable.append(error)
            continue
        if reason is not None:
            _disable(persona, row, license_, reason)
    if unreadable:
        what = "There were one or more exceptions while validating organizations. "
        what += " ".join(f"({error.message})" for error in unreadable)
        lines = [line for error in unreadable for line in error.lines]
        text = "\n".join([f"System.AggregateException: {what}", *lines])
        persona.log(JOB, "Error", "Error performing ValidateOrganizationsJob.", *_stripped(text))


def _stripped(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n")]


def _read(persona: Persona, row: Row) -> License | None:
    path = license_path(persona, row["Id"])
    try:
        return licenses.read_license_file(path)
    except ValueError:
        first, second = net_text.serializer_exception(path.read_text(encoding="utf-8", errors="replace"))
        message = first.partition(": ")[2]
        raise Unreadable(message, f"---> {first}", second) from None


def _judge(persona: Persona, row: Row, rows: list[Row]) -> tuple[License | None, str | None]:
    license_ = _read(persona, row)
    if license_ is None:
        return None, "No license file."
    if len([each for each in rows if each["LicenseKey"] == license_["LicenseKey"]]) > 1:
        return license_, "Multiple organizations."
    trusted, now = persona.lab.license_certificates, persona.now()
    try:
        claims = license_check.token_claims(license_, trusted, now)
    except license_check.LicenseError as error:
        raise Unreadable(str(error), f"---> Bit.Core.Exceptions.BadRequestException: {error}") from None
    if claims is None and (unknown := license_check.version_error(license_)):
        raise Unreadable(unknown, f"---> System.NotSupportedException: {unknown}")
    values = license_ if claims is None else {**license_, **license_check.claimed_values(claims)}
    if not _fits(persona, row, values):
        return license_, "Invalid data."
    if claims is None and not license_check.signature_is_good(license_, trusted):
        return license_, "Invalid signature."
    return license_, None


def _fits(persona: Persona, row: Row, values: Mapping[str, Any]) -> bool:
    now = persona.now()
    if times.parse(values["Issued"]) > now or (values["Expires"] and times.parse(values["Expires"]) < now):
        return False
    if (values["InstallationId"] or "").lower() != persona.settings().installation_id.lower():
        return False
    return all(_same(row.get(name), values[name]) for name in COMPARED)


def _same(stored: Any, licensed: Any) -> bool:
    return bool(stored) == licensed if isinstance(licensed, bool) else bool(stored == licensed)


def _disable(persona: Persona, row: Row, license_: License | None, reason: str) -> None:
    name = html.unescape(row["Name"])
    whose = f"Organization {row['Id'].lower()} ({name})"
    text = f"{whose} has an invalid license and is being disabled. Reason: {reason}"
    persona.log(LICENSING_SERVICE, "Information", text)
    now = times.column(persona.now())
    expires = column_date(license_["Expires"]) if license_ else now
    persona.store.update("Organization", row["Id"], Enabled=False, ExpirationDate=expires, RevisionDate=now)
    if row["BillingEmail"]:
        mail = (
            f"This email is to notify you that your Bitwarden organization license for {row['Name']} has expired and "
            "must be updated for continued use. See the following article for details about replacing your license "
            "file:\r\n\r\nhttps://bitwarden.com/help/article/licensing-on-premise/"
        )
        persona.mail(row["BillingEmail"], "License Expired", mail)
