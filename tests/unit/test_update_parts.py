"""What updates and backups are made of, without a host: versions, plans, archives, certificates' dates, settings."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    archive,
    backup,
    backups,
    certificate_dates,
    database,
    deployment,
    host_facts,
    update_plan,
    versions,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.accounts import Account
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import Container, Service
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.versions import Release
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.view import View
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SCRIPT = 'COREVERSION="2026.8.0"\nWEBVERSION="2026.8.1"\nKEYCONNECTORVERSION="2026.7.0"\n'
URL = 'BITWARDEN_SCRIPT_URL="https://func.bitwarden.com/api/dl/?app=self-host&platform=linux"\n'
RELEASE = Release("2026.8.0", "2026.8.1", "2026.7.0")


class Answers:
    """Stands in for run_command."""

    def __init__(self, stdout: str = "", status: int = 0, stderr: str = "") -> None:
        self.answer = (status, stdout, stderr)

    def __call__(self, args: list[str], **_options: Any) -> tuple[int, str, str]:
        return self.answer


class TestVersions:
    @pytest.mark.parametrize(
        ("candidate", "current", "newer"),
        [
            ("2026.10.0", "2026.9.9", True),
            ("2026.8.0", "2026.8.0", False),
            ("2026.8.0", "2026.8.1", False),
            ("2026.8.0", "latest", False),
            ("latest", "2026.8.0", False),
            ("2026.8.0", None, False),
        ],
    )
    def test_they_are_compared_as_numbers(self, candidate: str, current: str | None, newer: bool) -> None:
        assert versions.is_newer(candidate, current) is newer

    def test_a_script_names_them_and_its_own_address(self) -> None:
        text = URL.replace("linux", "linux&variant=run") + URL + SCRIPT
        assert versions.parse_script(text) == RELEASE
        assert versions.script_url(text) == "https://func.bitwarden.com/api/dl/?app=self-host&platform=linux"
        assert versions.parse_script("<html>") is None and versions.script_url("") == versions.SCRIPT_URL

    def test_what_is_offered(self) -> None:
        account = Account(Answers(f"{SCRIPT}\nhttp_code 200"))
        assert versions.offered(account) == RELEASE

    @pytest.mark.parametrize(
        ("answers", "words"),
        [
            (Answers("no\nhttp_code 503"), "answered 503"),
            (Answers("", 6, "curl: (6) Could not resolve host"), "Could not resolve"),
            (Answers("<html>login</html>\nhttp_code 200"), "no bitwarden.sh"),
        ],
    )
    def test_what_is_no_script_is_refused(self, answers: Answers, words: str) -> None:
        with pytest.raises(BitwardenError, match=words):
            versions.offered(Account(answers))


def view_of(core: str, web: str, *, running: str | None = None) -> View:
    tags = {"admin": core, "api": core, "web": web, "pinned": "2020.1.0"}
    names = {name: f"ghcr.io/bitwarden/{name}:{tag}" for name, tag in tags.items()}
    services = {name: Service(name, f"bitwarden-{name}", image, {}) for name, image in names.items()}
    rows = {
        name: Container(name, name, "running", "", image.replace(core, running or core), {})
        for name, image in names.items()
    }
    return View(services, services, rows, [])


class TestPlan:
    def make(self, view: View, script: Release | None = RELEASE, begun: str | None = None) -> update_plan.Plan:
        return update_plan.make(RELEASE, script, view, None, begun)

    def test_current(self) -> None:
        assert not self.make(view_of("2026.8.0", "2026.8.1")).due

    @pytest.mark.parametrize(
        ("view", "script", "begun"),
        [
            (view_of("2026.7.2", "2026.8.1"), RELEASE, None),
            (view_of("2026.8.0", "2026.8.0"), RELEASE, None),
            (view_of("2026.8.0", "2026.8.1", running="2026.7.2"), RELEASE, None),
            (view_of("2026.8.0", "2026.8.1"), Release("2026.7.2", "2026.7.1", "2026.7.0"), None),
            (view_of("2026.8.0", "2026.8.1"), RELEASE, "2026.7.2"),
        ],
        ids=["core", "web", "files only", "script", "unfinished"],
    )
    def test_due(self, view: View, script: Release, begun: str | None) -> None:
        assert self.make(view, script, begun).due

    def test_ahead_is_left_alone(self) -> None:
        plan = self.make(view_of("2026.9.0", "2026.8.1"))
        assert plan.ahead and not plan.due

    def test_what_is_no_number_is_refused(self) -> None:
        with pytest.raises(BitwardenError, match="latest"):
            self.make(view_of("latest", "latest"))

    def test_only_images_of_the_version_get_the_new_one(self) -> None:
        plan = self.make(view_of("2026.7.2", "2026.7.1"), Release("2026.7.2", "2026.7.1", "2026.7.0"))
        assert plan.new_image("ghcr.io/bitwarden/api:2026.7.2") == "ghcr.io/bitwarden/api:2026.8.0"
        assert plan.new_image("ghcr.io/bitwarden/web:2026.7.1") == "ghcr.io/bitwarden/web:2026.8.1"
        for image in ("ghcr.io/bitwarden/pinned:2020.1.0", "certbot/certbot", "example.com:5000/api:2026.7.2"):
            assert plan.new_image(image) == image

    def test_lite(self) -> None:
        service = Service("bitwarden", "bitwarden", "ghcr.io/bitwarden/lite:2026.7.2", {})
        view = View({"bitwarden": service}, {}, {}, [])
        plan = update_plan.make_single(RELEASE, view, None, None)
        assert plan.due and plan.new_images() == ["ghcr.io/bitwarden/lite:2026.8.0"]
        assert not update_plan.make_single(RELEASE, view, "2026.9.0", None).due


class TestArchive:
    def make(self, folder: Path) -> Path:
        source = folder / "source"
        (source / "deep").mkdir(parents=True, mode=0o750)
        (source / "deep/secret").write_bytes(os.urandom(3 << 20))
        (source / "deep/secret").chmod(0o400)
        (source / "link").symlink_to("deep/secret")
        os.mkfifo(source / "pipe")
        target = folder / "a.tar.gz"
        archive.write(str(target), archive.entries(str(source), "bwdata", lambda _name: False), {"kind": "standard"})
        return target

    def test_it_comes_back_as_it_was(self, tmp_path: Path) -> None:
        path = self.make(tmp_path)
        manifest, size, names = archive.inspect(str(path))
        assert manifest == {"format": 1, "kind": "standard"} and size > 3 << 20
        assert set(names) == {"manifest.json", "bwdata", "bwdata/deep", "bwdata/deep/secret", "bwdata/link"}
        target = tmp_path / "target"
        target.mkdir()
        archive.extract(str(path), str(target))
        for name in ("deep", "deep/secret", "link"):
            old, new = (tmp_path / "source" / name).lstat(), (target / "bwdata" / name).lstat()
            assert (old.st_mode, old.st_uid, old.st_gid) == (new.st_mode, new.st_uid, new.st_gid)
        assert (target / "bwdata/link").read_bytes() == (tmp_path / "source/deep/secret").read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert archive.checksum(str(path)) == hashlib.sha256(path.read_bytes()).hexdigest()

    @pytest.mark.parametrize("cut", [100, 1 << 20])
    def test_a_part_of_one_is_no_archive(self, tmp_path: Path, cut: int) -> None:
        path = self.make(tmp_path)
        path.write_bytes(path.read_bytes()[:-cut])
        with pytest.raises(BitwardenError, match="damaged"):
            archive.inspect(str(path))

    @pytest.mark.parametrize("name", ["/etc/passwd", "bwdata/../../etc/passwd"])
    def test_what_would_lie_elsewhere_is_refused(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "bad.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        for action in (archive.inspect, lambda text: archive.extract(text, str(tmp_path))):
            with pytest.raises(BitwardenError, match="never writes"):
                action(str(path))

    def test_nothing_is_written_through_a_link(self, tmp_path: Path) -> None:
        path, outside = tmp_path / "bad.tar.gz", tmp_path / "outside"
        outside.mkdir()
        (tmp_path / "target").mkdir()
        with tarfile.open(path, "w:gz") as tar:
            link = tarfile.TarInfo("bwdata")
            link.type, link.linkname = tarfile.SYMTYPE, str(outside)
            tar.addfile(link)
            tar.addfile(tarfile.TarInfo("bwdata/planted"), io.BytesIO())
        with pytest.raises(BitwardenError):
            archive.extract(str(path), str(tmp_path / "target"))
        assert not list(outside.iterdir())

    def test_another_format_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "other.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            tar.addfile(tarfile.TarInfo("bwdata"), io.BytesIO())
        with pytest.raises(BitwardenError, match="no archive that the module backup wrote"):
            archive.inspect(str(path))


def certificate(end: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(2**150).not_valid_before(datetime(2000, 1, 1, tzinfo=timezone.utc))
    return builder.not_valid_after(end).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class TestCertificateDates:
    @pytest.mark.parametrize("year", [2001, 2049, 2050, 2126])
    def test_the_end_is_read(self, tmp_path: Path, year: int) -> None:
        end = datetime(year, 3, 4, 5, 6, 7, tzinfo=timezone.utc)
        (tmp_path / "a.crt").write_bytes(b"text before\n" + certificate(end) + certificate(end + timedelta(days=1)))
        assert certificate_dates.in_file(str(tmp_path / "a.crt")) == end

    def test_all_below_bwdata_the_first_to_end_first(self, tmp_path: Path) -> None:
        now = datetime.now(timezone.utc)
        for name, days in (("ssl/a/certificate.crt", 10.5), ("ca-certificates/b.pem", -1.5)):
            path = tmp_path / name
            path.parent.mkdir(parents=True)
            path.write_bytes(certificate(now + timedelta(days=days)))
        (tmp_path / "ssl/a/private.key").write_text("key")
        (tmp_path / "ssl/a/broken.crt").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        found = certificate_dates.below(str(tmp_path))
        assert [(os.path.basename(entry["path"]), entry["days_left"]) for entry in found] == [
            ("b.pem", -2),
            ("certificate.crt", 10),
        ]


class TestSettings:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("KEY=a\nkey=b\n", "b"),
            ("export KEY = 'a b' # c\n", "a b"),
            ("#KEY=a\n", ""),
            ('KEY="a # b"\n', "a # b"),
            ("KEY=a #b\r\n", "a"),
            ("OTHER_KEY=a\n", ""),
        ],
    )
    def test_one_value_of_an_env_file(self, text: str, value: str) -> None:
        assert database.setting_in(text, "KEY") == value

    @pytest.mark.parametrize(
        ("line", "version"),
        [
            ("    image: ghcr.io/bitwarden/api:2026.8.0", "2026.8.0"),
            ('    image: "${REGISTRY:-ghcr.io/bitwarden}/lite:${TAG:-2026.8.0}"', "2026.8.0"),
            ("    image: ghcr.io/bitwarden/api:latest", None),
            ("    image: redis:7", None),
        ],
    )
    def test_the_version_in_a_compose_file(self, tmp_path: Path, line: str, version: str | None) -> None:
        (tmp_path / "docker-compose.yml").write_text(f"services:\n  api:\n{line}\n")
        assert backup.version_in([str(tmp_path / "docker-compose.yml")]) == version

    @pytest.mark.parametrize(
        ("lines", "kind", "provider"),
        [
            ("BW_DB_PROVIDER=sqlite", "built-in", "SQLite"),
            ("BW_DB_PROVIDER=postgresql", "external", "PostgreSQL"),
            ("BW_DB_PROVIDER=MySql", "external", "MySQL"),
            ("", "external", "SQL Server"),
        ],
    )
    def test_the_database_of_lite(self, tmp_path: Path, lines: str, kind: str, provider: str) -> None:
        (tmp_path / "settings.env").write_text(f"{lines}\n")
        known = database.of(deployment.detect(str(tmp_path)))
        assert (known.kind, known.provider) == (kind, provider)

    @pytest.mark.parametrize(
        ("address", "shown"),
        [
            ("http://user:hunter2@proxy:3128", "http://<redacted>@proxy:3128"),
            ("http://token@proxy:3128", "http://<redacted>@proxy:3128"),
            ("user:hunter2@proxy:3128", "<redacted>@proxy:3128"),
            ("http://proxy:3128", "http://proxy:3128"),
        ],
    )
    def test_a_proxy_is_shown_without_its_login(self, address: str, shown: str) -> None:
        assert host_facts.without_login(address) == shown


class TestBackups:
    def test_a_checksum_of_another_file_proves_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / backups.new_name("2026.8.0")
        path.write_bytes(b"archive")
        entry = backups.at(str(path))
        assert entry.version == "2026.8.0" and entry.age < 0.1
        for text in (f"{'0' * 64}  other.tar.gz\n", "no checksum\n", f"{'0' * 64}  {path.name}\n"):
            Path(entry.checksum_file).write_text(text)
            with pytest.raises(BitwardenError):
                backups.verified(entry)
        digest = hashlib.sha256(b"archive").hexdigest()
        Path(entry.checksum_file).write_text(f"{digest}  {path.name}\n")
        assert backups.verified(entry) == digest

    def test_a_name_holds_nothing_that_a_version_should_not(self) -> None:
        assert "/" not in backups.new_name("../x y") and backups.new_name(None).endswith("-unknown.tar.gz")
