"""Readers of grammar notations: each turns a text into the same `Rules`."""

from __future__ import annotations

import re
from collections.abc import Collection

from espalier.constraints.grammar_readers.ebnf import read_ebnf, read_gbnf
from espalier.constraints.grammar_readers.lark import read_lark
from espalier.constraints.grammar_readers.rules import GrammarTextError, Rules, fail

READERS = {"ebnf": read_ebnf, "gbnf": read_gbnf, "lark": read_lark}


def dialect_of(text: str) -> str:
    """The dialect a grammar seems to be written in: `lark` if its first rule is `name:`, else `ebnf`.

    GBNF is a part of our EBNF, so it is never guessed.

    >>> dialect_of('root ::= "a"'), dialect_of('// c\\n?start: "a"')
    ('ebnf', 'lark')
    """
    head = re.search(r"^\s*[?!]*[^\W\d][\w-]*(?:\{[^}\n]*\})?(?:\.-?\d+)?\s*(::=|:=|=|:)", text, re.MULTILINE)
    if head is None:
        fail("no rule was found; a rule is written  name ::= ...  or, in Lark's notation,  name: ...")
    return "lark" if head[1] == ":" else "ebnf"


def read(text: str, dialect: str = "auto", known: Collection[str] = ()) -> Rules:
    """The rules of a grammar text, all names checked; those in `known` are defined elsewhere.

    Errors: `GrammarTextError` naming line, column and rule.

    >>> read('greeting ::= "hello" | "hi"').dialect
    'ebnf'
    """
    if dialect == "auto":
        dialect = dialect_of(text)
    if dialect not in READERS:
        fail(f"there is no dialect {dialect!r}; write one of auto, {', '.join(READERS)}")
    rules = READERS[dialect](text)
    rules.check_names(known)
    return rules


__all__ = ["READERS", "GrammarTextError", "Rules", "dialect_of", "read"]
