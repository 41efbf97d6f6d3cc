# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Licenses at the cloud: the owner's download, and what a self-hosted server asks for with its installation's token."""

from __future__ import annotations

from datetime import timedelta

from starlette.responses import Response

from bwlab import licenses, plans, times
from bwlab.api_key_rows import BILLING_SYNC, TABLE, billing_sync_key_fits, new_key
from bwlab.binding import Model, String
from bwlab.errors import BadRequest, NotFound
from bwlab.license_fields import License
from bwlab.network import fault_of_server
from bwlab.persona import Persona
from bwlab.store import Row
from bwlab.web import Call, json, route

REQUEST = Model(
    "Bit.Api.Billing.Models.Requests.SelfHostedOrganizationLicenseRequestModel",
    String("licenseKey"),
    String("billingSyncKey"),
)
UNKNOWN_INSTALLATION = "Invalid installation id"
OTHER_INSTALLATION = "00000000-0000-4000-8000-000000000001"
UNKNOWN_VERSION = 17


def _has_subscription(organization: Row, persona: Persona) -> bool:
    expires = organization["ExpirationDate"]
    if plans.product_tier(organization["PlanType"]) == plans.FREE:
        return False
    return expires is not None and times.parse(expires) > persona.now()


def _emit(persona: Persona, organization: Row, installation_id: str | None) -> License:
    installation = persona.store.one("Installation", Id=installation_id) if installation_id else None
    if installation is None or not installation["Enabled"] or installation_id is None:
        raise BadRequest(UNKNOWN_INSTALLATION)
    if not _has_subscription(organization, persona):
        raise BadRequest("No active subscription found.")
    signer = persona.lab.license_signer
    if signer is None:
        raise RuntimeError("this lab has nothing to sign licenses with")

    def faulty(name: str) -> bool:
        return fault_of_server(persona, name, installation_id or "") is not None

    now = persona.now()
    organization = dict(organization)
    if faulty("license_of_another_organization"):
        others = [row for row in persona.store.rows("Organization", Enabled=1) if _has_subscription(row, persona)]
        organization = next(dict(row) for row in reversed(others) if row["Id"] != organization["Id"])
    if faulty("license_expired"):
        now -= timedelta(days=400)
    if faulty("license_too_many_seats"):
        organization["Seats"] = 0
    if faulty("organization_disabled"):
        organization["Enabled"] = False
    if faulty("wrong_installation"):
        installation_id = OTHER_INSTALLATION
    license_ = licenses.make_license(organization, installation_id, now, signer)
    if faulty("version_not_supported"):
        license_.update(Token=None, Version=UNKNOWN_VERSION)
    if faulty("license_tampered"):
        license_["Token"] = license_["Token"][:-8] + "A" * 8
    return license_


def _shown(license_: License) -> Response:
    return json(licenses.api_form(license_))


@route("GET", "/organizations/{id}/license", policy="Application", only="cloud", guid={"id": "route"})
async def download(call: Call) -> Response:
    """Every download is noted; one row a call, as with the databases that Entity Framework serves."""
    installation_id = call.query_guid("installationId")
    organization = call.store.one("Organization", Id=call.params["id"])
    if organization is None or not call.is_owner(call.params["id"]):
        raise NotFound
    license_ = _emit(call.persona, organization, installation_id)
    row = {
        "OrganizationId": call.params["id"],
        "InstallationId": installation_id,
        "CreationDate": times.column(call.persona.now()),
    }
    call.store.insert("OrganizationInstallation", row)
    return _shown(license_)


@route("GET", "/licenses/organization/{id}", policy="Licensing", only="cloud", guid={"id": "text"})
async def sync(call: Call) -> Response:
    model = call.json(REQUEST)
    organization = call.store.one("Organization", Id=call.params["id"])
    if organization is None:
        raise NotFound
    if organization["LicenseKey"] != model["licenseKey"]:
        await call.delay()
        raise BadRequest("Invalid license key.")
    installation_id = str(call.claims.get("client_sub", ""))
    if fault_of_server(call.persona, "key_rotated_elsewhere", installation_id):
        _rotate(call.persona, organization)
    if not billing_sync_key_fits(call.store, organization["Id"], model["billingSyncKey"]):
        raise BadRequest("Invalid Billing Sync Key")
    return _shown(_emit(call.persona, organization, installation_id))


def _rotate(persona: Persona, organization: Row) -> None:
    """Somebody else rotates the key at this moment."""
    for row in persona.store.rows(TABLE, OrganizationId=organization["Id"], Type=BILLING_SYNC):
        persona.store.update(TABLE, row["Id"], ApiKey=new_key(), RevisionDate=times.column(persona.now()))
