# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A new license for a self-hosted organization: does it have room for what is there, and what it changes."""

from __future__ import annotations

import json
from typing import Any

from bwlab import license_check, license_store, net_text, times
from bwlab.errors import BadRequest, ServerError
from bwlab.license_fields import ORGANIZATION_COLUMNS, License
from bwlab.persona import Persona
from bwlab.sponsorship_rules import occupied_seats
from bwlab.store import Row, Store

IN_USE = "License is already in use by another organization."
SELF_HOSTED_STORAGE = 10240
CUSTOM_ROLE = 4
SCIM_CONNECTION = 2
RESET_PASSWORD_POLICY = 8
KEY_CONNECTOR = 1
# A license never sets these on a server: they are the organization's own.
NOT_TAKEN_OVER = {"AllowAdminAccessToAllCollectionItems", "MaxStorageGb"}


def taken_over(license_: License) -> Row:
    """The organization's columns that follow the license."""
    columns = {name: license_[name] for name in ORGANIZATION_COLUMNS if name not in NOT_TAKEN_OVER}
    columns.update({name: license_[name] for name in ("UseMyItems", "UseInviteLinks", "UsePam")})
    columns["MaxStorageGb"] = SELF_HOSTED_STORAGE
    columns["ExpirationDate"] = column_date(license_["Expires"])
    return columns


def column_date(text: str | None) -> str | None:
    if text is None:
        return None
    if text.endswith("+00:00"):
        text = text.removesuffix("+00:00")
    return text.removesuffix("Z").replace("T", " ")


def _counted(store: Store, license_: License, organization_id: str) -> str | None:
    seats = occupied_seats(store, organization_id)
    if license_["Seats"] is not None and seats > license_["Seats"]:
        return (
            f"Your organization currently has {seats} seats filled. "
            f"Your new license only has ({license_['Seats']}) seats. Remove some users."
        )
    collections = len(store.rows("Collection", OrganizationId=organization_id))
    if license_["MaxCollections"] is not None and collections > license_["MaxCollections"]:
        return (
            f"Your organization currently has {collections} collections. Your new license allows for a maximum of "
            f"({license_['MaxCollections']}) collections. Remove some collections."
        )
    groups = len(store.rows("Group", OrganizationId=organization_id))
    if groups and not license_["UseGroups"]:
        return (
            f"Your organization currently has {groups} groups. "
            "Your new license does not allow for the use of groups. Remove all groups."
        )
    policies = len(store.rows("Policy", OrganizationId=organization_id, Enabled=1))
    if policies and not license_["UsePolicies"]:
        return (
            f"Your organization currently has {policies} enabled policies. "
            "Your new license does not allow for the use of policies. Disable all policies."
        )
    return None


def _sso(store: Store, license_: License, organization_id: str) -> str | None:
    sso = store.one("SsoConfig", OrganizationId=organization_id, Enabled=1)
    if sso is None:
        return None
    if not license_["UseSso"]:
        return (
            "Your organization currently has a SSO configuration. "
            "Your new license does not allow for the use of SSO. Disable your SSO configuration."
        )
    data: dict[str, Any] = json.loads(sso.get("Data") or "{}")
    if data.get("memberDecryptionType") == KEY_CONNECTOR and not license_["UseKeyConnector"]:
        return (
            "Your organization currently has Key Connector enabled. "
            "Your new license does not allow for the use of Key Connector. Disable your Key Connector."
        )
    return None


def _features(store: Store, license_: License, organization_id: str) -> str | None:
    scim = store.one("OrganizationConnection", OrganizationId=organization_id, Type=SCIM_CONNECTION, Enabled=1)
    if scim is not None and not license_["UseScim"]:
        return "Your new plan does not allow the SCIM feature. Disable your SCIM configuration."
    custom = store.rows("OrganizationUser", OrganizationId=organization_id, Type=CUSTOM_ROLE)
    if custom and not license_["UseCustomPermissions"]:
        return (
            "Your new plan does not allow the Custom Permissions feature. "
            "Disable your Custom Permissions configuration."
        )
    reset = store.one("Policy", OrganizationId=organization_id, Type=RESET_PASSWORD_POLICY, Enabled=1)
    if reset is not None and not license_["UseResetPassword"]:
        return "Your new license does not allow the Password Reset feature. Disable your Password Reset policy."
    return None


def no_room(store: Store, license_: License, organization_id: str) -> str | None:
    """What stands against this license here; the first reason, in the server's order."""
    for check in (_counted, _sso, _features):
        reason = check(store, license_, organization_id)
        if reason is not None:
            return reason
    return None


def checked(persona: Persona, license_: License) -> License:
    """The license with its token's claims in place of the file's properties, after every check but those of room."""
    trusted, now = persona.lab.license_certificates, persona.now()
    try:
        claims = license_check.token_claims(license_, trusted, now)
        license_check.check_usable(
            license_, claims, installation_id=persona.settings().installation_id, trusted=trusted, now=now
        )
    except license_check.LicenseError as error:
        raise BadRequest(str(error)) from None
    except license_check.SignatureMissing:
        raise ServerError(net_text.null_argument("s")) from None
    return license_ if claims is None else {**license_, **license_check.claimed_values(claims)}


def apply(persona: Persona, organization: Row, license_: License) -> None:
    """The file is written before the row, as on the real server: what fails between them leaves them apart."""
    store = persona.store
    other = store.one("Organization", LicenseKey=license_["LicenseKey"]) if license_["LicenseKey"] else None
    if other is not None and other["Id"] != organization["Id"]:
        raise BadRequest(IN_USE)
    license_ = checked(persona, license_)
    reason = no_room(store, license_, organization["Id"])
    if reason is not None:
        raise BadRequest(reason)
    license_store.write(persona, organization["Id"], license_)
    changes = {**taken_over(license_), "RevisionDate": times.column(persona.now())}
    store.update("Organization", organization["Id"], **changes)
