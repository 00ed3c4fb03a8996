"""Tools: the guide that writes calls, and where in a text they are."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from espalier import constraints
from espalier.constraints import Guide, Limits, Tag
from espalier.serving.http.failure import wrong
from espalier.serving.http.request_fields import Chosen, Tool
from espalier.serving.http.tool_styles import HERMES, CallStyle


def tool_guide(tools: Sequence[Tool], choice: Any, parallel: bool, limits: Limits, style: CallStyle = HERMES) -> Guide | None:
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
    if choice in (None, "auto"):
        return _free(given, parallel, limits, style)
    return calls(given, parallel, limits, style)


def _free(given: dict[str, Any], parallel: bool, limits: Limits, style: CallStyle) -> Guide:
    """Free text, and calls in it."""
    if style.whole:
        return calls(given, False, limits, style) | constraints.regex(r"([^{](?s:.*))?", limits=limits)
    if style.between is None and not style.opened:
        regions = [
            Tag(style.begin + style.head(name), _object(schema, limits), "}" + style.end) for name, schema in given.items()
        ]
        return constraints.tags(regions, [style.begin.rstrip()], limits=limits, stop_after_first=not parallel)
    text = constraints.regex("(?s:.*)", limits=limits) if style.opened else constraints.avoids(style.begin.rstrip(" ["))
    if style.between is not None:
        return text + calls(given, parallel, limits, style) | text
    region = calls(given, False, limits, style)
    return text + (region + text).repeat(0, None if parallel else 1)


def calls(given: dict[str, Any], parallel: bool, limits: Limits, style: CallStyle = HERMES) -> Guide:
    """One call, or several if `parallel`, and nothing else."""
    begin, end = style.mark(style.begin, limits), style.mark(style.end, limits)
    one: Guide | None = None
    for name, schema in given.items():
        head = constraints.choices([style.head(name)], limits=limits)
        call = head + _object(schema, limits) + constraints.choices(["}"], limits=limits)
        one = call if one is None else one | call
    assert one is not None
    if style.between is not None:
        more = (constraints.choices([style.between], limits=limits) + one).repeat(0, None)
        return begin + (one + more if parallel else one) + end
    one = begin + one + end if style.begin else one
    if not parallel or style.whole:
        return one
    return one + (constraints.choices(["\n"], limits=limits) + one).repeat(0, None)


def _object(schema: Any, limits: Limits) -> Guide:
    return constraints.json_schema(schema, numbers="plain", limits=limits)


def parameters(tool: Tool) -> dict[str, Any]:
    """The schema of a tool's arguments, which are an object. Raises `Failure` where it says that they are none."""
    given = tool.function.parameters or {}
    kind = given.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise wrong(f"the tool {tool.function.name!r} has parameters of type {kind!r}; arguments are an object", "tools")
    return {**given, "type": "object"}


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

    Guarantee: nothing is guessed. Within the guide, free text never holds what calls begin with, and arguments are an object.

    >>> text = ToolText()
    >>> text.feed('Sure. <tool_call>\\n{"name": "add", "arguments": {"a": 1}'), text.feed('}\\n</tool_call>')
    (('Sure. ', [(0, 'add', ''), (0, None, '{"a": 1}')]), ('', []))
    """

    style: CallStyle = HERMES
    calls: list[Call] = field(default_factory=list)
    content: str = ""
    _rest: str = ""
    _state: str = "text"  # then "head", "arguments", "tail"
    _blank: str | None = None  # blanks right behind a call: they are content only if more than blanks follows
    _scan: ObjectScan = field(default_factory=lambda: ObjectScan())

    def feed(self, piece: str, final: bool = False) -> tuple[str, list[tuple[int, str | None, str]]]:
        """The new content, and what is new in calls: their index, the name in the first fragment, and new arguments."""
        self._rest += piece
        content, told = "", list[tuple[int, str | None, str]]()
        going = True
        while going:
            if self._state == "text":
                new, going = self._text(final)
                content += self._settled(new)
                self._blank = None if going else self._blank
            elif self._state == "head":
                going = self._head(told)
            elif self._state == "arguments":
                going = self._arguments(told)
            else:
                going = self._tail(final)
        self.content += content
        return content, told

    def _text(self, final: bool) -> tuple[str, bool]:
        """What is content, and whether a call begins behind it."""
        if self.style.whole:
            first = '{"name": "'
            if not self.content and not self.calls and self._rest.startswith(first):
                self._state = "head"
                return "", True
            if not self.content and first.startswith(self._rest) and not final:
                return "", False
            new, self._rest = self._rest, ""
            return new, False
        new, found = _until(self, self.style.begin.rstrip(), final)
        if found:
            self._state = "head"
        return new, found

    def _head(self, told: list[tuple[int, str | None, str]]) -> bool:
        head, mark, rest = self._rest.partition(self.style.arguments)
        if not mark:
            return False
        call = Call(self._id(), json.loads(head[head.index('{"name": ') + len('{"name": ') :]))
        self.calls.append(call)
        told.append((len(self.calls) - 1, call.name, ""))
        self._rest, self._state, self._scan = rest, "arguments", ObjectScan()
        return True

    def _id(self) -> str:
        letters = secrets.token_hex(12)
        return letters[: self.style.id_letters] if self.style.id_letters < 24 else f"call_{letters}"

    def _arguments(self, told: list[tuple[int, str | None, str]]) -> bool:
        end = self._scan.feed(self._rest)
        new, self._rest = self._rest[:end], self._rest[end:]
        if new:
            self.calls[-1].arguments += new
            told.append((len(self.calls) - 1, None, new))
        if self._scan.closed:
            self._state = "tail"
        return self._scan.closed

    def _tail(self, final: bool) -> bool:
        ways = {"}" + self.style.end: "text"}
        if self.style.between is not None:
            ways["}" + self.style.between] = "head"
        for way, state in ways.items():
            if self._rest.startswith(way):
                self._rest, self._state = self._rest[len(way) :], state
                self._blank = "" if state == "text" else None
                return True
        return False

    def _settled(self, new: str) -> str:
        if self._blank is None:
            return new
        self._blank += new
        if not self._blank.strip():
            return ""
        new, self._blank = self._blank, None
        return new


@dataclass
class ObjectScan:
    """Finds the end of an object of JSON that comes in pieces.

    >>> scan = ObjectScan()
    >>> scan.feed('{"a": "}'), scan.feed('"}, 1'), scan.closed
    (8, 2, True)
    """

    depth: int = 0
    quoted: bool = False
    escaped: bool = False
    closed: bool = False

    def feed(self, piece: str) -> int:
        """How much of the piece belongs to the object."""
        for at, letter in enumerate(piece):
            if self.quoted:
                if self.escaped:
                    self.escaped = False
                elif letter == "\\":
                    self.escaped = True
                elif letter == '"':
                    self.quoted = False
            elif letter == '"':
                self.quoted = True
            elif letter in "{[":
                self.depth += 1
            elif letter in "}]":
                self.depth -= 1
                if not self.depth:
                    self.closed = True
                    return at + 1
        return len(piece)


def _until(text: ToolText, mark: str, final: bool) -> tuple[str, bool]:
    """What comes before a mark, as far as it is sure, and whether the mark is there."""
    before, found, rest = text._rest.partition(mark)
    if found:
        text._rest = rest
        return before, True
    held = 0 if final else next((n for n in range(min(len(mark) - 1, len(before)), 0, -1) if mark.startswith(before[-n:])), 0)
    text._rest = before[len(before) - held :]
    return before[: len(before) - held], False
