"""What messages and prompts are and which fields go together, as JSON Schema, for the description of the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
_LEFT = ("refusal", "annotations", "audio", "function_call")  # of our own answers, sent back empty


def _message(roles: Sequence[str], calls: dict[str, Any], content: dict[str, Any], *required: str) -> dict[str, Any]:
    members: dict[str, Any] = {key: {"type": ["string", "null"]} for key in _NAMES} | {
        key: {"enum": [None, "", []]} for key in _LEFT
    }
    members |= {"role": {"enum": list(roles)}, "content": content, "tool_calls": calls}
    return {"type": "object", "properties": members, "required": ["role", *required], "additionalProperties": False}


ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_NO_CALLS: dict[str, Any] = {"enum": [None, []]}
_CALLS: dict[str, Any] = {"type": "array", "items": _CALL, "minItems": 1}
MESSAGE: dict[str, Any] = {  # what `messages_of` takes
    "anyOf": [
        _message(ROLES, _NO_CALLS, _CONTENT, "content"),
        _message(["assistant"], _CALLS, {"anyOf": [{"type": "null"}, *_CONTENT["anyOf"]]}, "tool_calls"),
    ]
}
_ONE: list[dict[str, Any]] = [
    {"type": "string", "minLength": 1},
    {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
]
PROMPT: dict[str, Any] = {"anyOf": [*_ONE, *({"type": "array", "items": one, "minItems": 1} for one in _ONE)]}

_NULL: dict[str, Any] = {"type": "null"}


def _with(name: str, value: Any, other: str, without: Any = _NULL) -> dict[str, Any]:
    given = {"required": [name], "properties": {name: value}}
    return {"anyOf": [given, {"properties": {other: without}}]}


_STREAMED = _with("stream", {"const": True}, "stream_options")
CHAT: dict[str, Any] = {  # that a request has one constraint, and what a grammar is, is not said here
    "allOf": [
        _STREAMED,
        _with("logprobs", {"const": True}, "top_logprobs"),
        _with("tools", {"type": "array", "minItems": 1}, "tool_choice", {"enum": [None, "none", "auto"]}),
    ]
}
COMPLETIONS: dict[str, Any] = {"allOf": [_STREAMED]}
