"""Options of env_file beside the merge itself: the guard for proxies, the other dialect, the way back."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import (
    dotenv,
    env_file,
    env_wish,
    plain_env,
    proxies,
    redact,
    rollback,
)
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.dotenv import EnvFileError
from unit.module_runner import Result, run_module

FLAG = "globalSettings__enableCloudCommunication"
LOGIN = "http://me:hunter2@proxy.example:3128"
ENOUGH = "localhost,identity,api,admin,notifications"


@pytest.fixture
def env(tmp_path: Path) -> Path:
    path = tmp_path / "opt" / "bwdata" / "env" / "global.override.env"
    path.parent.mkdir(parents=True)
    path.write_text("A=1\n")
    path.chmod(0o600)
    return path


def run(path: Path, arguments: dict[str, Any], **options: Any) -> Result:
    return run_module("env_file", {"path": str(path), **arguments}, env={"PATH": str(path.parent)}, **options)


def merge(text: str, keys: dict[str, Any], needs: tuple[str, ...] = proxies.SERVICES) -> env_file.Plan:
    return env_file.merge(text.encode(), env_wish.make_wish(keys, None, [], []), "the.env", no_proxy_needs=needs)


class TestProxy:
    @pytest.mark.parametrize("key", ["http_proxy", "HTTPS_PROXY", "all_proxy", "Http_Proxy"])
    @pytest.mark.parametrize("check", [True, False])
    def test_a_proxy_without_exemptions_is_never_written(self, env: Path, key: str, check: bool) -> None:
        result = run(env, {"secrets": {key: LOGIN}, "rollback": True, "backup": True}, check=check, diff=True)
        assert result.failed
        assert key in result["msg"]
        assert "401" in result["msg"]
        assert "identity" in result["next_step"]
        assert "hunter2" not in result.output
        assert env.read_text() == "A=1\n"
        assert [path.name for path in env.parents[2].iterdir()] == ["bwdata"]

    @pytest.mark.parametrize(
        "exempt",
        [
            "",
            "localhost,identity,api,admin",
            "*",
            ".identity,.api,.admin,.notifications,localhost",
            "identity api admin",
        ],
    )
    def test_an_exemption_that_lacks_a_service(self, exempt: str) -> None:
        with pytest.raises(EnvFileError, match="without no_proxy for"):
            merge("", {"http_proxy": "http://p:1", "no_proxy": exempt})

    @pytest.mark.parametrize("exempt", [ENOUGH, " Identity , API,admin, notifications ,localhost,x"])
    @pytest.mark.parametrize("key", ["no_proxy", "NO_PROXY"])
    def test_an_exemption_for_all(self, key: str, exempt: str) -> None:
        assert merge("", {"http_proxy": "http://p:1", key: exempt}).changed

    def test_the_server_reads_the_lower_case_name_first(self) -> None:
        with pytest.raises(EnvFileError):
            merge(f"NO_PROXY={ENOUGH}\nno_proxy=x\n", {"http_proxy": "http://p:1"})
        assert merge(f"no_proxy={ENOUGH}\nNO_PROXY=x\n", {"http_proxy": "http://p:1"}).changed

    def test_a_proxy_that_stands_in_the_file_already(self) -> None:
        with pytest.raises(EnvFileError, match="HTTPS_PROXY"):
            merge("HTTPS_PROXY=http://p:1\n", {FLAG: True})
        assert merge("HTTPS_PROXY=\n", {FLAG: True}).changed
        assert not merge("HTTPS_PROXY=http://p:1\n", {}).changed

    def test_taking_the_exemption_away_is_refused_too(self) -> None:
        wish = env_wish.make_wish({}, None, ["no_proxy"], [])
        with pytest.raises(EnvFileError):
            env_file.merge(
                f"http_proxy=http://p:1\nno_proxy={ENOUGH}\n".encode(), wish, "x", no_proxy_needs=proxies.SERVICES
            )

    def test_other_names_for_other_deployments(self, env: Path) -> None:
        keys = {"http_proxy": "http://p:1", "no_proxy": "localhost,127.0.0.1"}
        assert run(env, {"keys": keys}).failed
        assert run(env, {"keys": keys, "no_proxy_needs": ["localhost", "127.0.0.1"]}).changed
        assert not run(env, {"keys": keys, "no_proxy_needs": []}).changed


class TestProxySecrets:
    @pytest.mark.parametrize(
        "value",
        [LOGIN, "http://token@proxy:1", "me:hunter2@proxy:3128", "http://me:p@ss/word@proxy", "socks5://a:b c@proxy"],
    )
    @pytest.mark.parametrize("key", ["https_proxy", "HTTP_PROXY", "all_proxy"])
    def test_an_address_with_a_login_is_a_secret(self, key: str, value: str) -> None:
        assert redact.shown(key, value) == redact.REDACTED
        assert redact.redact_line(f"# export {key}={value}".replace("# export", "#")).endswith(
            f"{key}={redact.REDACTED}"
        )
        login = value.rpartition("@")[0].rpartition("//")[2]
        assert login not in redact.redact_text(f"time=1 {key}={value} refused")

    def test_an_address_without_one_is_not(self) -> None:
        assert redact.shown("https_proxy", "http://proxy:3128") == "http://proxy:3128"
        assert redact.shown("no_proxy", ENOUGH) == ENOUGH

    def test_a_program_may_show_the_password_alone(self) -> None:
        secrets = ["http://me:hunter%232@proxy:3128", "Server=a;Password=hunter3x;"]
        for said in ("407 for hunter%232", "407 for hunter#2", "Login failed: hunter3x"):
            assert "hunter" not in redact.redact_text(said, secrets)

    @pytest.mark.parametrize("where", ["keys", "secrets", "lines"])
    def test_no_result_shows_it(self, env: Path, where: str) -> None:
        keys = {"https_proxy": LOGIN, "no_proxy": ENOUGH}
        wish: Any = "".join(f"{key}={value}\n" for key, value in keys.items()) if where == "lines" else keys
        for check in (True, False, False):
            result = run(env, {where: wish, "rollback": True, "backup": True}, check=check, diff=True)
            assert not result.failed
            assert "hunter2" not in result.output
        assert LOGIN in env.read_text()
        gone = run(env, {"absent": ["https_proxy"]}, diff=True)
        assert gone.changed
        assert "hunter2" not in gone.output


class TestDockerRun:
    def test_values_stand_as_they_are(self, env: Path) -> None:
        keys = {"A": "'quoted' \"too\" $x #y", "B": " blanks ", "C": "\\"}
        arguments = {"keys": keys, "dialect": "docker_run"}
        predicted = run(env, arguments, check=True, diff=True)
        result = run(env, arguments, diff=True)
        assert predicted["diff"] == result["diff"]
        assert env.read_text() == "".join(f"{key}={value}\n" for key, value in keys.items())
        assert result["settings"] == keys
        assert not run(env, arguments).changed

    def test_a_value_in_quotes_is_another_value(self, env: Path) -> None:
        env.write_text("A='1'\n")
        assert run(env, {"keys": {"A": "1"}, "dialect": "docker_run"}, check=True).changed
        assert not run(env, {"keys": {"A": "'1'"}, "dialect": "docker_run"}).changed

    @pytest.mark.parametrize("value", ["a\nb", "x" * 65536, "a\rb"], ids=["line feed", "long", "carriage return"])
    def test_what_such_a_file_cannot_carry(self, env: Path, value: str) -> None:
        result = run(env, {"secrets": {"A": value}, "dialect": "docker_run"})
        assert result.failed
        assert result["next_step"]
        assert value not in result.output
        assert env.read_text() == "A=1\n"

    @pytest.mark.parametrize("text", ["export A=hunter2\n", "A = hunter2\n", "=hunter2\n", "A=hunter2\udcff\n"])
    def test_what_docker_refuses_is_not_changed(self, text: str) -> None:
        with pytest.raises(EnvFileError, match="line 1") as caught:
            plain_env.parse(text, "x.env")
        assert "hunter2" not in str(caught.value)

    def test_keys_in_another_letter_case_and_indented_become_one_line(self) -> None:
        dialect = env_wish.DIALECTS["docker_run"]
        wish = env_wish.make_wish({FLAG: True}, None, [], [], dialect)
        plan = env_file.merge(f"  {FLAG}=true\n# c\n{FLAG.lower()}=false\n{FLAG}\n".encode(), wish, "x", dialect)
        assert plan.data.decode() == f"{FLAG}=true\n# c\n"

    def test_the_guard_holds_here_too(self, env: Path) -> None:
        assert run(env, {"keys": {"http_proxy": "http://p:1"}, "dialect": "docker_run"}).failed

    def test_a_word_without_value_is_told(self) -> None:
        (warning,) = plain_env.parse("A=1\nWORD\n", "x.env").warnings
        assert "line 2" in warning


class TestConnectionString:
    @pytest.mark.parametrize(
        "key", ["globalSettings__sqlServer__connectionString", "globalSettings__postgreSql__connectionString"]
    )
    def test_quotation_marks_that_the_server_takes_away_are_refused(self, key: str) -> None:
        with pytest.raises(EnvFileError, match="quotation mark"):
            env_wish.value_text(key, 'Server=a;Password="x"')
        assert env_wish.value_text(key, 'Server=a;Password="x";')


class TestRollback:
    def test_what_is_replaced_is_kept(self, env: Path) -> None:
        result = run(env, {"keys": {"A": "2"}, "rollback": True})
        point = Path(result["rollback_file"])
        assert point.parent == env.parents[2] / "bwdata-backups"
        assert point.read_text() == "A=1\n"
        assert stat.S_IMODE(point.stat().st_mode) == 0o600
        second = run(env, {"keys": {"A": "2"}, "rollback": True})
        assert not second.changed
        assert "rollback_file" not in second.data
        assert point.exists()

    def test_a_second_change_keeps_what_ran_last(self, env: Path) -> None:
        run(env, {"keys": {"A": "2"}, "rollback": True})
        run(env, {"keys": {"A": "3"}, "rollback": True})
        assert rollback.put_back(str(env))
        assert env.read_text() == "A=1\n"

    def test_check_mode_and_the_default_keep_nothing(self, env: Path) -> None:
        assert "rollback_file" not in run(env, {"keys": {"A": "2"}, "rollback": True}, check=True).data
        assert "rollback_file" not in run(env, {"keys": {"A": "2"}}).data
        assert [path.name for path in env.parents[2].iterdir()] == ["bwdata"]

    def test_a_file_that_is_made_has_nothing_before_it(self, env: Path) -> None:
        env.unlink()
        result = run(env, {"keys": {"A": "2"}, "rollback": True, "create": True})
        assert result.changed
        assert "rollback_file" not in result.data

    def test_a_place_that_cannot_be_written_leaves_the_file_as_it_is(self, env: Path) -> None:
        (env.parents[2] / "bwdata-backups").write_text("in the way")
        result = run(env, {"keys": {"A": "2"}, "rollback": True})
        assert result.failed
        assert "bwdata-backups" in result["msg"]
        assert env.read_text() == "A=1\n"


class TestReader:
    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("A=1\nhunter2", "ends with a word"),
            ('A="x" hunter2', "ends with a word"),
            ("export\nA=1\n", "after 'export'"),
            ('A="x" export\nB=1\n', "after the closing"),
            ("A=${CALLER:-${hunter2}\n", "${"),
            ("A\u2003=hunter2\n", "\\u2003"),
        ],
    )
    def test_what_would_surprise_is_refused(self, text: str, word: str) -> None:
        with pytest.raises(EnvFileError) as caught:
            dotenv.parse(text, "x.env")
        assert word in str(caught.value)
        assert "hunter2" not in str(caught.value)

    def test_references_are_filled_in_as_compose_does(self) -> None:
        text = 'a=1\nA=$a${b:-x${a}}${a:+y}\nB=\'$a\'\nC="${CALLER-z}\\$"\nD\nE="e" D\n'
        document = dotenv.parse(text, "x.env")
        assert dotenv.resolve(document, {"CALLER": "c", "D": "d"}, "x.env") == {
            "a": "1", "A": "1x1y", "B": "$a", "C": "c$", "D": "d", "E": "e",
        }  # fmt: skip
        with pytest.raises(EnvFileError, match="needs the variable"):
            dotenv.resolve(dotenv.parse("A=${hunter:?no}\n", "x.env"), {}, "x.env")

    def test_a_wished_key_that_stands_after_a_quotation_mark(self) -> None:
        with pytest.raises(EnvFileError, match="once more after"):
            merge('A="x" B\n', {"b": "1"})
