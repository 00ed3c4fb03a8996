"""The calls of tools in a text that a guide of calls writes, read as it comes, or all at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from espalier.constraints.schema.tool_forms import tools_of
from espalier.constraints.tool_call_arguments import ObjectMembers, PythonCall
from espalier.constraints.tool_call_formats import CALL_ID, FORMATS

_BLANKS = " \n\t\r"
_HEADER = re.compile(r"(?P<channel>[a-z]+)?(?: to=functions\.(?P<name>.*?))? ?(?:(?:<\|constrain\|>)?json)?$", re.DOTALL)


class Piece(NamedTuple):
    """A part of a text: `kind` is "content", "reasoning", "name" or "arguments" (JSON); of a call, also which one it is."""

    kind: str
    text: str
    call: int = -1


@dataclass
class CallScanner:
    """Reads a text in pieces. `feed` returns what is new: content, and of each call its name and then its arguments.

    Guarantee: nothing is guessed. Free text of the guide holds nothing that calls begin with, and pieces do not matter.

    >>> scanner = CallScanner("hermes")
    >>> scanner.feed('Sure. <tool_call>{"name": "add", "arguments": {"a": 1')[1:]
    [Piece(kind='name', text='add', call=0), Piece(kind='arguments', text='{"a": 1', call=0)]
    >>> scanner.feed('}}</tool_call>', final=True), scanner.closed
    ([Piece(kind='arguments', text='}', call=0)], 1)
    """

    format: str = "hermes"
    closed: int = 0  # calls that have come to their end
    _rest: str = ""
    _call: int = -1
    _state: str = "start"
    _kind: str = "content"  # of harmony's message
    _blank: str | None = None  # behind a call: content only if more than blanks follows
    _found: list[Piece] = field(default_factory=list)
    _object: ObjectMembers | PythonCall | None = None

    def feed(self, piece: str, final: bool = False) -> list[Piece]:
        """What a further piece settles; with `final` the text ends with it."""
        self._rest += piece
        self._found, going = [], True
        while going:
            going = self._steps[self._state](self, final)
        if final and self._blank is not None:
            self._blank = None
        return self._found

    def _start(self, final: bool) -> bool:
        """The beginning, where some formats have their calls alone."""
        shape = FORMATS[self.format]
        if self.format == "harmony":
            return self._begins("<|channel|>", final, "header", "text")
        if shape.opener and self._call < 0 and self._rest.startswith(shape.opener[: len(self._rest)]) and self._rest:
            if len(self._rest) < len(shape.opener) and not final:
                return False
            self._rest = self._rest.removeprefix(shape.opener)
        if shape.arguments is None:
            return self._begins("[", final, "python", "text")
        if not shape.begin:
            first = self._rest.lstrip(_BLANKS)[:1]
            return (bool(first) or final) and self._go("call" if first == "{" else "text")
        return self._go("text")

    def _begins(self, mark: str, final: bool, there: str, else_: str) -> bool:
        if self._rest.startswith(mark):
            self._rest = self._rest[len(mark) :]
            return self._go(there)
        return (final or not mark.startswith(self._rest)) and self._go(else_)

    def _text(self, final: bool) -> bool:
        """Content up to what calls begin with."""
        begin = FORMATS[self.format].begin if self.format != "harmony" else ""
        before, found = _before(self, (begin,) if begin and FORMATS[self.format].arguments else (), final)
        self._tell(before)
        if found:
            self._blank = None
        shape = FORMATS[self.format]
        return bool(found) and self._go("list" if shape.listed else "name" if shape.named else "call")

    def _name(self, final: bool) -> bool:
        """The bare name before arguments."""
        name, found, rest = self._rest.partition(FORMATS[self.format].named)
        if not found:
            return False
        self._rest, self._object = rest, ObjectMembers("", self._told)
        self._told("name", name.partition(CALL_ID)[0])
        return self._go("call")

    def _list(self, final: bool) -> bool:
        """Between the calls of a list."""
        self._rest = self._rest.lstrip(_BLANKS)
        if not self._rest:
            return False
        mark = self._rest[0]
        if mark in "[,":
            self._rest = self._rest[1:]
            return self._go("call")
        return self._after(mark)

    def _after(self, mark: str) -> bool:
        """What follows the last call of a list."""
        if mark == "]":
            self._rest = self._rest[1:]
        self._blank = ""
        return self._go("text")

    def _object_of_call(self, final: bool) -> bool:
        if self._object is None:
            self._rest = self._rest.lstrip(_BLANKS)
            self._object = ObjectMembers(FORMATS[self.format].arguments or "", self._told)
        return self._inside("list" if FORMATS[self.format].listed else "tail")

    def _inside(self, then: str) -> bool:
        assert self._object is not None
        end = self._object.feed(self._rest)
        self._rest = self._rest[end:]
        if not self._object.closed:
            return False
        self.closed, self._object = self.closed + 1, None
        return self._go(then)

    def _tail(self, final: bool) -> bool:
        """What closes a call."""
        end = FORMATS[self.format].end
        self._rest = self._rest.lstrip(_BLANKS) if end else self._rest
        if not self._rest.startswith(end):
            return False
        self._rest, self._blank = self._rest[len(end) :], ""
        return self._go("text")

    def _python(self, final: bool) -> bool:
        if self._object is None:
            self._rest = self._rest.lstrip(_BLANKS + ",")
            if self._rest.startswith("]"):
                return self._after("]")
            if not self._rest:
                return False
            self._object = PythonCall(self._told)
        return self._inside("python")

    def _header(self, final: bool) -> bool:
        """The head of one of harmony's messages."""
        head, found, rest = self._rest.partition("<|message|>")
        if not found:
            return False
        self._rest, said = rest, _HEADER.match(head)
        if said is not None and said["name"]:
            self._object = ObjectMembers("", self._told)
            self._told("name", said["name"])
            return self._go("arguments")
        self._kind = "reasoning" if said is not None and said["channel"] == "analysis" else "content"
        return self._go("message")

    def _arguments(self, final: bool) -> bool:
        return self._inside("between")

    def _message(self, final: bool) -> bool:
        before, found = _before(self, ("<|end|>", "<|call|>", "<|return|>"), final)
        self._tell(before, self._kind)
        return bool(found) and self._go("between")

    def _between(self, final: bool) -> bool:
        """Between two of harmony's messages."""
        _, found = _before(self, ("<|channel|>",), final)
        return bool(found) and self._go("header")

    def _go(self, state: str) -> bool:
        self._state = state
        return True

    def _tell(self, text: str, kind: str = "content") -> None:
        if self._blank is not None:
            self._blank += text
            if not self._blank.strip():
                return
            text, self._blank = self._blank, None
        if text:
            self._found.append(Piece(kind, text))

    def _told(self, kind: str, text: str) -> None:
        self._call += kind == "name"
        self._found.append(Piece(kind, text, self._call))

    _steps: ClassVar[dict[str, Callable[[CallScanner, bool], bool]]] = {
        "start": _start, "text": _text, "list": _list, "name": _name, "call": _object_of_call, "tail": _tail, "python": _python,
        "header": _header, "arguments": _arguments, "message": _message, "between": _between,
    }  # fmt: skip


def _before(scanner: CallScanner, marks: tuple[str, ...], final: bool) -> tuple[str, str]:
    """What comes before the first of the marks, as far as it is sure, and that mark."""
    rest = scanner._rest
    places = [(at, mark) for mark in marks if (at := rest.find(mark)) >= 0]
    if places:
        at, mark = min(places)
        scanner._rest = rest[at + len(mark) :]
        return rest[:at], mark
    longest = max(map(len, marks), default=1)
    held = 0
    if not final:
        held = next((n for n in range(min(longest - 1, len(rest)), 0, -1) if any(m.startswith(rest[-n:]) for m in marks)), 0)
    scanner._rest = rest[len(rest) - held :]
    return rest[: len(rest) - held], ""


class ToolCall(NamedTuple):
    """One call: the name of the tool and its arguments, as the tool's schema reads them.

    >>> ToolCall("add", {"a": 1}).arguments
    {'a': 1}
    """

    name: str
    arguments: Any


def read_calls(tools: Any, text: str, format: str = "hermes") -> list[ToolCall]:
    """The calls in a text that the guide of these tools allows, their arguments read by the tools' schemas.

    >>> read_calls({"add": {"type": "object"}}, 'So: <tool_call>\\n{"arguments": {"a": 1}, "name": "add"}\\n</tool_call>')
    [ToolCall(name='add', arguments={'a': 1})]
    """
    schemas, names, arguments = tools_of(tools), list[str](), list[str]()
    scanner = CallScanner(format)
    for piece in scanner.feed(text, final=True):
        if piece.kind == "name":
            names.append(piece.text)
            arguments.append("")
        elif piece.kind == "arguments":
            arguments[-1] += piece.text
    whole = list(zip(names, arguments, strict=True))[: scanner.closed]
    return [ToolCall(name, schemas[name].value(said)) for name, said in whole if name in schemas]
