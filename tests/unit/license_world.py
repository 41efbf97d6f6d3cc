"""Licenses in the recorded world: those that its cloud gives, and files that are wrong in one way each."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from bwlab import licenses
from bwlab.license_fields import License
from unit.module_runner import Result
from unit.recorded_world import ACME, Recorded

NAME = "Acme & Söhne"


def installation(world: Recorded) -> str:
    return str(world.world.people["cloud"]["installations"]["main"]["id"]).lower()


def cloud_login(world: Recorded, person: str = "owner") -> dict[str, Any]:
    return {"url": world.urls["cloud"], "retries": 0, **world.credentials("cloud", person)}


def license_task(world: Recorded, **options: Any) -> Result:
    """The module for the recorded organization, with the cloud at hand unless it is given as None."""
    given = {
        "organization": NAME,
        "cloud": cloud_login(world),
        "installation_id": installation(world),
        **options,
    }
    return world.run("self_hosted", "license", **{name: value for name, value in given.items() if value is not None})


def pass_time(world: Recorded, side: str = "", **delta: float) -> None:
    for name, persona in world.world.sides.items():
        if side in ("", name):
            persona.clock_offset += timedelta(**delta).total_seconds()


def emitted(
    world: Recorded, organization: str = ACME["cloud"], *, changes: Mapping[str, Any] | None = None, **options: Any
) -> License:
    """What the cloud would give now: `changes` are to the organization's row, options to the license afterwards."""
    cloud = world.world.sides["cloud"]
    (row,) = world.rows("cloud", "Organization", Id=organization)
    signer = cloud.lab.license_signer
    assert signer is not None
    moment = cloud.now() + timedelta(seconds=options.pop("later", 0))
    made = licenses.make_license({**row, **(changes or {})}, options.pop("for", installation(world)), moment, signer)
    made.update(options)
    return made


def resigned(world: Recorded, made: License, **claims: Any) -> License:
    """The license with other claims in its token, signed as the cloud would; a claim of None is left out."""
    signer = world.world.sides["cloud"].lab.license_signer
    assert signer is not None
    segment = made["Token"].split(".")[1]
    payload = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    payload.update(claims)
    return {**made, "Token": signer.token({name: value for name, value in payload.items() if value is not None})}


def without_token(world: Recorded, made: License, **changes: Any) -> License:
    """A license as clouds gave it before tokens, hashed and signed anew after the changes."""
    signer = world.world.sides["cloud"].lab.license_signer
    assert signer is not None
    old = {**made, "Token": None, **changes}
    old["Hash"] = licenses.license_hash(old)
    return {**old, "Signature": signer.sign(licenses.signed_bytes(old))}


def written(folder: Path, made: License, name: str = "license.json") -> str:
    path = folder / name
    path.write_text(json.dumps(licenses.api_form(made)), encoding="utf-8")
    return str(path)


def on_disk(world: Recorded, organization: str = ACME["self_hosted"]) -> Path:
    return world.world.licenses / "organization" / f"{organization}.json"


def slurped(world: Recorded) -> str:
    return base64.b64encode(on_disk(world).read_bytes()).decode()


def license_secrets(world: Recorded, *made: License) -> list[str]:
    """What no output may hold: passwords, keys, tokens, and what of licenses is secret."""
    found = world.secrets()
    for side in ("cloud", "self_hosted"):
        found += [str(row["LicenseKey"]) for row in world.rows(side, "Organization") if row["LicenseKey"]]
    for one in made:
        found += [str(one[name]) for name in ("LicenseKey", "Hash", "Signature", "Token") if one[name]]
    return found
