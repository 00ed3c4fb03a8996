"""The library's own notation (docs/grammars.md), of which llama.cpp's GBNF is a part."""

from __future__ import annotations

from espalier.constraints.cfg.readers.expression import Cursor, Expression, Syntax
from espalier.constraints.cfg.readers.rules import Instruction, Rule, Rules, fail
from espalier.constraints.cfg.readers.scan import Lexicon, words

_SIGNS = ("::=", ":=", "|", "(", ")", "?", "*", "+", "{", "}", ",", "&", ";", ".", "=", "-", "<", ">", "~")
_NAME = r"[^\W\d]\w*(?:-+\w+)*"

LEXICON = Lexicon(
    name=_NAME,
    comment=r"(?s:#[^\n]*|//[^\n]*|/\*.*?\*/|\(\*.*?\*\))",
    signs=_SIGNS,
    classes=True,
    regexes=True,
    single_quotes=True,
    flags=True,
)
_GBNF_LEXICON = Lexicon(_NAME, r"#[^\n]*", _SIGNS, classes=True, regexes=False, single_quotes=False, flags=False)
_DEFINES = ("::=", ":=", "=")


def _header(cursor: Cursor) -> bool:
    after = cursor.peek()
    return cursor.word.kind == "directive" or (cursor.word.kind == "name" and after.kind == "sign" and after.text in _DEFINES)


def _name(cursor: Cursor) -> list[Instruction]:
    return [("ref", cursor.take().text)]


def is_lexical(name: str) -> bool:
    """Whether a rule of this name is a terminal: its letters are all capitals.

    >>> is_lexical("NUMBER"), is_lexical("Number"), is_lexical("_")
    (True, False, False)
    """
    return name.isupper()


def read_ebnf(text: str) -> Rules:
    """The rules of a grammar in the library's notation.

    >>> sorted(read_ebnf('start ::= A+ ; A ::= [a-z] - "x"').rules)
    ['A', 'start']
    """
    rules = _read(text, LEXICON, "ebnf")
    if rules.start is None and "root" in rules.rules:
        rules.start = "root"
    return rules


def read_gbnf(text: str) -> Rules:
    """The rules of a grammar in llama.cpp's GBNF; it starts at `root`, and nothing is ever ignored.

    >>> read_gbnf('root ::= "a" [0-9]{2}').start
    'root'
    """
    rules = _read(text, _GBNF_LEXICON, "gbnf")
    rules.start = "root"
    return rules


def _read(text: str, lexicon: Lexicon, dialect: str) -> Rules:
    own = dialect == "ebnf"
    syntax = Syntax({"(": ")"}, ("&", "-") if own else (), True, _name)
    found = Rules(dialect=dialect)
    cursor = Cursor(words(text, lexicon))
    while cursor.word.kind != "end":
        word = cursor.take()
        if word.kind == "directive" and word.text == "%ignore" and own:
            found.ignore.append(_body(cursor, syntax))
        elif word.kind == "directive" and word.text == "%start" and own:
            found.start = cursor.take().text
        elif word.kind == "name" and cursor.is_sign(*_DEFINES):
            cursor.take()
            found.add(Rule(word.text, own and is_lexical(word.text), _body(cursor, syntax), word.line))
        else:
            what = "a rule is written  name ::= ...  in this dialect"
            what += "; a range of characters is written [1-9] (ABNF is not read)" if word.text[:2] in ("%x", "%d", "%b") else ""
            fail(f"{word.text!r} stands where a rule should begin; {what}", word.line, word.column)
        if cursor.is_sign(";"):
            cursor.take()
    return found


_FOREIGN = {  # signs of other notations, and what is written here
    "{": "; a repeat is written x* (ISO EBNF's { x }), x+ or x{2,5}",
    "->": "; commands behind an arrow are ANTLR's and are not read",
    ",": "; parts of a sequence stand side by side, without ISO EBNF's commas",
}


def _body(cursor: Cursor, syntax: Syntax) -> list[Instruction]:
    body = Expression(cursor, syntax, _header).read()
    word = cursor.word
    if word.kind == "sign" and word.text in ("<", "~"):
        fail("special tokens are written <name> or <[id]>, and not negated", word.line, word.column)
    if word.kind == "sign" and word.text != ";":
        fail(f"{word.text!r} cannot stand here{_FOREIGN.get(word.text, '')}", word.line, word.column)
    return body
