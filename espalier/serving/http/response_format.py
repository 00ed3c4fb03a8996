"""What a body says of the form of its answer, as one guide."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from espalier import constraints
from espalier.constraints import Guide, Limits, Tag
from espalier.constraints.tool_call_formats import messages
from espalier.serving.http.failure import wrong
from espalier.serving.http.request_fields import Chat, Format, Shared, Structured
from espalier.serving.http.tool_stream import tool_guide

Make = Callable[[], Guide]


def guide_of(
    body: Shared,
    limits: Limits,
    around: Callable[[Guide], Guide] | None = None,
    format: str | None = None,
    tokens: Collection[str] = (),
) -> dict[str, Any]:
    """The options of `lm.generate` that constrain a body's texts; none for free text. Raises `Failure` for two constraints.

    A schema becomes `schema=`, all else a guide in `constraint=`, which `around` puts into what stands around it. A call that
    must be is finished in time, as a text under a schema is. With tools and a format an answer is either of that format, or
    calls, which are written as `format` says with these special `tokens`.
    """
    named = [(name, make) for name, make in _named(body, limits) if make is not None]
    if len(named) > 1:
        names = " and ".join(name for name, _ in named)
        raise wrong(f"{names} were given, but a request has one constraint; leave one of them out", named[1][0])
    guide = _made(*named[0]) if named else None
    if guide is not None and format == "harmony":
        guide = messages([], tokens, False, None, guide)
    elif guide is not None and around is None and (plain := _schema_of(body)) and not (isinstance(body, Chat) and body.tools):
        return {"schema": plain[0]}
    guide = _with_tools(
        body, guide, named[0][0] if named else "", partial(tool_guide, limits=limits, format=format or "hermes", tokens=tokens)
    )
    if guide is None:
        return {}
    called = isinstance(body, Chat) and body.tools and body.tool_choice not in (None, "auto", "none")
    return {"constraint": guide if around is None else around(guide)} | ({"in_time": "try"} if called else {})


def _schema_of(body: Shared) -> tuple[Any] | None:
    """The schema that is the whole constraint of a body."""
    given, structured = body.response_format, body.structured_outputs
    if body.json_schema is not None:
        return (body.json_schema,)
    if given is not None and given.type == "json_object":
        return ({"type": "object"},)
    if given is not None and given.json_schema is not None:
        return (given.json_schema.schema_,)
    if structured is not None and not structured.disable_any_whitespace:
        if structured.json_ is not None:
            return (structured.json_,)
        return ({"type": "object"},) if structured.json_object else None
    return None


def _with_tools(body: Shared, guide: Guide | None, name: str, made: Callable[..., Guide | None]) -> Guide | None:
    tools = body.tools if isinstance(body, Chat) else None
    if isinstance(body, Chat) and tools:
        choice, parallel = body.tool_choice, body.parallel_tool_calls is not False
        if guide is None:
            return made(tools, choice, parallel)
        if choice in (None, "auto"):
            called = made(tools, "required", parallel)
            assert called is not None
            return guide | called
        if choice != "none":
            raise wrong(f"tool_choice asks for a call, but {name} for another form; leave one of them out", "tool_choice")
    elif isinstance(body, Chat) and body.tool_choice not in (None, "none", "auto"):
        raise wrong("tool_choice was given without tools; add tools, or leave it out", "tool_choice")
    return guide


def _made(name: str, make: Make) -> Guide:
    try:
        return make()
    except ValueError as error:
        raise wrong(f"{name}: {error}", name) from error


def _named(body: Shared, limits: Limits) -> list[tuple[str, Make | None]]:
    return [
        ("response_format", None if body.response_format is None else _format(body.response_format, limits)),
        ("structured_outputs", None if body.structured_outputs is None else _structured(body.structured_outputs, limits)),
        ("grammar", None if body.grammar is None else lambda: constraints.cfg(body.grammar or "", limits=limits)),
        ("ebnf", None if body.ebnf is None else lambda: constraints.cfg(body.ebnf or "", limits=limits)),
        ("regex", None if body.regex is None else lambda: constraints.regex(body.regex or "", limits=limits)),
        ("json_schema", None if body.json_schema is None else lambda: schema(body.json_schema, limits)),
    ]


def schema(given: Any, limits: Limits, **options: Any) -> Guide:
    """The guide of a schema, as `lm.generate(schema=…)` makes it."""
    return constraints.json_schema(given, numbers="plain", limits=limits, **options)


_PARTS = {"json_schema": ("json_schema",), "structural_tag": ("structures", "triggers", "format")}  # what goes with a type


def _format(given: Format, limits: Limits) -> Make | None:
    strange = [name for name in given.model_dump(exclude_none=True) if name not in ("type", *_PARTS.get(given.type, ()))]
    if strange:
        said = f"response_format of type {given.type} has no {strange[0]}; leave it out, or write the type that has it"
        raise wrong(said, f"response_format.{strange[0]}")
    if given.type == "text":
        return None
    if given.type == "json_object":
        return lambda: schema({"type": "object"}, limits)
    if given.type == "json_schema":
        inner = given.json_schema
        if inner is None or inner.schema_ is None:
            raise wrong(
                "response_format of type json_schema has no json_schema.schema; put the schema there", "response_format"
            )
        return lambda: schema(inner.schema_, limits)
    return lambda: structural(given.model_dump(exclude_none=True), limits)


def _structured(given: Structured, limits: Limits) -> Make | None:
    space = {"whitespace": "compact"} if given.disable_any_whitespace else {}
    made: dict[str, Make] = {}
    if given.json_ is not None:
        made["json"] = lambda: schema(given.json_, limits, **space)
    if given.json_object:
        made["json_object"] = lambda: schema({"type": "object"}, limits, **space)
    if given.regex is not None:
        made["regex"] = lambda: constraints.regex(given.regex or "", limits=limits)
    if given.choice is not None:
        made["choice"] = lambda: constraints.choices(given.choice or [], limits=limits)
    if given.grammar is not None:
        made["grammar"] = lambda: constraints.cfg(given.grammar or "", limits=limits)
    if (tag := given.structural_tag) is not None:
        made["structural_tag"] = lambda: structural(json.loads(tag) if isinstance(tag, str) else tag, limits)
    if len(made) != 1:
        said = " and ".join(made) or "no constraint"
        raise wrong(
            f"structured_outputs holds {said}; write one of json, json_object, regex, choice, grammar, structural_tag",
            "structured_outputs",
        )
    return next(iter(made.values()))


def structural(given: Any, limits: Limits) -> Guide:
    """The guide of a structural tag: `{structures: [{begin, schema, end}], triggers}`, or `{format: …}` as xgrammar has it."""
    if not isinstance(given, dict):
        raise wrong("a structural tag is an object: {structures: […], triggers: […]} or {format: {…}}")
    if isinstance(given.get("format"), dict):
        return _node(given["format"], limits)
    regions = [
        Tag(_text(each, "begin"), schema(each.get("schema", True), limits), _text(each, "end"))
        for each in given.get("structures") or []
    ]
    return constraints.tags(regions, given.get("triggers"), limits=limits)


def _node(node: Any, limits: Limits) -> Guide:
    kind = node.get("type") if isinstance(node, dict) else None
    if kind == "json_schema":
        return schema(node.get("json_schema", True), limits)
    if kind == "const_string":
        return constraints.choices([_text(node, "value")], limits=limits)
    if kind == "regex":
        return constraints.regex(_text(node, "pattern"), limits=limits)
    if kind == "grammar":
        return constraints.cfg(_text(node, "grammar"), limits=limits)
    if kind in ("sequence", "or") and isinstance(node.get("elements"), list) and node["elements"]:
        parts = [_node(each, limits) for each in node["elements"]]
        whole = parts[0]
        for part in parts[1:]:
            whole = whole + part if kind == "sequence" else whole | part
        return whole
    if kind == "tag":
        begin, end = (constraints.choices([_text(node, name)], limits=limits) for name in ("begin", "end"))
        return begin + _node(node.get("content"), limits) + end
    if kind == "triggered_tags":
        regions = [
            Tag(_text(each, "begin"), _node(each.get("content"), limits), _text(each, "end")) for each in node.get("tags") or []
        ]
        once, first = bool(node.get("at_least_one")), bool(node.get("stop_after_first"))
        return constraints.tags(regions, node.get("triggers"), limits=limits, at_least_one=once, stop_after_first=first)
    known = "json_schema, const_string, regex, grammar, sequence, or, tag, triggered_tags"
    raise wrong(f"a structural tag has a part of type {kind!r}; there are {known}", "response_format")


def _text(given: Any, name: str) -> str:
    value = given.get(name) if isinstance(given, dict) else None
    if not isinstance(value, str):
        raise wrong(f"a structural tag has {name}={value!r}; it is to be a text")
    return value
