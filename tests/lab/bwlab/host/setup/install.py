"""`-install`: the questions, the check of the installation id at the cloud, and what follows from the answers."""

from __future__ import annotations

import ipaddress
import json
import re
import uuid
from collections.abc import Callable, Mapping
from typing import TextIO

from bwlab.host.setup.tree import Abort

# Asks an address with GET and gives status and text; a server that cannot be reached raises OSError.
Fetch = Callable[[str], "tuple[int, str]"]
REGIONS = {"US": 0, "EU": 1, "Gov": 2}

NO_TLS = (
    "You are not using a SSL certificate. Bitwarden requires HTTPS to operate. \n"
    "You must front your installation with a HTTPS proxy or the web vault (and \n"
    "other Bitwarden apps) will not work properly."
)
UNTRUSTED = (
    "You are using an untrusted SSL certificate. This certificate will not be \n"
    "trusted by Bitwarden client applications. You must add this certificate to \n"
    "the trusted store on each device or else you will receive errors when trying \n"
    "to connect to your installation."
)
OWN_CERTIFICATE = (
    "Make sure 'certificate.crt' and 'private.key' are provided in the \n"
    "appropriate directory before running 'start' (see docs for info)."
)
DOMAIN_REFUSED = "(!) Domain is invalid. A valid domain name is required (e.g. bitwarden.example.com)."


class Refused(Exception):
    """The installation ends with a sentence; the exit status is 0 all the same."""


class Prompts:
    def __init__(self, stdin: TextIO, stdout: TextIO) -> None:
        self.stdin = stdin
        self.stdout = stdout

    def say(self, text: str = "") -> None:
        self.stdout.write(text + "\n")
        self.stdout.flush()

    def ask(self, question: str) -> str | None:
        self.stdout.write(f"(!) {question}: ")
        self.stdout.flush()
        line = self.stdin.readline()
        self.say()
        return line.rstrip("\r\n") if line else None

    def until_given(self, question: str, what: str) -> str:
        """With standard input at its end this never comes back: the real program does not either."""
        while not (answer := self.ask(question) or "").strip():
            self.say(f"(!) Invalid input for {what}. Please try again.")
        return answer

    def yes(self, question: str) -> bool:
        answer = self.ask(f"{question} (y/N)")
        if answer is None:
            raise Abort("System.NullReferenceException", "Object reference not set to an instance of an object.")
        return answer.strip().lower() in ("y", "yes")

    def banner(self, title: str, text: str) -> None:
        self.say(f"!!!!!!!!!! {title} !!!!!!!!!!\n{text}\n")


def region(text: str) -> str | None:
    """A name, a list of names or any number, as .NET reads an enumeration; None for what it refuses."""
    text = text.strip()
    names = {number: name for name, number in REGIONS.items()}
    if re.fullmatch(r"[+-]?\d+", text):
        number = int(text)
        return names.get(number, str(number)) if -(2**31) <= number < 2**31 else None
    number = 0
    for word in text.split(","):
        if word.strip() not in REGIONS:
            return None
        number |= REGIONS[word.strip()]
    return names.get(number, str(number))


def guid(text: str) -> str | None:
    """The forms that .NET reads: 32 digits, with dashes, in braces or parentheses."""
    text = text.strip()
    digits = "[0-9a-fA-F]"
    dashed = f"{digits}{{8}}(-{digits}{{4}}){{3}}-{digits}{{12}}"
    if not re.fullmatch(rf"{digits}{{32}}|{dashed}|\{{{dashed}\}}|\({dashed}\)", text):
        return None
    return str(uuid.UUID(re.sub(r"[-{}()]", "", text)))


def valid_domain(domain: str) -> bool:
    try:
        ipaddress.ip_address(domain.strip("[]"))
    except ValueError:
        label = r"[^\W_]([\w-]*[^\W_])?"
        return re.fullmatch(rf"{label}(\.{label})*\.?", domain) is not None
    return False


def host(name: str, environment: Mapping[str, str]) -> str:
    return environment.get("BW_INSTALLATION_URL") or f"https://api.bitwarden.{'eu' if name == 'EU' else 'com'}"


def check_installation(installation: str, name: str, environment: Mapping[str, str], fetch: Fetch) -> None:
    try:
        status, text = fetch(f"{host(name, environment)}/installations/{installation}")
        if status == 404:
            raise Refused(f"Invalid installation id for {name} region.")
        if status != 200:
            raise Refused(f"Unable to validate installation id for {name} region.")
        answer = json.loads(text)
    except (OSError, ValueError):
        raise Refused(f"Unable to validate installation id. Problem contacting Bitwarden {name} server.") from None
    enabled = {key.lower(): value for key, value in answer.items()}.get("enabled") if isinstance(answer, dict) else None
    if enabled is not True:
        raise Refused(f"Installation id has been disabled in the {name} region.")


def ask_installation(
    prompts: Prompts, parameters: Mapping[str, str], environment: Mapping[str, str], fetch: Fetch
) -> tuple[str, str, str]:
    """Id, key and region of the installation; the key is taken as it is, nobody checks it."""
    text = parameters.get("install-id")
    if text is None:
        text = prompts.until_given("Enter your installation id (get at https://bitwarden.com/host)", "installation id")
    installation = guid(text)
    if installation is None:
        raise Refused("Invalid installation id.")
    key = parameters.get("install-key")
    if key is None:
        key = prompts.until_given("Enter your installation key", "installation key")
    name = region(parameters["cloud-region"]) or "US" if "cloud-region" in parameters else _ask_region(prompts)
    check_installation(installation, name, environment, fetch)
    return installation, key, name


def _ask_region(prompts: Prompts) -> str:
    while True:
        answer = prompts.ask("Enter your region (US/EU) [US]") or ""
        name = region(answer) if answer.strip() else "US"
        if name is not None:
            return name
        prompts.say("(!) Invalid input for region. Please try again.")
