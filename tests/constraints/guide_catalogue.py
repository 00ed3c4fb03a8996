"""One small guide of every kind, over the letters a and b and blanks, and the vocabulary that the tests of their laws share."""

from __future__ import annotations

import espalier as es
from espalier.constraints import (
    Segment,
    Tag,
    avoids,
    ban,
    canonical,
    contains,
    healing,
    lexical,
    ltl,
    monitor,
    ordered,
    permutation,
    predicate,
    subset,
    substring,
    tags,
    unique,
    vocabulary,
    within,
)
from espalier.text.vocab import Vocab

VOCAB = Vocab([b"a", b"b", b" ", b"ab", b"ba", b" a", None], end=[6])


def by_letter(word: str) -> list[list[str]]:
    """A pronunciation: each a is a syllable."""
    return [["B", *["AA1"] * word.count("a")]]


def after_b(text: str) -> list[str]:
    return ["a"]


def no_double(text: str) -> bool:
    return "aa" not in text


def even(text: str) -> bool:
    return len(text) % 2 == 0


PLAN = {"a": Segment("a", es.regex("a?"), ""), "b": Segment("b", es.regex(" *"), "")}
REGULAR = {
    "regex": es.regex("a*b"),
    "choices": es.choices(["ab", "ba", "a b"]),
    "avoids": avoids("aa", "bb"),
    "contains": contains("ab", "ba"),
    "lexical": lexical(["ab", "bb"], must_not=["ba"]),
    "in order": lexical("a", "b", in_order=True),
    "letters": vocabulary.letters(banned="b"),
    "starts_with": vocabulary.starts_with("ab", "b"),
    "ends_with": vocabulary.ends_with("b"),
    "word_lengths": vocabulary.word_lengths(2, 3),
}
GUIDES: dict[str, es.Guide] = REGULAR | {
    "cfg": es.cfg('root ::= "a" root "b" | " "?'),
    "deadline": contains("ab", within=4),
    "deadline for many": contains("ab", "ba", "bb", "aa", "a b", "b a", within=12),
    "permutation": permutation(["a", "b"], " "),
    "subset": subset(["a", "ab"], "b"),
    "ordered": ordered(["a", "b"], "", at_least=1),
    "unique": unique(es.regex("[ab]{1,2}"), " "),
    "substring": substring("ab ba"),
    "whole words": substring("ab ba a", whole_words=True),
    "palindrome": vocabulary.palindrome(letters=3),
    "anagram": vocabulary.anagram("aab"),
    "syllables": vocabulary.syllables([2], by_letter),
    "rhymes": vocabulary.rhymes("bba", by_letter),
    "predicate": predicate(no_double, even),
    "monitor": monitor("b", after_b),
    "ltl": ltl("a & X b & G(b -> last)", PLAN),
    "tags": tags([Tag("a", es.regex("b"), " ")]),
    "tags repeated": tags([Tag("a", es.regex("b"), " ")], stop_after_first=True, at_least_one=True).repeat(1, 2),
    "healed": healing("ab", es.regex("[ab]{1,3}")),
    "in time": within(es.regex("(ab)*b"), tokens=4),
}
ON_TOKENS = {
    "ban": ban(0, "bb"),
    "tokens": vocabulary.tokens(str.isalpha),
    "canonical": canonical(VOCAB, lambda text: VOCAB.cut(text.encode())),
}
