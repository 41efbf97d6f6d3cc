"""The rules of merging into an env file, against text that a real setup program wrote or destroyed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils import dotenv, env_file, env_wish, redact
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.dotenv import EnvFileError
from bwlab.host.setup import Setup, Tree, run

FLAG = "globalSettings__enableCloudCommunication"
REGION = "globalSettings__baseServiceUri__cloudRegion"
IDENTITY = "globalSettings__installation__identityUri"
API = "globalSettings__installation__apiUri"
PUSH = "globalSettings__pushRelayBaseUri"
EU = {
    FLAG: True,
    REGION: "EU",
    IDENTITY: "https://identity.bitwarden.eu",
    API: "https://api.bitwarden.eu",
    PUSH: "https://push.bitwarden.eu",
}
FIXTURES = Path(__file__).resolve().parents[1] / "lab" / "data" / "fixtures" / "env_rewrite.json"


# Which of the recorded files are malformed, before and after the setup program has rewritten them.
REFUSED = {
    "comment_semicolon", "bom_in_the_middle", "nul_in_value", "plus_equals", "quotes_unbalanced",
    "quotes_escaped_in_key", "unknown_with_spaces_in_key",
}  # fmt: skip
REFUSED_BEFORE = REFUSED | {
    "cr_only_all", "cr_inside_value", "cr_inside_value_with_equals", "quotes_double_escaped_unknown",
    "truncated_file_after_interrupted_write",
}  # fmt: skip
REFUSED_AFTER = REFUSED | {"quotes_escaped_unknown", "push_true_escaped_quote", "write_interrupted_at_600_bytes"}


def rewritten() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(FIXTURES.read_text())
    return [case for case in cases if isinstance(case.get("before"), str) and isinstance(case.get("after"), str)]


def wish(
    keys: dict[str, Any] | None = None,
    *,
    lines: str | None = None,
    absent: tuple[str, ...] = (),
    unless_disabled: tuple[str, ...] = (),
) -> env_wish.Wish:
    return env_wish.make_wish(keys or {}, lines, absent, unless_disabled)


def merge(text: str | bytes, keys: dict[str, Any] | None = None, **options: Any) -> env_file.Plan:
    data = text if isinstance(text, bytes) else text.encode()
    return env_file.merge(data, wish(keys, **options), "the.env")


def values(data: bytes) -> dict[str, str]:
    document = dotenv.parse(dotenv.decode(data, "x"), "x")
    return {statement.key: statement.value for statement in document.statements}


class TestMerge:
    def test_a_missing_key_is_appended_and_the_rest_stays(self) -> None:
        before = "# a comment\n\nA=1\n  B = 'x y' # note\nC: 3\n"
        plan = merge(before, {FLAG: True})
        assert plan.data.decode() == before + f"{FLAG}=true\n"
        assert plan.changed

    def test_a_present_key_keeps_its_place(self) -> None:
        plan = merge("A=1\nB=2\nC=3\n", {"B": "9"})
        assert plan.data == b"A=1\nB=9\nC=3\n"

    def test_nothing_to_do(self) -> None:
        before = f"A=1\n{FLAG}=true\n"
        plan = merge(before, {FLAG: True})
        assert not plan.changed
        assert plan.data.decode() == before
        assert plan.changes == ()

    def test_true_in_another_letter_case_is_no_difference_to_the_server(self) -> None:
        assert not merge(f"{FLAG}=True\n", {FLAG: True}).changed

    @pytest.mark.parametrize(
        "before",
        [
            f"{REGION}=US\nA=1\n{REGION}=EU\n",
            f"{REGION}=EU\nA=1\n{REGION.lower()}=US\n",
            f"export {REGION}=EU\nA=1\n",
            f"  {REGION}=EU\nA=1\n",
            f"{REGION} = EU\nA=1\n",
            f"{REGION}: EU\nA=1\n",
            f"{REGION.upper()}=EU\nA=1\n",
            f"{REGION}=$WHERE\nA=1\n",
            f"{REGION}\nA=1\n",
        ],
    )
    def test_a_key_in_a_form_that_somebody_reads_differently_becomes_one_plain_line(self, before: str) -> None:
        plan = merge(before, {REGION: "EU"})
        assert plan.changed
        assert plan.data.decode() == f"{REGION}=EU\nA=1\n"
        assert not merge(plan.data, {REGION: "EU"}).changed

    def test_the_first_of_several_lines_keeps_its_place(self) -> None:
        plan = merge("A=1\nK=1\nB=2\nk=2\nC=3\nK=3\n", {"K": "4"})
        assert plan.data == b"A=1\nK=4\nB=2\nC=3\n"

    def test_setups_own_spelling_is_used_for_a_known_key(self) -> None:
        plan = merge(f"{REGION}=US\n", {"GLOBALSETTINGS__BASESERVICEURI__CLOUDREGION": "EU"})
        assert plan.data.decode() == f"{REGION}=EU\n"

    def test_absent_removes_every_form(self) -> None:
        plan = merge(f"A=1\n{API}=x\n export {API.upper()}=y\nB=2\n", absent=(API, IDENTITY))
        assert plan.data == b"A=1\nB=2\n"
        assert plan.values == {API: None, IDENTITY: None}

    def test_the_last_line_with_no_newline(self) -> None:
        assert merge("A=1\nB=2", {"C": "3"}).data == b"A=1\nB=2\nC=3\n"
        assert merge("A=1\nB=2", {"B": "3"}).data == b"A=1\nB=3"
        assert merge("", {"C": "3"}).data == b"C=3\n"

    def test_the_style_of_line_ends_is_kept(self) -> None:
        assert merge("A=1\r\nB=2\r\n", {"B": "3", "C": "4"}).data == b"A=1\r\nB=3\r\nC=4\r\n"

    def test_a_byte_order_mark_is_kept_and_hides_no_key(self) -> None:
        plan = merge(b"\xef\xbb\xbfA=1\nB=2\n", {"A": "3"})
        assert plan.data == b"\xef\xbb\xbfA=3\nB=2\n"
        assert merge(b"\xef\xbb\xbfA=1\nB=2\n", absent=("A",)).data == b"\xef\xbb\xbfB=2\n"

    def test_broken_bytes_in_other_lines_stay(self) -> None:
        before = b"# caf\xe9\nA=\xff\xfe\x80\nB=1\n"
        assert merge(before, {"B": "2"}).data == before.replace(b"B=1", b"B=2")

    def test_a_value_over_several_lines_is_replaced_whole(self) -> None:
        plan = merge('A="one\ntwo\n"\nB=1\n', {"A": "x"})
        assert plan.data == b"A=x\nB=1\n"
        assert any("several lines" in warning for warning in plan.warnings)

    def test_what_is_switched_off_on_purpose_is_left_alone(self) -> None:
        for off in ("", "REPLACE", "secret", '""'):
            text = f"{PUSH}={off}\n"
            assert not merge(text, {PUSH: "https://x"}, unless_disabled=(PUSH,)).changed
            assert not merge(text, absent=(PUSH,), unless_disabled=(PUSH,)).changed
            assert merge(text, {PUSH: "https://x"}).changed
        assert merge("A=1\n", {PUSH: "https://x"}, unless_disabled=(PUSH,)).changed
        assert merge(f"{PUSH}=https://y\n", {PUSH: "https://x"}, unless_disabled=(PUSH,)).changed

    def test_the_help_pages_lines_run_together_are_one_value_that_is_replaced(self) -> None:
        plan = merge(f"{REGION}=EU {API}=https://api.bitwarden.eu\n", {REGION: "EU", API: "https://api.bitwarden.eu"})
        assert values(plan.data) == {REGION: "EU", API: "https://api.bitwarden.eu"}

    def test_lines_of_a_template_are_merged(self) -> None:
        plan = merge("A=1\n", lines=f"# from the role\n\n{FLAG}=True\n{REGION}='EU'\n")
        assert plan.data.decode() == f"A=1\n{FLAG}=true\n{REGION}=EU\n"


class TestMalformed:
    @pytest.mark.parametrize(
        ("text", "line", "word"),
        [
            ('A=1\nB="hunter2hunter2\nC=3\n', 2, "never closed"),
            ("A='hunter2hunter2\nC=3\n", 1, "never closed"),
            ("A=1\nB=2\nC=hunter2${x\n", 3, "${"),
            ('A="hunter2${x"\n', 1, "${"),
            ("A,hunter2=1\n", 1, "','"),
            ("A=1\nhunter2 two=1\n", 2, "blank"),
            ("A=1\n=hunter2\n", 2, "no name"),
            ('A="x" B=hunter2\n', 1, "closing"),
            ("A=hunter2\rB=2\n", 1, "carriage return"),
            ("; hunter2=1\n", 1, "';'"),
        ],
    )
    def test_refused_with_its_line_and_without_its_text(self, text: str, line: int, word: str) -> None:
        with pytest.raises(EnvFileError) as caught:
            merge(text, {FLAG: True})
        message = str(caught.value)
        assert f"the.env, line {line}:" in message
        assert word in message
        assert "hunter2" not in message
        assert caught.value.next_step

    @pytest.mark.parametrize("data", ["A=1\n".encode("utf-16"), b"A=1\0\n"])
    def test_no_text_at_all(self, data: bytes) -> None:
        with pytest.raises(EnvFileError, match="UTF-8"):
            merge(data, {FLAG: True})

    def test_legal_oddities_are_only_told(self) -> None:
        plan = merge("LONELY\nA=\"x\" word\n[section]\nB='a\nb'\n", {"C": "1"})
        assert len(plan.warnings) == 4
        assert plan.data.endswith(b"C=1\n")


class TestWish:
    @pytest.mark.parametrize("key", ["A B", "A=B", "1A", "", "A-B", "A\n", "é"])
    def test_bad_names(self, key: str) -> None:
        with pytest.raises(EnvFileError, match="not a name"):
            wish({key: "1"})

    @pytest.mark.parametrize("value", ["yes", "no", "1", "0", "on", "", 1, 0])
    def test_what_is_no_boolean_for_the_server(self, value: Any) -> None:
        with pytest.raises(EnvFileError, match="containers do not start"):
            wish({FLAG: value})

    @pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "\x1b[0m"])
    def test_control_characters(self, value: str) -> None:
        with pytest.raises(EnvFileError, match="control character") as caught:
            wish({"A": "hunter2" + value})
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("value", [None, 1.5, ["a"], {"a": 1}])
    def test_values_of_another_type(self, value: Any) -> None:
        with pytest.raises(EnvFileError, match="is of type"):
            wish({"A": value})

    def test_a_key_twice(self) -> None:
        with pytest.raises(EnvFileError, match="given twice"):
            wish({"A": "1", "a": "1"})
        with pytest.raises(EnvFileError, match="given twice"):
            wish({"A": "1"}, lines="A=2\n")
        with pytest.raises(EnvFileError, match="absent"):
            wish({"A": "1"}, absent=("a",))

    def test_what_setup_brings_back_cannot_be_absent(self) -> None:
        with pytest.raises(EnvFileError, match="next update"):
            wish(absent=(REGION.lower(),))

    @pytest.mark.parametrize("lines", ["A\n", "A=$B\n", "A=${B}\n"])
    def test_lines_with_no_value_of_their_own(self, lines: str) -> None:
        with pytest.raises(EnvFileError, match="lines, line 1"):
            wish(lines=lines)


class TestRender:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("plain", "plain"),
            ("", ""),
            ("with space", "with space"),
            ("https://x.example/?a=b#c", "https://x.example/?a=b#c"),
            ("pa$1", "pa$1"),
            ("pa$word", "'pa$word'"),
            ("a #b", "'a #b'"),
            (" lead", "' lead'"),
            ("'quoted'", "\"'quoted'\""),
            ("it's $x", "it's $$x"),
            ("back\\slash", "back\\slash"),
        ],
    )
    def test_the_plainest_form_that_reads_back(self, value: str, text: str) -> None:
        assert env_wish.render("KEY", value) == text
        assert values(f"KEY={text}\n".encode()) == {"KEY": value}

    def test_no_form_that_setup_would_eat(self) -> None:
        for value in ('say \\"hi\\"', "'it\"s $x"):
            with pytest.raises(EnvFileError, match="read it back"):
                env_wish.render("KEY", value)

    def test_what_setup_reads_itself_is_never_in_single_quotes(self) -> None:
        key = "globalSettings__identityServer__certificatePassword"
        assert env_wish.render(key, "a #b") == '"a #b"'
        with pytest.raises(EnvFileError, match="read it back"):
            env_wish.render(key, "pa$word")


class TestSecrets:
    @pytest.mark.parametrize(
        "key",
        [
            "globalSettings__sqlServer__connectionString",
            "globalSettings__identityServer__certificatePassword",
            "globalSettings__internalIdentityKey",
            "globalSettings__oidcIdentityClientKey",
            "globalSettings__duo__aKey",
            "globalSettings__installation__id",
            "globalSettings__installation__key",
            "globalSettings__yubico__key",
            "globalSettings__mail__smtp__password",
            "globalSettings__hibpApiKey",
            "SA_PASSWORD",
            "keyConnectorSettings__certificate__filesystemPassword",
            "globalSettings__amazon__accessKeySecret",
            "GLOBALSETTINGS__HIBPAPIKEY",
        ],
    )
    def test_secret_names(self, key: str) -> None:
        assert redact.is_secret(key, "x")
        assert redact.redact_line(f"# {key}=hunter2 ") == f"# {key}=<redacted>"
        assert redact.redact_line(f" export {key} = hunter2") == f" export {key} = <redacted>"

    def test_open_names(self) -> None:
        for key in (*EU, "globalSettings__mail__smtp__host", "globalSettings__yubico__clientId", "x__publicKey"):
            assert not redact.is_secret(key, "x")

    def test_secret_by_value(self) -> None:
        assert redact.is_secret("https_proxy", "http://me:hunter2@proxy:3128")
        assert not redact.is_secret("https_proxy", "http://proxy:3128")
        assert redact.is_secret("globalSettings__x", "Server=a;Password=hunter2")

    def test_a_reference_to_a_variable_is_not_the_text_that_it_looks_like(self) -> None:
        plan = merge("A=$HOME\n", {"A": "$HOME"})
        assert plan.data == b"A='$HOME'\n"

    def test_a_login_that_leaves_an_address_is_not_shown(self) -> None:
        plan = merge("https_proxy=http://me:hunter2@proxy:3128\n", {"https_proxy": "http://proxy:3128"})
        assert plan.changes[0].shown() == {
            "key": "https_proxy",
            "before": redact.REDACTED,
            "after": "http://proxy:3128",
        }
        assert "hunter2" not in repr(plan.diff)

    def test_neither_changes_nor_diff_nor_values_show_one(self) -> None:
        before = "globalSettings__hibpApiKey=hunter2old\nglobalSettings__mail__smtp__password='hunter2\ntoo'\nA=1\n"
        plan = merge(
            before, {"globalSettings__hibpApiKey": "hunter2new", "globalSettings__mail__smtp__password": "hunter2"}
        )
        everything = repr((plan.changes[0].shown(), plan.changes[1].shown(), plan.diff, plan.values, plan.warnings))
        assert "hunter2" not in everything
        assert "too" not in everything
        assert plan.diff["before"] != plan.diff["after"]

    def test_the_diff_holds_the_lines_that_change_and_no_other(self) -> None:
        plan = merge(f"A=1\n# old\n{REGION}=US\n", {REGION: "EU", FLAG: True})
        assert plan.diff == {"before": f"{REGION}=US\n", "after": f"{REGION}=EU\n{FLAG}=true\n"}


class TestAfterSetup:
    def test_many_files_were_recorded(self) -> None:
        cases = rewritten()
        assert len(cases) > 200
        assert {case["name"] for case in cases} >= REFUSED_BEFORE | REFUSED_AFTER

    @pytest.mark.parametrize("case", rewritten(), ids=lambda case: str(case["name"]))
    def test_a_merge_into_what_setup_wrote_is_settled(self, case: dict[str, Any]) -> None:
        """Whatever setup leaves: it is refused as malformed, or one merge settles it for good."""
        try:
            once = merge(case["after"], EU)
        except EnvFileError as error:
            assert case["name"] in REFUSED_AFTER and error.next_step
            return
        assert case["name"] not in REFUSED_AFTER
        assert not merge(once.data, EU).changed
        found = values(once.data)
        assert {key: found[key] for key in EU if key != FLAG} == {key: EU[key] for key in EU if key != FLAG}
        assert found[FLAG].lower() == "true"
        kept = {line for line in case["after"].splitlines() if not any(key.lower() in line.lower() for key in EU)}
        assert kept <= set(once.data.decode().splitlines())

    @pytest.mark.parametrize("case", rewritten(), ids=lambda case: str(case["name"]))
    def test_what_is_merged_survives_setup(self, case: dict[str, Any], tmp_path: Path) -> None:
        """The lab's setup program rewrites a merged file, and the next merge finds nothing to do."""
        try:
            plan = merge(case["before"], EU)
        except EnvFileError as error:
            assert case["name"] in REFUSED_BEFORE and error.next_step
            return
        assert case["name"] not in REFUSED_BEFORE
        (tmp_path / "env").mkdir()
        (tmp_path / "config.yml").write_text("url: https://bw.example.com\npush_notifications: false\n")
        (tmp_path / "env/global.override.env").write_bytes(plan.data)
        setup = Setup(Tree(tmp_path), io.StringIO(), io.StringIO(), environment={})
        assert run(setup, ["-update", "1", "-os", "lin", "-corev", "1", "-webv", "1", "-keyconnectorv", "1"]) == 0
        if any("takes the backslash" in warning for warning in plan.warnings):
            return
        assert not merge((tmp_path / "env/global.override.env").read_bytes(), EU).changed

    def test_what_setup_will_eat_is_told_before(self) -> None:
        text = 'other__key="a\\"hunter2\\" b"\n'
        plan = merge(text, EU)
        assert "line 1" in plan.warnings[0]
        assert "other__key" in plan.warnings[0]
        assert "hunter2" not in plan.warnings[0]
        assert plan.data.decode().startswith(text)

    def test_settings_of_the_help_page_survive_setup(self) -> None:
        """They are as a merge would make them, before setup's rewrite and after it."""
        cases = {case["name"]: case for case in rewritten()}
        for state in ("before", "after"):
            assert not merge(cases["help_eu_in_place"][state], EU).changed
