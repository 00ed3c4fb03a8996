"""The right-hand side of a rule, in every dialect: alternatives of sequences of things that may be repeated.

The reader keeps its own stack of open brackets, so nesting is bounded by memory only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from espalier.constraints.cfg.readers.rules import Instruction, caseless, fail
from espalier.constraints.cfg.readers.scan import Word, complement, ranges

_REPEATS = {"?": (0, 1), "*": (0, None), "+": (1, None)}


class Cursor:
    """A place in a list of words."""

    def __init__(self, words: list[Word], at: int = 0) -> None:
        self.words, self.at = words, at

    @property
    def word(self) -> Word:
        return self.words[self.at]

    def peek(self, ahead: int = 1) -> Word:
        return self.words[min(self.at + ahead, len(self.words) - 1)]

    def take(self) -> Word:
        word = self.words[self.at]
        self.at = min(self.at + 1, len(self.words) - 1)
        return word

    def is_sign(self, *texts: str) -> bool:
        return self.word.kind == "sign" and self.word.text in texts

    def expect(self, *texts: str) -> Word:
        if not self.is_sign(*texts):
            given = self.word.text or "the end of the text"
            fail(f"expected {' or '.join(texts)} here, not {given!r}", self.word.line, self.word.column)
        return self.take()


@dataclass
class _Open:
    """An open bracket: how many alternatives are complete, how many parts the present one has, an operator that waits."""

    closer: str
    alternatives: int = 0
    parts: int = 0
    waiting: str = ""
    word: Word | None = None


@dataclass(frozen=True)
class Syntax:
    """What differs between dialects: brackets (opening sign to closing sign), set operators, and how a call of a name reads."""

    brackets: Mapping[str, str]
    operators: tuple[str, ...]
    braces: bool  # x{2,3} is a repeat
    name: Callable[[Cursor], list[Instruction]]


class Expression:
    """Reads one right-hand side from a cursor."""

    def __init__(self, cursor: Cursor, syntax: Syntax, ends: Callable[[Cursor], bool]) -> None:
        self.cursor, self.syntax, self.ends = cursor, syntax, ends
        self.made: list[Instruction] = []
        self.open = [_Open("")]

    def read(self) -> list[Instruction]:
        """Instructions that leave the expression's one value; stops where `ends` says or at a closer that is not its own."""
        while self.cursor.word.kind != "end" and not self.ends(self.cursor):
            word = self.cursor.word
            if word.kind == "sign":
                if not self._sign(word):
                    break
            else:
                self._part(self._leaf())
        if len(self.open) > 1:
            opened = self.open[-1].word
            assert opened is not None
            fail(f"{opened.text} is never closed", opened.line, opened.column)
        self._close()
        return self.made

    def _sign(self, word: Word) -> bool:
        text = word.text
        if text == "|":
            self.cursor.take()
            self._sequence()
        elif text in self.syntax.brackets:
            self.cursor.take()
            self.open.append(_Open(self.syntax.brackets[text], word=word))
        elif text == self.open[-1].closer:
            self.cursor.take()
            self._close()
            self.open.pop()
            self._part([("repeat", 0, 1)] if text == "]" else [])
        elif text in (")", "]") and len(self.open) > 1:
            fail(f"{text} does not close {self.open[-1].word.text}", word.line, word.column)  # type: ignore[union-attr]
        elif text in self.syntax.operators and self.open[-1].parts:
            self.cursor.take()
            self._settle()
            self.open[-1].waiting = text
        elif text == ".":
            self.cursor.take()
            self._part([("ranges", complement([]))])
        else:
            return False
        return True

    def _part(self, instructions: list[Instruction]) -> None:
        """One more part of the present sequence, with what is written behind it."""
        frame = self.open[-1]
        self.made += instructions
        frame.parts += 1
        while (repeat := self._repeat()) is not None:
            self.made.append(("repeat", *repeat))
        if frame.waiting:
            self._settle()

    def _settle(self) -> None:
        frame = self.open[-1]
        if frame.waiting:
            self.made.append(("both",) if frame.waiting == "&" else ("minus",))
            frame.parts -= 1
            frame.waiting = ""

    def _sequence(self) -> None:
        frame = self.open[-1]
        if frame.waiting:
            word = self.cursor.word
            fail(f"`{frame.waiting}` needs something on its right", word.line, word.column)
        if frame.parts != 1:
            self.made.append(("cat", frame.parts))
        frame.alternatives += 1
        frame.parts = 0

    def _close(self) -> None:
        self._sequence()
        if self.open[-1].alternatives != 1:
            self.made.append(("alt", self.open[-1].alternatives))

    def _repeat(self) -> tuple[int, int | None] | None:
        cursor, word = self.cursor, self.cursor.word
        if word.kind != "sign" or self.ends(cursor):
            return None
        if word.text in _REPEATS:
            cursor.take()
            return _REPEATS[word.text]
        if word.text == "{" and self.syntax.braces:
            cursor.take()
            low = self._number(0)
            high: int | None = low
            if cursor.is_sign(","):
                cursor.take()
                high = None if cursor.is_sign("}") else self._number(0)
            cursor.expect("}")
            return self._checked(low, high, word)
        if word.text == "~":
            cursor.take()
            low = high = self._number(None)
            if cursor.is_sign(".."):
                cursor.take()
                high = self._number(None)
            return self._checked(low, high, word)
        return None

    def _number(self, default: int | None) -> int:
        word = self.cursor.word
        if word.kind == "number":
            return int(self.cursor.take().text)
        if default is None:
            fail(f"expected a count here, not {word.text!r}", word.line, word.column)
        return default

    def _checked(self, low: int, high: int | None, word: Word) -> tuple[int, int | None]:
        if low < 0 or (high is not None and high < low):
            fail(f"a repeat of {low} to {high} times is impossible", word.line, word.column)
        if max(low, high or 0) >= 2**31:
            fail("a repeat may count to 2,147,483,647 at most", word.line, word.column)
        return low, high

    def _leaf(self) -> list[Instruction]:
        cursor, word = self.cursor, self.cursor.word
        if word.kind == "name":
            return self.syntax.name(cursor)
        if word.kind == "token":  # a special token of the model: <name>, or <[id]>
            from espalier.constraints.special import token

            name = cursor.take().text
            return [("guide", token(int(name[2:-2]) if name[1] == "[" else name))]
        if word.kind == "string":
            cursor.take()
            if cursor.is_sign("..") and cursor.peek().kind == "string":
                cursor.take()
                return [_range(word, cursor.take())]
            return caseless(word.text) if word.flags else [("bytes", word.text.encode("utf-8", "surrogatepass"))]
        if word.kind == "class":
            cursor.take()
            if len(word.text) > 2 and word.text[0] == word.text[-1] == " ":
                said = f"[{word.text}] is a class of characters here, not ISO EBNF's optional part"
                return fail(f"{said}; write ({word.text})? for that, or the class with one blank", word.line, word.column)
            return [("ranges", ranges(word.text, word.line, word.column))]
        if word.kind == "regex":
            cursor.take()
            return [("pattern", pattern(word))]
        abnf = "; ABNF is not read: a repeat is written x*, x+ or x{2,5}" if word.kind == "number" else ""
        return fail(f"{word.text!r} cannot stand in a rule{abnf}", word.line, word.column)


def _range(low: Word, high: Word) -> Instruction:
    if len(low.text) != 1 or len(high.text) != 1 or low.text > high.text:
        fail(f"{low.text!r}..{high.text!r} is no range of characters", low.line, low.column)
    return ("ranges", ((ord(low.text), ord(high.text)),))


def pattern(word: Word) -> str:
    """The text of a regular expression with its flags written into it: `i` case, `s` dot is all, `m` lines, `x` spaces."""
    text, flags = word.text, set(word.flags) - set("ul")
    if unknown := flags - set("imsx"):
        fail(f"the flag {min(unknown)!r} of a regular expression is not known (i, m, s, x, u)", word.line, word.column)
    if "x" in flags:
        flags.discard("x")
        text = re.sub(r"((?:\\.|\[(?:\\.|[^\]])*\]|[^\s#\\\[])+)|\s+|#[^\n]*", lambda m: m[1] or "", text)
    return f"(?{''.join(sorted(flags))}:{text})" if flags else text
