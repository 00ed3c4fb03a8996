"""Tools in the forms that people have them: each has a name, a schema of its arguments, and a description."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from espalier.constraints.limits import Limits
from espalier.constraints.schema.json_schema import json_schema
from espalier.constraints.schema.schema import Schema
from espalier.constraints.schema.vendor_tools import is_vendor_tool, vendor_tools
from espalier.errors import InvalidInput, require

__all__ = ["signatures", "told", "tools_of", "tools_text"]

_NONE: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
_PLACES = ("parameters", "inputSchema", "input_schema")
_FORMS = (
    "write {name: schema or function}, a list of functions, or of OpenAI's ({'type': 'function', 'function': {…}}), MCP's "
    "({'name', 'inputSchema'}), Anthropic's ({'name', 'input_schema'}), Gemini's ({'function_declarations': […]}) or "
    "Bedrock's ({'toolSpec': {…}}) objects"
)


class _Form(NamedTuple):
    """A tool: its name, what describes its arguments, and what it says of itself."""

    name: Any
    parameters: Any
    description: str = ""


def tools_of(tools: Any, limits: Limits | None = None) -> dict[str, Schema]:
    """The schema of each tool's arguments by its name, from any of the forms that people have.

    A tool without parameters (missing, None or {}) takes `{}`. Errors: `InvalidInput`, which names the tool.

    >>> sorted(tools_of([{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}, {"name": "now"}]))
    ['add', 'now']
    """
    return {name: schema for name, (schema, _) in _read(tools, limits).items()}


def told(tools: Any) -> list[dict[str, Any]]:
    """The tools as chat templates read them: OpenAI's objects.

    >>> told([{"name": "now", "description": "The time"}])[0]["function"]["description"]
    'The time'
    """
    return [
        {"type": "function", "function": {"name": name, "description": description, "parameters": schema.plain}}
        for name, (schema, description) in _read(tools).items()
    ]


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


def _read(tools: Any, limits: Limits | None = None) -> dict[str, tuple[Schema, str]]:
    """The schema and the description of each tool by its name."""
    forms = _forms(tools)
    require(bool(forms), f"no tools: {_FORMS}")
    found: dict[str, tuple[Schema, str]] = {}
    for name, parameters, description in forms:
        require(isinstance(name, str) and name != "", f"a tool is named {name!r}; a name is a text that is not empty")
        require(name not in found, f"tool {name!r} is there twice; a call could not say which one it means")
        try:
            schema = _arguments(parameters, limits)
            json_schema(schema, limits=limits)
        except InvalidInput as error:
            raise InvalidInput(f"tool {name!r}: {error}") from error
        found[name] = schema, description
    return found


def _forms(tools: Any) -> list[_Form]:
    """The tools one by one, whatever holds them."""
    if isinstance(tools, Mapping) and not _is_tool(tools):
        return [_member(name, value) for name, value in tools.items()]
    one = isinstance(tools, Mapping) or callable(tools) or hasattr(tools, "model_dump")
    require(one or (isinstance(tools, Iterable) and not isinstance(tools, str | bytes)), f"tools={tools!r}: {_FORMS}")
    return [_form(part) for tool in ([tools] if one else tools) for part in vendor_tools(tool)]


def _member(name: Any, value: Any) -> _Form:
    """A tool under its name in a mapping."""
    if _is_tool(value) or _is_dumped(value) or _is_langchain(value):
        found = vendor_tools(value)
        require(len(found) == 1, f"tool {name!r} holds {len(found)} tools; give each its own name, or a list of them")
        return _form(found[0])._replace(name=name)
    return _Form(name, _arguments_of(value) if callable(value) else value, _documentation(value) if callable(value) else "")


def _form(tool: Any) -> _Form:
    """One tool that has its name with it: an object of some vendor, a function, a class, an object that can be called."""
    if _is_langchain(tool):
        said = f"tool {tool.name!r} has no args_schema; give the class or the schema of its arguments"
        require(tool.args_schema is not None, said)
        return _Form(tool.name, tool.args_schema, str(getattr(tool, "description", "")))
    if _is_dumped(tool):  # MCP's and OpenAI's packages have classes for tools
        tool = _dumped(tool)
    if isinstance(tool, Mapping):
        inner = tool["function"] if isinstance(tool.get("function"), Mapping) else tool
        known = _is_tool(tool) and isinstance(inner.get("name"), str)
        require(known, f"the tool {dict(tool)!r:.200} has no name: {_FORMS}")
        parameters = next((inner[place] for place in _PLACES if place in inner), None)
        return _Form(inner["name"], parameters, str(inner.get("description") or ""))
    require(callable(tool), f"the tool {tool!r:.200}: {_FORMS}")
    inner = tool.func if isinstance(tool, functools.partial) else tool
    name = next(name for part in (tool, inner, type(inner)) if (name := getattr(part, "__name__", None)))
    return _Form(name, _arguments_of(tool), _documentation(tool))


def _is_tool(value: Any) -> bool:
    """Whether a mapping is a tool object of some vendor, and not a schema."""
    if not isinstance(value, Mapping):
        return False
    if is_vendor_tool(value):
        return True
    inner = value.get("function") if value.get("type") == "function" else None
    if isinstance(inner, Mapping):
        return True
    named = isinstance(value.get("name"), str)
    return named and ("properties" not in value) and not isinstance(value.get("type"), list) and value.get("type") != "object"


def _is_dumped(value: Any) -> bool:
    """Whether it is an object of a Pydantic class, and not the class."""
    return hasattr(value, "model_dump") and not isinstance(value, type) and not callable(value)


def _is_langchain(value: Any) -> bool:
    """Whether it is a tool of LangChain's kind, which knows its name and the class of its arguments."""
    return isinstance(getattr(value, "name", None), str) and hasattr(value, "args_schema")


def _dumped(tool: Any) -> Any:
    """What a Pydantic object holds."""
    try:
        return tool.model_dump(exclude_none=True, by_alias=True)
    except Exception as error:  # of a stranger's class
        what = f"the tool {type(tool).__name__} cannot be read: {type(error).__name__}: {error!s:.200}; give a dict"
        raise InvalidInput(what) from error


def _arguments_of(tool: Any) -> Any:
    """What has the signature of the arguments: of an object that can be called, its `__call__`."""
    if isinstance(tool, functools.partial):
        return functools.partial(_arguments_of(tool.func), *tool.args, **tool.keywords)
    return tool if isinstance(tool, type) or hasattr(tool, "__name__") else tool.__call__


def _documentation(tool: Any) -> str:
    """What a function says of itself, or the `__call__` of an object."""
    if isinstance(tool, functools.partial):
        return _documentation(tool.func)
    said = getattr(tool, "__doc__", None) or getattr(_arguments_of(tool), "__doc__", None)
    return " ".join(str(said).split()) if said else ""


def _arguments(parameters: Any, limits: Limits | None) -> Schema:
    """The schema of arguments, which are an object whatever describes them."""
    if parameters is None or (isinstance(parameters, Mapping) and not parameters):
        return Schema(_NONE)
    schema = Schema(parameters)
    if isinstance(schema.given, str | bytes):
        json_schema(schema, limits=limits)  # says what is wrong with a text
    plain = schema.plain
    require(plain is not False, "its arguments are False, which no call can satisfy; write {} for a tool that takes none")
    said = None if plain is True else plain.get("type")
    require(
        said in (None, "object") or (isinstance(said, list) and "object" in said),
        f"its arguments are of type {said!r}, but the arguments of a call are an object; write the schema of that object",
    )
    if schema.type is not None:
        return schema
    return Schema({"type": "object"} if plain is True else {**plain, "type": "object"}, registry=schema.registry)
