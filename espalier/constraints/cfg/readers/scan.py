"""The words of a grammar's text: names, strings, regular expressions, character classes and signs, each with its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from espalier.constraints.cfg.readers.rules import fail


@dataclass(frozen=True, slots=True)
class Word:
    """A word: `kind` is name, string, regex, class, number, directive, token, sign or end; `first` = the first of its line."""

    kind: str
    text: str
    line: int
    column: int
    first: bool = False
    flags: str = ""


@dataclass(frozen=True)
class Lexicon:
    """How a dialect writes its words."""

    name: str  # a regular expression
    comment: str
    signs: tuple[str, ...]  # longest first
    classes: bool  # [a-z] is a character class
    regexes: bool  # /.../ is a regular expression
    single_quotes: bool
    flags: bool  # "..."i is text in any case


_SPACE = re.compile(r"\s+")
_REGEX = re.compile(r"/((?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)/([a-z]*)")
_CASELESS = re.compile(r"i(?!\w)")
_TOKEN = re.compile(r"<(?:\[\d+\]|[^<>\s\"'\[\](){}*+?]+)>")
_NUMBER = re.compile(r"-?\d+")
_DIRECTIVE = re.compile(r"%[a-z]+")


def words(text: str, lexicon: Lexicon) -> list[Word]:
    """All words of a grammar's text, then one of kind `end`.

    Errors: `GrammarTextError` with line and column for a character that begins no word and for what is never closed.

    >>> from espalier.constraints.cfg.readers.ebnf import LEXICON
    >>> [w.text for w in words('a ::= "b" | [c-d]  # what', LEXICON)]
    ['a', '::=', 'b', '|', 'c-d', '']
    """
    name, comment = re.compile(lexicon.name), re.compile(lexicon.comment)
    found: list[Word] = []
    at, line, line_start, first = 0, 1, 0, True

    def put(kind: str, value: str, end: int, flags: str = "") -> None:
        nonlocal at, line, line_start, first
        found.append(Word(kind, value, line, at - line_start + 1, first, flags))
        skip(end)
        first = False

    def skip(end: int) -> None:
        nonlocal at, line, line_start, first
        newlines = text.count("\n", at, end)
        if newlines:
            line, line_start, first = line + newlines, text.rfind("\n", at, end) + 1, True
        at = end

    while at < len(text):
        character = text[at]
        if match := _SPACE.match(text, at) or comment.match(text, at):
            skip(match.end())
        elif character == '"' or (character == "'" and lexicon.single_quotes):
            end = _closing(text, at + 1, character, line, at - line_start + 1)
            insensitive = lexicon.flags and _CASELESS.match(text, end + 1) is not None
            value = unescape(text[at + 1 : end], line, at - line_start + 1)
            put("string", value, end + 1 + insensitive, "i" if insensitive else "")
        elif lexicon.regexes and (match := _REGEX.match(text, at)):
            put("regex", match[1].replace("\\/", "/"), match.end(), match[2])
        elif lexicon.classes and character == "[":
            end = _closing(text, at + 1, "]", line, at - line_start + 1)
            put("class", text[at + 1 : end], end + 1)
        elif match := _TOKEN.match(text, at):
            put("token", match[0], match.end())
        elif match := name.match(text, at):
            put("name", match[0], match.end())
        elif match := _DIRECTIVE.match(text, at):
            put("directive", match[0], match.end())
        elif sign := next((s for s in lexicon.signs if text.startswith(s, at)), None):
            put("sign", sign, at + len(sign))
        elif match := _NUMBER.match(text, at):
            put("number", match[0], match.end())
        else:
            fail(f"{character!r} begins nothing that is known here{_FOREIGN.get(character, '')}", line, at - line_start + 1)
    return [*found, Word("end", "", line, at - line_start + 1, True)]


_FOREIGN = {  # signs of other notations, and what is written here
    ";": "; in Lark's notation a rule ends with its line (ANTLR's grammars are not read)",
    "/": "; alternatives are written a | b (ABNF and PEG are not read)",
}


def _closing(text: str, at: int, mark: str, line: int, column: int) -> int:
    while at < len(text) and text[at] != mark:
        if text[at] == "\n" and mark != "]":
            break
        at += 2 if text[at] == "\\" else 1
    if at >= len(text) or text[at] != mark:
        opening = "[" if mark == "]" else mark
        fail(f"{opening} is never closed by {mark}; write a line end inside it as \\n", line, column)
    return at


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "b": "\b", "a": "\a", "0": "\0"}
_HEX = {"x": 2, "u": 4, "U": 8}


def unescape(text: str, line: int = 0, column: int = 0) -> str:
    r"""The text that a quoted string stands for: \n \r \t \f \v \b \a \0 \xHH \uHHHH \UHHHHHHHH, and \ before any sign.

    >>> unescape(r"a\n\x41\"")
    'a\nA"'
    """
    return "".join(chr(point) for point, _ in points(text, line, column))


def points(text: str, line: int = 0, column: int = 0) -> Sequence[tuple[int, bool]]:
    """The code points of escaped text, each with whether it was written as an escape."""
    made: list[tuple[int, bool]] = []
    at = 0
    while at < len(text):
        if text[at] != "\\" or at + 1 == len(text):
            made.append((ord(text[at]), False))
            at += 1
            continue
        letter = text[at + 1]
        if letter in _HEX:
            digits = text[at + 2 : at + 2 + _HEX[letter]]
            if not re.fullmatch(rf"[0-9a-fA-F]{{{_HEX[letter]}}}", digits) or int(digits, 16) > 0x10FFFF:
                fail(f"\\{letter} needs {_HEX[letter]} hexadecimal digits of a code point, not {digits!r}", line, column)
            made.append((int(digits, 16), True))
            at += 2 + len(digits)
        elif letter in _ESCAPES:
            made.append((ord(_ESCAPES[letter]), True))
            at += 2
        elif letter.isalnum():
            fail(f"\\{letter} is no escape here; write \\\\{letter} for a backslash and {letter}", line, column)
        else:
            made.append((ord(letter), True))
            at += 2
    return made


def ranges(body: str, line: int = 0, column: int = 0) -> tuple[tuple[int, int], ...]:
    r"""The code point ranges of a character class, `body` being what stands between [ and ].

    >>> ranges("a-c_")
    ((95, 95), (97, 99))
    >>> ranges("^b")
    ((0, 97), (99, 55295), (57344, 1114111))
    """
    inverted = body.startswith("^")
    items = points(body[1:] if inverted else body, line, column)
    made: list[tuple[int, int]] = []
    at = 0
    while at < len(items):
        low = high = items[at][0]
        if at + 2 < len(items) and items[at + 1] == (ord("-"), False):
            high = items[at + 2][0]
            at += 2
        at += 1
        if high < low:
            fail(f"the range {chr(low)!r}-{chr(high)!r} runs backwards", line, column)
        made.append((low, high))
    return complement(made) if inverted else tuple(sorted(made))


def complement(taken: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The code points (surrogates left out) that lie in none of the ranges."""
    made: list[tuple[int, int]] = []
    at = 0
    for low, high in sorted([*taken, (0xD800, 0xDFFF), (0x110000, 0x110000)]):
        if low > at:
            made.append((at, low - 1))
        at = max(at, high + 1)
    return tuple(made)
