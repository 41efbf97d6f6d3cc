"""How the docker stand-in reads env files: every row is what compose's own parser gave."""

from __future__ import annotations

import re

import pytest
from bwlab.host.dotenv import EnvFileError, environment_lookup, parse, parse_plain, substitute


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=with space", "with space"),
        ("A=  x  ", "x"),
        ("A=a#b", "a#b"),
        ("A=a #b", "a"),
        ('A="x # y"', "x # y"),
        ("A='x # y'", "x # y"),
        ("A=", ""),
        ('A=""', ""),
        ("A=a$b", "a"),
        ("b=1\nA=a$b", "a1"),
        ("A=pa$1", "pa$1"),
        ("A=pa$", "pa$"),
        ("A=pa$!", "pa$!"),
        ("A=pa$ x", "pa$ x"),
        ("A=a$$b", "a$b"),
        ('A="a$$b"', "a$b"),
        ("A='a$b'", "a$b"),
        ('A="a\\$b"', "a$b"),
        ("A=a\\$b", "a\\"),
        ("A='it\\'s'", "it's"),
        ("A='a\\nb'", "a\\nb"),
        ('A="a\\nb"', "a\nb"),
        ('A="q\\"u"', 'q"u'),
        ('A="x" trailing', "x"),
        ('A="two\nlines"', "two\nlines"),
        ("A=1\nA=2", "2"),
        ("A=x\r\nB=y\r\n", "x"),
        ("# A=1\n\n   \nA=2", "2"),
        ("   A=1", "1"),
        ("export A=1", "1"),
        ("A = 1", "1"),
        ("A: 1", "1"),
        ("\ufeffA=1", "1"),
        ("A=a=b=c", "a=b=c"),
        ("A=${b:-c}", "c"),
        ("A=${b:-${c:-d}}e", "de"),
        ("b=1\nA=${b:+c}", "c"),
        ("b=\nA=${b-c}", ""),
        ("A=${b-{}}x}", "{}}x"),
        ("A=${b-c}d}${b-e}", "cd}e"),
        ('A="\\0101 \\07 \\0777"', "A \\7 \\777"),
        ("export\n A=1", "1"),
        ("\u3000A=1", "1"),
        ("A=é", "é"),
    ],
)
def test_values(text: str, value: str) -> None:
    assert parse(text)["A"] == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A=1\nB=pa${x", 'Invalid template: "pa${x"'),
        ('A=1\nB="open\nC=2\n', 'line 2: unterminated quoted value "open'),
        ("A=1\n\nA,B=1", 'line 3: unexpected character ","'),
        ("A B=1", "line 1: key cannot contain a space"),
        ("A=${b:?needed}", "required variable b is missing a value: needed"),
    ],
)
def test_errors(text: str, says: str) -> None:
    with pytest.raises(EnvFileError, match=re.escape(says)):
        parse(text)


def test_a_key_alone_is_taken_from_the_caller() -> None:
    lookup = environment_lookup({"A": "shell"}, {"A": "dotenv", "C": "dotenv"})
    assert parse("A\nB\nC\n", lookup) == {"A": "shell", "C": "dotenv"}


def test_a_word_that_ends_with_the_file_is_a_value_without_a_name() -> None:
    assert parse("A=1\nC", environment_lookup({"C": "shell"})) == {"A": "1", "": "C"}


def test_the_caller_is_asked_before_the_file() -> None:
    assert parse("b=file\nA=$b", environment_lookup({"b": "shell"}))["A"] == "shell"


def test_an_unset_variable_is_complained_about() -> None:
    said: list[str] = []
    parse("A=$nothing", warn=said.append)
    assert said == ['The "nothing" variable is not set. Defaulting to a blank string.']


def test_the_other_reader_takes_quotes_and_dollars_as_they_are() -> None:
    assert parse_plain(b'# c\n\n  A="x"\r\nB= $C \nD\nE\n', environment_lookup({"E": "e"})) == {
        "A": '"x"',
        "B": " $C ",
        "E": "e",
    }


@pytest.mark.parametrize("data", [b"export A=1\n", b"A =1\n", b"=1\n", b"A=1\n# \xff\n"])
def test_what_the_other_reader_refuses(data: bytes) -> None:
    with pytest.raises(EnvFileError):
        parse_plain(data)


def test_only_one_level_is_substituted() -> None:
    assert substitute("$a", environment_lookup({"a": "$b", "b": "c"})) == "$b"
