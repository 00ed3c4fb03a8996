"""Tools: the guide that writes calls, and where in a text they are, as the library's table of formats says."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from espalier.constraints import Guide, Limits
from espalier.constraints.tool_call_parser import CallScanner
from espalier.constraints.tools import tool_calls
from espalier.serving.http.failure import wrong
from espalier.serving.http.request_fields import Chosen, Tool

_ID_LETTERS = {"mistral": 9, "mistral-args": 9}  # of an id, where the template of the format asks for so many


def tool_guide(
    tools: Sequence[Tool], choice: Any, parallel: bool, limits: Limits, format: str = "hermes", tokens: Collection[str] = ()
) -> Guide | None:
    """The guide of texts with calls of these tools: "auto" is free text and calls, else calls alone; None for "none".

    Raises `Failure` for a tool that is not among them.
    """
    given = {tool.function.name: parameters(tool) for tool in tools}
    if len(given) < len(tools):
        raise wrong("two tools have the same name; give each a name of its own", "tools")
    if isinstance(choice, Chosen):
        name = choice.function.name
        if name not in given:
            raise wrong(f"tool_choice names {name!r}, but the tools are {', '.join(given)}", "tool_choice")
        given, parallel = {name: given[name]}, False
    if choice == "none":
        return None
    alone = choice not in (None, "auto")
    return tool_calls(given, format=format, tokens=tokens, alone=alone, parallel=parallel, limits=limits)


def parameters(tool: Tool) -> dict[str, Any]:
    """The schema of a tool's arguments, which are an object. Raises `Failure` where it says that they are none."""
    given = tool.function.parameters or {}
    kind = given.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise wrong(f"the tool {tool.function.name!r} has parameters of type {kind!r}; arguments are an object", "tools")
    return given


@dataclass
class Call:
    """A call of a tool: its id, the tool's name, and its arguments as JSON."""

    id: str
    name: str
    arguments: str = ""

    @property
    def json(self) -> dict[str, Any]:
        """As OpenAI writes it."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass
class ToolText:
    """A text with calls in one of the library's formats, read piece by piece: what is new, as the deltas of a stream.

    >>> text = ToolText("hermes")
    >>> text.feed("Sure. ")
    [{'content': 'Sure. '}]
    >>> delta = text.feed('<tool_call>{"name": "add", "arguments": {"a": 1}')[0]["tool_calls"][0]
    >>> delta["index"], delta["function"]
    (0, {'name': 'add', 'arguments': '{"a": 1}'})
    """

    format: str
    calls: list[Call] = field(default_factory=list)
    reasoning: str = ""
    content: str = ""
    _scanner: CallScanner = field(init=False)

    def __post_init__(self) -> None:
        self._scanner = CallScanner(self.format)

    def feed(self, piece: str, final: bool = False) -> list[dict[str, Any]]:
        """The deltas of a further piece. An id and a name come in the first of a call only."""
        deltas: list[dict[str, Any]] = []
        fresh: dict[str, Any] | None = None  # of a call whose arguments may be in this piece too
        for kind, text, index in self._scanner.feed(piece, final):
            if kind == "name":
                self.calls.append(Call(self._id(), text))
                fresh = {"index": index, "id": self.calls[-1].id, "type": "function"}
                fresh["function"] = {"name": text, "arguments": ""}
                deltas.append({"tool_calls": [fresh]})
            elif kind == "arguments":
                self.calls[index].arguments += text
                if fresh is None:
                    fresh = {"index": index, "function": {"arguments": ""}}
                    deltas.append({"tool_calls": [fresh]})
                fresh["function"]["arguments"] += text
            elif kind == "reasoning":
                self.reasoning += text
                deltas.append({"reasoning": text, "reasoning_content": text})
            else:
                self.content += text
                deltas.append({"content": text})
        return deltas

    def _id(self) -> str:
        letters = secrets.token_hex(12)
        return letters[: _ID_LETTERS[self.format]] if self.format in _ID_LETTERS else f"call_{letters}"
