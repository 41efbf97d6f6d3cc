# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The license files of a self-hosted persona, and what it says about them."""

from __future__ import annotations

from pathlib import Path

from bwlab import license_check, licenses, net_text
from bwlab.errors import BadRequest, ServerError, Unauthorized
from bwlab.license_fields import License
from bwlab.persona import Persona

LICENSING_SERVICE = "Bit.Core.Billing.Services.LicensingService"


def license_path(persona: Persona, organization_id: str) -> Path:
    directory = persona.settings().license_dir
    if directory is None:
        raise RuntimeError(f"{persona.name} has no license directory")
    return directory / "organization" / f"{organization_id.lower()}.json"


def read(persona: Persona, organization_id: str) -> License | None:
    """The file's license, None without a file; a file that holds no JSON is the server's unexpected error."""
    path = license_path(persona, organization_id)
    try:
        return licenses.read_license_file(path)
    except ValueError:
        raise ServerError(
            net_text.serializer_exception(path.read_text(encoding="utf-8", errors="replace"))[0]
        ) from None


def write(persona: Persona, organization_id: str, license_: License) -> None:
    """401 for a file that cannot be opened for writing, as the real server does; other trouble is unexpected."""
    path = license_path(persona, organization_id)
    try:
        licenses.write_license_file(path, license_)
    except (PermissionError, IsADirectoryError):
        raise Unauthorized from None
    except (FileExistsError, NotADirectoryError):
        shown = "/etc/bitwarden/core/licenses/organization"
        raise ServerError(f"System.IO.IOException: The file '{shown}' already exists.") from None


def is_genuine(persona: Persona, license_: License) -> bool:
    """What connections ask before they trust a file; a token that does not verify leaves a warning in the log."""
    try:
        reason = license_check.verify(license_, persona.lab.license_certificates, persona.now())
    except license_check.LicenseError as error:
        raise BadRequest(str(error)) from None
    except license_check.SignatureMissing:
        raise ServerError(net_text.null_argument("s")) from None
    if reason is None:
        return True
    if license_["Token"]:
        lines = f"Bit.Core.Exceptions.BadRequestException: {reason}".splitlines()
        persona.log(LICENSING_SERVICE, "Warning", "Invalid token.", *(line.strip() for line in lines))
    return False
