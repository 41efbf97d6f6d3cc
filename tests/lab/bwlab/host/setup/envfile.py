"""How Setup reads, completes and writes its KEY=VALUE files."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Iterator

from bwlab.host.setup.config import Config
from bwlab.host.setup.tree import Tree

PREFIX = "globalSettings__"
VAULT = f"{PREFIX}baseServiceUri__vault"
PUSH = f"{PREFIX}pushRelayBaseUri"
CERTIFICATE_PASSWORD = f"{PREFIX}identityServer__certificatePassword"
GLOBAL = "env/global.override.env"
MSSQL = "env/mssql.override.env"
KEY_CONNECTOR = "env/key-connector.override.env"
UID = "env/uid.env"
NO_INSTALLATION = "00000000-0000-0000-0000-000000000000"
LETTERS = string.ascii_letters + string.digits


def random_text(length: int) -> str:
    return "".join(secrets.choice(LETTERS) for _unused in range(length))


def lines(text: str) -> Iterator[str]:
    """Only LF, CRLF and a lone CR end a line; str.splitlines knows more."""
    yield from re.split(r"\r\n|\r|\n", text)


def first_value(tree: Tree, key: str, name: str = GLOBAL) -> str | None:
    """The value in the FIRST line of a key, quotes around it taken off; later lines of the same key are not seen."""
    if not tree.is_file(name):
        return None
    for line in lines(tree.read(name)):
        if line.startswith(f"{key}="):
            return line[len(key) + 1 :].strip('"').replace('\\"', '"')
    return None


def complete(values: dict[str, str], text: str) -> None:
    """Lets the lines of an existing file replace the defaults in `values`; what those do not know comes at the end."""
    for line in lines(text):
        key, separator, value = line.partition("=")
        if not separator:
            continue
        values[key] = value if key in values else value.replace('\\"', '"')


def render(values: dict[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())


def catalog(name: str) -> str:
    """A database name as a part of a SQL Server connection string."""
    if re.fullmatch(r"[^\"'=;\s\x00-\x1f\x7f-\x9f]*", name):
        return name
    if '"' in name and "'" not in name:
        return f"'{name}'"
    return '"' + name.replace('"', '""') + '"'


def connection_string(database: str, password: str) -> str:
    parts = (
        "Data Source=tcp:mssql,1433",
        f"Initial Catalog={catalog(database)}",
        "Persist Security Info=False",
        "User ID=sa",
        f"Password={password}",
        "Multiple Active Result Sets=False",
        "Connect Timeout=30",
        "Encrypt=True",
        "Trust Server Certificate=True",
    )
    inner = ";".join(parts).replace('"', '\\"')
    return f'"{inner}"'


class EnvFiles:
    """The five files, with the defaults of one run."""

    def __init__(self, tree: Tree, config: Config, *, stub: bool = False) -> None:
        self.tree = tree
        self.config = config
        self.stub = stub
        self.database = "vault"
        self.region = "US"
        self.installation_id = NO_INSTALLATION
        self.installation_key = "SECRET_INSTALLATION_KEY" if stub else ""
        self.certificate_password = "IDENTITY_CERT_PASSWORD" if stub else ""
        self.database_password = self._secret(32, "RANDOM_DATABASE_PASSWORD")

    def _secret(self, length: int, stub_text: str) -> str:
        return stub_text if self.stub else random_text(length)

    def global_override(self) -> dict[str, str]:
        tail: dict[str, str] = {
            "baseServiceUri__vault": self.config.url or "",
            "baseServiceUri__cloudRegion": self.region,
            "sqlServer__connectionString": connection_string(self.database, self.database_password),
            "identityServer__certificatePassword": self.certificate_password,
            "internalIdentityKey": self._secret(64, "RANDOM_IDENTITY_KEY"),
            "oidcIdentityClientKey": self._secret(64, "RANDOM_IDENTITY_KEY"),
            "duo__aKey": self._secret(64, "RANDOM_DUO_AKEY"),
            "installation__id": self.installation_id,
            "installation__key": self.installation_key,
            "yubico__clientId": "REPLACE",
            "yubico__key": "REPLACE",
            "mail__replyToEmail": f"no-reply@{self.config.domain}",
            "mail__smtp__host": "REPLACE",
            "mail__smtp__port": "587",
            "mail__smtp__ssl": "false",
            "mail__smtp__username": "REPLACE",
            "mail__smtp__password": "REPLACE",
            "disableUserRegistration": "false",
            "hibpApiKey": "REPLACE",
        }
        values = {f"{PREFIX}{key}": value for key, value in tail.items()}
        values["adminSettings__admins"] = ""
        if not self.config.push_notifications:
            values[PUSH] = "REPLACE"
        return values

    def mssql_override(self) -> dict[str, str]:
        return {"SA_PASSWORD": self.database_password, "DATABASE": self.database}

    def key_connector_override(self) -> dict[str, str]:
        tail = {
            "webVaultUri": self.config.url or "",
            "identityServerUri": "http://identity:5000",
            "database__provider": "json",
            "database__jsonFilePath": "/etc/bitwarden/key-connector/data.json",
            "rsaKey__provider": "certificate",
            "certificate__provider": "filesystem",
            "certificate__filesystemPath": "/etc/bitwarden/key-connector/bwkc.pfx",
            "certificate__filesystemPassword": random_text(32),
        }
        return {f"keyConnectorSettings__{key}": value for key, value in tail.items()}

    def existing(self, name: str, values: dict[str, str]) -> dict[str, str]:
        if self.tree.is_file(name):
            complete(values, self.tree.read(name))
        return values


DOCKER_GLOBAL = {
    "ASPNETCORE_ENVIRONMENT": "Production",
    f"{PREFIX}selfHosted": "true",
    VAULT: "http://localhost",
    PUSH: "https://push.bitwarden.com",
}
DOCKER_MSSQL = {"ACCEPT_EULA": "Y", "MSSQL_PID": "Express", "SA_PASSWORD": "SECRET"}
