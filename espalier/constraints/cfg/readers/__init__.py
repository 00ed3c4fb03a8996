"""Readers of grammar notations: each turns a text into the same `Rules`."""

from __future__ import annotations

import re
from collections.abc import Collection

from espalier.constraints.cfg.readers.ebnf import read_ebnf, read_gbnf
from espalier.constraints.cfg.readers.lark import read_lark
from espalier.constraints.cfg.readers.rules import GrammarTextError, Rules, fail
from espalier.errors import utf8

READERS = {"ebnf": read_ebnf, "gbnf": read_gbnf, "lark": read_lark}


_OTHERS = (  # how other notations define a rule, and what is said of them
    (r"^\s*<[\w -]+>\s*::=", "; BNF's names are written without < >"),
    (r"^\s*[\w-]+\s*<-", "; PEG's ordered choice a / b is not read: write name ::= a | b, which takes either"),
    (r"^\s*[\w-]+\s*(->|→)", "; write ::= for the arrow"),
)


def dialect_of(text: str) -> str:
    """The dialect a grammar seems to be written in: `lark` if its first rule is `name:`, `gbnf` if it has a rule `root` and
    can be read as that, else `ebnf`.

    >>> dialect_of('word ::= "a"'), dialect_of('word ::= "a"\\nroot ::= word'), dialect_of('// c\\n?start: "a"')
    ('ebnf', 'gbnf', 'lark')
    """
    head = re.search(
        r"^\s*(?:\(\*(?s:.*?)\*\)\s*)*[?!]*[^\W\d][\w-]*(?:\{[^}\n]*\})?(?:\.-?\d+)?\s*(::=|:=|=|:)", text, re.MULTILINE
    )
    if head is None:
        other = next((said for pattern, said in _OTHERS if re.search(pattern, text, re.MULTILINE)), "")
        fail(f"no rule was found; a rule is written  name ::= ...  or, in Lark's notation,  name: ...{other}")
    if head[1] == ":":
        return "lark"
    if re.search(r"^\s*root\s*::=", text, re.MULTILINE):
        try:
            read_gbnf(text)
        except GrammarTextError:  # our own notation, with a start of this name
            return "ebnf"
        return "gbnf"
    return "ebnf"


def read(text: str, dialect: str = "auto", known: Collection[str] = ()) -> Rules:
    """The rules of a grammar text, all names checked; those in `known` are defined elsewhere.

    Errors: `GrammarTextError` naming line, column and rule.

    >>> read('greeting ::= "hello" | "hi"').dialect
    'ebnf'
    """
    if not isinstance(text, str):
        fail(f"{text!r} is no text; give the grammar as a str, or path.read_text() for a file")
    utf8(text, "the grammar")
    if dialect == "auto":
        dialect = dialect_of(text)
    if dialect not in READERS:
        fail(f"there is no dialect {dialect!r}; write one of auto, {', '.join(READERS)}")
    rules = READERS[dialect](text)
    rules.check_names(known)
    return rules


__all__ = ["READERS", "GrammarTextError", "Rules", "dialect_of", "read"]
