"""Answers as no server gives them: what proxies, caches and other programs may send in Bitwarden's place."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

# Shorter parts of secrets are found everywhere by chance.
WINDOW = 16
HUGE = 17 * 1024 * 1024
DEEP = 100_000
STATUSES = (
    200, 200, 200, 201, 202, 204, 206, 299, 301, 302, 304, 307, 400, 400, 401, 403, 404, 405, 407, 409, 413, 415, 418,
    422, 429, 429, 451, 500, 500, 501, 502, 503, 504, 511, 599, 999,
)  # fmt: skip
# Wrong in type, in size, or only in what follows from them.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3.5, 1e308, 2**31, 2**63, 10**30, "", " ", "x", "0", "null", "true", "\x00",
    "\n\r\t",
    "\ud800", "😀" * 10, "ß", "a" * 70_000, "../../etc/passwd", "<b>", "%s %d {0} {{ x }}", "-1", "1e9",
    "2026-13-45T99:99:99Z",
    "9999-12-31T23:59:59.9999999Z", "0001-01-01T00:00:00", "0000-00-00", [], {}, [[]], [None], [0], ["x"], [{}],
    {"": None},
    {"id": None}, {"data": {}}, {"message": {}}, {"a": {"a": {"a": {}}}},
)  # fmt: skip
TYPES = (
    "application/json", "text/html", "text/plain; charset=utf-16", "application/json; charset=latin-1", "image/png", "",
    "text/html; charset=none-such", "multipart/form-data; boundary=x", "application/xml",
    "text/json;charset=\"utf-8", ";",
)  # fmt: skip
BROKEN = (
    "", " ", "\n\n", "{", "}", "[", "]", '"', "'", "{'a': 1}", '{"a": 1,}', "[1,]", '{"a" 1}', '{"a": NaN}', "NaN",
    "Infinity",
    "-", "// no\n{}", "undefined", "True", "{a: 1}", '{"a": "\x01"}', '{"a": "\\x"}', '{"a": "\\ud800"}', "nul",
    "0x10", "1" * 5000,
    '{"message": "\\u0000"}', "\x00", "\x1b[31mred\x1b[0m", "%", "=", "a=b&c=d", "<?xml version='1.0'?><a/>",
    "--x\r\n\r\n--x--",
)  # fmt: skip
PAGES = (
    "<html><head><title>Log in</title></head><body>Welcome to this network, please log in</body></html>",
    "<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1>{secret}</body></html>",
    "<HTML><script>var t='{secret}'</script>",
    "<html>" + "<div>" * 3000,
    "\n".join(["<p>blocked</p>"] * 300),
)
ENCODINGS = (
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "latin-1",
    "cp1252",
    "utf-7",
    "utf-8-sig",
    "cp037",
    "shift_jis",
)
DATES = (
    "",
    "now",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Mon, 00 Foo 0000 99:99:99 +9999",
    "-1",
)
RETRY = ("", "-1", "0", "nan", "inf", "-inf", "1e400", "soon", "3600", "Fri, 31 Dec 9999 23:59:59 GMT", "0x10", "1,2")
SCHEMES = (
    "",
    "Bearer",
    'Basic realm="x"',
    'Bearer error="invalid_token", error_description="{secret}"',
    "\x01",
    "é" * 300,
)
PLACES = (
    "",
    "/login",
    "https://proxy.example.com/login?token={secret}",
    "http://[::1",
    "//x",
    "javascript:alert(1)",
    "\u00e9",
)


@dataclass(frozen=True)
class Answer:
    """One answer; C(promised) is the length that its head claims, where that is another than the real one."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    promised: int | None = None


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [path]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += _paths(child, (*path, key))
    return found


def _with(value: Any, path: Sequence[Any], change: Callable[[Any, Any], None]) -> Any:
    """A copy of the value, changed at a place: the change gets the container and the key."""
    holder = {"": json.loads(json.dumps(value))}
    place: Any = holder
    for key in ("", *path[:-1]) if path else ():
        place = place[key]
    change(place, path[-1] if path else "")
    return holder.get("")


class Mutator:
    """Spoils answers; the same seed spoils them in the same way."""

    def __init__(self, seed: str, secrets: Sequence[str]) -> None:
        self.pick = random.Random(seed)  # noqa: S311 - no secret: a seed makes it again
        self.secrets = secrets
        self.kinds: tuple[Callable[[Answer], Answer], ...] = (
            self.cut, self.cut, self.short, self.odd_value, self.odd_value, self.odd_value, self.lost_value,
            self.renamed, self.odd_whole, self.added, self.encoded, self.squeezed, self.mistyped,
            self.broken, self.page, self.empty,
            self.status, self.status, self.error_body, self.error_body, self.deep, self.long, self.bytes_changed,
            self.headers, self.echo, self.echo,
        )  # fmt: skip

    def spoiled(self, answer: Answer) -> tuple[str, Answer]:
        """The answer, spoiled once or twice, and how."""
        names = []
        for _time in range(self.pick.choice((1, 1, 1, 2))):
            kind = self.pick.choice(self.kinds)
            names.append(kind.__name__)
            answer = kind(answer)
        return "+".join(names), answer

    def secret(self) -> str:
        """A secret that a server or a proxy may repeat."""
        return self.pick.choice(self.secrets)

    def _filled(self, text: str) -> str:
        return text.replace("{secret}", self.secret())

    def _parsed(self, answer: Answer) -> Any:
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            return {"message": "Resource not found.", "validationErrors": None, "object": "error"}

    def cut(self, answer: Answer) -> Answer:
        """Ends anywhere."""
        return replace(answer, body=answer.body[: self.pick.randrange(len(answer.body) + 1)])

    def short(self, answer: Answer) -> Answer:
        """Ends before the length that was promised."""
        return replace(self.cut(answer), promised=len(answer.body) + self.pick.choice((1, 100)))

    def odd_value(self, answer: Answer) -> Answer:
        """One value of another type or size."""
        value = self._parsed(answer)
        path = self.pick.choice(_paths(value))
        odd = self.pick.choice(ODD)
        return replace(answer, body=_json(_with(value, path, lambda place, key: place.__setitem__(key, odd))))

    def lost_value(self, answer: Answer) -> Answer:
        """A value is missing."""
        value = self._parsed(answer)
        paths = [path for path in _paths(value) if path]
        if not paths:
            return replace(answer, body=b"{}")
        return replace(
            answer, body=_json(_with(value, self.pick.choice(paths), lambda place, key: place.__delitem__(key)))
        )

    def renamed(self, answer: Answer) -> Answer:
        """All names in another letter case."""
        change = self.pick.choice((str.upper, str.capitalize, str.lower))

        def walk(value: Any) -> Any:
            if isinstance(value, dict):
                return {change(key): walk(child) for key, child in value.items()}
            return [walk(child) for child in value] if isinstance(value, list) else value

        return replace(answer, body=_json(walk(self._parsed(answer))))

    def added(self, answer: Answer) -> Answer:
        """More than there should be: the same entries again, names twice, unknown ones."""
        value = self._parsed(answer)
        lists = [path for path in _paths(value) if path and isinstance(self._at(value, path), list)]
        if lists and self.pick.random() < 0.5:
            many = self.pick.choice((2, 50))
            return replace(
                answer,
                body=_json(_with(value, self.pick.choice(lists), lambda place, key: self._more(place, key, many))),
            )
        text = _json(value).decode()
        if text.startswith("{") and len(text) > 2:
            name = self.pick.choice(("id", "message", "error", "object", "data", "x" * 3000))
            text = text[:-1] + f', "{name}": {json.dumps(self.pick.choice(ODD))}}}'
        return replace(answer, body=text.encode())

    @staticmethod
    def _at(value: Any, path: Sequence[Any]) -> Any:
        for key in path:
            value = value[key]
        return value

    @staticmethod
    def _more(place: Any, key: Any, many: int) -> None:
        place[key] = place[key] * many

    def odd_whole(self, answer: Answer) -> Answer:
        """Something else altogether, but JSON."""
        return replace(answer, body=_json(self.pick.choice(ODD)))

    def encoded(self, answer: Answer) -> Answer:
        """In another encoding, with or without saying so."""
        name = self.pick.choice(ENCODINGS)
        body = answer.body.decode("utf-8", "replace").encode(name, "replace")
        headers = {**answer.headers, "content-type": f"application/json; charset={self.pick.choice((name, 'utf-8'))}"}
        return replace(answer, body=body, headers=headers)

    def squeezed(self, answer: Answer) -> Answer:
        """Compressed, or said to be."""
        how = self.pick.choice(("deflate", "gzip", "br", "zstd", "identity", "none-such", "gzip, gzip"))
        body = zlib.compress(answer.body) if self.pick.random() < 0.5 else answer.body
        return replace(answer, body=body, headers={**answer.headers, "content-encoding": how})

    def mistyped(self, answer: Answer) -> Answer:
        """The right body under a wrong name."""
        return replace(answer, headers={**answer.headers, "content-type": self.pick.choice(TYPES)})

    def broken(self, answer: Answer) -> Answer:
        """No JSON."""
        text = self.pick.choice(BROKEN)
        if text and self.pick.random() < 0.3:
            text = answer.body.decode("utf-8", "replace") + text
        return replace(answer, body=text.encode("utf-8", "surrogatepass"))

    def page(self, answer: Answer) -> Answer:
        """A page for people."""
        text = self._filled(self.pick.choice(PAGES))
        return replace(answer, body=text.encode(), headers={**answer.headers, "content-type": "text/html"})

    def empty(self, answer: Answer) -> Answer:
        """Nothing, a byte order mark, or nearly nothing."""
        return replace(answer, body=self.pick.choice((b"", b"\xef\xbb\xbf", b"\xff\xfe", b"null", b'""', b"{}", b"[]")))

    def status(self, answer: Answer) -> Answer:
        """Another status, with what goes with it."""
        headers = dict(answer.headers)
        if self.pick.random() < 0.5:
            headers["retry-after"] = self.pick.choice(RETRY)
            headers["www-authenticate"] = self._filled(self.pick.choice(SCHEMES))
        headers["location"] = self._filled(self.pick.choice(PLACES))
        return replace(answer, status=self.pick.choice(STATUSES), headers=headers)

    def error_body(self, answer: Answer) -> Answer:
        """The shape of an error, with anything in it."""
        odd = self.pick.choice((*ODD, self.secret()))
        shapes: tuple[Any, ...] = (
            {"message": odd, "validationErrors": None, "object": "error"},
            {"message": "The model state is invalid.", "validationErrors": {"MasterPasswordHash": odd}},
            {"message": "The model state is invalid.", "validationErrors": odd},
            {"message": "x", "validationErrors": {"": [odd, odd]}},
            {"error": odd, "error_description": odd},
            {"error": "invalid_grant", "error_description": "x", "ErrorModel": odd},
            {"error": "invalid_grant", "ErrorModel": {"Message": odd}},
            {"Message": odd}, {"title": odd, "errors": odd}, odd,
        )  # fmt: skip
        status = self.pick.choice((answer.status, 400, 400, 401, 404, 500))
        return replace(answer, status=status, body=_json(self.pick.choice(shapes)))

    def deep(self, answer: Answer) -> Answer:
        """Nested deeper than anybody reads."""
        text = self.pick.choice(
            ("[" * DEEP, "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, '{"message":' + "[" * DEEP)
        )
        return replace(answer, body=text.encode())

    def long(self, answer: Answer) -> Answer:
        """Longer than anybody reads."""
        size = HUGE if self.pick.random() < 0.03 else self.pick.choice((10_000, 300_000))
        text = self.pick.choice((b"x", b" ", b"0", b"[],", b"\xc3\xa9", b"<p>", b"\x00"))
        body = self.pick.choice((b'{"message":"' + text * size + b'"}', text * size, answer.body + text * size))
        return replace(answer, body=body[: HUGE + 100])

    def bytes_changed(self, answer: Answer) -> Answer:
        """Some bytes are others."""
        body = bytearray(answer.body or b"{}")
        for _byte in range(self.pick.randrange(1, 9)):
            body[self.pick.randrange(len(body))] = self.pick.randrange(256)
        return replace(answer, body=bytes(body))

    def headers(self, answer: Answer) -> Answer:
        """A head that lies."""
        headers = {**answer.headers, "date": self.pick.choice(DATES)}
        headers["set-cookie"] = self.pick.choice(("", "a=b; Max-Age=x", "=;;", "x" * 5000))
        return replace(answer, headers=headers, promised=self.pick.choice((None, None, 0, len(answer.body) + 7)))

    def echo(self, answer: Answer) -> Answer:
        """An error that repeats a secret, as debug pages and proxies do."""
        secret = self.secret()
        texts = (
            f"Unauthorized: {secret}",
            json.dumps({"message": f"bad token {secret}"}),
            json.dumps({"error": secret, "error_description": secret[::-1] + secret}),
            json.dumps({"error": "invalid_grant", "ErrorModel": {"Message": secret}}),
            json.dumps({"message": "x", "validationErrors": {secret: [secret]}}),
            json.dumps({secret: 1}),
            "".join(f"\\u{ord(letter):04x}" for letter in secret[:200]).join(('{"message": "', '"}')),
            "x" * self.pick.randrange(150, 199) + secret,
            f"<html>{secret}",
            f'{{"access_token": "{secret}", "x',
        )
        status = self.pick.choice((answer.status, 400, 401, 403, 500))
        headers = (
            {**answer.headers, "www-authenticate": f'Bearer error="{secret}"'}
            if self.pick.random() < 0.2
            else answer.headers
        )
        body = self.pick.choice(texts).encode("utf-8", "replace") if self.pick.random() < 0.95 else b""
        return replace(answer, status=status, body=body, headers=headers)
