# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A self-hosted server's calls to its cloud: installation token first, then the request, and the log lines of both.

client = CloudClient(persona, LICENSE_QUERY, "api.licensing")
text = await client.send("GET", f"licenses/organization/{id}", {"licenseKey": …})      # None: it is in the log
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from bwlab import net_text
from bwlab.errors import ServerError
from bwlab.licenses import net_json
from bwlab.network import Answer, NetworkError, send
from bwlab.persona import Persona

LICENSE_QUERY = "Bit.Core.Billing.Organizations.Queries.GetSelfHostedOrganizationLicenseQuery"
SPONSORSHIP_SYNC = (
    "Bit.Core.OrganizationFeatures.OrganizationSponsorships.FamiliesForEnterprise.SelfHosted."
    "SelfHostedSyncSponsorshipsCommand"
)
BACK_OFF = timedelta(days=1)
REFRESH_BEFORE_END = timedelta(minutes=5)


def us_time(moment: datetime) -> str:
    return moment.strftime("%m/%d/%Y %H:%M:%S")


def base_address(uri: str) -> str:
    """A bare host gets its slash; an address with a path stays as it is, and then needs one of its own."""
    return uri if urlsplit(uri).path else uri + "/"


class CloudClient:
    """Lives for one sync or one run of the job: the token and the back-off are kept that long."""

    def __init__(self, persona: Persona, category: str, scope: str) -> None:
        self.persona = persona
        self.category = category
        self.scope = scope
        settings = persona.settings()
        self.identity = base_address(settings.identity_uri)
        self.api = base_address(settings.api_uri)
        self.client_id = f"installation.{settings.installation_id.lower()}"
        self.client_secret = settings.installation_key
        self._token: str | None = None
        self._token_ends = persona.now()
        self._next_attempt: datetime | None = None

    def _error(self, *lines: str) -> None:
        self.persona.log(self.category, "Error", *lines)

    async def send(self, method: str, path: str, body: dict[str, Any]) -> str | None:
        """The text of a good answer; None after any trouble, which stands in the log."""
        url = self.api + path
        if not await self._have_token():
            why = "because an access token was unable to be obtained"
            self._error(f"Unable to send {method} request to {url} {why}")
            return None
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Accept": "application/json",
            "Content-Type": "application/json; charset=utf-8",
        }
        try:
            answer = await send(self.persona, method, url, headers, net_json(body).encode())
        except NetworkError as error:
            self._error(f"Failed to send to {url}.", *error.lines)
            return None
        if net_text.json_error(answer.text) is not None:
            self._error(f"Failed to send to {url}.", *net_text.serializer_exception(answer.text))
            return None
        if not answer.ok:
            self._refused(url, answer)
            return None
        return answer.text

    def _refused(self, url: str, answer: Answer) -> None:
        body = json.loads(answer.text)
        message = body.get("message") if isinstance(body, dict) else None
        self._error(f"Request to {url} is unsuccessful with status of {answer.code}: {message or ''}")

    async def _have_token(self) -> bool:
        now = self.persona.now()
        if self._next_attempt is not None and now < self._next_attempt:
            until = f"because the next request time is {us_time(self._next_attempt)}"
            self.persona.log(self.category, "Information", f"Not requesting a token at {us_time(now)} {until}")
            return False
        self._next_attempt = None
        if self._token is not None and now < self._token_ends - REFRESH_BEFORE_END:
            return True
        return await self._request_token(now)

    async def _request_token(self, now: datetime) -> bool:
        form = {
            "grant_type": "client_credentials",
            "scope": self.scope,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        url = urljoin(self.identity, "connect/token")
        try:
            answer = await send(self.persona, "POST", url, headers, urlencode(form).encode())
        except NetworkError as error:
            self._error("Unable to authenticate with identity server.", *error.lines)
            self._error(f"Empty token response from {self.identity} for client {self.client_id}")
            return False
        if not answer.ok:
            what = f"Unsuccessful token response from {self.identity} for client {self.client_id}"
            self._error(f"{what} with status {answer.code}")
            if answer.status == 400:
                self._next_attempt = now + BACK_OFF
            return False
        self._keep_token(answer.text, now)
        return True

    def _keep_token(self, text: str, now: datetime) -> None:
        """Something that is not Bitwarden's identity and says 200 is more than the server is prepared for."""
        if net_text.json_error(text) is not None:
            raise ServerError(net_text.reader_exception(text))
        body = json.loads(text)
        if not isinstance(body, dict) or "access_token" not in body:
            missing = "The given key was not present in the dictionary."
            raise ServerError(f"System.Collections.Generic.KeyNotFoundException: {missing}")
        self._token = body["access_token"]
        self._token_ends = now + timedelta(seconds=int(body.get("expires_in", 0)))
