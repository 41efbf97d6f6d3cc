"""The modules backup and restore on a host of the lab: what an archive holds, what comes back, what is refused."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.kept_host import KeptHost, kept_host

OWN_ENV = "bwdata/env/global.override.env"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeptHost]:
    with kept_host(tmp_path) as found:
        yield found


def tree(bwdata: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below bwdata that a restart does not write by itself."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in bwdata.rglob("*"):
        name = str(path.relative_to(bwdata))
        if name.startswith(("logs/", "mssql/data/", "mssql/backups/")):
            continue
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else path.readlink() if path.is_symlink() else None
        found[name] = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, content)
    return found


def age(archive: Path, hours: float) -> Path:
    """The same archive as if it had been made before, with the checksum file that belongs to it."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - hours * 3600))
    old = archive.with_name(f"bitwarden-{stamp}-{archive.name.partition('Z-')[2]}")
    digest = archive.with_name(archive.name + ".sha256").read_text().split()[0]
    archive.with_name(archive.name + ".sha256").unlink()
    archive.rename(old)
    old.with_name(old.name + ".sha256").write_text(f"{digest}  {old.name}\n")
    return old


class TestBackup:
    def test_an_archive_holds_files_and_database_and_is_proven(self, host: KeptHost) -> None:
        (host.bwdata / "core/attachments/a").write_text("attachment")
        (host.bwdata / "mssql/data/vault.mdf").write_text("live")
        (host.bwdata / "mssql/backups/vault_FULL_20200101_000000.BAK").write_text("old")
        (host.bwdata / "logs/api/Api/20260101.txt").write_text("log")
        predicted = host.run("backup", check=True)
        assert predicted.changed and predicted["archive"] is None and not host.archives
        result = host.run("backup")
        assert result.changed and host.restarts == 0 and host.version()
        (archive,) = host.archives
        assert result["archive"] == str(archive) and result["size"] == archive.stat().st_size
        assert result["database"] == "dumped by the database server" and result["missing"] == []
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600
        assert stat.S_IMODE(archive.parent.stat().st_mode) == 0o700
        subprocess.run(["sha256sum", "-c", f"{archive.name}.sha256"], check=True, cwd=archive.parent)
        with tarfile.open(archive) as tar:
            members = {member.name: member for member in tar}
        backups = [name for name in members if name.endswith(".BAK")]
        assert len(backups) == 1 and "20200101" not in backups[0]
        assert {"bitwarden.sh", OWN_ENV, "bwdata/core/attachments/a", "bwdata/logs/api/Api"} <= set(members)
        assert not {"bwdata/mssql/data/vault.mdf", "bwdata/logs/api/Api/20260101.txt"} & set(members)
        owner = host.env_file.stat()
        kept = members[OWN_ENV]
        assert (kept.mode, kept.uid, kept.gid, kept.uname) == (0o600, owner.st_uid, owner.st_gid, "")
        # The database server's own copy is in the archive; the folder keeps only what was there.
        assert [path.name for path in (host.bwdata / "mssql/backups").iterdir()] == ["vault_FULL_20200101_000000.BAK"]

    def test_a_young_and_whole_archive_is_enough(self, host: KeptHost) -> None:
        first = host.run("backup")
        assert not host.run("backup", max_age=1).changed
        assert not host.run("backup", max_age=1, check=True).changed
        old = age(Path(first["archive"]), 2)
        assert not host.run("backup", max_age=3).changed
        with old.open("ab") as stream:
            stream.write(b"x")
        second = host.run("backup", max_age=3)
        assert second.changed and second["archive"] != str(old)

    def test_logs_where_they_are_wanted(self, host: KeptHost) -> None:
        (host.bwdata / "logs/api/Api/20260101.txt").write_text("log")
        result = host.run("backup", include_logs=True)
        with tarfile.open(result["archive"]) as tar:
            assert "bwdata/logs/api/Api/20260101.txt" in tar.getnames()

    def test_old_archives_go_when_the_new_one_is_proven(self, host: KeptHost) -> None:
        for hours in (3, 2, 1):
            age(Path(host.run("backup", keep=0)["archive"]), hours)
        (host.directory / "bwdata-backups/global.override.env.20260101T000000.1").write_text("of another module")
        oldest, older, young = host.archives
        assert host.run("backup", keep=2, check=True)["removed"] == [str(older), str(oldest)]
        result = host.run("backup", keep=2)
        assert result["removed"] == [str(older), str(oldest)]
        assert host.archives == [young, Path(result["archive"])]
        assert len(list((host.directory / "bwdata-backups").iterdir())) == 5

    def test_a_dump_that_fails_with_status_0_is_noticed(self, host: KeptHost) -> None:
        host.fault("database_backup_fails")
        result = host.run("backup")
        assert result.failed and "wrote no new backup" in result["msg"] and "Msg 3201" in result["msg"]
        assert host.archives == [] and host.version()
        assert list((host.directory / "bwdata-backups").iterdir()) == []

    def test_the_files_of_a_stopped_database_server_are_taken(self, host: KeptHost) -> None:
        host.down()
        result = host.run("backup")
        assert result["database"] == "files of the stopped database server"
        with tarfile.open(result["archive"]) as tar:
            assert "bwdata/mssql/data/vault.mdf" in tar.getnames()

    def test_a_database_elsewhere_is_named_and_refused_unless_allowed(self, host: KeptHost) -> None:
        config = host.bwdata / "config.yml"
        config.write_text(config.read_text().replace("enable_built_in_ms_sql: true", "enable_built_in_ms_sql: false"))
        refused = host.run("backup")
        assert refused.failed and "SQL Server" in refused["missing"][0]
        assert not (host.directory / "bwdata-backups").exists()
        allowed = host.run("backup", database="optional")
        assert allowed["database"] == "not included" and "SQL Server" in allowed["missing"][0]
        assert host.run("backup", database="required", max_age=1).failed

    def test_a_link_that_leads_out_is_named(self, host: KeptHost, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (host.bwdata / "core/linked").symlink_to(tmp_path / "elsewhere")
        assert host.run("backup")["missing"] == [f"what bwdata/core/linked leads to ({tmp_path}/elsewhere)"]

    def test_folders_inside_bwdata_are_refused(self, host: KeptHost, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(host.bwdata)
        for folder in (host.bwdata, host.bwdata / "archives", tmp_path / "link" / "archives"):
            result = host.run("backup", path=str(folder))
            assert result.failed and "change owner" in result["msg"]

    def test_another_run_and_what_a_killed_one_left(self, host: KeptHost) -> None:
        folder = host.directory / "bwdata-backups"
        folder.mkdir()
        (folder / ".bitwarden-20260101T000000Z-1.tar.gz.part").write_text("half")
        host.fault("concurrent_update")
        waiting = host.run("backup", lock_timeout=1)
        assert waiting.failed and "setup" in waiting["msg"]
        host.db.clear_faults()
        host.run("backup")
        assert len(list(folder.iterdir())) == 2

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
    def test_a_user_who_may_not_read_it(self, host: KeptHost) -> None:
        result = host.run("backup", uid=65534)
        assert result.failed and not host.archives
        assert "become a user who may read it" in result["next_step"]


class TestRestore:
    def test_everything_is_as_before_but_what_came_later_is_gone(self, host: KeptHost) -> None:
        (host.bwdata / "core/linked").symlink_to("attachments")
        archive = host.run("backup")["archive"]
        before = tree(host.bwdata)
        host.rename("after")
        host.env_file.unlink()
        (host.bwdata / "core/attachments/later").write_text("later")
        host.script.write_text("#!/bin/sh\nexit 1\n")
        predicted = host.run("restore", archive=archive, check=True)
        assert predicted.changed and host.name() == "after" and host.version()
        result = host.run("restore", archive=archive)
        assert not result.failed
        assert host.name() == "before"
        assert tree(host.bwdata) == before
        assert host.version() == "2026.7.2" and result["version"] == "2026.7.2"
        assert result["downtime"] > 0
        replaced = Path(result["replaced"])
        assert (replaced / "core/attachments/later").read_text() == "later"
        assert not list((host.bwdata / "mssql/backups").iterdir())
        # The server can be operated as ever: nothing but the containers is new.
        assert not host.host.run().changed

    def test_the_old_data_goes_where_it_is_not_wanted(self, host: KeptHost) -> None:
        archive = host.run("backup")["archive"]
        assert host.run("restore", archive=archive, keep_replaced=False)["replaced"] is None
        assert sorted(path.name for path in host.directory.iterdir()) == ["bitwarden.sh", "bwdata", "bwdata-backups"]

    def test_files_of_a_stopped_database_server_come_back_too(self, host: KeptHost) -> None:
        host.down()
        archive = host.run("backup")["archive"]
        host.run("restore", archive=archive)
        host.rename("after")
        assert not host.run("restore", archive=archive).failed
        assert host.name() == "before" and host.version()

    def test_an_empty_folder_gets_a_whole_server(self, host: KeptHost, tmp_path: Path) -> None:
        archive = Path(host.run("backup", path=str(tmp_path / "safe"))["archive"])
        host.down()
        shutil.rmtree(host.bwdata)
        host.script.unlink()
        result = host.run("restore", archive=str(archive))
        assert not result.failed and result["replaced"] is None
        assert host.name() == "before" and host.version() == "2026.7.2"

    @pytest.mark.parametrize("fault", ["database_restore_fails", "start_never_ready"])
    def test_what_does_not_come_up_is_undone(self, host: KeptHost, fault: str) -> None:
        archive = host.run("backup")["archive"]
        host.rename("after")
        host.env_file.write_text(host.env_file.read_text() + "added=later\n")
        # The next start, that of the old data, is well again.
        host.fault(fault, count=1)
        result = host.run("restore", archive=archive, timeout=15)
        assert result.failed and result["rolled_back"]
        assert "the server runs as before" in result["server_state"]
        assert host.name() == "after" and host.version() == "2026.7.2"
        assert host.env_file.read_text().endswith("added=later\n")
        assert sorted(path.name for path in host.directory.iterdir()) == ["bitwarden.sh", "bwdata", "bwdata-backups"]

    def test_what_cannot_be_right_is_refused_before_anything_stops(self, host: KeptHost) -> None:
        archive = Path(host.run("backup")["archive"])
        snapshot = host.host.snapshot()

        def refused(words: str, path: Path = archive, **arguments: Any) -> None:
            result = host.run("restore", archive=str(path), **arguments)
            assert result.failed and words in result["msg"], result.data
            assert "Nothing was changed" in result["msg"]

        refused("There is no archive", archive.with_name("none.tar.gz"))
        alone = shutil.copyfile(archive, archive.with_name("copy.tar.gz"))
        refused("does not exist", alone)
        alone.unlink()
        text = host.env_file.read_text()
        host.env_file.write_text(text.replace("11111111-2222", "99999999-2222"))
        refused("another installation")
        host.env_file.write_text(text)
        with archive.open("r+b") as stream:
            stream.seek(200)
            stream.write(b"\0\0\0\0")
        refused("damaged")
        assert host.host.snapshot() == snapshot and host.version()

    def test_images_that_are_gone_are_fetched_before_anything_stops(self, host: KeptHost) -> None:
        archive = host.run("backup")["archive"]
        host.db.remove_image("us1", "ghcr.io/bitwarden/sso:2026.7.2")
        host.fault("registry_down")
        snapshot = host.host.snapshot()
        result = host.run("restore", archive=archive)
        assert result.failed and "nothing was stopped" in result["msg"]
        assert host.host.snapshot() == snapshot
        host.db.clear_faults()
        host.fault("registry_down_after_stop")
        assert not host.run("restore", archive=archive).failed
