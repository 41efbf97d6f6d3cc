"""The part of Go's templates that people use with `docker inspect -f` and `docker ps --format`."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)


class TemplateError(Exception):
    """The template cannot be read, or names something that is not there."""


@dataclass
class Node:
    kind: str
    argument: str
    body: list[Node]
    otherwise: list[Node]


def render(template: str, data: Any) -> str:
    pieces = ACTION.split(template)
    nodes, rest = _nodes([(("action" if index % 2 else "text"), piece) for index, piece in enumerate(pieces)], 0)
    if rest != len(pieces):
        raise TemplateError("template parsing error: unexpected {{end}}")
    return "".join(_render(node, data) for node in nodes)


def _nodes(pieces: list[tuple[str, str]], at: int) -> tuple[list[Node], int]:
    nodes: list[Node] = []
    while at < len(pieces):
        kind, text = pieces[at]
        word = text.partition(" ")[0]
        if kind == "text":
            nodes.append(Node("text", text, [], []))
        elif word in ("end", "else"):
            return nodes, at
        elif word in ("if", "range", "with"):
            body, at = _nodes(pieces, at + 1)
            otherwise: list[Node] = []
            if at < len(pieces) and pieces[at][1].startswith("else"):
                otherwise, at = _nodes(pieces, at + 1)
            if at >= len(pieces):
                raise TemplateError("template parsing error: unexpected EOF")
            nodes.append(Node(word, text.partition(" ")[2], body, otherwise))
        else:
            nodes.append(Node("value", text, [], []))
        at += 1
    return nodes, at


def _render(node: Node, data: Any) -> str:
    if node.kind == "text":
        return node.argument
    if node.kind == "value":
        return _text(_evaluate(node.argument, data))
    value = _evaluate(node.argument, data)
    if not value:
        return "".join(_render(item, data) for item in node.otherwise)
    if node.kind == "range":
        items = value.values() if isinstance(value, dict) else value
        return "".join(_render(child, item) for item in items for child in node.body)
    inner = value if node.kind == "with" else data
    return "".join(_render(child, inner) for child in node.body)


def _evaluate(expression: str, data: Any) -> Any:
    result: Any = None
    for number, part in enumerate(expression.split("|")):
        words = shlex.split(part.strip(), posix=False)
        result = _call(words, data, [result] if number else [])
    return result


def _call(words: list[str], data: Any, piped: list[Any]) -> Any:
    values = [_operand(word, data) for word in words[1:]] + piped
    if words[0] in FUNCTIONS:
        return FUNCTIONS[words[0]](*values)
    if values:
        raise TemplateError(f'template parsing error: function "{words[0]}" not defined')
    return _operand(words[0], data)


def _operand(word: str, data: Any) -> Any:
    if word[:1] in "\"'`":
        return word[1:-1]
    if re.fullmatch(r"-?\d+", word):
        return int(word)
    if not word.startswith("."):
        raise TemplateError(f'template parsing error: function "{word}" not defined')
    found = data
    for name in filter(None, word.split(".")):
        if not isinstance(found, dict):
            raise TemplateError(f"template: :1:2: executing at <{word}>: can't evaluate field {name}")
        if name not in found:
            raise TemplateError(f'template: :1:2: executing at <{word}>: map has no entry for key "{name}"')
        found = found[name]
    return found


def _text(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_text(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(_text, value)) + "]"
    return str(value)


def _index(found: Any, *keys: Any) -> Any:
    for key in keys:
        found = found.get(key, "") if isinstance(found, dict) else found[int(key)]
    return found


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": lambda value: json.dumps(value, separators=(",", ":")),
    "println": lambda *values: " ".join(map(_text, values)) + "\n",
    "print": lambda *values: "".join(map(_text, values)),
    "lower": lambda value: _text(value).lower(),
    "len": len,
    "eq": lambda value, *others: value in others,
    "not": lambda value: not value,
    "index": _index,
}
