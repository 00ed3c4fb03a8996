"""The guide of the calls of tools that a model writes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from espalier.constraints.choices import choices
from espalier.constraints.guide import Guide
from espalier.constraints.limits import Limits
from espalier.constraints.regex import regex
from espalier.constraints.schema.json_schema import JsonGuide, json_schema
from espalier.constraints.schema.schema import Schema
from espalier.constraints.schema.tool_forms import tools_of
from espalier.constraints.special import token
from espalier.constraints.tags import Tag, tags
from espalier.constraints.tool_call_formats import CALL_ID, FORMATS, CallFormat, either, messages, spelt
from espalier.errors import require

_ARGUMENTS = "espalier:arguments"


def tool_calls(
    tools: Any,
    begin: str | None = None,
    end: str | None = None,
    *,
    format: str = "hermes",
    most: int | None = None,
    tokens: Collection[str] = (),
    alone: bool = False,
    parallel: bool = True,
    **options: Any,
) -> Guide:
    """The guide of free text with tool calls.

    `tools` is a mapping of names to what describes the arguments (a JSON Schema, a function, a Pydantic model), or a list of
    functions, or of OpenAI's, MCP's or Anthropic's tool objects. `format` is one of `tool_call_formats.FORMATS`: "hermes" (also
    Qwen's), "mistral", "mistral-args", "llama3", "llama3-pythonic", "harmony", "json"; `begin` and `end` are others around
    Hermes' object. Members of a call come in any order, blanks between them; names are spelled as JSON spells them.

    `tokens` are the special tokens of the vocabulary by name: what a format writes with one of them (`[TOOL_CALLS]`,
    `<|channel|>`) is then that token and no text; without them it is text.
    `alone`: calls and nothing else (in Harmony's format, thoughts before the call); without `parallel` there is one at most.
    `at_least_one=True` demands a call; with `most` at most so many characters of free text come before it.
    Other `options` are those of `tags`. Errors: `InvalidInput`, which names the tool.

    >>> guide = tool_calls({"add": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}})
    >>> guide.matches(b'Sure. <tool_call>\\n{"name": "add", "arguments": {"a": 1}}\\n</tool_call>')
    True
    >>> guide.advance(guide.start(), b'<tool_call>\\n{"name": "sub') is None
    True
    """
    require(format in FORMATS, f"format={format!r}: write one of {', '.join(map(repr, FORMATS))}")
    limits, shape = options.get("limits"), FORMATS[format]
    begin = shape.begin if begin is None else begin.rstrip()
    end = shape.end if end is None else end.lstrip()
    known = frozenset(tokens)
    calls = [_call(name, schema, shape, format, known, limits) for name, schema in tools_of(tools, limits).items()]
    demanded = alone or bool(options.get("at_least_one"))
    if format == "harmony" and (alone or "<|channel|>" in known):
        return messages(calls, known, demanded, most)
    if not begin or shape.listed or shape.arguments is None:
        return _at_once(calls, begin, end, shape, known, demanded, parallel)
    blanks = regex(r"[ \n]{0,2}" if not shape.named else "")
    contents = [blanks + call + blanks for call in calls]
    region = spelt(begin, known) + either(contents) + spelt(end, known)
    if alone:
        return region + (regex(r"\n?" if end else "") + region).repeat() if parallel else region
    if begin in known:  # free text holds no such token
        free = regex("(?s:.*)" if most is None or not demanded else f"(?s:.{{0,{most}}})")
        further = (regex("(?s:.*)") + region).repeat(0, None if parallel else 0 if demanded else 1)
        return (free + region if demanded else choices([""])) + further + regex("(?s:.*)")
    regions = [Tag(begin, content, end) for content in contents]
    triggers = options.pop("triggers", [begin])
    options |= {} if parallel else {"stop_after_first": True}
    guide: Guide = tags(regions, triggers, **options)
    if demanded and most is not None:
        before = regex(f"(?s:.{{0,{most}}})") & ~regex(f"(?s:.*){re.escape(begin)}(?s:.*)")
        rest = tags(regions, triggers, **{k: v for k, v in options.items() if k != "at_least_one"})
        guide = before + choices([begin]) + either(contents) + choices([end]) + rest
    return guide


def _at_once(
    calls: Sequence[Guide], begin: str, end: str, shape: CallFormat, known: frozenset[str], demanded: bool, parallel: bool
) -> Guide:
    """Calls of formats that write them at once: in a list, or one that is the text."""
    one = either(calls)
    whole = _listed(one, begin, end, shape, known, parallel) if shape.listed or shape.arguments is None else one
    if shape.opener in known:
        whole = (token(shape.opener) | choices([""])) + whole
    if demanded:
        return whole
    if shape.listed:  # free text may come first
        free = regex("(?s:.*)") if begin in known else ~regex(f"(?s:.*){re.escape(begin)}(?s:.*)")
        return free + (whole | choices([""]))
    return whole | regex(r"(?![ \t\r\n]*\{).*(?s:.*)" if not begin else f"(?!{re.escape(begin)}).*(?s:.*)")


def _call(
    name: str, schema: Schema, shape: CallFormat, format: str, known: frozenset[str], limits: Limits | None = None
) -> Guide:
    if shape.arguments is None:
        return _python_call(name, schema, limits)
    registry = {**schema.registry, _ARGUMENTS: schema.text}
    if format == "harmony" or shape.named:
        body = json_schema({"$ref": _ARGUMENTS}, registry=registry, numbers="plain", limits=limits)
        heads = (f"{name} <|constrain|>json<|message|>", f"{name}<|message|>", f"{name} json<|message|>")
        if shape.named:
            id = spelt(CALL_ID, known) + regex("[a-zA-Z0-9]{9}")
            return choices([name]) + (choices([""]) | id) + spelt(shape.named, known) + body
        return either([spelt(head, known) for head in heads]) + body
    return _json_call(name, registry, shape.arguments, limits)


def _json_call(name: str, registry: Mapping[str, Any], arguments: str, limits: Limits | None) -> JsonGuide:
    whole = {
        "type": "object",
        "properties": {"name": {"const": name}, arguments: {"$ref": _ARGUMENTS}},
        "required": ["name", arguments],
        "additionalProperties": False,
    }
    return json_schema(whole, registry=registry, numbers="plain", limits=limits)


def _python_call(name: str, schema: Schema, limits: Limits | None) -> Guide:
    """`name(argument=value, …)`: the arguments in the order of the schema, their values written as Python writes them."""
    plain = schema.plain
    names = list(plain.get("properties", {}))
    required = set(plain.get("required", ()))
    root = {**schema.registry, _ARGUMENTS: schema.text}

    def value(member: str) -> Guide:
        pointer = member.replace("~", "~0").replace("/", "~1")
        given = json_schema({"$ref": f"{_ARGUMENTS}#/properties/{pointer}"}, registry=root, numbers="plain", limits=limits)
        plainly = given & ~regex("true|false|null")
        found: Guide = plainly
        for ours, theirs in (("true", "True"), ("false", "False"), ("null", "None")):
            if given.matches(ours.encode()):
                found = found | choices([theirs])
        return found

    guide: Guide | None = None
    rest: Guide = choices([""])
    for member in reversed(names):
        part = choices([f"{member}="]) + value(member)
        follow = choices([", "]) + part + rest
        guide = part + rest if guide is None or member in required else (part + rest) | guide
        rest = follow if member in required else follow | rest
    body = guide if guide is not None and required else (guide | choices([""])) if guide is not None else choices([""])
    return choices([f"{name}("]) + body + choices([")"])


def _listed(one: Guide, begin: str, end: str, shape: CallFormat, known: frozenset[str], parallel: bool) -> Guide:
    inner = one + (regex(", ?") + one).repeat(0, 15) if parallel else one
    if shape.arguments is None:
        return choices([begin]) + inner + choices([end])
    return spelt(begin, known) + regex(" ?") + choices(["["]) + inner + choices(["]"])
