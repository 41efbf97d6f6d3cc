"""The files that Setup writes from templates: docker-compose.yml, nginx's default.conf, app-id.json."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from bwlab.host.setup.config import Config

DEFAULT_CIPHERS = ":".join(
    f"{exchange}-{cipher}"
    for exchange in ("ECDHE-ECDSA", "ECDHE-RSA", "DHE-RSA")
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
)
DEFAULT_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self' {socket} https://api.pwnedpasswords.com; object-src 'self' blob:; frame-src 'self' https://*.duosecurity.com;"
)


@dataclass
class Versions:
    core: str = "latest"
    web: str = "latest"
    key_connector: str = "latest"


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def compose(config: Config, versions: Versions) -> str:
    text: str = _environment().get_template("docker-compose.yml.j2").render(config=config, versions=versions)
    return text


def nginx(config: Config) -> str:
    live = f"/etc/letsencrypt/live/{config.domain}"
    encrypt = config.ssl_managed_lets_encrypt
    policy = config.nginx_header_content_security_policy
    if not policy:
        policy = DEFAULT_POLICY.format(socket=(config.url or "").replace("http", "ws", 1))
    text: str = (
        _environment()
        .get_template("default.conf.j2")
        .render(
            config=config,
            certificate=f"{live}/fullchain.pem" if encrypt else config.ssl_certificate_path,
            key=f"{live}/privkey.pem" if encrypt else config.ssl_key_path,
            dhparam=f"{live}/dhparam.pem" if encrypt else config.ssl_diffie_hellman_path,
            issuer=f"{live}/fullchain.pem" if encrypt else config.ssl_ca_path,
            protocols=config.ssl_versions or "TLSv1.2 TLSv1.3",
            ciphers=config.ssl_ciphersuites or DEFAULT_CIPHERS,
            curves=config.ssl_curves or "X25519:X25519MLKEM768:prime256v1:secp384r1",
            policy=policy,
        )
    )
    return text


def app_id(config: Config) -> str:
    ids = [config.url or "", "ios:bundle-id:com.8bit.bitwarden", "android:apk-key-hash:dUGFzUzf3lmHSLBDBIv+WaFyZMI"]
    facets = {"trustedFacets": [{"version": {"major": 1, "minor": 0}, "ids": ids}]}
    return json.dumps(facets, indent=2) + "\n"
