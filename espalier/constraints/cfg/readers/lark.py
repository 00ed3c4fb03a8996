"""Lark's notation: rules, terminals, templates, %ignore and %import of the common terminals.

What only concerns trees is read and has no effect: `?rule`, `!rule`, `_rule`, aliases (`-> name`), priorities. Priorities order
Lark's lexer; here there is none: a text is accepted if any derivation yields it, as with Lark's Earley parser and its
`dynamic_complete` lexer.
"""

from __future__ import annotations

from collections.abc import Mapping

from espalier.constraints.cfg.readers.common_terminals import COMMON
from espalier.constraints.cfg.readers.expression import Cursor, Expression, Syntax
from espalier.constraints.cfg.readers.rules import Instruction, Rule, Rules, close_to, fail
from espalier.constraints.cfg.readers.scan import Lexicon, Word, words

_SIGNS = ("->", "..", "|", "(", ")", "[", "]", "?", "!", "*", "+", "~", "{", "}", ",", ":", ".", "=")
_LEXICON = Lexicon(
    name=r"[^\W\d]\w*", comment=r"//[^\n]*|#[^\n]*", signs=_SIGNS, classes=False, regexes=True, single_quotes=False, flags=True
)
_MAX_TEMPLATE_USES = 10_000
_MAX_TEMPLATE_TEXT = 1_000_000  # instructions in all arguments together


def read_lark(text: str, imports: Mapping[str, str] | None = None) -> Rules:
    """The rules of a Lark grammar; `imports` maps terminals' names to Lark text for imports other than `common`.

    >>> sorted(read_lark('start: "a"~2 [B]\\nB: /x+/i\\n%ignore " "').rules)
    ['B', 'start']
    """
    return _Reader(text).read()


def _header_at(cursor: Cursor, at: int) -> int | None:
    """Where the colon of a rule's head stands if a head begins at word `at`."""
    w = cursor.words

    def sign(i: int, *texts: str) -> bool:
        return i < len(w) and w[i].kind == "sign" and w[i].text in texts

    while sign(at, "?", "!"):
        at += 1
    if at >= len(w) or w[at].kind != "name":
        return None
    at += 1
    if sign(at, "{"):
        while at < len(w) and (w[at].kind == "name" or sign(at, "{", ",")):
            at += 1
        if not sign(at, "}"):
            return None
        at += 1
    if sign(at, ".") and w[min(at + 1, len(w) - 1)].kind == "number":
        at += 2
    return at if sign(at, ":") else None


def _ends(cursor: Cursor) -> bool:
    word = cursor.word
    return word.kind == "directive" or (word.first and _header_at(cursor, cursor.at) is not None)


class _Reader:
    def __init__(self, text: str) -> None:
        self.cursor = Cursor(words(text, _LEXICON))
        self.found = Rules(dialect="lark", start="start")
        self.templates: dict[str, tuple[list[str], list[Instruction], bool]] = {}
        self.parameters: list[str] = []
        self.uses: dict[tuple[str, tuple[tuple[Instruction, ...], ...]], str] = {}
        self.size = 0
        self.pending: list[tuple[str, str, list[list[Instruction]], Word]] = []
        self.syntax = Syntax({"(": ")", "[": "]"}, (), False, self._name)

    def read(self) -> Rules:
        while self.cursor.word.kind != "end":
            if self.cursor.word.kind == "directive":
                self._directive(self.cursor.take())
            else:
                self._rule()
        self._instantiate()
        return self.found

    # -- rules

    def _rule(self) -> None:
        cursor, word = self.cursor, self.cursor.word
        if _header_at(cursor, cursor.at) is None:
            fail(f"{word.text!r} stands where a rule should begin; a rule is written  name: ...", word.line, word.column)
        while cursor.is_sign("?", "!"):
            cursor.take()
        name = cursor.take()
        self.parameters = []
        if cursor.is_sign("{"):
            while not cursor.is_sign("}"):
                cursor.take()
                if cursor.word.kind == "name":
                    self.parameters.append(cursor.take().text)
            cursor.take()
        while not cursor.is_sign(":"):
            cursor.take()
        cursor.take()
        lexical = name.text.isupper()
        body = self._body(name)
        if self.parameters:
            self.templates[name.text] = (self.parameters, body, lexical)
            self.parameters = []
        else:
            self.found.add(Rule(name.text, lexical, body, name.line))

    def _body(self, owner: Word) -> list[Instruction]:
        """Alternatives with their aliases up to the next rule."""
        cursor = self.cursor
        made: list[Instruction] = []
        count = 0
        while True:
            made += Expression(cursor, self.syntax, lambda c: _ends(c) or c.is_sign("->")).read()
            count += 1
            if cursor.is_sign("->"):
                cursor.take()
                if cursor.word.kind != "name":
                    fail("expected the name of an alias after ->", cursor.word.line, cursor.word.column)
                cursor.take()
            if not cursor.is_sign("|"):
                break
            cursor.take()
        word = cursor.word
        if word.kind != "end" and not _ends(cursor):
            fail(f"{word.text!r} cannot stand in rule `{owner.text}`", word.line, word.column)
        return made if count == 1 else [*made, ("alt", count)]

    # -- names and templates

    def _name(self, cursor: Cursor) -> list[Instruction]:
        word = cursor.take()
        if not (cursor.is_sign("{") and not cursor.word.first):
            return [("ref", word.text)]
        arguments: list[list[Instruction]] = []
        while not cursor.is_sign("}"):
            cursor.take()
            arguments.append(Expression(cursor, self.syntax, lambda c: c.is_sign(",", "}")).read())
            if not cursor.is_sign(",", "}"):
                fail(f"the arguments of `{word.text}` are never closed by }}", word.line, word.column)
        cursor.take()
        if self.parameters:  # inside a template: its own arguments are put in first
            return [("use", word.text, arguments, word)]
        return [("ref", self._use(word, arguments))]

    def _use(self, word: Word, arguments: list[list[Instruction]]) -> str:
        key = (word.text, tuple(tuple(a) for a in arguments))
        if key not in self.uses:
            self.size += sum(map(len, arguments))
            if len(self.uses) >= _MAX_TEMPLATE_USES or self.size > _MAX_TEMPLATE_TEXT:
                fail(f"template `{word.text}` never stops using templates with new arguments", word.line, word.column)
            self.uses[key] = f"{word.text}{{{len(self.uses)}}}"
            self.pending.append((self.uses[key], word.text, arguments, word))
        return self.uses[key]

    def _instantiate(self) -> None:
        while self.pending:
            name, template, arguments, word = self.pending.pop()
            if template not in self.templates:
                fail(f"template `{template}` is defined nowhere", word.line, word.column)
            parameters, body, lexical = self.templates[template]
            if len(parameters) != len(arguments):
                fail(f"`{template}` takes {len(parameters)} arguments, not {len(arguments)}", word.line, word.column)
            filled = self._fill(body, dict(zip(parameters, arguments, strict=True)))
            self.found.add(Rule(name, lexical, filled, word.line))

    def _fill(self, body: list[Instruction], arguments: dict[str, list[Instruction]]) -> list[Instruction]:
        made: list[Instruction] = []
        for instruction in body:
            if instruction[0] == "ref" and instruction[1] in arguments:
                made += arguments[instruction[1]]
            elif instruction[0] == "use":
                _, _, inner, word = instruction
                made.append(("ref", self._use(word, [self._fill(a, arguments) for a in inner])))
            else:
                made.append(instruction)
        return made

    # -- directives

    def _directive(self, word: Word) -> None:
        if word.text == "%ignore":
            self.found.ignore.append(self._body(word))
        elif word.text == "%import":
            self._import(word)
        elif word.text in ("%override", "%extend"):
            fail(f"{word.text} changes an imported grammar, and only `common` can be imported", word.line, word.column)
        else:
            fail(f"{word.text} is not supported: its terminals have no text here", word.line, word.column)

    def _import(self, word: Word) -> None:
        cursor = self.cursor
        path = ""
        while cursor.word.line == word.line and not cursor.is_sign("(", "->") and cursor.word.kind != "end":
            path += cursor.take().text
        names = []
        if cursor.is_sign("("):
            while not cursor.is_sign(")"):
                cursor.take()
                if cursor.word.kind == "name":
                    names.append((cursor.word.text, cursor.take().text))
            cursor.take()
        else:
            path, _, name = path.rpartition(".")
            alias = name
            if cursor.is_sign("->"):
                cursor.take()
                alias = cursor.take().text
            names.append((name, alias))
        for name, alias in names:
            if path != "common":
                fail(f"%import {path}.{name}: only `common` is known; write the rule into this grammar", word.line, word.column)
            if name not in COMMON:
                known = close_to(name, COMMON)
                fail(f"`common` has no {name}" + (f"; did you mean {known}?" if known else ""), word.line, word.column)
            self.found.add(Rule(alias, True, [("pattern", COMMON[name])], word.line))
