"""The description of the server in OpenAPI, from the bodies that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from espalier.serving.http.messages import ROLES
from espalier.serving.http.request_fields import Chat, Completions, Strict

_PART: dict[str, Any] = {
    "type": "object",
    "properties": {"type": {"enum": ["text", "input_text"]}, "text": {"type": "string"}},
    "required": ["type", "text"],
    "additionalProperties": False,
}
_CONTENT: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": _PART}]}
_CALL: dict[str, Any] = {
    "type": "object",
    "properties": {"function": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
    "required": ["function"],
}
_NAMES = ("name", "tool_call_id", "reasoning", "reasoning_content")
_LEFT = ("refusal", "annotations", "function_call")  # of our own answers, sent back empty


def _message(roles: Sequence[str], calls: dict[str, Any], content: dict[str, Any], *required: str) -> dict[str, Any]:
    members: dict[str, Any] = {key: {"type": ["string", "null"]} for key in _NAMES} | {
        key: {"enum": [None, "", []]} for key in _LEFT
    }
    members |= {"role": {"enum": list(roles)}, "content": content, "tool_calls": calls}
    return {"type": "object", "properties": members, "required": ["role", *required], "additionalProperties": False}


_NO_CALLS: dict[str, Any] = {"enum": [None, []]}
_CALLS: dict[str, Any] = {"type": "array", "items": _CALL, "minItems": 1}
_MESSAGE: dict[str, Any] = {  # what `messages_of` takes
    "anyOf": [
        _message(ROLES, _NO_CALLS, _CONTENT, "content"),
        _message(["assistant"], _CALLS, {"anyOf": [{"type": "null"}, *_CONTENT["anyOf"]]}, "tool_calls"),
    ]
}
_ONE: list[dict[str, Any]] = [
    {"type": "string", "minLength": 1},
    {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
]
_PROMPT: dict[str, Any] = {"anyOf": [*_ONE, *({"type": "array", "items": one, "minItems": 1} for one in _ONE)]}

_NULL: dict[str, Any] = {"type": "null"}


def _with(name: str, value: Any, other: str, without: Any = _NULL) -> dict[str, Any]:
    given = {"required": [name], "properties": {name: value}}
    return {"anyOf": [given, {"properties": {other: without}}]}


_STREAMED = _with("stream", {"const": True}, "stream_options")
_CHAT: dict[str, Any] = {  # that a request has one constraint, and what a grammar is, is not said here
    "allOf": [
        _STREAMED,
        _with("logprobs", {"const": True}, "top_logprobs"),
        _with("tools", {"type": "array", "minItems": 1}, "tool_choice", {"enum": [None, "none", "auto"]}),
    ]
}
_COMPLETIONS: dict[str, Any] = {"allOf": [_STREAMED]}
WITH_MESSAGES = ("add_generation_prompt", "continue_final_message", "chat_template_kwargs", "tools")  # of /tokenize
_TOKENIZE: dict[str, Any] = {
    "oneOf": [
        {
            "required": ["prompt"],
            "properties": {"prompt": {"type": "string"}, **dict.fromkeys(("messages", *WITH_MESSAGES), _NULL)},
        },
        {
            "required": ["messages"],
            "properties": {"messages": {"type": "array"}, **dict.fromkeys(("prompt", "add_special_tokens"), _NULL)},
        },
    ]
}
_TOGETHER = {  # fields that go together
    "/v1/chat/completions": _CHAT,
    "/v1/chat/completions/input_tokens": _CHAT,
    "/v1/completions": _COMPLETIONS,
    "/tokenize": _TOKENIZE,
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_STATUSES = ("400", "401", "404", "405", "408", "413", "422", "429", "500", "501", "503")


def openapi(tokenize: type[Strict], detokenize: type[Strict], keys: bool, tokens: int | None = None) -> dict[str, Any]:
    """OpenAPI 3.1, with the schema of every body, for a model of so many tokens where that is known.

    >>> sorted(openapi(Chat, Chat, False)["paths"])[0]
    '/detokenize'
    """
    import espalier

    schemas: dict[str, Any] = {"Error": _ERROR}
    bodies: dict[str, type[Strict]] = {
        "/v1/chat/completions": Chat,
        "/v1/completions": Completions,
        "/v1/chat/completions/input_tokens": Chat,
        "/tokenize": tokenize,
        "/detokenize": detokenize,
    }
    paths: dict[str, Any] = {}
    for path, body in bodies.items():
        schema = body.model_json_schema(ref_template="#/components/schemas/{model}")
        _describe(schema, path)
        if tokens is not None:
            _bound(schema, tokens)
        schemas |= schema.pop("$defs", {}) | {body.__name__: schema}
        content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
        if path in ("/v1/chat/completions", "/v1/completions"):
            content["text/event-stream"] = {"schema": {}}  # its events are chunks
        reference = {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}
        asked = {"required": True, "content": {"application/json": reference}}
        paths[path] = {"post": {"requestBody": asked, "responses": _responses(content)}}
    for path in ("/v1/models", "/version", "/props", "/openapi.json", "/health", "/ready"):
        paths[path] = {"get": {"responses": _responses({"application/json": {"schema": {"type": "object"}}})}}
    name = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    found = _responses({"application/json": {"schema": {"type": "object"}}})
    paths["/v1/models/{id}"] = {"get": {"parameters": [name], "responses": found}}
    paths["/metrics"] = {"get": {"responses": _responses({"text/plain": {"schema": {"type": "string"}}})}}
    made = {
        "openapi": "3.1.0",
        "info": {"title": "Espalier", "version": espalier.__version__},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }
    return made | ({"security": [{"key": []}]} if keys else {})


def _describe(schema: dict[str, Any], path: str) -> None:
    """Puts in what messages and prompts are, and which fields go together."""
    schema |= deepcopy(_TOGETHER.get(path, {}))
    fields = schema["properties"]
    if "messages" in fields:
        said = {"type": "array", "items": deepcopy(_MESSAGE), "minItems": 1}
        fields["messages"] = said if path != "/tokenize" else {"anyOf": [said, _NULL]}
    if path == "/v1/completions":
        fields["prompt"] = deepcopy(_PROMPT)


def _bound(schema: Any, tokens: int) -> None:
    """Lists of numbers are of tokens of the model, and so are the names under `logit_bias`."""
    if isinstance(schema, list):
        for each in schema:
            _bound(each, tokens)
    elif isinstance(schema, dict):
        if schema.get("type") == "array" and schema.get("items", {}).get("type") == "integer":
            schema["items"]["maximum"] = tokens - 1
        if "logit_bias" in schema:
            schema["logit_bias"]["anyOf"][0]["propertyNames"] = {"pattern": f"^{below(tokens)}$"}
        for each in schema.values():
            _bound(each, tokens)


def below(number: int) -> str:
    """A pattern of the whole numbers from 0 to below `number`.

    >>> import re
    >>> [bool(re.fullmatch(below(120), text)) for text in ("0", "119", "120", "99", "200")]
    [True, True, False, True, False]
    """
    digits = str(number)
    ways = [f"[0-9]{{1,{len(digits) - 1}}}"] if len(digits) > 1 else []
    for at, digit in enumerate(digits):
        least = int(at == 0 and len(digits) > 1)
        if int(digit) > least:
            rest = len(digits) - at - 1
            ways.append(digits[:at] + f"[{least}-{int(digit) - 1}]" + (f"[0-9]{{{rest}}}" if rest else ""))
    return f"({'|'.join(ways)})"


def _responses(content: dict[str, Any]) -> dict[str, Any]:
    error = {"description": "an error", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    return {"200": {"description": "the answer", "content": content}, **dict.fromkeys(_STATUSES, error)}
