"""Makes env files: lines that people write, with everything in them that a reader could stumble over."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

# What the caller of compose has in its environment; the files refer to these names, to their own and to unknown ones.
CALLER = {"CALLER": "from outside", "EMPTY": "", "DOLLAR": "a$b", "QUOTE": "\"'", "K2": "outside"}

KEYS = (
    "A", "B", "K1", "K2", "k2", "a", "long_Name", "a.b", "a-b", "a[0]", "https_proxy", "_", "é", "exportx",
    "export", "ü1", "globalSettings__baseServiceUri__cloudRegion", "globalSettings__hibpApiKey",
    "GLOBALSETTINGS__HIBPAPIKEY",
)  # fmt: skip
ODD_KEYS = (
    "1A", "A,B", "A B", "", "A\tB", "a/b", "'A'", '"A"', "A$B", "\ufeffA", "\xa0A", "A\u2003", "A+", "²",
    "x\x85y", "export\xa0A",
)  # fmt: skip
NAMES = ("A", "B", "K1", "K2", "CALLER", "EMPTY", "DOLLAR", "QUOTE", "unknown", "_", "a1", "A\u212a")
PIECES = (
    "a", "b", "x", "0", "7", "true", "word", " ", " ", "  ", "\t", "=", ":", ";", ",", "/", "@", "!", "%", "&",
    "*", "(", ")", "[", "]", "{", "}", "#", " #", " # ", "\t#", "'", '"', "\\", "\\\\", '\\"', "\\'", "\\n",
    "\\t", "\\$", "\\0", "\\07", "\\101", "\\0101", "\\0389", "\\0777", "\\c", "\\x41", "$", "$$", "$$$", "$1",
    "$ ", "$(", "é", "ß", "à", "Å", "…", "日本", "🔑", "\xa0", "\x85", "\u2003", "\u3000", "\u2028", "\v", "\f",
    "-", "?", "+", ":-", "~", "^", "|", "<", ">", "`", ".", "\udcff", "\udce9", "\x01", "\x7f",
)  # fmt: skip
PLAIN = tuple("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789_-./:@+=,;!%&*()~^|<> ")
ENDS = ("\n", "\n", "\n", "\n", "\n", "\r\n", "\r\r\n")
BEFORE = ("", "", "", "", "", " ", "\t", "\xa0", "\f", "  ", "export ", "export\t", " export  ", "\u3000")
AROUND = ("", "", "", "", " ", "\t", "  ", "\xa0", "\v", "\x85")
AFTER_QUOTE = (
    "",
    "",
    "",
    "",
    "",
    " ",
    " # note",
    "#",
    " word",
    "word",
    "=",
    " = x",
    "'",
    '"',
    "\t",
    "\r",
    " two words",
    "\xa0",
)


class Maker:
    """One stream of files; the same seed gives the same files."""

    def __init__(self, seed: int, oddness: float = 0.01) -> None:
        """`oddness` is the share of parts that are likely to make a file invalid."""
        self.random = random.Random(seed)  # noqa: S311 - no secret: a seed makes it again
        self.oddness = oddness

    def files(self, count: int) -> Iterator[bytes]:
        """That many files."""
        for _number in range(count):
            yield self.file()

    def file(self) -> bytes:
        """One file of a few lines."""
        pick = self.random
        lines = [self._line() for _n in range(pick.choice((0, 1, 1, 2, 2, 3, 3, 4, 6)))]
        style = pick.choice(ENDS)
        text = "".join(line + (style if pick.random() < 0.9 else pick.choice(ENDS)) for line in lines)
        if pick.random() < 0.25:
            text = text.rstrip("\r\n")
        if pick.random() < 0.05:
            text = "\ufeff" + text
        if pick.random() < self.oddness:
            text = self._damaged(text)
        return text.encode("utf-8", "surrogateescape")

    def _damaged(self, text: str) -> str:
        place = self.random.randrange(len(text) + 1)
        return text[:place] + self.random.choice((*PIECES, "\n", "\r")) + text[place + self.random.randrange(3) :]

    def _line(self) -> str:
        pick = self.random
        kind = pick.random()
        if kind < 0.06:
            return pick.choice(("", " ", "\t", "#", "# A=1", "  # note ' \"", "#\r", "\xa0"))
        if kind < 0.10:
            return pick.choice(BEFORE) + self._key() + pick.choice(("", "", " ", "\t", " \r"))
        separator = ":" if pick.random() < 0.06 else "="
        return pick.choice(BEFORE) + self._key() + pick.choice(AROUND) + separator + pick.choice(AROUND) + self.value()

    def _key(self) -> str:
        return self.random.choice(ODD_KEYS if self.random.random() < self.oddness else KEYS)

    def value(self) -> str:
        """The text after the separator."""
        forms: tuple[Callable[[], str], ...] = (
            self._plain,
            self._pieces,
            self._single,
            self._double,
            self._template,
        )
        return self.random.choices(forms, (2, 2, 1, 1, 2))[0]()

    def _plain(self) -> str:
        return "".join(self.random.choices(PLAIN, k=self.random.randrange(12)))

    def _pieces(self) -> str:
        text = "".join(self.random.choices(PIECES, k=self.random.randrange(1, 7)))
        if text[:1] in {"'", '"'} and self.random.random() > self.oddness:
            return "x" + text
        return text

    def _single(self) -> str:
        return self._quoted("'")

    def _double(self) -> str:
        return self._quoted('"')

    def _quoted(self, quote: str) -> str:
        pick = self.random
        pieces = [self.template() if pick.random() < 0.2 else pick.choice(PIECES) for _n in range(pick.randrange(7))]
        if pick.random() < 0.08:
            pieces.insert(pick.randrange(len(pieces) + 1), pick.choice(("\n", "\r\n", "\\\n", "\n# c\n", "\nB=2\n")))
        text = "".join(pieces)
        if pick.random() > self.oddness:
            text = text.replace("\\" + quote, quote).replace(quote, "\\" + quote)
        return quote + text + quote + pick.choice(AFTER_QUOTE if pick.random() < 0.2 else ("", ""))

    def _template(self) -> str:
        pick = self.random
        parts = [
            self.template() if pick.random() < 0.5 else pick.choice(PIECES + PLAIN)
            for _n in range(pick.randrange(1, 5))
        ]
        text = "".join(parts)
        if pick.random() < 0.3:
            return f'"{text}"' if '"' not in text and "\\" not in text else "x" + text
        return "x" + text if text[:1] in {"'", '"'} else text

    def template(self, depth: int = 0) -> str:
        """A reference to a variable, in one of its forms."""
        pick = self.random
        name = pick.choice(NAMES)
        if pick.random() < self.oddness:
            name = pick.choice(("", "1", "a b", "é", "-", "?", "a.b"))
        form = pick.random()
        if form < 0.3:
            return f"${name}"
        if form < 0.55:
            return f"${{{name}}}"
        operator = pick.choice((":-", "-", ":+", "+", ":-", "-"))
        if pick.random() < 0.15:
            operator = pick.choice((":?", "?"))
            name = pick.choice(("CALLER", "CALLER", "DOLLAR", name))
        argument = "" if depth > 2 else self._argument(depth + 1)
        return f"${{{name}{operator}{argument}}}" if pick.random() > self.oddness else f"${{{name}{operator}{argument}"

    def _argument(self, depth: int) -> str:
        pick = self.random
        parts = []
        for _n in range(pick.randrange(4)):
            parts.append(
                self.template(depth)
                if pick.random() < 0.25
                else pick.choice(("a", "b", " ", "-", ":", "?", "+", "$$", "/", "x1", "{", "é", "#", "."))
            )
        return "".join(parts)
