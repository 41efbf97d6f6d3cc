"""Facts of an nginx configuration, in the form of layout.json."""

from __future__ import annotations

import re
from typing import Any

TOKEN = re.compile(r"""#[^\n]*|"[^"]*"|'[^']*'|[{};]|[^\s{};]+""")
TLS = (
    "http2",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_session_timeout",
    "ssl_session_cache",
    "ssl_session_tickets",
    "ssl_protocols",
    "ssl_ciphers",
    "ssl_ecdh_curve",
    "ssl_prefer_server_ciphers",
    "ssl_dhparam",
    "ssl_stapling",
    "ssl_stapling_verify",
    "ssl_trusted_certificate",
    "resolver",
)
Block = list[tuple[list[str], "Block | None"]]


def parse(text: str) -> Block:
    tokens = [token for token in TOKEN.findall(text) if not token.startswith("#")]
    block, rest = _block(tokens, 0)
    if rest != len(tokens):
        raise ValueError("a brace is closed that was never opened")
    return block


def _block(tokens: list[str], at: int) -> tuple[Block, int]:
    block: Block = []
    words: list[str] = []
    while at < len(tokens) and tokens[at] != "}":
        if tokens[at] == ";":
            block.append((words, None))
            words = []
        elif tokens[at] == "{":
            inner, at = _block(tokens, at + 1)
            block.append((words, inner))
            words = []
        else:
            words.append(tokens[at])
        at += 1
    return block, at


def servers(text: str) -> dict[str, Any]:
    return {_port(block): _server(block) for words, block in parse(text) if words == ["server"] and block is not None}


def _port(block: Block) -> str:
    return next(words[1] for words, _unused in block if words[0] == "listen")


def _server(block: Block) -> dict[str, Any]:
    server: dict[str, Any] = {"listen": [], "server_name": "", "includes": [], "locations": {}}
    tls: dict[str, Any] = {}
    other: list[str] = []
    for words, inner in block:
        name, rest = words[0], " ".join(words[1:])
        if name == "listen":
            server["listen"].append(rest)
        elif name == "server_name":
            server["server_name"] = rest
        elif name == "return":
            server["answers_every_request_with"] = rest
        elif name == "include":
            server["includes"].append(rest)
        elif name == "location" and inner is not None:
            server["locations"][rest] = _location(rest, inner)
        elif name in TLS:
            tls[name] = _ciphers(rest) if name == "ssl_ciphers" else rest
        else:
            other.append(" ".join(words))
    if tls:
        server["tls"] = tls
    if other:
        server["other"] = other
    return server


def without_other(server: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in server.items() if key != "other"}


def _ciphers(text: str) -> dict[str, Any]:
    return {
        "number_of_suites": text.strip('";').count(":") + 1,
        "quoted_value_ends_with_semicolon": text.endswith(';"'),
    }


def _location(name: str, block: Block) -> dict[str, Any]:
    location: dict[str, Any] = {"match": "exact" if name.startswith("= ") else "prefix"}
    for words, _unused in block:
        rest = " ".join(words[1:])
        if words[0] == "proxy_pass":
            location["upstream"] = rest
            # A path behind the address takes the place of the part that matched.
            location["strips_prefix"] = re.fullmatch(r"http://[^/]+", rest) is None
        elif words[0] == "return":
            location["answers_itself"] = rest
        elif words[0] == "include":
            location.setdefault("includes", []).append(rest)
        elif words[0] == "add_header":
            location.setdefault("response_headers", []).append(words[1])
        elif words[0] == "proxy_hide_header":
            location.setdefault("hides", []).append(words[1])
        elif words[:2] == ["proxy_set_header", "Upgrade"]:
            location["websocket"] = True
    return location
