# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plays groups of recorded exchanges in the order of their files and counts how many the lab answers alike.

After each exchange the recorded effect takes the place of the lab's own: one difference does not cause the next.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.responses import Response

import bwlab.api
import bwlab.identity
from bwlab.in_process import make_request
from bwlab.replay import effects
from bwlab.replay.compare import Comparison
from bwlab.replay.exchange import Clock, Exchange, body_bytes, client
from bwlab.replay.given import state_of_job
from bwlab.replay.summary import Result, Summary, known_differences, reason_for
from bwlab.replay.world import SIDES, World, license_texts
from bwlab.web import dispatch

HEADERS = (
    "content-type", "www-authenticate", "allow", "retry-after", "cache-control", "pragma", "content-length",
    "x-rate-limit-limit", "x-rate-limit-remaining",
)  # fmt: skip
SECRET_DELAY = 2.0
FORCED_ANSWERS = {"refresh_token": ("LabGrant", "Token"), "TwoFactorToken": ("LabRemember", "Token")}


def _keys() -> dict[str, str]:
    pems = {}
    for side in SIDES:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pems[side] = pem.decode()
    return pems


class GroupReplay:
    """One group, from the baseline on."""

    def __init__(self, group: str, document: dict[str, Any], world: World) -> None:
        self.group = group
        self.letter = group.split("-", 1)[0]
        self.world = world
        self.exchanges: list[Exchange] = document["exchanges"]
        self.clock = Clock(self.exchanges, document["recorded"])
        self.tokens: dict[tuple[str, str], str] = {}
        self.mailed_token = ""
        self._set_time(None)

    def _set_time(self, exchange: Exchange | None) -> None:
        self.world.set_time(self.clock.at(exchange) if exchange else self.clock.now)

    def token(self, side: str, person: str, given: str) -> str:
        """Made at the group's beginning, as the recorder did; anew where the exchange says so."""
        other = " of the other server"
        if person.endswith(other):
            side = next(name for name in SIDES if name != side)
            person = person.removesuffix(other)
        if person == "garbage":
            return person
        tampered = re.search(r", (signature|payload) tampered$", person)
        name = person[: tampered.start()] if tampered else person
        if (side, name) not in self.tokens or "new token" in given:
            self.tokens[side, name] = self.world.token(side, name)
        head, payload, signature = self.tokens[side, name].split(".")
        if tampered and tampered.group(1) == "signature":
            signature = ("B" if signature[0] == "A" else "A") + signature[1:]
        elif tampered:
            payload = payload[:-4] + "AAAA"
        return ".".join([head, payload, signature])

    def prepare_tokens(self) -> None:
        for exchange in self.exchanges:
            text = exchange.get("request", {}).get("headers", {}).get("Authorization", "")
            found = re.match(r"(?i)bearer <([^>]*)>", text)
            if found and exchange["service"] == "api":
                try:
                    self.token(exchange["persona"], found.group(1), "")
                except (LookupError, KeyError):
                    continue

    def _fill(self, text: str, exchange: Exchange) -> str:
        def replace(found: re.Match[str]) -> str:
            if found.group(1) == "token of the mail":
                return self.mailed_token
            return self.token(exchange["persona"], found.group(1), exchange.get("given", ""))

        return re.sub(r"<([^<>]+)>", replace, text)

    def play(self) -> list[Result]:
        self.prepare_tokens()
        results = []
        for exchange in self.exchanges:
            if "not_recorded" in exchange:
                continue
            if "the token still says owner" in exchange.get("given", ""):
                self.tokens.pop((exchange["persona"], "admin"), None)
                self.token(exchange["persona"], "admin", "")
            self.world.instance(exchange.get("instance"))
            self.world.trouble(exchange.get("given", ""))
            self._set_time(exchange)
            self.world.apply(exchange.get("prepared", {}))
            if re.search(r"file cannot be (opened for writing|written)", exchange.get("given", "")):
                self.world.block_file(exchange["prepared"]["license_files"])
            comparison = Comparison(self._known_values())
            try:
                with nullcontext() if "request" in exchange else state_of_job(self.world, exchange):
                    self._one(exchange, comparison)
            except Exception as error:
                comparison.differ("exception", None, f"{type(error).__name__}: {error}")
            results.append(Result(self.group, exchange["name"], comparison.differences))
        return results

    def _known_values(self) -> str:
        values = [
            str(value)
            for side in SIDES
            for rows in self.world.snapshot(side).values()
            for row in rows.values()
            for value in row.values()
            if isinstance(value, str)
        ]
        return "\n".join(values).lower()

    def _one(self, exchange: Exchange, comparison: Comparison) -> None:
        self._ensure_device(exchange)
        before = {side: self.world.snapshot(side) for side in SIDES}
        files = license_texts(self.world.licenses)
        for persona in self.world.sides.values():
            persona.store.clear("LabMail")
            persona.store.clear("LabLog")
        self.world.lab.taps = [dict(tap) for tap in exchange.get("outbound", [])]
        self.world.lab.delays = 0
        if self.letter != "i":
            self._forget_limits(exchange)
        if "request" in exchange:
            response = asyncio.run(self._send(exchange))
            self._compare_response(comparison, exchange, response)
        else:
            name = exchange["service"] if "job" in str(exchange["service"]).lower() else exchange["name"]
            jobs = importlib.import_module("bwlab.jobs")
            asyncio.run(jobs.run_job(self.world.sides[exchange["persona"]], name.split()[-1]))
        after = {side: self.world.snapshot(side) for side in SIDES}
        self._compare_effect(comparison, exchange, before, after, files)
        for side in SIDES:
            self.world.restore(side, before[side], after[side])
        self._restore_files(exchange, files)
        self.world.apply(exchange.get("effect", {}))
        self._force_random(exchange)

    def _ensure_device(self, exchange: Exchange) -> None:
        """The baseline leaves devices out: one that a good login did not add was there already."""
        claims = exchange.get("response", {}).get("access_token_claims", {}).get("payload", {})
        side = exchange.get("persona", "")
        if "device" in claims and "Device" not in exchange.get("effect", {}).get(f"{side}_rows", {}):
            self.world.know_device(side, claims["sub"], claims["device"])

    def _forget_limits(self, exchange: Exchange) -> None:
        """Outbound calls came from many addresses, but where the cloud itself answered that there were too many."""
        cloud, server = self.world.sides["cloud"], self.world.sides["self_hosted"]
        cloud.limiter.forget()
        for tap in exchange.get("outbound", []):
            answer = tap["answer"]
            if isinstance(answer, dict) and answer["status"] == 429 and answer.get("made_by") != "tap":
                for _index in range(10):
                    cloud.limiter.check("identity", tap["method"], tap["path"], server.name, cloud.now())

    async def _send(self, exchange: Exchange) -> Response:
        request = exchange["request"]
        persona = self.world.sides[exchange["persona"]]
        headers = {key: self._fill(value, exchange) for key, value in request["headers"].items()}
        license_text = next(iter(license_texts(self.world.licenses).values()), b"{}").decode()
        body = body_bytes(exchange, license_text)
        if "Transfer-Encoding" not in headers and (body or request["method"] in ("POST", "PUT", "PATCH")):
            headers["Content-Length"] = str(len(body))
        address = client(exchange, self.letter)
        path = self._fill(request["path"], exchange)
        if number := re.search(r"number (\d+) within", exchange.get("given", "")):
            for _index in range(int(number.group(1)) - 1):
                await dispatch(persona, exchange["service"], make_request(request["method"], path, client=address))
        sent = make_request(request["method"], path, headers, body, address)
        return await dispatch(persona, exchange["service"], sent)

    def _compare_response(self, comparison: Comparison, exchange: Exchange, response: Response) -> None:
        recorded = exchange["response"]
        comparison.values("status", recorded["status"], response.status_code)
        headers = dict(response.headers.items())
        for name in HEADERS:
            if recorded["headers"].get(name) != headers.get(name) and recorded["status"] != 204:
                comparison.values(f"header {name}", recorded["headers"].get(name), headers.get(name))
        text = bytes(response.body).decode("utf-8", "replace")
        if recorded.get("body") is None and (recorded.get("empty_body") or recorded["status"] == 204 or not text):
            comparison.values("body", "", text)
        else:
            body = json.loads(text) if "json" in headers.get("content-type", "") and text else text
            if isinstance(body, dict) and "access_token" in body:
                self._compare_claims(comparison, recorded, body)
            comparison.values("body", recorded["body"], body)
        waited = self.world.lab.delays > 0
        told = not exchange.get("outbound") and "mail" in (exchange.get("instance") or "mail")
        if told and (recorded["elapsed_seconds"] >= SECRET_DELAY) != waited:
            comparison.values("two seconds taken", recorded["elapsed_seconds"] >= SECRET_DELAY, waited)

    @staticmethod
    def _compare_claims(comparison: Comparison, recorded: dict[str, Any], body: dict[str, Any]) -> None:
        if "access_token_claims" not in recorded:
            return
        jwt = importlib.import_module("jwt")
        token = body["access_token"]
        claims = jwt.decode(token, options={"verify_signature": False})
        comparison.values("token", recorded["access_token_claims"]["payload"], claims)
        header = jwt.get_unverified_header(token)
        comparison.values("token header", recorded["access_token_claims"]["header"], header)
        body["access_token"] = recorded["body"]["access_token"]

    def _compare_effect(
        self, comparison: Comparison, exchange: Exchange, before: Any, after: Any, files: dict[str, bytes]
    ) -> None:
        recorded = exchange.get("effect", {})
        for side in SIDES:
            actual = effects.rows_effect(before[side], after[side])
            effects.compare_rows(comparison, side, recorded.get(f"{side}_rows", {}), actual)
        now = license_texts(self.world.licenses)
        effects.compare_files(comparison, recorded.get("license_files", {}), effects.file_effect(files, now))
        if "licence_file" in exchange:
            path = exchange["request"]["path"]
            text = next((data for name, data in now.items() if name.split("/")[-1][:-5] in path), b"{}")
            comparison.values("license file", exchange["licence_file"], json.loads(text))
        effects.compare_mails(comparison, recorded.get("mails", []), self.world.sides)
        if "log" in recorded:
            effects.compare_log(comparison, recorded["log"], self.world.sides)

    def _restore_files(self, exchange: Exchange, files: dict[str, bytes]) -> None:
        """Files that the recording does not touch go back to what they were; a new one gets the recorded name."""
        touched = exchange.get("effect", {}).get("license_files", {})
        created = [name for name, what in touched.items() if what == "created"]
        for name, data in license_texts(self.world.licenses).items():
            path = self.world.licenses / name.partition(":")[2]
            if name in touched:
                continue
            if name not in files and created:
                path.rename(self.world.licenses / created[0].partition(":")[2])
            elif name not in files:
                path.unlink()
            elif files[name] != data:
                path.write_bytes(files[name])

    def _force_random(self, exchange: Exchange) -> None:
        """Values that later requests use: refresh tokens, mailed codes, mailed links."""
        store = self.world.sides[exchange.get("persona", "cloud")].store
        body = exchange.get("response", {}).get("body")
        for name, (table, column) in FORCED_ANSWERS.items():
            rows = store.rows(table)
            if isinstance(body, dict) and name in body and rows:
                store.update(table, rows[-1]["Id"], **{column: body[name]})
        for persona in self.world.sides.values():
            for row in persona.store.rows("LabMail"):
                if found := re.search(r"token(?:&#x3D;|=)([^&\s]+)", row["Text"]):
                    self.mailed_token = found.group(1)
        for mail in exchange.get("effect", {}).get("mails", []):
            code = re.search(r"\b(\d{8})\b", mail["text"])
            rows = store.rows("LabCode")
            if code and rows:
                store.update("LabCode", rows[-1]["Id"], Code=code.group(1))


def group_files(recordings: Path) -> list[Path]:
    return sorted(path for path in recordings.glob("*-*.json") if (path.name[0].isalpha()))


def replay(recordings: Path, groups: list[str] | None = None, name: str | None = None) -> Summary:
    bwlab.api.load()
    bwlab.identity.load()
    summary = Summary()
    known = known_differences()
    keys = _keys()
    for path in group_files(recordings):
        letter = path.stem.split("-", 1)[0]
        if groups and letter not in groups and path.stem not in groups:
            continue
        document = json.loads(path.read_text(encoding="utf-8"))
        if reason_for(known, path.stem, "") and not groups:
            reason = reason_for(known, path.stem, "")
            for exchange in document["exchanges"]:
                summary.results.append(Result(path.stem, exchange["name"], ["not answered"], reason))
            continue
        with tempfile.TemporaryDirectory() as directory:
            world = World(recordings, Path(directory), keys)
            for result in GroupReplay(path.stem, document, world).play():
                result.reason = reason_for(known, result.group, result.name) if result.differences else None
                if name is None or re.search(name, result.name):
                    summary.results.append(result)
    return summary
