"""Guides as terms: the language of every combination, with parts in Python and native ones, and the laws of the algebra."""

from __future__ import annotations

import itertools
import random

import pytest
from constraints.languages import check_language, check_masks, texts
from constraints.python_guides import VOCAB, Balanced, Modulo, balanced

import espalier as es
from espalier.errors import InvalidInput, LimitExceeded, Unsatisfiable

LEAVES = {
    "balanced": (Balanced(), balanced),
    "even": (Modulo(2), lambda text: len(text) % 2 == 0),
    "threes": (Modulo(3), lambda text: len(text) % 3 == 0),
    "regex": (es.regex("a*b"), lambda text: text.strip(b"a") == b"b" and text.endswith(b"b")),
    "choices": (es.choices(["ab", "b", "abb"]), lambda text: text in (b"ab", b"b", b"abb")),
    "cfg": (es.cfg('s ::= "a" s "a" | "b"'), lambda text: text == b"a" * (len(text) // 2) + b"b" + b"a" * (len(text) // 2)),
    "empty or a": (es.regex("a?"), lambda text: text in (b"", b"a")),
}
ALL = texts(b"ab", 10)


def language(member, length=10):
    return frozenset(text for text in ALL if len(text) <= length and member(text))


def joined(one, other, length=10):
    return frozenset(x + y for x in one for y in other if len(x) + len(y) <= length)


def repeated(one, lo, hi, length=10):
    power, found = frozenset([b""]), set()
    for n in range((hi if hi is not None else length + lo) + 1):
        if n >= lo:
            found |= power
        power = joined(power, one, length)
    return frozenset(found)


@pytest.mark.parametrize("name", LEAVES)
def test_leaves_have_their_languages(name: str) -> None:
    guide, member = LEAVES[name]
    assert check_language(guide, member, length=4, ahead=10)


@pytest.mark.parametrize("pair", list(itertools.product(LEAVES, repeat=2)), ids="-".join)
def test_every_combination_of_two_has_its_language(pair: tuple[str, str]) -> None:
    (a, is_a), (b, is_b) = LEAVES[pair[0]], LEAVES[pair[1]]
    one, other = language(is_a), language(is_b)
    for guide, members in ((a | b, one | other), (a & b, one & other), (a + b, joined(one, other))):
        if members:
            check_language(guide, members.__contains__, length=3, ahead=10)
            check_masks(guide, VOCAB, steps=2)


@pytest.mark.parametrize("name", LEAVES)
@pytest.mark.parametrize(("lo", "hi"), [(0, None), (1, None), (2, 3), (0, 2), (0, 0), (3, None)])
def test_repeats_have_their_language(name: str, lo: int, hi: int | None) -> None:
    guide, member = LEAVES[name]
    check_language(guide.repeat(lo, hi), repeated(language(member), lo, hi).__contains__, length=3, ahead=10)
    check_masks(guide.repeat(lo, hi), VOCAB, steps=2)


@pytest.mark.parametrize("seed", range(12))
def test_random_terms_have_their_language(seed: int) -> None:
    """Deeper terms, with native and Python parts mixed at random."""
    rng = random.Random(seed)

    def grow(depth: int) -> tuple[es.Guide, frozenset[bytes]]:
        if depth == 0:
            guide, member = LEAVES[rng.choice(list(LEAVES))]
            return guide, language(member)
        a, one = grow(depth - 1)
        kind = rng.randrange(4)
        if kind == 3:
            lo = rng.randrange(3)
            hi = rng.choice([None, lo, lo + 2])
            return a.repeat(lo, hi), repeated(one, lo, hi)
        b, other = grow(depth - 1)
        return [(a | b, one | other), (a & b, one & other), (a + b, joined(one, other))][kind]

    for depth in (2, 2, 3):
        try:
            guide, members = grow(depth)
        except Unsatisfiable:  # a part without any text is told when it is put into a sequence
            continue
        if members:
            for text in texts(b"ab", 5):
                assert guide.matches(text) == (text in members), f"{guide!r}: {text!r}"
            check_masks(guide, VOCAB, steps=1)


def test_laws_of_the_algebra() -> None:
    a, b, c = Balanced(), es.regex("a*b"), Modulo(2)
    r, s = es.regex("a+b?"), es.choices(["a", "ab", "b"])
    for x, y in [
        ((a | b) | c, a | (b | c)),
        ((a & b) & c, a & (b & c)),
        ((a + b) + c, a + (b + c)),
        (a & (b | c), (a & b) | (a & c)),
        (a + (b | c), (a + b) | (a + c)),
        ((a | b) + c, (a + c) | (b + c)),
        (a | b, b | a),
        (a & c, c & a),
        (a.repeat(2, 2), a + a),
        (~(r | s), ~r & ~s),
        (~(r & s), ~r | ~s),
        (~~r, r),
    ]:
        for text in texts(b"ab", 6):
            assert x.matches(text) == y.matches(text), f"{x!r} and {y!r} differ on {text!r}"


@pytest.mark.parametrize(
    "guide", [Balanced(), Balanced() | es.cfg('s ::= "a" s "a" | "b"'), es.regex("a*") + Modulo(2)], ids=repr
)
def test_the_complement_of_what_is_not_regular_is_refused(guide: es.Guide) -> None:
    with pytest.raises(InvalidInput, match=r"decidable for regular guides .* your own guide one that accepts the opposite"):
        _ = ~guide


def test_too_many_readings_are_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(Modulo):
        def advance(self, state, data):
            return (state[0] + len(data), 1)

        def accepts(self, state):
            return True

    monkeypatch.setattr("espalier.constraints.compiled.engines._THREADS", 20)
    guide = Counted(1) + Counted(1)
    assert guide.matches(b"a" * 19)
    with pytest.raises(LimitExceeded, match="can be read in more than 20 ways at once"):
        guide.matches(b"a" * 21)
