"""The program: its arguments, its three commands, the order of its writes and what it prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bwlab.host.lazy import lazy
from bwlab.host.setup import config, envfile, install
from bwlab.host.setup.tree import Abort, Tree

if TYPE_CHECKING:
    from bwlab.host.setup import certificates, render
else:
    certificates = lazy("bwlab.host.setup.certificates")
    render = lazy("bwlab.host.setup.render")


def parse(arguments: Sequence[str]) -> dict[str, str]:
    """Pairs of `-name value`; a word without a dash is skipped together with the word after it."""
    parameters: dict[str, str] = {}
    for index in range(0, len(arguments), 2):
        if not arguments[index].startswith("-"):
            continue
        if index + 1 >= len(arguments):
            raise Abort("System.IndexOutOfRangeException", "Index was outside the bounds of the array.")
        name = arguments[index][1:]
        if name in parameters:
            raise Abort("System.ArgumentException", f"An item with the same key has already been added. Key: {name}")
        parameters[name] = arguments[index + 1]
    return parameters


def no_network(address: str) -> tuple[int, str]:
    raise ConnectionRefusedError(address)


@dataclass
class Setup:
    tree: Tree
    stdin: TextIO = field(default_factory=lambda: sys.stdin)
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    fetch: install.Fetch = no_network
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    working_directory: Path | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    config: config.Config = field(default_factory=config.Config)

    @property
    def stub(self) -> bool:
        return self._flag("stub")

    @property
    def windows(self) -> bool:
        return self.parameters.get("os") == "win"

    def _flag(self, name: str) -> bool:
        return self.parameters.get(name) in ("true", "1")

    def _say(self, text: str = "", *, always: bool = False) -> None:
        if always or not self._flag("q"):
            self.stdout.write(text + "\n")
            self.stdout.flush()

    def main(self, arguments: Sequence[str]) -> int:
        self.parameters = parse(arguments)
        self._say()
        if "install" in self.parameters:
            self._install()
        elif "update" in self.parameters:
            self._update()
        elif "printenv" in self.parameters:
            self._print_environment()
        else:
            self._say("No top-level command detected. Exiting...")
        return 0

    def _versions(self) -> render.Versions:
        names = ("corev", "webv", "keyconnectorv")
        return render.Versions(*(self.parameters.get(name) or "latest" for name in names))

    # -- update ----------------------------------------------------------------------------------------------------

    def _update(self) -> None:
        password = envfile.first_value(self.tree, envfile.CERTIFICATE_PASSWORD) or ""
        self._load_config()
        if "db" in self.parameters:
            self._say(always=True)
            return
        files = envfile.EnvFiles(self.tree, self.config)
        files.certificate_password = password
        self._write_env_files(files, existing=True)
        self._write_nginx()
        self._write_app_id()
        self._write_compose()
        config.save(self.tree, self.config)
        self._say(always=True)

    def _load_config(self) -> bool:
        """False when there is neither a config.yml nor an address to make one from."""
        if self.tree.is_file(config.NAME):
            self.config = config.load(self.tree)
            return True
        self._say("No existing `config.yml` detected. Let's generate one.")
        url = envfile.first_value(self.tree, envfile.VAULT)
        if not (url or "").strip():
            self._say("Unable to determine existing installation url.")
            return False
        self.config.url = url
        self.config.push_notifications = envfile.first_value(self.tree, envfile.PUSH) != "REPLACE"
        if self.tree.is_file("nginx/default.conf"):
            self._guess_tls(self.tree.read("nginx/default.conf"))
        config.save(self.tree, self.config)
        return True

    def _guess_tls(self, text: str) -> None:
        own = "/etc/ssl/self/" in text
        self.config.ssl = "listen 8443 ssl" in text
        self.config.ssl_managed_lets_encrypt = not own and "/etc/letsencrypt/live/" in text
        if not self.config.ssl or self.config.ssl_managed_lets_encrypt:
            return
        folder = f"/etc/ssl/{'self/' if own else ''}{self.config.domain}"
        self.config.ssl_certificate_path = f"{folder}/certificate.crt"
        self.config.ssl_key_path = f"{folder}/private.key"
        if "ssl_trusted_certificate " in text:
            self.config.ssl_ca_path = f"{folder}/ca.crt"
        if "/dhparam.pem;" in text:
            self.config.ssl_diffie_hellman_path = f"{folder}/dhparam.pem"

    # -- the files -------------------------------------------------------------------------------------------------

    def _write_env_files(self, files: envfile.EnvFiles, *, existing: bool) -> None:
        tables = {envfile.GLOBAL: files.global_override(), envfile.MSSQL: files.mssql_override()}
        if self.config.enable_key_connector:
            tables[envfile.KEY_CONNECTOR] = files.key_connector_override()
        if existing:
            for name, values in tables.items():
                files.existing(name, values)
            self._settle(tables[envfile.GLOBAL])
        self._say("Building docker environment files.")
        for folder in ("docker", "env"):
            self.tree.make_directory(folder)
        self.tree.write("docker/global.env", envfile.render(envfile.DOCKER_GLOBAL), 0o600)
        self.tree.write("docker/mssql.env", envfile.render(envfile.DOCKER_MSSQL), 0o600)
        self._say("Building docker environment override files.")
        for name, values in tables.items():
            self.tree.write(name, envfile.render(values), 0o600)
        if not self.tree.is_file(envfile.UID):
            self.tree.write(envfile.UID, "")
        if self.config.enable_key_connector and not self.tree.is_file("key-connector/bwkc.pfx"):
            password = tables[envfile.KEY_CONNECTOR]["keyConnectorSettings__certificate__filesystemPassword"]
            certificates.pfx(self.tree, "key-connector/bwkc.pfx", "Bitwarden Key Connector", password or "none")

    def _settle(self, values: dict[str, str]) -> None:
        if self.config.push_notifications and values.get(envfile.PUSH) == "REPLACE":
            del values[envfile.PUSH]
        url = self.config.url or ""
        if values[envfile.VAULT] != url:
            values[envfile.VAULT] = url
            self._say(f"Updated {envfile.VAULT} to match value in config.yml")

    def _write_nginx(self) -> None:
        self._say("Building nginx config.")
        if not self.config.generate_nginx_config:
            self._say("...skipped")
            return
        self.tree.make_directory("nginx")
        self.tree.write("nginx/default.conf", render.nginx(self.config))

    def _write_app_id(self) -> None:
        self._say("Building FIDO U2F app id.")
        self.tree.make_directory("web")
        self.tree.write("web/app-id.json", render.app_id(self.config))

    def _write_compose(self) -> None:
        self._say("Building docker-compose.yml.")
        if not self.config.generate_compose_config:
            self._say("...skipped")
            return
        self.tree.make_directory("docker")
        self.tree.write("docker/docker-compose.yml", render.compose(self.config, self._versions()))

    # -- install ---------------------------------------------------------------------------------------------------

    def _install(self) -> None:
        quiet = self.parameters.pop("q", None)
        if quiet is not None and quiet in ("true", "1"):
            self._say()
        prompts = install.Prompts(self.stdin, self.stdout)
        domain = self.parameters.get("domain", "").lower()
        self.config.database_docker_volume = self.parameters.get("os") == "mac"
        self.config.ssl_managed_lets_encrypt = self.parameters.get("letsencrypt", "").lower() == "y"
        files = envfile.EnvFiles(self.tree, self.config, stub=self.stub)
        files.database = self.parameters.get("dbname") or "vault"
        try:
            if "domain" in self.parameters and not install.valid_domain(domain):
                raise install.Refused(install.DOMAIN_REFUSED)
            if not self.stub:
                found = install.ask_installation(prompts, self.parameters, self.environment, self.fetch)
                files.installation_id, files.installation_key, files.region = found
        except install.Refused as refusal:
            self._say(str(refusal))
            return
        self._certificates(prompts, domain, files)
        self.config.url = f"http{'s' if self.config.ssl else ''}://{domain}"
        self._write_nginx()
        self._write_env_files(files, existing=False)
        self._write_app_id()
        self._write_compose()
        config.save(self.tree, self.config)
        self._next_steps()

    def _certificates(self, prompts: install.Prompts, domain: str, files: envfile.EnvFiles) -> None:
        if self.stub:
            self.config.ssl = True
            self._certificate_paths(domain, own=False, trusted=True)
            return
        trusted = own = False
        self.config.ssl = self.config.ssl_managed_lets_encrypt
        if self.config.ssl_managed_lets_encrypt:
            trusted = True
            certificates.diffie_hellman(self.tree, domain)
        elif not self._flag("skip-ssl"):
            own, trusted = self._ask_certificate(prompts, domain)
        self._say("Generating key for IdentityServer.")
        files.certificate_password = envfile.random_text(32)
        certificates.identity(self.tree, files.certificate_password, self.working_directory)
        self._say()
        if not self.config.ssl:
            prompts.banner("WARNING", install.NO_TLS)
        elif not trusted:
            prompts.banner("WARNING", install.UNTRUSTED)
        if self.config.ssl and not self.config.ssl_managed_lets_encrypt:
            self._certificate_paths(domain, own=own, trusted=trusted)

    def _ask_certificate(self, prompts: install.Prompts, domain: str) -> tuple[bool, bool]:
        """Whether the certificate is self-signed, and whether clients trust it."""
        if prompts.yes("Do you have a SSL certificate to use?"):
            self.config.ssl = True
            self.tree.make_directory(f"ssl/{domain}")
            prompts.banner("NOTE", install.OWN_CERTIFICATE)
            return False, prompts.yes("Is this a trusted SSL certificate (requires ca.crt, see docs)?")
        if prompts.yes("Do you want to generate a self-signed SSL certificate?"):
            self.config.ssl = True
            self._say("Generating self signed SSL certificate.")
            certificates.self_signed(self.tree, domain)
            return True, False
        return False, False

    def _certificate_paths(self, domain: str, *, own: bool, trusted: bool) -> None:
        folder = f"/etc/ssl/{'self/' if own else ''}{domain}"
        self.config.ssl_certificate_path = f"{folder}/certificate.crt"
        self.config.ssl_key_path = f"{folder}/private.key"
        if trusted:
            self.config.ssl_ca_path = f"{folder}/ca.crt"

    def _next_steps(self) -> None:
        dash, script, slash = ("-", ".\\bitwarden.ps1", "\\") if self.windows else ("", "./bitwarden.sh", "/")
        self._say("\nInstallation complete\n")
        self._say("If you need to make additional configuration changes, you can modify")
        self._say(f"the settings in `.{slash}bwdata{slash}config.yml` and then run:")
        self._say(f"`{script} {dash}rebuild` or `{script} {dash}update`")
        self._say(f"\nNext steps, run:\n`{script} {dash}start`\n")

    # -- printenv --------------------------------------------------------------------------------------------------

    def _print_environment(self) -> None:
        self._load_config()
        dash, script = ("-", ".\\bitwarden.ps1") if self.windows else ("", "./bitwarden.sh")
        self._say("\nBitwarden is up and running!\n" + "=" * 51)
        self._say(f"\nvisit {self.config.url}")
        self._say(f"to update, run `{script} {dash}updateself` and then `{script} {dash}update`\n")


def run(setup: Setup, arguments: Sequence[str]) -> int:
    """The exit status that a caller of the program sees."""
    try:
        return setup.main(arguments)
    except Abort as abort:
        setup.stdout.flush()
        print(abort, file=sys.stderr)
        return Abort.exit_code
