# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The stand-in images: one root file system for all of them, which differ in what their configuration says.

This module is all that the lab outside the containers knows of them, so it imports nothing of the lab.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# The nginx that knows `http2 on` and the OpenSSL that knows the key exchange of Setup's default.conf.
SUITE = "trixie"
PYTHON_VERSION = "3.13"
# Besides a minimal system; the wget of busybox has the -Y that the real health checks use.
PACKAGES = ("python3", "nginx-light", "busybox", "curl")
CODE = "/opt/lab"
NGINX_PORTS = (8080, 8443)
APP_PORT = 5000
SQL_PORT = 1433
PRODUCT = "com.bitwarden.product"
PROJECT = "com.bitwarden.project"


@dataclass(frozen=True)
class ImageSpec:
    """An image's configuration; `healthcheck` is a Healthcheck.Test, the lab asks more often than Docker's 30 s."""

    service: str
    env: dict[str, str] = field(default_factory=dict)
    healthcheck: list[str] | None = None
    ports: tuple[int, ...] = ()
    cmd: list[str] = field(default_factory=list)
    interval_s: int = 10
    start_period_s: int = 0

    @property
    def entrypoint(self) -> list[str]:
        """The command of a container comes behind it: only the setup image looks at that."""
        return ["python3", "-m", "bwlab.inside", self.service]

    @property
    def labels(self) -> dict[str, str]:
        return {PRODUCT: "bitwarden", PROJECT: self.service}


BASE_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONPATH": CODE,
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
DOTNET_ENV = {
    **BASE_ENV,
    "ASPNETCORE_ENVIRONMENT": "Production",
    "ASPNETCORE_URLS": f"http://+:{APP_PORT}",
    "SSL_CERT_DIR": "/etc/bitwarden/ca-certificates",
}


def _ask(path: str) -> list[str]:
    return ["CMD-SHELL", f"wget -Y off -q -O - http://localhost:{APP_PORT}{path} >/dev/null || exit 1"]


def _dotnet(service: str, path: str = "/alive") -> ImageSpec:
    return ImageSpec(service, DOTNET_ENV, _ask(path), (APP_PORT,))


NGINX_ASKS = (
    "curl -skf https://localhost:8443/alive >/dev/null || curl -sf http://localhost:8080/alive >/dev/null || exit 1"
)
SQL_ASKS = '/opt/mssql-tools18/bin/sqlcmd -C -S localhost -U sa -P "$SA_PASSWORD" -Q "SELECT 1" || exit 1'

IMAGES: dict[str, ImageSpec] = {
    "api": _dotnet("api"),
    "identity": _dotnet("identity", "/.well-known/openid-configuration"),
    "admin": _dotnet("admin"),
    "sso": _dotnet("sso"),
    "notifications": _dotnet("notifications"),
    "events": _dotnet("events"),
    "scim": _dotnet("scim"),
    "icons": _dotnet("icons", "/google.com/icon.png"),
    "attachments": ImageSpec("attachments", DOTNET_ENV, _ask("/alive"), (APP_PORT,)),
    "web": ImageSpec("web", BASE_ENV, _ask("/"), (APP_PORT,)),
    "key-connector": _dotnet("key-connector"),
    "nginx": ImageSpec("nginx", BASE_ENV, ["CMD-SHELL", NGINX_ASKS], NGINX_PORTS),
    "mssql": ImageSpec("mssql", BASE_ENV, ["CMD-SHELL", SQL_ASKS], (SQL_PORT,), start_period_s=120),
    "setup": ImageSpec("setup", DOTNET_ENV),
    "lite": ImageSpec(
        "lite", {**DOTNET_ENV, "globalSettings__pushRelayBaseUri": "https://push.bitwarden.com"}, None, NGINX_PORTS
    ),
}
