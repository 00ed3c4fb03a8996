"""What people pass in a schema's place: a schema in a wrapper, a document that holds schemas, a schema that says nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from espalier.constraints.schema.keywords import ANNOTATIONS, KEYWORDS
from espalier.errors import InvalidInput

_LOOKED_AT = 2_000  # parts of a schema that are asked whether they say anything
_TOOLS = ("parameters", "inputSchema", "input_schema")
_WRAPPERS = {"type", "name", "schema", "strict", "description"}


def unwrapped(schema: Mapping[str, Any]) -> Any:
    """The schema that stands in a wrapper, where it is plain which; a schema as it is.

    Errors: `InvalidInput` for what is known to be no schema (an OpenAPI document, a tool). A warning names a part that says
    nothing of a value though it was meant to: members without `properties`, definitions that nothing refers to.

    >>> unwrapped({"name": "n", "strict": True, "schema": {"type": "integer"}})
    {'type': 'integer'}
    """
    named = schema.get("type") == "json_schema"
    if named and isinstance(schema.get("json_schema"), Mapping):
        return unwrapped(schema["json_schema"])
    if isinstance(schema.get("schema"), (Mapping, bool)) and schema.keys() <= (_WRAPPERS if named else _WRAPPERS - {"type"}):
        return schema["schema"]
    if ("openapi" in schema or "swagger" in schema) and not _says_something(schema):
        place = "definitions" if "swagger" in schema else "components/schemas"
        raise InvalidInput(
            f"this is an OpenAPI document, not a schema; pass {{'$ref': 'api#/{place}/NAME'}} with registry={{'api': it}}"
        )
    function = schema.get("function") if schema.get("type") == "function" else schema
    if isinstance(function, Mapping) and isinstance(function.get("name"), str):
        place = next((p for p in _TOOLS if isinstance(function.get(p), Mapping)), "")
        if place:
            raise InvalidInput(
                f"this is a tool, not a schema; pass what stands under {place!r}, or use es.constraints.tool_calls"
            )
    for where, why in silent(schema):
        at = "" if where == "#" else f"{where}: "
        warnings.warn(at + why, stacklevel=5)
        break
    return schema


def silent(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The parts of a schema that say nothing of a value though they seem to be meant to, and why.

    >>> list(silent({"properties": {"a": {"b": {"type": "integer"}}}}))[0][0]
    '#/properties/a'
    """
    todo: list[tuple[Any, str, Any]] = [(None, "#", schema)]  # the part above, the name there, the part
    for _ in range(_LOOKED_AT):
        if not todo:
            return
        here = todo.pop()
        part = here[2]
        if "$ref" in part:
            continue
        if not part.keys() <= _PLAINLY_KNOWN and (why := _silence(part)):
            yield _place(here), why
        for name in ("properties", "$defs", "definitions"):
            if name in part and _object(inner := part[name]):
                above = here, name, inner
                todo += [(above, key, value) for key, value in inner.items() if _object(value)]
        todo += [(here, name, part[name]) for name in ("items", "additionalProperties") if name in part and _object(part[name])]


def _place(here: Any) -> str:
    names = []
    while here:
        here, name, _ = here
        names.append(name)
    return "/".join(reversed(names))


_PLAIN = (type(None), bool, int, float, str, list)


def _object(value: Any) -> bool:
    return type(value) is dict or (not isinstance(value, _PLAIN) and isinstance(value, Mapping))


def _silence(part: Mapping[str, Any]) -> str:
    if not _SPEAKS.isdisjoint(part):
        return ""
    strange = [name for name in part if not _keyword(name)]
    members = [name for name in strange if isinstance(part[name], Mapping)]
    if strange and (members or not any(map(_keyword, part))):
        names = ", ".join(map(repr, (members or strange)[:5]))
        return (
            f"{names} are no keywords of JSON Schema, so they say nothing of a value; "
            "if they are members of an object write {'type': 'object', 'properties': {…}}"
        )
    kept = next((name for name in ("$defs", "definitions") if isinstance(part.get(name), Mapping) and part[name]), None)
    if kept and not any(_says(name) for name in part):
        return (
            f"{kept!r} alone says nothing of a value; write {{'$ref': '#/{kept}/{next(iter(part[kept]))}', {kept!r}: {{…}}}} "
            "for one of them"
        )
    return ""


def _keyword(name: str) -> bool:
    return name in KEYWORDS or name in _OPENAPI or name.startswith(("x-", "$"))


_OPENAPI = {"example", "nullable", "xml", "externalDocs"}  # of its schemas; they say nothing here


_SILENT = {*ANNOTATIONS, "$defs", "definitions", "$schema", "$id", "id", "$comment", "$anchor", "$dynamicAnchor", "$vocabulary"}


_PLAINLY_KNOWN = {*KEYWORDS, *_OPENAPI} - {"$defs", "definitions"}  # a part of these alone is no mistake


_SPEAKS = frozenset(KEYWORDS) - _SILENT - {"type"}


def _says(name: str) -> bool:
    return name in KEYWORDS and name not in _SILENT


def _says_something(schema: Mapping[str, Any]) -> bool:
    return any(_says(name) for name in schema)
