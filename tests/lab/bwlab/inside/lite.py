# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Lite image: all services and nginx in one container, told what to do by settings.env."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from bwlab.inside import entry, nginx, places, plain, supervise

PORTS = {
    "admin": 5000, "api": 5001, "events": 5003, "icons": 5004, "identity": 5005, "notifications": 5006, "scim": 5007,
    "sso": 5008,
}  # fmt: skip
OFF_BY_DEFAULT = ("events", "scim", "sso")
PROVIDERS = ("sqlite", "sqlserver", "mssql")
ROOT = places.BITWARDEN
WEB = Path("/tmp/web")
LOGS = Path("/var/log/bitwarden")
RANDOM = ("internalIdentityKey", "oidcIdentityClientKey", "duo__aKey")
DEFAULT_USER = 1000


def true(settings: Mapping[str, str], name: str, default: str = "false") -> bool:
    return settings.get(name, default).strip().lower() == "true"


def enabled(settings: Mapping[str, str]) -> dict[str, int]:
    """The services that run, with their ports."""
    return {
        name: port
        for name, port in PORTS.items()
        if true(settings, f"BW_ENABLE_{name.upper()}", "false" if name in OFF_BY_DEFAULT else "true")
    }


def service_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """What the entrypoint hands to the services; the installation's id and key come from nowhere but BW_ keys."""
    domain = settings.get("BW_DOMAIN", "localhost")
    keys = {
        "baseServiceUri__internalIdentity": f"http://localhost:{PORTS['identity']}",
        "baseServiceUri__vault": _given(settings, "baseServiceUri__vault", f"https://{domain}"),
        "installation__id": settings.get("BW_INSTALLATION_ID", ""),
        "installation__key": settings.get("BW_INSTALLATION_KEY", ""),
        "selfHosted": "true",
        "databaseProvider": settings.get("BW_DB_PROVIDER", "sqlite"),
        **{name: _given(settings, name, secrets.token_hex(30)) for name in RANDOM},
    }
    if settings.get("BW_DB_PROVIDER", "sqlite") != "sqlite":
        parts = {"Server": f"tcp:{settings.get('BW_DB_SERVER', '')},{settings.get('BW_DB_PORT', '1433')}"}
        parts["Database"] = settings.get("BW_DB_DATABASE", "vault")
        parts["User Id"] = settings.get("BW_DB_USERNAME", "")
        parts["Password"] = settings.get("BW_DB_PASSWORD", "")
        text = ";".join(f"{name}={value}" for name, value in parts.items())
        keys["sqlServer__connectionString"] = _given(settings, "sqlServer__connectionString", text)
    return {**{f"globalSettings__{name}": value for name, value in keys.items()}, "BWLAB_LITE": "1"}


def _given(settings: Mapping[str, str], name: str, default: str) -> str:
    return settings.get(f"globalSettings__{name}") or default


def configuration(settings: Mapping[str, str], ports: Mapping[str, int]) -> str:
    domain = settings.get("BW_DOMAIN", "localhost")
    environment = Environment(
        loader=FileSystemLoader(nginx.CONF), undefined=StrictUndefined, autoescape=select_autoescape(),
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    text: str = environment.get_template("lite.conf.j2").render(
        ports=ports,
        domain=domain.partition(":")[0],
        url=f"https://{domain}",
        web=WEB,
        tls=true(settings, "BW_ENABLE_SSL"),
        ipv6=true(settings, "BW_ENABLE_IPV6"),
        http_port=settings.get("BW_PORT_HTTP", "8080"),
        https_port=settings.get("BW_PORT_HTTPS", "8443"),
        certificate=ROOT / settings.get("BW_SSL_CERT", "ssl.crt"),
        key=ROOT / settings.get("BW_SSL_KEY", "ssl.key"),
        protocols=settings.get("BW_SSL_PROTOCOLS") or "TLSv1.2 TLSv1.3",
    )
    return text


def _certificate(settings: Mapping[str, str]) -> None:
    """A self-signed one where there is none."""
    from bwlab.host.setup import certificates  # noqa: PLC0415 - slow to load, seldom needed

    key, certificate = ROOT / settings.get("BW_SSL_KEY", "ssl.key"), ROOT / settings.get("BW_SSL_CERT", "ssl.crt")
    if key.exists():
        return
    private, public = certificates.pem(settings.get("BW_DOMAIN", "localhost").partition(":")[0])
    key.touch(mode=0o600)
    key.write_bytes(private)
    certificate.write_bytes(public)


def programs(settings: Mapping[str, str]) -> list[supervise.Program]:
    shared = service_environment(settings)
    found = [
        supervise.Program(
            name,
            [sys.executable, "-m", "bwlab.inside", name],
            {**shared, "ASPNETCORE_URLS": f"http://+:{port}"},
        )
        for name, port in enabled(settings).items()
    ]
    return [*found, supervise.Program("nginx", [nginx.PROGRAM, "-c", str(nginx.TARGET / "nginx.conf")], {})]


def main() -> int:
    settings = dict(os.environ)
    if settings.get("BW_DB_PROVIDER", "sqlite") not in PROVIDERS:
        print(f"The lab's Lite image knows these database providers: {', '.join(PROVIDERS)}", file=sys.stderr)
        return 1
    for name in ("PUID", "PGID"):
        os.environ[f"LOCAL_{name[1:]}"] = settings.get(name) or str(DEFAULT_USER)
    uid, gid = entry.begin([ROOT, LOGS, Path("/var/log/nginx")], stay_root=True)
    nginx.install([])
    WEB.mkdir(exist_ok=True)
    (WEB / "index.html").write_text(plain.PAGE.format(title="Bitwarden Web Vault"), encoding="utf-8")
    (nginx.TARGET / "conf.d" / "bitwarden.conf").write_text(configuration(settings, enabled(settings)), "utf-8")
    if os.geteuid() == 0:
        entry.step_down(uid, gid)
    if true(settings, "BW_ENABLE_SSL"):
        _certificate(settings)
    supervise.run(programs(settings))
    return 0
