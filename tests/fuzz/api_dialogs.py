"""What modules ask and get when all goes well, listened to in the recorded world, so that it can be spoiled."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.bodies import WINDOW
from unit.license_world import NAME, emitted, installation, license_task, written
from unit.module_runner import Result
from unit.recorded_world import ACME, Front, Recorded

SECRET = {
    "clientsecret", "masterpassword", "masterpasswordhash", "billingsynctoken", "billingsynckey", "apikey",
    "accesstoken", "refreshtoken", "installed", "key", "privatekey", "encryptedprivatekey",
    "masterkeyencrypteduserkey", "licensekey", "securitystamp", "hash", "signature", "token",
}  # fmt: skip
MODULES = (
    "billing_sync", "billing_sync_token", "installation_info", "license", "license_sync", "organization_info",
    "sponsorship", "sponsorship_info",
)  # fmt: skip
ANOTHER_TOKEN = "Zb3kV9qLr27TnX4cWm8YpD5sHj6FgA"
SPONSORSHIPS = "OrganizationSponsorship"
FAMILY = {"email": "family@home.example", "friendly_name": "Family One"}
ADMIN = {"email": "a@home.example", "friendly_name": "Admin One", "admin_initiated": True}


@dataclass
class Exchange:
    """One request and its answer."""

    method: str
    url: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass
class Dialog:
    """One run of a module."""

    name: str
    module: str
    arguments: dict[str, Any]
    check: bool
    exchanges: list[Exchange] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)


class _HeardFront(Front):
    """A front door with somebody who listens."""

    heard: list[tuple[Exchange, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        host = dict(scope["headers"]).get(b"host", b"").decode()
        one = Exchange(scope["method"], f"http://{host}{scope['raw_path'].decode()}")
        asked, answered = bytearray(), bytearray()

        async def hear_request() -> Any:
            message = await receive()
            asked.extend(message.get("body", b""))
            return message

        async def hear_answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                one.status = message["status"]
                one.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
            answered.extend(message.get("body", b""))
            await send(message)

        await super().__call__(scope, hear_request, hear_answer)
        one.headers.pop("content-length", None)
        one.body = base64.b64encode(answered).decode()
        self.heard.append((one, bytes(asked)))


class Listener(Recorded):
    """The recorded world; every run in it becomes a dialog."""

    front = _HeardFront

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.dialogs: list[Dialog] = []
        self.label = ""

    def run(self, side: str, module: str, *, person: str = "owner", **options: Any) -> Result:
        """Run it, and keep what was said."""
        _HeardFront.heard.clear()
        result = super().run(side, module, person=person, **options)
        key = {} if module == "installation_info" else self.credentials(side, person)
        check = bool(options.pop("check", False))
        options.pop("diff", None)
        patience = {"retries": 0, "rate_limit_wait": 0}
        if isinstance(options.get("cloud"), dict):
            options["cloud"] = {**options["cloud"], **patience}
        arguments = {"url": self.urls[side], **patience, **key, **options}
        assert not result.failed, result.data
        heard = list(_HeardFront.heard)
        dialog = Dialog(f"{module}: {self.label}", module, arguments, check, [one for one, _body in heard])
        found = set(_secrets_in(arguments))
        for one, body in heard:
            for text in (base64.b64decode(one.body), body):
                found |= set(_secrets_in(_parsed(text)))
        dialog.secrets = sorted(found)
        self.dialogs.append(dialog)
        return result


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _secrets_in(value: Any, name: str = "") -> Iterator[str]:
    """What the module was given, got or sent that nobody should see: a part of it is too much."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _secrets_in(child, key)
    elif isinstance(value, list):
        for child in value:
            yield from _secrets_in(child, name)
    elif isinstance(value, str) and len(value) >= WINDOW and name.lower().replace("_", "") in SECRET:
        yield value


def _billing_sync(world: Listener) -> None:
    world.label = "none yet"
    world.token(check=True)
    world.token()
    world.label = "there is one"
    token = world.token()["token"]
    self_hosted = {"organization": NAME}
    world.label = "connects"
    world.run("self_hosted", "billing_sync", billing_sync_token=token, **self_hosted)
    world.label = "another token"
    world.run("self_hosted", "billing_sync", billing_sync_token=ANOTHER_TOKEN, **self_hosted)
    world.run("self_hosted", "billing_sync", billing_sync_token=token, **self_hosted)
    world.label = "never synced"
    world.run("self_hosted", "license_sync", **self_hosted)
    world.label = "always"
    world.run("self_hosted", "license_sync", max_age=0, **self_hosted)
    for persona in world.world.sides.values():
        persona.clock_offset += 2 * 86400
    world.label = "by expiration"
    world.run("self_hosted", "license_sync", **self_hosted)
    world.run("self_hosted", "organization_info", connection=True, **self_hosted)
    world.label = "all"
    world.run("self_hosted", "organization_info")
    world.run("cloud", "organization_info")
    world.label = "disconnects"
    world.run("self_hosted", "billing_sync", state="absent", **self_hosted)


def _installations(world: Listener) -> None:
    region = {"name": "Test", "api": world.urls["cloud"] + "/api", "identity": world.urls["cloud"] + "/identity"}
    for label, given in (("known", installation(world)), ("unknown", ACME["cloud"])):
        world.label = label
        world.run("cloud", "installation_info", url=None, region=region, installation_id=given)


def _licenses(world: Listener, folder: Path) -> None:
    world.label = "fresh"
    license_task(world)
    world.label = "compared"
    license_task(world, max_age=0)
    world.store("cloud").update("Organization", ACME["cloud"], Seats=25)
    world.label = "uploaded"
    license_task(world, max_age=0)
    world.label = "read"
    license_task(world, state="read", max_age=0)
    world.store("cloud").update("Organization", ACME["cloud"], Seats=26)
    world.label = "from a file"
    license_task(world, src=written(folder, emitted(world)), cloud=None)
    (row,) = [row for row in world.rows("cloud", "Organization") if row["Name"] == "Third Enterprise"]
    src = written(folder, emitted(world, str(row["Id"])), "third.json")
    world.label = "created"
    license_task(world, person="stranger", organization="Third Enterprise", src=src, cloud=None, create=True)


def _sponsorships(world: Listener) -> None:
    for side in ("cloud", "self_hosted"):
        for row in world.rows(side, SPONSORSHIPS):
            world.store(side).delete(SPONSORSHIPS, row["Id"])
    world.store("self_hosted").update("Organization", ACME["self_hosted"].upper(), Seats=50)
    given: dict[str, Any] = {"organization": ACME["self_hosted"], "sponsorship_sync": True}
    for person, entry in (("member", FAMILY), ("owner", ADMIN)):
        for state in ("present", "present", "absent"):
            world.label = f"{state}, by {person}"
            world.run("self_hosted", "sponsorship", person=person, sponsorships=[entry], state=state, **given)
            world.label = f"by {person}"
            world.run("self_hosted", "sponsorship_info", person=person, **given)


def listen(folder: Path) -> list[Dialog]:
    """Runs of every module of the API, as they go when all goes well."""
    with Listener(folder).running() as world:
        assert isinstance(world, Listener)
        _installations(world)
        _billing_sync(world)
        _licenses(world, folder)
        _sponsorships(world)
    return [dialog for dialog in world.dialogs if dialog.exchanges]
