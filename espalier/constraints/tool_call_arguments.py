"""The name and the arguments of one call, read as it comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

_BLANKS = " \n\t\r"
_PLAIN = {"True": "true", "False": "false", "None": "null"}  # of Python, as JSON


@dataclass
class ObjectMembers:
    """An object `{"name": …, arguments: …}` that comes in pieces, its members in any order; with `arguments=""` the object is
    the arguments. Tells the name first, and then the arguments as they are written."""

    arguments: str
    tell: Callable[[str, str], None]
    closed: bool = False
    _depth: int = 0
    _quoted: bool = False
    _escaped: bool = False
    _member: str | None = None  # whose value is being read
    _text: str = ""  # of the name of a member, or of a value that is not told as it comes
    _named: bool = False
    _held: str = ""  # arguments that came before the name

    def feed(self, piece: str) -> int:
        """How much of a piece belongs to the object."""
        told = ""
        for at, letter in enumerate(piece):
            depth, quoted = self._depth, self._quoted
            self._follow(letter)
            if not self.arguments or (self._member == self.arguments and max(depth, self._depth) > 1):
                told += letter
            elif quoted or self._quoted or max(depth, self._depth) > 1:
                self._text += letter
            elif letter == ":":
                self._member, self._text = json.loads(self._text), ""
            elif letter in ",}":
                self._ends()
            elif letter not in _BLANKS and letter != "{":
                self._text += letter
            if depth == 1 and not self._depth:
                self.closed = True
                self._arguments(told)
                return at + 1
        self._arguments(told)
        return len(piece)

    def _follow(self, letter: str) -> None:
        if self._quoted:
            self._quoted = self._escaped or letter != '"'
            self._escaped = letter == "\\" and not self._escaped
        elif letter == '"':
            self._quoted = True
        else:
            self._depth += (letter in "{[") - (letter in "}]")

    def _ends(self) -> None:
        """The end of a member."""
        if self._member == "name":
            self._named = True
            self.tell("name", json.loads(self._text))
            held, self._held = self._held, ""
            self._arguments(held)
        self._member, self._text = None, ""

    def _arguments(self, told: str) -> None:
        if not told:
            return
        if self._named or not self.arguments:
            self.tell("arguments", told)
        else:
            self._held += told


@dataclass
class PythonCall:
    """A call `name(argument=value, …)` that comes in pieces. Tells the name, and each argument when it is whole, as JSON."""

    tell: Callable[[str, str], None]
    closed: bool = False
    _depth: int = 0
    _quoted: bool = False
    _escaped: bool = False
    _text: str = ""
    _argument: str | None = None
    _count: int = 0

    def feed(self, piece: str) -> int:
        """How much of a piece belongs to the call."""
        for at, letter in enumerate(piece):
            if self._quoted:
                self._text += letter
                self._quoted = self._escaped or letter != '"'
                self._escaped = letter == "\\" and not self._escaped
                continue
            self._quoted = letter == '"'
            self._depth += (letter in "([{") - (letter in ")]}")
            if letter == "(" and self._depth == 1:
                self.tell("name", self._text)
                self.tell("arguments", "{")
                self._text = ""
            elif letter == "=" and self._depth == 1 and self._argument is None:
                self._argument, self._text = self._text.strip(), ""
            elif (letter == "," and self._depth == 1) or (letter == ")" and not self._depth):
                self._ends()
            else:
                self._text += letter
            if letter == ")" and not self._depth:
                self.tell("arguments", "}")
                self.closed = True
                return at + 1
        return len(piece)

    def _ends(self) -> None:
        if self._argument is not None:
            value = self._text.strip()
            told = f"{json.dumps(self._argument, ensure_ascii=False)}: {_PLAIN.get(value, value)}"
            self.tell("arguments", (", " if self._count else "") + told)
            self._count += 1
        self._argument, self._text = None, ""
