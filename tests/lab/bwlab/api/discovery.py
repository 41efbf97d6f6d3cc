# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Anonymous endpoints by which clients find out what they talk to."""

from __future__ import annotations

import re
import secrets
import string

from starlette.responses import Response

from bwlab import times
from bwlab.binding import Model, String
from bwlab.errors import NotFound
from bwlab.persona import GIT_HASH
from bwlab.store import Row
from bwlab.web import Call, empty, json, route

RULES = "https://github.com/bitwarden/map-the-web/releases/latest/download"
SERVICES = ("vault", "api", "identity", "notifications", "sso")
EMAIL = Model("Bit.Api.Platform.Installations.InstallationRequestModel", String("email", required=True, email=True))


@route("GET", "/config")
async def config(call: Call) -> Response:
    settings = call.persona.settings()
    return json(
        {
            "version": call.persona.version(),
            "gitHash": GIT_HASH,
            "server": None,
            "environment": {
                "cloudRegion": settings.cloud_region,
                **{name: settings.urls.get(name) for name in SERVICES},
                "fillAssistRules": RULES,
            },
            "featureStates": {},
            "push": {"pushTechnology": 0, "vapidPublicKey": None},
            "communication": None,
            "settings": {"disableUserRegistration": False, "suppressOnboardingInterstitials": False},
            "object": "config",
        }
    )


@route("GET", "/now", service="identity")
@route("GET", "/alive", service="identity")
@route("GET", "/now")
@route("GET", "/alive")
async def alive(call: Call) -> Response:
    return json(times.iso(call.persona.now()))


@route("GET", "/version", service="identity")
@route("GET", "/version")
async def version(call: Call) -> Response:
    return json(call.persona.version())


@route("GET", "/healthz", service="identity")
@route("GET", "/healthz")
async def healthz(call: Call) -> Response:
    if not call.persona.is_cloud:
        return empty(404)
    response = Response(b"Healthy", headers={"cache-control": "no-store, no-cache", "pragma": "no-cache"})
    response.headers["content-type"] = "text/plain"
    del response.headers["content-length"]
    return response


def _installation(row: Row, *, with_key: bool = False) -> Response:
    key = row["Key"] if with_key else None
    return json({"id": row["Id"].lower(), "key": key, "enabled": bool(row["Enabled"]), "object": "installation"})


@route("GET", "/installations/{id}", only="cloud", guid={"id": "param"})
async def installation(call: Call) -> Response:
    row = call.store.one("Installation", Id=call.params["id"])
    if row is None:
        raise NotFound
    return _installation(row)


@route("POST", "/installations", only="cloud")
async def request_installation(call: Call) -> Response:
    model = call.json(EMAIL)
    letters = string.ascii_letters + string.digits
    row = call.store.insert(
        "Installation",
        {
            "CreationDate": times.column(call.persona.now()),
            "Email": re.sub(r"\s", "", model["email"]),
            "Enabled": True,
            "Key": "".join(secrets.choice(letters) for _unused in range(20)),
        },
    )
    return _installation(row, with_key=True)
