"""Tools: the guide that writes calls, and where in a text they are."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from espalier import constraints
from espalier.constraints import Guide, Limits, Tag
from espalier.serving.http.body import Chosen, Tool
from espalier.serving.http.failure import wrong

BEGIN, END = "<tool_call>\n", "\n</tool_call>"  # Hermes' and Qwen's format
_NAME, _ARGUMENTS = '{"name": ', ', "arguments": '


def tool_guide(tools: Sequence[Tool], choice: Any, parallel: bool, limits: Limits) -> Guide | None:
    """The guide of texts with calls of these tools: "auto" is free text and calls, else calls alone; None for "none".

    Raises `Failure` for a tool that is not among them.
    """
    given = {tool.function.name: _parameters(tool) for tool in tools}
    if len(given) < len(tools):
        raise wrong("two tools have the same name; give each a name of its own", "tools")
    if isinstance(choice, Chosen):
        name = choice.function.name
        if name not in given:
            raise wrong(f"tool_choice names {name!r}, but the tools are {', '.join(given)}", "tool_choice")
        given, parallel = {name: given[name]}, False
    if choice == "none":
        return None
    if choice in (None, "auto"):
        regions = [
            Tag(_head(name), constraints.json_schema(schema, numbers="plain", limits=limits), "}" + END)
            for name, schema in given.items()
        ]
        return constraints.tags(regions, [BEGIN.rstrip()], limits=limits, stop_after_first=not parallel)
    return calls(given, parallel, limits)


def calls(given: dict[str, Any], parallel: bool, limits: Limits) -> Guide:
    """One call, or several if `parallel`, and nothing else."""
    one: Guide | None = None
    for name, schema in given.items():
        head = constraints.choices([_head(name)], limits=limits)
        tail = constraints.choices(["}" + END], limits=limits)
        call = head + constraints.json_schema(schema, numbers="plain", limits=limits) + tail
        one = call if one is None else one | call
    assert one is not None
    return one + (constraints.choices(["\n"], limits=limits) + one).repeat(0, None) if parallel else one


def _head(name: str) -> str:
    return f"{BEGIN}{_NAME}{json.dumps(name)}{_ARGUMENTS}"


def _parameters(tool: Tool) -> Any:
    return {**(tool.function.parameters or {}), "type": "object"}


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
    """A text that a tool guide writes, read piece by piece: what is content, and which calls are in it.

    Guarantee: nothing is guessed. Within the guide, free text never holds `BEGIN`, and `END` stands only behind arguments.

    >>> text = ToolText()
    >>> text.feed('Sure. <tool_call>\\n{"name": "add", "arguments": {"a": 1}'), text.feed('}\\n</tool_call>')
    (('Sure. ', [(0, 'add', ''), (0, None, '{"a": 1')]), ('', [(0, None, '}')]))
    """

    calls: list[Call] = field(default_factory=list)
    content: str = ""
    _rest: str = ""
    _inside: bool = False
    _blank: str | None = None  # blanks right behind a call: they are content only if more than blanks follows

    def feed(self, piece: str, final: bool = False) -> tuple[str, list[tuple[int, str | None, str]]]:
        """The new content, and what is new in calls: their index, the name in the first fragment, and new arguments."""
        self._rest += piece
        content, told = "", list[tuple[int, str | None, str]]()
        while True:
            if not self._inside:
                new, found = _until(self, BEGIN.rstrip(), final)
                content += self._settled(new)
                if not found:
                    break
                self._inside, self._blank = True, None
                self.calls.append(Call(f"call_{secrets.token_hex(12)}", ""))
            call, index = self.calls[-1], len(self.calls) - 1
            if not call.name:
                head, mark, rest = self._rest.partition(_ARGUMENTS)
                if not mark:
                    break
                call.name, self._rest = json.loads(head.strip().removeprefix(_NAME)), rest
                told.append((index, call.name, ""))
            new, found = _until(self, "}" + END, False)
            if new:
                call.arguments += new
                told.append((index, None, new))
            if not found:
                break
            self._inside, self._blank = False, ""
        self.content += content
        return content, told

    def _settled(self, new: str) -> str:
        if self._blank is None:
            return new
        self._blank += new
        if not self._blank.strip():
            return ""
        new, self._blank = self._blank, None
        return new


def _until(text: ToolText, mark: str, final: bool) -> tuple[str, bool]:
    """What comes before a mark, as far as it is sure, and whether the mark is there."""
    before, found, rest = text._rest.partition(mark)
    if found:
        text._rest = rest
        return before, True
    held = 0 if final else next((n for n in range(min(len(mark) - 1, len(before)), 0, -1) if mark.startswith(before[-n:])), 0)
    text._rest = before[len(before) - held :]
    return before[: len(before) - held], False
