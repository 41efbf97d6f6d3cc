# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Routes, calls and replies: what ASP.NET does around the real server's actions.

A handler:

    RENAME = Model("Bit.Api.RenameRequestModel", String("name", required=True, max=50))

    @route("POST", "/organizations/{id}/name", policy="Application", guid={"id": "text"})
    async def rename(call: Call) -> Response:
        model = call.json(RENAME)                       # 415 and model state errors come from here
        organization = call.store.one("Organization", Id=call.params["id"])
        if organization is None or not call.is_owner(call.params["id"]):
            raise NotFound
        call.store.update("Organization", organization["Id"], Name=model["name"])
        return ok()                                     # or json({...})

Before the handler runs: unknown path 404, other method 405, bearer 401, policy 403, `only=` 400, malformed GUIDs.
`guid=` says what a malformed one in the path gives: "text" 500, "route" 404 (the route does not match at all),
"param" 400. GUIDs that passed stand in `call.params` in lower case. A guid in the query is `call.query_guid(name)`.
"""

from __future__ import annotations

import asyncio
import json as json_module
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from bwlab.bearer import authenticate, authorize, bearer
from bwlab.binding import Model
from bwlab.errors import ApiError, BadRequest, Empty, ModelState, ServerError
from bwlab.persona import Persona
from bwlab.store import Store, is_guid

JSON = "application/json; charset=utf-8"
JSON_TYPE = re.compile(r"^(application|text)/(json|[^;]*\+json)\s*(;|$)", re.IGNORECASE)
UNHANDLED = "Bit.Api.Utilities.ExceptionHandlerFilterAttribute"
ONLY_TEXT = {"self_hosted": "Only allowed when self hosted.", "cloud": "Only allowed when not self hosted."}

Handler = Callable[["Call"], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    service: str
    policy: str | None
    only: str | None
    guid: dict[str, str]
    handler: Handler
    pattern: re.Pattern[str]

    def match(self, path: str) -> dict[str, str] | None:
        found = self.pattern.match(path)
        if found is None:
            return None
        given = {name: value for name, value in found.groupdict().items() if value is not None}
        params = {name: unquote(value, errors="replace") for name, value in given.items()}
        malformed = any(kind == "route" and not is_guid(params[name]) for name, kind in self.guid.items())
        return None if malformed else params

    @property
    def literal(self) -> int:
        """How many segments are not parameters: the more, the earlier the route is tried."""
        return sum(1 for segment in self.path.split("/") if not segment.startswith("{"))


ROUTES: list[Route] = []


def _pattern(path: str) -> re.Pattern[str]:
    """`{name}` is one segment, `{name?}` a last one that may be missing."""
    text = ""
    for segment in path.strip("/").split("/"):
        name = segment.strip("{}")
        if not segment.startswith("{"):
            text += "/" + re.escape(segment)
        elif name.endswith("?"):
            text += f"(?:/(?P<{name[:-1]}>[^/]*))?"
        else:
            text += f"/(?P<{name}>[^/]+)"
    return re.compile(f"^{text or '/'}/?$", re.IGNORECASE)


def route(
    method: str,
    path: str,
    *,
    service: str = "api",
    policy: str | None = None,
    only: str | None = None,
    guid: dict[str, str] | None = None,
) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        ROUTES.append(Route(method, path, service, policy, only, guid or {}, handler, _pattern(path)))
        return handler

    return register


@dataclass
class Call:
    """One request to one persona."""

    persona: Persona
    request: Request
    body: bytes = b""
    params: dict[str, str] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return self.persona.store

    @property
    def query(self) -> dict[str, str]:
        return {key.lower(): value for key, value in self.request.query_params.items()}

    @property
    def user_id(self) -> str:
        return str(self.claims.get("sub", ""))

    def query_guid(self, name: str) -> str | None:
        """None when it is not given; a malformed or empty one is a model state error."""
        value = self.query.get(name.lower())
        if value is None:
            return None
        if not is_guid(value):
            what = "valid" if value else "invalid"
            raise ModelState({name: [f"The value '{value}' is {'not ' if value else ''}{what}."]})
        return value.lower()

    def json(self, model: Model) -> dict[str, Any]:
        if not JSON_TYPE.match(self.request.headers.get("content-type", "")):
            raise Empty(415)
        return model.read(self.body)

    def _in_claim(self, name: str, organization_id: str) -> bool:
        value = self.claims.get(name, [])
        return organization_id.lower() in ([value] if isinstance(value, str) else value)

    def is_owner(self, organization_id: str) -> bool:
        return self._in_claim("orgowner", organization_id)

    def is_admin(self, organization_id: str) -> bool:
        return self.is_owner(organization_id) or self._in_claim("orgadmin", organization_id)

    def can_manage_users(self, organization_id: str) -> bool:
        return self.is_admin(organization_id) or self._in_claim("manageusers", organization_id)

    def can_manage_scim(self, organization_id: str) -> bool:
        return self.is_admin(organization_id) or self._in_claim("managescim", organization_id)

    def is_member(self, organization_id: str) -> bool:
        names = ("orguser", "orgcustom")
        return self.is_admin(organization_id) or any(self._in_claim(name, organization_id) for name in names)

    async def delay(self) -> None:
        """The two seconds that the server takes for a wrong secret."""
        await self.persona.lab.wait()

    async def pause(self) -> None:
        """Between a look-up and its write: the moment in which another request may look too."""
        await asyncio.sleep(0.05)


def json(value: Any, status: int = 200, media_type: str = JSON, headers: dict[str, str] | None = None) -> Response:
    """Sent in chunks, as the real server does."""
    text = json_module.dumps(value, ensure_ascii=False, separators=(",", ":"))
    response = Response(text.encode(), status, headers)
    response.headers["content-type"] = media_type
    del response.headers["content-length"]
    return response


def empty(status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(b"", status, headers)


def ok() -> Response:
    return empty(200)


def error_response(error: ApiError | Empty) -> Response:
    if isinstance(error, Empty):
        return empty(error.status, error.headers)
    return json(error.body(), error.status)


def _check_guids(call: Call, guids: dict[str, str]) -> None:
    for name, kind in guids.items():
        value = call.params.get(name)
        if value is None:
            continue
        if not is_guid(value):
            if kind == "text":
                raise ServerError("System.FormatException: Unrecognized Guid format.")
            raise ModelState({name: [f"The value '{value}' is not valid."]})
        call.params[name] = value.lower()


async def _run(call: Call, found: Route) -> Response:
    if found.policy is not None:
        authenticate(call)
        authorize(call, found.policy)
    elif bearer(call.request) is not None:
        try:
            authenticate(call)
        except Empty:
            call.claims = {}
    if found.only is not None and found.only != call.persona.kind:
        raise BadRequest(ONLY_TEXT[found.only])
    _check_guids(call, found.guid)
    return await found.handler(call)


def _preflight(request: Request) -> Response | None:
    """A browser's question before a request from another origin: any origin may."""
    if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
        return None
    return Response(status_code=204)


def client_address(request: Request) -> str:
    address = request.client.host if request.client else ""
    return request.headers.get("x-connecting-ip", address)


def _too_many(period: str, retry_after: int) -> Response:
    error = ApiError(429, f"Slow down! Too many requests. Try again in {period}.")
    response = error_response(error)
    response.headers["retry-after"] = str(retry_after)
    return response


async def _route(persona: Persona, service: str, request: Request, path: str) -> Response:
    if (preflight := _preflight(request)) is not None:
        return preflight
    matches = []
    for candidate in ROUTES:
        if candidate.service == service and (params := candidate.match(path)) is not None:
            matches.append((candidate, params))
    if not matches:
        return empty(404)
    fitting = [(found, params) for found, params in matches if found.method == request.method]
    if not fitting:
        response = empty(405, {"allow": ", ".join(sorted({found.method for found, _params in matches}))})
        if request.method == "HEAD":
            del response.headers["content-length"]
        return response
    found, params = max(fitting, key=lambda pair: pair[0].literal)
    call = Call(persona, request, await request.body(), params)
    try:
        return await _run(call, found)
    except (ApiError, Empty) as error:
        if isinstance(error, ServerError) and error.exception:
            persona.log(UNHANDLED, "Error", "Unhandled exception", error.exception)
        return error_response(error)


def app_path(persona: Persona, service: str, path: str) -> str:
    """A self-hosted Identity answers below /identity, in any letter case, and without it."""
    if service == "identity" and not persona.is_cloud and re.match(r"^/identity(/|$)", path, re.IGNORECASE):
        return path[len("/identity") :] or "/"
    return path


async def dispatch(persona: Persona, service: str, request: Request) -> Response:
    """The answer of one service of a persona ("api", "identity"); the path is the app's own, without nginx' prefix."""
    path = app_path(persona, service, request.scope.get("raw_path", request.url.path.encode()).decode().split("?")[0])
    headers: dict[str, str] = {}
    if persona.is_cloud:
        verdict = persona.limits().check(service, request.method, path, client_address(request), persona.now())
        if verdict.retry_after is not None:
            return _too_many(verdict.period, verdict.retry_after)
        headers = verdict.headers
    response = await _route(persona, service, request, path)
    if not (service == "identity" and response.status_code == 500):
        response.headers.update(headers)
    return response
