# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Devices: every login names one; an unknown one is written down, mailed about and, with a password, verified."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from bwlab import times
from bwlab.identity.claims import device_type_number
from bwlab.identity.responses import TokenError
from bwlab.identity.twofactor import enabled_providers
from bwlab.persona import Persona
from bwlab.store import Row
from bwlab.verification import mail_code, take_code

NAMES = {
    6: "Windows", 7: "macOS", 8: "Linux", 21: "SDK", 22: "Server", 23: "Windows CLI", 24: "macOS CLI", 25: "Linux CLI",
}  # fmt: skip
NEW_DEVICE_TEXT = """To finish logging in, enter this verification code: CODE

If this was not you, take these immediate steps to secure your account in the web app:

Deauthorize unrecognized devices

Change your master password

Turn on two-step login

Account : {email}
Date : {moment:%A, %B} {moment.day}, {moment.year} at {hour}:{moment:%M}\u202f{moment:%p} UTC
IP : {address}
Device Type : Unknown Browser"""
MAIL_TEXT = """Your Bitwarden account was just logged into from a new device.

Date: {moment:%A, %B} {moment.day}, {moment.year} at {moment:%I:%M:%S %p} UTC
IP Address: {address}
Device Type: {device}

You can deauthorize all devices that have access to your account from the
web vault under Settings > My Account > Deauthorize Sessions."""


@dataclass
class Device:
    identifier: str
    name: str
    type: int


def from_form(form: dict[str, str]) -> Device:
    number = device_type_number(form.get("devicetype", ""))
    identifier, name = form.get("deviceidentifier", ""), form.get("devicename", "")
    if number is None or not identifier.strip() or not name.strip():
        description = "No device information provided"
        raise TokenError("device_error", "no device information provided", description=description)
    return Device(identifier, name, number)


def _known(persona: Persona, user: Row, device: Device) -> Row | None:
    return persona.store.one("Device", UserId=user["Id"], Identifier=device.identifier)


def verify_new(persona: Persona, user: Row, device: Device, form: dict[str, str], address: str) -> None:
    """Only for passwords: an unknown device of an account with other devices needs a mailed code."""
    age = persona.now() - times.parse(user["CreationDate"])
    wanted = persona.settings().env.get("enablenewdeviceverification", "false").lower() == "true"
    if not wanted or not user.get("VerifyDevices") or age < timedelta(hours=24) or enabled_providers(user):
        return
    if _known(persona, user, device) or not persona.store.rows("Device", UserId=user["Id"]):
        return
    code = form.get("newdeviceotp", "")
    if not code:
        moment = persona.now()
        text = NEW_DEVICE_TEXT.format(
            email=user["Email"], moment=moment, hour=int(moment.strftime("%I")), address=address
        )
        mail_code(persona, user, "newdevice", text)
        text = "New device verification required"
        raise TokenError("device_error", "new device verification required", description=text)
    if not take_code(persona, user, "newdevice", code):
        raise TokenError("device_error", "invalid new device otp", description="Invalid New Device OTP")


def remember(persona: Persona, user: Row, device: Device, version: str, address: str) -> Row:
    """The device's row: what was written down at its first login counts, not what it says later."""
    if (known := _known(persona, user, device)) is not None:
        return known
    now = persona.now()
    moment = times.column(now)
    row = persona.store.insert(
        "Device",
        {
            "CreationDate": moment,
            "Identifier": device.identifier,
            "Name": device.name,
            "RevisionDate": moment,
            "Type": device.type,
            "UserId": user["Id"],
            "Active": 1,
            "LastActivityDate": moment,
            "ClientVersion": version,
        },
    )
    silent = persona.settings().env.get("disableemailnewdevice", "false").lower() == "true"
    if silent or now - times.parse(user["CreationDate"]) < timedelta(minutes=10):
        return row
    name = NAMES.get(device.type, "Unknown")
    text = MAIL_TEXT.format(moment=now, address=address, device=name)
    persona.mail(user["Email"], f"New Device Logged In From {name}", text)
    return row
