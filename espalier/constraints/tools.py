"""Tools as people have them, and the guide of the calls that a model writes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from espalier.constraints.choices import choices
from espalier.constraints.guide import Guide
from espalier.constraints.limits import Limits
from espalier.constraints.regex import regex
from espalier.constraints.schema.json_schema import JsonGuide, json_schema
from espalier.constraints.schema.schema import Schema
from espalier.constraints.special import token
from espalier.constraints.tags import Tag, tags
from espalier.constraints.tool_call_formats import FORMATS, CallFormat, either, messages, spelt
from espalier.errors import InvalidInput, require

_NONE: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
_PLACES = ("parameters", "inputSchema", "input_schema")
_FORMS = (
    "write {name: schema or function}, a list of functions, or of OpenAI's ({'type': 'function', 'function': {…}}), MCP's "
    "({'name', 'inputSchema'}) or Anthropic's ({'name', 'input_schema'}) objects"
)
_ARGUMENTS = "espalier:arguments"


def tools_of(tools: Any, limits: Limits | None = None) -> dict[str, Schema]:
    """The schema of each tool's arguments by its name, from any of the forms that people have.

    A tool without parameters (missing, None or {}) takes `{}`. Errors: `InvalidInput`, which names the tool.

    >>> sorted(tools_of([{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}, {"name": "now"}]))
    ['add', 'now']
    """
    if isinstance(tools, Mapping) and not _is_tool(tools):
        named = [(name, _parameters(value) if _is_tool(value) else value) for name, value in tools.items()]
    else:
        listed = [tools] if isinstance(tools, Mapping) or callable(tools) else tools
        require(isinstance(listed, Sequence) and not isinstance(listed, (str, bytes)), f"tools={tools!r}: {_FORMS}")
        named = [_named(tool) for tool in listed]
    require(bool(named), f"no tools: {_FORMS}")
    found: dict[str, Schema] = {}
    for name, parameters in named:
        require(isinstance(name, str) and name != "", f"a tool is named {name!r}; a name is a text that is not empty")
        require(name not in found, f"tool {name!r} is there twice; a call could not say which one it means")
        try:
            found[name] = Schema(_object(parameters))
            json_schema(found[name], limits=limits)
        except InvalidInput as error:
            raise InvalidInput(f"tool {name!r}: {error}") from error
    return found


def told(tools: Any) -> list[dict[str, Any]]:
    """The tools as chat templates read them: OpenAI's objects.

    >>> told([{"name": "now", "description": "The time"}])[0]["function"]["description"]
    'The time'
    """
    described = _described(tools)
    return [
        {"type": "function", "function": {"name": name, "description": described.get(name, ""), "parameters": schema.plain}}
        for name, schema in tools_of(tools).items()
    ]


def _described(tools: Any) -> dict[str, str]:
    listed = tools.values() if isinstance(tools, Mapping) and "name" not in tools and "function" not in tools else tools
    found: dict[str, str] = {}
    for tool in (
        listed if isinstance(listed, Sequence) or (not isinstance(listed, Mapping) and not callable(listed)) else [listed]
    ):
        inner = tool.get("function", tool) if isinstance(tool, Mapping) else tool
        if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):
            found[inner["name"]] = str(inner.get("description") or "")
        elif callable(inner) and getattr(inner, "__doc__", None):
            found[getattr(inner, "__name__", "")] = " ".join(str(inner.__doc__).split())
    return found


def tools_text(tools: Any) -> str:
    """What a system message says of tools, for a model whose chat template shows none: their signatures, and Hermes' calls.

    >>> text = tools_text([{"name": "now", "description": "The time"}])
    >>> text.splitlines()[2][:87]
    '{"type": "function", "function": {"name": "now", "description": "The time", "parameters'
    >>> print(text.split("</tools>")[-1].strip())
    For a call write <tool_call>
    {"name": <function>, "arguments": <object>}
    </tool_call>
    """
    return signatures(told(tools))


def signatures(tools: Sequence[Mapping[str, Any]]) -> str:
    """The same of OpenAI's objects, written as they are."""
    shown = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    return (
        "You may call functions. Their signatures are within <tools></tools>:\n<tools>\n" + shown + "\n</tools>\n"
        'For a call write <tool_call>\n{"name": <function>, "arguments": <object>}\n</tool_call>'
    )


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
    functions, or of OpenAI's, MCP's or Anthropic's tool objects. `format` is one of `call_formats.FORMATS`: "hermes" (also
    Qwen's), "mistral", "llama3", "llama3-pythonic", "harmony", "json"; `begin` and `end` are others around Hermes' object.
    Members of a call come in any order, blanks between them; names are spelled as JSON spells them.

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
    blanks = regex(r"[ \n]{0,2}")
    contents = [blanks + call + blanks for call in calls]
    region = spelt(begin, known) + either(contents) + spelt(end, known)
    if alone:
        return region + (regex(r"\n?") + region).repeat() if parallel else region
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


def _is_tool(value: Any) -> bool:
    """Whether a mapping is a tool object of some vendor, and not a schema."""
    if not isinstance(value, Mapping):
        return False
    inner = value.get("function") if value.get("type") == "function" else None
    if isinstance(inner, Mapping):
        return True
    named = isinstance(value.get("name"), str)
    return named and ("properties" not in value) and not isinstance(value.get("type"), list) and value.get("type") != "object"


def _named(tool: Any) -> tuple[Any, Any]:
    if isinstance(tool, Mapping):
        require(_is_tool(tool), f"the tool {dict(tool)!r:.200} has no name: {_FORMS}")
        inner = tool["function"] if isinstance(tool.get("function"), Mapping) else tool
        require(isinstance(inner.get("name"), str), f"the tool {dict(tool)!r:.200} has no name: {_FORMS}")
        return inner["name"], _parameters(tool)
    name = getattr(tool, "__name__", None) or getattr(getattr(tool, "func", None), "__name__", None)
    require(callable(tool) and name is not None, f"the tool {tool!r:.200}: {_FORMS}")
    return name, tool


def _parameters(tool: Mapping[str, Any]) -> Any:
    inner = tool["function"] if isinstance(tool.get("function"), Mapping) else tool
    return next((inner[place] for place in _PLACES if place in inner), None)


def _object(parameters: Any) -> Any:
    """What describes arguments, which are an object whatever it says."""
    if parameters is None or (isinstance(parameters, Mapping) and not parameters):
        return _NONE
    if isinstance(parameters, Mapping):
        said = parameters.get("type")
        require(
            said in (None, "object") or (isinstance(said, list) and "object" in said),
            f"its arguments are of type {said!r}, but the arguments of a call are an object; write the schema of that object",
        )
        return {**parameters, "type": "object"}
    return parameters


def _call(
    name: str, schema: Schema, shape: CallFormat, format: str, known: frozenset[str], limits: Limits | None = None
) -> Guide:
    if shape.arguments is None:
        return _python_call(name, schema, limits)
    registry = {**schema.registry, _ARGUMENTS: schema.text}
    if format == "harmony":
        body = json_schema({"$ref": _ARGUMENTS}, registry=registry, numbers="plain", limits=limits)
        heads = (f"{name} <|constrain|>json<|message|>", f"{name}<|message|>", f"{name} json<|message|>")
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
