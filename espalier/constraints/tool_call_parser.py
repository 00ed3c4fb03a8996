"""The calls of tools in a text, as models write them, read back."""

from __future__ import annotations

import ast
import json
import re
from typing import Any, NamedTuple

from espalier.constraints.tool_call_formats import FORMATS, CallFormat
from espalier.constraints.tools import tools_of


class ToolCall(NamedTuple):
    """One call: the name of the tool and its arguments, as the tool's schema reads them.

    >>> ToolCall("add", {"a": 1}).arguments
    {'a': 1}
    """

    name: str
    arguments: Any


def read_calls(tools: Any, text: str, format: str = "hermes") -> list[ToolCall]:
    """The calls in a text that the guide of these tools allows, their arguments read by the tools' schemas.

    >>> read_calls({"add": {"type": "object"}}, 'So: <tool_call>\\n{"arguments": {"a": 1}, "name": "add"}\\n</tool_call>')
    [ToolCall(name='add', arguments={'a': 1})]
    """
    schemas, shape = tools_of(tools), FORMATS[format]
    found = []
    for name, arguments in _raw_calls(text, shape, format):
        if name in schemas:
            found.append(ToolCall(name, schemas[name].value(arguments)))
    return found


def _raw_calls(text: str, shape: CallFormat, format: str) -> list[tuple[str, str]]:
    decoder = json.JSONDecoder(parse_float=str, parse_int=str)
    if shape.arguments is None:
        return _python_calls(text)
    text = text.removeprefix(shape.opener)
    if format == "harmony":
        pattern = re.compile(r"to=functions\.([^ <]+) ?(?:(?:<\|constrain\|>)?json)?<\|message\|>")
        return [(m[1], _json_at(text, m.end(), decoder)) for m in pattern.finditer(text)]
    starts = [m.end() for m in re.finditer(re.escape(shape.begin), text)] if shape.begin else [0]
    calls: list[tuple[str, str]] = []
    for at in starts:
        body = _json_at(text, at, decoder)
        for value in _members(body) if shape.listed else [body]:
            members = _spans(value, decoder)
            if "name" in members and shape.arguments in members:
                calls.append((json.loads(members["name"]), members[shape.arguments]))
    return calls


def _json_at(text: str, at: int, decoder: json.JSONDecoder) -> str:
    while at < len(text) and text[at] in " \n\t\r":
        at += 1
    try:
        return text[at : decoder.raw_decode(text, at)[1]]
    except ValueError:
        return "null"


def _members(listed: str) -> list[str]:
    """The texts of the items of a list."""
    decoder, at, found = json.JSONDecoder(), 1, []
    while listed.startswith("["):
        while at < len(listed) and listed[at] in " \n\t\r,":
            at += 1
        if at >= len(listed) or listed[at] == "]":
            break
        end = decoder.raw_decode(listed, at)[1]
        found.append(listed[at:end])
        at = end
    return found


def _spans(value: str, decoder: json.JSONDecoder) -> dict[str, str]:
    """The texts of the members of an object: numbers keep their spelling."""
    found: dict[str, str] = {}
    at = 1
    while value.startswith("{"):
        while at < len(value) and value[at] in " \n\t\r,":
            at += 1
        if at >= len(value) or value[at] == "}":
            break
        name, at = decoder.raw_decode(value, at)
        at = value.index(":", at) + 1
        while value[at] in " \n\t\r":
            at += 1
        end = decoder.raw_decode(value, at)[1]
        found[name] = value[at:end]
        at = end
    return found


def _python_calls(text: str) -> list[tuple[str, str]]:
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        return []
    calls = [each for each in getattr(tree, "elts", [tree]) if isinstance(each, ast.Call)]
    found = []
    for call in calls:
        values = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
        found.append((ast.unparse(call.func), json.dumps(values)))
    return found
