"""Messages of a chat, as the chat template takes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from espalier.constraints.schema.tool_forms import signatures
from espalier.serving.http.failure import Failure, wrong
from espalier.serving.http.request_fields import Tool

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_KNOWN = {"role", "content", "name", "tool_calls", "tool_call_id", "reasoning", "reasoning_content"}
_EMPTY = {"refusal", "annotations", "function_call", "audio"}  # what clients send back of our own answers, without a value
_OTHER = {"image_url", "input_image", "image", "input_audio", "audio", "file", "video_url", "video", "refusal", "input_file"}


def messages_of(given: Sequence[dict[str, Any]], tools: Sequence[Tool] = (), shown: bool = True) -> list[dict[str, Any]]:
    """The messages for the template. Raises `Failure`, naming the place, for one that cannot be.

    `shown`: whether the template shows tools; if not, a system message does.

    >>> messages_of([{"role": "developer", "content": [{"type": "text", "text": "Be kind."}]}])
    [{'role': 'system', 'content': 'Be kind.'}]
    """
    turns = [_message(each, f"messages.{at}") for at, each in enumerate(given)]
    if tools and not shown:
        told = signatures([tool.model_dump(exclude_none=True) for tool in tools])
        if turns[0]["role"] == "system":
            turns[0] = {**turns[0], "content": f"{turns[0]['content']}\n\n{told}"}
        else:
            turns.insert(0, {"role": "system", "content": told})
    return turns


def _message(given: dict[str, Any], place: str) -> dict[str, Any]:
    role = given.get("role")
    if role not in ROLES:
        raise wrong(f"{place}.role was {role!r}; write one of {', '.join(ROLES)}", f"{place}.role")
    for name, value in given.items():
        if name in _KNOWN or (name in _EMPTY and value in (None, "", [])):
            continue
        if name == "audio":
            raise Failure(501, f"{place}.audio is not supported; this server reads and writes texts only", "not_supported")
        raise wrong(f"{place} has {name!r}; a message has {', '.join(sorted(_KNOWN))}", f"{place}.{name}")
    turn: dict[str, Any] = {"role": "system" if role == "developer" else "tool" if role == "function" else role}
    turn["content"] = content(given.get("content"), place, optional=bool(given.get("tool_calls")))
    for name in ("name", "tool_call_id", "reasoning", "reasoning_content"):
        if given.get(name) is not None:
            if not isinstance(given[name], str):
                raise wrong(f"{place}.{name} was {given[name]!r}; it is to be a text", f"{place}.{name}")
            if name != "reasoning":
                turn[name] = given[name]
    if given.get("tool_calls") not in (None, []):
        if role != "assistant" or not isinstance(given["tool_calls"], list):
            raise wrong(f"{place}.tool_calls: only the assistant makes calls, as a list", f"{place}.tool_calls")
        turn["tool_calls"] = [_call(call, f"{place}.tool_calls.{at}") for at, call in enumerate(given["tool_calls"])]
    return turn


def content(given: Any, place: str, optional: bool = False) -> str:
    """The text of a message: a text, or parts that are texts."""
    if isinstance(given, str):
        return given
    if given is None and optional:
        return ""
    if not isinstance(given, list):
        raise wrong(f"{place}.content was {given!r}; it is to be a text, or a list of text parts", f"{place}.content")
    parts = []
    for at, part in enumerate(given):
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind in _OTHER:
            raise Failure(501, f"{place}.content.{at}: {kind} is not supported; this server reads texts only", "not_supported")
        if kind not in ("text", "input_text") or not isinstance(part.get("text"), str) or set(part) - {"type", "text"}:
            raise wrong(f"{place}.content.{at} was {part!r}; write {{type: 'text', text: …}}", f"{place}.content.{at}")
        parts.append(part["text"])
    return "".join(parts)


def _call(given: Any, place: str) -> dict[str, Any]:
    function = given.get("function") if isinstance(given, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise wrong(f"{place} was {given!r}; write {{id, type: 'function', function: {{name, arguments}}}}", place)
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with suppress(ValueError):  # else the template gets it as it is
            arguments = json.loads(arguments)
    return {"id": given.get("id"), "type": "function", "function": {"name": function["name"], "arguments": arguments}}
