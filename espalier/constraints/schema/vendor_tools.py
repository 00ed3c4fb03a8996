"""Tools of Gemini's and Bedrock's APIs, told in OpenAI's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LISTS = ("function_declarations", "functionDeclarations")
_TYPES = frozenset(["STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"])


def is_vendor_tool(value: Any) -> bool:
    """Whether it is an object in which Gemini or Bedrock holds tools."""
    return isinstance(value, Mapping) and (_declarations(value) is not None or isinstance(value.get("toolSpec"), Mapping))


def vendor_tools(value: Any) -> list[Any]:
    """The tools in such an object, each with its name, description and parameters; any other value alone.

    >>> vendor_tools({"toolSpec": {"name": "now", "inputSchema": {"json": {"type": "object"}}}})
    [{'name': 'now', 'parameters': {'type': 'object'}}]
    >>> [tool] = vendor_tools({"function_declarations": [{"name": "add", "parameters": {"type": "OBJECT"}}]})
    >>> tool["parameters"]
    {'type': 'object'}
    """
    if not is_vendor_tool(value):
        return [value]
    if (declared := _declarations(value)) is not None:
        return [_declared(tool) if isinstance(tool, Mapping) else tool for tool in declared]
    spec = dict(value["toolSpec"])
    given = spec.pop("inputSchema", None)
    return [{**spec, "parameters": given.get("json") if isinstance(given, Mapping) else given}]


def _declarations(value: Mapping[str, Any]) -> list[Any] | None:
    return next((value[name] for name in _LISTS if isinstance(value.get(name), list)), None)


def _declared(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A declaration of Gemini's, whose schemas write types in capitals and `nullable` for null."""
    found = dict(tool)
    for name in ("parametersJsonSchema", "parameters_json_schema"):
        if name in found:
            found["parameters"] = found.pop(name)
            return found
    return {**found, "parameters": _plain(found.get("parameters"))}


def _plain(schema: Any) -> Any:
    """A schema of Gemini's as JSON Schema."""
    if not isinstance(schema, Mapping):
        return schema
    found = {name: value for name, value in schema.items() if name not in ("nullable", "propertyOrdering", "property_ordering")}
    kind = found.get("type")
    if isinstance(kind, str) and kind.upper() in _TYPES:
        found["type"] = [kind.lower(), "null"] if schema.get("nullable") is True else kind.lower()
        if schema.get("nullable") is True and isinstance(found.get("enum"), list):
            found["enum"] = [*found["enum"], None]
    if isinstance(found.get("properties"), Mapping):
        found["properties"] = {name: _plain(value) for name, value in found["properties"].items()}
    if "items" in found:
        found["items"] = _plain(found["items"])
    for name in ("anyOf", "any_of"):
        if isinstance(found.get(name), list):
            found["anyOf"] = [_plain(part) for part in found.pop(name)]
    return found
