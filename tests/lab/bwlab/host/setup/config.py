"""config.yml: the settings that Setup keeps, read and written as its YAML library does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Protocol
from urllib.parse import urlsplit

import yaml

from bwlab.host.setup.tree import Abort, Tree

NAME = "config.yml"
Events = Iterator["yaml.Event | yaml.YAMLError"]
NULLS = ("", "~", "null", "Null", "NULL")
EXPLAINED = {
    "url": "Address of this installation; Setup copies it to nginx's files and to the services' vault address.",
    "generate_compose_config": "Whether docker/docker-compose.yml is written anew at each update or rebuild.",
    "generate_nginx_config": "Whether nginx/default.conf is written anew at each update or rebuild.",
    "http_port": "Host port of plain HTTP; leave it empty to publish none.",
    "https_port": "Host port of HTTPS; leave it empty to publish none.",
    "ssl": "Whether nginx answers with TLS.",
    "ssl_versions": "TLS versions that nginx offers, when other than the default.",
    "ssl_ciphersuites": "Cipher suites that nginx offers, when other than the default.",
    "ssl_curves": "Key exchange groups that nginx offers, when other than the default.",
    "ssl_managed_lets_encrypt": "Whether Let's Encrypt issues the certificate.",
    "ssl_certificate_path": "Certificate, as the nginx container sees it.",
    "ssl_key_path": "Private key, as the nginx container sees it.",
    "ssl_ca_path": "Certificate of the issuer; needed for OCSP stapling.",
    "ssl_diffie_hellman_path": "Diffie-Hellman parameters.",
    "nginx_header_content_security_policy": "Own Content-Security-Policy header.",
    "push_notifications": "Whether mobile apps are told of changes through Bitwarden's push relay.",
    "database_docker_volume": "Whether the database lives in a volume instead of a folder.",
    "real_ips": "Networks of proxies whose X-Forwarded-For header is believed.",
    "enable_key_connector": "Whether the Key Connector service runs.",
    "enable_scim": "Whether the SCIM service runs.",
    "enable_built_in_ms_sql": "Whether the database container runs.",
}


class Place(Protocol):
    """A place in a YAML text; PyYAML has two classes for it."""

    line: int
    column: int
    index: int


@dataclass
class Config:
    url: str | None = "https://localhost"
    generate_compose_config: bool = True
    generate_nginx_config: bool = True
    http_port: str | None = "80"
    https_port: str | None = "443"
    ssl: bool = True
    ssl_versions: str | None = None
    ssl_ciphersuites: str | None = None
    ssl_curves: str | None = None
    ssl_managed_lets_encrypt: bool = False
    ssl_certificate_path: str | None = None
    ssl_key_path: str | None = None
    ssl_ca_path: str | None = None
    ssl_diffie_hellman_path: str | None = None
    nginx_header_content_security_policy: str | None = None
    push_notifications: bool = True
    database_docker_volume: bool = False
    real_ips: list[str] | None = None
    enable_key_connector: bool = False
    enable_scim: bool = False
    enable_built_in_ms_sql: bool = True

    @property
    def domain(self) -> str:
        return host_of(self.url or "")


KINDS = {field.name: str(field.type) for field in fields(Config)}


def host_of(url: str) -> str:
    """Host of an absolute address, without the port; empty for anything else."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return ""
    if not parts.scheme or not parts.netloc:
        return ""
    host = parts.netloc.rpartition("@")[2]
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


def load(tree: Tree) -> Config:
    config = Config()
    try:
        events = iter(list(_until_error(tree.read(NAME))))
        _fill(config, events)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise _complaint(mark, mark, str(getattr(error, "problem", error))) from None
    return config


def _until_error(text: str) -> Events:
    """The real library meets a wrong type before a later mistake in the syntax: so events first, then the error."""
    try:
        yield from yaml.parse(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        yield error


def _next(events: Events) -> yaml.Event:
    event = next(events)
    if isinstance(event, yaml.YAMLError):
        raise event
    return event


def _fill(config: Config, events: Events) -> None:
    event = _next(events)
    while isinstance(event, (yaml.StreamStartEvent, yaml.DocumentStartEvent)):
        event = _next(events)
    if isinstance(event, yaml.StreamEndEvent) or (isinstance(event, yaml.ScalarEvent) and _is_null(event)):
        raise Abort("System.NullReferenceException", "Object reference not set to an instance of an object.")
    if not isinstance(event, yaml.MappingStartEvent):
        raise _complaint(event.start_mark, event.end_mark, "Exception during deserialization")
    while not isinstance(event := _next(events), yaml.MappingEndEvent):
        name = event.value if isinstance(event, yaml.ScalarEvent) else ""
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            _skip(event, events)
        value = _next(events)
        if name in KINDS:
            setattr(config, name, _value(KINDS[name], value, events))
        else:
            _skip(value, events)
    while not isinstance(_next(events), yaml.StreamEndEvent):
        pass


def _skip(event: yaml.Event, events: Events) -> None:
    depth = 0
    while True:
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        if depth == 0:
            return
        event = _next(events)


def _value(kind: str, event: yaml.Event, events: Events) -> str | bool | list[str] | None:
    if isinstance(event, yaml.ScalarEvent) and _is_null(event):
        return False if kind == "bool" else None
    if kind.startswith("list"):
        return _list(event, events)
    if not isinstance(event, yaml.ScalarEvent):
        name = "Boolean" if kind == "bool" else "String"
        raise _complaint(
            event.start_mark,
            event.start_mark,
            f"No node deserializer was able to deserialize the node into type System.{name}, System.Private.CoreLib, "
            "Version=10.0.0.0, Culture=neutral, PublicKeyToken=7cec85d7bea7798e",
        )
    if kind != "bool":
        return str(event.value)
    if re.fullmatch("true|y|yes|on", event.value, re.IGNORECASE):
        return True
    if re.fullmatch("false|n|no|off", event.value, re.IGNORECASE):
        return False
    raise _complaint(event.start_mark, event.end_mark, "Exception during deserialization")


def _list(event: yaml.Event, events: Events) -> list[str]:
    if not isinstance(event, yaml.SequenceStartEvent):
        raise _complaint(event.start_mark, event.end_mark, "Exception during deserialization")
    items: list[str] = []
    while not isinstance(item := _next(events), yaml.SequenceEndEvent):
        value = _value("str", item, events)
        items.append("" if value is None else str(value))
    return items


def _is_null(event: yaml.ScalarEvent) -> bool:
    return event.style is None and event.value in NULLS


def _complaint(start: Place | None, end: Place | None, what: str) -> Abort:
    def place(mark: Place | None) -> str:
        line, column, index = (mark.line, mark.column, mark.index) if mark else (0, 0, 0)
        return f"(Line: {line + 1}, Col: {column + 1}, Idx: {index})"

    return Abort("YamlDotNet.Core.YamlException", f"{place(start)} - {place(end)}: {what}")


def scalar(value: str | bool | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    plain = re.fullmatch(r"[A-Za-z0-9/.(+_][^\x00-\x1f]*", value) and not re.search(r":(\s|$)|\s#|\s$", value)
    if plain and value not in NULLS:
        return value
    return "'" + value.replace("'", "''") + "'"


def save(tree: Tree, config: Config) -> None:
    out: list[str] = []
    for name, text in EXPLAINED.items():
        value = getattr(config, name)
        out.append(f"#\n# {text}\n")
        if isinstance(value, list):
            out.append(f"{name}:\n" + "".join(f"- {scalar(item)}\n" for item in value))
        else:
            out.append(f"{name}: {scalar(value)}".rstrip() + "\n")
    tree.write(NAME, "".join(out))
