"""Grammars let through exactly their language: compared with the definition, text by text and beginning by beginning."""

from __future__ import annotations

import random

import pytest

import espalier.constraints as es
from espalier.errors import InvalidInput
from tests.constraints.cfg_oracle import Grammar, beginnings, language, productive, random_grammar, strings, text_of


def agree(g: Grammar, n: int, alphabet: str, ignored: str = "") -> None:
    """Every string up to length n: accepted iff in the language, refused iff no text of the language begins with it."""
    text = text_of(g) + (f'\n%ignore "{ignored}"' if ignored else "")
    if "r0" not in productive(g):
        with pytest.raises(InvalidInput, match="r0"):
            es.cfg(text, start="r0")
        return
    between = {ignored * k for k in range(n + 3)} if ignored else {""}
    lead = {x[:k] for x in between for k in range(len(x) + 1)}
    texts = {x + y for x in between for y in language(g, n, between)["r0"]}
    begun = lead | {x + y for x in between for y in beginnings(g, "r0", n, between)}
    guide = es.cfg(text, start="r0")
    for s in strings(alphabet, n):
        state = guide.advance(guide.start(), s.encode())
        assert (state is not None) == (s in begun), (text, s)
        assert (state is not None and guide.accepts(state)) == (s in texts), (text, s)


RECURSIVE = {
    "left": 'r0 ::= r0 "a" | "b"',
    "right": 'r0 ::= "a" r0 | "b"',
    "both ends": 'r0 ::= r0 "a" r0 | "b"',
    "middle": 'r0 ::= "a" r0 "b" | ""',
    "hidden left": 'r0 ::= r1 r0 "b" | "a"\nr1 ::= "" | "b"',
    "indirect left": 'r0 ::= r1 "a" | "b"\nr1 ::= r0 "b" | "a"',
    "indirect both ends": 'r0 ::= r1 | "a"\nr1 ::= r0 "b" r0',
    "unit cycle": 'r0 ::= r1 | "a" r0 "b"\nr1 ::= r2\nr2 ::= r0 | "b"',
    "nullable cycle": 'r0 ::= r0 r0 | r1\nr1 ::= "" | "a" r0 "b"',
    "palindrome": 'r0 ::= "a" r0 "a" | "b" r0 "b" | ""',
    "two nullable": 'r0 ::= r1 r1 "a" r1\nr1 ::= "b" r1 "a" | ""',
    "postfix": 'r0 ::= "a" | r0 "b" r0 "b" | r0 "a"',
}


def parse(text: str) -> Grammar:
    """Alternatives of sequences, in the oracle's form."""
    g: Grammar = {}
    for line in text.splitlines():
        name, body = line.split(" ::= ")
        seqs = [("seq", *(w.strip('"') if '"' in w else ("ref", w) for w in a.split())) for a in body.split(" | ")]
        g[name] = ("or", *seqs)
    return g


@pytest.mark.parametrize("name", RECURSIVE)
def test_every_kind_of_recursion(name: str) -> None:
    agree(parse(RECURSIVE[name]), 8, "ab")


@pytest.mark.parametrize("seed", range(8))
def test_random_grammars(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(150):
        agree(random_grammar(rng, depth=rng.choice([1, 2, 3])), 5, "ab")


@pytest.mark.parametrize("ignored", ["c", "cc", "ca"])
def test_random_grammars_with_something_ignored(ignored: str) -> None:
    rng = random.Random(ignored)
    for _ in range(20):
        agree(random_grammar(rng, depth=2), 4, "abc", ignored)


def test_the_oracle_itself() -> None:
    g = parse('r0 ::= "a" r0 "b" | ""')
    assert language(g, 4)["r0"] == {"", "ab", "aabb"}
    assert beginnings(g, "r0", 3) == {"", "a", "ab", "aa", "aab", "aaa"}
    assert productive(parse('r0 ::= "a" r0\nr1 ::= "b"')) == {"r1"}


def test_advance_in_pieces_gives_equal_states() -> None:
    guide = es.cfg('e ::= e "+" e | "(" e ")" | "a"')
    text = b"(a+a)+a"
    whole = guide.advance(guide.start(), text)
    state = guide.start()
    for i in range(len(text)):
        state = guide.advance(state, text[i : i + 1])
    assert state == whole
    assert guide.advance(guide.start(), b"a+a") == guide.advance(guide.start(), b"a+a+a+a"), "equal futures, equal states"


def test_states_of_loops_do_not_grow() -> None:
    for text, unit in [
        ('s ::= s "+" s | "a"', b"a+"),
        ('s ::= s "," "a" | "a"', b"a,"),
        ('s ::= "a" "," s | "a"', b"a,"),
        ('s ::= x | x "," s\nx ::= "a"', b"a,"),
        ('e ::= e "+" t | t\nt ::= t "*" f | f\nf ::= "a" | "(" e ")"', b"a*a+"),
        ('%ignore " "\ns ::= item*\nitem ::= "a" ";" | "{" s "}"', b"a; {a;} "),
    ]:
        guide = es.cfg(text)
        seen = {guide.advance(guide.start(), unit * k) for k in range(1, 30)}
        assert len(seen) <= 2, text


@pytest.mark.parametrize(
    ("grammar", "text"),
    [
        ('x ::= "(" x ")" | "a"', b"(" * 10_000 + b"a" + b")" * 10_000),
        ('x ::= "(" x ")" | "(" x "]" | "a"', b"(" * 10_000 + b"a" + b")]" * 5_000),
        ('x ::= "(" x (")" x)? | ""', b"(" * 10_000 + b")" * 5_000),
        ('x ::= "a" x "a" | "a"', b"a" * 10_001),
        ('x ::= y | "a"\ny ::= x "+" x', b"a+" * 5_000 + b"a"),
        ('x ::= x x | "(" x ")" | ""', b"()" * 2_000 + b"(" * 10_000 + b")" * 10_000),
    ],
)
def test_deep_nesting_and_many_parses(grammar: str, text: bytes) -> None:
    """Ten thousand levels; and grammars with exponentially many parses of the text."""
    assert es.cfg(grammar).matches(text)


def test_a_grammar_nested_in_its_own_text() -> None:
    deep = 10_000
    assert es.cfg("x ::= " + "(" * deep + '"a"' + ")" * deep).matches(b"a")
    chain = "\n".join(f"x{i} ::= x{i + 1} | 'b' x0" for i in range(200)) + "\nx200 ::= 'a'"
    assert es.cfg(chain).matches(b"bbba")


def test_counted_repeats_of_recursive_rules() -> None:
    guide = es.cfg('s ::= x{3,5}\nx ::= "(" x ")" | "a"')
    assert [k for k in range(8) if guide.matches(b"(a)" * k)] == [3, 4, 5]
    many = es.cfg('s ::= x{2000}\nx ::= "(" x ")" | "a"')
    assert many.matches(b"a" * 2000)
    assert not many.matches(b"a" * 1999)
    assert many.advance(many.start(), b"a" * 2001) is None


def test_forced_bytes() -> None:
    guide = es.cfg('s ::= "select " x | "select " "(" s ")"\nx ::= "a" x "b" | "ab"')
    assert guide.forced(guide.start()) == b"select "
    state = guide.advance(guide.start(), b"select aab")
    assert guide.forced(state) == b"b"
