# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The second proof that some actions ask for: master password hash or mailed code.

SECRET = Model("Bit.Api.…SecretVerificationRequestModel", *SECRET_FIELDS)
model = read_secret(call, SECRET)            # 400 when neither is given
if not await verify_secret(call, user, model):   # waits two seconds when wrong
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any

from bwlab import times
from bwlab.binding import Model, String
from bwlab.errors import ModelState, ServerError
from bwlab.persona import Persona
from bwlab.store import Row
from bwlab.web import Call

SECRET_FIELDS = (String("masterPasswordHash", max=300), String("otp"), String("authRequestAccessCode"))
NOTHING_GIVEN = "MasterPasswordHash, OTP, or AccessCode must be supplied."


def read_secret(call: Call, model: Model) -> dict[str, Any]:
    values = call.json(model)
    if not any(values[field.name] for field in SECRET_FIELDS):
        raise ModelState({"": [NOTHING_GIVEN]})
    return values


def password_matches(user: Row, given: str | None) -> bool:
    stored = user.get("MasterPassword")
    return bool(stored) and bool(given) and hmac.compare_digest(str(stored), str(given))


def mail_code(persona: Persona, user: Row, purpose: str, text: str) -> None:
    """A new eight-digit code for this purpose; the one before it no longer counts."""
    code = f"{secrets.randbelow(10**8):08d}"
    forget_code(persona, user, purpose)
    row = {"UserId": user["Id"], "Purpose": purpose, "Code": code, "CreationDate": times.column(persona.now())}
    persona.store.insert("LabCode", row)
    persona.mail(user["Email"], "Your Bitwarden Verification Code", text.replace("CODE", code))


def forget_code(persona: Persona, user: Row, purpose: str) -> None:
    for row in persona.store.rows("LabCode", UserId=user["Id"], Purpose=purpose):
        persona.store.delete("LabCode", row["Id"])


def take_code(persona: Persona, user: Row, purpose: str, given: str | None, *, keep: bool = False) -> bool:
    """True once for the right code, within five minutes of its mail."""
    row = persona.store.one("LabCode", UserId=user["Id"], Purpose=purpose)
    if row is None or not given or row["Code"] != given:
        return False
    age = (persona.now() - times.parse(row["CreationDate"])).total_seconds()
    if not keep:
        persona.store.delete("LabCode", row["Id"])
    return age < 300


async def verify_secret(call: Call, user: Row, model: dict[str, Any]) -> bool:
    """The hash counts when both are given; a code may stand in for the hash of any account."""
    given = model["masterPasswordHash"] or model["otp"]
    if not given:
        raise ServerError("System.ArgumentNullException: Value cannot be null. (Parameter 'secret')")
    if password_matches(user, given) or take_code(call.persona, user, "otp", given):
        return True
    await call.delay()
    return False
